from __future__ import annotations

from logging.handlers import SysLogHandler

import pytest

from logbus.collectors.format.priority import FACILITIES, parse_facility, severity_of
from logbus.errors import ConfigurationError


@pytest.mark.parametrize(("value", "number"), [("kern", 0), ("Local7", 23), ("local0", 16), (0, 0), ("23", 23)])
def test_a_facility_has_a_name_or_a_number(value: str | int, number: int) -> None:
    """Names in any case and numbers from 0 to 23 are facilities."""
    assert parse_facility(value) == number


def test_facilities_are_those_of_the_standard_library() -> None:
    """The names mean what they mean to its handler, which has one of them twice."""
    assert {**SysLogHandler.facility_names} == {**FACILITIES, "authpriv": 10}


@pytest.mark.parametrize("value", ["local8", "", "24", "-1", 24, -1, True, "٣"])
def test_what_is_no_facility_is_refused(value: str | int) -> None:
    """The message lists what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        parse_facility(value)
    assert caught.value.problems[0].startswith("facility: expected one of kern, user, ")


def test_severities_fall_as_levels_rise() -> None:
    """Every level has a severity, those of the standard library have their namesakes', and the order holds."""
    named = {10: 7, 20: 6, 25: 5, 30: 4, 40: 3, 50: 2}
    assert {level: severity_of(level) for level in named} == named
    found = [severity_of(level) for level in range(-5, 120)]
    assert found == sorted(found, reverse=True)
    assert (severity_of(-(2**63)), severity_of(2**63)) == (7, 2)
