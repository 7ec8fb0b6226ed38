"""What memory a process takes, as the kernel counts it (``/proc/PID/smaps_rollup``).

The resident set of a forked worker is mostly its parent's: pages that both still share count in full in each. The
proportional set divides them among those that share, the private pages are those that ending the process would free.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_KIB: int = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB: the resident set, the proportional set, and what is private."""

    rss: float
    pss: float
    private: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """That of a process now. Raises OSError when it has gone, or is another user's."""
        kib: dict[str, int] = {}
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            kib[name] = int(rest.split()[0])
        return cls(kib["Rss"] / _KIB, kib["Pss"] / _KIB, (kib["Private_Clean"] + kib["Private_Dirty"]) / _KIB)

    @classmethod
    def median(cls, pids: Sequence[int]) -> Self:
        """The median of some processes, each figure by itself."""
        found = [cls.of(pid) for pid in pids]
        return cls(*(statistics.median(getattr(one, name) for one in found) for name in cls.__slots__))


def peak_mib(pid: int) -> float:
    """The largest resident set that a process has had since it began, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / _KIB
    raise RuntimeError(f"/proc/{pid}/status: expected a line VmHWM, found none")
