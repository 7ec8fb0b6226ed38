"""Formats as users have them: whatever workers log is a line in each; those of other people are found and used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import logfmtkv
import pytest

from logbus.collectors.schema import record_schema
from tests.built import TIMEOUT, installed
from tests.collector_command import ROOT, CollectorCommand, run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.tail_command import tail_command
from tests.worker import Worker

#: What loggers are given in real life, and what broke formatters before: each call is a record.
HOSTILE = """
import decimal, math, uuid
logbus.configure()
cycle = []
cycle.append(cycle)
request = uuid.UUID(int=7)
def fail():
    try:
        try:
            {}["weight"]
        except KeyError as error:
            raise ValueError("no weights:\\nset some") from error
    except ValueError as error:
        raise ExceptionGroup("checks", [error, TimeoutError("\\x1b[31mlate\\u202e")]) from None
log.info("uuid", extra={"request_id": request, "ids": [request, {request: request}]})
try:
    fail()
except ExceptionGroup:
    log.exception("failed", extra={"amount": decimal.Decimal("1.10"), "operation": "check"})
log.warning("numbers", extra={"nan": math.nan, "inf": [-math.inf], "huge": 10**30, "raw": b"\\xff\\0"})
log.info("cycle", extra={"cycle": cycle, "a b": 1, "a=b": 2, 'a"b': 3, "": 4})
log.info("two\\nlines level=ERROR \\ud800 \\u2028 \\x9b31m", extra={"text": 'say "hi" = \\\\ \\n'})
log.error("object", extra={"thing": object(), "class": int, "nothing": None, "yes": True, "text": "null"})
logbus.shutdown(10)
"""

#: A package of somebody else, as its author writes it.
PACKAGE = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "acme-formats"
version = "1.0"
[project.entry-points."logbus.formats"]
acme = "acme_formats:line_of"
[tool.setuptools]
py-modules = ["acme_formats"]
""",
    "acme_formats.py": """
def line_of(record):
    if "poison" in record["message"]:
        raise RuntimeError("can't write that")
    return f"{record['severity']}|{record['site']}|{record['message']}|{record.get('extra', {}).get('n', '-')}"


def stamp(line, rate):
    return f"{line}|{rate}"


line_of.stamp = stamp


class Short:
    def __call__(self, record):
        return record["message"] + "\\n"
""",
}


def test_whatever_is_logged_is_a_line_in_every_format(
    start_collector: StartCollector, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """UUIDs, groups of exceptions, NaN, bytes, cycles, newlines and odd keys: each record is a line that reads back."""
    collector = start_collector(
        *("--sink", "file:out.jsonl,components=till", "--sink", "file:out.logfmt,format=logfmt,components=till"),
        *("--sink", "file:out.txt,format=text,components=till"),
    )
    worker = start_worker(HOSTILE)
    worker.wait()
    assert worker.process.returncode == 0, worker.stderr
    assert collector.stop() == 0
    as_json = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    as_logfmt = [
        logfmtkv.parse(line.decode(), strict=True, duplicates="error")
        for line in (tmp_path / "out.logfmt").read_bytes().split(b"\n")[:-1]
    ]
    as_text = (tmp_path / "out.txt").read_text().split("\n")[:-1]
    assert len(as_json) == len(as_logfmt) == len(as_text) == 6
    validator = jsonschema.Draft202012Validator(record_schema())
    for line, fields, text in zip(as_json, as_logfmt, as_text, strict=True):
        validator.validate(line)
        assert text.isprintable()
        for key in ("timestamp", "level", "message", "logger", "worker", "function"):
            assert fields[key] == line[key]
        assert {key.removeprefix("extra.") for key in fields if key.startswith("extra.")} == {
            key.replace(" ", "%20").replace("=", "%3D").replace('"', "%22") for key in line.get("extra", {})
        }
    assert as_json[0]["request_id"] == as_logfmt[0]["request_id"] == "00000000-0000-0000-0000-000000000007"
    raised = as_json[1]["exception"]
    assert [member["type"] for member in raised["exceptions"]] == ["ValueError", "TimeoutError"]
    assert raised["exceptions"][0]["cause"]["type"] == "KeyError"
    assert as_logfmt[1]["exception.exceptions[0].message"] == "no weights:\nset some"
    assert "member 1 ValueError: no weights" in as_text[1]
    assert "caused by KeyError: 'weight'" in as_text[1]
    assert as_logfmt[4]["message"] == as_json[4]["message"]
    assert str(as_json[4]["message"]).startswith("two\nlines level=ERROR ")


def test_tail_shows_logfmt(start_collector: StartCollector, tmp_path: Path) -> None:
    """``logbus tail --format logfmt`` shows the very line that a sink of that format has."""
    collector = start_collector("--sink", "file:out.logfmt,format=logfmt,components=root")
    with tail_command(tmp_path, "--format", "logfmt", "-n", "1", "--grep", "two words") as tail:
        assert run_logbus("emit", "two words", "n=1").returncode == 0
        tail.wait()
        [line] = tail.lines
    assert logfmtkv.parse(line, strict=True)["message"] == "two words"
    assert collector.stop() == 0
    assert (tmp_path / "out.logfmt").read_text() == line


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package in it."""
    return installed(tmp_path_factory.mktemp("acme"), PACKAGE)


CONFIG = """
[[sinks]]
type = "file"
name = "acme"
path = "out.acme"
format = "acme"
components = ["till"]
rename_fields = { level = "severity" }
static_fields = { site = "berlin" }

[[sinks]]
type = "file"
name = "short"
path = "out.short"
format = "acme_formats:Short"
components = ["till"]

[[sinks]]
type = "file"
name = "plain"
path = "out.jsonl"
components = ["till"]
"""


def test_a_format_of_another_package_is_used_by_its_name(
    start_collector: StartCollector, start_worker: Callable[..., Worker], site: Path, tmp_path: Path
) -> None:
    """By entry point or by place; a record that it fails for is counted as unencodable there, and written elsewhere."""
    (tmp_path / "logbus.toml").write_text(CONFIG)
    collector = start_collector(env={"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"})
    worker = start_worker("""
        logbus.configure()
        for n in range(20):
            log.warning("poison\\n" if n % 5 == 3 else "line %d\\n", *([n] if n % 5 != 3 else []), extra={"n": n})
        logbus.shutdown(10)
    """)
    worker.wait()
    assert worker.process.returncode == 0, worker.stderr
    rows = eventually(lambda: _settled(collector), what="all of it in the books")
    assert (rows["acme"]["delivered"], rows["acme"]["dropped"], rows["acme"]["state"]) == (
        *(16, {"unencodable": 4}),
        "failing",
    )
    assert "can't write that" in rows["acme"]["last_error"]
    for name in ("short", "plain"):
        assert (rows[name]["delivered"], rows[name]["dropped"], rows[name]["state"]) == (20, {}, "ok")
    assert collector.stop() == 0
    good = [n for n in range(20) if n % 5 != 3]
    assert (tmp_path / "out.acme").read_text().splitlines() == [rf"WARNING|berlin|line {n}\u000a|{n}" for n in good]
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 20
    assert (tmp_path / "out.short").read_text().count("\n") == 20


def test_a_format_that_is_not_installed_is_refused(start_collector: StartCollector, tmp_path: Path) -> None:
    """Without the package the collector doesn't start, and says which name it does not know."""
    (tmp_path / "logbus.toml").write_text(CONFIG)
    collector = start_collector(ready=False)
    assert collector.process.wait(TIMEOUT) == 2
    assert 'sinks[0].format: expected one of json, logfmt, text, or "package.module:Name", found "acme"' in (
        collector.stderr
    )
    assert "No module named 'acme_formats'" in collector.stderr


def _settled(collector: CollectorCommand) -> dict[str, dict[str, Any]]:
    """The rows of the sinks by name, once what the worker sent has gone through; none before."""
    status = collector.status()
    rows = {row["name"]: row for row in status["sinks"]}
    done = all(row["offered"] - row["filtered"] == 20 and not row["queued"] for row in rows.values())
    return rows if done and status["balanced"] else {}
