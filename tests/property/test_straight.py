"""A straight logger delivers what an ordinary one delivers, whatever is logged."""

from __future__ import annotations

import logging
from typing import Any

from hypothesis import given, strategies as st

from logbus.producers.context import context
from logbus.producers.handler import LogbusHandler
from logbus.producers.straight import bend, straighten
from tests.kept import Entry, Kept

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
VALUES = st.one_of(PLAIN, st.lists(PLAIN, max_size=2), st.binary(max_size=3))
KEYS = st.one_of(st.sampled_from(["a", "items", "request_id"]), st.text(max_size=3))
MESSAGES = st.one_of(st.text(max_size=20), st.sampled_from(["%s", "%s for %s", "%d", "%(a)s", "%", "100%"]), VALUES)
ARGUMENTS = st.one_of(
    st.lists(VALUES, max_size=2).map(tuple), st.dictionaries(KEYS, PLAIN, max_size=2).map(lambda found: (found,))
)
EXTRAS = st.one_of(st.none(), st.dictionaries(KEYS, VALUES, max_size=3))


@given(
    level=st.sampled_from([1, 10, 20, 25, 40]),
    message=MESSAGES,
    arguments=ARGUMENTS,
    extra=EXTRAS,
    scope=st.dictionaries(KEYS, VALUES, max_size=2),
    stacklevel=st.integers(0, 3),
)
def test_straight_or_not_the_entry_is_the_same(
    level: int, message: Any, arguments: tuple[Any, ...], extra: Any, scope: dict[str, Any], stacklevel: int
) -> None:
    """Two loggers of one name, one of them straight, hand over equal entries or raise the same error."""
    kept = Kept()
    root = logging.RootLogger(1)
    root.addHandler(LogbusHandler.of(kept.producer))
    log = logging.Manager(root).getLogger("shop.property")
    found: list[Any] = []
    for turn in (bend, straighten, straighten):
        turn(log)
        try:
            with context(**scope):
                log.log(level, message, *arguments, extra=extra, stacklevel=stacklevel)
        except Exception as error:
            found.append(repr(error))
        else:
            found.append(_comparable(kept.entries.pop()))
    assert found[0] == found[1] == found[2]


def _comparable(entry: Entry) -> Any:
    """All but the time and the estimated size; as text, since nan is not equal to itself."""
    return repr(entry._replace(created=0.0, size=0))
