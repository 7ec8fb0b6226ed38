"""What can't stand together in the table of a sink that sends to others: keys that need or exclude one another.

Two sinks may send to one address: that one server gets everything and its errors in another form once more is nobody's
mistake, and their names tell their rows and their spools apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from logbus.collectors.configuration.tables import Batch, Queue, Retry
from logbus.collectors.shown import Location, path_of, shown
from logbus.collectors.sinks.syslog.address import parse_address
from logbus.durations import parse_duration
from logbus.errors import ConfigurationError
from logbus.sizes import format_size, parse_size

Found = tuple[Location, str]

_QUEUE: Final = Queue()
_BATCH: Final = Batch()
_RETRY: Final = Retry()


def remote_conflicts(index: int, sink: Mapping[str, Any]) -> Iterator[Found]:
    """Every conflict in the table of a sink, as the location and the line of a problem."""
    at: Location = ("sinks", index)
    queue, batch, retry, tls = (_table(sink, key) for key in ("queue", "batch", "retry", "tls"))
    if sink.get("type") not in ("console", "file"):
        yield from _backwards(at, retry)
        yield from _half(at, tls)
    if sink.get("spool") is not None and queue.get("on_full") not in (None, "shed_lowest"):
        what = '"shed_lowest", or no spool beside it, to which what has no room goes for as long as that works'
        yield _problem((*at, "queue", "on_full"), f"expected {what}, found {shown(queue['on_full'])}")
    if sink.get("type") == "http":
        yield from _bodies(at, sink)
        yield from _credentials(at, sink)
        yield from _idle(at, sink, tls, "url", "https://")
    if sink.get("type") not in ("console", "file", "syslog"):
        yield from _too_big(at, queue, batch)
    if sink.get("type") == "syslog":
        yield from _idle(at, sink, tls, "address", "tls://")
        yield from _too_long(at, sink)


def _too_big(at: Location, queue: Mapping[str, Any], batch: Mapping[str, Any]) -> Iterator[Found]:
    """A batch for which the queue has no room would never be full."""
    room, wanted = (_size(table.get("max_bytes") or default) for table, default in (
        (queue, _QUEUE.max_bytes), (batch, _BATCH.max_bytes),
    ))  # fmt: skip
    if room is None or wanted is None or wanted <= room:
        return
    if batch.get("max_bytes") is not None:
        expected = f"no more than the {format_size(room)} of queue.max_bytes"
        yield _problem((*at, "batch", "max_bytes"), f"expected {expected}, found {shown(batch['max_bytes'])}")
    else:
        expected = f"room for a batch, {format_size(wanted)} unless batch.max_bytes says otherwise"
        yield _problem((*at, "queue", "max_bytes"), f"expected {expected}, found {shown(queue['max_bytes'])}")


def _backwards(at: Location, retry: Mapping[str, Any]) -> Iterator[Found]:
    """Waits that begin above their bound."""
    first, most = (_seconds(retry.get(key) or getattr(_RETRY, key)) for key in ("initial", "max_interval"))
    if first is not None and most is not None and first > most:
        key = "max_interval" if retry.get("max_interval") is not None else "initial"
        word = "at least retry.initial" if key == "max_interval" else "at most retry.max_interval"
        bound = retry.get("initial") or _RETRY.initial if key == "max_interval" else _RETRY.max_interval
        yield _problem((*at, "retry", key), f"expected {word} ({bound}), found {shown(retry[key])}")


def _half(at: Location, tls: Mapping[str, Any]) -> Iterator[Found]:
    """A certificate and its key are needed together."""
    for key, other in (("certificate", "key"), ("key", "certificate")):
        if tls.get(key) is not None and tls.get(other) is None:
            hint = ", the same file where that holds both" if key == "certificate" else ""
            yield _problem((*at, "tls", key), f"expected {other} beside it{hint}, found none")


def _idle(at: Location, sink: Mapping[str, Any], tls: Mapping[str, Any], key: str, scheme: str) -> Iterator[Found]:
    """TLS for what goes in the clear."""
    where = sink.get(key)
    if not isinstance(where, str) or where.lower().startswith(scheme):
        return
    if any(value is not None for value in tls.values()):
        yield _problem((*at, "tls"), f"expected {key} to begin with {scheme} beside it; alone it would do nothing")


def _too_long(at: Location, sink: Mapping[str, Any]) -> Iterator[Found]:
    """A message that the way takes in no case."""
    size = _size(sink.get("max_message"))
    try:
        address = parse_address(sink.get("address", ""))
    except (ConfigurationError, AttributeError, TypeError):
        return
    if size is not None and size > address.most:
        expected = f"at most {format_size(address.most)}, which is what goes to such an address"
        yield _problem((*at, "max_message"), f"expected {expected}, found {shown(sink['max_message'])}")


def _bodies(at: Location, sink: Mapping[str, Any]) -> Iterator[Found]:
    body, format_ = sink.get("body", "ndjson"), sink.get("format")
    if body == "json" and format_ not in (None, "json"):
        what = '"json": an array has JSON in it, a body of other lines is "ndjson"'
        yield _problem((*at, "format"), f"expected {what}, found {shown(format_)}")
    if body == "otlp":
        for key in ("format", "rename_fields"):
            if sink.get(key):
                yield _problem((*at, key), 'expected none beside body = "otlp", which has a form and names of its own')
    if body == "loki" and sink.get("labels") == {}:
        yield _problem((*at, "labels"), 'expected one at least beside body = "loki", found none')
    if body in ("ndjson", "json", "otlp") and sink.get("labels"):
        yield _problem((*at, "labels"), f'expected body = "loki" beside them, found {shown(body)}')


def _credentials(at: Location, sink: Mapping[str, Any]) -> Iterator[Found]:
    if (auth := sink.get("auth")) is None or not isinstance(auth, Mapping):
        return
    given = {key for key in ("username", "password", "bearer") if auth.get(key) is not None}
    if given not in ({"username", "password"}, {"bearer"}):
        found = " and ".join(key for key in ("username", "password", "bearer") if key in given) or "neither"
        yield _problem((*at, "auth"), f"expected username and password, or bearer, found {found}")
    headers = sink.get("headers")
    if isinstance(headers, Mapping):
        for name in headers:
            if str(name).lower() == "authorization":
                yield _problem((*at, "headers", str(name)), "expected no auth beside it, which is the same header")


def _table(sink: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table in that of a sink; what is none the models report."""
    found = sink.get(key)
    return found if isinstance(found, Mapping) else {}


def _size(text: object) -> int | None:
    try:
        return parse_size(text) if isinstance(text, str) else None
    except ConfigurationError:
        return None


def _seconds(text: object) -> float | None:
    try:
        return parse_duration(text) if isinstance(text, str) else None
    except ConfigurationError:
        return None


def _problem(location: Location, reason: str) -> Found:
    return location, f"{path_of(location)}: {reason}"
