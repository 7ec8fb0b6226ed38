"""``logbus dead-letters``: what is asked of the collector, and how its answers are shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from logbus.bus import Endpoint
from logbus.cli import program
from tests.fake_collector import FakeCollector

STORE = {"letters": 5, "bytes": 4096, "max_bytes": 67_108_864, "evicted": 0, "lost": 0}


def letter(number: int, **given: Any) -> dict[str, Any]:
    """A letter as a collector shows it."""
    return {
        "id": number,
        "time": "2026-11-22T12:00:00.000000Z",
        "sink": "web",
        "reason": "answered 400",
        "dialect": "json",
        "records": 1,
        "line": f'{{"n":{number}}}',
        "truncated": False,
        **given,
    }


class Desk:
    """A collector's answers, and what it was asked."""

    def __init__(self, control: Endpoint) -> None:
        self.collector = FakeCollector(control, self.reply)
        self.letters = [letter(number) for number in range(1, 6)]
        self.answer: dict[str, Any] = {}

    def reply(self, command: dict[str, Any]) -> dict[str, Any]:
        """Pages of two letters, or what the test says."""
        if command["command"] != "dead_letters":
            return {"ok": True, **self.answer}
        left = [one for one in reversed(self.letters) if not command["below"] or one["id"] < command["below"]]
        page = left[: min(2, command["limit"])]
        sinks = {"web": len(self.letters)} if self.letters else {}
        return {"ok": True, "letters": page, "more": len(page) < len(left), "sinks": sinks, "store": STORE}

    def asked(self) -> list[dict[str, Any]]:
        """What every command wanted, without what each one carries."""
        envelope = ("v", "id", "at", "from", "name", "wait_seconds")
        return [
            {key: value for key, value in command.items() if key not in envelope and value not in (None, False)}
            for command in self.collector.commands
        ]


@pytest.fixture
def desk(directories: Path) -> Iterator[Desk]:
    """The default collector."""
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    desk = Desk(control)
    with desk.collector:
        yield desk


def run(*arguments: str) -> Result:
    """What the command did; its stdout is a pipe."""
    return CliRunner().invoke(program, ["dead-letters", *arguments], prog_name="logbus")


def test_a_list_ends_with_the_newest(desk: Desk) -> None:
    """Page after page is asked for until there are enough; how many there are in all stands below."""
    result = run("list", "-n", "3")
    assert (result.exit_code, result.stderr) == (0, "")
    numbers = [line.split()[0] for line in result.stdout.splitlines() if "answered 400" in line]
    assert numbers == ["3", "4", "5"]
    assert result.stdout.endswith("\n3 of 5 dead letters\n")
    assert [(asked["limit"], asked.get("below")) for asked in desk.asked()] == [(3, None), (1, 4)]


def test_all_of_a_list_in_json(desk: Desk) -> None:
    """One document, whole lines, the newest last."""
    result = run("list", "--json", "-n", "100", "--sink", "web")
    document = json.loads(result.stdout)
    assert [one["id"] for one in document["letters"]] == [1, 2, 3, 4, 5]
    assert document | {"letters": []} == {"letters": [], "total": 5, "sinks": {"web": 5}, "store": STORE}
    assert all(asked["full"] and asked["sink"] == "web" for asked in desk.asked())


def test_nothing_to_show_is_said(desk: Desk) -> None:
    """Not an empty table."""
    desk.letters = []
    assert run("list").stdout == "no dead letters\n"
    assert run("list", "--full").stdout == "no dead letters\n"


@pytest.mark.parametrize("full", [[], ["--full"]])
def test_what_a_server_says_can_not_write_on_the_terminal(desk: Desk, full: list[str]) -> None:
    """Escape sequences, markup and bidirectional overrides are shown; a cut line says that it is one."""
    desk.letters = [
        letter(1, reason="\x1b[2J[red]no\n", line="\u202eevil\x07", sink="\x1b]0;x"),
        letter(2, line="cut", truncated=True),
        letter(3, line="", records=7),
    ]
    text = run("list", *full).stdout
    assert "\\x1b[2J[red]no\\n" in text
    assert "\\u202eevil\\x07" in text
    assert "cut…" in text
    assert "(7 records: the other side has not said which)" in text
    assert "\x1b" not in text


def test_a_replay_says_what_went_and_what_stays(desk: Desk) -> None:
    """Exit 0 when nothing of it is left, 4 when a part is, 1 when nothing went."""
    desk.answer = {"replayed": 1200, "sinks": {"web": 1200}, "kept": [], "remaining": 0, "missing": 0}
    result = run("replay", "--all")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1,200 dead letters replayed: 1,200 of web\n", "")
    desk.answer |= {"kept": [{"sink": "old", "letters": 1, "reason": "none of this name"}], "remaining": 3}
    result = run("replay", "--sink", "web", "--timeout", "2")
    assert result.exit_code == 4
    assert result.stderr == (
        "logbus: error: sink 'old': 1 dead letter kept: none of this name\n"
        "logbus: error: 3 dead letters remain: their sinks did not take them within 2 s\n"
    )
    desk.answer = {"replayed": 0, "sinks": {}, "kept": [], "remaining": 0, "missing": 1}
    result = run("replay", "--id", "7")
    assert (result.exit_code, result.stderr) == (1, "logbus: error: no dead letter has this id\n")
    assert desk.asked() == [
        {"command": "dead_letters_replay", "all": True},
        {"command": "dead_letters_replay", "sink": "web"},
        {"command": "dead_letters_replay", "ids": [7]},
    ]
    assert [command["wait_seconds"] for command in desk.collector.commands] == [29.5, 1.5, 29.5]


def test_a_purge_says_how_many_are_left(desk: Desk) -> None:
    """By age, sink, both, id or all."""
    desk.answer = {"purged": 2, "missing": 0, "remaining": 5}
    assert run("purge", "--older-than", "7 days", "--sink", "web").stdout == "2 dead letters purged, 5 left\n"
    assert json.loads(run("purge", "--all", "--json").stdout) == desk.answer
    desk.answer = {"purged": 1, "missing": 2, "remaining": 5}
    result = run("purge", "--id", "1", "--id", "2", "--id", "3")
    assert (result.exit_code, result.stderr) == (4, "logbus: error: no dead letter has 2 of these ids\n")
    assert desk.asked() == [
        {"command": "dead_letters_purge", "sink": "web", "older_than": 604_800.0},
        {"command": "dead_letters_purge", "all": True},
        {"command": "dead_letters_purge", "ids": [1, 2, 3]},
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay"], "expected one of --sink, --id, --all, found none"),
        (["replay", "--all", "--id", "1"], "found --id and --all"),
        (["replay", "--id", "0"], "0 is not in the range"),
        (["purge"], "expected one of --sink, --id, --older-than, --all, found none"),
        (["purge", "--all", "--sink", "web"], "found --sink and --all"),
        (["purge", "--older-than", "7"], "expected a number and a unit"),
        (["purge", "--older-than", "7 days", "--sink", "web", "--all"], "expected --id or --all alone"),
        (["list", "-n", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_asks_nobody(desk: Desk, arguments: list[str], words: str) -> None:
    """Exit 2, and what would be right: a replay or purge of everything is never the default."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert desk.collector.commands == []


def test_without_a_collector_it_says_so(directories: Path) -> None:
    """The collector has the dead letters, nobody else touches them."""
    for arguments in (["list"], ["replay", "--all"], ["purge", "--all"]):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("logbus: error: no collector answered at ipc://")
