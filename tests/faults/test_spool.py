"""A spool whose process is killed while it appends."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from logbus.collectors.spool.spool import Spool
from tests.programs.spooler import line

Scale = Callable[[int, int], int]


@pytest.mark.soak
def test_what_was_appended_survives_kill_9(tmp_path: Path, scale: Scale) -> None:
    """Life after life in one directory: every line whose append has returned is there once, whole and in order."""
    for seed in range(scale(20, 2)):
        directory = tmp_path / str(seed)
        chance = random.Random(seed)
        lives = [killed(directory, life, chance.randint(1, 40)) for life in range(scale(10, 3))]
        # Of an append that was cut short some lines may be there, and its numbers are not given out again.
        unsure = {at for one, following in pairwise(lives) for at in range(one[-1], following[0])}
        told: list[str] = []
        spool = Spool("main", directory, told.append)
        found = spool.open(0)
        numbers: list[int] = []
        while portion := spool.read(500, 1 << 20):
            assert portion.data == b"".join(map(line, portion.numbers))
            numbers += portion.numbers
            spool.done(portion.last_seq)
        spool.close()
        assert numbers == sorted(set(numbers))
        assert set(range(lives[-1][-1])) - set(numbers) <= unsure
        assert (found.records, found.damaged, told) == (len(numbers), 0, [])


def killed(directory: Path, seed: int, reports: int) -> list[int]:
    """The numbers that a process has said until it was killed, so many of them and what came meanwhile."""
    command = [sys.executable, "-m", "tests.programs.spooler", str(directory), str(seed), "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline() for _ in range(reports)]
        finally:
            process.kill()
        return [int(text) for text in (*said, *process.stdout.read().split())]
