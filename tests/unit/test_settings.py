"""A producer's settings: code over environment over file over default, and every wrong value named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.errors import ConfigurationError
from logbus.producers.recorder import Flight
from logbus.producers.settings import CAPACITY, CAPACITY_BYTES, SHUTDOWN_TIMEOUT, ProducerSettings, host_name, resolve

VALUES: dict[str, tuple[str, Any]] = {
    "LOGBUS_COMPONENT": ("component", "rotator"),
    "LOGBUS_LEVEL": ("level", "debug"),
    "LOGBUS_WORKER": ("worker", "w-1"),
    "LOGBUS_APP_NAME": ("app_name", "shop"),
    "LOGBUS_CAPACITY": ("capacity", "100"),
    "LOGBUS_CAPACITY_BYTES": ("capacity_bytes", "2000"),
    "LOGBUS_ON_FULL": ("on_full", "drop_oldest"),
    "LOGBUS_SHUTDOWN_TIMEOUT": ("shutdown_timeout", "0.5"),
    "LOGBUS_FLIGHT_RECORDER": ("flight_recorder", "level=TRACE,records=50"),
    "LOGBUS_OPENTELEMETRY": ("opentelemetry", "Off"),
    "LOGBUS_FAST_LOGGERS": ("fast_loggers", "On"),
    "LOGBUS_ENDPOINT": ("endpoint", "tcp://127.0.0.1:5555"),
    "LOGBUS_CONTROL": ("control", "tcp://127.0.0.1:6666"),
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Writes a file into the working directory of this test."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def in_directory(path: Path, given: dict[str, Any] | None = None, **environ: str) -> ProducerSettings:
    """The settings in a directory and an environment of their own."""
    return resolve(given or {}, environ=environ, directory=path)


@pytest.mark.parametrize(
    ("text", "component"),
    [
        ('[project]\nname = "shop"\n', ""),
        ('[tool.logbus]\ncomponent = "till"\n', "till"),
        ('tool."\\u006cogbus".component = "till"\n', "till"),
        ('[tool]\nlogbus = { component = "till" }\n', "till"),
        ("[tool.logbus", ""),
    ],
)
def test_a_project_file_is_parsed_only_where_it_may_speak_of_logbus(
    unmeasured: None, text: str, component: str, tmp_path: Path
) -> None:
    """Most workers stand beside a pyproject.toml that says nothing to them: a parser in each would be for nothing."""
    (tmp_path / "pyproject.toml").write_text(text)
    program = f"""
import sys
from pathlib import Path
from logbus.producers.settings import resolve
print(repr(resolve({{}}, environ={{}}, directory=Path({str(tmp_path)!r})).component), "tomllib" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [repr(component), str("logbus" in text or "u006c" in text)]


def test_the_defaults_need_nothing(tmp_path: Path, directories: Path) -> None:
    """With nothing said anywhere a producer knows where to go, and no level is chosen."""
    found = in_directory(tmp_path)
    base = directories / "runtime" / "default"
    assert (found.endpoint.path, found.control.path) == (base / "records", base / "control")
    assert (found.capacity, found.capacity_bytes) == (CAPACITY, CAPACITY_BYTES) == (65_536, 32 * 1024 * 1024)
    assert (found.on_full, found.shutdown_timeout, found.level) == ("shed_lowest", SHUTDOWN_TIMEOUT, None)


def test_only_a_default_directory_has_to_be_ours(tmp_path: Path, directories: Path) -> None:
    """Who names a place knows whose it is; who doesn't would not know who made the one in /tmp."""
    assert in_directory(tmp_path).owner == os.geteuid()
    assert in_directory(tmp_path, LOGBUS_RUNTIME_DIR=str(directories)).owner is None
    url = f"ipc://{directories}/records"
    assert in_directory(tmp_path, {"endpoint": url}).owner is None
    assert in_directory(tmp_path, LOGBUS_ENDPOINT=url).owner is None
    with pytest.raises(ConfigurationError, match="unknown key 'owner'"):
        in_directory(tmp_path, {"owner": 0})


def test_a_directory_that_is_not_there_is_not_ours(directories: Path) -> None:
    """Whoever makes it later may be anybody."""
    found = ProducerSettings(
        Endpoint.parse(f"ipc://{directories}/x/records"), Endpoint.parse(f"ipc://{directories}/x/c"), owner=os.geteuid()
    )
    assert found.refusal() == f"{directories}/x: No such file or directory"
    (directories / "x").mkdir()
    assert found.refusal() is None
    assert found._replace(owner=54321).refusal() == f"{directories}/x belongs to uid {os.geteuid()}, expected 54321"


@pytest.mark.parametrize(("text", "level"), [("debug", 10), ("15", 15), ("", None), ("loud", None), ("101", None)])
def test_the_level_of_a_proxywhirl_deployment_counts_last(tmp_path: Path, text: str, level: int | None) -> None:
    """PROXYWHIRL_LOG_LEVEL is the level where nobody has said one; a wrong one is nobody's problem."""
    assert in_directory(tmp_path, PROXYWHIRL_LOG_LEVEL=text).level == level
    assert in_directory(tmp_path, PROXYWHIRL_LOG_LEVEL=text, LOGBUS_LEVEL="ERROR").level == 40
    (tmp_path / "pyproject.toml").write_text('[tool.logbus]\nlevel = "WARNING"\n')
    assert in_directory(tmp_path, PROXYWHIRL_LOG_LEVEL=text).level == 30
    assert in_directory(tmp_path, {"level": 5}, PROXYWHIRL_LOG_LEVEL=text).level == 5


def test_every_setting_can_come_from_the_environment(tmp_path: Path) -> None:
    """Text becomes what the setting is: numbers, levels, endpoints."""
    found = in_directory(tmp_path, None, **{variable: text for variable, (_, text) in VALUES.items()})
    assert (found.component, found.worker, found.app_name) == ("rotator", "w-1", "shop")
    assert (found.level, found.capacity, found.capacity_bytes) == (10, 100, 2000)
    assert (found.on_full, found.shutdown_timeout) == ("drop_oldest", 0.5)
    assert (found.endpoint.port, found.control.port) == (5555, 6666)
    assert found.flight_recorder == Flight(level=5, records=50)
    assert found.opentelemetry is False
    assert found.fast_loggers is True


def test_every_setting_can_come_from_pyproject(write: Callable[[str, str], Path]) -> None:
    """The table [tool.logbus] has the same keys, and numbers may be numbers."""
    lines = [f"{key} = {text!r}" for key, text in VALUES.values() if key != "capacity"]
    path = write("pyproject.toml", "\n".join(["[tool.logbus]", "capacity = 100", *lines]))
    found = in_directory(path.parent)
    assert found == in_directory(path.parent.parent, None, **{variable: text for variable, (_, text) in VALUES.items()})


def test_code_comes_before_environment_before_file(write: Callable[[str, str], Path]) -> None:
    """Each source gives way to the one above it, key by key."""
    path = write("pyproject.toml", '[tool.logbus]\ncomponent = "file"\nworker = "file"\napp_name = "file"\n')
    found = in_directory(path.parent, {"component": "code"}, LOGBUS_COMPONENT="env", LOGBUS_WORKER="env")
    assert (found.component, found.worker, found.app_name) == ("code", "env", "file")


def test_the_flight_recorder_may_be_a_table_and_may_be_turned_off(write: Callable[[str, str], Path]) -> None:
    """In the file it is a table; a variable or the code says off over it."""
    path = write("pyproject.toml", '[tool.logbus.flight_recorder]\ntrigger = "WARNING"\nseconds = 5\n').parent
    assert in_directory(path).flight_recorder == Flight(trigger=30, seconds=5.0)
    assert in_directory(path, LOGBUS_FLIGHT_RECORDER="off").flight_recorder is None
    assert in_directory(path, {"flight_recorder": False}, LOGBUS_FLIGHT_RECORDER="1").flight_recorder is None
    assert in_directory(path, {"flight_recorder": True}).flight_recorder == Flight()


def test_none_and_empty_count_as_not_given(tmp_path: Path) -> None:
    """A None in code and an empty variable leave the setting to the next source."""
    found = in_directory(tmp_path, {"capacity": None}, LOGBUS_CAPACITY="7", LOGBUS_WORKER="")
    assert (found.capacity, found.worker) == (7, "")


def test_the_collectors_file_names_the_bus(write: Callable[[str, str], Path]) -> None:
    """Endpoint and control of ./logbus.toml serve both sides; [tool.logbus] and all above come first."""
    path = write("logbus.toml", '[bus]\nendpoint = "ipc:///a/records"\ncontrol = "ipc:///a/c"\nother = 1\n').parent
    assert (in_directory(path).endpoint.url, in_directory(path).control.url) == ("ipc:///a/records", "ipc:///a/c")
    write("pyproject.toml", '[tool.logbus]\nendpoint = "ipc:///b/records"\n')
    assert in_directory(path).endpoint.url == "ipc:///b/records"
    assert in_directory(path, LOGBUS_ENDPOINT="ipc:///c/records").endpoint.url == "ipc:///c/records"
    assert in_directory(path, {"endpoint": "ipc:///d/records"}).endpoint.url == "ipc:///d/records"


def test_the_collectors_file_may_be_named_and_may_be_json(write: Callable[[str, str], Path]) -> None:
    """LOGBUS_CONFIG names the file, whatever lies in the working directory."""
    path = write("logbus.toml", '[bus]\nendpoint = "ipc:///a/records"\n').parent
    named = write("other.json", '{"bus": {"endpoint": "ipc:///b/records"}}')
    assert in_directory(path, LOGBUS_CONFIG=str(named)).endpoint.url == "ipc:///b/records"


@pytest.mark.parametrize("text", ["not toml", "[bus]\nendpoint = 5\n[", "bus = 5", "\0", '[bus]\nx = "\\ud800"'])
def test_a_collectors_file_that_can_not_be_read_does_not_stop_a_worker(
    write: Callable[[str, str], Path], text: str, directories: Path
) -> None:
    """It is the collector's to complain about; the worker goes on with what else it knows."""
    path = write("logbus.toml", text).parent
    write("pyproject.toml", text)
    assert in_directory(path).endpoint.path == directories / "runtime" / "default" / "records"


def test_control_follows_the_endpoint(tmp_path: Path) -> None:
    """Where only the endpoint is given the control socket is the one beside it."""
    assert in_directory(tmp_path, {"endpoint": "ipc:///a/records"}).control.url == "ipc:///a/control"
    assert in_directory(tmp_path, {"endpoint": "ipc:///a/x"}).control.url == "ipc:///a/x.control"


WRONG: list[tuple[str, Any]] = [
    ("endpoint", "nowhere"),
    ("endpoint", 5),
    ("control", "tcp://example.com:1"),
    ("component", "x" * 129),
    ("component", 5),
    ("level", "LOUD"),
    ("level", 101),
    ("level", 1.5),
    ("level", True),
    ("worker", []),
    ("flight_recorder", 1.5),
    ("opentelemetry", "maybe"),
    ("fast_loggers", "maybe"),
    ("opentelemetry", 1),
    ("app_name", b"x"),
    ("capacity", 0),
    ("capacity", -1),
    ("capacity", "many"),
    ("capacity", 1.5),
    ("capacity", True),
    ("capacity", [1]),
    ("capacity_bytes", "1 MiB"),
    ("on_full", "explode"),
    ("on_full", []),
    ("shutdown_timeout", -1),
    ("shutdown_timeout", 3601),
    ("shutdown_timeout", float("nan")),
    ("shutdown_timeout", "soon"),
    ("shutdown_timeout", True),
    ("shutdown_timeout", []),
    ("colour", "blue"),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_a_wrong_value_is_named_with_its_key(tmp_path: Path, key: str, value: Any) -> None:
    """The error says which setting, and what was found."""
    with pytest.raises(ConfigurationError) as caught:
        in_directory(tmp_path, {key: value})
    [problem] = caught.value.problems
    assert problem.startswith(f"{key}=")
    assert repr(value) in problem or key == "colour"


def test_every_wrong_value_is_named_at_once(write: Callable[[str, str], Path]) -> None:
    """Nobody corrects one mistake to be told of the next; each problem says where its value was written."""
    path = write("pyproject.toml", '[tool.logbus]\non_full = "explode"\nspeed = 3\n').parent
    with pytest.raises(ConfigurationError) as caught:
        in_directory(path, {"capacity": 0}, LOGBUS_LEVEL="LOUD", LOGBUS_SHUTDOWN_TIMEOUT="soon", LOGBUS_ENDPOINT="x")
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    for part in ("capacity=", "LOGBUS_LEVEL", "LOGBUS_SHUTDOWN_TIMEOUT", "LOGBUS_ENDPOINT", "[tool.logbus]", "speed"):
        assert part in text, part


def test_a_worker_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The given name, else the application's with the pid, so that two workers are told apart."""
    assert in_directory(tmp_path, {"worker": "w"}).worker_name(5) == "w"
    assert in_directory(tmp_path, {"app_name": "shop"}).worker_name(5) == "shop-5"
    monkeypatch.setattr(sys, "argv", ["/srv/shop/checkout.py"])
    assert in_directory(tmp_path).worker_name(5) == "checkout-5"


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ([], "python"),
        ([""], "python"),
        (["-c"], "python"),
        (["-m"], "python"),
        (["/srv/shop/__main__.py"], "shop"),
        (["/usr/bin/gunicorn"], "gunicorn"),
        (["run\udcff.py"], "run\\udcff"),
    ],
)
def test_the_application_is_named_after_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], name: str
) -> None:
    """Whatever the command line is, there is a name, and one that can be sent."""
    monkeypatch.setattr(sys, "argv", argv)
    assert in_directory(tmp_path).application() == name
    name.encode()


def test_names_that_are_not_utf8_can_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of the environment that are no text become escapes: no frame takes them as they are."""
    found = in_directory(tmp_path, None, LOGBUS_WORKER="w\udcff", LOGBUS_COMPONENT="\ud800")
    assert (found.worker, found.component) == ("w\\udcff", "\\ud800")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="h\udcff"))
    assert host_name() == "h\\udcff"
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=""))
    assert host_name() == "localhost"
