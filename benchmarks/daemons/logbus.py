"""logbus's own collector with one JSON file: as it comes, with texts that never repeat, and without its redaction.

Redaction remembers texts that it has met, and the reference record has few: ten messages, each for 64 proxies, and the
URLs of these. ``logbus_fresh`` is the same collector where no message and no URL comes twice while it is remembered, as
with proxies that have a session for each request.

``logbus_bare`` is no configuration that a user could write: the stage is taken out of the program before it starts, so
that its cost shows, and so that there is something to hold against collectors that don't redact.

Each of them says what it has loaded, since an installation with a compiler has a collector whose records go from their
frame to lines of JSON without becoming objects; the one in Python does without, as where there was no compiler.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zmq

import logbus
from benchmarks.daemons.forms import MADE
from benchmarks.daemons.program import Program
from benchmarks.daemons.receiver import WORKERS, Daemon, Receiver, Send
from benchmarks.feed import FRAME_RECORDS, Feeder, payloads
from benchmarks.service import environment

#: Records that are made where no text may repeat: whole frames, and more than the texts that redaction remembers.
_FRESH: Final = 9_600
_READY: Final = re.compile(r"ready: records (\S+), control \S+$", re.MULTILINE)
#: The line of ``own.py``.
_FORM: Final = re.compile("^collector: (compiled|in Python)$", re.MULTILINE)
_OWN: Final = "benchmarks.daemons.own"
_BARE: Final = "benchmarks.daemons.bare"


def version() -> str:
    """The version of this checkout."""
    return f"logbus {logbus.__version__}"


@contextlib.contextmanager
def collector(directory: Path, module: str = _OWN, *, fresh: bool = False, pure: bool = False) -> Iterator[Receiver]:
    """``logbus collector start`` with one JSON file, run by ``module``; ``fresh``: fed with texts that don't repeat.

    ``pure``: without the compiled part.
    """
    path, found = directory / "out.jsonl", ""

    def ready() -> bool:
        nonlocal found
        match = _READY.search((directory / "output").read_text())
        found = match[1] if match else ""
        return bool(found)

    command = [sys.executable, "-m", module, "collector", "start", "--sink", f"file:{path}"]
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(Program(command, directory, environment(directory, pure=pure), ready))
        form = _FORM.search(program.said())
        context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
        feeders: list[Feeder] = []

        def prepare(count: int) -> Send:
            if not feeders:
                feeders.extend(stack.enter_context(Feeder(context, found, number)) for number in range(WORKERS))
            made = payloads(_FRESH if fresh else MADE, fresh=fresh)
            frames = list(itertools.islice(itertools.cycle(made), count // FRAME_RECORDS))
            if rest := count % FRAME_RECORDS:
                frames += payloads(rest, fresh=fresh)

            def send() -> None:
                for feeder, frame in zip(itertools.cycle(feeders), frames, strict=False):
                    feeder.send([frame])

            return send

        yield Receiver(
            path, program.cpu_seconds, program.peak_mib, prepare, found, form=form[1] if form else "not said"
        )
        for feeder in feeders:
            feeder.close()  # the collector's end would wait for their last word


def _fresh(directory: Path) -> contextlib.AbstractContextManager[Receiver]:
    return collector(directory, fresh=True)


def _bare(directory: Path) -> contextlib.AbstractContextManager[Receiver]:
    return collector(directory, _BARE)


def _in_python(directory: Path) -> contextlib.AbstractContextManager[Receiver]:
    return collector(directory, pure=True)


LOGBUS: Final = Daemon(
    collector,
    "decodes and checks every field, redacts, keeps the ledger, writes fields as JSON",
    redacts=True,
    version=version,
    ours=True,
)
IN_PYTHON: Final = Daemon(
    _in_python,
    "the same without a compiler: every record becomes an object",
    redacts=True,
    version=version,
    ours=True,
    pure=True,
)
FRESH: Final = Daemon(
    _fresh,
    "the same where no message and no URL with a password comes twice: nothing is remembered",
    redacts=True,
    records=40_000,
    version=version,
    ours=True,
)
BARE: Final = Daemon(
    _bare,
    "logbus with its redaction taken out, which no configuration can do: decodes, keeps the ledger, writes JSON",
    version=version,
    ours=True,
)
