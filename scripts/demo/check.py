"""The verdict of a run: each worker's statement against its row of the ledger and against the lines in the log file.

Half-way the operator sets DEBUG for the rotators. What that adds is counted apart: records below a worker's own level
come from rotators only, only while the level was set, each once, and as many as the worker emitted beyond its own.

Three counts of the same records, taken in three places that do not trust each other: the worker's witness (records
made), the ledger (emitted, collected, delivered), the file (each ordinal once, in order per thread). And the secrets
of the scene must be in no line, although the witnesses saw them in records.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from scripts.demo.debug import COMPONENT, Window
from scripts.demo.witness import BELOW, ORDINAL, Statement

#: Keys that every line must have (interface: a JSON log line).
REQUIRED_KEYS = frozenset(
    {"timestamp", "level", "message", "module", "function", "line", "logger", "component", "process_id", "worker"}
)
#: Findings of one kind that are told one by one; the rest is counted.
MAX_TOLD = 5


@dataclass(slots=True)
class Verdict:
    """What a check found: ``problems`` (none: all is well), and ``facts`` worth telling."""

    problems: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Lines:
    """The lines that a run added to the log file, as far as they concern the check."""

    total: int = 0
    with_request: int = 0
    #: Ordinals by (worker, process id), in the order of the file, by thread.
    ordinals: dict[tuple[str, int], dict[str, list[int]]] = field(default_factory=dict)
    #: Numbers of the records below a worker's level, by (worker, process id).
    below: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    #: Lines of the collector itself: gap records and warnings.
    own: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, worker: str, pid: int) -> int:
        """Lines of one worker process."""
        return sum(map(len, self.ordinals.get((worker, pid), {}).values()))


def end_of_last_line(log: Path) -> int:
    """The offset at which the next record goes, in bytes: after the last whole line, 0 without a file.

    A line that a killed collector left torn is cut when the next one starts, so it does not count.
    """
    if not log.exists():
        return 0
    with log.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def check(
    statements: Iterable[Statement],
    status: Mapping[str, Any],
    log: Path,
    offset: int,
    secrets: Iterable[str],
    window: Window,
) -> Verdict:
    """The verdict on a finished run. ``status`` is the document of ``logbus status --json``, taken at the end."""
    verdict = Verdict()
    if not log.exists():
        verdict.problems.append(f"{log}: expected the records of the run, found no file")
        return verdict
    with log.open("rb") as file:
        file.seek(offset)
        content = file.read()
    lines = read_lines(content, os.fspath(log), window)
    verdict.problems += lines.problems
    made = 0
    secret_records = 0
    for statement in statements:
        made += statement.ordinals
        secret_records += statement.secret_records
        below = lines.below.get((statement.worker, statement.pid), [])
        verdict.problems += check_witness(statement, len(below))
        verdict.problems += check_row(statement, status, len(below))
        verdict.problems += check_lines(statement, lines)
        verdict.facts.append(
            f"{statement.worker}: {statement.requests} requests, {statement.loguru_records} loguru and "
            f"{statement.stdlib_records} stdlib records, {lines.count(statement.worker, statement.pid)} in the file"
        )
    verdict.problems += check_balance(status, lines.total)
    shown = sum(map(len, lines.below.values()))
    if not shown:
        verdict.problems.append(f"no DEBUG record of {COMPONENT}: set-level was not put to the test")
    verdict.facts.append(f"{shown} DEBUG records of {COMPONENT} while the operator had set that level, none otherwise")
    verdict.problems += check_secrets(content, secrets, os.fspath(log))
    if not secret_records:
        verdict.problems.append("no record held a credential when it was made: the redaction was not put to the test")
    verdict.facts.append(
        f"{made} records made, {lines.total - lines.own - shown} in the file, each once and in order; "
        f"{lines.with_request} carry a request_id; {secret_records} were made with a credential in clear"
    )
    return verdict


def read_lines(content: bytes, where: str, window: Window) -> Lines:
    """What stands in the lines, with a problem for each that is torn, no JSON object, or lacks a required key."""
    lines = Lines()
    *whole, rest = content.split(b"\n")
    bad: list[str] = [f"{where}: the last line is torn ({len(rest)} bytes)"] if rest else []
    for number, raw in enumerate(whole, 1):
        lines.total += 1
        try:
            line = json.loads(raw)
            missing = REQUIRED_KEYS - line.keys()
        except (ValueError, AttributeError):
            bad.append(f"{where}: line {number} of the run is not a JSON object")
            continue
        if missing:
            bad.append(f"{where}: line {number} of the run lacks {', '.join(sorted(missing))}")
            continue
        if line["worker"] == "logbus":
            lines.own += 1
            continue
        lines.with_request += "request_id" in line
        extra = line.get("extra", {})
        if BELOW in extra:
            if line["component"] != COMPONENT or not window.covers(line["timestamp"]):
                bad.append(f"{where}: line {number} of the run is below its worker's level, and nobody asked for it")
            lines.below.setdefault((line["worker"], line["process_id"]), []).append(extra[BELOW])
            continue
        ordinal = extra.get(ORDINAL)
        if type(ordinal) is not int:
            bad.append(f"{where}: line {number} of the run has no extra.{ORDINAL}")
            continue
        process = lines.ordinals.setdefault((line["worker"], line["process_id"]), {})
        process.setdefault(line.get("thread_name", ""), []).append(ordinal)
    for (worker, _), numbers in lines.below.items():
        if len(set(numbers)) < len(numbers):
            bad.append(f"{where}: {worker}: a DEBUG record is there more than once")
    lines.problems = _told(bad)
    return lines


def check_witness(statement: Statement, below: int) -> list[str]:
    """Whether a worker's own counts agree with each other, and with what logbus told it.

    ``below`` is how many records below the worker's own level are in the file.
    """
    problems = []
    name = statement.worker
    counted = statement.loguru_records + statement.stdlib_records
    if counted != statement.ordinals:
        problems.append(f"{name}: {statement.ordinals} records numbered, but {counted} counted by its sink and handler")
    if statement.ordinals == 0:
        problems.append(f"{name}: no record made")
    if statement.logbus_emitted != statement.ordinals + below:
        made = f"{statement.ordinals} records made" + f" and {below} below its level" * bool(below)
        problems.append(f"{name}: {made}, but logbus emitted {statement.logbus_emitted}")
    if dropped := {reason: n for reason, n in statement.logbus_dropped.items() if n}:
        problems.append(f"{name}: expected no drop, found {dropped}")
    return problems


def check_row(statement: Statement, status: Mapping[str, Any], below: int) -> list[str]:
    """Whether the ledger's row of a worker says what its witness says."""
    name = statement.worker
    rows = [row for row in status["workers"] if (row["worker"], row["pid"]) == (name, statement.pid)]
    if len(rows) != 1:
        return [f"{name}: expected one row in the ledger for pid {statement.pid}, found {len(rows)}"]
    row = rows[0]
    expected = {
        "state": "gone",
        "emitted": statement.ordinals + below,
        "collected": statement.ordinals + below,
        "dropped": {},
        "in_flight": 0,
        "unknown": 0,
        "exact": True,
    }
    wrong = [f"{key} {row.get(key)!r} (expected {value!r})" for key, value in expected.items() if row.get(key) != value]
    return [f"{name}: the ledger says {', '.join(wrong)}"] if wrong else []


def check_lines(statement: Statement, lines: Lines) -> list[str]:
    """Whether each record of a worker is in the file once, and in order per thread."""
    name = statement.worker
    threads = lines.ordinals.get((name, statement.pid), {})
    seen = Counter(ordinal for ordinals in threads.values() for ordinal in ordinals)
    made = range(statement.ordinals)
    problems = []
    if missing := [n for n in made if n not in seen]:
        problems.append(f"{name}: {len(missing)} of {len(made)} records are not in the file, first {missing[0]}")
    if doubled := [n for n, times in seen.items() if times > 1]:
        problems.append(f"{name}: {len(doubled)} records are in the file more than once, one is number {doubled[0]}")
    if foreign := [n for n in seen if n not in made]:
        problems.append(f"{name}: {len(foreign)} records in the file were never made, one is number {foreign[0]}")
    for thread, ordinals in threads.items():
        if any(later < earlier for earlier, later in pairwise(ordinals)):
            problems.append(f"{name}: the records of thread {thread!r} are out of order in the file")
    return problems


def check_balance(status: Mapping[str, Any], total_lines: int) -> list[str]:
    """Whether the ledger balances, knows of no other loss, and its file sink says as many lines as there are."""
    problems = []
    if status["balanced"] is not True:
        problems += ["the ledger does not balance", *map(str, status.get("problems", []))]
    lost = [row["worker"] for row in status["workers"] if row["state"] == "crashed"]
    if lost:
        problems.append(f"lost workers in the ledger: {', '.join(lost)}")
    files = [sink for sink in status["sinks"] if sink["type"] == "file"]
    if len(files) != 1:
        return [*problems, f"expected one file sink in the ledger, found {len(files)}"]
    if files[0]["delivered"] != total_lines:
        delivered = files[0]["delivered"]
        problems.append(f"file sink: the ledger says {delivered} delivered, the file has {total_lines} new lines")
    return problems


def check_secrets(content: bytes, secrets: Iterable[str], where: str) -> list[str]:
    """Whether any secret stands in clear in what was written. A problem does not repeat the secret."""
    problems = []
    for number, secret in enumerate(secrets, 1):
        at = content.find(secret.encode())
        if at >= 0:
            line = content.count(b"\n", 0, at) + 1
            problems.append(f"{where}: line {line} of the run holds a credential in clear (secret number {number})")
    return problems


def _told(findings: list[str]) -> list[str]:
    more = len(findings) - MAX_TOLD
    return findings if more <= 0 else [*findings[:MAX_TOLD], f"… and {more} more of the kind"]
