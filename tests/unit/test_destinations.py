"""From settings to sinks: what each is, what it takes, in which format, and by what a reload knows it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.configuration.settings import ConsoleSink, FileSink, Sample, Settings
from logbus.collectors.decode import Batch, Record, Site, Source
from logbus.collectors.destinations import destinations, selectors, slot_of
from logbus.collectors.sample import Sampling


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
    made = destinations(settings, tmp_path / "state")
    assert [(one.sink.name, one.sink.type) for one in made] == [
        ("f", "file"),
        ("c", "console"),
        ("t", "console"),
        ("k", "console"),
        ("g", "file"),
    ]
    forms = [one.formatter for one in made]
    assert forms[0] is forms[1] is destinations(settings, tmp_path / "state")[0].formatter
    assert forms[2] is forms[4]
    assert len({id(form) for form in forms}) == 3
    assert not [*tmp_path.iterdir()]


def test_a_sink_is_known_by_name_destination_and_shape(tmp_path: Path) -> None:
    """No filter, sampler or names of fields make another sink; a name, a path, a stream, the format of a file and the
    rules for its rotated files do.
    """
    file, console = FileSink(name="f", path=tmp_path / "f"), ConsoleSink(name="c", format="json")
    assert slot_of(file) == slot_of(file.model_copy(update={"level": 40, "components": ("x",)}))
    same = {
        "where": {"a": 1},
        "sample": Sample(rate=0.5),
        "rename_fields": {"level": "severity"},
        "static_fields": {"a": 1},
    }
    assert slot_of(file) == slot_of(file.model_copy(update=same))
    assert slot_of(console) == slot_of(console.model_copy(update=same))
    assert slot_of(console) == slot_of(console.model_copy(update={"format": "text", "color": "always"}))
    others: list[FileSink | ConsoleSink] = [
        file.model_copy(update={"name": "g"}),
        file.model_copy(update={"path": tmp_path / "g"}),
        file.model_copy(update={"format": "text"}),
        file.model_copy(update={"rotation": ("1 MB",)}),
        file.model_copy(update={"rotation": ("1 MB",), "retention": ("5 files",)}),
        file.model_copy(update={"rotation": ("1 MB",), "compression": "gz"}),
        console.model_copy(update={"stream": "stderr"}),
    ]
    assert len({slot_of(sink) for sink in (file, console, *others)}) == 9


def test_the_selectors_of_sinks_are_known() -> None:
    """Those that are taken and those that are not."""
    sinks = (ConsoleSink(name="a", components=("x.y",)), ConsoleSink(name="b", exclude_components=("z",)))
    assert selectors(Settings(sinks=sinks)) == {"x.y", "z"}


def a_batch(count: int) -> Batch:
    """Records of one call site, whose extra fields a test sets."""
    site = Site("proxywhirl.rotator", 20, "INFO", "rotator", "f", 1, "rotator")
    records = [Record(number, 0, 0, f"m{number}") for number in range(count)]
    return Batch(b"p" * 16, 0, Source("h", 1, "w", "a"), [site], ["t"], records, [])


def written(settings: Settings, state: Path, **extra: Any) -> dict[str, Any]:
    """The JSON line that the first sink of the settings would write of a record."""
    [made, *_] = destinations(settings, state)
    batch = a_batch(1)
    batch.records[0].extra = extra
    line: dict[str, Any] = json.loads(made.formatter.encode(batch))
    return line


def test_conditions_choose_the_records(tmp_path: Path) -> None:
    """What stands in ``where`` is what the sink takes."""
    sink = {"type": "console", "format": "json", "where": {"status_code": {"ge": 500}}}
    [made] = destinations(Settings.model_validate({"sinks": [sink]}), tmp_path)
    batch = a_batch(3)
    for record, status in zip(batch.records, (200, 500, 503), strict=True):
        record.extra = {"status_code": status}
    assert made.filter.select(batch) == [1, 2]


@pytest.mark.parametrize(
    ("sample", "policy"),
    [
        ({"rate": 0.5}, Sampling(0.5)),
        ({"first": 3}, Sampling(0.0, first=3)),
        ({"first": 3, "rate": 0.1, "interval": "1 min"}, Sampling(0.1, first=3, interval_s=60.0)),
        (
            {"rate": 0, "key": "k", "keep": "error", "tail": True, "window": "5 s", "max_bytes": "1 MiB"},
            Sampling(0.0, "k", 40, tail=True, window_s=5.0, max_bytes=1024 * 1024),
        ),
    ],
)
def test_a_sampler_is_made_as_it_is_told(tmp_path: Path, sample: dict[str, Any], policy: Sampling) -> None:
    """With its rate: none beyond the first records where none is given."""
    [made] = destinations(Settings.model_validate({"sinks": [{"type": "console", "sample": sample}]}), tmp_path)
    assert made.sampling == policy


def test_a_sink_without_a_sampler_has_none(tmp_path: Path) -> None:
    """Nothing is left out by default."""
    assert [one.sampling for one in destinations(Settings(), tmp_path)] == [None, None]


def test_names_and_fields_stand_in_the_lines(tmp_path: Path) -> None:
    """Renamed and added fields; equal ones share a format."""
    names = {"rename_fields": {"timestamp": "@timestamp"}, "static_fields": {"environment": "production"}}
    sinks = [{"type": "console", "format": "json", **names}, {"type": "file", "path": str(tmp_path / "f"), **names}]
    settings = Settings.model_validate({"sinks": [{"name": str(at), **sink} for at, sink in enumerate(sinks)]})
    line = written(settings, tmp_path)
    assert "@timestamp" in line
    assert "timestamp" not in line
    assert line["environment"] == "production"
    first, second = destinations(settings, tmp_path)
    assert first.formatter is second.formatter


def test_no_secret_leaves_in_a_static_field(tmp_path: Path) -> None:
    """They are masked like the fields of a record: by key, in URLs, by the patterns of the users."""
    fields = {"pin": "1234", "url": "http://u:hunter2@h", "account": "acct-12345678", "stage": "blue", "shard": 7}
    settings = Settings.model_validate(
        {
            "sinks": [{"type": "console", "format": "json", "static_fields": fields}],
            "redaction": {"fields": ["pin"], "patterns": ["acct-[0-9]{8}"]},
        }
    )
    line = written(settings, tmp_path)
    assert (line["pin"], line["account"], line["stage"], line["shard"]) == ("***", "***", "blue", 7)
    assert "hunter2" not in json.dumps(line)


def test_a_file_that_rotates_keeps_its_journal_in_the_state(tmp_path: Path) -> None:
    """What was written so far is known to the next life of the collector."""
    sink = {"type": "file", "path": str(tmp_path / "logs" / "x.log"), "rotation": "1 kB", "retention": "5 files"}
    state = tmp_path / "state"
    state.mkdir(0o700)
    told: list[str] = []
    [made] = destinations(Settings.model_validate({"sinks": [sink]}), state, told.append)
    assert [*tmp_path.iterdir()] == [state]
    made.sink.open()
    made.sink.write(b"x" * 1200 + b"\n")
    made.sink.look(100)
    made.sink.close()
    assert len([*(tmp_path / "logs").glob("x.*.log")]) == 1
    assert [path.name.partition(".")[0] for path in (state / "archives").iterdir()] == ["x"]
    assert told == []
