"""What a worker has not loaded: each of these takes memory and time in every process that logs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.collector_command import child_environment

#: What only some workers need, each loaded when it is.
LATER = (
    "dataclasses",
    "logbus.producers.fast_logger",
    "logbus.producers.loguru_front",
    "logbus.producers.recorder",
    "logbus.producers.stats",
    "socket",
    "tomllib",
)
#: One module that a worker loads late, and what makes it: the statement, and a file in its directory.
NEEDS = (
    ("dataclasses", "logbus.stats()", None),
    ("logbus.producers.fast_logger", "logbus.configure(fast_loggers=True)", None),
    ("logbus.producers.loguru_front", "import loguru", None),
    ("logbus.producers.recorder", "logbus.configure(flight_recorder=True)", None),
    ("inspect", "logbus.context(a=1)(print)", None),
    ("tomllib", "logbus.configure()", "pyproject.toml"),
)
#: A worker without a collector, which logs, forks, opens anew and ends as workers do, and says what it has loaded.
WORKER = """
import logging, os, sys
already = set(sys.modules)
import logbus
producer = logbus.configure(level="INFO")
logging.getLogger("shop").warning("sold %d", 7, extra={"to": "x"})
try:
    raise ValueError("no such thing")
except ValueError:
    logging.exception("not sold")
with logbus.context(a="b"):
    logging.debug("unheard")
if (child := os.fork()) == 0:
    logging.info("from the child")
    os._exit(0)
os.waitpid(child, 0)
producer.gate.tick()
STATEMENT
print(*sorted(set(sys.modules) - already))
"""


def loaded(directory: Path, statement: str = "") -> set[str]:
    """The modules that a worker has loaded beyond logging."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER.replace("STATEMENT", statement)],
        cwd=directory,
        env={**child_environment(), "LOGBUS_RUNTIME_DIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_a_worker_loads_nothing_that_it_may_not_need(unmeasured: None, tmp_path: Path) -> None:
    """Neither what reads files that are not there, nor what belongs to libraries and options that are not in use."""
    # What zmq and msgpack load is theirs: from Python 3.13 on inspect is among it.
    found = loaded(tmp_path)
    assert "logbus.producers.sender" in found
    assert sorted(found.intersection(LATER)) == []


@pytest.mark.parametrize(("module", "statement", "file"), NEEDS)
def test_what_is_needed_is_loaded(
    unmeasured: None, tmp_path: Path, module: str, statement: str, file: str | None
) -> None:
    """Each of them as soon as somebody uses it."""
    if file is not None:
        (tmp_path / file).write_text("[tool.logbus]\n")
    assert module in loaded(tmp_path, statement)
