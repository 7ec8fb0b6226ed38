"""The families of the suite: which package measures which, and the jobs that they offer here."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import Final

from benchmarks.suite.job import Bench, Job

#: The packages that measure, and the families of each.
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "benchmarks.suite.start": ("startup",),
    "benchmarks.peers": ("producer",),
    "benchmarks.daemons": ("collector", "end_to_end"),
    "benchmarks.scale": ("workers", "memory", "sinks", "sizes", "flood", "idle", "stalls"),
}
FAMILIES: Final = tuple(family for families in PACKAGES.values() for family in families)


def collect(
    bench: Bench, only: Collection[str] = (), packages: Mapping[str, tuple[str, ...]] = PACKAGES
) -> tuple[list[Job], dict[str, str]]:
    """The jobs, and why others can't be done here, by "family/variant".

    ``only``: those of these families or "family/variant"s; empty: all. A package that can't be imported raises its
    ImportError: nothing is left out in silence. Raises ValueError when ``only`` names what there is not.
    """
    jobs: list[Job] = []
    skipped: dict[str, str] = {}
    families = {name.partition("/")[0] for name in only}
    for package, own in packages.items():
        if only and families.isdisjoint(own):
            continue
        module = importlib.import_module(package)
        jobs += [job for job in module.jobs(bench) if _wanted(job.family, job.variant, only)]
        found: dict[str, str] = module.skipped(bench)
        skipped |= {name: reason for name, reason in found.items() if _wanted(*_parted(name), only)}
    known = {f"{job.family}/{job.variant}" for job in jobs} | set(skipped)
    known |= {name.partition("/")[0] for name in known}
    if strange := sorted(set(only) - known):
        families_here = ", ".join(family for own in packages.values() for family in own)
        raise ValueError(f"expected of {families_here}, or a variant as FAMILY/VARIANT, found {', '.join(strange)}")
    return jobs, skipped


def _parted(name: str) -> tuple[str, str]:
    family, _, variant = name.partition("/")
    return family, variant


def _wanted(family: str, variant: str, only: Collection[str]) -> bool:
    return not only or family in only or f"{family}/{variant}" in only
