"""How collectors under measurement are judged: lines that are missing or too many, passwords, and what is not here."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import msgpack
import pytest

from benchmarks import daemons
from benchmarks.compiled import Form
from benchmarks.daemons import collector, fluent_bit, lines, logbus, offer, rsyslog
from benchmarks.daemons.collector import DAEMONS, judge
from benchmarks.daemons.end_to_end import WAYS
from benchmarks.daemons.lines import Lines
from benchmarks.feed import FRAME_RECORDS, payloads
from benchmarks.suite.job import Bench, Mode
from logbus.collectors.redaction.redact import _TEXTS_KEPT
from scripts.servers import place

LINE = b'{"request_id": "req-1", "proxy_url": "http://user1:***@proxy"}\n'
FORMS = ("compiled", "in Python")
OPEN = LINE.replace(b"***", b"s3cr3t-01")


def lines_of(directory: Path, data: bytes) -> Lines:
    """The lines of a file that has these bytes."""
    (directory / "out.jsonl").write_bytes(data)
    return Lines(directory / "out.jsonl")


@pytest.mark.parametrize("written", [0, 9, 11])
def test_lines_that_are_missing_or_too_many_are_lost(tmp_path: Path, written: int) -> None:
    """A duplicate voids a run as a loss does."""
    assert lines_of(tmp_path, LINE * written).lost(10) == abs(10 - written)


def test_no_file_is_a_loss_of_all(tmp_path: Path) -> None:
    """A daemon that never opened its file has written nothing."""
    assert Lines(tmp_path / "none").lost(3) == 3


@pytest.mark.parametrize("size", [11, 17, 64, 1000])
def test_marks_are_counted_wherever_a_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A word that two reads share counts once."""
    monkeypatch.setattr(lines, "_CHUNK", size)
    found = lines_of(tmp_path, OPEN * 20)

    assert (found.lost(20), found.secrets()) == (0, 20)


def test_waiting_ends_when_a_file_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that never come are no reason to wait for ever; those that are there are found at once."""
    monkeypatch.setattr(lines, "_STILL_S", 0.05)
    found = lines_of(tmp_path, LINE * 3)

    assert found.wait(3)
    assert not found.wait(4)


def test_what_is_said_of_redaction_must_be_so(tmp_path: Path) -> None:
    """A comparison with somebody who only claims to redact, or who secretly does, would be unfair."""
    masked, opened = tmp_path / "masked", tmp_path / "opened"
    for directory in (masked, opened):
        directory.mkdir()

    judge(DAEMONS["logbus"], "logbus", lines_of(masked, LINE))
    judge(DAEMONS["logbus_bare"], "logbus_bare", lines_of(opened, LINE + OPEN))
    with pytest.raises(RuntimeError, match="logbus is said to redact, but 1 passwords are in its file"):
        judge(DAEMONS["logbus"], "logbus", Lines(opened / "out.jsonl"))
    with pytest.raises(RuntimeError, match="logbus_bare is said not to redact, but no password is in its file"):
        judge(DAEMONS["logbus_bare"], "logbus_bare", Lines(masked / "out.jsonl"))


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No daemon is installed."""
    monkeypatch.setattr(place, "missing", lambda: list(place.PROGRAMS))
    monkeypatch.setattr(fluent_bit, "_binary", lambda: "")


def bench(directory: Path, mode: Mode) -> Bench:
    """A run of that mode, with this interpreter for the peers."""
    return Bench(directory, Path(sys.executable), mode, contextlib.ExitStack())


def test_what_is_not_here_is_named_with_its_reason(tmp_path: Path, nothing_here: None) -> None:
    """Each variant is a job or has a reason, never both, and the reason says what to do about it."""
    run = bench(tmp_path, "full")
    jobs = {f"{job.family}/{job.variant}" for job in daemons.jobs(run)}
    skipped = daemons.skipped(run)

    assert jobs.isdisjoint(skipped)
    assert jobs | set(skipped) == {f"collector/{name}" for name in DAEMONS} | {f"end_to_end/{name}" for name in WAYS}
    assert skipped["collector/rsyslog imtcp, raw"] == "rsyslogd is not there: python -m scripts.servers"
    assert skipped["collector/Fluent Bit forward"] == "no fluent-bit on PATH"
    assert skipped["end_to_end/fluent-logger, Fluent Bit"] in (
        "no fluent-bit on PATH",
        "fluent-logger is not installed",
    )


@pytest.mark.parametrize("calls", FORMS)
@pytest.mark.parametrize("lines", FORMS)
def test_the_rows_in_python_are_where_there_is_another_form(
    calls: Form, lines: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each where one of the parts that it is of is compiled; else it would be the row beside it a second time."""
    forms = {"producers": calls, "collectors": lines}
    monkeypatch.setattr(offer, "form_of", lambda python, directory, part: forms[part])
    left_out = {name: reason for name, reason in daemons.skipped(bench(tmp_path, "full")).items() if "Python" in reason}

    own = {"collector/logbus, in Python"} if lines == "in Python" else set()
    whole = {f"end_to_end/{name}, in Python" for name in ("handler", "fast")}
    assert left_out == dict.fromkeys(
        own | (whole if calls == lines == "in Python" else set()),
        "nothing is compiled here: all of logbus is in Python",
    )


@pytest.mark.parametrize(
    ("family", "variant", "forms"),
    [
        ("collector", "logbus", {"collectors": "compiled"}),
        ("collector", "logbus, in Python", {"collectors": "in Python"}),
        ("collector", "logbus_bare", {"collectors": "compiled"}),
        ("collector", "logbus_fresh", {"collectors": "compiled"}),
        ("collector", "cookbook socket server", {}),
        ("end_to_end", "fast", {"producers": "in Python", "collectors": "compiled"}),
        ("end_to_end", "fast, in Python", {"producers": "in Python", "collectors": "in Python"}),
        ("end_to_end", "loguru enqueue", {}),
    ],
)
def test_a_row_names_the_form_of_each_of_its_parts(
    family: str, variant: str, forms: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this interpreter has, or Python; and of who is not logbus's nothing."""
    [wanted] = [
        each for each in offer._wanted(bench(tmp_path, "full")) if (each.family, each.variant) == (family, variant)
    ]
    assert wanted.forms(offer._Here({}, {"producers": "in Python", "collectors": "compiled"})) == forms


def test_the_module_for_zeromq_is_missed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rsyslog is there without it, only its variants are left out, with the command that brings it."""
    monkeypatch.setattr(place, "missing", list)
    monkeypatch.setattr(place, "BENCH", place.Tree("", tmp_path, tmp_path, tmp_path / "no-stamp"))

    assert rsyslog.absent() == ""
    assert "scripts.servers bench" in collector.DAEMONS["rsyslog imczmq, raw"].absent()


def test_a_quick_run_has_ours_and_the_usual_way(tmp_path: Path) -> None:
    """There is a minute for everything: what is promised, and a queue of multiprocessing beside it."""
    assert {f"{job.family}/{job.variant}" for job in daemons.jobs(bench(tmp_path, "quick"))} == {
        "collector/logbus",
        "collector/logbus_bare",
        "collector/multiprocessing.Queue + QueueListener",
        "end_to_end/handler",
        "end_to_end/fast",
        "end_to_end/multiprocessing.Queue",
    }


def test_texts_that_must_not_repeat_are_more_than_redaction_remembers() -> None:
    """Of fresh records no message and no URL comes twice, each has its password, and they come in whole frames."""
    frames = payloads(logbus._FRESH, fresh=True)
    rows = [row for _, payload in frames for row in msgpack.unpackb(payload)[3]]

    assert {count for count, _ in frames} == {FRAME_RECORDS}
    assert len({row[3] for row in rows}) == len({row[4]["proxy_url"] for row in rows}) == len(rows) > _TEXTS_KEPT
    assert all(":s3cr3t-" in row[4]["proxy_url"] for row in rows)
