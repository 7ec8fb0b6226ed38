"""The audit: who did what, in the file and as a record."""

from __future__ import annotations

import json
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors import audit as audit_module
from logbus.collectors.audit import FILE_NAME, OLDER_NAME, REFUSALS_A_MINUTE, Audit, Author, user_name, what_of
from logbus.collectors.commands import Asker
from logbus.collectors.decode import Record, Site, Source, build
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.roll import OWN
from tests.stranger import NOBODY

ME = Author(1000, "alice", 42, "h", True)


class Voice:
    """The collector's own records."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, dict[str, Any]]] = []

    def say(self, message: str, **fields: str | int) -> None:
        """A WARNING."""
        self.records.append(("WARNING", message, fields))

    def note(self, message: str, **fields: str | int) -> None:
        """An INFO."""
        self.records.append(("INFO", message, fields))


class Desk:
    """An audit and what came of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.voice = Voice()
        self.told: list[str] = []
        self.audit = Audit(directory, own=self.voice, tell=self.told.append)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The lines of the file."""
        return [json.loads(line) for line in (self.directory / FILE_NAME).read_text().splitlines()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk."""
    return Desk(tmp_path)


def test_a_change_is_a_line_and_a_record(desk: Desk) -> None:
    """When, what, by whom, with which outcome and version; the record is an INFO with the same in its fields."""
    desk.audit.changed("set_level", ME, {"selector": "rotator", "level": 10}, version=7)
    [entry] = desk.entries
    at = datetime.fromisoformat(entry.pop("time"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert entry == {
        "command": "set_level",
        "uid": 1000,
        "user": "alice",
        "pid": 42,
        "host": "h",
        "vouched": True,
        "what": {"selector": "rotator", "level": 10},
        "outcome": "done",
        "version": 7,
    }
    message = "set_level selector=rotator level=10 by alice@h: done"
    fields = {"by_uid": 1000, "by_user": "alice", "by_pid": 42, "by_host": "h"}
    what = {"event": "set_level", "outcome": "done", "what": "selector=rotator level=10", "version": 7}
    assert desk.voice.records == [("INFO", message, {**what, **fields})]
    assert stat.S_IMODE((desk.directory / FILE_NAME).stat().st_mode) == 0o600


def test_a_refusal_and_an_end_are_entered_too(desk: Desk) -> None:
    """A refusal is a WARNING and says why; what ended by itself is the collector's own doing."""
    desk.audit.refused("stop", ME, {}, error="not you", version=7)
    desk.audit.expired({"selector": "rotator"}, version=8)
    assert [(entry["outcome"], entry.get("error"), entry["user"]) for entry in desk.entries] == [
        ("refused", "not you", "alice"),
        ("expired", None, "logbus"),
    ]
    assert [level for level, _, _ in desk.voice.records] == ["WARNING", "INFO"]
    assert desk.voice.records[0][1] == "stop by alice@h: refused: not you"


def test_a_flood_of_refusals_does_not_fill_the_file(desk: Desk) -> None:
    """So many a minute are written; the others are counted, and the next entry has the count."""
    for _ in range(10 * REFUSALS_A_MINUTE):
        desk.audit.refused("stop", ME, {}, error="no", version=1)
    assert len(desk.entries) == len(desk.voice.records) == REFUSALS_A_MINUTE
    desk.audit.changed("stop", ME, {}, version=1)
    assert desk.entries[-1]["refusals_not_written"] == 9 * REFUSALS_A_MINUTE
    desk.audit.changed("stop", ME, {}, version=1)
    assert "refusals_not_written" not in desk.entries[-1]


def test_the_file_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its limit it becomes the older one, whole; two files are all there ever is."""
    monkeypatch.setattr(audit_module, "MAX_BYTES", 2000)
    for number in range(50):
        desk.audit.changed("set_level", ME, {"level": number}, version=number)
    assert {path.name for path in desk.directory.iterdir()} == {FILE_NAME, OLDER_NAME}
    kept = []
    for name in (OLDER_NAME, FILE_NAME):
        path = desk.directory / name
        if path.exists():
            assert path.stat().st_size < 2500
            kept += [json.loads(line)["version"] for line in path.read_text().splitlines()]
    assert kept == list(range(50 - len(kept), 50))
    assert len(kept) > 5


def test_a_torn_line_tears_no_other(desk: Desk) -> None:
    """What a killed collector left unfinished is a line of its own."""
    path = desk.directory / FILE_NAME
    path.write_text('{"time": "20')
    desk.audit.changed("stop", ME, {}, version=1)
    torn, whole = path.read_text().splitlines()
    assert torn == '{"time": "20'
    assert json.loads(whole)["command"] == "stop"


@pytest.mark.parametrize("obstacle", ["link", "directory", "fifo"])
def test_what_can_not_be_written_is_told_once_and_still_a_record(desk: Desk, obstacle: str, tmp_path: Path) -> None:
    """Nothing planted in its place is written to; when it is gone the file goes on."""
    path = desk.directory / FILE_NAME
    target = tmp_path / "target"
    if obstacle == "link":
        target.write_text("precious")
        path.symlink_to(target)
    elif obstacle == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    for _ in range(3):
        desk.audit.changed("stop", ME, {}, version=1)
    assert len(desk.told) == 1
    assert str(path) in desk.told[0]
    assert len(desk.voice.records) == 3
    if obstacle == "link":
        assert target.read_text() == "precious"
    path.rmdir() if obstacle == "directory" else path.unlink()
    desk.audit.changed("stop", ME, {}, version=2)
    assert [entry["version"] for entry in desk.entries] == [2]


@pytest.mark.parametrize(
    "what",
    [
        {"selector": "\ud800\x1b[2J"},
        {"where": {"a\udcff": "b\nc"}},
        {"selector": "x" * 100_000},
        {f"key{number}": "x" * 200 for number in range(100)},
        {"level": 10**30, "list": [1, [2, {"a": None}]]},
    ],
    ids=range(5),
)
def test_whatever_is_asked_is_one_short_line(desk: Desk, what: dict[str, Any]) -> None:
    """Text that no encoder takes, giants and trees: all are entered, and none makes a line long or two of one."""
    desk.audit.changed("set_level", ME, what, version=1)
    [entry] = desk.entries
    assert len(json.dumps(entry)) < 4000
    [(_, message, fields)] = desk.voice.records
    for text in (message, *map(str, fields.values())):
        text.encode()


def test_who_asks_is_what_the_kernel_says_or_what_he_says() -> None:
    """On ipc the kernel's word counts, whatever the command claims; elsewhere the claim does, and is marked."""
    claim = {"from": {"user": "mallory", "host": "elsewhere", "pid": 666}}
    mine = Author.of(Asker(b"", os.geteuid(), 42), claim)
    assert mine == Author(os.geteuid(), user_name(os.geteuid()), 42, socket.gethostname(), True)
    assert Author.of(Asker(b"", NOBODY, 42), claim).user == str(NOBODY)
    theirs = Author.of(Asker(b""), claim)
    assert theirs == Author(None, "mallory", 666, "elsewhere", False)
    assert str(theirs) == "mallory@elsewhere (unverified)"


@pytest.mark.parametrize(
    "claim", [None, 7, {}, {"user": None, "pid": "x"}, {"pid": 10**30}, {"pid": True}, {"pid": -1}]
)
def test_any_claim_is_taken_for_what_it_is(claim: object) -> None:
    """Nonsense about oneself names nobody."""
    author = Author.of(Asker(b""), {"from": claim})
    assert (author.uid, author.pid, author.vouched) == (None, None, False)


def test_what_every_command_carries_says_nothing() -> None:
    """Only what is wanted stands in the entry."""
    envelope = {"v": 1, "command": "set_level", "id": "x", "at": 1.0, "from": {}, "name": "eu", "wait_seconds": 5}
    assert what_of({**envelope, "selector": "a", "level": 0, "worker": None, "where": {}, "force": False}) == {
        "selector": "a",
        "level": 0,
    }


@pytest.mark.parametrize(
    "value", ["hunter2 and more", "'' hunter2", "a&hunter2", "a\nhunter2", "<hunter2>", "True, hunter2", 'a"hunter2']
)
def test_a_secret_in_a_condition_stays_in_the_file(desk: Desk, value: str) -> None:
    """The file, which is its owner's alone, has the whole of it; of the record redaction leaves nothing of it."""
    desk.audit.changed("set_level", ME, {"where": {"password": value}}, version=7)
    assert "hunter2" in desk.entries[0]["what"]["where"]
    [(_, message, fields)] = desk.voice.records
    record = Record(0, 0, 0, message, dict(fields))
    site = Site("logbus.collector", 20, "INFO", "collector", "account", 0, "logbus")
    batch = build(Source("h", 1, "logbus", "logbus"), [site], ["MainThread"], [record], producer=OWN, first_seq=0)
    Redactor().redact(batch)
    assert "hunter2" not in f"{batch.records}"


def test_what_is_nested_too_deeply_is_audited_all_the_same(desk: Desk) -> None:
    """A command that was read nearer to the bottom of the stack can't be written as JSON here: it is named so."""
    nested: list[Any] = []
    for _ in range(100_000):  # 3.13 counts what is written in C apart
        nested = [nested]
    desk.audit.changed("set_level", ME, {"selector": "rotator", "more": nested}, version=7)
    assert desk.entries[0]["what"] == {"selector": "rotator", "more": "(nested too deeply)"}


def test_what_was_commanded_is_masked_in_the_file_too(tmp_path: Path) -> None:
    """A component named for a URL, a condition with a token, and the error that repeats them; cut after masking."""
    audit = Audit(tmp_path, own=(voice := Voice()), tell=lambda _: None, mask=Redactor().field)
    what = {"selector": f"{'x' * 190} http://u:hunter2@h", "where": {"session_id": "hunter2"}}
    audit.refused("set_level", ME, what, error="unknown component 'http://u:hunter2@h'", version=1)
    nested: Any = "x"
    for _ in range(100_000):
        nested = [nested]
    audit.refused("set_level", ME, {"where": nested}, error="too deep", version=1)
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert "hunter2" not in f"{lines}{voice.records}"
    assert [json.loads(line)["what"] for line in lines][1] == {"document": "(nested too deeply)"}
