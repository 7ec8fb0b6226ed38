"""``logbus set-level``, ``reset-level`` and ``levels``: what is asked of a collector, and what a person is told."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from logbus.bus import Endpoint
from logbus.cli import program
from tests.fake_collector import FakeCollector

#: Every worker has confirmed.
DONE: dict[str, Any] = {
    "ok": True, "ledger": "x", "version": 7, "confirmed": 2, "workers": 2, "milliseconds": 12.3,
    "unconfirmed": [], "notes": [],
}  # fmt: skip
STUCK: dict[str, Any] = {"worker": "b", "pid": 42, "host": "h", "state": "stopped", "level_version": 6}
LEVELS: dict[str, Any] = {
    "ok": True, "collector": "eu", "ledger": "x", "version": 7,
    "rules": [
        {"selector": "", "level": 20, "level_name": "INFO", "rank": "configuration", "worker": "", "where": {},
         "expires": None, "version": 1, "at": 1_800_000_000.0, "by": "configuration", "remaining_seconds": None},
        {"selector": "rotator", "level": 11, "level_name": "11", "rank": "set", "worker": "api-*",
         "where": {"request_id": "7"}, "expires": 1.0, "version": 7, "at": 1_800_000_000.0, "by": "alice@h",
         "remaining_seconds": 599.7},
    ],
    "workers": [
        {"worker": "a", "pid": 41, "host": "h", "state": "connected", "level_version": 7, "current": True,
         "gate": "source", "gates": {"stdlib": "source", "loguru": "direct"}},
        {"worker": "b", "pid": 42, "host": "h", "state": "stopped", "level_version": 6, "current": False,
         "gate": "none", "gates": {}},
    ],
}  # fmt: skip


@pytest.fixture
def answer() -> dict[str, Any]:
    """What the default collector answers; a test may change it."""
    return copy.deepcopy(DONE)


@pytest.fixture
def fake(directories: Path, answer: dict[str, Any]) -> Iterator[FakeCollector]:
    """The default collector."""
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    with FakeCollector(control, lambda _: answer) as fake:
        yield fake


def run(*arguments: str) -> Result:
    """What the command did."""
    return CliRunner().invoke(program, [*arguments], prog_name="logbus")


def test_an_order_says_all_that_was_said(fake: FakeCollector) -> None:
    """Level, component, workers, time and conditions, and who asks, when, and how long he waits."""
    conditions = ("--where", "request_id=7", "--where", "a=b=c")
    options = ("--component", "rotator", "--worker", "api-*", "--for", "10 min", "--force", "--timeout", "20")
    assert run("set-level", "success", *options, *conditions).exit_code == 0
    assert run("set-level", "5").exit_code == 0
    first, second = fake.commands
    expected = {
        "command": "set_level", "selector": "rotator", "level": 25, "worker": "api-*", "for_seconds": 600.0,
        "where": {"request_id": "7", "a": "b=c"}, "force": True, "name": None, "wait_seconds": 19.5,
    }  # fmt: skip
    assert {key: first[key] for key in expected} == expected
    assert (second["level"], second["selector"], second["for_seconds"]) == (5, None, None)
    assert (second["where"], second["force"]) == ({}, False)
    assert second["wait_seconds"] == 4.5
    assert first["id"] != second["id"]
    assert {"user", "host", "pid"} == set(first["from"])


def test_a_reset_says_of_what(fake: FakeCollector) -> None:
    """Of one component and pattern, of all, or of the default."""
    for arguments in (("--component", "rotator", "--worker", "a"), ("--all",), ()):
        assert run("reset-level", *arguments).exit_code == 0
    assert [(found["selector"], found["worker"], found["all"]) for found in fake.commands] == [
        ("rotator", "a", False),
        (None, None, True),
        (None, None, False),
    ]


@pytest.mark.parametrize(("milliseconds", "words"), [(0.4, "0.4 ms"), (12.3, "12 ms"), (1234.5, "1234 ms")])
def test_one_line_says_how_it_went(
    fake: FakeCollector, answer: dict[str, Any], milliseconds: float, words: str
) -> None:
    """How many of how many, in what time, and nothing else where nothing else is to be said."""
    answer["milliseconds"] = milliseconds
    result = run("set-level", "DEBUG")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"2/2 workers confirmed in {words}\n", "")


def test_who_has_not_confirmed_is_named(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """Exit 4; name, pid, host and why on stderr, the count on stdout."""
    silent = {"worker": "c", "pid": 43, "host": "h", "state": "silent", "level_version": None}
    unknown = {"worker": "(not heard yet)", "pid": None, "host": None, "state": "connected", "level_version": None}
    answer |= {"confirmed": 1, "workers": 4, "unconfirmed": [STUCK, silent, unknown]}
    result = run("set-level", "DEBUG")
    assert (result.exit_code, result.stdout) == (4, "1/4 workers confirmed in 12 ms\n")
    assert result.stderr.splitlines() == [
        "logbus: error: not confirmed: b (pid 42, host h) is stopped, has level version 6",
        "logbus: error: not confirmed: c (pid 43, host h) is silent",
        "logbus: error: not confirmed: (not heard yet) has not answered",
    ]
    assert run("reset-level").exit_code == 4


def test_no_worker_is_no_failure(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """0 of 0, and the notes say what that means."""
    answer |= {"confirmed": 0, "workers": 0, "milliseconds": 0.0, "notes": ["no worker is running\x1b[2J"]}
    result = run("set-level", "DEBUG")
    assert (result.exit_code, result.stdout) == (0, "0/0 workers confirmed\n")
    assert result.stderr == "logbus: note: no worker is running\\x1b[2J\n"


def test_json_is_the_answer_and_nothing_else(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """Notes and names are in it; the exit code is the same."""
    answer |= {"confirmed": 1, "unconfirmed": [STUCK], "notes": ["x"]}
    result = run("set-level", "DEBUG", "--json")
    assert (result.exit_code, result.stderr) == (4, "")
    assert json.loads(result.stdout) == {key: value for key, value in answer.items() if key != "ok"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set-level",), "Missing argument 'LEVEL'"),
        (("set-level", "LOUD"), "level 'LOUD'"),
        (("set-level", "101"), "0 to 100"),
        (("set-level", "DEBUG", "--for", "10"), "a number and a unit"),
        (("set-level", "DEBUG", "--for", "0 s"), "more than nothing"),
        (("set-level", "DEBUG", "--where", "x"), "KEY=VALUE"),
        (("reset-level", "--all", "--component", "x"), "--component or --all, found both"),
    ],
    ids=range(7),
)
def test_wrong_usage_asks_nobody(fake: FakeCollector, arguments: tuple[str, ...], words: str) -> None:
    """Exit 2 with what would be right, and no command is sent."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout, fake.commands) == (2, "", [])
    assert words in result.stderr


def test_what_the_collector_refuses_is_said_as_it_says_it(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """A mistake ends with 2 and its reason alone; a failure there with its own code, and where it was."""
    answer.clear()
    answer |= {"ok": False, "error": "unknown component 'rotater': did you mean rotator?\n--force takes it"}
    answer["exit_code"] = 2
    result = run("set-level", "DEBUG", "--component", "rotater")
    assert (result.exit_code, result.stderr.splitlines()) == (
        2,
        ["logbus: error: unknown component 'rotater': did you mean rotator?", "logbus: error: --force takes it"],
    )
    answer["exit_code"] = 1
    result = run("set-level", "DEBUG")
    assert result.exit_code == 1
    assert "the collector refused 'set_level'" in result.stderr


def test_levels_shows_rules_and_workers(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """What is in force, by whom, until when; which worker has it, by which gate, and which one lags behind."""
    answer |= copy.deepcopy(LEVELS)
    result = run("levels")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [re.sub(r" {2,}", " | ", line.strip()) for line in result.stdout.splitlines()]
    assert lines[0] == "collector eu, level version 7"
    assert "component | level | workers | where | rank | by | since | ends in" in lines
    assert "default | INFO | all | configuration | configuration | 2027-01-15T08:00:00Z" in lines
    assert "rotator | 11 | api-* | request_id=7 | set-level | alice@h | 2027-01-15T08:00:00Z | 10 min" in lines
    assert "a | 41 | h | connected | 7 | stdlib source, loguru direct" in lines
    assert "b | 42 | h | stopped | 6, not yet 7 | none" in lines
    assert fake.commands[0]["name"] is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "1 s"), (59.2, "1 min"), (119.5, "2 min"), (130.0, "3 min"), (3599.9, "1 hour")]
)
def test_what_is_left_is_said_as_one_says_it(
    fake: FakeCollector, answer: dict[str, Any], seconds: float, words: str
) -> None:
    """In whole minutes, but for the last two."""
    answer |= copy.deepcopy(LEVELS)
    answer["rules"][1]["remaining_seconds"] = seconds
    assert re.search(rf" {words} *$", run("levels").stdout, re.MULTILINE)


def test_levels_without_anything_says_so(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """No rules and no workers are words, not empty tables."""
    answer |= {**LEVELS, "rules": [], "workers": []}
    assert run("levels").stdout.splitlines() == [
        "collector eu, level version 7",
        "",
        "no rules: every worker logs at the level of its own settings",
        "",
        "no worker is running",
    ]


def test_levels_as_json_is_the_document(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """For programs, whole."""
    answer.clear()
    answer |= LEVELS
    assert json.loads(run("levels", "--json").stdout) == {key: value for key, value in LEVELS.items() if key != "ok"}


def test_names_from_elsewhere_can_not_write_on_the_terminal(fake: FakeCollector, answer: dict[str, Any]) -> None:
    """Whatever a worker is called, and whatever a rule was set for."""
    answer |= copy.deepcopy(LEVELS)
    answer["workers"][0]["worker"] = answer["rules"][0]["by"] = "\x1b[2J\u202ex"
    answer["unconfirmed"] = [{**STUCK, "worker": "\x1b[2J"}]
    assert "\x1b" not in run("levels").output
    assert "\x1b" not in run("set-level", "DEBUG").output


def test_an_order_without_an_answer_may_be_in_force(fake: FakeCollector) -> None:
    """A collector that was killed, or is stopped, may have taken it: that is said. One that is not there has not."""
    fake.answer = lambda _: None
    result = run("set-level", "DEBUG", "--timeout", "0.2")
    assert (result.exit_code, result.stdout) == (1, "")
    first, second = result.stderr.splitlines()
    assert "no collector answered" in first
    assert second == "logbus: error: it may be in force all the same: logbus levels shows it"
    result = run("set-level", "DEBUG", "--control", f"{fake.control.url}-not-there")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


def test_an_order_that_is_interrupted_may_be_in_force(fake: FakeCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the wait, takes nothing back, and says so."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("logbus.cli.client.request", interrupted)
    result = run("set-level", "DEBUG")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "it may be in force all the same" in result.stderr
