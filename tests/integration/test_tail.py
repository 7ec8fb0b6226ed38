"""``logbus tail`` beside a real collector: what it shows, how it ends, and what it lives through."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from tests.collector_command import run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer, site
from tests.integration.watch import status_of
from tests.tail_command import TailCommand, tail_command

A = producer(1)
SITES = [site("db", 10, "DEBUG"), site("rotator", 20, "INFO"), site("rotator", 40, "ERROR")]


def shown(tail: TailCommand) -> list[str]:
    """The messages in its lines."""
    return [line.split(": ", 1)[1].split()[0] for line in tail.lines]


def test_what_passes_is_shown_redacted(start_collector: StartCollector, tmp_path: Path) -> None:
    """Text and JSON lines come while the records come, as a sink has them; Ctrl-C and SIGTERM end with 0."""
    collector = start_collector("--sink", "file:out.jsonl", "--sink", "file:out.txt,format=text")
    with tail_command(tmp_path) as text, tail_command(tmp_path, "--format", "json", number=1) as as_json:
        with RawSender(collector.endpoint) as sender:
            extra = {"token": "tell-nobody", "k": "v"}
            sender.send(data(A, 0, "one\x1b[31m", "two", extra=extra), mark(A, sent=2, bye=True))
            eventually(lambda: len(text.lines) == len(as_json.lines) == 2)
        eventually(lambda: (tmp_path / "out.jsonl").read_text() == as_json.stdout)
        eventually(lambda: (tmp_path / "out.txt").read_text() == text.stdout)
        assert "tell-nobody" not in text.stdout + as_json.stdout
        assert "\x1b" not in text.stdout
        assert [json.loads(line)["message"] for line in as_json.lines] == ["one\x1b[31m", "two"]
        assert text.end(signal.SIGINT) == 0
        assert as_json.end(signal.SIGTERM) == 0
    assert collector.stop() == 0


def test_only_what_was_asked_for_is_shown(start_collector: StartCollector, tmp_path: Path) -> None:
    """Level, component and fields choose in the collector, a pattern and a number in the command."""
    collector = start_collector("--sink", "file:out.jsonl")
    with (
        tail_command(tmp_path, "--level", "info", "--component", "rotator", "--where", "request_id=7") as chosen,
        tail_command(tmp_path, "--grep", r"[dr][01]\b.*request_id=7 ", number=1) as found,
        tail_command(tmp_path, "--grep", "r", "-n", "2", "--level", "INFO", number=2) as some,
        RawSender(collector.endpoint) as sender,
    ):
        messages, sites = ("d0", "r1", "r2"), {"sites": SITES, "at": (0, 1, 2)}
        sender.send(data(A, 0, *messages, **sites, extra={"request_id": 8}))
        sender.send(data(A, 3, *messages, **sites, extra={"request_id": 7}))
        assert some.wait() == 0
        eventually(lambda: (shown(chosen), shown(found)) == (["r1", "r2"], ["d0", "r1"]))
        assert shown(some) == ["r1", "r2"]
        assert " request_id=8 " in some.stdout


def test_what_no_sink_takes_is_shown_to_who_follows(start_collector: StartCollector, tmp_path: Path) -> None:
    """Redacted as all else, though without a follower it is not even looked at; sinks and counts are the same."""
    collector = start_collector("--sink", "file:out.jsonl,level=ERROR")
    with RawSender(collector.endpoint) as sender:
        messages, options = ("d0", "r1", "r2"), {"sites": SITES, "at": (0, 1, 2), "extra": {"token": "tell-nobody"}}
        sender.send(data(A, 0, *messages, **options))
        eventually(lambda: status_of(collector)["sinks"][0]["delivered"] == 1)
        with tail_command(tmp_path) as tail:
            sender.send(data(A, 3, *messages, **options))
            eventually(lambda: shown(tail) == ["d0", "r1", "r2"])
            assert "tell-nobody" not in tail.stdout
        sender.send(data(A, 6, *messages, **options), mark(A, sent=9, bye=True))
        eventually(lambda: status_of(collector)["sinks"][0]["delivered"] == 3)
    status = status_of(collector)
    assert (status["sinks"][0]["filtered"], status["total"]["collected"], status["balanced"]) == (6, 9, True)
    written = (tmp_path / "out.jsonl").read_text()
    assert "tell-nobody" not in written
    assert [json.loads(line)["message"] for line in written.splitlines()] == ["r2"] * 3


def test_a_pipe_that_nobody_reads_ends_it_quietly(start_collector: StartCollector, tmp_path: Path) -> None:
    """`logbus tail | head -1` ends both with 0 and without a word, though no other record comes."""
    collector = start_collector("--sink", "file:out.jsonl")
    with tail_command(tmp_path, stdout=subprocess.PIPE) as tail, RawSender(collector.endpoint) as sender:
        sender.send(data(A, 0, "one"))
        assert tail.process.stdout is not None
        assert b"one" in tail.process.stdout.readline()
        tail.process.stdout.close()
        assert tail.wait() == 0
        assert tail.stderr == f"following collector default (pid {collector.process.pid})\n"
    eventually(lambda: status_of(collector)["collector"]["state"] == "serving")


def test_it_outlives_collectors(start_collector: StartCollector, tmp_path: Path) -> None:
    """A drain, a crash and a successor are told on stderr, and it follows each new collector by itself; Ctrl-C ends it
    while it waits for one, too.
    """
    first = start_collector("--sink", "file:out.jsonl")
    with tail_command(tmp_path) as tail:

        def has_lost(times: int) -> bool:
            assert tail.stderr.count("asking again") == times, tail.stderr
            return True

        assert first.stop() == 0
        eventually(lambda: has_lost(1))
        second = start_collector("--sink", "file:out.jsonl")
        tail.wait_following(2)
        second.kill()
        eventually(lambda: has_lost(2))
        third = start_collector("--sink", "file:out.jsonl")
        tail.wait_following(3)
        with RawSender(third.endpoint) as sender:
            sender.send(data(A, 0, "after"))
            eventually(lambda: len(tail.lines) == 1)
        third.kill()
        eventually(lambda: has_lost(3))
        assert tail.end() == 0
    pids = [collector.process.pid for collector in (first, second, third)]
    assert tail.stderr.splitlines() == [
        f"following collector default (pid {pids[0]})",
        "collector default drains",
        "collector default: the connection has ended; asking again",
        f"following collector default (pid {pids[1]})",
        "collector default: the connection has ended; asking again",
        f"following collector default (pid {pids[2]})",
        "collector default: the connection has ended; asking again",
    ]


def test_what_the_collector_refuses_ends_with_2(start_collector: StartCollector) -> None:
    """A question that no collector takes is a wrong usage, with the collector's reason; so is another's name with 1."""
    collector = start_collector("--sink", "file:out.jsonl")
    done = run_logbus("tail", "--component", "x" * 300)
    assert done.returncode == 2
    assert "components: expected at most" in done.stderr
    other = run_logbus("tail", "--name", "other", "--control", collector.control)
    assert other.returncode == 1
    assert "expected collector 'other', found 'default'" in other.stderr
