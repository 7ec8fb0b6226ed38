"""Which interpreter runs what is measured: that of ``.venvs/bench``, in which the peers are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from benchmarks.service import ROOT

#: Where `make bench-peers` installs the peers.
PEERS: Final = ROOT / ".venvs" / "bench" / "bin" / "python"


def interpreter() -> Path:
    """That of the peers; our own, where they were not installed: those that are not here are skipped then."""
    return PEERS if PEERS.exists() else Path(sys.executable)
