"""From settings to the sinks that send to others: the sink, the form of its lines, and the terms on which it has them.

What a sink needs is loaded when there is one: a collector that writes files has neither urllib3 nor ssl in memory.
Variables of the environment (:mod:`logbus.collectors.configuration.references`) get their values here and nowhere else,
so that nothing that is shown has ever had them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from logbus.collectors.configuration import references
from logbus.collectors.configuration.kinds import thawed
from logbus.collectors.configuration.sinks import HttpSink, PluginSink, RemoteSink, SyslogSink
from logbus.collectors.format import Formatter, make_formatter
from logbus.collectors.format.names import Scalar
from logbus.collectors.plan import Slot
from logbus.collectors.redaction.mask import DEFAULT_FIELDS, SecretKeys, Verdict
from logbus.collectors.shown import Location, path_of
from logbus.collectors.sinks.base import Sink
from logbus.collectors.writing.terms import Policy, Terms
from logbus.durations import parse_duration
from logbus.errors import ConfigurationError
from logbus.sizes import parse_size

if TYPE_CHECKING:
    from logbus.collectors.configuration.tables import Batch, Tls
    from logbus.collectors.redaction.redact import Redactor
    from logbus.collectors.sinks.tls import TlsFiles

#: Failed attempts in a row after which a server is left alone for a while, and then tried with one record.
BREAKER_FAILURES: Final = 5
#: Bytes that go to a syslog server in one turn.
SYSLOG_BATCH_BYTES: Final = 256 * 1024

#: Characters from which on the value of a variable, or of an option with a secret name, is masked in what somebody
#: else's sink says: less is a word.
SECRET_CHARS: Final = 4

#: Settings that change which records come and what their lines are, and nothing about how these are sent.
_OF_LINES: Final = frozenset(
    "level components exclude_components where sample rename_fields static_fields labels facility app_name "
    "max_message".split()
)

_KEYS: Final = SecretKeys(DEFAULT_FIELDS)

_Found = TypeVar("_Found")


def make_remote(
    sink: RemoteSink, location: Location, redactor: Redactor, environ: Mapping[str, str]
) -> tuple[Sink, Formatter, Terms]:
    """The sink, not yet opened, its formatter and its terms.

    Raises ConfigurationError, each problem under a path that begins with ``location``.
    """
    # No record has them, so that they pass no other redactor.
    static = redactor.field("", thawed(sink.static_fields))
    if isinstance(sink, SyslogSink):
        return _syslog(sink, static)
    if isinstance(sink, HttpSink):
        return _http(sink, location, redactor, static, environ)
    return _plugin(sink, location, static, environ)


def remote_slot(sink: RemoteSink) -> Slot:
    """What makes it the one that it is. What changes lines only leaves a sink as it is, and so does another format
    where that is a part of a line.

    Each has a place of its own: two may send to one address, and another of its name waits for its row but can be
    opened at once, so that a reload knows of a certificate that can't be read.
    """
    fixed = sink.model_dump(exclude=set(_OF_LINES | ({"format"} if _wraps(sink) else set())))
    # As a hash: there may be secrets in it, and a slot is no place for them.
    shape = hashlib.sha256(repr(fixed).encode("utf-8", "backslashreplace")).hexdigest()
    return Slot(sink.name, f"remote {sink.name} {shape}", shape)


def _wraps(sink: RemoteSink) -> bool:
    """Whether its lines have a form of their own, in which those of a format stand."""
    return isinstance(sink, SyslogSink) or (isinstance(sink, HttpSink) and sink.body == "loki")


def _syslog(sink: SyslogSink, static: Mapping[str, Scalar]) -> tuple[Sink, Formatter, Terms]:
    from logbus.collectors.format.priority import parse_facility
    from logbus.collectors.format.syslog import make_syslog
    from logbus.collectors.sinks.syslog import sink as syslog
    from logbus.collectors.sinks.syslog.address import parse_address

    address = parse_address(sink.address)
    formatter = make_syslog(
        sink.protocol,
        parse_facility(sink.facility),
        parse_size(sink.max_message),
        format=sink.format,
        app_name=sink.app_name,
        local=address.local,
        rename=sink.rename_fields,
        static=static,
    )
    terms = _terms(sink, formatter.dialect, max_bytes=SYSLOG_BATCH_BYTES)
    return syslog.SyslogSink(sink.name, address, _tls(sink.tls)), formatter, terms


def _http(
    sink: HttpSink,
    location: Location,
    redactor: Redactor,
    static: Mapping[str, Scalar],
    environ: Mapping[str, str],
) -> tuple[Sink, Formatter, Terms]:
    from logbus.collectors.sinks.http import sink as http
    from logbus.collectors.sinks.http.bodies import BODIES
    from logbus.collectors.sinks.http.options import AGAIN, HttpOptions, parse_statuses, parse_target

    options = HttpOptions(
        parse_target(sink.url),
        sink.method,
        _headers(sink, location, environ),
        _tls(sink.tls),
        sink.compression,
        parse_duration(sink.timeout),
        AGAIN if sink.retry.statuses is None else parse_statuses(sink.retry.statuses),
    )
    dialect = f"http {sink.body}" + (f" {sink.format}" if sink.body in ("ndjson", "json") else "")
    return (
        http.HttpSink(sink.name, options, BODIES[sink.body]),
        _body_lines(sink, redactor, static),
        _terms(sink, dialect, batch=sink.batch),
    )


def _body_lines(sink: HttpSink, redactor: Redactor, static: Mapping[str, Scalar]) -> Formatter:
    """The lines of which the body is made."""
    if sink.body == "otlp":
        from logbus.collectors.format.otlp import make_otlp

        return make_otlp(static)
    name = sink.format or "json"
    if sink.body == "loki":
        from logbus.collectors.format.loki import make_loki

        return make_loki(name, redactor.field("", thawed(sink.labels)), rename=sink.rename_fields, static=static)
    return make_formatter(name, rename=sink.rename_fields, static=static)


def _headers(sink: HttpSink, location: Location, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Headers and credentials with the values of their variables. Raises ConfigurationError with every problem."""
    from logbus.collectors.sinks.http.options import basic, bearer, check_headers

    problems: list[str] = []
    headers = _expanded(sink.headers, (*location, "headers"), environ, problems)
    auth = sink.auth.model_dump(exclude_none=True) if sink.auth is not None else {}
    auth = _expanded(auth, (*location, "auth"), environ, problems)
    found: list[tuple[str, str]] = []
    if not problems:
        found += _judged(lambda: check_headers(headers), (*location, "headers"), problems) or ()
        if "bearer" in auth:
            made = _judged(lambda: bearer(auth["bearer"]), (*location, "auth"), problems)
            found += [made] if made else []
        elif auth:
            made = _judged(lambda: basic(auth["username"], auth["password"]), (*location, "auth"), problems)
            found += [made] if made else []
    if problems:
        raise ConfigurationError(problems)
    return tuple(found)


def _plugin(
    sink: PluginSink, location: Location, static: Mapping[str, Scalar], environ: Mapping[str, str]
) -> tuple[Sink, Formatter, Terms]:
    from logbus.collectors.sinks import plugin

    problems: list[str] = []
    options = _expanded(thawed(sink.options), (*location, "options"), environ, problems)
    if problems:
        raise ConfigurationError(problems)
    variables = {name for text in references.texts_in(sink.options) for name in references.names(text)}
    found = {*(environ[name] for name in variables), *_secrets_in(options)}
    secrets = tuple(sorted((text for text in found if len(text) >= SECRET_CHARS), key=len, reverse=True))
    made = plugin.PluginSink(sink.name, sink.type, plugin.load(sink.type), options, secrets)
    formatter = make_formatter(sink.format, rename=sink.rename_fields, static=static)
    return made, formatter, _terms(sink, f"lines {sink.format}", batch=sink.batch)


def _secrets_in(value: object, *, secret: bool = False) -> Iterator[str]:
    """The texts that stand under secret names, at any depth."""
    if isinstance(value, str):
        if secret:
            yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _secrets_in(one, secret=secret or _KEYS.verdict(str(key)) is not Verdict.PLAIN)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _secrets_in(one, secret=secret)


def _terms(sink: RemoteSink, dialect: str, *, batch: Batch | None = None, max_bytes: int | None = None) -> Terms:
    retry, spool = sink.retry, parse_size(sink.spool) if sink.spool is not None else 0
    on_full: Policy = "spool" if spool else sink.queue.on_full
    queue_bytes = parse_size(sink.queue.max_bytes)
    rest: dict[str, Any] = {}
    if batch is not None:
        rest = {"max_records": batch.max_records, "max_delay_s": parse_duration(batch.max_delay)}
    return Terms(
        max_bytes=parse_size(batch.max_bytes) if batch is not None else min(max_bytes or queue_bytes, queue_bytes),
        queue_bytes=queue_bytes,
        on_full=on_full,
        initial_s=parse_duration(retry.initial),
        max_interval_s=parse_duration(retry.max_interval),
        max_elapsed_s=parse_duration(retry.max_elapsed) if retry.max_elapsed is not None else inf,
        jitter=True,
        breaker_failures=BREAKER_FAILURES,
        spool_bytes=spool,
        dialect=dialect,
        **rest,
    )


def _tls(tls: Tls | None) -> TlsFiles:
    from logbus.collectors.sinks.tls import TlsFiles

    if tls is None:
        return TlsFiles()
    return TlsFiles(*(str(path) if path is not None else None for path in (tls.ca, tls.certificate, tls.key)))


def _expanded(value: Any, location: Location, environ: Mapping[str, str], problems: list[str]) -> Any:
    """The value with every text in it expanded; what is wrong joins the problems."""
    if isinstance(value, str):
        found = _judged(lambda: references.expanded(value, environ), location, problems, alone=True)
        return value if found is None else found
    if isinstance(value, Mapping):
        return {key: _expanded(one, (*location, key), environ, problems) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [_expanded(one, (*location, at), environ, problems) for at, one in enumerate(value)]
    return value


def _judged(
    make: Callable[[], _Found], location: Location, problems: list[str], *, alone: bool = False
) -> _Found | None:
    """What is made, or None and its problems under the path; ``alone``: they name no key inside it."""
    try:
        return make()
    except ConfigurationError as error:
        between = ": " if alone else "."
        problems += [f"{path_of(location)}{between}{problem}" for problem in error.problems]
        return None
