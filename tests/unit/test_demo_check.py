"""The demo's verdict: it is clean for a good run, and names each fault that is planted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.demo.check import Verdict, check, end_of_last_line
from scripts.demo.debug import Window
from scripts.demo.witness import Statement

SECRETS = ("s3cret-password", "s3cret-cookie")
OLD = b'{"an": "old line"}\n'


class Evidence:
    """A good run of one worker with five records and one at DEBUG; tests spoil one piece of it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.statement = Statement(
            worker="sync-1",
            pid=7,
            requests=2,
            failed_requests=0,
            ordinals=5,
            loguru_records=3,
            stdlib_records=2,
            secret_records=1,
            logbus_emitted=6,
            logbus_sent=6,
        )
        self.window = Window("2026-11-22T11:59:59.000000Z", "2026-11-22T12:00:01.000000Z")
        self.lines: list[dict[str, Any]] = [self.line(ordinal) for ordinal in range(5)]
        self.lines.append({**self.line(0), "level": "DEBUG", "extra": {"ordinal_below": 3}})
        row = {
            "worker": "sync-1",
            "pid": 7,
            "state": "gone",
            "exact": True,
            "dropped": {},
            "in_flight": 0,
            "unknown": 0,
        }
        self.row: dict[str, Any] = {**row, "emitted": 6, "collected": 6}
        self.sink: dict[str, Any] = {"name": "main", "type": "file", "delivered": 6}
        self.status: dict[str, Any] = {"workers": [self.row], "sinks": [self.sink], "balanced": True}
        self.tail = b""

    def line(self, ordinal: int) -> dict[str, Any]:
        """One line of the log file."""
        return {
            "timestamp": "2026-11-22T12:00:00.000000Z",
            "level": "INFO",
            "message": "Making GET request",
            "module": "sync",
            "function": "_make_request",
            "line": 1,
            "logger": "proxywhirl.rotator.sync",
            "component": "rotator",
            "process_id": 7,
            "thread_name": f"client-{ordinal % 2}",
            "worker": "sync-1",
            "request_id": "1",
            "extra": {"ordinal": ordinal},
        }

    def verdict(self) -> Verdict:
        """What the check says of it."""
        self.log.write_bytes(OLD + b"".join(json.dumps(line).encode() + b"\n" for line in self.lines) + self.tail)
        return check([self.statement], self.status, self.log, len(OLD), SECRETS, self.window)


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    """A good run, after an earlier one in the same file."""
    return Evidence(tmp_path / "proxywhirl.jsonl")


def test_a_good_run_has_no_problem(evidence: Evidence) -> None:
    """A run whose three counts agree has no problem, whatever stood in the file before."""
    verdict = evidence.verdict()
    assert verdict.problems == []
    assert verdict.facts[0] == "sync-1: 2 requests, 3 loguru and 2 stdlib records, 5 in the file"


def test_lines_of_the_collector_itself_are_allowed(evidence: Evidence) -> None:
    """The collector's own lines count as delivered, and belong to no worker."""
    evidence.lines.append({**evidence.line(0), "worker": "logbus", "extra": {}})
    evidence.sink["delivered"] = 7
    assert evidence.verdict().problems == []


def _lose_a_line(evidence: Evidence) -> None:
    evidence.lines.pop(2)
    evidence.sink["delivered"] = 5


def _double_a_line(evidence: Evidence) -> None:
    evidence.lines.append(evidence.line(4))
    evidence.sink["delivered"] = 7


def _swap_two_lines(evidence: Evidence) -> None:
    evidence.lines[0], evidence.lines[2] = evidence.lines[2], evidence.lines[0]


def _invent_a_line(evidence: Evidence) -> None:
    evidence.lines.append(evidence.line(9))
    evidence.sink["delivered"] = 7


def _tear_the_last_line(evidence: Evidence) -> None:
    evidence.tail = b'{"torn'


def _leave_out_a_key(evidence: Evidence) -> None:
    del evidence.lines[1]["function"]


def _write_no_json(evidence: Evidence) -> None:
    evidence.tail = b"plain text\n"


def _write_a_secret(evidence: Evidence) -> None:
    evidence.lines[3]["message"] = f"with {SECRETS[1]} in it"


def _put_nothing_to_the_test(evidence: Evidence) -> None:
    evidence.statement = replace(evidence.statement, secret_records=0)


def _miscount(evidence: Evidence) -> None:
    evidence.statement = replace(evidence.statement, stdlib_records=1)


def _emit_less(evidence: Evidence) -> None:
    evidence.statement = replace(evidence.statement, logbus_emitted=5)


def _drop_one(evidence: Evidence) -> None:
    evidence.statement = replace(evidence.statement, logbus_dropped={"high_water_mark": 1})


def _make_none(evidence: Evidence) -> None:
    evidence.statement = replace(evidence.statement, ordinals=0, loguru_records=0, stdlib_records=0, logbus_emitted=1)


def _collect_less(evidence: Evidence) -> None:
    evidence.row.update(collected=5, in_flight=1)


def _crash(evidence: Evidence) -> None:
    evidence.row["state"] = "crashed"


def _forget_the_worker(evidence: Evidence) -> None:
    evidence.status["workers"] = []


def _unbalance(evidence: Evidence) -> None:
    evidence.status.update(balanced=False, problems=["worker sync-1: emitted 5, accounted for 4"])


def _deliver_less(evidence: Evidence) -> None:
    evidence.sink["delivered"] = 5


def _show_what_nobody_asked_for(evidence: Evidence) -> None:
    evidence.lines[5]["component"] = "cache"


def _go_on_after_the_reset(evidence: Evidence) -> None:
    evidence.lines[5]["timestamp"] = "2026-11-22T12:00:01.000001Z"


def _double_a_debug_line(evidence: Evidence) -> None:
    evidence.lines.append(evidence.lines[5])


def _show_nothing(evidence: Evidence) -> None:
    del evidence.lines[5]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_lose_a_line, "1 of 5 records are not in the file, first 2"),
        (_double_a_line, "1 records are in the file more than once, one is number 4"),
        (_swap_two_lines, "the records of thread 'client-0' are out of order"),
        (_invent_a_line, "1 records in the file were never made, one is number 9"),
        (_tear_the_last_line, "the last line is torn (6 bytes)"),
        (_leave_out_a_key, "line 2 of the run lacks function"),
        (_write_no_json, "line 7 of the run is not a JSON object"),
        (_write_a_secret, "line 4 of the run holds a credential in clear (secret number 2)"),
        (_put_nothing_to_the_test, "the redaction was not put to the test"),
        (_miscount, "5 records numbered, but 4 counted"),
        (_emit_less, "5 records made and 1 below its level, but logbus emitted 5"),
        (_drop_one, "expected no drop, found {'high_water_mark': 1}"),
        (_make_none, "no record made"),
        (_collect_less, "the ledger says collected 5 (expected 6), in_flight 1 (expected 0)"),
        (_crash, "lost workers in the ledger: sync-1"),
        (_forget_the_worker, "expected one row in the ledger for pid 7, found 0"),
        (_unbalance, "the ledger does not balance"),
        (_deliver_less, "the ledger says 5 delivered, the file has 6 new lines"),
        (_show_what_nobody_asked_for, "line 6 of the run is below its worker's level, and nobody asked for it"),
        (_go_on_after_the_reset, "line 6 of the run is below its worker's level, and nobody asked for it"),
        (_double_a_debug_line, "sync-1: a DEBUG record is there more than once"),
        (_show_nothing, "set-level was not put to the test"),
    ],
)
def test_each_planted_fault_is_named(evidence: Evidence, spoil: Callable[[Evidence], None], expected: str) -> None:
    """Whatever is wrong in one of the three places is a problem that says what and where."""
    spoil(evidence)
    problems = evidence.verdict().problems
    assert any(expected in problem for problem in problems), problems
    assert not any(secret in problem for problem in problems for secret in SECRETS)


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """No log file at all is told as that."""
    problems = check(
        [], {"workers": [], "sinks": [], "balanced": True}, tmp_path / "none", 0, SECRETS, Window()
    ).problems
    assert problems == [f"{tmp_path / 'none'}: expected the records of the run, found no file"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 0),
        (b"torn", 0),
        (b"a\n", 2),
        (b"a\nb\ntorn", 4),
        (b"a\n" + b"x" * 200_000, 2),
        (b"x" * 200_000 + b"\n", 200_001),
    ],
)
def test_a_run_begins_after_the_last_whole_line(tmp_path: Path, content: bytes, expected: int) -> None:
    """What an earlier run left counts up to its last newline: a torn rest is cut by the collector."""
    log = tmp_path / "log"
    log.write_bytes(content)
    assert end_of_last_line(log) == expected
    assert end_of_last_line(tmp_path / "none") == 0
