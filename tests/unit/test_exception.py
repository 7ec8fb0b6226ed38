"""Exceptions as data: types, messages, places, chains, groups, and the limits of each."""

from __future__ import annotations

import gc
import os
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

from logbus.producers.exception import (
    MAX_EXCEPTIONS,
    MAX_FRAMES,
    MAX_FRAMES_IN_ALL,
    MAX_LEVELS,
    MAX_MEMBERS,
    MAX_NOTES,
    MAX_SOURCE_BYTES,
    Described,
    describe,
    finish,
    from_text,
    weight,
)

TYPE, MESSAGE, LINES, CAUSE, CONTEXT, MEMBERS = range(6)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception after it has been raised and caught."""
    try:
        if cause is not None:
            raise error from cause
        raise error
    except BaseException as caught:
        return caught


def described(error: Any) -> list[Any]:
    """What travels of an exception, after a look at the form in between."""
    found = describe(error)
    assert found is not None
    msgpack.packb(found)  # plain tuples, strings and numbers: no frame, no exception
    return finish(found)


def dive(depth: int, at_the_end: Callable[[], object]) -> None:
    """Calls something at the end of that many frames."""
    if depth:
        dive(depth - 1, at_the_end)
    else:
        at_the_end()


def test_an_exception_says_what_was_raised_and_where() -> None:
    """Type, message, and one line per frame with file, line, function and source."""
    try:
        raise ValueError("no proxy")
    except ValueError as error:
        found = described(error)
        number = error.__traceback__.tb_lineno if error.__traceback__ else 0
    place = f'File "{__file__}", line {number}, in test_an_exception_says_what_was_raised_and_where'
    assert found == ["ValueError", "no proxy", [f'{place}: raise ValueError("no proxy")'], None, None, []]


def test_exc_info_triples_and_what_is_none() -> None:
    """A triple is read with its own traceback; a triple of nothing, and anything else, describes nothing."""
    error = raised(KeyError("k"))
    assert described((KeyError, error, None)) == ["KeyError", "'k'", [], None, None, []]
    assert described((KeyError, error, error.__traceback__)) == described(error)
    assert described((KeyError, None, None))[TYPE] == "<class 'KeyError'>"
    for nothing in (None, True, (None, None, None), (1, 2), "text", ()):
        assert describe(nothing) is None


def test_types_are_named_with_their_module() -> None:
    """A class that is not built in stands behind its module."""

    class RefusedError(Exception):
        pass

    assert described(RefusedError())[TYPE] == f"{__name__}.{RefusedError.__qualname__}"


def test_causes_and_contexts_are_chained() -> None:
    """A cause is told as such, what was being handled as context, unless the application has suppressed it."""
    caused = described(raised(ValueError("outer"), cause=OSError("inner")))
    assert (caused[CAUSE][TYPE], caused[CONTEXT]) == ("OSError", None)
    handling = ValueError("outer")
    handling.__context__ = OSError("inner")
    found = described(handling)
    assert (found[CAUSE], found[CONTEXT][TYPE]) == (None, "OSError")
    handling.__suppress_context__ = True
    assert described(handling)[CONTEXT] is None


def test_members_of_groups_are_described() -> None:
    """Every member has its own description, groups inside groups too."""
    first = ValueError("a")
    raised(first)
    group = ExceptionGroup("two", [first, ExceptionGroup("deep", [KeyError("b")])])
    found = described(group)
    assert found[MESSAGE] == "two (2 sub-exceptions)"
    assert [member[TYPE] for member in found[MEMBERS]] == ["ValueError", "ExceptionGroup"]
    assert found[MEMBERS][0][LINES][0].startswith(f'File "{__file__}"')
    assert found[MEMBERS][1][MEMBERS][0][MESSAGE] == "'b'"


def test_large_groups_are_bounded() -> None:
    """The first members stay, the rest is counted."""
    found = described(ExceptionGroup("many", [ValueError(str(n)) for n in range(10_000)]))
    assert len(found[MEMBERS]) == MAX_MEMBERS
    assert found[LINES] == [f"… {10_000 - MAX_MEMBERS} members left out"]


def test_a_tree_of_groups_is_bounded_as_a_whole() -> None:
    """Sixteen members of sixteen members of … end at the number of exceptions that one record may hold."""
    group: Exception = ValueError("leaf")
    for _ in range(6):
        group = ExceptionGroup("g", [*(ExceptionGroup("g", [ValueError("x")]) for _ in range(15)), group])

    def count(found: list[Any]) -> int:
        return 1 + sum(count(part) for part in (found[CAUSE], found[CONTEXT], *found[MEMBERS]) if part)

    found = described(group)
    assert count(found) == MAX_EXCEPTIONS
    assert found[MEMBERS][-1][LINES] == ["… member left out: ExceptionGroup"] * 16


def test_long_chains_are_cut() -> None:
    """A retry loop that chains every failure ends at the last level, which says what is missing."""
    error: BaseException = ValueError("0")
    for n in range(1, 1000):
        error = raised(ValueError(str(n)), cause=error)
    found, levels = described(error), 1
    while found[CAUSE]:
        found = found[CAUSE]
        levels += 1
    assert levels == MAX_LEVELS
    assert found[LINES][-1] == "… cause left out: ValueError"


def test_rings_end() -> None:
    """An exception that is its own ancestor, as cause, context or member, is told once."""
    first, second = ValueError("1"), KeyError("2")
    first.__cause__, second.__cause__ = second, first
    assert described(first)[CAUSE][CAUSE] is None
    lone = ValueError("1")
    lone.__context__, lone.__suppress_context__ = second, False
    second.__cause__, second.__context__, second.__suppress_context__ = None, lone, False
    assert described(lone)[CONTEXT][CONTEXT] is None
    inner = ValueError("member")
    group = ExceptionGroup("g", [inner])
    inner.__context__ = group
    assert described(group)[MEMBERS][0][CONTEXT] is None


def test_deep_tracebacks_keep_both_ends() -> None:
    """Of a recursion the outermost and innermost frames stay, with the number of those between."""
    with pytest.raises(ZeroDivisionError) as caught:
        dive(500, lambda: 1 // 0)
    total = len(traceback.extract_tb(caught.value.__traceback__))
    lines = described(caught.value)[LINES]
    assert len(lines) == MAX_FRAMES + 1
    assert lines[MAX_FRAMES // 2] == f"… {total - MAX_FRAMES} frames"
    assert "in test_deep_tracebacks_keep_both_ends: dive(500" in lines[0]
    assert "in <lambda>: dive(500, lambda: 1 // 0)" in lines[-1]


def test_frames_are_bounded_in_all() -> None:
    """A group of deep recursions shares one allowance of frames."""

    def deep() -> Exception:
        with pytest.raises(ZeroDivisionError) as caught:
            dive(100, lambda: 1 // 0)
        return caught.value

    found = described(ExceptionGroup("g", [deep() for _ in range(MAX_MEMBERS)]))
    frames = [line for member in found[MEMBERS] for line in member[LINES] if line.startswith("File ")]
    assert len(frames) == MAX_FRAMES_IN_ALL
    assert found[MEMBERS][-1][LINES] == ["… 103 frames"]


def test_neither_locals_nor_exceptions_are_kept_alive() -> None:
    """What describe gives refers to nothing of the application, so its objects go when it lets them go."""

    class Precious:
        pass

    def fail() -> tuple[weakref.ref[Precious], Described | None]:
        secret = Precious()
        try:
            raise ValueError
        except ValueError as error:
            return weakref.ref(secret), describe(error)

    gc.disable()
    try:
        reference, found = fail()
        assert reference() is None
    finally:
        gc.enable()
    assert found is not None


def test_notes_stand_behind_the_traceback() -> None:
    """add_note's text is kept, bounded in number and length."""
    error = raised(ValueError("v"))
    error.add_note("first")
    for n in range(100):
        error.add_note(f"{n}" + "x" * 5000)
    lines = described(error)[LINES]
    assert lines[1] == "note: first"
    assert len(lines) == 1 + MAX_NOTES + 1
    assert lines[-1] == f"… {101 - MAX_NOTES} notes"
    assert max(map(len, lines)) < 1200
    error.__notes__ = 5  # type: ignore[assignment]
    assert described(error)[LINES][1:] == ["note: 5"]


def test_exceptions_that_resist_are_described_all_the_same() -> None:
    """Overridden attributes are not asked, and a __str__ that raises leaves a placeholder."""

    class ResistsError(Exception):
        @property
        def __notes__(self) -> list[str]:  # type: ignore[override]
            raise RuntimeError

        @property
        def __cause__(self) -> BaseException:  # type: ignore[override]
            raise RuntimeError

        @property
        def __traceback__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

        def __str__(self) -> str:
            raise OSError

    found = described(raised(ResistsError()))
    assert found[MESSAGE].endswith("ResistsError failed: OSError>")
    assert found[LINES][0].endswith("raise error")


def test_long_messages_are_cut() -> None:
    """The message of an exception is bounded as a field is."""
    assert "…[truncated" in described(ValueError("x" * 10**6))[MESSAGE]


def test_syntax_errors_are_described() -> None:
    """The message of a SyntaxError says file and line."""
    with pytest.raises(SyntaxError) as caught:
        compile("a b", "given.py", "exec")
    found = described(caught.value)
    assert found[TYPE] == "SyntaxError"
    assert "(given.py, line 1)" in found[MESSAGE]


@pytest.mark.parametrize("kind", ["missing", "fifo", "directory", "null", "large", "broken"])
def test_source_is_read_only_where_it_can_be(kind: str, tmp_path: Path) -> None:
    """Without source the place alone is told; code that claims to come from a FIFO can't stop the sender."""
    path = tmp_path / f"{kind}.py"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(MAX_SOURCE_BYTES + 1)
    elif kind == "broken":
        path.write_bytes(b"# coding: no-such-codec\n\xff\n")
    name = "nul\0l" if kind == "null" else str(path)
    found: Described = ("E", "m", ((name, 1, "f"),), None, None, ())
    assert finish(found)[LINES] == [f'File "{name}", line 1, in f']


def test_a_traceback_that_is_text_already_is_taken_apart() -> None:
    """Type and message come from the line behind the last frame, also when the message has several lines."""
    error = raised(ValueError("first line\nsecond line"), cause=OSError("disk"))
    found = finish(from_text("".join(traceback.format_exception(error))))
    assert found[TYPE] == "ValueError"
    assert found[MESSAGE] == "first line\nsecond line"
    assert found[LINES][0] == "OSError: disk"
    assert found[LINES][-1] == "raise error from cause"
    assert found[CAUSE] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["Exception", "", []]),
        ("\n \n", ["Exception", "", []]),
        ("something happened", ["Exception", "", ["something happened"]]),
        ("KeyError: 'x'", ["KeyError", "'x'", []]),
        ("  indented only", ["Exception", "", ["indented only"]]),
        ('Traceback (most recent call last):\n  File "x"\nSystemExit', ["SystemExit", "", ['File "x"']]),
    ],
)
def test_any_text_will_do(text: str, expected: list[Any]) -> None:
    """Text that is no traceback is kept as lines."""
    assert finish(from_text(text))[:CAUSE] == expected


def test_long_tracebacks_in_text_keep_both_ends() -> None:
    """Of a thousand lines the first and last stay."""
    text = "Traceback (most recent call last):\n" + "\n".join(f"  line {n}" for n in range(1000)) + "\nValueError: v"
    lines = finish(from_text(text))[LINES]
    assert len(lines) == MAX_FRAMES + 1
    assert (lines[0], lines[-1]) == ("line 0", "line 999")
    assert lines[MAX_FRAMES // 2] == f"… {1000 - MAX_FRAMES} lines"


def test_weight_grows_with_what_is_held() -> None:
    """A chain weighs more than its parts, and a long message its length."""
    plain = describe(raised(ValueError("v")))
    chained = describe(raised(ValueError("v"), cause=raised(OSError("x" * 1000))))
    assert plain is not None
    assert chained is not None
    assert weight(chained) > weight(plain) + 1000


def test_describe_works_at_the_end_of_the_stack() -> None:
    """Next to the recursion limit there is a description or a placeholder, and never an error."""
    results: list[Described | None] = []

    def recurse() -> None:
        try:
            recurse()
        except RecursionError as error:
            results.append(describe(error))
            raise

    with pytest.raises(RecursionError):
        recurse()
    assert len(results) > 100
    assert all(found is not None and found[TYPE] == "RecursionError" for found in results)
