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

    From here on the environment has no setting of the caller's.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--tiny", action="store_true", help="as small as can be: proves that it works, no figures")
    if short:
        parser.add_argument("--short", action="store_true", help="half a minute at most: the figures are rougher")
    parser.add_argument("--seed", type=int, default=None, help="of the order of the runs")
    parser.add_argument("--output", type=Path, default=results, help="where the figures go, as JSON")
    chosen = parser.parse_args(arguments)
    forget_settings()
    return Asked(chosen.tiny, short and chosen.short, seeded(chosen.seed), chosen.output)


def forget_settings() -> None:
    """Takes the caller's own settings of logbus out of the environment: they would be measured too."""
    for name in [name for name in os.environ if name.startswith("LOGBUS_")]:
        del os.environ[name]


def seeded(seed: int | None) -> int:
    """The seed asked for, or one of chance's, which the results name."""
    return random.SystemRandom().randrange(1_000_000) if seed is None else seed
