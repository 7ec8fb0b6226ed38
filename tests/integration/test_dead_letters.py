"""Dead letters of a real collector whose server refuses: kept, shown, replayed, purged; counted at each step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from logbus.bus import Endpoint
from logbus.cli import program
from logbus.cli.client import request
from tests.conftest import StartCollector
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import lines_of, settled, sink_of
from tests.servers.faulty_http import FaultyHttp

CONFIGURATION = """
[[sinks]]
name = "web"
type = "http"
url = "{url}/ingest"
batch = {{ max_records = 50, max_delay = "20 ms" }}
retry = {{ initial = "50 ms", max_interval = "200 ms" }}

[[sinks]]
name = "file"
type = "file"
path = "out.jsonl"
"""
POISON = {"when": {"marked": "poison"}, "status": 400, "body": "bad record \x1b[2J, Authorization: Bearer s3cret-t0ken"}


class Shop:
    """A collector in front of a server, and a worker that logs to it."""

    def __init__(self, start: StartCollector, server: FaultyHttp, directory: Path) -> None:
        (directory / "logbus.toml").write_text(CONFIGURATION.format(url=server.url))
        self.server = server
        self.directory = directory
        self._start = start
        self._lives = count(1)
        self.collector = start()
        self.replayed = 0

    def restart(self) -> None:
        """Kills the collector; another one begins."""
        self.collector.kill()
        self.collector = self._start()

    def log(self, *messages: str) -> None:
        """Has a new worker log these."""
        with RawSender(self.collector.endpoint) as sender:
            who = producer(next(self._lives))
            sender.send(data(who, 0, *messages), mark(who, sent=len(messages), bye=True))

    def at_rest(self, dead: int) -> dict[str, Any]:
        """The sink's row once nothing waits and so many letters are there, in a ledger that balances."""

        def look(status: dict[str, Any]) -> bool:
            row = sink_of(status, "web")
            return row["dead_letters"] == dead and not row["queued"]

        status = settled(self.collector, look)
        assert status["balanced"], status["problems"]
        assert status["collector"]["dead_letters"]["letters"] == dead
        return sink_of(status, "web")

    def order(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """What a dead-letters command says in JSON; it ends with this code."""
        done = self.run("dead-letters", *arguments, "--json")
        assert done.exit_code == code, done.output
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def run(self, *arguments: str) -> Result:
        """What a command did."""
        return CliRunner().invoke(program, [*arguments, "--control", self.collector.control], prog_name="logbus")

    def letters(self) -> dict[int, str]:
        """The messages of the letters, by their numbers."""
        found = self.order("list", "-n", "1000")["letters"]
        return {letter["id"]: json.loads(letter["line"])["message"] for letter in found}

    def arrived(self) -> Counter[str]:
        """How often the server has accepted each of the worker's messages."""
        records = map(json.loads, self.server.lines)
        return Counter(record["message"] for record in records if record["worker"] != "logbus")


@pytest.fixture
def shop(start_collector: StartCollector, start_http: Callable[..., FaultyHttp], tmp_path: Path) -> Shop:
    """A shop whose server refuses poison."""
    server = start_http()
    server.always(**POISON)
    return Shop(start_collector, server, tmp_path)


def test_what_is_refused_is_kept_replayed_and_purged(shop: Shop) -> None:
    """Through a kill, and counted at each step: rejected once, offered anew, delivered once."""
    good = [f"record {number}" for number in range(17)]
    shop.log(*good[:10], "poison 1", "poison 2", *good[10:], "poison 3")
    row = shop.at_rest(3)
    assert (row["dropped"], row["state"]) == ({"rejected": 3}, "ok")
    assert shop.arrived() == Counter(good)
    found = shop.order("list")["letters"]
    assert [letter["sink"] for letter in found] == ["web"] * 3
    assert {letter["reason"] for letter in found} == {"answered 400 Bad Request: bad record [2J, Authorization: ***"}

    shop.restart()
    letters = shop.letters()
    assert list(letters.values()) == ["poison 1", "poison 2", "poison 3"]
    assert shop.at_rest(3)["dropped"]["rejected"] == 3

    # As long as the server refuses, they come back under other numbers, once.
    first = min(letters)
    assert shop.order("replay", "--id", str(first)) == {
        "replayed": 1, "sinks": {"web": 1}, "kept": [], "remaining": 0, "missing": 0,
    }  # fmt: skip
    assert shop.at_rest(3)["dropped"]["rejected"] == 4
    again = shop.letters()
    assert list(again.values()) == ["poison 2", "poison 3", "poison 1"]
    assert max(again) > max(letters)

    shop.server.always()
    before = shop.at_rest(3)
    assert shop.order("replay", "--sink", "web")["replayed"] == 3
    row = shop.at_rest(0)
    told = row["offered"] - before["offered"] - 3  # that it was done is a record, too
    assert row["delivered"] == before["delivered"] + 3 + told
    assert row["dropped"]["rejected"] == 4
    assert shop.arrived() == Counter([*good, "poison 1", "poison 2", "poison 3"])

    shop.server.always(**POISON)
    shop.log("poison 4", "poison 5")
    shop.at_rest(2)
    assert shop.order("purge", "--older-than", "1 hour") == {"purged": 0, "missing": 0, "remaining": 2}
    assert shop.order("purge", "--all") == {"purged": 2, "missing": 0, "remaining": 0}
    assert shop.at_rest(0)["dropped"]["rejected"] == 6


def test_a_kill_in_a_replay_costs_no_letter(shop: Shop) -> None:
    """What waited in memory is counted, and is a letter still: it leaves the store once the sink has it."""
    lines = [f"poison {number}" for number in range(100)]
    shop.log(*lines)
    shop.at_rest(100)
    shop.server.always(do="hang")
    command = {"command": "dead_letters_replay", "all": True, "wait_seconds": 0.5}
    answer = request(command, control=Endpoint.parse(shop.collector.control), timeout=20)
    assert answer["replayed"] == 100
    assert list(shop.letters().values()) == lines
    shop.restart()
    shop.server.always()
    row = shop.at_rest(100)
    assert row["dropped"].get("collector_lost", 0) + row["unknown"] >= 100
    assert shop.arrived() == Counter()
    assert shop.order("replay", "--all")["replayed"] == 100
    shop.at_rest(0)
    assert shop.arrived() == Counter(lines)


def test_the_commands_speak_to_people(shop: Shop) -> None:
    """A table and sentences; what is not printable is shown, and a wrong choice is a usage error."""
    shop.log("fine", "poison \x1b[31m")
    shop.at_rest(1)
    shown = shop.run("dead-letters", "list", "--full")
    assert "answered 400 Bad Request" in shown.stdout
    assert shown.stdout.endswith("1 dead letter\n")
    assert "\x1b" not in shown.output
    status = shop.run("status")
    assert "sink web has 1 dead letter: logbus dead-letters list --sink web" in status.stdout
    missing = shop.run("dead-letters", "replay", "--id", "77")
    assert (missing.exit_code, missing.stderr) == (1, "logbus: error: no dead letter has this id\n")
    assert shop.run("dead-letters", "purge").exit_code == 2
    wrong = shop.run("dead-letters", "list", "--name", "other")
    assert (wrong.exit_code, "expected collector 'other'" in wrong.stderr) == (1, True)
    shop.server.always()
    assert shop.run("dead-letters", "replay", "--all").stdout == "1 dead letter replayed: 1 of web\n"


def test_that_a_sink_is_refused_records_is_said_by_the_others(shop: Shop) -> None:
    """Once, with what a program wants to know; the sink itself does not get it."""
    shop.log("poison 1")
    shop.at_rest(1)
    shop.log("poison 2")
    shop.at_rest(2)

    def told(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [record for record in records if record.get("extra", {}).get("event") == "sink_refused"]

    [record] = told(lines_of(shop.directory / "out.jsonl"))
    assert (record["worker"], record["level"], record["extra"]["sink"]) == ("logbus", "WARNING", "web")
    assert "answered 400" in record["extra"]["error"]
    assert told([json.loads(line) for line in shop.server.lines]) == []
    assert shop.collector.stderr.count("refused for good, as dead letters") == 1
