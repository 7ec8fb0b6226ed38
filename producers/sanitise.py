"""From whatever an application logs to plain values that msgpack takes: the first step of a record.

A log call must neither raise nor keep hold of what it was given: the application may change a list a moment later,
and the sender packs it in another thread. So scalars of an exact type pass as they are, containers are rebuilt, and
everything else becomes text of bounded length (:mod:`logbus.producers.text` says what of the application's runs).

Lone surrogates are the one flaw that the fast path lets pass: looking for them costs every record what only one in a
million needs. The sender packs whole batches, and calls :func:`repair` for the record on which msgpack raised.
Size is checked there too: :func:`shrink` makes a record fit that is bigger than a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from logbus.producers.text import (
    MAX_INT,
    MAX_KEY_CHARS,
    MAX_TEXT_CHARS,
    MIN_INT,
    Scalar,
    cut,
    error_text,
    plain_scalar,
    text_bytes,
    text_of,
    type_name,
)
from logbus.wire import pack_payload

#: Characters of a message.
MAX_MESSAGE_CHARS: Final = 65_536
#: Scalar fields of one record.
MAX_FIELDS: Final = 256
#: Containers inside each other; values and characters in all nested fields of one record together.
MAX_DEPTH: Final = 8
MAX_NODES: Final = 512
MAX_NESTED_CHARS: Final = 65_536
#: Bytes that a field or node takes in memory beside the characters of its value: entry, object header, short key.
FIELD_BYTES: Final = 64
#: Bytes in which :func:`shrink` can make any record fit.
MIN_RECORD_BYTES: Final = 1024
#: The key that says that a record has lost a part of itself to a limit.
TRUNCATED: Final = "logbus_truncated"
#: The key that says that the extra fields could not be read to the end.
UNREADABLE: Final = "logbus_unreadable"

_CONTAINERS: Final = (dict, list, tuple, set, frozenset)


def split_extra(items: Iterable[tuple[Any, Any]]) -> tuple[dict[str, Scalar] | None, dict[str, Any] | None, int]:
    """The fields as scalars, nested values (lists and dicts, rebuilt), and their size in bytes, estimated.

    None stands for an empty dict. Raises no Exception. Once per log call: about 0.1 µs a field.
    """
    scalars: dict[str, Scalar] = {}
    nested = late = room = None
    size = 0
    try:
        for key, value in items:
            # The common field first, in the fewest steps; its key counts as part of FIELD_BYTES.
            if type(value) is str and type(key) is str and value.isascii() and (n := len(value)) <= MAX_TEXT_CHARS:
                scalars[key] = value
                size += n
                continue
            kind = type(value)
            if type(key) is not str:
                late = late or []
                late.append((key, value))
            elif value is None or kind is bool or kind is float or (kind is int and MIN_INT <= value <= MAX_INT):
                scalars[key] = value
            elif issubclass(kind, _CONTAINERS):
                room = room or _Room()
                value = room.rebuild(value, kind, 1)
                if type(value) is str:
                    scalars[key] = value
                else:
                    nested = nested or {}
                    nested[key] = value
            else:
                scalars[key] = value = plain_scalar(value)
                if type(value) is str:
                    size += text_bytes(value)
    except Exception as error:  # the mapping was changed by another thread, or by a __repr__
        scalars[UNREADABLE] = f"fields changed while they were read: {type_name(type(error))}"
    if len(scalars) > MAX_FIELDS:
        scalars = dict(islice(scalars.items(), MAX_FIELDS))
        scalars[TRUNCATED] = True
    size += FIELD_BYTES * len(scalars)
    if room is not None:
        size += room.used_bytes()
    if late is not None:
        nested = nested or {}
        size += _add_late(late, scalars, nested)
    return scalars or None, nested or None, size


def safe_message(msg: Any, args: Any) -> str:
    """The message as logging builds it (``msg % args``), at most MAX_MESSAGE_CHARS. Raises no Exception.

    What can't be formatted comes out as the template with its arguments and the error behind it: nothing is lost.
    """
    try:
        text = msg if type(msg) is str else str(msg)
        if args:
            text = text % args
        if type(text) is str and len(text) <= MAX_MESSAGE_CHARS:
            return text
        return cut(str.__str__(text), MAX_MESSAGE_CHARS)
    except Exception as error:
        return _unformatted(msg, args, f"{type_name(type(error))}: {error_text(error)}")


def repair(value: Any) -> Any:
    """The same value, fit for msgpack: lone surrogates become backslash escapes, what is no plain value becomes text.

    For a whole record, in the sender thread, once packing it has failed.
    """
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "backslashreplace").decode()
    if kind is dict:
        repaired: dict[str, Any] = {}
        for key, item in value.items():
            repaired[_free(repair(_key(key)), repaired)] = repair(item)
        return repaired
    if kind is list:
        return [repair(item) for item in value]
    if kind is tuple:
        return tuple(repair(item) for item in value)
    scalar = plain_scalar(value)
    return repair(scalar) if type(scalar) is str else scalar


def shrink(record: Sequence[Any], limit_bytes: int) -> list[Any]:
    """A record as it travels (:mod:`logbus.wire`), made to fit packed in ``limit_bytes`` (MIN_RECORD_BYTES or more).

    Nested values go first, then every string is cut to one length, the longest that fits: a request_id survives
    beside a giant. What has lost something says so by an extra field. Packing must not fail: see :func:`repair`.
    """
    if len(pack_payload(record)) <= limit_bytes:
        return list(record)
    time_us, site, thread, message, extra, _, exception = record
    shrunk = [time_us, site, thread, message, {**(extra or {}), TRUNCATED: True}, None, exception]
    most = limit_bytes
    while most > 64 and len(pack_payload(shrunk)) > limit_bytes:
        most //= 2
        fields = islice((extra or {}).items(), most // 8)
        shrunk[3] = _cut_bytes(message, most)
        shrunk[4] = {**{_cut_bytes(key, most): _cut_any(value, most) for key, value in fields}, TRUNCATED: True}
        shrunk[6] = _cut_exception(exception, most)
    if len(pack_payload(shrunk)) > limit_bytes:
        shrunk[4] = {TRUNCATED: True}
    return shrunk


class _Room:
    """What one record may still take for its nested values, and the containers being rebuilt just now."""

    __slots__ = ("chars", "nodes", "path", "wide")

    def __init__(self) -> None:
        self.nodes = MAX_NODES
        self.chars = MAX_NESTED_CHARS
        #: Bytes used beyond one per character.
        self.wide = 0
        self.path: set[int] = set()

    def used_bytes(self) -> int:
        return FIELD_BYTES * (MAX_NODES - self.nodes) + MAX_NESTED_CHARS - self.chars + self.wide

    def rebuild(self, value: Any, kind: type, depth: int) -> Any:
        """A container as a list or a dict of plain values, or a short string where a limit forbids one."""
        base: Any = next(base for base in _CONTAINERS if issubclass(kind, base))
        if id(value) in self.path:
            return "<cycle>"
        length: int = base.__len__(value)
        if depth > MAX_DEPTH or self.nodes <= 0:
            return f"<{base.__name__} of {length} items>"
        self.nodes -= 1
        self.path.add(id(value))
        try:
            # Copied in one step, in which no code of the application runs, and never more than there is room for.
            if base is dict:
                return self._dict(list(islice(dict.items(value), self.nodes)), length, depth)
            return self._list(list(islice(base.__iter__(value), self.nodes)), length, depth)
        finally:
            self.path.discard(id(value))

    def _list(self, items: list[Any], length: int, depth: int) -> list[Any]:
        rebuilt: list[Any] = []
        for item in items:
            if self.nodes <= 0:
                break
            rebuilt.append(self._node(item, depth))
        if len(rebuilt) < length:
            rebuilt.append(f"…[truncated {length - len(rebuilt)} items]")
        return rebuilt

    def _dict(self, items: list[tuple[Any, Any]], length: int, depth: int) -> dict[str, Any]:
        rebuilt: dict[str, Any] = {}
        for key, item in items:
            if self.nodes <= 0:
                break
            text = _free(self._text(_key(key)), rebuilt)
            rebuilt[text] = self._node(item, depth)
        if len(rebuilt) < length:
            rebuilt[_free("…", rebuilt)] = f"[truncated {length - len(rebuilt)} items]"
        return rebuilt

    def _node(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if issubclass(kind, _CONTAINERS):
            return self.rebuild(value, kind, depth + 1)
        self.nodes -= 1
        scalar = plain_scalar(value)
        return self._text(scalar) if type(scalar) is str else scalar

    def _text(self, text: str) -> str:
        # Short strings always pass: what they take beyond the limit is bounded by the number of nodes.
        text = cut(text, max(self.chars, MAX_KEY_CHARS))
        self.chars -= len(text)
        self.wide += text_bytes(text) - len(text)
        return text


def _add_late(late: list[tuple[Any, Any]], scalars: dict[str, Scalar], nested: dict[str, Any]) -> int:
    """Adds the fields whose keys are no strings, without taking the others' keys; their size in bytes."""
    named: dict[str, Any] = {}
    for key, value in islice(late, MAX_FIELDS):
        named[_free(_key(key), scalars, nested, named)] = value
    more_scalars, more_nested, size = split_extra(named.items())
    scalars.update(more_scalars or {})
    nested.update(more_nested or {})
    return size


def _key(key: Any) -> str:
    return key if type(key) is str and len(key) <= MAX_KEY_CHARS else text_of(key, MAX_KEY_CHARS)


def _free(key: str, *taken: Mapping[str, Any]) -> str:
    """The key, made different from those taken: 1 and "1" are two keys before they are text."""
    while any(key in mapping for mapping in taken):
        key = f"{key}#{len(taken[-1])}"
    return key


def _unformatted(msg: Any, args: Any, why: str) -> str:
    try:
        if type(args) is tuple and len(args) == 1 and issubclass(type(args[0]), Mapping):
            return cut(str.__str__(str(msg) % args[0]), MAX_MESSAGE_CHARS)  # as LogRecord does with a single mapping
    except Exception as error:
        why = f"{type_name(type(error))}: {error_text(error)}"
    try:
        values = args if issubclass(type(args), _CONTAINERS) else (args,)
        shown = cut(repr(_Room().rebuild(values, type(values), 1)), MAX_TEXT_CHARS)
        return f"{text_of(msg, MAX_MESSAGE_CHARS - 3 * MAX_TEXT_CHARS)} [not formatted with {shown}: {why}]"
    except Exception:  # no memory or no stack left: a constant needs neither
        return "[message could not be formatted]"


def _cut_bytes(text: str, most: int) -> str:
    return cut(text, max(33, most if text.isascii() else most // 4))


def _cut_any(value: Any, most: int) -> Any:
    return _cut_bytes(value, most) if type(value) is str else value


def _cut_exception(exception: Sequence[Any] | None, most: int) -> list[Any] | None:
    """The exception with shorter strings, the last lines of its traceback, and its chain while there is room."""
    if exception is None:
        return None
    kind, message, lines, cause, context, members = exception
    kept = [_cut_bytes(line, most) for line in lines[-max(1, most // 64) :]]
    if len(kept) < len(lines):
        kept.insert(0, f"… {len(lines) - len(kept)} lines")
    chain: list[Any] = [None, None, []]
    if most >= MAX_KEY_CHARS:
        chain = [_cut_exception(cause, most // 2), _cut_exception(context, most // 2)]
        chain.append([_cut_exception(member, most // 2) for member in members])
    return [_cut_bytes(kind, most), _cut_bytes(message, most), kept, *chain]
