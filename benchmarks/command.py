"""What a benchmark is asked on the command line, and where its figures go."""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """``tiny`` only proves that it all works, ``short`` takes half a minute at most; ``seed`` is of the order of the
    runs; ``output`` gets the figures.
    """

    tiny: bool
    short: bool
    seed: int
    output: Path

    def write(self, document: Mapping[str, Any]) -> None:
        """Writes the figures as JSON."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.output.write_text(json.dumps(document, indent=1) + "\n")


def asked(
    program: str, description: str, results: Path, arguments: Sequence[str] | None, *, short: bool = False
) -> Asked:
    """The options of a benchmark (None: those of the process), ``--short`` among them if there is such a run.

    A setting of the caller's would be measured too: from here on the environment has none.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--tiny", action="store_true", help="as small as can be: proves that it works, no figures")
    if short:
        parser.add_argument("--short", action="store_true", help="half a minute at most: the figures are rougher")
    parser.add_argument("--seed", type=int, default=None, help="of the order of the runs")
    parser.add_argument("--output", type=Path, default=results, help="where the figures go, as JSON")
    chosen = parser.parse_args(arguments)
    for name in [name for name in os.environ if name.startswith("LOGBUS_")]:
        del os.environ[name]
    seed = random.SystemRandom().randrange(1_000_000) if chosen.seed is None else chosen.seed
    return Asked(chosen.tiny, short and chosen.short, seed, chosen.output)
