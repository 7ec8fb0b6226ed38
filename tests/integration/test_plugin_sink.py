"""A sink of somebody else, as its author has it: the one of the documentation, in a package that is built, installed
apart and found by its name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.built import TIMEOUT, installed
from tests.collector_command import ROOT, CollectorCommand, child_environment, run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.worker import Worker

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "acme-sinks"
version = "1.0"
[project.entry-points."logbus.sinks"]
table = "acme_sinks:Table"
[tool.setuptools]
py-modules = ["acme_sinks"]
"""

#: What else the author has tried.
MORE = """

import logbus


class Picky(Table):
    def __init__(self, path: str, token: str) -> None:
        super().__init__(path)
        if not token.isalnum():
            raise ValueError(f"what is {token}?")
        self.failures = 2

    def write(self, lines: list[bytes]) -> None:
        if any(b"poison" in line for line in lines):
            raise logbus.RefusedError("can't take that")
        if self.failures:
            self.failures -= 1
            raise SystemExit("not yet")
        super().write(lines)
"""

CONFIG = """
[[sinks]]
type = "table"
options = {{ path = "{path}/all.db" }}
components = ["till"]
batch = {{ max_delay = "10 ms" }}

[[sinks]]
type = "acme_sinks:Picky"
options = {{ path = "{path}/picky.db", token = "${{ACME_TOKEN}}" }}
components = ["till"]
static_fields = {{ site = "berlin" }}
batch = {{ max_delay = "10 ms" }}
retry = {{ initial = "10 ms", max_interval = "50 ms" }}
"""


def the_example() -> str:
    """The module that the documentation shows."""
    found = re.search(r"```python\n(# acme_sinks\.py\n.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package in it."""
    return installed(
        tmp_path_factory.mktemp("acme"), {"pyproject.toml": PYPROJECT, "acme_sinks.py": the_example() + MORE}
    )


@pytest.fixture
def with_it(site: Path) -> dict[str, str]:
    """Variables with which a collector finds the package, and its token."""
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "ACME_TOKEN": "hunter2"}


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines in a database, in their order."""
    with closing(sqlite3.connect(path)) as database:
        return [json.loads(line) for (line,) in database.execute("SELECT line FROM log ORDER BY rowid")]


def rows_of(collector: CollectorCommand) -> dict[str, dict[str, Any]]:
    """The rows of the sinks by name, once what the worker sent has ended in all of them; none before."""
    status = collector.status()
    rows = {row["name"]: row for row in status["sinks"]}
    done = all(row["offered"] - row["filtered"] == 20 and not row["queued"] for row in rows.values())
    return rows if done and status["balanced"] else {}


def test_ten_lines_are_a_sink(
    start_collector: StartCollector, start_worker: Callable[..., Worker], with_it: dict[str, str], tmp_path: Path
) -> None:
    """By entry point or by place, with options: what it takes is delivered once, what it refuses is not, and what it
    raises, sys.exit() too, has the lines come again.
    """
    assert 10 <= len([line for line in the_example().splitlines() if line.strip()]) <= 12
    (tmp_path / "logbus.toml").write_text(CONFIG.format(path=tmp_path))
    collector = start_collector(env=with_it)
    worker = start_worker("""
        logbus.configure()
        for n in range(20):
            log.warning("poison" if n % 5 == 3 else "line %d", *([n] if n % 5 != 3 else []))
        logbus.shutdown(10)
    """)
    worker.wait()
    assert worker.process.returncode == 0, worker.stderr
    rows = eventually(lambda: rows_of(collector), what="all of it in the books")
    assert [(row["type"], row["delivered"], row["dropped"]) for row in rows.values()] == [
        ("table", 20, {}),
        ("acme_sinks:Picky", 16, {"rejected": 4}),
    ]
    assert "hunter2" not in json.dumps(collector.status())
    assert collector.stop() == 0
    assert len(lines_of(tmp_path / "all.db")) == 20
    kept = lines_of(tmp_path / "picky.db")
    assert [line["message"] for line in kept] == [f"line {n}" for n in range(20) if n % 5 != 3]
    assert {line["site"] for line in kept} == {"berlin"}
    assert "hunter2" not in collector.stderr


def test_wrong_options_are_told_at_the_start_and_at_a_reload(
    start_collector: StartCollector, with_it: dict[str, str], tmp_path: Path
) -> None:
    """By the sink and what it says; a running collector goes on as before."""
    config = tmp_path / "logbus.toml"
    config.write_text(CONFIG.format(path=tmp_path))
    refused = start_collector(ready=False, env={**with_it, "ACME_TOKEN": "hunter-2"})
    assert refused.process.wait(TIMEOUT) == 2
    assert "sink 'Picky': options: expected such as \"acme_sinks:Picky\" takes: ValueError: what is ***?" in (
        refused.stderr
    )
    unset = start_collector(ready=False, env={name: value for name, value in with_it.items() if name != "ACME_TOKEN"})
    assert unset.process.wait(TIMEOUT) == 2
    assert "sinks[1].options.token: expected a value of ACME_TOKEN in the environment of the collector" in unset.stderr
    collector = start_collector(env=with_it)
    config.write_text(CONFIG.format(path=tmp_path).replace("${ACME_TOKEN}", "not-one"))
    collector.process.send_signal(signal.SIGHUP)
    eventually(lambda: collector.status()["collector"]["configuration"]["error"], what="the refusal of the reload")
    assert [row["state"] for row in collector.status()["sinks"]] == ["ok", "ok"]
    assert collector.stop() == 0


def test_what_is_wrong_with_it_is_told_by_validate(with_it: dict[str, str], tmp_path: Path) -> None:
    """Without making one: no such argument, no such name; and without the package what would be right."""
    config = tmp_path / "c.toml"
    config.write_text('[[sinks]]\ntype = "table"\noptions = { pth = "x" }\n[[sinks]]\ntype = "tabel"\n')
    done = run_logbus("config", "validate", str(config), env=child_environment(**with_it))
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert 'sinks[0].options: expected the arguments "path": TypeError: missing a required argument' in first
    assert second.endswith('or "package.module:Name", found "tabel"; did you mean table?')
    config.write_text('[[sinks]]\ntype = "acme_sinks:Table"\noptions = { path = "x" }\n')
    assert run_logbus("config", "validate", str(config), env=child_environment(**with_it)).returncode == 0
    done = run_logbus("config", "validate", str(config))
    assert done.returncode == 2
    assert "sinks[0].type: expected a sink that can be loaded" in done.stderr
    assert "No module named 'acme_sinks'" in done.stderr
