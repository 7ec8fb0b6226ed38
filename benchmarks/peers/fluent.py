"""fluent-logger: the forward protocol over TCP, from the calling thread or from one of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from benchmarks.peers.calls import Calls
from benchmarks.peers.peer import Peer, Place, root_logger
from benchmarks.peers.reader import Reader
from benchmarks.peers.stdlib import read_by

#: Attributes of a record that the other lines don't have either; what ``extra`` adds is sent.
_NOT_SENT: Final = [
    *("args", "msg", "exc_info", "exc_text", "stack_info", "created", "msecs", "relativeCreated", "levelno"),
    *("pathname", "filename", "thread", "taskName", "message", "asctime"),
]
#: Messages that its queue holds: a burst. By default 100, whereupon a call waits.
_QUEUED: Final = 8192


def sync(place: Place) -> Peer:
    """Each call packs and sends."""
    from fluent.handler import FluentHandler

    return _peer(place, FluentHandler)


def asynchronous(place: Place) -> Peer:
    """Each call packs; a thread sends, record by record."""
    from fluent.asynchandler import FluentHandler

    return _peer(place, FluentHandler, queue_maxsize=_QUEUED)


def _peer(place: Place, kind: Callable[..., logging.Handler], **options: Any) -> Peer:
    from fluent.handler import FluentRecordFormatter

    reader = place.stack.enter_context(Reader("messages", place.directory))
    handler = kind("app.bench", host="127.0.0.1", port=reader.port, **options)
    handler.setFormatter(FluentRecordFormatter(exclude_attrs=_NOT_SENT, format_json=False))
    place.stack.callback(handler.close)
    return read_by(reader, Calls(root_logger(handler)))
