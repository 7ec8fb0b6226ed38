"""What every test gets: directories of its own, untouched logging, and a check that it leaves nothing behind."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import HealthCheck, settings
from loguru import logger as loguru_logger

from tests.collector_command import CollectorCommand, child_environment
from tests.leaks import Holdings, left_behind

if TYPE_CHECKING:
    from tests.kept import Kept
    from tests.peer import Peer
    from tests.servers.faulty_http import FaultyHttp
    from tests.twins import Tree
    from tests.worker import Worker

# A shell that starts the tests in the background has them ignore Ctrl-C, and programs under test inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: What stays of our settings: whether the compiled part is used is decided for a whole run, children included.
KEPT = ("LOGBUS_PURE_PYTHON",)
#: Whether the promised figures run at full size.
SOAK = os.environ.get("LOGBUS_SOAK") == "1"

# No deadline per example: on two shared cores it would measure the neighbours. A failure prints what reproduces it.
settings.register_profile(
    "quick", max_examples=50, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("soak", settings.get_profile("quick"), max_examples=2000)
settings.load_profile("soak" if SOAK else "quick")


@pytest.fixture(autouse=True)
def directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for this test's sockets (``runtime``) and ledgers (``state``), and no other LOGBUS_ setting.

    Not below tmp_path: the path of a Unix socket has at most 107 bytes, and pytest's names are long.
    """
    for name in [name for name in os.environ if name.startswith("LOGBUS_") and name not in KEPT]:
        monkeypatch.delenv(name)
    base = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
    monkeypatch.setenv("LOGBUS_RUNTIME_DIR", str(base / "runtime"))
    monkeypatch.setenv("LOGBUS_STATE_DIR", str(base / "state"))
    yield base
    shutil.rmtree(base)


@pytest.fixture(autouse=True)
def nothing_left(directories: Path, tmp_path: Path) -> Iterator[None]:
    """Fails the test that leaves a child process, a thread, a socket or an open file of its own."""
    before = Holdings.now(directories, tmp_path)
    yield
    if found := left_behind(before, directories, tmp_path):
        pytest.fail("left behind: " + "; ".join(found), pytrace=False)


@pytest.fixture(autouse=True)
def untouched_logging(nothing_left: None) -> Iterator[None]:
    """The logging module, loguru and our context as they were, whatever the test configures."""
    loguru_logger.remove()
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLoggerClass(), logging.getLogRecordFactory())
    known = {
        name: (logger.level, list(logger.handlers), logger.propagate, logger.disabled, list(logger.filters))
        for name, logger in _loggers()
    }
    yield
    level, handlers, logger_class, record_factory = before
    # pytest puts handlers of its own on the root and takes them off again, phase by phase: they are left alone.
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers or _is_of_pytest(handler)]
    root.setLevel(level)
    logging.setLoggerClass(logger_class)
    logging.setLogRecordFactory(record_factory)
    logging.disable(logging.NOTSET)
    logging.captureWarnings(False)
    for name, logger in _loggers():
        level, handlers, propagate, disabled, filters = known.get(name) or (logging.NOTSET, [], True, False, [])
        logger.setLevel(level)
        logger.handlers[:], logger.filters[:] = handlers, filters
        logger.propagate, logger.disabled = propagate, disabled
    if "logbus.producers.loguru_import" in sys.modules:  # first: it would put its handler back
        sys.modules["logbus.producers.loguru_import"].LOGURU_IMPORT.end()
    if "logbus.producers.structlog_front" in sys.modules:
        structlog_front = sys.modules["logbus.producers.structlog_front"].STRUCTLOG
        structlog_front.leave()
        structlog_front._wrappers.clear()
        structlog_front._processors.clear()
    loguru_logger.remove()
    loguru_logger.configure(extra={})
    loguru_logger._core.patcher = None  # type: ignore[attr-defined]
    loguru_logger.enable("")
    if "logbus.producers.context" in sys.modules:
        sys.modules["logbus.producers.context"].clear_context()
    if "logbus.producers.fast_tree" in sys.modules:
        sys.modules["logbus.producers.fast_tree"].FAST_TREE.end()
    for name in ("uncaught", "warned"):
        if f"logbus.producers.{name}" in sys.modules:
            sys.modules[f"logbus.producers.{name}"].uninstall()
    if "logbus.producers.take" in sys.modules:
        sys.modules["logbus.producers.take"].CLEANERS.clear()
    if "logbus.producers.producer" in sys.modules:
        from tests.peer import forget_producers

        forget_producers()


@pytest.fixture
def peer(directories: Path) -> Iterator[Peer]:
    """A collector's sockets in ``runtime/default``, where producers look for them, and a list of what came."""
    from tests.peer import Peer

    with Peer.at(directories / "runtime" / "default") as peer:
        yield peer


@pytest.fixture
def timer() -> Iterator[Callable[[Callable[[], None], float], None]]:
    """Arms a timer that calls a function, in this thread, every so many seconds of its own CPU time."""
    before = signal.getsignal(signal.SIGPROF)

    def start(action: Callable[[], None], interval: float) -> None:
        signal.signal(signal.SIGPROF, lambda number, frame: action())
        signal.setitimer(signal.ITIMER_PROF, interval, interval)

    yield start
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


@pytest.fixture
def kept() -> Kept:
    """A producer that keeps what it is given, for a front or a sink to log to."""
    from tests.kept import Kept

    return Kept()


@pytest.fixture(params=("python", "compiled"))
def fast_form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The methods of fast loggers in Python, and compiled where that is there: a test that asks runs in both forms."""
    from logbus.producers.compiled import NATIVE
    from tests.twins import take_form

    form = str(request.param)
    if form == "compiled" and NATIVE is None:
        pytest.skip("no compiled part here, or LOGBUS_PURE_PYTHON is set")
    take_form(form, monkeypatch)
    return form


@pytest.fixture
def both() -> tuple[Tree, Tree]:
    """A tree of plain loggers and one of fast ones, each with a handler of ours on its root."""
    from tests.twins import twins

    trees = twins()
    for tree in trees:
        tree.root.addHandler(tree.handler)
    return trees


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, ``tmp_path``: no ./logbus.toml but the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def start_worker() -> Iterator[Callable[..., Worker]]:
    """Runs scripts in processes of their own (``tests/worker.py``), and ends those that the test leaves running."""
    from tests.worker import Worker

    started: list[Worker] = []

    def start(script: str, *arguments: str, **options: Any) -> Worker:
        started.append(Worker(script, *arguments, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def start_http(tmp_path: Path) -> Iterator[Callable[..., FaultyHttp]]:
    """Starts real HTTP servers with programmed faults (``tests/servers/faulty_http.py``), and ends them."""
    from tests.servers.faulty_http import FaultyHttp

    started: list[FaultyHttp] = []

    def start(**options: Any) -> FaultyHttp:
        started.append(FaultyHttp.start(tmp_path / f"http-{len(started)}", **options))
        return started[-1]

    yield start
    for server in started:
        server.end()


class StartCollector(Protocol):
    """How tests start a collector: arguments of the command; ``env`` adds to the test's environment."""

    def __call__(
        self, *arguments: str, directory: Path | None = None, env: dict[str, str] | None = None, ready: bool = True
    ) -> CollectorCommand:
        """The collector, ready unless ``ready`` is false."""
        ...


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[StartCollector]:
    """Starts real collectors in ``tmp_path`` and ends those that the test leaves running.

    Fails the test if one of them, however it ended, wrote a traceback.
    """
    started: list[CollectorCommand] = []

    def start(
        *arguments: str, directory: Path | None = None, env: dict[str, str] | None = None, ready: bool = True
    ) -> CollectorCommand:
        environment = child_environment(**(env or {}))
        collector = CollectorCommand.start(
            *arguments, directory=directory or tmp_path, number=len(started), env=environment
        )
        started.append(collector)
        return collector.wait_ready() if ready else collector

    yield start
    for collector in started:
        try:
            collector.stop()
        finally:
            collector.kill()
    tracebacks = [collector.stderr for collector in started if "Traceback (most recent call last)" in collector.stderr]
    assert not tracebacks, f"a collector wrote a traceback:\n{tracebacks[0]}"


@pytest.fixture
def scale() -> Callable[[int, int], int]:
    """Chooses the size of a figure: ``scale(full, quick)`` is ``full`` under ``make soak``, else ``quick``."""
    return lambda full, quick: full if SOAK else quick


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps coverage out of child processes, for tests that measure their cost or look at what they import."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def _loggers() -> list[tuple[str, logging.Logger]]:
    loggers = logging.root.manager.loggerDict
    return [(name, logger) for name, logger in list(loggers.items()) if isinstance(logger, logging.Logger)]


def _is_of_pytest(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("_pytest.")
