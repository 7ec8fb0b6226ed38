from __future__ import annotations

import json
import sys
import unicodedata
from datetime import UTC, datetime

from logbus.collectors.decode import Record, Site
from logbus.collectors.format import logfmt
from logbus.collectors.format.base import (
    FIRST_US,
    LAST_US,
    UNSAFE,
    UNSAFE_RUN,
    json_escape,
    level_name,
    lines,
    timestamps,
)


def _shown(*times: int) -> list[str]:
    return timestamps([Record(time, 0, 0, "m") for time in times])


def test_timestamps_are_rfc_3339_with_microseconds() -> None:
    """Each time is shown in UTC, with six digits, whatever second came before it."""
    noon = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * 1_000_000
    assert _shown(noon, noon + 999_999, noon + 1_000_000, noon - 1, noon + 70) == [
        "2026-11-22T12:00:00.000000Z",
        "2026-11-22T12:00:00.999999Z",
        "2026-11-22T12:00:01.000000Z",
        "2026-11-22T11:59:59.999999Z",
        "2026-11-22T12:00:00.000070Z",
    ]


def test_times_beyond_the_calendar_become_its_ends() -> None:
    """A time before year 1 or after 9999 is shown as the first or last that there is."""
    first, last = "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"
    assert _shown(FIRST_US, FIRST_US - 1, -(2**63), LAST_US, LAST_US + 1, 2**63 - 1) == [first] * 3 + [last] * 3
    assert [_shown(time) for time in (LAST_US, LAST_US + 1, 2**63 - 1, -(2**63))] == [[last], [last], [last], [first]]
    assert _shown(-1, 0) == ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000000Z"]


def test_unsafe_characters_are_all_controls_and_format_characters() -> None:
    """Every character of the categories Cc, Cf, Zl, Zp and Cs that this Python knows is unsafe."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs"):
            assert UNSAFE.match(character), f"U+{code:04X}"


def test_letters_and_emoji_are_safe() -> None:
    """What people write is not escaped."""
    assert not UNSAFE.search("Zażółć gęślą jaźń — 日本語, עברית, العربية\u00a0€ 🎉 ~")


def test_lines_split_at_newlines_only() -> None:
    """Each element keeps its newline, and no other character splits."""
    assert lines("a\u2028b\x0cc\n\nd\n".encode()) == ["a\u2028b\x0cc\n".encode(), b"\n", b"d\n"]
    assert lines(b"") == []


def test_a_level_has_a_name() -> None:
    """A level without a name is shown by its number."""
    site = Site("a", 33, "", "m", "f", 1, "c")
    assert level_name(site) == "Level 33"


def test_unsafe_characters_are_escaped_by_runs() -> None:
    """500 keys of 500 such characters are in one frame: a call for each would hold the collector for a fifth of a
    second.
    """
    for unsafe in ("\x01", "\u202e", "\U000e0001"):
        text, runs = UNSAFE_RUN.subn(json_escape, f"{unsafe * 500}é{unsafe * 500}")
        assert runs == 2
        assert text == f"{json.dumps(unsafe * 500)[1:-1]}é{json.dumps(unsafe * 500)[1:-1]}"
    assert logfmt._ILLEGAL.subn("", '= \n"%\u202e\ufffd' * 500) == ("", 1)
