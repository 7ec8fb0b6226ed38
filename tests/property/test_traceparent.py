"""The reader of ``traceparent`` against a second one, written from the grammar of the specification step by step."""

from __future__ import annotations

from hypothesis import example, given, strategies as st

from logbus.traceparent import MAX_CHARS, Traceparent

HEX = "0123456789abcdef"
#: Parts that a header is made of: mostly right, sometimes a little wrong.
DIGITS = st.text(HEX, min_size=1, max_size=3)
VERSION = st.one_of(st.sampled_from(["00", "01", "cc", "fe", "ff", "0", "000", "0A", "zz"]), DIGITS)
TRACE = st.one_of(st.text(HEX, min_size=32, max_size=32), st.sampled_from(["0" * 32, "A" * 32, "a" * 31, "a" * 33]))
SPAN = st.one_of(st.text(HEX, min_size=16, max_size=16), st.sampled_from(["0" * 16, "B" * 16, "b" * 15, "b" * 17]))
FLAGS = st.one_of(st.text(HEX, min_size=2, max_size=2), st.sampled_from(["1", "0G", "FF", "001"]))
MORE = st.one_of(st.just(""), st.just("-"), st.text("-0a. é\n", max_size=5), st.just("-" + "x" * 600))
DASH = st.sampled_from(["-"] * 9 + ["", "_", "--"])
HEADERS = st.builds(
    lambda *parts: "".join(parts), VERSION, DASH, TRACE, DASH, SPAN, DASH, FLAGS, MORE, st.sampled_from(["", " ", "\t"])
)


def by_the_grammar(header: str) -> Traceparent | None:
    """§3.2.2 and §3.2.4, position by position."""
    if len(header) > MAX_CHARS:
        return None
    while header[:1] in (" ", "\t") and header:
        header = header[1:]
    while header[-1:] in (" ", "\t") and header:
        header = header[:-1]
    if len(header) < 55:
        return None
    version, trace, span, flags, rest = header[:2], header[3:35], header[36:52], header[53:55], header[55:]
    if [header[2], header[35], header[52]] != ["-"] * 3:
        return None
    if any(char not in HEX for char in version + trace + span + flags):
        return None
    if version == "ff" or set(trace) == {"0"} or set(span) == {"0"}:
        return None
    if rest and (version == "00" or rest[0] != "-"):
        return None
    return Traceparent(trace, span, int(flags[1], 16) % 2 == 1)


@given(HEADERS)
@example("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
@example("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what.the-future-brings")
@example("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n")
def test_headers_are_read_as_the_grammar_says(header: str) -> None:
    """What is valid gives the same ids and flag, and everything else is None."""
    assert Traceparent.parse(header) == by_the_grammar(header)


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    """Whatever a client sends is read or refused."""
    assert Traceparent.parse(text) == by_the_grammar(text)
