"""The demo as people run it: the real proxywhirl, supervisor, collector and workers, and everything that may go wrong.

Without the demo's packages (requirements/demo.lock) these tests are skipped on a laptop, and fail in CI.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from logbus.collectors.schema import record_schema
from scripts.demo import leash
from scripts.demo.layout import CHECKOUT, WORKERS, Layout
from tests.eventually import eventually

#: Seconds of requests in these tests, and seconds until a command of the demo must have ended.
SECONDS = "4"
PATIENCE = 90.0

MISSING = [name for name in ("proxywhirl", "supervisor") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.timeout(240),
]


class Demo:
    """The demo with its files in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "logs" / "proxywhirl.jsonl"
        self.once = Layout(directory / ".run" / "once")
        self.service = Layout(directory / ".run" / "service")

    def start(self, command: str, *options: str) -> subprocess.Popen[str]:
        """Starts one command of the demo."""
        return subprocess.Popen(
            [sys.executable, "-m", "scripts.demo", command, "--directory", str(self.directory), *options],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, *options: str) -> tuple[int, str]:
        """Exit code and output of one command of the demo."""
        with self.start(command, *options) as process:
            output, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, output

    def lines(self) -> int:
        """Lines in the log file."""
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0

    def pid(self, layout: Layout, name: str) -> int:
        """The pid of a living process, waited for."""
        return eventually(lambda: next(iter(leash.living(layout.alive, name)), 0), PATIENCE, what=f"{name} lives")

    def nothing_is_left(self) -> bool:
        """Whether no process and no socket of the demo exists any more."""
        layouts = (self.once, self.service)
        processes = [process for layout in layouts for process in leash.living(layout.alive)]
        sockets = [path for layout in layouts for path in layout.sockets.rglob("*") if path.is_socket()]
        return not processes and not sockets


@pytest.fixture
def demo(directories: Path) -> Iterator[Demo]:
    """A demo, of which nothing is left at the end."""
    demo = Demo(directories / "demo")
    try:
        yield demo
        assert demo.nothing_is_left()
    finally:
        for layout in (demo.once, demo.service):
            leash.reap(layout.alive, patience=2)


def test_demo_packages_are_installed() -> None:
    """In CI the demo's packages are there, so that the tests below are not passed by being left out."""
    assert MISSING == []


def test_run_accounts_for_every_record_even_after_a_killed_run(demo: Demo) -> None:
    """A run that is killed leaves no process, and the next one finds all counts equal and no credential in the file."""
    with demo.start("run", "--seconds", "60") as killed:
        eventually(lambda: demo.lines() > 50, PATIENCE)
        killed.kill()
        killed.communicate()
    eventually(lambda: not leash.living(demo.once.alive), PATIENCE)
    before = demo.lines()
    code, output = demo.run("run", "--seconds", SECONDS)
    assert code == 0, output
    assert "FAILED" not in output
    assert output.rstrip().endswith(f"log file: {demo.log}")
    statements = [json.loads((demo.once.witnesses / f"{worker}.json").read_text()) for worker in WORKERS]
    assert demo.lines() - before >= sum(statement["ordinals"] for statement in statements) > 200
    assert all(statement["loguru_records"] and statement["stdlib_records"] for statement in statements)
    assert sum(statement["secret_records"] for statement in statements) > 0
    # All that the real package logs is a line by the contract; lines of one call with the same fields are alike.
    shapes = {}
    for text in demo.log.read_bytes().splitlines():
        line = json.loads(text)
        shapes[line["logger"], line["line"], line["level"], *line, *line.get("extra", ())] = line
    assert len({line["logger"] for line in shapes.values()}) > 5
    validator = jsonschema.Draft202012Validator(record_schema())
    for line in shapes.values():
        validator.validate(line)


def test_run_says_which_worker_was_lost(demo: Demo) -> None:
    """A worker that is killed makes the run fail with its name, and everything is torn down."""
    with demo.start("run", "--seconds", "60") as process:
        pid = demo.pid(demo.once, "async-1")
        eventually(lambda: demo.lines() > 50, PATIENCE)
        os.kill(pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, output
    assert "FAILED: lost worker async-1" in output


def test_interrupted_run_tears_everything_down(demo: Demo) -> None:
    """Ctrl-C ends a run with 130, and a second run on the directory is refused while the first one goes on."""
    with demo.start("run", "--seconds", "60") as process:
        demo.pid(demo.once, "sync-1")
        code, output = demo.run("run")
        assert code == 1
        assert f"another demo command is at work in {demo.once.directory} (pid {process.pid})" in output
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output


def test_service_restarts_what_crashes_and_goes_down_without_loss(demo: Demo) -> None:
    """The service restarts a killed collector, says its state, refuses a run meanwhile, and balances at the end."""
    try:
        code, output = demo.run("up")
        assert code == 0, output
        assert demo.run("up")[1].startswith("already up")
        code, output = demo.run("ps")
        assert code == 0, output
        assert all(worker in output for worker in WORKERS)
        first = demo.pid(demo.service, "collector")
        os.kill(first, signal.SIGKILL)
        eventually(lambda: leash.living(demo.service.alive, "collector").keys() - {first}, PATIENCE)
        before = demo.lines()
        eventually(lambda: demo.lines() > before + 20, PATIENCE, what="records flow into the new collector")
        code, output = demo.run("run")
        assert code == 1
        assert "`make down` first" in output
    finally:
        code, output = demo.run("down")
    assert code == 0, output
    assert "shutdown" not in output
    assert demo.run("down") == (0, "not up\n")
    assert demo.run("ps")[0] == 1
