"""The program as a whole: what it offers, how it fails, what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import logbus
from logbus.cli import program
from logbus.errors import ConfigurationError, LogbusError, OwnedError
from tests.collector_command import child_environment, run_logbus

#: Every command of this version and nothing else; what is not built is not offered.
COMMANDS = {
    "": {
        "collector",
        "config",
        "dead-letters",
        "doctor",
        "emit",
        "levels",
        "record-schema",
        "reset-level",
        "run",
        "set-level",
        "status",
        "tail",
    },
    "collector": {"list", "reload", "start", "status", "stop"},
    "config": {"init", "schema", "show", "validate"},
    "dead-letters": {"list", "purge", "replay"},
}
OPTIONS = {
    "run": {
        "--endpoint",
        "--control",
        "--name",
        "--level",
        "--component",
        "--app-name",
        "--worker",
        "--no-proxywhirl",
        "--public-only",
    },
    "collector start": {"--config", "--endpoint", "--control", "--sink", "--level", "--metrics", "--name"},
    "collector stop": {"--control", "--name", "--timeout"},
    "collector status": {"--control", "--name", "--timeout", "--json"},
    "collector reload": {"--control", "--name", "--timeout", "--json"},
    "collector list": {"--timeout", "--json"},
    "status": {"--control", "--name", "--timeout", "--json"},
    "dead-letters list": {"--sink", "-n", "--full", "--control", "--name", "--timeout", "--json"},
    "dead-letters replay": {"--sink", "--id", "--all", "--control", "--name", "--timeout", "--json"},
    "dead-letters purge": {"--sink", "--id", "--older-than", "--all", "--control", "--name", "--timeout", "--json"},
    "tail": {"--component", "--level", "--where", "--grep", "--format", "-n", "--control", "--name", "--timeout"},
    "doctor": {"--control", "--name", "--timeout", "--json"},
    "emit": {"--level", "--component", "--endpoint", "--control", "--name", "--timeout"},
    "config init": set(),
    "config schema": set(),
    "config show": {"--config", "--endpoint", "--control", "--sink", "--level", "--metrics", "--name", "--json"},
    "config validate": {"--json"},
    "record-schema": set(),
    "set-level": {
        "--component",
        "--worker",
        "--for",
        "--where",
        "--force",
        "--json",
        "--control",
        "--name",
        "--timeout",
    },
    "reset-level": {"--component", "--worker", "--all", "--json", "--control", "--name", "--timeout"},
    "levels": {"--json", "--control", "--name", "--timeout"},
}
#: Words of the contract that belong to later versions.
NOT_YET = ("top durability nats").split()


def _help(*command: str) -> str:
    result = CliRunner().invoke(program, [*command, "--help"], prog_name="logbus")
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("group", COMMANDS)
def test_a_group_offers_the_commands_of_this_version(group: str) -> None:
    """Each group has exactly the commands that are built."""
    found = program.commands[group] if group else program
    assert isinstance(found, click.Group)
    assert set(found.commands) == COMMANDS[group]


@pytest.mark.parametrize("path", OPTIONS)
def test_a_command_has_the_options_of_this_version(path: str) -> None:
    """Each command has exactly the options that do something."""
    command: click.Command = program
    for name in path.split():
        assert isinstance(command, click.Group)
        command = command.commands[name]
    options = {
        option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts
    }
    assert options == OPTIONS[path]


@pytest.mark.parametrize("path", ["", *COMMANDS, *OPTIONS])
def test_no_help_text_speaks_of_what_is_not_built(path: str) -> None:
    """Nothing that a later version brings stands in any help text."""
    words = set(_help(*path.split()).replace(",", " ").replace("-", " ").lower().split())
    assert not words & {word for name in NOT_YET for word in [name, *name.split("-")]} - {"set", "level", "letters"}


@pytest.mark.parametrize("path", ["", "collector", "status", "emit"])
def test_short_help_is_help(path: str) -> None:
    """``-h`` says what ``--help`` says, on every level."""
    short = CliRunner().invoke(program, [*path.split(), "-h"], prog_name="logbus")
    assert short.exit_code == 0
    assert short.stdout == _help(*path.split())


def test_the_help_of_start_has_the_grammar_of_a_sink() -> None:
    """The help of ``collector start`` shows how a sink is written."""
    text = _help("collector", "start")
    assert "TYPE[:ARGUMENT][,KEY=VALUE]..." in text
    assert "file:PATH,format=text,level=WARNING,components=rotator+health\n" in text


def test_version_is_that_of_the_package() -> None:
    """``--version`` prints the version on stdout."""
    result = CliRunner().invoke(program, ["--version"], prog_name="logbus")
    assert (result.exit_code, result.stdout) == (0, f"logbus {logbus.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["set-level"],
        ["status", "--timeout", "0"],
        ["status", "--timeout", "nan"],
        ["status", "--timeout", "inf"],
        ["status", "--timeout", "soon"],
        ["status", "--control", "http://x"],
        ["status", "--name", "../x"],
        ["collector", "start", "--level", "LOUD"],
        ["collector", "start", "--endpoint", "tcp://10.0.0.1:5"],
        ["emit"],
        ["emit", "x", "--level", "LOUD"],
        ["emit", "x", "novalue"],
        ["emit", "x", "=value"],
        ["config", "validate"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_no_traceback(arguments: list[str]) -> None:
    """A mistake on the command line ends with 2, with words on stderr and nothing on stdout."""
    result = CliRunner().invoke(program, arguments, prog_name="logbus")
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (LogbusError("no luck"), 1, "logbus: error: no luck\n"),
        (
            ConfigurationError(["a: x", "b: y"], source="f.toml"),
            2,
            "logbus: error: f.toml: a: x\nlogbus: error: f.toml: b: y\n",
        ),
        (
            OwnedError("ipc:///x", name="main", pid=7),
            3,
            "logbus: error: ipc:///x is owned by collector 'main' (pid 7)\n",
        ),
        (LogbusError("\x1b[31mred"), 1, "logbus: error: \\x1b[31mred\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "logbus: error: /x/y: Permission denied\n"),
    ],
)
def test_an_error_becomes_lines_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, stderr: str
) -> None:
    """Every line of an error is marked on stderr, harmless for the terminal, and the exit code is the error's own."""

    def fail() -> None:
        raise error

    monkeypatch.setitem(program.commands, "fail", click.Command("fail", callback=fail))
    result = CliRunner().invoke(program, ["fail"], prog_name="logbus")
    assert (result.exit_code, result.stderr, result.stdout) == (code, stderr, "")


def test_python_m_logbus_is_the_program() -> None:
    """``python -m logbus`` runs the same program, under the same name."""
    done = run_logbus("status")
    assert done.returncode == 1
    assert done.stderr.startswith("logbus: error: no collector answered at ipc://")
    assert done.stdout == ""
    assert run_logbus("-h").stdout == _help()


def test_shell_completion_is_there() -> None:
    """The completion script of click can be had as the help says."""
    done = run_logbus(env=child_environment(_LOGBUS_COMPLETE="bash_source"))
    assert done.returncode == 0
    assert "_LOGBUS_COMPLETE=bash_complete" in done.stdout


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """Output into a closed pipe ends without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "logbus", "collector", "start", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["collector", "stop"]], ids=" ".join)
def test_light_commands_load_no_heavy_module(arguments: list[str], tmp_path: Path, unmeasured: None) -> None:
    """Help and questions to a collector start without the configuration library, the codecs and the tables."""
    (tmp_path / "logbus.toml").write_text('[bus]\nendpoint = "ipc:///nowhere/records"\n')
    script = (
        "import json, sys\n"
        "from logbus.cli import program\n"
        "try: program(sys.argv[1:], prog_name='logbus')\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=child_environment(),
    )
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & {"pydantic", "pydantic_settings", "msgspec", "rich", "loguru", "tenacity"}
    assert "click" in loaded
