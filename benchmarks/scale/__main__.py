"""``python -m benchmarks.scale``: everything of this family in its full size, but for the hour of endurance.

Usage: ``python -m benchmarks.scale [--full | --tiny] [--rounds N] [--only FAMILY …] [--seed N] [--output FILE]``.
Without ``--full`` the variants and sizes of the suite's run; with it every number of workers, size and shape, at
length: minutes a round. ``--only`` takes ``workers``, ``memory``, ``idle``, ``sizes``, ``sinks``, ``flood`` and
``stalls``, or one variant as ``workers/200``. Prints tables and writes the same document as the suite,
``benchmarks/results/scale.json``; ``scale-only.json`` with ``--only`` and ``scale-tiny.json`` with ``--tiny``, unless
``--output`` says where. Exits 1 when something could not be measured; 130 when it was interrupted or asked to end, with
what it has in the file.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from benchmarks.command import forget_settings, seeded
from benchmarks.compiled import build_for
from benchmarks.machine import interpreter_of, machine
from benchmarks.scale.offer import everything, of_the_suite
from benchmarks.service import ROOT
from benchmarks.suite import rounds, tables
from benchmarks.suite.job import Bench, Job, Mode
from benchmarks.suite.results import Results, default_output

#: The interpreter of what is measured, the same as the suite's; ours where it is not there.
_PEERS: Final = ROOT / ".venvs" / "bench" / "bin" / "python"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="What growth costs logbus.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="everything, at length")
    size.add_argument("--tiny", action="store_true", help="as small as can be: proves that it works, no figures")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--only", nargs="+", default=[], metavar="FAMILY", help="families, or FAMILY/VARIANT")
    parser.add_argument("--seed", type=int, default=None, help="of the order of the runs")
    parser.add_argument("--output", type=Path, default=None, help="where the figures go, as JSON")
    chosen = parser.parse_args(arguments)
    forget_settings()
    seed = seeded(chosen.seed)
    python = _PEERS if _PEERS.exists() else Path(sys.executable)
    build_for((python,))
    with contextlib.ExitStack() as stack:
        for ending in (signal.SIGTERM, signal.SIGHUP):  # collectors and workers end, and the file has what there is
            stack.callback(signal.signal, ending, signal.signal(ending, signal.default_int_handler))
        # Short: a socket's path has 107 bytes at most.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp")))
        mode: Mode = "tiny" if chosen.tiny else "full"
        output = chosen.output or default_output("scale", mode, part=bool(chosen.only), prefix="scale-")
        bench = Bench(directory, python, mode, stack)
        jobs = _chosen(everything(bench) if chosen.full else of_the_suite(bench), chosen.only)
        if not jobs:
            parser.error(f"expected families or FAMILY/VARIANT of this benchmark, found {' '.join(chosen.only)}")
        head = {"mode": mode, "seed": seed, "machine": {**machine(), "peers": interpreter_of(python, directory)}}
        results = Results(head, jobs, {})
        interrupted = _run(jobs, 1 if chosen.tiny else chosen.rounds, seed, results, output)
    print(tables.said(results.document()))
    print(f"written to {output}")
    return 130 if interrupted else 1 if results.failed else 0


def _chosen(jobs: Sequence[Job], only: Collection[str]) -> list[Job]:
    return [job for job in jobs if not only or job.family in only or f"{job.family}/{job.variant}" in only]


def _run(jobs: Sequence[Job], times: int, seed: int, results: Results, output: Path) -> bool:
    """Runs the rounds; whether somebody interrupted them. The file has what there is, after each round."""

    def begun(number: int, place: int, due: int, job: Job) -> None:
        print(f"round {number + 1}, {place + 1} of {due}: {job.family}, {job.variant}", file=sys.stderr, flush=True)

    def over(number: int) -> None:
        results.rounds = number
        results.write(output)

    plan = rounds.Plan(least=times, most=times, budget_s=0.0)
    try:
        rounds.run(jobs, plan, random.Random(seed), taken=results.take, failed=results.fail, begun=begun, over=over)
    except KeyboardInterrupt:
        results.write(output)
        return True
    return False


if __name__ == "__main__":
    raise SystemExit(main())
