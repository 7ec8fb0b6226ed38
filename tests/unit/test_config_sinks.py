"""What a sink does with records, as configuration says it: each option, and each mistake by its key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.configuration.problems import MAX_PROBLEMS
from logbus.collectors.configuration.read import ConsoleSink, FileSink, load
from logbus.collectors.destinations import destinations
from tests.refused import Write, json_writer, problems

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file as JSON, and gives its path."""
    return json_writer(tmp_path)


def of_sink(write: Write, **options: Any) -> list[str]:
    """What is wrong with a file sink of these options, each line without the path of the sink."""
    found = problems(write({"sinks": [{"type": "file", "path": "x", **options}]}))
    assert all(line.startswith("sinks[0].") for line in found)
    return [line.removeprefix("sinks[0].") for line in found]


def test_every_option_of_a_sink_is_read(write: Write, tmp_path: Path) -> None:
    """Each arrives in the words in which it prints again, and makes a sink."""
    table = {
        "type": "file",
        "path": "a.log",
        "format": "logfmt",
        "where": [{"status_code": {"ge": 500}, "strategy": ["a", "b"]}, {"extra.kind": "x"}],
        "sample": {"rate": 0.25, "key": "request_id", "keep": "error", "tail": True, "window": "60000 ms"},
        "rename_fields": {"timestamp": "@timestamp"},
        "static_fields": {"environment": "production", "shard": 3, "blue": True},
        "rotation": ["100 MB", "sunday at 03:00"],
        "retention": ["7 days", "5 files"],
        "compression": "zst",
    }
    settings = load(write({"sinks": [table], "redaction": {"patterns": ["acct-[0-9]{8}"]}}), {}, {})
    (sink,) = settings.sinks
    assert isinstance(sink, FileSink)
    assert sink.sample is not None
    assert (sink.sample.rate, sink.sample.key, sink.sample.keep, sink.sample.tail) == (0.25, "request_id", 40, True)
    assert (sink.sample.window, sink.sample.max_bytes) == ("1 min", "16 MiB")
    assert (sink.rotation, sink.retention) == (("100 MB", "sunday at 03:00"), ("7 days", "5 files"))
    assert (sink.format, sink.compression) == ("logfmt", "zst")
    assert sink.static_fields == {"environment": "production", "shard": 3, "blue": True}
    assert settings.redaction.patterns == ("acct-[0-9]{8}",)
    assert load(write({"sinks": [table], "redaction": {"patterns": ["acct-[0-9]{8}"]}}), {}, {}) == settings
    assert len(destinations(settings, tmp_path / "state")) == 1


def test_what_a_sink_has_can_not_be_changed(write: Write) -> None:
    """Settings are frozen inside their tables and lists too."""
    (sink,) = load(
        write({"sinks": [{"type": "console", "where": {"a": [1]}, "static_fields": {"b": 1}}]}), {}, {}
    ).sinks
    with pytest.raises(TypeError):
        sink.where["a"] = 2  # type: ignore[index]
    with pytest.raises(TypeError):
        sink.static_fields["b"] = 2  # type: ignore[index]


def test_one_rule_needs_no_list(write: Write) -> None:
    """A single text is a list of one."""
    (sink,) = load(write({"sinks": [{"type": "file", "path": "x", "rotation": "1 day", "retention": "5 files"}]})).sinks
    assert isinstance(sink, FileSink)
    assert (sink.rotation, sink.retention) == (("1 day",), ("5 files",))


def test_options_come_from_every_source(write: Write) -> None:
    """The environment has sinks as JSON and patterns as a list; the command line has them in its own form."""
    environ = {
        "LOGBUS_SINKS": '[{"type": "console", "sample": {"rate": 0.5}, "where": {"level": "ERROR"}}]',
        "LOGBUS_REDACTION__PATTERNS": '["x{8}"]',
    }
    settings = load(None, {}, environ)
    (sink,) = settings.sinks
    assert sink.sample is not None
    assert sink.sample.rate == 0.5
    assert sink.where == {"level": "ERROR"}
    assert settings.redaction.patterns == ("x{8}",)
    spec = "file:a,rotation=1 MB+1 hour,sample.first=10,sample.interval=2 s,static_fields.a=b"
    (sink,) = load(None, {"sinks": [spec]}, environ).sinks
    assert isinstance(sink, FileSink)
    assert sink.rotation == ("1 MB", "1 hour")
    assert sink.sample is not None
    assert (sink.sample.first, sink.sample.interval, sink.sample.rate) == (10, "2 s", None)
    (line,) = problems(None, {"sinks": ["file:a,rotation=banana"]})
    assert line.startswith("--sink file:a,rotation=banana: sinks[0].rotation: expected a size")
    (line,) = problems(None, LOGBUS_SINKS='[{"type": "console", "sample": {"rate": 2}}]')
    assert line.startswith("LOGBUS_SINKS: sinks[0].sample.rate: expected a number above 0")


def test_the_patterns_of_the_file_stay_beside_the_fields_of_the_environment(write: Write) -> None:
    """[redaction] is merged key by key."""
    settings = load(write({"redaction": {"patterns": ["x"], "fields": ["a"]}}), {}, {"LOGBUS_REDACTION__FIELDS": "[]"})
    assert (settings.redaction.fields, settings.redaction.patterns) == ((), ("x",))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"format": "xml"}, 'format: expected one of json, logfmt, text, or "package.module:Name", found "xml"'),
        (
            {"format": "jsno"},
            'format: expected one of json, logfmt, text, or "package.module:Name", found "jsno"; did you',
        ),
        (
            {"format": "no.such:Thing"},
            'format: expected a format that can be loaded, found "no.such:Thing": ModuleNotFo',
        ),
        ({"format": "json:MAX"}, 'format: expected a format that can be loaded, found "json:MAX": AttributeError'),
        ({"format": "math:pi"}, "format: expected a function from a record to a line, or a class"),
        (
            {"format": 7},
            'format: expected "json", "logfmt", "text", or the name of a format that is installed, found 7',
        ),
        ({"rename_fields": {"tmestamp": "t"}}, "rename_fields.tmestamp: no field of a line; did you mean timestamp?"),
        (
            {"rename_fields": {"level": 5}},
            "rename_fields.level: expected a name of 1 to 128 printable characters, found 5",
        ),
        ({"rename_fields": {"level": "message"}}, 'rename_fields.level: "message" is the name of another field'),
        ({"rename_fields": {"level": ""}}, "rename_fields.level: expected a name of 1 to 128 printable characters"),
        ({"rename_fields": ["a"]}, "rename_fields: expected a table of at most 32 other names"),
        ({"static_fields": {"level": "x"}}, "static_fields.level: that is the name of another field of a line"),
        ({"static_fields": {"a": [1]}}, "static_fields.a: expected a text, a finite number or a boolean, found list"),
        ({"static_fields": {f"a{n}": 1 for n in range(33)}}, "static_fields: expected a table of at most 32 texts"),
        ({"static_fields": 5}, "static_fields: expected a table of at most 32 texts, numbers or booleans"),
        ({"where": {}}, "where: expected at least one condition, found an empty table"),
        ({"where": "level = 5"}, "where: expected a table of conditions, or a list of such tables, found"),
        ({"where": {"status_code": {"gee": 500}}}, "where.status_code.gee: unknown operator; did you mean ge"),
        (
            {"where": [{"a": 1}, {"b": {"ge": True}}]},
            "where[1].b.ge: expected a number or a text to compare with, found true",
        ),
        (
            {"where": {"message": {"matches": "(?=x)"}}},
            "where.message.matches: expected a pattern that RE2 takes, found",
        ),
        ({"where": {"level": {"ge": "LOUD"}}}, "where.level.ge: expected a level"),
        ({"where": {"extra.kind": None}}, 'where."extra.kind": expected a text, a number or a boolean'),
        ({"sample": 0.1}, "sample: expected a table, found 0.1"),
        ({"sample": {"rat": 0.1, "rate": 1}}, "sample.rat: unknown key; did you mean rate?"),
        ({"sample": {"retry": 0.1, "rate": 1}}, "sample.retry: unknown key; expected one of rate, key"),
        ({"sample": {}}, "sample: expected rate, first or tail in it, without which nothing is left out"),
        ({"sample": {"rate": 0}}, "sample.rate: expected a number above 0 where there is no first or tail, found 0"),
        ({"sample": {"rate": 1.5}}, "sample.rate: expected a number above 0 and up to 1, like 0.1"),
        ({"sample": {"rate": 1e-10}}, "sample.rate: expected a number from 0.000001 on and up to 1"),
        ({"sample": {"rate": 0.1, "key": "exception"}}, "sample.key: expected exception.type or exception.message"),
        ({"sample": {"rate": -0.1}}, "sample.rate: expected a number above 0 and up to 1, like 0.1"),
        ({"sample": {"rate": True}}, "sample.rate: expected a number above 0 and up to 1, like 0.1"),
        ({"sample": {"rate": "0.1"}}, "sample.rate: expected a number above 0 and up to 1, like 0.1"),
        ({"sample": {"rate": 0.1, "keep": "LOUD"}}, "sample.keep: expected a level (NOTSET, TRACE,"),
        ({"sample": {"first": 0}}, "sample.first: expected an integer from 1 to"),
        ({"sample": {"first": 1.5}}, "sample.first: expected an integer from 1 to"),
        ({"sample": {"first": 1, "interval": "1"}}, "sample.interval: expected a duration from 100 ms to 1 day"),
        ({"sample": {"first": 1, "interval": "2 days"}}, "sample.interval: expected a duration from 100 ms to 1 day"),
        ({"sample": {"rate": 0.1, "key": ""}}, "sample.key: expected a name of 1 to 200 characters"),
        ({"sample": {"rate": 0.1, "key": "timestamp"}}, "sample.key: expected another field"),
        ({"sample": {"rate": 0.1, "tail": True}}, "sample.tail: expected key beside it"),
        ({"sample": {"key": "a", "tail": True}}, "sample.tail: expected rate beside it"),
        ({"sample": {"rate": 0.1, "key": "a", "tail": 1}}, "sample.tail: expected true or false, found 1"),
        ({"sample": {"rate": 0.1, "key": "a", "tail": True, "first": 1}}, "sample.first: expected no tail beside it"),
        ({"sample": {"rate": 0.1, "interval": "1 s"}}, "sample.interval: expected first beside it"),
        ({"sample": {"rate": 0.1, "window": "1 s"}}, "sample.window: expected tail beside it"),
        ({"sample": {"rate": 0.1, "max_bytes": "1 MB"}}, "sample.max_bytes: expected tail beside it"),
        ({"sample": {"first": 1, "key": "a"}}, "sample.key: expected rate beside it"),
        (
            {"sample": {"rate": 0.1, "key": "a", "tail": True, "max_bytes": "1 B"}},
            "sample.max_bytes: expected a size from",
        ),
        ({"rotation": "banana"}, 'rotation: expected a size from 1 kB to 1000 TB ("100 MB"), an interval'),
        ({"rotation": "1 B"}, "rotation: expected a size from 1 kB to 1000 TB"),
        ({"rotation": "25:00"}, "rotation: expected"),
        ({"rotation": ["100 MB", "5 apples"]}, "rotation[1]: expected a size"),
        ({"rotation": ["100 MB", 5]}, 'rotation[1]: expected a size ("100 MB"), an interval'),
        ({"rotation": 100}, 'rotation: expected a size ("100 MB"), an interval'),
        ({"rotation": []}, 'rotation: expected a size ("100 MB"), an interval'),
        ({"rotation": ["1 MB"] * 9}, 'rotation: expected a size ("100 MB"), an interval'),
        ({"rotation": "1 day", "retention": "5 apples"}, "retention: expected an age"),
        ({"rotation": "1 day", "retention": ["5 files", "0 files"]}, "retention[1]: expected an age"),
        ({"rotation": "1 day", "compression": "rar"}, 'compression: expected "gz" or "zst", found "rar"'),
        ({"retention": "5 files"}, "retention: expected rotation beside it, found none; alone it would do nothing"),
        ({"compression": "gz"}, "compression: expected rotation beside it, found none; alone it would do nothing"),
        (
            {"queue": {"max_bytes": "1 KiB"}},
            'queue.max_bytes: expected a size from 64 KiB to 1 GiB, like "8 MiB"',
        ),
        (
            {"queue": {"on_full": "spool"}},
            'queue.on_full: expected "block", "drop_newest", "drop_oldest" or "shed_low',
        ),
        ({"queue": 5}, "queue: expected a table, found 5"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_that_names_its_key(write: Write, options: dict[str, Any], line: str) -> None:
    """Key path, what would be right, and what was found: rotation = "banana" and all the others."""
    (found,) = of_sink(write, **options)
    assert found.startswith(line)
    assert found.isprintable() or "…" in found


def test_five_files_are_right() -> None:
    """The retention that an earlier implementation documented and refused."""
    (sink,) = load(None, {"sinks": ["file:x,rotation=1 MB,retention=5 files"]}, {}).sinks
    assert isinstance(sink, FileSink)
    assert sink.retention == ("5 files",)


@pytest.mark.parametrize(
    ("patterns", "line"),
    [
        (["(?=x)"], "redaction.patterns[0]: expected a pattern that RE2 takes, found"),
        (["acct-[0-9]{8}", "("], "redaction.patterns[1]: expected a pattern that RE2 takes, found"),
        ([""], "redaction.patterns[0]: expected"),
        (["x*"], "redaction.patterns[0]: expected a pattern that matches no empty text"),
        (["x|\\b"], "redaction.patterns[0]: expected a pattern that matches no empty text"),
        ("x", "redaction.patterns: expected a list of at most 64 items"),
        (["x"] * 65, "redaction.patterns: expected a list of at most 64 items"),
        ([5], "redaction.patterns[0]: expected a pattern"),
    ],
)
def test_a_pattern_that_is_none_is_reported(write: Write, patterns: object, line: str) -> None:
    """RE2's refusal, and what would mask everything."""
    (found,) = problems(write({"redaction": {"patterns": patterns}}))
    assert found.startswith(line)


def test_everything_wrong_with_sinks_comes_at_once(write: Write) -> None:
    """Whatever kind of check finds it, in whichever table."""
    found = problems(
        write(
            {
                "sinks": [
                    {"type": "file", "rotation": ["banana", "1 MB"], "sample": {"rate": 7, "tail": True}, "forma": "x"},
                    {
                        "type": "console",
                        "where": {"a": {"ge": []}, "level": {"eqq": 1}},
                        "static_fields": {"level": 1},
                        "rename_fields": {"levl": "x"},
                        "sample": {"keep": "LOUD", "interval": "x"},
                        "rotation": "1 MB",
                    },
                ],
                "redaction": {"patterns": ["("]},
            }
        )
    )
    assert sorted(line.partition(": ")[0] for line in found) == sorted(
        "sinks[0].path sinks[0].rotation[0] sinks[0].sample.rate sinks[0].sample.tail sinks[0].forma "
        "sinks[1].where.a.ge sinks[1].where.level.eqq sinks[1].static_fields.level sinks[1].rename_fields.levl "
        "sinks[1].sample sinks[1].sample.keep sinks[1].sample.interval sinks[1].sample.interval sinks[1].rotation "
        "redaction.patterns[0]".split()
    )


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        (
            "app.jsonl",
            "app.20261122T120000.000000Z.jsonl",
            "expected another name than the rotated files of sinks[0] have",
        ),
        (
            "app.jsonl",
            "app.20261122T120000.000000Z.jsonl.gz",
            "expected another name than the rotated files of sinks[0] have",
        ),
        ("app", "app.20261122T120000.000000Z.zst", "expected another name than the rotated files of sinks[0] have"),
        (
            "link/app.jsonl",
            "real/app.20261122T120000.000000Z.jsonl",
            "expected another name than the rotated files of sinks[0] have",
        ),
        ("app.jsonl", "app.jsonl/x", "expected a path that is not below the file of sinks[0]"),
    ],
)
def test_a_sink_takes_no_place_that_another_needs(
    write: Write, tmp_path: Path, first: str, second: str, line: str
) -> None:
    """A file that could be taken for one that another sink has rotated would end like one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    sinks = [{"type": "file", "path": first, "rotation": "1 MB"}, {"type": "file", "path": second}]
    (found,) = problems(write({"sinks": sinks}))
    assert found.startswith(f"sinks[1].path: {line}, found ")


@pytest.mark.parametrize(
    "second", ["app.2026.jsonl", "other/app.20261122T120000.000000Z.jsonl", "app.jsonl.gz", "b.jsonl"]
)
def test_a_name_that_is_only_like_it_is_right(write: Write, second: str) -> None:
    """What no rotation can give a file may stand beside it."""
    sinks = [{"type": "file", "path": "app.jsonl", "rotation": "1 MB"}, {"type": "file", "path": second}]
    assert len(load(write({"sinks": sinks}), {}, {}).sinks) == 2


@pytest.mark.parametrize(
    ("extra", "most"),
    [({}, 255), ({"rotation": "1 MB"}, 231), ({"rotation": "1 MB", "compression": "zst"}, 222)],
)
def test_a_name_leaves_room_for_those_of_rotated_files(write: Write, extra: dict[str, str], most: int) -> None:
    """Else no rotation would ever work, and the file would grow without end; bytes count, not characters."""
    for name in ("x" * (most - 6) + ".jsonl", "é" * (most // 2)):
        assert load(write({"sinks": [{"type": "file", "path": f"logs/{name}", **extra}]}), {}, {}).sinks
        (line,) = of_sink(write, path=f"logs/{name}xx", **extra)
        assert line.startswith(f"path: expected a name of at most {most} bytes")


def test_a_home_directory_is_found(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell reads a file or what follows ``file:``, and nobody means a directory that is called ``~``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for settings in (
        load(write({"sinks": [{"type": "file", "path": "~/app.jsonl"}]}), {}, {}),
        load(None, {"sinks": ["file:~/app.jsonl"]}, {}),
    ):
        (sink,) = settings.sinks
        assert isinstance(sink, FileSink)
        assert sink.path == tmp_path / "app.jsonl"
    (line,) = problems(write({"sinks": [{"type": "file", "path": path} for path in ("~/a", f"{tmp_path}/a")]}))
    assert line.startswith("sinks[1].path: expected another path than that of sinks[0]")
    assert of_sink(write, path="~no-such-user/a") == [
        "path: expected ~/ or ~USER/ of a user who has a home directory, or ./~ for a name that begins so, "
        'found "~no-such-user/a"'
    ]


def test_no_secret_is_shown(write: Write) -> None:
    """What was found is masked in every line, however deep it stood."""
    sink = {
        "type": "console",
        "where": {"url": {"ge": ["http://u:hunter2@h"]}, "a": {"password=hunter2": 1}},
        "sample": {"rate": "token=hunter2"},
        "static_fields": {"password": ["hunter2"]},
        "format": "password=hunter2",
    }
    found = problems(write({"sinks": [sink], "redaction": {"patterns": ["(token=hunter2"]}}))
    assert len(found) >= 6
    assert "hunter2" not in "\n".join(found)


def test_no_secret_of_an_option_is_shown() -> None:
    """An option is repeated in the lines about it, but for what must not be seen."""
    specs = ["console,static_fields.password=hunter2,level=LOUD", "file:a,static_fields.token=hunter2,b.log"]
    found = problems(None, {"sinks": specs})
    assert [line.partition(": ")[0] for line in found] == [
        "--sink file:a,static_fields.token=***,b.log",
        "--sink console,static_fields.password=***,level=LOUD",
    ]


@pytest.mark.parametrize(
    "document",
    [
        {f"key{n}": 1 for n in range(15_000)},
        {"sinks": [{"type": "console", **{f"key{n}": 1 for n in range(15_000)}}]},
        {"sinks": [{"type": "console", "where": {"level": ["INFOO"] * 1000}}]},
        {"sinks": [{"type": "console", "sample": {f"key{n}": 1 for n in range(15_000)}}]},
    ],
    ids=["top", "sink", "where", "sample"],
)
def test_a_flood_of_problems_is_told_in_part(write: Write, document: dict[str, Any]) -> None:
    """The first hundred by their keys, and how many more: a running collector reads such a file between two turns."""
    found = problems(write(document))
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1].startswith("and ")
    assert found[-1].endswith(" more problems")


def test_sinks_are_bounded(write: Write) -> None:
    """32 are taken, one more is refused without a look at any of them."""
    assert len(load(write({"sinks": [{"type": "console"}] * 32}), {}, {}).sinks) == 32
    (line,) = problems(write({"sinks": [{"type": "console", "zzz": 1}] * 33}))
    assert line.startswith("sinks: expected a list of 1 to 32 tables")


def test_a_console_takes_any_format() -> None:
    """The argument of a console is its format."""
    (sink,) = load(None, {"sinks": ["console:logfmt"]}, {}).sinks
    assert isinstance(sink, ConsoleSink)
    assert sink.format == "logfmt"
