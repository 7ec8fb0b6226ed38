"""Uvicorn's log_config and the fields of its access log, with the real uvicorn."""

from __future__ import annotations

import json
import logging
import logging.config
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from uvicorn.config import Config

from logbus.errors import ConfigurationError
from logbus.integrations.uvicorn import UvicornHandler, install, log_config
from logbus.producers.handler import LogbusHandler
from tests.collector_command import ROOT, child_environment
from tests.kept import Kept

#: A record of the access log as uvicorn makes it.
LINE = '%s - "%s %s HTTP/%s" %d'


@pytest.fixture(autouse=True)
def default_sigterm() -> Iterator[None]:
    """The default action on SIGTERM, before and after."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def ours(name: str) -> list[UvicornHandler]:
    """The handlers that a logger has from us."""
    return [handler for handler in logging.getLogger(name).handlers if isinstance(handler, UvicornHandler)]


def keep(kept: Kept, *names: str) -> None:
    """Leads these loggers' records to a producer that keeps them."""
    for name in names:
        for handler in ours(name):
            handler.producer = kept.producer


def test_uvicorn_takes_it(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Each record is collected once, with fields and without colours, and its line is what uvicorn shows."""
    before = list(logging.getLogger().handlers)
    Config(app="shop:app", log_config=log_config(), use_colors=False)
    keep(kept, "uvicorn", "uvicorn.access")
    logging.getLogger("uvicorn.error").info("up", extra={"color_message": "\x1b[1mup\x1b[0m"})
    logging.getLogger("uvicorn.access").info(LINE, "10.0.0.7:4711", "GET", "/tills?token=x", "1.1", 200)
    assert kept.messages == ["up", '10.0.0.7:4711 - "GET /tills?token=x HTTP/1.1" 200']
    assert kept.entries[0].extra is None
    assert kept.entries[1].extra == {
        "method": "GET",
        "path": "/tills",
        "status": 200,
        "http_version": "1.1",
        "client": "10.0.0.7",
    }
    shown = capsys.readouterr()
    assert shown.err == "INFO:     up\n"
    assert shown.out == 'INFO:     10.0.0.7:4711 - "GET /tills?token=x HTTP/1.1" 200 OK\n'
    assert logging.getLogger().handlers == before


def test_without_a_console(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """The collector alone has the records; uvicorn still may set its colours."""
    Config(app="shop:app", log_config=log_config(console=False), use_colors=True)
    keep(kept, "uvicorn", "uvicorn.access")
    logging.getLogger("uvicorn.error").info("up")
    logging.getLogger("uvicorn.access").info(LINE, "", "GET", "/", "1.1", 200)
    assert kept.messages == ["up", ' - "GET / HTTP/1.1" 200']
    assert kept.last.extra is not None
    assert "client" not in kept.last.extra
    assert capsys.readouterr() == ("", "")


def test_options_are_the_handlers() -> None:
    """They reach it through JSON; one that it doesn't have is refused before uvicorn sees it."""
    config = json.loads(json.dumps(log_config(worker="w-1", level="WARNING")))
    logging.config.dictConfig(config)
    [handler] = ours("uvicorn.access")
    assert (handler.producer.settings.worker, handler.level) == ("w-1", logging.WARNING)
    with pytest.raises(ConfigurationError, match="wroker=: unknown option"):
        log_config(wroker="w-1")


def test_the_signal_that_uvicorn_raises_again_drains() -> None:
    """The default action becomes ours; an application's own handler stays."""
    logging.config.dictConfig(log_config())
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.config.dictConfig(log_config())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.parametrize("arguments", [(), ("a",), ("a", "b", "c", "d", "e"), (None, None, None, None, 200)])
def test_records_of_another_kind(kept: Kept, arguments: tuple[Any, ...]) -> None:
    """What an application logs there itself arrives as it is, or with the fields that can be had."""
    logging.config.dictConfig(log_config(console=False))
    keep(kept, "uvicorn.access")
    logging.getLogger("uvicorn.access").info("odd" + " %s" * len(arguments), *arguments)
    assert kept.messages == [" ".join(["odd", *map(str, arguments)])]


def test_installed_for_any_configuration(kept: Kept) -> None:
    """Below ``logbus run`` uvicorn's own configuration has fields and no colours as well, and prints what it did."""
    install()
    Config(app="shop:app")
    seen: list[logging.LogRecord] = []

    def see(record: logging.LogRecord) -> bool:
        seen.append(record)
        return True

    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).addHandler(LogbusHandler.of(kept.producer))
        logging.getLogger(name).addFilter(see)
    for status in (404, 200):  # the second from a call site that is known
        logging.getLogger("uvicorn.access").info(LINE, "[::1]:4711", "GET", "/tills?token=x", "1.1", status)
        logging.getLogger("uvicorn.error").info("up", extra={"color_message": "\x1b[1mup\x1b[0m"})
    fields = [entry.extra for entry in kept.entries]
    assert [extra and (extra["status"], extra["client"]) for extra in fields] == [
        (404, "[::1]"),
        None,
        (200, "[::1]"),
        None,
    ]
    # Formatters print what stands on a record (JSON formatters all of it).
    assert not any("path" in record.__dict__ for record in seen)
    assert ["color_message" in record.__dict__ for record in seen] == [False, True, False, True]


def test_the_file_for_the_command_line() -> None:
    """``python -m`` prints what ``--log-config`` reads."""
    done = subprocess.run(
        [sys.executable, "-m", "logbus.integrations.uvicorn"],
        env=child_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == log_config()
    assert done.stderr == ""
