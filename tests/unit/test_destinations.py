"""From settings to sinks: what each is, what it takes, in which format, and by what a reload knows it again."""

from __future__ import annotations

from pathlib import Path

from logbus.collectors.destinations import destinations, selectors, slot_of
from logbus.collectors.settings import ConsoleSink, FileSink, Settings


def test_each_sink_is_made_as_it_is_told(tmp_path: Path) -> None:
    """In their order, nothing opened; equal formats are one object, so that they share an encoding."""
    settings = Settings(
        sinks=(
            FileSink(name="f", path=tmp_path / "f"),
            ConsoleSink(name="c", format="json"),
            ConsoleSink(name="t", format="text", color="never"),
            ConsoleSink(name="k", format="text", color="always"),
            FileSink(name="g", path=tmp_path / "g", format="text"),
        )
    )
    made = destinations(settings)
    assert [(one.sink.name, one.sink.type) for one in made] == [
        ("f", "file"),
        ("c", "console"),
        ("t", "console"),
        ("k", "console"),
        ("g", "file"),
    ]
    forms = [one.formatter for one in made]
    assert forms[0] is forms[1] is destinations(settings)[0].formatter
    assert forms[2] is forms[4]
    assert len({id(form) for form in forms}) == 3
    assert not [*tmp_path.iterdir()]


def test_a_sink_is_known_by_name_destination_and_shape(tmp_path: Path) -> None:
    """A filter makes no other sink; a name, a path, a stream, or the format of a file does."""
    file, console = FileSink(name="f", path=tmp_path / "f"), ConsoleSink(name="c", format="json")
    assert slot_of(file) == slot_of(file.model_copy(update={"level": 40, "components": ("x",)}))
    assert slot_of(console) == slot_of(console.model_copy(update={"format": "text", "color": "always"}))
    others: list[FileSink | ConsoleSink] = [
        file.model_copy(update={"name": "g"}),
        file.model_copy(update={"path": tmp_path / "g"}),
        file.model_copy(update={"format": "text"}),
        console.model_copy(update={"stream": "stderr"}),
    ]
    assert len({slot_of(sink) for sink in (file, console, *others)}) == 6


def test_the_selectors_of_sinks_are_known() -> None:
    """Those that are taken and those that are not."""
    sinks = (ConsoleSink(name="a", components=("x.y",)), ConsoleSink(name="b", exclude_components=("z",)))
    assert selectors(Settings(sinks=sinks)) == {"x.y", "z"}
