"""Bounded text for objects: what is shown of each kind, and that the objects' own code can do no harm."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import pathlib
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from logbus.producers.exception import describe
from logbus.producers.sanitise import safe_message, split_extra
from logbus.producers.text import MAX_TEXT_CHARS, cut, error_text, plain_scalar, text_bytes, text_of, type_name


class Exploding:
    """Raises what it was given from every method that text is usually made with."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error

    __str__ = __repr__


class Colour(enum.Enum):
    """An enum that is nothing else."""

    RED = 1


class Status(enum.IntEnum):
    """An enum that is an integer."""

    OK = 200


class Shouting(str):
    """A string whose methods lie."""

    __slots__ = ()

    def __str__(self) -> str:
        raise ValueError

    def __len__(self) -> int:
        return 10**9

    def __repr__(self) -> str:
        raise ValueError


class Lying:
    """Says that it is a string, and is none."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return str

    def __repr__(self) -> str:
        return "<Lying>"


class Nameless(type):
    """A metaclass that refuses to say a name."""

    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise RuntimeError
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.datetime(2026, 11, 22, 12, 0, tzinfo=datetime.UTC), "2026-11-22T12:00:00+00:00"),
        (datetime.date(2026, 11, 22), "2026-11-22"),
        (datetime.timedelta(seconds=90), "0:01:30"),
        (pathlib.PurePosixPath("/var/log"), "/var/log"),
        (pathlib.Path("/var/log"), "/var/log"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (b"\x00raw", "b'\\x00raw'"),
        (bytearray(b"raw"), "b'raw'"),
        (Colour.RED, "<Colour.RED: 1>"),
        (ValueError("no"), "ValueError('no')"),
        (1j, "1j"),
    ],
)
def test_each_kind_of_value_has_the_text_that_says_most(value: Any, shown: str) -> None:
    """Strings stand as they are, well-known values by their own text, bytes and other objects by repr."""
    assert text_of(value) == shown
    assert type(text_of(value)) is str


def test_what_a_value_says_about_itself_is_not_believed() -> None:
    """A string whose methods lie is read by str itself, and an object that claims to be a string is an object."""
    shown = text_of(Shouting("quiet"))
    assert (shown, type(shown)) == ("quiet", str)
    assert text_of(Lying()) == "<Lying>"
    assert plain_scalar(Lying()) == "<Lying>"


@pytest.mark.parametrize(
    ("value", "plain"),
    [(Status.OK, 200), (True, True), (None, None), (2**64 - 1, 2**64 - 1), (-(2**63), -(2**63)), (1.5, 1.5)],
)
def test_scalars_and_their_subclasses_become_plain_values(value: Any, plain: Any) -> None:
    """A scalar stays, and a subclass of one becomes the value of its base."""
    result = plain_scalar(value)
    assert (result, type(result)) == (plain, type(plain))


def test_integers_that_the_wire_cannot_hold_become_text() -> None:
    """An integer beyond 64 bits is written out, one of thousands of digits is described, and neither raises."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert plain_scalar(2**64) == "18446744073709551616"
        assert plain_scalar(-(2**2047)) == str(-(2**2047))
        assert plain_scalar(2**3000) == "<integer of 3001 bits>"
        assert plain_scalar(10**5000) == "<integer of 16610 bits>"
    finally:
        sys.set_int_max_str_digits(limit)


def test_a_repr_that_raises_leaves_a_placeholder() -> None:
    """The placeholder names the class and the error."""
    shown = text_of(Exploding(KeyError("x")))
    assert shown.startswith("<repr of ")
    assert shown.endswith("test_text.Exploding failed: KeyError>")


def test_what_is_no_exception_goes_through_to_the_application() -> None:
    """A KeyboardInterrupt during a __repr__ is not swallowed."""
    with pytest.raises(KeyboardInterrupt):
        text_of(Exploding(KeyboardInterrupt()))


def test_endless_recursion_in_a_repr_leaves_a_placeholder() -> None:
    """A __repr__ that calls itself for ever ends as a RecursionError, and that as a placeholder."""

    class Mirror:
        def __repr__(self) -> str:
            return repr(self)

    assert text_of(Mirror()).endswith("Mirror failed: RecursionError>")


def test_a_generator_is_not_consumed() -> None:
    """Logging an iterator takes nothing out of it."""

    def numbers() -> Iterator[int]:
        yield 1

    generator = numbers()
    assert text_of(generator).startswith("<generator object")
    assert next(generator) == 1


def test_classes_that_hide_their_name_do_not_raise() -> None:
    """A metaclass whose __qualname__ raises costs the name, nothing else."""
    hidden = Nameless("hidden", (), {"__repr__": lambda self: 1 / 0})
    assert text_of(hidden()) == "<repr of a type without a name failed: ZeroDivisionError>"


def test_type_names_carry_their_module_unless_it_goes_without_saying() -> None:
    """Built-in types stand alone, others behind their module."""
    assert type_name(ValueError) == "ValueError"
    assert type_name(uuid.UUID) == "uuid.UUID"


def test_an_exception_that_cannot_say_its_message_leaves_a_placeholder() -> None:
    """A __str__ that raises is named, with what it raised."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise OSError

    assert error_text(MuteError()).endswith("MuteError failed: OSError>")
    assert error_text(ValueError("plain")) == "plain"


def test_long_text_is_cut_and_says_how_much_is_missing() -> None:
    """The mark counts every character that is gone, and the result is not longer than the limit."""
    text = "x" * 100_000
    short = cut(text, 1000)
    kept, mark = short.split("…")
    assert len(short) <= 1000
    assert mark == f"[truncated {len(text) - len(kept)} chars]"
    assert cut(short, 1000) == short


def test_a_cut_falls_between_words() -> None:
    """A word is kept whole or not at all, unless there is only one."""
    assert cut("Bearer " * 20, 32 + 14) == "Bearer Bearer …[truncated 126 chars]"
    assert cut("Bearer " * 20, 32 + 17) == "Bearer Bearer …[truncated 126 chars]"
    assert cut("x" * 100, 32 + 17) == "x" * 17 + "…[truncated 83 chars]"


def test_long_bytes_are_cut_and_say_their_length() -> None:
    """Of a megabyte of bytes the start is shown and the length told."""
    shown = text_of(b"\xff" * 1_000_000)
    assert len(shown) <= MAX_TEXT_CHARS
    assert shown.endswith("…[of 1000000 bytes]")


@pytest.mark.parametrize("limit", range(40, 140, 7))
def test_a_cut_never_leaves_half_a_credential(limit: int) -> None:
    """Where the cut would fall into a URL, the URL goes as a whole: redaction must recognise what remains."""
    text = "connecting via http://user:secret-password@proxy.example.com:8080/path and then " + "on " * 100
    shown = cut(text, limit)
    assert "secret" not in shown or "secret-password@" in shown
    bare = "http://user:secret-password@proxy.example.com:8080/" + "x" * 500
    assert "secret" not in cut(bare, limit)


@pytest.mark.parametrize("mark", ["://", r":\/\/", "%3A%2F%2F"])
def test_a_cut_never_leaves_half_a_long_credential(mark: str) -> None:
    """A password longer than a cut looks back goes with its URL, also from bytes; a URL that is whole stays."""
    url = f"http{mark}user:secret" + "x" * 20_000
    assert cut(url, 8192).startswith("http…[truncated ")
    assert text_of(f"{url}@host".encode()).startswith("b'http…[of ")
    assert cut(f"http{mark}host/" + "x" * 20_000, 8192).startswith(f"http{mark}host/xxx")


def test_text_size_counts_wide_characters_in_full() -> None:
    """ASCII takes one byte a character, anything else is counted as four."""
    assert text_bytes("abc") == 3
    assert text_bytes("äbc") == 12


class Hidden(str):
    """A string that prints as asterisks."""

    __slots__ = ()

    def __str__(self) -> str:
        return "****"


class HiddenInRepr(str):
    """A string that prints as itself and has another repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a secret>"


class Loud(str):
    """A string with a repr of its own that shows what it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Loud({str.__repr__(self)})"


class Asked:
    """A secret that only who asks gets to see, and everybody in the repr."""

    def __init__(self, value: str) -> None:
        self.value = value

    def get_secret_value(self) -> str:
        """The secret."""
        raise AssertionError("nobody may ask")

    def __repr__(self) -> str:
        return f"Asked({self.value!r})"


class AskedText(str):
    """The same as a string."""

    __slots__ = ()

    def get_secret_value(self) -> str:
        """The secret."""
        raise AssertionError("nobody may ask")


def test_strings_that_hide_their_content_are_shown_as_they_show_themselves() -> None:
    """A subclass whose str or repr has not the characters means to hide them; any other is its characters."""
    assert text_of(Hidden("hunter2")) == "****"
    assert text_of(HiddenInRepr("hunter2")) == "<a secret>"
    assert text_of(Loud("two\nlines")) == "two\nlines"


def test_who_keeps_a_secret_is_not_asked_for_it() -> None:
    """Whatever has ``get_secret_value`` is shown by its type, whether its repr hides the content or not."""
    assert text_of(Asked("hunter2")) == "Asked('**********')"
    assert text_of(AskedText("hunter2")) == "AskedText('**********')"
    assert text_of(SecretStr("hunter2")) == "SecretStr('**********')"
    assert plain_scalar(SecretBytes(b"hunter2")) == "SecretBytes('**********')"


def test_secrets_stay_hidden_in_what_holds_them() -> None:
    """Nobody dumps the fields of a model, an object or an exception: what these say of themselves is all there is."""

    class Model(BaseModel):
        password: SecretStr

    @dataclass
    class Settings:
        password: SecretStr

    model, settings = Model(password=SecretStr("hunter2")), Settings(SecretStr("hunter2"))
    held = {
        "model": model,
        "list": [SecretStr("hunter2"), {"deep": settings}, (SecretBytes(b"hunter2"),)],
        SecretStr("hunter2"): {SecretStr("hunter2"): model},
        "bound": Asked("hunter2"),
    }
    shown = repr(split_extra(held.items())) + safe_message("%s %r", (held["list"], settings))
    shown += safe_message("%d", (SecretStr("hunter2"),))
    try:
        raise ValueError(SecretStr("hunter2"), model, settings)
    except ValueError as error:
        vars(error)["__notes__"] = [SecretStr("hunter2"), Asked("hunter2")]
        shown += repr(describe(error))
    assert "hunter2" not in shown
    assert shown.count("**********") >= 10
