"""Programs below ``logbus run`` do what they do without it, and everything that they log arrives once."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.peer import Peer
from tests.run_command import arrived, bare, below, same, write_program


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Writes a program of these lines, and says where it is."""
    return partial(write_program, tmp_path)


PROGRAMS = {
    "nothing configured": (
        """
        log.debug("d"); log.info("i"); log.warning("w"); logging.error("r")
        print(log.getEffectiveLevel(), logging.getLogger().handlers, log.filters)
        sys.exit(3)
        """,
        [("shop.till", "INFO", "i"), ("shop.till", "WARNING", "w"), ("root", "ERROR", "r")],
    ),
    "basicConfig without a level": (
        """
        logging.basicConfig(format="%(levelname)s %(name)s %(funcName)s %(lineno)d %(message)s")
        log.info("i"); log.warning("w")
        """,
        [("shop.till", "INFO", "i"), ("shop.till", "WARNING", "w")],
    ),
    "basicConfig with WARNING": (
        """
        log.info("before")
        logging.basicConfig(level=logging.WARNING)
        log.info("i"); log.warning("w")
        """,
        [("shop.till", "INFO", "before"), ("shop.till", "WARNING", "w")],
    ),
    "basicConfig with DEBUG": (
        """
        logging.basicConfig(level="DEBUG")
        log.debug("d"); log.info("i")
        """,
        [("shop.till", "DEBUG", "d"), ("shop.till", "INFO", "i")],
    ),
    "dictConfig that disables and takes the root": (
        """
        import logging.config
        log.info("before")
        other = logging.getLogger("other")
        logging.config.dictConfig({
            "version": 1, "disable_existing_loggers": True,
            "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
            "root": {"handlers": ["out"], "level": "INFO"},
            "loggers": {"other": {"level": "ERROR"}},
        })
        log.error("disabled"); other.warning("too low"); other.error("o"); logging.info("root")
        logging.getLogger("new").info("new")
        """,
        [("shop.till", "INFO", "before"), ("other", "ERROR", "o"), ("root", "INFO", "root"), ("new", "INFO", "new")],
    ),
    "loggers that keep to themselves": (
        """
        log.propagate = False
        log.info("nobody hears it")
        library = logging.getLogger("library")
        library.addHandler(logging.NullHandler())
        library.propagate = False
        library.warning("to a NullHandler")
        muted = logging.getLogger("muted")
        muted.addFilter(lambda record: False)
        muted.error("filtered")
        muted.disabled = True
        muted.error("disabled")
        logging.root.handlers = []
        logging.disable(logging.WARNING)
        logging.warning("disabled for all")
        logging.error("kept")
        """,
        [
            ("shop.till", "INFO", "nobody hears it"),
            ("library", "WARNING", "to a NullHandler"),
            ("root", "ERROR", "kept"),
        ],
    ),
    "a handler of logbus that the program attached itself": (
        """
        import logbus
        handler = logbus.LogbusHandler(component="shop")
        logging.basicConfig(handlers=[handler], level=logging.INFO)
        log.addHandler(logbus.LogbusHandler())
        log.info("once")
        handler.flush()
        """,
        [("shop.till", "INFO", "once")],
    ),
    "a program that calls configure()": (
        """
        import logbus
        log.info("before")
        logbus.configure(component="shop")
        log.info("after")
        print(logging.getLogger().level)
        """,
        [("shop.till", "INFO", "before"), ("shop.till", "INFO", "after")],
    ),
    "an application's own classes": (
        """
        class Mine(logging.Logger):
            def _log(self, *args, **kwargs):
                super()._log(*args, **kwargs)
        logging.setLoggerClass(Mine)
        logging.getLogger("mine").info("i")
        def wrap(original):
            def callHandlers(self, record):
                return original(self, record)
            return callHandlers
        logging.Logger.callHandlers = wrap(logging.Logger.callHandlers)
        logging.getLogger("mine").warning("w")
        logging.LoggerAdapter(log, {"a": 1}).info("adapted")
        """,
        [("mine", "INFO", "i"), ("mine", "WARNING", "w"), ("shop.till", "INFO", "adapted")],
    ),
    "logging.shutdown() and os._exit()": (
        """
        log.info("i")
        logging.shutdown()
        os._exit(4)
        """,
        [("shop.till", "INFO", "i")],
    ),
    "a crash": (
        """
        import warnings
        warnings.warn("careful", DeprecationWarning, 1)
        def fail():
            raise ValueError("no money")
        fail()
        """,
        [
            ("py.warnings", "WARNING", "DeprecationWarning: careful"),
            ("uncaught", "CRITICAL", "uncaught ValueError: no money"),
        ],
    ),
    "loguru": (
        """
        from loguru import logger
        logger.info("to stderr too")
        logger.remove()
        logger.info("to nobody")
        logger.add(sys.stdout, format="{level} {name} {function} {line} {message}", level="WARNING")
        logger.info("low"); logger.warning("shown")
        """,
        [
            ("__main__", "INFO", "to stderr too"),
            ("__main__", "INFO", "to nobody"),
            ("__main__", "INFO", "low"),
            ("__main__", "WARNING", "shown"),
        ],
    ),
    "logging into loguru, by the usual recipe": (
        """
        import inspect
        from loguru import logger
        class InterceptHandler(logging.Handler):
            def emit(self, record):
                frame, depth = inspect.currentframe(), 0
                while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
                    frame = frame.f_back
                    depth += 1
                logger.opt(depth=depth, exception=record.exc_info).log(record.levelname, record.getMessage())
        logger.remove()
        logger.add(sys.stdout, format="{level} {name} {function} {line} {message}")
        logging.basicConfig(handlers=[InterceptHandler()], level=0)
        def sell():
            log.info("sold %d", 3)
        sell()
        logger.info("own")
        """,
        [("shop.till", "INFO", "sold 3"), ("__main__", "INFO", "own")],
    ),
    "loguru into logging, by the usual recipe": (
        """
        from loguru import logger
        class PropagateHandler(logging.Handler):
            def emit(self, record):
                logging.getLogger(record.name).handle(record)
        logger.remove()
        logger.add(PropagateHandler(), format="{message}")
        logging.basicConfig(level=logging.INFO)
        logger.info("sold")
        log.info("plain", extra={"extra": {"a": 1}})
        """,
        [("__main__", "INFO", "sold"), ("shop.till", "INFO", "plain")],
    ),
    "structlog through logging": (
        """
        import structlog
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, structlog.processors.KeyValueRenderer()],
            logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
        )
        structlog.get_logger("shop").info("sold", item=3)
        structlog.get_logger("shop").error("gone", item=4)
        """,
        [("shop", "INFO", "item=3 event='sold'"), ("shop", "ERROR", "item=4 event='gone'")],
    ),
    "structlog with the processor of logbus": (
        """
        import logbus, structlog
        structlog.configure(
            processors=[logbus.StructlogProcessor(component="shop"), structlog.processors.KeyValueRenderer()],
            logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,
        )
        structlog.get_logger("shop").error("sold", item=3)
        log.error("plain")
        from structlog.stdlib import ProcessorFormatter
        formatter = ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, structlog.processors.KeyValueRenderer()],
            foreign_pre_chain=[logbus.StructlogProcessor()],
        )
        handler = logging.StreamHandler()
        handler.setFormatter(formatter)
        logging.root.addHandler(handler)
        log.error("formatted")
        """,
        [("shop", "ERROR", "sold"), ("shop.till", "ERROR", "plain"), ("shop.till", "ERROR", "formatted")],
    ),
    "a sink of logbus that the program added itself": (
        """
        import logbus
        from loguru import logger
        logger.remove()
        logger.add(logbus.loguru_sink(component="shop"), format="")
        logger.info("once")
        """,
        [("__main__", "INFO", "once")],
    ),
    "logging that is loaded anew": (
        """
        import importlib
        log.info("before")
        importlib.reload(logging)
        logging.getLogger("shop.till").info("after")
        log.warning("from a logger of before")
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
        logging.debug("at the level that is set")
        importlib.reload(logging)
        logging.warning("and again")
        """,
        [
            ("shop.till", "INFO", "before"),
            ("shop.till", "INFO", "after"),
            ("shop.till", "WARNING", "from a logger of before"),
            ("root", "DEBUG", "at the level that is set"),
            ("root", "WARNING", "and again"),
        ],
    ),
    "logging that is imported anew": (
        """
        del sys.modules["logging"]
        import logging
        logging.warning("of the new one")
        log.warning("of the old one")
        """,
        [("root", "WARNING", "of the new one"), ("shop.till", "WARNING", "of the old one")],
    ),
    "structlog that prints": (
        """
        import structlog
        structlog.configure(
            processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.PrintLoggerFactory()
        )
        structlog.get_logger().info("printed")
        log.info("logged")
        """,
        [("shop.till", "INFO", "logged")],  # print() is no log: logbus.StructlogProcessor() among the processors is
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_what_it_did_and_everything_arrives(
    peer: Peer, program: Callable[[str], str], name: str
) -> None:
    """stdout, stderr and exit code are the same with and without, and each record that passes arrives once."""
    lines, expected = PROGRAMS[name]
    command = (sys.executable, "-W", "default", program(lines))
    same(below(*command), bare(*command))
    assert arrived(peer) == expected


def test_records_of_other_workers_are_not_taken_again(peer: Peer, program: Callable[[str], str]) -> None:
    """The cookbook's recipe: children log into a queue, and one thread hands their records to its own loggers."""
    lines = """
    import logging.handlers, multiprocessing, threading

    def work(queue, gate):
        root = logging.getLogger()
        root.handlers = [logging.handlers.QueueHandler(queue)]
        root.setLevel(logging.INFO)
        log.info("from a child")
        gate.wait()

    def listen(queue, gate):
        while (record := queue.get()) is not None:
            logging.getLogger(record.name).handle(record)
            gate.set()

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue, gate = context.Queue(), context.Event()
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
        listener = threading.Thread(target=listen, args=(queue, gate))
        listener.start()
        child = context.Process(target=work, args=(queue, gate))
        child.start()
        child.join()
        queue.put(None)
        listener.join()
        far = {"name": "far", "levelno": 20, "levelname": "INFO", "msg": "of another host", "process": 4_000_000}
        logging.getLogger("far").handle(logging.makeLogRecord(far))
    """
    done = below(sys.executable, program(lines))
    assert (done.stdout, done.stderr) == ("INFO:shop.till:from a child\nINFO:far:of another host\n", "")
    assert Counter(peer.arrivals.messages) == {"from a child": 1, "of another host": 1}


@pytest.mark.parametrize("how", ["at once", "as a daemon"])
def test_a_program_that_closes_every_descriptor_lives(peer: Peer, program: Callable[[str], str], how: str) -> None:
    """Closed under ZeroMQ they would be an abort: at any time in a process, and in a child that becomes a daemon."""
    daemon = """
    if os.fork():
        os.wait()
        sys.exit()
    os.setsid()
    if os.fork():
        os._exit(0)
    """
    close = """
    import threading, logbus
    log.info("before")
    assert logbus.flush(20)
    os.closerange(3, 4096)
    log.info("after")
    os.closerange(3, 4096)
    os.closerange(3, 4096)
    for thread in threading.enumerate():
        if thread.name == "logbus-opener":
            thread.join(20)
    """
    lines = textwrap.dedent(daemon if how == "as a daemon" else "") + textwrap.dedent(close)
    # Some releases of Python warn of the threads that begin after a fork, see tests/integration/test_fork.py.
    done = below(sys.executable, "-W", "ignore::DeprecationWarning", program(lines))
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: len(peer.arrivals.byes) >= 2)
    assert peer.arrivals.messages == ["before", "after"]
