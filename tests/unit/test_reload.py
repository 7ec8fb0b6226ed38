"""The reload of a configuration: whole or not at all, and told to everybody who should know."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from logbus.collectors.commands import Asker
from logbus.collectors.configuration.read import read
from logbus.collectors.destinations import destinations
from logbus.collectors.receiver import Receiver
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.reload import MAX_LINES, Reloader
from logbus.errors import ConfigurationError, ControlError, LogbusError, PageError, SinkError
from tests.bench import RouterBench
from tests.eventually import eventually


class Bench(RouterBench):
    """A router and a reloader around a configuration file, and what the reloader has said."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.file = directory / "c.json"
        self.told: list[str] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.levels: list[tuple[dict[str, int], set[str]]] = []
        self.refusal: Exception | None = None
        self.write()
        configuration = read(self.file, {}, {})
        self.router.commit(self.router.prepare(destinations(configuration.settings, directory / "state"), self.make))
        # What a reload needs of the receiver is its redactor.
        self.receiver = Receiver(cast("Any", None), Redactor())
        self.reloader = Reloader(
            configuration,
            router=self.router,
            receiver=self.receiver,
            make_writer=self.make,
            levels=self.configure,
            state=directory / "state",
            complain=self.told.append,
            tell=self.told.append,
            say=self.say,
            note=self.note,
        )

    def write(self, *sinks: dict[str, Any], **sections: Any) -> None:
        """A configuration: one file sink called main, others, other sections."""
        main = {"type": "file", "name": "main", "path": str(self.directory / "main.log")}
        self.file.write_text(json.dumps({"sinks": [main, *sinks], **sections}))

    def configure(self, levels: Mapping[str, int], selectors: Iterable[str]) -> None:
        """The book of levels."""
        if self.refusal is not None:
            raise self.refusal
        self.levels.append((dict(levels), set(selectors)))

    def say(self, message: str, **fields: str | int) -> None:
        """The collector's own record, a warning."""
        self.said.append((message, {"notice": False, **fields}))

    def note(self, message: str, **fields: str | int) -> None:
        """The collector's own record, no warning."""
        self.said.append((message, {"notice": True, **fields}))

    def looked(self) -> bool:
        """A look at the file, as each turn of the loop has one."""
        self.reloader.look()
        return True

    def settled(self) -> bool:
        """Whether nothing is left of what reloads have taken out."""
        self.router.settle()
        return self.router.retired == []

    def sinks(self) -> list[str]:
        """The names of the sinks that take records."""
        return [route.writer.sink.name for route in self.router.routes]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench; its writers are ended with the test."""
    with Bench(tmp_path) as bench:
        yield bench


def test_a_valid_file_is_swapped_in_whole(bench: Bench) -> None:
    """Sinks, redaction and levels are the new ones; the answer, the log and the status say so."""
    [main] = bench.router.routes
    redactor = bench.receiver.redactor
    bench.write(
        {"type": "file", "name": "more", "path": str(bench.directory / "more.log"), "components": ["db.pool"]},
        redaction={"fields": ["pin"]},
        levels={"rotator": "DEBUG"},
    )
    found = bench.reloader.reload("a test")
    assert found[0] == 'levels.rotator: "DEBUG", was not set'
    assert 'sink "more": added' in found
    assert bench.sinks() == ["main", "more"]
    assert bench.router.routes[0].writer is main.writer
    assert bench.receiver.redactor is not redactor
    assert bench.levels == [({"rotator": 10}, {"db.pool"})]
    [(message, fields)] = bench.said
    assert message.startswith("configuration reloaded: levels.rotator")
    assert fields == {"notice": True, "event": "reloaded", "cause": "a test", "changes": 3}
    assert bench.told == []
    status = bench.reloader.status()
    assert (status["file"], status["version"], status["error"]) == (str(bench.file), 2, None)


def test_nothing_changed_is_a_reload_too(bench: Bench) -> None:
    """It succeeds and leaves every part what it was; the log is spared, unless an error has ended with it."""
    before = [route.writer for route in bench.router.routes]
    redactor = bench.receiver.redactor
    assert bench.reloader.reload("a test") == []
    assert [route.writer for route in bench.router.routes] == before
    assert bench.receiver.redactor is redactor
    assert bench.said == []
    assert bench.reloader.status()["version"] == 2


@pytest.mark.parametrize("wrong", ["syntax", "key", "gone", "directory", "open", "levels", "defect"])
def test_whatever_fails_leaves_everything_as_it_was(bench: Bench, wrong: str) -> None:
    """The error is raised, told, logged and in the status; sinks, redaction and levels are the old ones."""
    routes, redactor = bench.router.routes, bench.receiver.redactor
    more = {"type": "file", "name": "more", "path": str(bench.directory / "more.log")}
    expected: type[LogbusError] = ConfigurationError
    bench.write(more, redaction={"fields": ["pin"]}, levels={"x": 5})
    if wrong == "syntax":
        bench.file.write_text("{")
    elif wrong == "key":
        bench.write(more, zzz=1, levels={"x": "LOUD"})
    elif wrong == "gone":
        bench.file.unlink()
    elif wrong == "directory":
        bench.file.unlink()
        bench.file.mkdir()
    elif wrong == "open":
        bench.write(more, {"type": "file", "name": "bad", "path": "/proc/nowhere/x"}, levels={"x": 5})
        expected = SinkError
    elif wrong == "levels":
        bench.refusal, expected = PageError("levels.json", "level rules can't be written"), PageError
    else:
        bench.refusal, expected = RuntimeError("can't start new thread"), ControlError
    with pytest.raises(expected) as caught:
        bench.reloader.reload("a test")
    assert bench.router.routes == routes
    assert bench.router.retired == []
    assert bench.receiver.redactor is redactor
    assert bench.levels == []
    assert bench.reloader.status()["error"] == str(caught.value)
    assert bench.reloader.status()["version"] == 1
    [told] = bench.told
    assert told.splitlines()[0] == "configuration not reloaded, the old one stays in force:"
    assert told.splitlines()[1:] == str(caught.value).splitlines()
    [(message, fields)] = bench.said
    assert message.startswith("configuration not reloaded, the old one stays in force: ")
    assert (fields["event"], fields["notice"], fields["cause"]) == ("reload_failed", False, "a test")
    assert bench.ledger.sinks["main"].state == "ok"
    assert {row.state for name, row in bench.ledger.sinks.items() if name != "main"} <= {"removed"}


def test_patterns_of_secrets_reach_records_and_static_fields(bench: Bench) -> None:
    """From one batch to the next: what the redactor masks, and what stands in every line."""
    console = {"type": "console", "name": "c", "format": "json", "static_fields": {"account": "acct-12345678"}}
    bench.write(console)
    bench.reloader.reload("a test")
    before = bench.router.routes[1]
    assert bench.receiver.redactor.field("note", "of acct-12345678") == "of acct-12345678"
    bench.write(console, redaction={"patterns": ["acct-[0-9]{8}"]})
    assert bench.reloader.reload("a test") == ['redaction.patterns: ["acct-[0-9]{8}"], was []']
    assert bench.receiver.redactor.field("note", "of acct-12345678") == "of ***"
    after = bench.router.routes[1]
    assert after.writer is before.writer
    assert after.formatter is not before.formatter


@pytest.mark.parametrize(
    ("option", "in_place"),
    [
        ({"level": "ERROR"}, True),
        ({"where": {"status_code": {"ge": 500}}}, True),
        ({"sample": {"rate": 0.5}}, True),
        ({"rename_fields": {"level": "severity"}}, True),
        ({"static_fields": {"environment": "production"}}, True),
        ({"format": "logfmt"}, False),
        ({"rotation": "1 MB"}, False),
        ({"rotation": "1 MB", "retention": "5 files"}, False),
        ({"rotation": "1 MB", "compression": "gz"}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_option_of_a_sink_changes_in_place_or_behind_the_old_one(
    bench: Bench, option: dict[str, Any], in_place: bool
) -> None:
    """What concerns records changes between two of them; what concerns the file, while it is closed."""
    side = {"type": "file", "name": "side", "path": str(bench.directory / "side.log")}
    bench.write(side)
    bench.reloader.reload("a test")
    before = bench.router.routes[1].writer
    bench.write({**side, **option})
    found = bench.reloader.reload("a test")
    assert len(found) >= len(option)
    assert all(line.startswith('sink "side": ') for line in found)
    assert (bench.router.routes[1].writer is before) is in_place
    bench.write(side)
    bench.reloader.reload("a test")
    eventually(bench.settled)
    assert bench.ledger.sinks["side"].state == "ok"


def test_a_later_success_clears_the_error(bench: Bench) -> None:
    """The status shows what is, not what was."""
    bench.file.write_text("{")
    with pytest.raises(ConfigurationError):
        bench.reloader.reload("a test")
    bench.write()
    assert bench.reloader.reload("a test") == []
    assert (bench.reloader.status()["error"], bench.reloader.status()["version"]) == (None, 2)
    assert bench.said[-1][0] == "configuration reloaded: nothing has changed"


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"bus": {"endpoint": "ipc:///x"}}, 'bus.endpoint: needs a restart; the default is in force, found "ipc:///x"'),
        ({"bus": {"control": "ipc:///x"}}, 'bus.control: needs a restart; the default is in force, found "ipc:///x"'),
        ({"bus": {"allow": ["bob"]}}, 'bus.allow: needs a restart; [] is in force, found ["bob"]'),
        ({"metrics": {"address": "h:1"}}, 'metrics.address: needs a restart; the default is in force, found "h:1"'),
    ],
)
def test_what_counts_at_the_start_is_refused_by_its_key(bench: Bench, sections: dict[str, Any], line: str) -> None:
    """Sockets are bound once: such a change is refused with everything that came with it."""
    bench.write({"type": "console"}, **sections)
    with pytest.raises(ConfigurationError) as caught:
        bench.reloader.reload("a test")
    assert str(caught.value) == f"{bench.file}: {line}"
    assert bench.sinks() == ["main"]


def test_the_file_is_watched(bench: Bench) -> None:
    """A change is taken over by itself, an invalid one is told once, and nobody is raised at."""
    bench.write({"type": "console", "name": "eyes"})
    eventually(lambda: bench.looked() and bench.sinks() == ["main", "eyes"])
    bench.file.write_text("{{")
    eventually(lambda: bench.looked() and bench.told)
    deadline = time.monotonic() + 0.6
    eventually(lambda: bench.looked() and time.monotonic() > deadline)
    assert len(bench.told) == 1
    assert bench.said[-1][1]["cause"] == "its file has changed"
    assert bench.sinks() == ["main", "eyes"]


def test_a_file_read_on_request_is_not_read_again(bench: Bench) -> None:
    """Who writes the file and asks for a reload gets one."""
    bench.write({"type": "console", "name": "eyes"})
    bench.reloader.reload("a test")
    deadline = time.monotonic() + 0.6
    eventually(lambda: bench.looked() and time.monotonic() > deadline)
    assert bench.reloader.status()["version"] == 2


def test_an_answer_has_the_changes_and_what_is_in_force(bench: Bench) -> None:
    """The command's answer: a line for each change, the file and its version."""
    bench.write({"type": "console", "name": "eyes"})
    answer = bench.reloader.answer({"command": "reload"}, Asker(b"x"))
    assert answer["changes"] == ['sink "eyes": added']
    assert (answer["file"], answer["version"], answer["error"]) == (str(bench.file), 2, None)


def test_a_flood_of_problems_is_told_in_part(bench: Bench) -> None:
    """Who asked gets every problem; stderr and the log get the first ones and the number of the rest."""
    bench.write(**{f"wrong{number}": 1 for number in range(100)})
    with pytest.raises(ConfigurationError) as caught:
        bench.reloader.reload("a test")
    assert len(caught.value.problems) == 100
    [told] = bench.told
    assert len(told.splitlines()) == MAX_LINES + 2
    assert told.endswith("and 80 more")
    assert len(bench.said[0][0]) <= 4000
