"""A worker with fast loggers and a real collector: each record once, in the very line that a plain one writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import StartCollector
from tests.integration.watch import settled
from tests.worker import Worker

#: Logs in every way that an application has, from several threads, with other handlers coming and going.
SCRIPT = """
    import contextlib, logging.handlers, threading
    logbus.configure(fast_loggers=sys.argv[1] == "fast", worker="w", app_name="shop")
    say(kind=type(log).__name__)

    def sell(number):
        log.info("%d sold for %s", number, "tea", extra={"number": number, "url": "http://u:secret@example.net/"})

    class Helper:
        def complain(self, text):
            log.warning(text, stacklevel=2)

    other = logging.handlers.BufferingHandler(10_000)
    log.debug("too low")
    for number in range(200):
        if number % 50 == 20:
            log.addHandler(other)
        elif number % 50 == 30:
            log.removeHandler(other)
        sell(number)
    assert len(other.buffer) == 40, len(other.buffer)
    assert all(type(record) is logging.LogRecord for record in other.buffer)
    with logbus.context(request_id="r1"):
        log.error("nested", extra={"items": ["tea", 3]})
        logging.LoggerAdapter(log, {"adapted": True}).info("adapted %s", None)
        Helper().complain("by a helper")
    with contextlib.suppress(KeyError):
        log.info("refused", extra={"name": "no"})
    try:
        raise ValueError("no tea")
    except ValueError:
        log.exception("failed %(what)s", {"what": "here"})
    log.info("does not fit %d", "tea")
    log.critical({"not": "a text"})
    threads = [threading.Thread(target=sell, args=(1000 + number,), name=f"till-{number}") for number in range(4)]
    for thread in threads:
        thread.start()
        thread.join()
    logging.getLogger("other.library").log(25, "a level without a name")
    logging.warning("from the root")
    stats = logbus.shutdown(10)
    say(emitted=stats.emitted, sent=stats.sent)
"""

#: What it logs.
RECORDS = 212


def lines(path: Path) -> list[dict[str, Any]]:
    """What the collector has written for the worker, without what differs between two processes."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    of_worker = [line for line in found if line["worker"] == "w"]
    return [{key: value for key, value in line.items() if key not in ("timestamp", "process_id")} for line in of_worker]


def test_the_lines_are_those_of_plain_loggers(
    start_collector: StartCollector, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """The same program with fast loggers and with plain ones writes the same file, field by field."""
    written = []
    for kind in ("plain", "fast"):
        directory = tmp_path / kind
        directory.mkdir()
        collector = start_collector("--sink", "file:out.jsonl", directory=directory)
        worker = start_worker(SCRIPT, kind)
        assert worker.hear() == {"kind": "FastLogger" if kind == "fast" else "Logger"}
        counts = worker.hear()
        worker.wait()
        assert settled(collector, lambda status: status["total"]["collected"] >= RECORDS)["balanced"]
        collector.stop()
        written.append(lines(directory / "out.jsonl"))
        assert counts["emitted"] == counts["sent"] == len(written[-1]) == RECORDS
    assert written[0] == written[1]
