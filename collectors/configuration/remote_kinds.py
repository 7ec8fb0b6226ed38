"""Kinds of values in the table of a sink that sends to somebody else: sizes and times with their bounds, addresses,
headers and secrets.

What may be a secret is never repeated in a problem: its lines say what would be right and of what type the value was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StrictStr, WithJsonSchema

from logbus.collectors.configuration import references
from logbus.collectors.configuration.kinds import at_most, frozen, thawed
from logbus.collectors.configuration.problems import InsideError, kind_of
from logbus.collectors.configuration.sink_kinds import QUANTITY, count_between, size_between, span_between
from logbus.collectors.format.labels import MAX_LABELS, Labels as LabelTable
from logbus.collectors.format.priority import FACILITIES, parse_facility
from logbus.collectors.format.syslog import MIN_MESSAGE, check_app_name
from logbus.collectors.format.syslog_head import MAX_APP_NAME
from logbus.collectors.installed import find
from logbus.collectors.shown import path_of
from logbus.collectors.sinks.http.options import check_headers, parse_target
from logbus.collectors.sinks.plugin import GROUP, load
from logbus.collectors.sinks.syslog.address import EXPECTED, MOST, parse_address
from logbus.durations import format_duration
from logbus.errors import ConfigurationError
from logbus.sizes import format_size

#: Bytes of a queue in memory: less holds hardly a batch, and more of 32 sinks would be more than a machine has.
MIN_QUEUE: Final = 64 * 1024
MAX_QUEUE: Final = 1024**3
#: Bytes of a spool on disk: less is no more than one of its segments, and a start reads all of it, some 7 s for a GB.
MIN_SPOOL: Final = 1024**2
MAX_SPOOL: Final = 100 * 10**9
#: Records and bytes of a batch, and seconds for which one is waited for.
MAX_BATCH_RECORDS: Final = 100_000
MIN_BATCH_BYTES: Final = 1024
MAX_BATCH_BYTES: Final = 64 * 1024**2
MAX_BATCH_DELAY_S: Final = 60.0
#: Seconds between attempts, and until a batch is given up.
MIN_RETRY_S: Final = 0.01
MAX_RETRY_S: Final = 3600.0
MIN_ELAPSED_S: Final = 1.0
MAX_ELAPSED_S: Final = 30 * 86_400.0
#: Seconds of a request.
MIN_TIMEOUT_S: Final = 0.1
MAX_TIMEOUT_S: Final = 600.0
#: Bytes of a syslog message, at most.
MAX_MESSAGE: Final = max(MOST.values())
#: Headers, options of a plug-in, and status codes that a table has at most.
MAX_HEADERS: Final = 32
MAX_OPTIONS: Final = 64
MAX_STATUSES: Final = 64
#: Characters of a header, a password or a token.
MAX_SECRET: Final = 8192


def _from_to(what: str, low: str, high: str, example: str) -> str:
    return f'a {what} from {low} to {high}, like "{example}"'


A_QUEUE = _from_to("size", format_size(MIN_QUEUE), format_size(MAX_QUEUE), "8 MiB")
A_SPOOL = _from_to("size", format_size(MIN_SPOOL), format_size(MAX_SPOOL), "256 MiB")
BATCH_RECORDS = f"an integer from 1 to {MAX_BATCH_RECORDS}"
BATCH_BYTES = _from_to("size", format_size(MIN_BATCH_BYTES), format_size(MAX_BATCH_BYTES), "1 MiB")
BATCH_DELAY = _from_to("duration", "0 s", format_duration(MAX_BATCH_DELAY_S), "1 s")
A_WAIT = _from_to("duration", format_duration(MIN_RETRY_S), format_duration(MAX_RETRY_S), "30 s")
ELAPSED = _from_to("duration", format_duration(MIN_ELAPSED_S), format_duration(MAX_ELAPSED_S), "10 min")
A_TIMEOUT = _from_to("duration", format_duration(MIN_TIMEOUT_S), format_duration(MAX_TIMEOUT_S), "30 s")
STATUSES = f"a list of at most {MAX_STATUSES} items, each a status from 400 to 599"
A_SECRET = f"a text of 1 to {MAX_SECRET} characters, in which ${{NAME}} is a variable of the environment"
HEADERS = f"a table of at most {MAX_HEADERS} texts, each under the name of a header"
OPTIONS = f"a table of at most {MAX_OPTIONS} values, each under the name of an argument"

A_URL = 'a URL, like "https://logs.example.com/ingest"'
A_TYPE = 'the name of a sink that is installed, or "package.module:Name"'
AN_ADDRESS = EXPECTED
A_FACILITY = f"one of {', '.join(FACILITIES)}, or an integer from 0 to 23"
AN_APP_NAME = f"1 to {MAX_APP_NAME} printable ASCII characters without a space or a slash"
A_MESSAGE = _from_to("size", format_size(MIN_MESSAGE), format_size(MAX_MESSAGE), "8 KiB")
LABELS = f'a table of 1 to {MAX_LABELS} texts, a value or the "{{field}}" that has it, each under the name of a label'

_NAMES: Final = {number: name for name, number in FACILITIES.items()}


def lines_of(check: Callable[[Any], object], value: Any, key: str = "") -> None:
    """Nothing, if the check has nothing against the value. Raises InsideError with its lines, which show no secret.

    ``key`` is what they begin with, and what the location says already.
    """
    try:
        check(value)
    except ConfigurationError as error:
        raise InsideError([problem.removeprefix(key).removeprefix(".") for problem in error.problems]) from error


def literal(text: str) -> str:
    """The text where it is whole, and one that is fit for anything where variables stand in it.

    What is made of it with their values is checked again.
    """
    return "x" if references.names(text) else references.expanded(text, {})


def _checked_secret(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SECRET:
        found = "an empty one" if value == "" else "a longer one" if isinstance(value, str) else kind_of(value)
        raise InsideError([f": expected {A_SECRET}, found {found}"])
    try:
        references.names(value)
    except ConfigurationError as error:
        raise InsideError([f": {problem}" for problem in error.problems]) from error
    return value


def _checked_headers(value: Mapping[str, str]) -> object:
    """Headers whose values are whole by now, or will be when their variables are known."""
    lines_of(check_headers, {name: literal(text) for name, text in value.items()})
    return frozen(value)


def _checked_labels(value: Mapping[str, Any]) -> object:
    if value:  # none is what a body without labels has
        lines_of(LabelTable, value, "labels")
    return frozen(value)


def _checked_url(value: str) -> str:
    if "${" in value:
        what = "a URL without ${NAME}: variables stand in headers and auth, which are never shown"
        raise InsideError([f": expected {what}"])
    lines_of(parse_target, value, "url")
    return value


def _passes(check: Callable[[Any], object], key: str) -> AfterValidator:
    """A value that the check has nothing against, as it is; ``key`` is what the lines of the check begin with."""

    def checked(value: str) -> str:
        lines_of(check, value, key)
        return value

    return AfterValidator(checked)


def _checked_facility(value: object) -> str:
    """By its name, whichever way it was written."""
    if isinstance(value, (str, int)):
        try:
            return _NAMES[parse_facility(value)]
        except ConfigurationError:
            pass
    raise ValueError(f"expected {A_FACILITY}")


def is_plugin(name: str) -> bool:
    """Whether a type of a sink is somebody's: announced by a package, or of the form ``"package.module:Name"``."""
    try:
        find(GROUP, "type", name)
    except ConfigurationError:
        return False
    return True


def _checked_options(value: object) -> object:
    """Keyword arguments, in whose texts variables may stand."""
    if not isinstance(value, Mapping):
        raise ValueError(f"expected {OPTIONS}")
    lines: list[str] = []
    for key, one in value.items():
        if not str(key).isidentifier():
            lines.append(f"{path_of((str(key),))}: expected the name of an argument, letters, digits and _")
        lines += [f"{path_of((str(key), *path))}: {line}" for path, line in _wrong_texts(one)]
    if lines:
        raise InsideError(lines)
    return frozen(value)


def _wrong_texts(value: object) -> list[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        try:
            references.names(value)
        except ConfigurationError as error:
            return [((), line) for line in error.problems]
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, Mapping):
        inner = [(str(key), one) for key, one in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = list(enumerate(value))
    return [((key, *path), line) for key, one in inner for path, line in _wrong_texts(one)]


QueueBytes: TypeAlias = Annotated[str, size_between(MIN_QUEUE, MAX_QUEUE, A_QUEUE), QUANTITY]
SpoolBytes: TypeAlias = Annotated[str, size_between(MIN_SPOOL, MAX_SPOOL, A_SPOOL), QUANTITY]
BatchRecords: TypeAlias = Annotated[
    int,
    count_between(1, MAX_BATCH_RECORDS, BATCH_RECORDS),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_BATCH_RECORDS}),
]
BatchBytes: TypeAlias = Annotated[str, size_between(MIN_BATCH_BYTES, MAX_BATCH_BYTES, BATCH_BYTES), QUANTITY]
BatchDelay: TypeAlias = Annotated[str, span_between(0.0, MAX_BATCH_DELAY_S, BATCH_DELAY), QUANTITY]
Wait: TypeAlias = Annotated[str, span_between(MIN_RETRY_S, MAX_RETRY_S, A_WAIT), QUANTITY]
Elapsed: TypeAlias = Annotated[str, span_between(MIN_ELAPSED_S, MAX_ELAPSED_S, ELAPSED), QUANTITY]
Timeout: TypeAlias = Annotated[str, span_between(MIN_TIMEOUT_S, MAX_TIMEOUT_S, A_TIMEOUT), QUANTITY]
Status: TypeAlias = Annotated[
    int,
    count_between(400, 599, "a status from 400 to 599"),
    WithJsonSchema({"type": "integer", "minimum": 400, "maximum": 599}),
]
Secret: TypeAlias = Annotated[
    str,
    BeforeValidator(_checked_secret),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_SECRET}),
]
Headers: TypeAlias = Annotated[
    Mapping[StrictStr, Secret],
    at_most(MAX_HEADERS),
    AfterValidator(_checked_headers),
    PlainSerializer(thawed, return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MAX_HEADERS}),
]
Labels: TypeAlias = Annotated[
    Mapping[StrictStr, Any],
    at_most(MAX_LABELS),
    AfterValidator(_checked_labels),
    PlainSerializer(thawed, return_type=dict[str, str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MAX_LABELS}),
]
HttpUrl: TypeAlias = Annotated[
    StrictStr, AfterValidator(_checked_url), WithJsonSchema({"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"})
]
SyslogAddress: TypeAlias = Annotated[
    StrictStr, _passes(parse_address, "address"), WithJsonSchema({"type": "string", "minLength": 2})
]
Facility: TypeAlias = Annotated[
    str,
    BeforeValidator(_checked_facility),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0, "maximum": 23}]}),
]
AppName: TypeAlias = Annotated[
    StrictStr,
    _passes(check_app_name, "app_name"),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_APP_NAME}),
]
MessageBytes: TypeAlias = Annotated[str, size_between(MIN_MESSAGE, MAX_MESSAGE, A_MESSAGE), QUANTITY]
PluginType: TypeAlias = Annotated[
    StrictStr,
    _passes(load, "type"),
    WithJsonSchema({"type": "string", "minLength": 1, "not": {"enum": ["console", "file", "syslog", "http"]}}),
]
Options: TypeAlias = Annotated[
    Mapping[StrictStr, Any],
    at_most(MAX_OPTIONS),
    AfterValidator(_checked_options),
    PlainSerializer(thawed, return_type=dict[str, Any]),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": r"^[^\W\d]\w*$"},
            "additionalProperties": True,
            "maxProperties": MAX_OPTIONS,
        }
    ),
]
