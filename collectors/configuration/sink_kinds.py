"""Kinds of values in the table of a sink: each judged by the parser of the stage that it configures.

What a parser refuses becomes a problem under the path of the key (``InsideError`` in ``problems.py``). A
model keeps the values as somebody would write them, durations and sizes in their shortest words, so that settings
compare, print and go into a file again; :mod:`logbus.collectors.destinations` parses them once more as it makes a sink.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StrictStr, WithJsonSchema

from logbus.collectors.chance import MIN_RATE
from logbus.collectors.configuration.kinds import MAX_NAMES, at_most, frozen, thawed
from logbus.collectors.configuration.problems import InsideError, parsed
from logbus.collectors.fields import MAX_NAME, find_key
from logbus.collectors.format import check_format
from logbus.collectors.redaction.eraser import Eraser
from logbus.collectors.retention import parse_retention
from logbus.collectors.rotation import parse_rotation
from logbus.collectors.sample import MAX_HELD, MAX_SECONDS, MIN_HELD, MIN_SECONDS
from logbus.collectors.shown import shown, without_secrets
from logbus.collectors.sinks.compress import COMPRESSIONS
from logbus.collectors.where import parse_where
from logbus.durations import format_duration, parse_duration
from logbus.errors import ConfigurationError
from logbus.sizes import format_size, parse_size

#: Rules for rotation, and for retention, that a sink can have together.
MAX_RULES: Final = 8
#: Records of a call site in one interval, at most.
MAX_FIRST: Final = 1_000_000_000

A_RATE = "a number above 0 and up to 1, like 0.1 (0 with first or tail)"
A_COUNT = f"an integer from 1 to {MAX_FIRST}"
A_SPAN = f'a duration from {format_duration(MIN_SECONDS)} to {format_duration(MAX_SECONDS)}, like "30 s"'
A_HELD = f'a size from {format_size(MIN_HELD)} to {format_size(MAX_HELD)}, like "16 MiB"'
A_ROTATION = 'a size ("100 MB"), an interval ("1 hour"), a time ("00:00", "sunday at 03:00"), or a list of these'
A_RETENTION = 'an age ("7 days"), a count ("10 files"), a total size ("5 GB"), or a list of these'
A_COMPRESSION = " or ".join(f'"{name}"' for name in COMPRESSIONS)
A_FORMAT = '"json", "logfmt", "text", or the name of a format that is installed'
A_CONDITION = "a table of conditions, all of which hold, or a list of such tables, one of which does"


def _at_the_value(check: Callable[[str], object], *, prefix: str = "") -> Callable[[str], str]:
    """A check whose problems name no place, or the one in ``prefix``: they are about the value itself."""

    def checked(value: str) -> str:
        try:
            check(value)
        except ConfigurationError as error:
            raise InsideError(
                [f": {without_secrets(problem.removeprefix(prefix))}" for problem in error.problems]
            ) from error
        return value

    return checked


def _checked_compression(value: str) -> str:
    if value not in COMPRESSIONS:
        raise ValueError(f"expected {A_COMPRESSION}")
    return value


def _checked_where(value: object) -> object:
    parsed(parse_where, thawed(value))
    return frozen(value)


def _checked_rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"expected {A_RATE}")
    if 0 < value < MIN_RATE:
        raise ValueError(f"expected a number from {MIN_RATE:f} on and up to 1")
    return float(value)


def span_between(low: float, high: float, expected: str) -> BeforeValidator:
    """A duration from ``low`` to ``high`` seconds, kept in its shortest words."""

    def check(value: object) -> str:
        try:
            seconds = parse_duration(value) if isinstance(value, str) else math.nan
        except ConfigurationError:
            seconds = math.nan
        if not low <= seconds <= high:
            raise ValueError(f"expected {expected}")
        return format_duration(seconds)

    return BeforeValidator(check)


def size_between(low: int, high: int, expected: str) -> BeforeValidator:
    """A size from ``low`` to ``high`` bytes, kept in its shortest words."""

    def check(value: object) -> str:
        try:
            size = parse_size(value) if isinstance(value, str) else -1
        except ConfigurationError:
            size = -1
        if not low <= size <= high:
            raise ValueError(f"expected {expected}")
        return format_size(size)

    return BeforeValidator(check)


def count_between(low: int, high: int, expected: str) -> BeforeValidator:
    """An integer from ``low`` to ``high``."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"expected {expected}")
        return value

    return BeforeValidator(check)


def _rules(name: str, expected: str, parse: Callable[[tuple[str, ...]], object]) -> BeforeValidator:
    """One text, or a list of texts, each of which the parser takes by itself, as do all of them together."""

    def check(value: object) -> tuple[str, ...]:
        texts = (value,) if isinstance(value, str) else value
        if not isinstance(texts, (list, tuple)) or not 0 < len(texts) <= MAX_RULES:
            at_most = f", at most {MAX_RULES}" if isinstance(texts, (list, tuple)) and texts else ""
            raise ValueError(f"expected {expected}{at_most}")
        lines = []
        for at, text in enumerate(texts):
            if reason := _refusal(name, text, expected, parse):
                lines.append(f"{'' if isinstance(value, str) else f'[{at}]'}: {reason}, found {shown(text)}")
        if lines:
            raise InsideError(lines)
        parsed(parse, tuple(texts))
        return tuple(texts)

    return BeforeValidator(check)


def _refusal(name: str, text: object, expected: str, parse: Callable[[tuple[str, ...]], object]) -> str | None:
    if not isinstance(text, str):
        return f"expected {expected}"
    try:
        parse((text,))
    except ConfigurationError as error:
        # Its own words name the text already; here the key comes first and the value last.
        reason = error.problems[0]
        for cut in (text, f"{text[:80]}…"):
            reason = reason.removeprefix(f"{name} {cut!r}: ")
        return reason
    return None


_TEXTS_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": MAX_RULES},
    ]
}
_SCALAR_SCHEMA: Final[dict[str, Any]] = {"type": ["string", "number", "boolean"]}
_CONDITIONS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "anyOf": [_SCALAR_SCHEMA, {"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}]
    },
}

Compression: TypeAlias = Annotated[
    StrictStr, AfterValidator(_checked_compression), WithJsonSchema({"enum": list(COMPRESSIONS)})
]
FieldPath: TypeAlias = Annotated[
    StrictStr,
    AfterValidator(_at_the_value(find_key)),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME}),
]
FormatName: TypeAlias = Annotated[
    StrictStr,
    AfterValidator(_at_the_value(check_format, prefix="format: ")),
    WithJsonSchema({"anyOf": [{"enum": ["json", "logfmt", "text"]}, {"type": "string", "minLength": 1}]}),
]
#: Which fields have other names, and what is added; what of it fits together is judged with the whole sink.
Renamed: TypeAlias = Annotated[
    Mapping[StrictStr, Any],
    at_most(MAX_NAMES),
    AfterValidator(frozen),
    PlainSerializer(thawed, return_type=dict[str, Any]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MAX_NAMES}),
]
Added: TypeAlias = Annotated[
    Mapping[StrictStr, Any],
    at_most(MAX_NAMES),
    AfterValidator(frozen),
    PlainSerializer(thawed, return_type=dict[str, Any]),
    WithJsonSchema({"type": "object", "additionalProperties": _SCALAR_SCHEMA, "maxProperties": MAX_NAMES}),
]
Conditions: TypeAlias = Annotated[
    Any,
    AfterValidator(_checked_where),
    PlainSerializer(thawed),
    WithJsonSchema({"anyOf": [_CONDITIONS_SCHEMA, {"type": "array", "items": _CONDITIONS_SCHEMA, "minItems": 1}]}),
]
RotationRules: TypeAlias = Annotated[
    tuple[str, ...], _rules("rotation", A_ROTATION, parse_rotation), WithJsonSchema(_TEXTS_SCHEMA)
]
RetentionRules: TypeAlias = Annotated[
    tuple[str, ...], _rules("retention", A_RETENTION, parse_retention), WithJsonSchema(_TEXTS_SCHEMA)
]
Pattern: TypeAlias = Annotated[
    StrictStr, AfterValidator(_at_the_value(Eraser)), WithJsonSchema({"type": "string", "minLength": 1})
]
Rate: TypeAlias = Annotated[
    float,
    BeforeValidator(_checked_rate),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
Count: TypeAlias = Annotated[
    int, count_between(1, MAX_FIRST, A_COUNT), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_FIRST})
]
#: Whatever has a unit.
QUANTITY: Final = WithJsonSchema({"type": "string", "minLength": 2})
Span: TypeAlias = Annotated[str, span_between(MIN_SECONDS, MAX_SECONDS, A_SPAN), QUANTITY]
Held: TypeAlias = Annotated[str, size_between(MIN_HELD, MAX_HELD, A_HELD), QUANTITY]
