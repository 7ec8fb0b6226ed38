"""Users' patterns (collectors/patterns.py)."""

from __future__ import annotations

import random
import time

import pytest

from logbus.collectors.patterns import MAX_PATTERN, MAX_PROGRAM, Pattern, compile_pattern, line_probe, plain_texts
from logbus.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (5, "expected a pattern, a text of at least one character, found 5"),
        ("", 'expected a pattern, a text of at least one character, found ""'),
        ("x" * (MAX_PATTERN + 1), "expected a pattern of at most 1000 characters, found 1001"),
        ("(a", 'expected a pattern that RE2 takes, found "(a": missing ): (a'),
        ("a(?=b)", 'expected a pattern that RE2 takes, found "a(?=b)": invalid perl operator: (?='),
        (r"(a)\1", 'expected a pattern that RE2 takes, found "(a)\\\\1": invalid escape sequence: \\1'),
        ("[z-a]", 'expected a pattern that RE2 takes, found "[z-a]": invalid character class range: z-a'),
        ("a{2000}", 'expected a pattern that RE2 takes, found "a{2000}": invalid repetition size: {2000}'),
        (
            ".{900}c",
            f'expected a smaller pattern, of at most {MAX_PROGRAM} steps, found ".{{900}}c", which compiles to',
        ),
        ("\ud800", 'expected a pattern of whole characters, found "\\ud800"'),
    ],
)
def test_what_re2_refuses_is_refused_with_its_reason(text: object, problem: str) -> None:
    """And so is what would take much memory or time."""
    with pytest.raises(ConfigurationError) as refused:
        compile_pattern(text)
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(problem)


def test_refusing_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """RE2 would write its errors to stderr by itself."""
    with pytest.raises(ConfigurationError):
        compile_pattern("(a")
    with pytest.raises(ConfigurationError):
        compile_pattern(r"(\pL{100}){9}")
    assert capfd.readouterr() == ("", "")


TEXTS = {
    "connection refused by 10.0.0.1",
    "read timed out",
    "timed out\nand refused",
    "GET /a.b",
    "GET /aXb",
    "POST GET /a.b",
    "Zeitüberschreitung 🎈 timeout",
    "",
    "\n",
    "42",
    "a\nb",
}


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("refused", {"connection refused by 10.0.0.1", "timed out\nand refused"}),
        ("timed out|timeout", {"read timed out", "timed out\nand refused", "Zeitüberschreitung 🎈 timeout"}),
        ("time(d |)out", {"read timed out", "timed out\nand refused", "Zeitüberschreitung 🎈 timeout"}),
        ("^GET", {"GET /a.b", "GET /aXb"}),
        ("^GET /a.b$", {"GET /a.b", "GET /aXb"}),
        (r"^GET /a\.b$", {"GET /a.b"}),
        (r"b$", {"GET /a.b", "GET /aXb", "POST GET /a.b", "a\nb"}),
        (r"^$", {""}),
        (r"\A\d+\z", {"42"}),
        (r"^[0-9]+$", {"42"}),
        (r"(?m)^b$", {"a\nb"}),
        (r"^b$", set()),
        (r"(?i)REFUSED", {"connection refused by 10.0.0.1", "timed out\nand refused"}),
        (r"out\sand", {"timed out\nand refused"}),
        (r"out\nand", {"timed out\nand refused"}),
        (r"(?s)out.and", {"timed out\nand refused"}),
        (r"out[^x]and", {"timed out\nand refused"}),
        (r"\bout\b", {"read timed out", "timed out\nand refused"}),
        (r"ü.*🎈 \w+$", {"Zeitüberschreitung 🎈 timeout"}),
        (r"x*", TEXTS),
        (r"a|", TEXTS),
    ],
)
def test_a_pattern_is_found_anywhere_in_a_text(pattern: str, matching: set[str]) -> None:
    """Unless it says where: ``^`` and ``$`` are the ends of the text, and other texts beside it change nothing."""
    asked = Pattern(pattern)
    assert asked.matching(TEXTS) == matching
    assert asked.matching(set()) == set()
    assert {text for text in TEXTS if asked.matching({text})} == matching


@pytest.mark.parametrize("pattern", [r"\Aa", r"a\z", r"\Qa.b\E", r"(?-m)^a", r"(?i-s:a)", r"\Ca", "(?i-m)^a"])
def test_a_pattern_with_a_word_on_the_ends_of_texts_gets_no_probe(pattern: str) -> None:
    """Among joined texts it would not mean the same."""
    compile_pattern(pattern)
    assert line_probe(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    ["a.b", "a(b|c)", "a*", "[ab]", "a$b", "^^a", "a^", r"\d", r"a\b", "a{2}", "(?i)a", r"\Qa", "a\\\n", "$$"],
)
def test_a_pattern_that_is_more_than_a_text_is_left_to_re2(pattern: str) -> None:
    """Only what is surely plain is taken for it."""
    assert plain_texts(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 262_143 + "!"),
        ("(a|aa)+$", "a" * 262_143 + "!"),
        ("(.*)*x", "a" * 262_144),
        ("(x+x+)+y", "x" * 262_144),
        (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 262_144),
        (r"(?i)(\w+\s?)+:$", "word " * 52_428),
        ("[ab]*a[ab]{12}c", "".join(random.Random(1).choices("ab", k=262_144))),
    ],
)
def test_time_is_linear_in_the_text(pattern: str, text: str) -> None:
    """Patterns that hold others for centuries: a text sixteen times as long takes not much more than sixteen times."""
    asked = Pattern(pattern)

    def seconds(text: str) -> float:
        times = []
        for _ in range(3):
            begun = time.thread_time()
            assert asked.matching({text}) == set()
            times.append(time.thread_time() - begun)
        return min(times)

    short = seconds(text[-16_384:])  # from the second time on with the states that RE2 has met
    # Quadratic time would be 256 times as much, 30 s, and exponential time the end of the test.
    assert seconds(text) <= 4 * 16 * short + 0.005
