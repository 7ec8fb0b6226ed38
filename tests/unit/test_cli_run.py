"""The environment that makes workers: ours in front, everything else as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from logbus.cli import program
from logbus.cli.run import worker_environment
from logbus.integrations import startup

FOLDER = str(Path(startup.__file__).parent)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, [FOLDER]),
        ("", [FOLDER]),
        ("/a", [FOLDER, "/a"]),
        ("/a::/b:", [FOLDER, "/a", "", "/b", ""]),
        (f"/a:{FOLDER}:/b", [FOLDER, "/a", "/b"]),
    ],
)
def test_our_folder_is_the_first(before: str | None, after: list[str]) -> None:
    """Once; an empty entry, which is the working directory, stays one."""
    environ = {} if before is None else {"PYTHONPATH": before}
    made = worker_environment(environ, {}, no_proxywhirl=False, public_only=False)
    assert made["PYTHONPATH"].split(os.pathsep) == after


def test_what_was_given_comes_first() -> None:
    """Options over variables; what was not given stays, and what an earlier Python has left is forgotten."""
    environ = {"LOGBUS_LEVEL": "ERROR", "LOGBUS_WORKER": "w", "HOME": "/h", "LOGBUS_RUN_TOLD": "/usr"}
    made = worker_environment(
        environ, {"LOGBUS_LEVEL": "10", "LOGBUS_WORKER": None}, no_proxywhirl=True, public_only=True
    )
    assert made == {
        "LOGBUS_LEVEL": "10",
        "LOGBUS_WORKER": "w",
        "HOME": "/h",
        "LOGBUS_RUN": "on,no-proxywhirl,public-only",
        "PYTHONPATH": FOLDER,
    }


def become(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, str]:
    """The environment of the command that ``logbus run ARGUMENTS`` would become."""
    made: list[dict[str, str]] = []
    monkeypatch.setattr("logbus.cli.run._become", lambda command, environment: made.append(environment))
    done = CliRunner().invoke(program, ["run", *arguments, "--", "true", "--level", "x"])
    assert done.exit_code == 0, done.output
    return made[0]


def test_the_default_endpoint_is_left_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They look whose directory it is, which they don't where somebody has named it."""
    made = become(monkeypatch)
    assert "LOGBUS_ENDPOINT" not in made
    assert "LOGBUS_CONTROL" not in made


def test_a_collector_that_is_named_is_that_of_every_worker(monkeypatch: pytest.MonkeyPatch, directories: Path) -> None:
    """By an option, or by a file of the directory in which ``logbus run`` was started."""
    made = become(monkeypatch, "--name", "shop")
    assert made["LOGBUS_ENDPOINT"] == f"ipc://{directories}/runtime/shop/records"
    assert made["LOGBUS_CONTROL"] == f"ipc://{directories}/runtime/shop/control"


def test_a_file_here_counts_for_workers_elsewhere(monkeypatch: pytest.MonkeyPatch, working_directory: Path) -> None:
    """A worker may have another working directory, or leave it."""
    (working_directory / "logbus.toml").write_text('[bus]\nendpoint = "ipc:///run/shop/records"\n')
    assert become(monkeypatch)["LOGBUS_ENDPOINT"] == "ipc:///run/shop/records"
