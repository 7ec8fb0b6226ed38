"""``logbus config`` and ``logbus record-schema``: what can be known without a collector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logbus.cli import program
from logbus.collectors.configuration.schema import configuration_schema
from logbus.collectors.configuration.starter import STARTER
from logbus.collectors.schema import record_schema


def invoke(*arguments: str) -> Result:
    """What ``logbus ARGUMENTS`` did."""
    return CliRunner().invoke(program, [*arguments], prog_name="logbus")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A file without a mistake."""
    path = tmp_path / "good.toml"
    path.write_text('[[sinks]]\ntype = "file"\npath = "x.jsonl"\n')
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A file with two mistakes."""
    path = tmp_path / "bad.json"
    path.write_text('{"sinks": [{"type": "file", "rotation": "banana"}]}')
    return path


def test_a_good_file_is_ok(good: Path) -> None:
    """A file without problems ends with 0 and says so."""
    result = invoke("config", "validate", str(good))
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{good}: ok\n", "")


def test_every_problem_of_a_bad_file_is_a_line(bad: Path) -> None:
    """All problems come at once on stderr, each with the file, and the exit code is 2."""
    result = invoke("config", "validate", str(bad))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f'logbus: error: {bad}: sinks[0].path: missing; expected the path of a file, like "logs/app.jsonl"',
        f'logbus: error: {bad}: sinks[0].rotation: expected a size from 1 kB to 1000 TB ("100 MB"), an interval from '
        '1 s to 36500 days ("1 hour"), a time of the day ("00:00") or of the week ("sunday", "sunday at 03:00"), found '
        '"banana"',
    ]


def test_the_result_can_be_had_as_json(good: Path, bad: Path) -> None:
    """With --json the problems are a list in one document, with the same exit codes."""
    result = invoke("config", "validate", str(good), "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"file": str(good), "ok": True, "problems": []})
    result = invoke("config", "validate", str(bad), "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, document["ok"]) == (2, "", False)
    assert [problem.partition(":")[0] for problem in document["problems"]] == ["sinks[0].path", "sinks[0].rotation"]


def test_only_the_file_is_judged(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the environment is not a mistake of the file."""
    monkeypatch.setenv("LOGBUS_ENDPOINT", "nonsense")
    monkeypatch.setenv("LOGBUS_CONFIG", "/nowhere")
    assert invoke("config", "validate", str(good)).exit_code == 0


def test_a_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    """A missing file is wrong usage, with its name."""
    result = invoke("config", "validate", str(tmp_path / "gone.toml"))
    assert result.exit_code == 2
    assert "gone.toml: can't be read: No such file or directory" in result.stderr


def test_init_writes_a_file_and_never_over_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./logbus.toml, or the file named; what is there stays, a link that leads nowhere too; "-" prints."""
    monkeypatch.chdir(tmp_path)
    result = invoke("config", "init")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "logbus.toml: written\n")
    assert (tmp_path / "logbus.toml").read_text() == STARTER
    (tmp_path / "logbus.toml").write_text("mine")
    result = invoke("config", "init")
    assert (result.exit_code, result.stderr) == (2, "logbus: error: logbus.toml: it is there already, and stays\n")
    assert (tmp_path / "logbus.toml").read_text() == "mine"
    (tmp_path / "link.toml").symlink_to("nowhere")
    assert invoke("config", "init", "link.toml").exit_code == 2
    assert invoke("config", "init", "x.json").exit_code == 2
    assert invoke("config", "init", "no/x.toml").exit_code == 1
    assert (tmp_path / "no").exists() is (tmp_path / "nowhere").exists() is (tmp_path / "x.json").exists() is False
    assert invoke("config", "init", "other.toml").exit_code == 0
    assert invoke("config", "validate", "other.toml").exit_code == 0
    result = invoke("config", "init", "-")
    assert (result.exit_code, result.stdout, result.stderr) == (0, STARTER, "")


def test_the_schema_of_the_configuration_is_printed() -> None:
    """``config schema`` prints one JSON document."""
    result = invoke("config", "schema")
    assert (result.exit_code, result.stderr, json.loads(result.stdout)) == (0, "", configuration_schema())


def test_show_says_where_each_setting_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directories: Path
) -> None:
    """Default, file, variable or option, for people as a file with comments, and as JSON."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGBUS_LEVELS__ROTATOR", "DEBUG")
    monkeypatch.setenv("PROXYWHIRL_LOG_LEVEL", "WARNING")
    path = tmp_path / "c.toml"
    path.write_text('[[sinks]]\ntype = "file"\npath = "/logs/\\u001b/token=abc"\n')
    options = ("--config", str(path), "--metrics", "127.0.0.1:9464", "--name", "eu")
    lines = [" ".join(line.split()) for line in invoke("config", "show", *options).stdout.splitlines()]
    assert lines[0] == f"# file: {path}"
    for line in (
        f'#endpoint = "ipc://{directories}/runtime/eu/records" # default',
        'durability = "none" # default',
        "#allow = [] # default",
        'default = "WARNING" # PROXYWHIRL_LOG_LEVEL',
        'rotator = "DEBUG" # LOGBUS_LEVELS__ROTATOR',
        'name = "file" # default',
        f'type = "file" # {path}',
        f'path = "/logs/\\U0000001b/token=***" # {path}',
        'level = "NOTSET" # default',
        'address = "127.0.0.1:9464" # --metrics',
    ):
        assert line in lines
    document = json.loads(invoke("config", "show", "--json", *options).stdout)
    assert document["file"] == str(path)
    assert document["settings"]["levels"] == {"default": "WARNING", "rotator": "DEBUG"}
    assert document["settings"]["bus"]["endpoint"] == f"ipc://{directories}/runtime/eu/records"
    assert document["origins"]["sinks[0].path"] == str(path)
    assert document["origins"]["bus.endpoint"] == "default"
    assert document["origins"]["levels.default"] == "PROXYWHIRL_LOG_LEVEL"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--sink", "console:text,stream=stderr", "--sink", "file:x y.log,components=a+b.c", "--level", "7"),
        ("--sink", "file:x,rotation=1 MB+1 day,retention=5 files,compression=zst,format=logfmt"),
        ("--sink", "console,sample.rate=0.1,sample.key=request_id,sample.tail=true,static_fields.a b=\U0001f600"),
        ("--sink", "console,sample.first=3,sample.interval=90 s,rename_fields.timestamp=@timestamp"),
        ("--config", "given.json"),
    ],
)
def test_what_show_prints_is_a_configuration_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """A file with what it prints makes the same settings."""
    monkeypatch.chdir(tmp_path)
    sink = {
        "type": "console",
        "where": [{"status_code": {"ge": 500.5, "ne": True}}, {"extra.kind": ['a"b', "\u2028", 1]}],
        "static_fields": {"a.b": "x", "blue": True},
    }
    (tmp_path / "given.json").write_text(json.dumps({"sinks": [sink], "redaction": {"patterns": ["a\\d{8}"]}}))
    result = invoke("config", "show", *options)
    assert result.exit_code == 0
    (tmp_path / "logbus.toml").write_text(result.stdout)
    again = json.loads(invoke("config", "show", "--json").stdout)
    (tmp_path / "logbus.toml").unlink()
    assert again["settings"] == json.loads(invoke("config", "show", "--json", *options).stdout)["settings"]


def test_show_reports_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem of every source, as a collector would at its start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGBUS_LEVEL", "loud")
    result = invoke("config", "show", "--sink", "file")
    assert result.exit_code == 2
    assert [line.split(": ")[2] for line in result.stderr.splitlines()] == ["LOGBUS_LEVEL", "--sink file"]


def test_the_schema_of_a_record_is_printed() -> None:
    """``record-schema`` prints the schema as one JSON document."""
    result = invoke("record-schema")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == record_schema()
    assert json.loads(result.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_show_says_where_the_keys_inside_a_sink_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody wrote and what is a default beside it, key by key, with secrets masked."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.toml"
    path.write_text(
        '[[sinks]]\ntype = "console"\nsample = { rate = 0.5 }\nwhere = { level = "ERROR" }\n'
        '[sinks.static_fields]\n"a.b" = true\ntoken = "hunter2"\n'
    )
    result = invoke("config", "show", "--config", str(path))
    assert "hunter2" not in result.stdout
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for line in (
        f"sample.rate = 0.5 # {path}",
        '#sample.keep = "WARNING" # default',
        '#sample.key = "" # default',
        "#sample.tail = false # default",
        '#sample.window = "30 s" # default',
        f'where = {{ level = "ERROR" }} # {path}',
        f'static_fields."a.b" = true # {path}',
        f'static_fields.token = "***" # {path}',
        "#rename_fields = {} # default",
        "#patterns = [] # default",
    ):
        assert line in lines
    document = json.loads(invoke("config", "show", "--json", "--config", str(path)).stdout)
    assert document["settings"]["sinks"][0]["sample"]["interval"] == "1 s"
    assert document["origins"]["sinks[0].sample.rate"] == str(path)
    assert document["origins"]["sinks[0].sample.keep"] == "default"
    assert document["origins"]['sinks[0].static_fields."a.b"'] == str(path)
