"""Of any two right configurations the plan of a reload is complete and consistent."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings, strategies as st

from logbus.collectors.configuration.settings import ConsoleSink, FileSink, Settings
from logbus.collectors.destinations import slot_of
from logbus.collectors.plan import Slot, Start, plan

NAMES = st.sampled_from(["a", "b", "c", "d"])
LEVELS = st.sampled_from([0, 20, 40])
FILES = st.builds(
    FileSink,
    name=NAMES,
    path=st.sampled_from([Path(f"/var/log/{name}") for name in "pqrs"]),
    format=st.sampled_from(["json", "text"]),
    rotation=st.sampled_from(["1 MB", "1 day"]),
    level=LEVELS,
    exclude_components=st.sampled_from([(), ("rotator",)]),
)
CONSOLES = st.builds(
    ConsoleSink,
    name=NAMES,
    stream=st.sampled_from(["stdout", "stderr"]),
    format=st.sampled_from(["json", "text"]),
    level=LEVELS,
)


def _paths_differ(sinks: list[FileSink | ConsoleSink]) -> bool:
    paths = [sink.path for sink in sinks if isinstance(sink, FileSink)]
    return len(set(paths)) == len(paths)


CONFIGURATIONS = (
    st.lists(FILES | CONSOLES, min_size=1, max_size=4, unique_by=lambda sink: sink.name)
    .filter(_paths_differ)
    .map(lambda sinks: Settings(sinks=tuple(sinks)))
)


@given(old=CONFIGURATIONS, new=CONFIGURATIONS, ending=st.lists(FILES | CONSOLES, max_size=3))
@settings(max_examples=max(150, settings().max_examples))
def test_a_plan_is_complete_and_consistent(old: Settings, new: Settings, ending: list[FileSink | ConsoleSink]) -> None:
    """Each running sink stays or ends, each wanted one stays or starts; who starts waits for exactly its rivals."""
    running, wanted = [slot_of(sink) for sink in old.sinks], [slot_of(sink) for sink in new.sinks]
    left = [slot_of(sink) for sink in ending]
    found = plan(running, left, wanted)

    kept = [step for step in found.steps if isinstance(step, int)]
    assert sorted([*kept, *found.retired]) == [*range(len(running))]
    assert len(found.steps) == len(wanted)
    leaving = {at: running[at] for at in found.retired} | dict(enumerate(left, start=len(running)))
    for slot, step in zip(wanted, found.steps, strict=True):
        if isinstance(step, int):
            assert running[step] == slot
            continue
        rivals = {at for at, other in leaving.items() if other.place == slot.place}
        assert set(step.behind) == rivals | {at for at, other in leaving.items() if other.name == slot.name}
        assert step.at_once == (not rivals)
    # One row has one writer at a time, and so has one file.
    alive = [running[step] for step in kept]
    for slot, step in zip(wanted, found.steps, strict=True):
        if isinstance(step, Start):
            assert slot.name not in {other.name for other in alive}
            assert slot.place not in {other.place for other in alive if other.place.startswith("file ")}


@given(old=CONFIGURATIONS, levels=st.lists(LEVELS, min_size=4, max_size=4), color=st.sampled_from(["never", "always"]))
def test_what_only_filters_differently_stays(old: Settings, levels: list[int], color: str) -> None:
    """Level, components, colour and a console's format change nothing about the writers."""
    sinks = [
        sink.model_copy(
            update={"level": level, "components": ("x",)}
            | ({"color": color, "format": "text"} if isinstance(sink, ConsoleSink) else {})
        )
        for sink, level in zip(old.sinks, levels, strict=False)
    ]
    found = plan([slot_of(sink) for sink in old.sinks], [], [slot_of(sink) for sink in sinks])
    assert (found.steps, found.retired) == (tuple(range(len(old.sinks))), ())


def test_links_on_the_way_to_a_file_are_seen_through(tmp_path: Path) -> None:
    """A file under another path is the same place, and not the same sink: it is opened under its new path."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one = slot_of(FileSink(name="x", path=tmp_path / "real" / "f"))
    other = slot_of(FileSink(name="x", path=tmp_path / "link" / "f"))
    assert one.place == other.place == f"file {os.path.realpath(tmp_path)}/real/f"
    assert plan([one], [], [other]).steps == (Start((0,), at_once=False),)


def test_two_sinks_that_exchange_their_files_wait_for_both() -> None:
    """Each needs its own row and the other's file to be free; neither waits for a new one."""
    running = [Slot("a", "file p", ""), Slot("b", "file q", "")]
    found = plan(running, [], [Slot("a", "file q", ""), Slot("b", "file p", "")])
    assert found.steps == (Start((0, 1), at_once=False), Start((0, 1), at_once=False))
    assert found.retired == (0, 1)
