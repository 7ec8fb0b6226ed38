"""The policy of sampling, and the choice for each record as it comes."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from logbus.collectors import sample as module
from logbus.collectors.chance import BLOCK, limit_of, record_numbers, request_number
from logbus.collectors.decode import Site
from logbus.collectors.redaction.mask import MASK
from logbus.collectors.sample import Head, LeftOut, Sampling
from logbus.errors import ConfigurationError
from tests.frames import producer
from tests.sampled import SITES, A, Entry, batch

B = producer(2)


def requests(*names: Any, level: int = 20) -> list[Entry]:
    """A record for each of these requests."""
    return [(name, level) for name in names]


def test_a_policy_that_says_nothing_keeps_everything() -> None:
    """The defaults of the contract."""
    assert Sampling() == Sampling(1.0, None, 30, None, 1.0, False, 30.0, 16 * 1024 * 1024)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rate": 1.5}, "rate: expected a number above 0 and up to 1, found 1.5"),
        ({"rate": -0.1}, "rate: expected a number above 0 and up to 1, found -0.1"),
        ({"rate": math.nan}, "rate: expected a number above 0 and up to 1, found nan"),
        ({"rate": 1e-10}, "rate: expected a number from 0.000001 on and up to 1, found 1e-10"),
        ({"rate": 0.0}, "rate: expected a number above 0 and up to 1 (0 only with first or tail), found 0"),
        ({"rate": 0.1, "key": ""}, 'key: expected a name of 1 to 200 characters and at most 16 levels, found ""'),
        (
            {"rate": 0.1, "key": "exception.cause"},
            "key: expected exception.cause.type or exception.cause.message: an exception is no value, found",
        ),
        ({"first": 0}, "first: expected a number of records from 1, found 0"),
        ({"rate": 0.1, "tail": True}, "tail: expected key beside it, the field by which the records of a request"),
        (
            {"rate": 0.1, "key": "request_id", "tail": True, "first": 3},
            "first: expected none beside tail, which decides for whole requests",
        ),
        ({"interval_s": 0.0}, "interval: expected a duration from 100 ms to 1 day, found 0 s"),
        ({"window_s": 1e9}, "window: expected a duration from 100 ms to 1 day, found 1e+09 s"),
        ({"max_bytes": 1}, "max_bytes: expected a size from 64 KiB to 1 GiB, found 1 B"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any], problem: str) -> None:
    """With the key, what was found, and what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        Sampling(**options)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(problem)


def test_every_problem_of_a_policy_is_told() -> None:
    """All at once."""
    with pytest.raises(ConfigurationError) as caught:
        Sampling(rate=2.0, tail=True, window_s=0.0)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["rate", "tail", "window"]


def test_by_rate_a_record_is_kept_by_its_number() -> None:
    """What is kept is stamped, the rest is counted; in the order of the batch, and of the chosen ones only."""
    head, count = Head(Sampling(rate=0.3)), 500
    numbers = record_numbers(A, 1000, count)
    expected = [at for at in range(count) if numbers[at] < limit_of(0.3)]
    choice = head.choose(batch(*requests(*[None] * count), first_seq=1000), None, 0.0)
    assert (choice.kept, choice.stamped, choice.out) == (expected, set(expected), count - len(expected))
    odd = range(1, count, 2)
    choice = head.choose(batch(*requests(*[None] * count), first_seq=1000), odd, 0.0)
    assert choice.kept == [at for at in expected if at % 2]
    assert choice.out == len(odd) - len(choice.kept)


def test_a_resend_is_chosen_alike() -> None:
    """In other frames, by another collector."""
    entries = requests(*[None] * (2 * BLOCK))
    whole = Head(Sampling(rate=0.5)).choose(batch(*entries, first_seq=7), None, 0.0).kept
    parts = [
        Head(Sampling(rate=0.5)).choose(batch(entry, first_seq=7 + at), None, 0.0) for at, entry in enumerate(entries)
    ]
    assert whole == [at for at, part in enumerate(parts) if part.kept]


@pytest.mark.parametrize("key", ["request_id", "worker"])
def test_by_key_all_records_of_a_request_share_its_fate(key: str) -> None:
    """Whichever worker they come from, in whichever collector; a field of the line is a key like any other."""
    heads = [Head(Sampling(rate=0.5, key=key)) for _ in range(2)]
    fates: dict[str, set[bool]] = {}
    for number, head in enumerate(heads):
        for who in (A, B):
            found = batch(*requests(*[f"r{at % 50}" for at in range(200)]), who=who, worker=f"w{number}")
            choice = head.choose(found, None, 0.0)
            for at in range(200):
                name = f"r{at % 50}" if key == "request_id" else found.source.worker
                fates.setdefault(name, set()).add(at in choice.kept)
    assert all(len(fate) == 1 for fate in fates.values())
    expected = {name: {request_number(name) < limit_of(0.5)} for name in fates}
    assert fates == expected


@pytest.mark.parametrize("nothing", [None, "", MASK, {"nested": 1}])
def test_a_record_without_a_key_is_sampled_for_itself(nothing: Any) -> None:
    """Else all that has none would be one request."""
    count = 300
    numbers = record_numbers(A, 0, count)
    choice = Head(Sampling(rate=0.3, key="request_id")).choose(batch(*requests(*[nothing] * count)), None, 0.0)
    assert choice.kept == [at for at in range(count) if numbers[at] < limit_of(0.3)]


def test_a_number_and_its_text_are_one_request() -> None:
    """5 and "5": one worker has it from a path, another from a header."""
    for number in range(50):
        entries = requests(number, str(number), number)
        kept = Head(Sampling(rate=0.5, key="request_id")).choose(batch(*entries), None, 0.0).kept
        assert kept in ([], [0, 1, 2])


def test_what_is_kept_at_a_low_rate_is_kept_at_a_higher_one() -> None:
    """So a sink with a tenth shows a part of what one with a half shows."""
    entries = requests(*[f"r{at}" for at in range(500)])
    few, many = (
        set(Head(Sampling(rate=rate, key="request_id")).choose(batch(*entries), None, 0.0).kept) for rate in (0.1, 0.5)
    )
    assert few < many


@pytest.mark.parametrize("options", [{"rate": 0.001}, {"rate": 0.001, "key": "request_id"}, {"rate": 0.0, "first": 1}])
def test_from_keep_on_everything_is_kept_and_not_stamped(options: dict[str, Any]) -> None:
    """It stands for itself only."""
    entries = [("r1", level) for level in (30, 20, 40, 10)] * 50
    choice = Head(Sampling(**options)).choose(batch(*entries), None, 0.0)
    high = [at for at, (_, level) in enumerate(entries) if level >= 30]
    assert [at for at in choice.kept if at in set(high)] == high
    assert not choice.stamped.intersection(high)
    errors = Head(Sampling(**options, keep=40)).choose(batch(*entries), None, 0.0)
    assert len(errors.kept) < len(high)


def test_the_first_of_a_call_site_in_each_interval_are_kept() -> None:
    """The interval is one of the monotonic clock, and begins with the first record after the one before."""
    head = Head(Sampling(rate=0.0, first=3, interval_s=10.0))
    kept = [len(head.choose(batch(*requests(None, None)), None, now).kept) for now in (100, 101, 109.9, 110, 111, 125)]
    assert kept == [2, 1, 0, 2, 1, 2]
    assert head.choose(batch(*requests(*[None] * 5)), None, 126.0).stamped == set()


def test_call_sites_are_counted_each_for_itself() -> None:
    """By logger, place and level; the same site of another worker is the same site."""
    head = Head(Sampling(rate=0.0, first=1, keep=50))
    other = [Site(**{**{name: getattr(site, name) for name in site.__struct_fields__}, "line": 8}) for site in SITES]
    found = [
        head.choose(batch((None, 10), (None, 20), (None, 20)), None, 0.0).kept,
        head.choose(batch((None, 10), (None, 20), who=B), None, 0.0).kept,
        head.choose(batch((None, 10), (None, 20), sites=other), None, 0.0).kept,
    ]
    assert found == [[0, 1], [], [0, 1]]


def test_beyond_the_first_the_rate_decides() -> None:
    """By key if there is one; these are stamped, the first ones are not."""
    names = [f"r{at}" for at in range(200)]
    head = Head(Sampling(rate=0.5, key="request_id", first=3))
    choice = head.choose(batch(*requests(*names)), None, 0.0)
    beyond = [at for at in range(3, 200) if request_number(names[at]) < limit_of(0.5)]
    assert choice.kept == [0, 1, 2, *beyond]
    assert choice.stamped == set(beyond)
    assert choice.out == 200 - len(choice.kept)


def test_what_first_leaves_out_is_told_at_the_end_of_the_interval() -> None:
    """Once, with the busiest call sites by name, and nothing where nothing was left out."""
    head = Head(Sampling(rate=0.0, first=2, interval_s=5.0, keep=50))
    head.choose(batch((None, 20), (None, 20)), None, 0.0)
    assert head.due_at == math.inf
    assert head.told(10.0) == []
    head.choose(batch((None, 20), *requests(*[None] * 4), *requests(*[None] * 3, level=10), (None, 40)), None, 20.0)
    assert (head.due_at, head.told(24.9)) == (25.0, [])
    expected = LeftOut(4, 5.0, (("shop.till INFO till.sell:7", 3), ("shop.till DEBUG till.sell:7", 1)))
    assert head.told(25.0) == [expected]
    assert (head.due_at, head.told(99.0)) == (math.inf, [])
    head.choose(batch(*requests(None, None, None)), None, 100.0)
    assert [told.records for told in head.told(100.1, ending=True)] == [1]


def test_an_interval_that_nobody_asked_about_is_told_later() -> None:
    """The next record ends it."""
    head = Head(Sampling(rate=0.0, first=1, interval_s=1.0))
    for now in (0.0, 10.0, 20.0):
        head.choose(batch(*requests(None, None)), None, now)
    assert [told.records for told in head.told(30.0)] == [1, 1, 1]


def test_call_sites_of_long_names_take_little_memory() -> None:
    """A worker may send names of 200 kB, a thousand of them in an interval of a day; each is counted for itself."""
    head = Head(Sampling(rate=0.0, first=1, keep=50, interval_s=86_400.0))
    tracemalloc.start()
    try:
        for number in range(100):
            sites = [Site("x" * 200_000 + str(number), level, "INFO", "m", "f", 7, "c") for level in (10, 20, 30, 40)]
            assert len(head.choose(batch((None, 20), (None, 10), (None, 20), sites=sites), None, 0.0).kept) == 2
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()
    [told] = head.told(0.0, ending=True)
    assert (told.records, len(told.sites)) == (100, module.SITES_TOLD)


def test_the_busiest_call_sites_are_told_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten by default; the total has all, those that the table had no room for too."""
    monkeypatch.setattr(module, "MAX_SITES", 20)
    head = Head(Sampling(rate=0.0, first=1, keep=50))
    for line in range(100):
        sites = [Site("x" * 1000, level, "INFO", "m", "f", line, "c") for level in (10, 20, 30, 40)]
        head.choose(batch(*requests(*[None] * (2 + line)), sites=sites), None, 0.0)
    [told] = head.told(2.0)
    assert told.records == sum(1 + line for line in range(100))
    assert [count for _, count in told.sites] == list(range(100, 90, -1))
    assert all(len(name) == module.NAME_CHARS for name, _ in told.sites)


@pytest.mark.soak
def test_a_tenth_of_many_requests(scale: Callable[[int, int], int]) -> None:
    """Within three sigma, each request whole or not at all, and no record at ``keep`` missing."""
    count, rate = scale(100_000, 5_000), 0.1
    head = Head(Sampling(rate=rate, key="request_id"))
    levels = (20, 20, 10, 20)
    kept: Counter[str] = Counter()
    errors = 0
    for part in range(0, count, 100):
        names = [f"req-{number:08x}" for number in range(part, part + 100)]
        entries = [
            (name, 40 if at % 25 == 0 and level == 10 else level) for level in levels for at, name in enumerate(names)
        ]
        choice = head.choose(batch(*entries, first_seq=4 * part), None, 0.0)
        errors += sum(entries[at][1] == 40 for at in choice.kept)
        kept.update(entries[at][0] for at in choice.kept if entries[at][1] < 30)
        assert choice.out == len(entries) - len(choice.kept)
    assert errors == count // 25
    assert all(found == (3 if int(name[4:], 16) % 25 == 0 else 4) for name, found in kept.items())
    assert abs(len(kept) - count * rate) <= 3 * math.sqrt(count * rate * (1 - rate))
