"""Bounded text for any value at all: what stands in a record for an object that is no plain value.

Nothing is believed: ``__class__``, ``__len__`` and the like are the application's code, so a type comes from
``type()`` and a value is read by the methods of its base. A user's ``__repr__`` or ``__str__`` runs here, in the
thread that logs, and takes as long as it takes. If it raises an Exception a placeholder stands for the value. What
is no Exception (KeyboardInterrupt, SystemExit, CancelledError) is meant for the application and goes through.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

Scalar = str | int | float | bool | None

#: Characters of one string among the extra fields, and of what stands for an object.
MAX_TEXT_CHARS: Final = 8192
#: Characters of a key that was rebuilt, and of a type's name.
MAX_KEY_CHARS: Final = 256
#: What msgpack holds as an integer.
MIN_INT: Final = -(1 << 63)
MAX_INT: Final = (1 << 64) - 1

#: Bits of an integer that is still written out: that takes time by the square of its length, and Python itself
#: may be set to refuse more than 640 digits.
_MAX_INT_BITS: Final = 2048
#: Characters kept free for the mark of a cut, and looked through for a place where no word comes apart.
_MARK_CHARS: Final = 32
_CUT_WINDOW: Final = 512
#: What stands before the credentials of a URL (plain, in JSON, in JSON's repr, percent-encoded), and what ends them.
_BEFORE_AUTHORITY: Final = ("://", r":\/\/", r":\\/\\/", "%3A%2F%2F")
_AFTER_AUTHORITY: Final = re.compile(r'[\s/?#"<>`&]')


def _isoformat(value: Any) -> str:
    return str(value.isoformat())


#: Values whose own text says more than their repr. By name, so that none of these modules is imported for it.
_READERS: Final[dict[str, Callable[[Any], str]]] = {
    "datetime.date": _isoformat,
    "datetime.datetime": _isoformat,
    "datetime.time": _isoformat,
    "datetime.timedelta": str,
    "decimal.Decimal": str,
    "fractions.Fraction": str,
    "ipaddress._BaseAddress": str,
    "ipaddress._BaseNetwork": str,
    "pathlib.PurePath": str,
    "pathlib._local.PurePath": str,
    "uuid.UUID": str,
}


def plain_scalar(value: Any) -> Scalar:
    """The value itself if it is a plain scalar, its base's value for a subclass of one, else bounded text."""
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value  # type: ignore[no-any-return]
    if issubclass(kind, int):
        number = int.__index__(value)
        if MIN_INT <= number <= MAX_INT:
            return number
        bits = number.bit_length()
        return str(number) if bits <= _MAX_INT_BITS else f"<integer of {bits} bits>"
    if issubclass(kind, float):
        return float.__float__(value)
    return text_of(value)


def text_of(value: Any, limit: int = MAX_TEXT_CHARS) -> str:
    """At most ``limit`` characters for any value: strings as they are, the rest by repr. Raises no Exception."""
    kind = type(value)
    try:
        if kind is str:
            return cut(value, limit)
        if _keeps_a_secret(kind):
            return f"{type_name(kind).rpartition('.')[2]}('**********')"
        if issubclass(kind, str):
            return cut(_shown(value, kind), limit)
        if issubclass(kind, (bytes, bytearray)):
            return _bytes(value, bytes if issubclass(kind, bytes) else bytearray, limit)
        return cut(str.__str__(_reader(kind)(value)), limit)
    except Exception as error:
        return f"<repr of {type_name(kind)} failed: {type_name(type(error))}>"


def error_text(error: BaseException, limit: int = MAX_TEXT_CHARS) -> str:
    """What ``str()`` says of an exception, at most ``limit`` characters. Raises nothing.

    As with :mod:`traceback`: an exception that answers by SystemExit ends no program where it is only told of.
    """
    try:
        return cut(str.__str__(str(error)), limit)
    except BaseException as second:
        return f"<str of {type_name(type(error))} failed: {type_name(type(second))}>"


def type_name(kind: type) -> str:
    """The name of a type with its module, without it for built-in ones and ``__main__``. Raises no Exception."""
    try:
        module: object = kind.__module__
        name: object = kind.__qualname__
    except Exception:  # a metaclass may do anything
        module = name = None
    if type(module) is not str or type(name) is not str:
        return "a type without a name"
    return cut(name if module in ("builtins", "__main__") else f"{module}.{name}", MAX_KEY_CHARS)


def text_bytes(text: str) -> int:
    """The bytes that the characters of a string take in memory, at most: one each in ASCII, else four."""
    return len(text) if text.isascii() else 4 * len(text)


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters (33 or more): the text, or its start and a mark that says how much is missing.

    A cut falls between words, and never inside a URL: half a credential would no longer be known as one by the
    redaction in the collector.
    """
    if len(text) <= limit:
        return text
    kept = _whole(text[: limit - _MARK_CHARS])
    return f"{kept}…[truncated {len(text) - len(kept)} chars]"


def _whole(kept: str) -> str:
    """A cut text without the word, or the URL, that the cut has gone through."""
    window = max(0, len(kept) - _CUT_WINDOW)
    tail = kept[window:]
    words = tail.rsplit(None, 1)
    if len(words) == 2 and not tail[-1].isspace():
        return kept[: len(kept) - len(words[1])]
    at, mark = max((kept.rfind(mark), mark) for mark in _BEFORE_AUTHORITY)
    # Further back a URL may stay if its credentials have an end: a password can be longer than the window.
    if at >= window or (at >= 0 and not _AFTER_AUTHORITY.search(kept, at + len(mark))):
        return kept[:at]
    return kept


def _keeps_a_secret(kind: type) -> bool:
    """Whether values of this type give their content only to who asks for the secret, as pydantic's SecretStr does.

    Most of them show asterisks themselves; one whose repr is that of a dataclass does not.
    """
    return any("get_secret_value" in base.__dict__ for base in type.__dict__["__mro__"].__get__(kind))


def _shown(value: Any, kind: type) -> str:
    """A string of a subclass: its characters, unless the subclass hides them from those who print it."""
    plain = str.__str__(value)
    for read in (str, repr):
        shown = plain
        with suppress(Exception):  # one that raises says nothing about itself
            shown = str.__str__(read(value))
        if plain not in shown and repr(plain)[1:-1] not in shown:
            return shown
    return plain


def _bytes(value: Any, base: type[bytes] | type[bytearray], limit: int) -> str:
    length = base.__len__(value)
    shown = repr(bytes(base.__getitem__(value, slice(limit))))
    if len(shown) <= limit and length <= limit:
        return shown
    return f"{_whole(shown[: limit - _MARK_CHARS])}…[of {length} bytes]"


def _reader(kind: type) -> Callable[[Any], str]:
    try:
        for base in kind.__mro__:
            reader = _READERS.get(f"{base.__module__}.{base.__qualname__}")
            if reader is not None:
                return reader
    except Exception:  # its metaclass hides its names: then it is none of these
        return repr
    return repr
