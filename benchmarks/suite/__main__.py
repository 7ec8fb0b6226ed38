"""``python -m benchmarks.suite``: logbus and every peer that is here, in one shuffled run; ``… render``: its page.

Usage::

    python -m benchmarks.suite [--quick | --tiny] [--seed N] [--rounds N] [--only FAMILY … ] [--output FILE]
    python -m benchmarks.suite render [--run NAME] [--results DIRECTORY] [--output FILE]

The first takes about ten minutes, or one (``--quick``), tells its progress on stderr, writes
``benchmarks/results/suite.json`` after each round and prints tables. ``--tiny`` only proves that it all works: its
figures mean nothing. Results of a run that is not a whole one in full size go to ``quick.json``, ``tiny.json`` or
``only.json`` there, unless ``--output`` says where. It exits 0 whether a promise was kept or not, since the machine may
be busy; 1 when something could not be measured; 2 when it was asked for what there is not; 130 when it was interrupted,
with what it has in the file.

``--only`` takes families, or single variants as ``producer/fast``. The page is made by :mod:`benchmarks.suite.render`.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.command import forget_settings, seeded
from benchmarks.compiled import build_for
from benchmarks.machine import interpreter_of, machine
from benchmarks.peers.family import NEWER_PYTHON
from benchmarks.service import ROOT
from benchmarks.suite import render, rounds, tables
from benchmarks.suite.families import FAMILIES, collect
from benchmarks.suite.job import Bench, Job, Mode
from benchmarks.suite.peers import PEERS, interpreter
from benchmarks.suite.results import Results, default_output


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["render"]:
        return render.main(given[1:])
    chosen = _asked(given)
    forget_settings()
    for ending in (signal.SIGTERM, signal.SIGHUP):  # collectors end, and the file has what there is
        signal.signal(ending, signal.default_int_handler)
    seed = seeded(chosen.seed)
    mode: Mode = "tiny" if chosen.tiny else "quick" if chosen.quick else "full"
    output = chosen.output or default_output("suite", mode, part=bool(chosen.only))
    plan = rounds.PLANS[mode]
    if chosen.rounds is not None:
        plan = replace(plan, least=chosen.rounds, most=chosen.rounds)
    python = interpreter()
    if python != PEERS:
        print(
            f"no {PEERS.relative_to(ROOT)} (`make bench-peers`): peers that are not here are skipped", file=sys.stderr
        )
    build_for((python, NEWER_PYTHON))
    with contextlib.ExitStack() as stack:
        # Short: a socket's path has 107 bytes at most.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp")))
        where = {**machine(), "peers": interpreter_of(python, directory)}
        if NEWER_PYTHON.exists():
            where["newer"] = interpreter_of(NEWER_PYTHON, directory)
        bench = Bench(directory, python, mode, stack)
        try:
            jobs, skipped = collect(bench, chosen.only)
        except ValueError as error:
            print(f"--only: {error}", file=sys.stderr)
            return 2
        results = Results({"mode": mode, "seed": seed, "machine": where}, jobs, skipped)
        interrupted = _run(bench, jobs, plan, seed, results, output)
    document = results.document()
    print(tables.said(document))
    print(f"written to {output}")
    return 130 if interrupted else 1 if results.failed else 0


def _run(bench: Bench, jobs: Sequence[Job], plan: rounds.Plan, seed: int, results: Results, output: Path) -> bool:
    """Runs the rounds and the audit; whether somebody interrupted them. The file has the results either way."""
    begun_at = time.monotonic()
    terminal = sys.stderr.isatty()

    def begun(number: int, place: int, due: int, job: Job) -> None:
        minutes, seconds = divmod(int(time.monotonic() - begun_at), 60)
        line = f"{minutes}:{seconds:02d} round {number + 1}, {place + 1} of {due}: {job.family}/{job.variant}"
        print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def over(rounds: int) -> None:
        results.rounds = rounds
        results.write(output)

    interrupted = False
    try:
        order = random.Random(seed)
        rounds.run(jobs, plan, order, taken=results.take, failed=results.fail, begun=begun, over=over)
    except KeyboardInterrupt:
        interrupted = True
    if terminal:
        print(file=sys.stderr)
    if not interrupted:  # Ctrl-C has reached the collectors too
        for name, service in bench.services.items():
            results.audit(name, service.status())
    results.write(output)
    return interrupted


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suite",
        description="logbus and its peers in one shuffled run. `render` as the first word makes docs/performance.md.",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="about a minute: logbus and what it is compared with most")
    size.add_argument("--tiny", action="store_true", help="as small as can be: proves that it works, no figures")
    parser.add_argument("--seed", type=int, default=None, help="of the order of the runs")
    parser.add_argument("--rounds", type=_positive, default=None, help="exactly so many, whatever they take")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="FAMILY",
        help=f"{', '.join(FAMILIES)}; or one variant, as producer/fast",
    )
    parser.add_argument("--output", type=Path, default=None, help="where the figures go, as JSON")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, found {text}")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
