"""What is wrong with a configuration, in words: one line per problem, with its key and what would be right.

A model's errors say what a parser expected ("Input should be a valid tuple"); the reader of a configuration file
wants to know what to write. So each field's description is the answer to "expected what?", an unknown key gets
its near matches, and what a later version brings is told apart from what nobody knows. A value with a grammar of its
own (conditions, a schedule of rotation) is judged by its parser, whose lines begin with the path inside it:
:class:`InsideError` carries them through the models.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from logbus.collectors.configuration.spec import ARGUMENTS
from logbus.collectors.installed import find
from logbus.collectors.shown import MAX_SHOWN, Location, inside, path_of, shown, without_secrets
from logbus.collectors.sinks.plugin import GROUP
from logbus.errors import ConfigurationError

_Parsed = TypeVar("_Parsed")

#: Values of the contract that this version does not build.
VALUES_NOT_YET: Final[Mapping[str, frozenset[str]]] = {
    "type": frozenset({"nats"}),
    "durability": frozenset({"process", "collector"}),
}
NOT_YET: Final = "not available yet"
#: What is asked for under another name than ours.
_ELSEWHERE: Final[Mapping[tuple[str, str], str]] = {("type", "otlp"): 'type = "http" with body = "otlp"'}

#: Tables of secrets, of which a message shows nothing.
_SECRET: Final = frozenset({"headers", "auth", "options"})

#: Problems of one source that are put into words: a file of a mebibyte can hold 80,000, and a collector that reads it
#: again has records to take in meanwhile.
MAX_PROBLEMS: Final = 100
#: Errors that only repeat another one: a default that hangs on a wrong field, a list whose every item was refused.
_ECHOES: Final = frozenset({"default_factory_not_called", "too_short"})


class InsideError(ValueError):
    """Problems inside one value of a model: whole lines, each beginning with the path within it, or with ``: ``."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


def kind_of(value: object) -> str:
    """What a value is that may be a secret, without saying which."""
    if value is None:
        return "null"
    kinds = {str: "a text", bool: "a boolean", int: "a number", float: "a number", dict: "a table", list: "a list"}
    return kinds.get(type(value), "another value")


def parsed(parse: Callable[[Any], _Parsed], value: Any) -> _Parsed:
    """What a parser makes of a value. Raises InsideError, which pydantic collects, in place of ConfigurationError."""
    try:
        return parse(value)
    except ConfigurationError as error:
        raise InsideError(error.problems) from error


def in_words(
    error: ValidationError, root: type[BaseModel], sinks: Mapping[str, type[BaseModel]]
) -> tuple[list[tuple[Location, str]], int]:
    """The problems of a document, each as its location and its line, ``sinks[1].path: expected …, found …``, and how
    many there are beyond the first :data:`MAX_PROBLEMS` or so.

    ``root`` is the model of the whole document, ``sinks`` has the model of each type of sink.
    """
    found: list[tuple[Location, str]] = []
    entries = error.errors(include_url=False)
    for at, entry in enumerate(entries):
        if len(found) >= MAX_PROBLEMS:
            return found, len(entries) - at
        location, model, field = _place(entry["loc"], root, sinks)
        kind, value, context = entry["type"], entry["input"], entry.get("ctx", {})
        if kind in _ECHOES and (kind != "too_short" or value):
            continue
        if location and location[-1] == "[key]":  # the parser's word for the key itself
            location = location[:-1]
        if kind.startswith("union_tag"):
            if not isinstance(value, Mapping):
                found.append(
                    (location, f"{path_of(location)}: expected a table, a sink with its type, found {shown(value)}")
                )
                continue
            location, field, value = (*location, "type"), "type", value.get("type")
        if isinstance(reason := context.get("error"), InsideError):
            found += [(location, inside(location, line)) for line in reason.lines]
            continue
        found.append((location, f"{path_of(location)}: {_reason(kind, value, context, location, model, field, sinks)}"))
    return found, 0


def _reason(
    kind: str,
    value: Any,
    context: Mapping[str, Any],
    location: Location,
    model: type[BaseModel],
    field: str,
    sinks: Mapping[str, type[BaseModel]],
) -> str:
    if kind == "extra_forbidden":
        return _unknown(location, model, sinks)
    if isinstance(value, str) and value in VALUES_NOT_YET.get(field, ()):
        return f"{shown(value)} is {NOT_YET}"
    if isinstance(value, str) and (other := _ELSEWHERE.get((field, value))) is not None:
        return f"expected {other}, found {shown(value)}"
    if kind == "union_tag_invalid" and isinstance(value, str):
        return _no_type(value)
    found = f"found {kind_of(value) if field in _SECRET else shown(value)}"
    expected = _expected(model, field)
    if isinstance(location[-1], int):
        expected = expected.rpartition(", each ")[2]  # about one item of the list that this describes
    if kind in ("missing", "union_tag_not_found"):
        return f"missing; expected {expected}"
    if kind == "value_error" and str(context["error"]):
        return f"{context['error']}, {found}"
    return f"expected {expected}, {found}"


def _place(
    loc: Sequence[str | int], root: type[BaseModel], sinks: Mapping[str, type[BaseModel]]
) -> tuple[Location, type[BaseModel], str]:
    """The location as the user wrote it, the model in which the error is, and the name of the field there."""
    location, model, rest = tuple(loc), root, list(loc)
    if len(loc) > 2 and loc[0] == "sinks":
        # The tag of the union stands in the location, after the index: it is no key of the document.
        location, model, rest = (*loc[:2], *loc[3:]), sinks[str(loc[2])], list(loc[3:])
    while len(rest) > 1 and (inner := _model_of(model, rest[0])) is not None:
        model, rest = inner, rest[1:]
    return location, model, str(rest[0]) if rest else ""


def _model_of(model: type[BaseModel], field: str | int) -> type[BaseModel] | None:
    """The model of the table that stands under a field, None where no table of known keys does."""
    known = model.model_fields.get(str(field))
    annotation: Any = known.annotation if known is not None else None
    for one in (annotation, *get_args(annotation)):  # an optional table is a union with None
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _expected(model: type[BaseModel], field: str) -> str:
    if field == "type":
        return f"one of {', '.join(map(json.dumps, ARGUMENTS))}, or the name of a sink that is installed"
    known = model.model_fields.get(field)
    return (known.description if known is not None else None) or "another value"


def _unknown(location: Location, model: type[BaseModel], sinks: Mapping[str, type[BaseModel]]) -> str:
    key = str(location[-1])
    known = list(model.model_fields)
    if model in sinks.values() and (others := [name for name, other in sinks.items() if key in other.model_fields]):
        ours = [shown(name) for name in others if name in ARGUMENTS]
        theirs = "one that is installed" if len(others) > len(ours) else ""
        first = f"a sink of type {' or '.join(ours)}" if ours else theirs
        return f"unknown key here; {first} has it{f', or {theirs}' if ours and theirs else ''}"
    near = difflib.get_close_matches(key[:MAX_SHOWN], known, n=2, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {' or '.join(near)}?"
    return f"unknown key; expected one of {', '.join(known)}"


def _no_type(value: str) -> str:
    """Why no sink has a type: in the words of those who look for one among the installed ones."""
    try:
        find(GROUP, "type", value, tuple(ARGUMENTS))
    except ConfigurationError as error:
        return without_secrets(error.problems[0].removeprefix("type: "))
    return f"expected another value, found {shown(value)}"
