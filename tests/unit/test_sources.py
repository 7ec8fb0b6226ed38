"""Where settings come from: files that are no documents, sinks written as text, addresses for those who ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logbus.collectors.configuration.sources import MAX_FILE_BYTES, bus_addresses, from_environment, from_file
from logbus.errors import ConfigurationError
from tests.collector_command import child_environment
from tests.stranger import NOBODY


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.toml", b"[bus]\nendpoint = \n", r"not valid TOML: .*line 2"),
        ("a.json", b'{\n"bus": }', r"not valid JSON: .*line 2"),
        (
            "a.toml",
            b"[bus]\nendpoint = [[0x1" + b"0" * 5000 + b"]]",
            "expected integers of at most 64 bits, found one of 20001",
        ),
        ("a.json", b"[1]", "expected an object"),
        ("a.json", b'{"bus": {"a": 1, "b": 2, "a": 3}}', "key 'a' stands twice"),
        ("a.json", b"{" + b"".join(b'"%d": 1,' % n for n in range(20_000)) + b'"19999": 1}', "'19999' stands twice"),
        ("a.toml", b"a" + b".a" * 100_000 + b" = 1", "expected keys of fewer than 256 segments"),
        ("a.toml", b"[" + b"'a' . " * 300 + b"a]", "expected keys of fewer than 256 segments"),
        ("a.json", b'{"bus": NaN}', "NaN is no JSON value"),
        ("a.json", b'{"\\ud800": 1}', "lone surrogate"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'{"a":' * 400 + b"1" + b"}" * 400, "expected at most 32 tables and lists inside one another"),
        ("a.toml", b"a = " + b"[" * 200 + b"]" * 200, "expected at most 32 tables and lists inside one another"),
        ("a.toml", b"a" + b".a" * 100 + b" = 1", "expected at most 32 tables and lists inside one another"),
        ("a.conf", b'{"bus": ', "not valid JSON"),
        ("a.conf", b"bus", "not valid TOML"),
        ("a.toml", b"# fine\n# \xff\n", "expected UTF-8, found byte 0xff in line 2"),
        ("a.toml", b"#" * (MAX_FILE_BYTES + 1), f"expected at most {MAX_FILE_BYTES} bytes"),
    ],
    ids=lambda value: value[:20] if isinstance(value, (str, bytes)) else None,
)
def test_a_file_without_a_document_is_an_error_of_that_file(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    """What can't be parsed raises ConfigurationError with the file, and with the line where there is one."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=message) as caught:
        from_file(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """A directory in the place of the file is an error that says so."""
    with pytest.raises(ConfigurationError, match="can't be read: Is a directory"):
        from_file(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", '[bus]\nendpoint = "x"\n'),
        ("a.toml", '\ufeff[bus]\nendpoint = "x"\n'),
        ("a.json", '{"bus": {"endpoint": "x"}}'),
        ("a.conf", '  {"bus": {"endpoint": "x"}}'),
        ("a.conf", '[bus]\nendpoint = "x"\n'),
    ],
)
def test_the_language_is_told_by_the_extension_else_by_the_content(tmp_path: Path, name: str, text: str) -> None:
    """TOML and JSON are read under their own extension, and under any other by how the file begins."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert from_file(path).document == {"bus": {"endpoint": "x"}}


def test_json_in_the_environment_is_told_by_its_first_character() -> None:
    """A list and a table are read as JSON, anything else is text."""
    environ = {"LOGBUS_A__L": ' ["x"]', "LOGBUS_A__T": '{"k": 1}', "LOGBUS_A__N": "12", "LOGBUS_A__B": "true"}
    assert from_environment(environ).document == {"a": {"l": ["x"], "t": {"k": 1}, "n": "12", "b": "true"}}


def test_a_command_finds_the_addresses_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and control come from LOGBUS_CONFIG or ./logbus.toml; an unreadable file gives none, and no error."""
    monkeypatch.chdir(tmp_path)
    assert bus_addresses({}) == (None, None)
    Path("logbus.toml").write_text('[bus]\nendpoint = "ipc:///e"\ncontrol = 5\n')
    assert bus_addresses({}) == ("ipc:///e", None)
    Path("other.json").write_text('{"bus": {"control": "ipc:///c"}}')
    assert bus_addresses({"LOGBUS_CONFIG": "other.json"}) == (None, "ipc:///c")
    Path("logbus.toml").write_text("[bus")
    assert bus_addresses({}) == (None, None)
    Path("logbus.toml").write_text("bus = 1")
    assert bus_addresses({}) == (None, None)


def test_an_environment_source_remembers_its_variables() -> None:
    """A section that nobody knows is reported with every variable that speaks of it."""
    source = from_environment({"LOGBUS_X__A": "1", "LOGBUS_X__B": "2"})
    assert source.origin(("x",)) == "LOGBUS_X__A, LOGBUS_X__B"
    assert source.origin(("x", "b")) == "LOGBUS_X__B"


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody may ever write there, and a running collector reads its file again on its own thread."""
    os.mkfifo(tmp_path / "logbus.toml")
    with pytest.raises(ConfigurationError, match="can't be read: it is a pipe"):
        from_file(tmp_path / "logbus.toml")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_directory_that_may_not_be_searched_has_no_file(tmp_path: Path) -> None:
    """A collector looks for ./logbus.toml all its life: what becomes of its working directory does not end it."""
    script = (
        "import os, sys; from logbus.collectors.configuration.sources import chosen_file; os.chdir(sys.argv[1]);"
        f"os.chmod('.', 0); os.seteuid({NOBODY}); print(chosen_file(None, {{}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=child_environment(), capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("None\n", 0), done.stderr
