"""Which rotated files go, for any files and any rules."""

from __future__ import annotations

from hypothesis import given, strategies as st

from logbus.collectors.retention import Kept, Retention

FILES = st.lists(st.builds(Kept, st.floats(0, 1000), st.integers(0, 1000)), max_size=20)
RULES = st.builds(
    Retention,
    age_s=st.none() | st.floats(1, 1000),
    files=st.none() | st.integers(1, 20),
    total_bytes=st.none() | st.integers(1, 5000),
)


@given(FILES, RULES)
def test_what_stays_satisfies_every_rule_and_nothing_more_goes(files: list[Kept], rules: Retention) -> None:
    """The files that stay satisfy all rules; each that goes breaks one, given the newer ones."""
    overdue = rules.overdue(files)
    stay = [file for index, file in enumerate(files) if index not in overdue]

    assert overdue == sorted(set(overdue))
    assert rules.files is None or len(stay) <= rules.files
    assert rules.total_bytes is None or sum(file.size for file in stay) <= rules.total_bytes
    assert rules.age_s is None or all(file.age_s < rules.age_s for file in stay)
    for index in overdue:
        newer = files[index:]
        assert (
            (rules.files is not None and len(newer) > rules.files)
            or (rules.total_bytes is not None and sum(file.size for file in newer) > rules.total_bytes)
            or (rules.age_s is not None and files[index].age_s >= rules.age_s)
        )


@given(FILES, RULES)
def test_once_removed_nothing_else_is_due_until_the_wait_is_over(files: list[Kept], rules: Retention) -> None:
    """What stays is judged the same again, and nothing of it is due before the time that was said."""
    overdue = rules.overdue(files)
    stay = [file for index, file in enumerate(files) if index not in overdue]
    wait = rules.wait_s(stay)

    assert rules.overdue(stay) == []
    if wait != float("inf"):
        assert wait > 0
        assert rules.overdue([Kept(file.age_s + wait * 0.99, file.size) for file in stay]) == []
        assert rules.overdue([Kept(file.age_s + wait + 1e-6, file.size) for file in stay]) != []
