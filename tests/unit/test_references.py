"""Variables of the environment in settings: found, expanded, and shown in place of what they stand for."""

from __future__ import annotations

import pytest

from logbus.collectors.configuration.references import expanded, masked, names
from logbus.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "found", "value"),
    [
        ("plain $5 }{", [], "plain $5 }{"),
        ("${A}", ["A"], "a"),
        ("x${A}y${_B2}${A}", ["A", "_B2"], "xay${A}a"),
        ("$${A}", [], "${A}"),
        ("$$${A}", [], "$${A}"),
        ("$A", [], "$A"),
    ],
)
def test_a_variable_is_replaced_once(text: str, found: list[str], value: str) -> None:
    """By what it holds, in which nothing more is looked for."""
    assert names(text) == found
    assert expanded(text, {"A": "a", "_B2": "${A}"}) == value


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A-}", "x${a:-b}", "${é}"])
def test_what_is_no_variable_is_refused(text: str) -> None:
    """Rather than sent as it is."""
    for call in (names, lambda given: expanded(given, {})):
        with pytest.raises(ConfigurationError, match=r"expected \$\{NAME\}, a variable of the environment"):
            call(text)


def test_a_variable_without_a_value_is_named() -> None:
    """One that is not set, and one that is empty, are mistakes; both names are told at once."""
    with pytest.raises(ConfigurationError, match=r"a value of A and B in the environment of .*, found it unset"):
        expanded("${A}${B}${C}", {"C": "c"})
    with pytest.raises(ConfigurationError, match="a value of A in the environment of the collector, found it empty"):
        expanded("${A}", {"A": ""})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("s3cret", "***"),
        ("${A}", "${A}"),
        ("Bearer ${A}", "Bearer ${A}"),
        ("bearer s3cret", "***"),
        ("${A}:${B}", "${A}:${B}"),
        ("${A}s3cret", "${A}***"),
        ("s3cret ${A}", "***${A}"),
        ("$${A}", "***"),
        ("Bearer $${A} ${B}", "***${B}"),
    ],
)
def test_all_but_variables_is_masked(text: str, shown: str) -> None:
    """And the scheme before one."""
    assert masked(text) == shown
