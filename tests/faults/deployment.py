"""Real servers and pools that log through logbus; and the court over what became of their records.

The witness is the deployed program itself (``tests/programs/witness.py``), which marks each of its log calls before and
after. A second one is the server: what it has written to its own log must stand in ours too.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from logbus.bus import Endpoint, control_endpoint
from logbus.cli.client import fetch_status
from tests.collector_command import ROOT, CollectorCommand, child_environment
from tests.conftest import SOAK
from tests.eventually import eventually
from tests.faults.scenario import StartCollector, read_lines
from tests.group import end_group
from tests.programs.witness import DIRECTORY, Marks, read_marks

#: Seconds that a deployment may take for anything, on a machine that does other things.
PATIENCE = 300.0 if SOAK else 60.0
#: Seconds that one request may take: a server that ends may leave it without an answer.
ANSWER = 10.0
#: Seconds after which a server that is to end is told so again.
TOLD_AGAIN = 5.0
#: Threads that send requests, and seconds between two of each while nobody waits for answers.
CLIENTS = 3
PAUSE = 0.01

#: What becomes of records in a process that is killed: in its buffer, or on their way out of it.
KILLED = {"worker_lost", "collector_lost"}
#: How a module is run that sees to logging itself, and how one that knows nothing of logbus.
PLAIN = (sys.executable, "-m")
RUN = (sys.executable, "-m", "logbus", "run", "--", sys.executable, "-m")


@dataclass
class Deployment:
    """A collector that writes JSON to one file, and the programs that log to it.

    ``settings`` are more arguments of the collector's command.
    """

    directory: Path
    start_collector: StartCollector
    settings: Sequence[str] = ()
    collector: CollectorCommand = field(init=False)
    programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = self.directory / "records.jsonl"
        self.witness = self.directory / "witness"
        self.witness.mkdir()
        #: Where a web server listens: no port that somebody else may have.
        self.socket = self.directory / "http.sock"
        self.control: Endpoint = control_endpoint(f"ipc://{self.directory}/runtime/default/control")
        self.start()

    def start(self) -> None:
        """Starts the collector (again)."""
        self.collector = self.start_collector("--sink", f"file:{self.log}", *self.settings, directory=self.directory)

    def restart_collector(self) -> None:
        """SIGTERM, the drain, and a new one."""
        assert self.collector.stop() == 0
        self.start()

    def program(self, *command: str, **environment: str) -> Program:
        """A program that has been started, with a witness."""
        self.programs.append(
            Program(
                self.directory / f"program-{len(self.programs)}", command, {DIRECTORY: str(self.witness), **environment}
            )
        )
        return self.programs[-1]

    def load(self, records: int) -> Load:
        """Requests to the web server, each for so many records, one after the other in some threads."""
        return Load(self.socket, records)

    def end(self) -> None:
        """Ends whatever still runs."""
        for program in self.programs:
            program.end()

    def marks(self) -> list[Marks]:
        """What the programs say that they have logged, so far."""
        return read_marks(self.witness)

    def witnessed(self) -> int:
        """Calls that have returned, so far."""
        return sum(len(marks.returned) for marks in self.marks())

    def pids(self) -> set[int]:
        """The processes that have logged, so far."""
        return {marks.pid for marks in self.marks()}

    def settled(self) -> dict[str, Any]:
        """The status once every process that has logged is gone and nothing is queued."""

        def look() -> dict[str, Any]:
            status = fetch_status(self.control, name=None, timeout=PATIENCE)
            live = [row for row in rows_of(status) if row["state"] == "live"]
            assert not live, live
            assert all(sink["queued"] == 0 for sink in status["sinks"]), status["sinks"]
            return status

        eventually(look, PATIENCE)
        return self.collector.status()

    def judge(self, *, lost: Collection[int] = (), unlike: Sequence[str] = ()) -> Verdict:
        """Holds log and ledger against the witnesses, after every program has ended.

        ``lost`` are processes that may have been killed: what they took with them must be counted to the last record,
        by the reasons :data:`KILLED`. ``unlike`` is how messages begin that look otherwise in the log than in
        the server's own.
        """
        status = self.settled()
        assert status["balanced"], status["problems"]
        lines = [line for line in read_lines(self.log) if line["worker"] != "logbus"]
        rows = rows_of(status)
        [sink] = status["sinks"]
        assert sink["unknown"] == sink["duplicated"] == sink["filtered"] == 0 == sum(sink["dropped"].values()), sink
        assert status["total"]["exact"], [row for row in rows if not row["exact"]]
        assert status["total"]["unknown"] == status["total"]["duplicated"] == status["total"]["in_flight"] == 0
        marks = self.marks()
        # A call that its own end has cut off is counted where it got so far, and can't be delivered.
        cut_off: Counter[int] = Counter()
        for lane in marks:
            cut_off[lane.pid] += len(lane.begun - lane.returned)
        collected: Counter[int] = Counter()
        for row in rows:
            dropped = dict(row["dropped"])
            assert dropped.pop("shutdown", 0) <= cut_off[row["pid"]], row
            assert row["state"] == "gone" or row["pid"] in lost, row
            assert set(dropped) <= (KILLED if row["pid"] in lost else set()), row
            assert row["emitted"] == row["collected"] + sum(row["dropped"].values()), row
            collected[row["pid"]] += row["collected"]
        written = Counter(line["process_id"] for line in lines)
        folded = collected.pop(0, 0)  # the oldest of very many
        assert folded == sum(written[pid] for pid in written.keys() - collected.keys())
        assert {pid: count for pid, count in collected.items() if count != written[pid]} == {}
        kept = Verdict(status, lines, marks)
        kept.hold_against_marks(lost)
        for program in self.programs:
            program.hold(lines, unlike)
        return kept


@dataclass(frozen=True)
class Verdict:
    """What was found: the ledger, the lines of the log but for the collector's own, and the witness."""

    status: dict[str, Any]
    lines: list[dict[str, Any]]
    marks: list[Marks]

    @property
    def witnessed(self) -> int:
        """Calls that returned."""
        return sum(len(marks.returned) for marks in self.marks)

    @property
    def processes(self) -> int:
        """Processes that have logged."""
        return len({marks.pid for marks in self.marks})

    @property
    def missing(self) -> int:
        """Calls that returned and are no lines."""
        return self.witnessed - len([line for line in self.lines if line["logger"] == "shop.till"])

    @property
    def lost(self) -> int:
        """Records that processes have taken with them, as the ledger says."""
        dropped: dict[str, int] = self.status["total"]["dropped"]
        return sum(dropped.get(reason, 0) for reason in KILLED)

    def hold_against_marks(self, lost: Collection[int]) -> None:
        """Each call that returned is a line, once, in the order of its thread; and there is no line without a call."""
        found: dict[str, list[int]] = defaultdict(list)
        for line in self.lines:
            if line["logger"] == "shop.till":
                found[line["extra"]["lane"]].append(line["extra"]["number"])
        for marks in self.marks:
            numbers = found.pop(marks.lane, [])
            assert numbers == sorted(set(numbers)), f"{marks.lane}: out of order, or twice: {numbers}"
            assert set(numbers) <= marks.begun
            missing = sorted(marks.returned - set(numbers))
            if marks.pid not in lost:
                assert not missing, f"{marks.lane}: {len(missing)} records are missing: {missing[:20]}"
            counted = sum(sum(row["dropped"].values()) for row in rows_of(self.status) if row["pid"] == marks.pid)
            assert len(missing) <= counted, f"{marks.lane}: {len(missing)} are missing, {counted} counted"
        assert not found, f"lines of nobody: {found}"


class Program:
    """A server or another program under test, with its output in files."""

    def __init__(self, name: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.output, self.errors = name.with_suffix(".out"), name.with_suffix(".err")
        self._own_lines: list[tuple[Path, re.Pattern[str], tuple[str, ...]]] = []
        with self.output.open("wb") as out, self.errors.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=child_environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def writes(self, path: Path, pattern: re.Pattern[str], *loggers: str) -> None:
        """Says how the lines look that the program itself writes to a file, from these loggers and those below them.

        What stands in there must stand in the log too.
        """
        self._own_lines.append((path, pattern, tuple(f"{logger}." for logger in loggers)))

    def signal(self, number: int) -> None:
        """Sends a signal to the first process."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there: {self.said}") from None

    def terminate(self) -> int:
        """Its exit code, after SIGTERM.

        gunicorn tells each worker once, and one that was forked just before has no handler yet: it would be there till
        gunicorn kills it, half a minute later. Who is still there after some time is told again.
        """
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(TOLD_AGAIN)
        os.killpg(self.process.pid, signal.SIGTERM)
        return self.wait()

    @property
    def said(self) -> str:
        """What it has written to stdout and stderr."""
        return self.output.read_text(errors="replace") + self.errors.read_text(errors="replace")

    def wait_said(self, text: str, times: int = 1) -> None:
        """Waits until it has written a text so many times."""
        eventually(lambda: self.said.count(text) >= times, PATIENCE, what=f"{text!r} in {self.errors}")

    def hold(self, lines: Sequence[Mapping[str, Any]], unlike: Sequence[str]) -> None:
        """Each line that the server itself has written is a record, once."""
        assert "Traceback (most recent call last)" not in self.said, self.said
        for path, pattern, loggers in self._own_lines:
            said = Counter(match["message"].strip() for match in pattern.finditer(path.read_text()))
            kept = Counter(line["message"].strip() for line in lines if f"{line['logger']}.".startswith(loggers))
            differs = {text: (said[text], kept[text]) for text in said | kept if said[text] != kept[text]}
            assert said, f"no line of {loggers} in {path}"
            assert not {text for text in differs if not text.startswith(tuple(unlike))}, (loggers, differs)

    def end(self) -> None:
        """Ends it and all that it has started."""
        end_group(self.process)


class Load:
    """Requests, one after the other in each thread, until the block ends: ``with Load(…) as load: load.wait(100)``."""

    def __init__(self, path: Path, records: int) -> None:
        self._path = path
        self._request = f"GET /{records} HTTP/1.0\r\nHost: shop\r\n\r\n".encode()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"client-{number}") for number in range(CLIENTS)]
        self._wanted = 0
        #: What was answered, in the order in which it came.
        self.answers: list[dict[str, Any]] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait(self, answers: int) -> None:
        """Waits until so many requests have been answered."""
        self._wanted = answers
        eventually(lambda: len(self.answers) >= answers, PATIENCE, what=f"{answers} answers")

    def pids(self) -> set[int]:
        """The processes that have answered."""
        return {answer["pid"] for answer in self.answers}

    def wait_others(self, than: set[int], count: int) -> None:
        """Waits until so many processes have answered that are not among the given ones."""
        eventually(lambda: len(self.pids() - than) >= count, PATIENCE, what=f"{count} others than {than}")

    def _run(self) -> None:
        while not self._stop.is_set():
            answer = self._ask()
            if answer is not None:
                self.answers.append(answer)
            if answer is None or len(self.answers) >= self._wanted:
                self._stop.wait(PAUSE)

    def _ask(self) -> dict[str, Any] | None:
        """The answer to one request; None where there is none, as a server that ends may have it."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER)
            try:
                connection.connect(str(self._path))
                connection.sendall(self._request)
                data = b"".join(iter(lambda: connection.recv(65536), b""))
            except OSError:
                return None
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
            return None
        answer: dict[str, Any] = json.loads(body)
        return answer


def rows_of(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the workers but for the collector's own."""
    return [row for row in status["workers"] if row["worker"] != "logbus"]


@contextlib.contextmanager
def deployment(directory: Path, start_collector: StartCollector, *settings: str) -> Iterator[Deployment]:
    """A deployment whose programs end with the block."""
    deployed = Deployment(directory, start_collector, settings)
    try:
        yield deployed
    finally:
        deployed.end()
