"""What a test may leave behind: nothing. Children, threads, sockets and open files under its own directories.

Read from /proc, because what leaks is what the code under test has lost sight of. Objects that are only waiting
for the garbage collector don't count: a look that finds something collects and looks again until a deadline.
"""

from __future__ import annotations

import gc
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.eventually import eventually

#: Seconds that threads and children have for coming to their end after a test.
GRACE = 5.0


@dataclass(frozen=True)
class Holdings:
    """What this process has open at one moment. Descriptors are known by what they lead to, not by their number."""

    children: frozenset[int]
    threads: frozenset[threading.Thread]
    sockets: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls, *directories: Path) -> Holdings:
        """The holdings at this moment; ``files`` are those below ``directories``, memory maps included."""
        targets = set()
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                targets.add(os.readlink(f"/proc/self/fd/{descriptor}"))
            except OSError:  # the descriptor of the listing itself, closed again
                continue
        targets.update(_mapped())
        below = tuple(f"{directory}/" for directory in directories)
        return cls(
            children=frozenset(_children()),
            threads=frozenset(thread for thread in threading.enumerate() if _counts(thread)),
            sockets=frozenset(target for target in targets if target.startswith("socket:")),
            files=frozenset(target for target in targets if below and target.startswith(below)),
        )

    def beyond(self, before: Holdings) -> list[str]:
        """One line for each thing held now and not before."""
        return [
            *(f"child process {pid}: {_command(pid)}" for pid in sorted(self.children - before.children)),
            *(f"thread {thread.name!r}" for thread in self.threads - before.threads),
            *(f"open {socket}" for socket in sorted(self.sockets - before.sockets)),
            *(f"open file {file}" for file in sorted(self.files - before.files)),
        ]


def left_behind(before: Holdings, *directories: Path, grace: float = GRACE) -> list[str]:
    """One line for each thing that is still held after ``grace`` seconds; children among them are killed."""
    if not Holdings.now(*directories).beyond(before):
        return []

    def gone() -> bool:
        gc.collect()
        return not Holdings.now(*directories).beyond(before)

    try:
        eventually(gone, grace)
    except AssertionError:
        now = Holdings.now(*directories)
        found = now.beyond(before)
        for pid in now.children - before.children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return found
    return []


def _counts(thread: threading.Thread) -> bool:
    """Whether a thread has to be gone after a test: ours always, another's unless it is a daemon."""
    return thread.name.startswith("logbus") or not thread.daemon


def _children() -> list[int]:
    """The pids of this process's children, zombies included, but for the helpers that multiprocessing keeps."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # none at all, as after nearly every test: the walk through /proc is spared
        return []
    kept = {
        getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None),
        getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None),
    }
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid not in kept and _is_child(pid)]


def _is_child(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended and been waited for since the listing
        return False
    # After the command's name, which may hold blanks and brackets: state, then the parent's pid.
    return int(status.rpartition(")")[2].split()[1]) == os.getpid()


def _mapped() -> list[str]:
    """The files that are mapped into memory: a page may stay mapped after its descriptor was closed."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6 and fields[5].startswith("/")]


def _command(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "gone"
    return command.replace(b"\0", b" ").decode(errors="replace").strip() or "zombie"
