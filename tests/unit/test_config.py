"""The settings of a collector: defaults, precedence, and every mistake by its key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from logbus.collectors.configuration import read as config
from logbus.collectors.configuration.read import Bus, ConsoleSink, FileSink, Settings, load
from logbus.collectors.redaction.redact import DEFAULT_FIELDS
from logbus.errors import ConfigurationError
from tests.refused import problems

pytestmark = pytest.mark.usefixtures("working_directory")

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file that nobody finds by its name, and gives its path."""

    def write_file(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return path

    return write_file


def test_with_nothing_said_a_console_and_a_json_file(tmp_path: Path) -> None:
    """The defaults: console, ./logs/logbus.jsonl, durability none, the built-in redaction."""
    settings = load(None, {}, {})
    console, file = settings.sinks
    assert isinstance(console, ConsoleSink)
    assert (console.name, console.stream, console.level, console.components) == ("console", "stdout", 0, ())
    assert isinstance(file, FileSink)
    assert (file.name, file.path, file.format) == ("file", tmp_path / "logs" / "logbus.jsonl", "json")
    assert settings.bus == Bus(endpoint=None, control=None, durability="none")
    assert (file.rotation, file.retention, file.compression) == (("100 MB",), ("10 files",), "gz")
    assert settings.redaction.fields == tuple(DEFAULT_FIELDS)


def test_a_file_that_somebody_names_is_rotated_only_when_told() -> None:
    """Only the file of a start without any configuration, and the one that deployments name, has rules of its own."""
    (file,) = load(None, {"sinks": ["file:x"]}, {}).sinks
    assert isinstance(file, FileSink)
    assert (file.rotation, file.retention, file.compression) == ((), (), None)
    deployed = load(None, {}, {"PROXYWHIRL_LOG_FILE": "x"}).sinks[1]
    assert isinstance(deployed, FileSink)
    assert (deployed.rotation, deployed.retention, deployed.compression) == (("100 MB",), ("10 files",), "gz")


def test_a_whole_file_is_read(write: Write, tmp_path: Path) -> None:
    """Every key of this version arrives, typed and checked."""
    settings = load(
        write(
            """
            [bus]
            endpoint = "ipc:///run/x/records"
            control = "tcp://localhost:5557"
            durability = "none"
            [[sinks]]
            type = "console"
            name = "eyes"
            format = "text"
            stream = "stderr"
            color = "never"
            level = "warning"
            exclude_components = ["httpx", "proxywhirl.cache"]
            [[sinks]]
            type = "file"
            name = "main"
            path = "logs/p.jsonl"
            format = "text"
            level = 25
            components = ["rotator"]
            [redaction]
            fields = ["pin"]
            """
        ),
        {},
        {},
    )
    assert settings == Settings(
        bus=Bus(endpoint="ipc:///run/x/records", control="tcp://127.0.0.1:5557"),
        sinks=(
            ConsoleSink(
                name="eyes",
                format="text",
                stream="stderr",
                color="never",
                level=30,
                exclude_components=("httpx", "proxywhirl.cache"),
            ),
            FileSink(name="main", path=tmp_path / "logs/p.jsonl", format="text", level=25, components=("rotator",)),
        ),
        redaction=config.Redaction(fields=("pin",)),
    )


def test_json_says_the_same_as_toml(write: Write, tmp_path: Path) -> None:
    """A JSON file with the same keys makes equal settings."""
    toml = write('[bus]\nendpoint = "ipc:///r"\n[[sinks]]\ntype = "file"\npath = "x"\n')
    other = tmp_path / "settings.json"
    other.write_text(json.dumps({"bus": {"endpoint": "ipc:///r"}, "sinks": [{"type": "file", "path": "x"}]}))
    assert load(toml, {}, {}) == load(other, {}, {})


def test_settings_can_not_be_changed() -> None:
    """Settings are frozen, at every depth."""
    settings = load(None, {}, {})
    for table, key in ((settings, "sinks"), (settings.bus, "endpoint"), (settings.sinks[0], "level")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(table, key, None)


def test_the_command_line_wins_over_the_environment_over_the_file(write: Write) -> None:
    """Of one key in several sources the strongest counts; keys of [bus] are merged one by one."""
    file = write('[bus]\nendpoint = "ipc:///file"\ncontrol = "ipc:///file.c"\n[redaction]\nfields = ["a"]\n')
    assert load(file, {}, {}).bus == Bus(endpoint="ipc:///file", control="ipc:///file.c")
    environ = {
        "LOGBUS_ENDPOINT": "ipc:///env",
        "LOGBUS_REDACTION__FIELDS": '["b", "c"]',
        "LOGBUS_BUS__DURABILITY": "none",
    }
    assert load(file, {}, environ).bus == Bus(endpoint="ipc:///env", control="ipc:///file.c")
    assert load(file, {}, environ).redaction.fields == ("b", "c")
    overrides = {"bus": {"endpoint": "ipc:///option"}}
    assert load(file, overrides, environ).bus == Bus(endpoint="ipc:///option", control="ipc:///file.c")


def test_the_sinks_of_the_strongest_source_count_alone(write: Write) -> None:
    """Lists of sinks are not mixed: file, then environment, then command line replaces them as a whole."""
    file = write('[[sinks]]\ntype = "file"\npath = "a"\n')
    environ = {"LOGBUS_SINKS": '[{"type": "file", "path": "b"}]'}
    names = [
        [sink.path.name for sink in load(file, overrides, given).sinks if isinstance(sink, FileSink)]
        for overrides, given in (({}, {}), ({}, environ), ({"sinks": ["file:c", "file:d"]}, environ))
    ]
    assert names == [["a"], ["b"], ["c", "d"]]


@pytest.mark.parametrize("named", [True, False])
def test_the_file_is_the_named_one_or_the_one_that_lies_there(tmp_path: Path, named: bool) -> None:
    """LOGBUS_CONFIG names the file; without it ./logbus.toml is read."""
    path = tmp_path / ("other.toml" if named else "logbus.toml")
    path.write_text('[bus]\nendpoint = "ipc:///found"\n')
    assert load(None, {}, {"LOGBUS_CONFIG": str(path)} if named else {}).bus.endpoint == "ipc:///found"


def test_variables_of_workers_are_no_mistake() -> None:
    """What only a worker reads, and what is empty, does not disturb a collector."""
    environ = {"LOGBUS_LEVEL": "", "LOGBUS_COMPONENT": "y", "LOGBUS_WORKER": "w", "LOGBUS_SINKS": "", "LOGBUSY": "1"}
    assert load(None, {}, environ) == load(None, {}, {})


def test_sinks_without_a_name_are_numbered_around_those_with_one() -> None:
    """A default name is the type, numbered from the second on, and never one that somebody else has."""
    overrides = {"sinks": ["file:a", "console", "file:b", "file:c,name=file-2", "console:json", "file:d"]}
    names = [sink.name for sink in load(None, overrides, {}).sinks]
    assert names == ["file", "console", "file-3", "file-2", "console-2", "file-4"]


def test_the_console_is_text_for_people_and_json_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console sink without a format writes text on a terminal and JSON anywhere else, by its own stream."""
    monkeypatch.setattr("os.isatty", lambda descriptor: descriptor == 2)
    assert ConsoleSink().format == "json"
    assert ConsoleSink(stream="stderr").format == "text"
    assert ConsoleSink(stream="stderr", format="json").format == "json"


def test_colour_minds_the_setting_then_the_environment_then_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR and FORCE_COLOR decide where the setting is "auto", the terminal where they are silent."""
    monkeypatch.setattr("os.isatty", lambda descriptor: descriptor == 2)
    assert ConsoleSink(stream="stderr").colored({})
    assert not ConsoleSink().colored({})
    assert not ConsoleSink(stream="stderr").colored({"NO_COLOR": "1"})
    assert ConsoleSink().colored({"FORCE_COLOR": "1"})
    assert not ConsoleSink().colored({"FORCE_COLOR": "1", "NO_COLOR": "1"})
    assert ConsoleSink(color="always").colored({"NO_COLOR": "1"})
    assert not ConsoleSink(color="never", stream="stderr").colored({"FORCE_COLOR": "1"})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[bus]\ndurability = 'process'", 'bus.durability: "process" is not available yet'),
        ("[bus]\ndurability = 'collector'", 'bus.durability: "collector" is not available yet'),
        ("[[sinks]]\ntype = 'nats'\nurl = 'x'", 'sinks[0].type: "nats" is not available yet'),
    ],
)
def test_what_a_later_version_builds_is_not_available_yet(write: Write, text: str, line: str) -> None:
    """Each key and value of the contract that is not built is refused in those words, and nothing else is said."""
    assert problems(write(text)) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[bsu]", "bsu: unknown key; did you mean bus?"),
        ("zzz = 1", "zzz: unknown key; expected one of bus, levels, sinks, redaction, metrics"),
        ("[bus]\nendpoints = 'x'", "bus.endpoints: unknown key; did you mean endpoint?"),
        ('[bus]\n"a b" = 1', 'bus."a b": unknown key; expected one of endpoint, control, durability'),
        ("bus = 3", "bus: expected a table, found 3"),
        ("sinks = 'file'", 'sinks: expected a list of 1 to 32 tables, each a sink with its type, found "file"'),
        ("sinks = []", "sinks: expected a list of 1 to 32 tables, each a sink with its type, found an empty list"),
        ("sinks = [1]", "sinks[0]: expected a table, a sink with its type, found 1"),
        ("[[sinks]]\npath = 'x'", 'sinks[0].type: missing; expected one of "console", "file", "syslog", "http", or'),
        (
            "[[sinks]]\ntype = 'fiel'\npth = 1",
            'sinks[0].type: expected one of console, file, syslog, http, or "package.module:Name", found "fiel"; '
            "did you mean file?",
        ),
        (
            "[[sinks]]\ntype = 7",
            'sinks[0].type: expected one of "console", "file", "syslog", "http", or the name of a sink that',
        ),
        ("[[sinks]]\ntype = 'otlp'", 'sinks[0].type: expected type = "http" with body = "otlp", found "otlp"'),
        (
            "[[sinks]]\ntype = 'file'\npath = 'x'\nspool = '1 MiB'",
            'sinks[0].spool: unknown key here; a sink of type "syslog" or "http" has it, or one that is installed',
        ),
        ("[[sinks]]\ntype = 'console'\noptions = {}", "sinks[0].options: unknown key here; one that is installed has"),
        ("[[sinks]]\ntype = 'file'", 'sinks[0].path: missing; expected the path of a file, like "logs/app.jsonl"'),
        ("[[sinks]]\ntype = 'console'\npath = 'x'", 'sinks[0].path: unknown key here; a sink of type "file" has it'),
        ("[[sinks]]\ntype = 'console'\nformat = 'jsn'", "sinks[0].format: expected one of json, logfmt, text, or"),
        ("[[sinks]]\ntype = 'console'\nstream = 1", 'sinks[0].stream: expected "stdout" or "stderr", found 1'),
        ("[[sinks]]\ntype = 'console'\nname = 'a/b'", "sinks[0].name: expected a name of 1 to 64 characters"),
        ("[[sinks]]\ntype = 'console'\nlevel = 'LOUD'", "sinks[0].level: expected a level (NOTSET, TRACE,"),
        ("[[sinks]]\ntype = 'console'\nlevel = true", "sinks[0].level: expected a level (NOTSET, TRACE,"),
        ("[[sinks]]\ntype = 'console'\nlevel = 101", "sinks[0].level: expected a level (NOTSET, TRACE,"),
        ("[[sinks]]\ntype = 'console'\ncomponents = []", "sinks[0].components: expected a list of 1 to 128 items"),
        ("[[sinks]]\ntype = 'console'\ncomponents = 'rotator'", "sinks[0].components: expected a list of 1 to 128"),
        ("[[sinks]]\ntype = 'console'\ncomponents = ['a..b']", "sinks[0].components[0]: expected a component or"),
        ("[redaction]\nfields = 'pin'", "redaction.fields: expected a list of at most 512 items, each the name"),
        ("[redaction]\nfields = ['pin', ' ']", "redaction.fields[1]: expected the name of a key"),
        ("[redaction]\nfields = ['-_-']", "redaction.fields[0]: expected the name of a key, with a letter or digit"),
        ("[bus]\nendpoint = 'http://x'", "bus.endpoint: expected ipc://PATH or tcp://127.0.0.1:PORT, found"),
        ("[bus]\ncontrol = 'tcp://10.0.0.1:5'", "bus.control: tcp beyond loopback needs CURVE keys, which are not"),
        ("[bus]\nendpoint = 1.5", "bus.endpoint: expected a URL, ipc://PATH or tcp://127.0.0.1:PORT, found 1.5"),
        *((f"[[sinks]]\ntype = 'file'\npath = {path}", "sinks[0].path: expected the path of a file") for path in (
            "''", "'logs/'", "'..'", "'/'", '"a\\u0000b"', "3", "['x']",
        )),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_by_its_key_and_what_would_be_right(write: Write, text: str, line: str) -> None:
    """One mistake makes one problem, which begins with the path of its key."""
    (problem,) = problems(write(text))
    assert problem.startswith(line)


def test_all_problems_of_a_file_come_at_once(write: Write) -> None:
    """Nothing hides behind an earlier mistake, not even what two sinks can't share."""
    file = write(
        """
        [bus]
        durability = "process"
        contrl = "x"
        [[sinks]]
        type = "file"
        level = "LOUD"
        rotation = "banana"
        name = "x"
        [[sinks]]
        type = "console"
        name = "x"
        stream = "nowhere"
        [[sinks]]
        type = "nats"
        [redaction]
        fields = 3
        [levels]
        default = "LOUD"
        "a..b" = 5
        [metrics]
        address = 9464
        """
    )
    with pytest.raises(ConfigurationError) as caught:
        load(file, {}, {})
    assert sorted(problem.partition(": ")[0] for problem in caught.value.problems) == sorted(
        "bus.durability bus.contrl sinks[0].level sinks[0].path sinks[0].rotation sinks[1].stream sinks[1].name "
        'sinks[2].type redaction.fields levels.default levels."a..b" metrics.address'.split()
    )
    assert all(line.startswith(f"{file}: ") for line in str(caught.value).splitlines())


def test_problems_of_all_sources_come_at_once_each_with_its_source(write: Write) -> None:
    """A mistake is reported under the file, the variable or the option in which it stands, also if overridden."""
    file = write("[bus]\nendpoint = 5\n")
    found = problems(
        file,
        {"bus": {"endpoint": "ipc:///fine", "control": "x://"}, "sinks": ["console", "file", "file:a,b"]},
        LOGBUS_ENDPOINT="y://",
        LOGBUS_SINKS='[{"type": "console", "level": "LOUD"}]',
    )
    assert [line.partition(": expected")[0].partition(": missing")[0] for line in found] == [
        f"{file}: bus.endpoint",
        "LOGBUS_ENDPOINT: bus.endpoint",
        "LOGBUS_SINKS: sinks[0].level",
        "--sink file:a,b",
        "--control: bus.control",
        "--sink file: sinks[1].path",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("LOGBUS_SINK", "[]", "LOGBUS_SINK: unknown variable; did you mean LOGBUS_SINKS?"),
        ("LOGBUS_LEVLE", "DEBUG", "LOGBUS_LEVLE: unknown variable; did you mean LOGBUS_LEVEL?"),
        ("LOGBUS_REDACTION", "{}", "LOGBUS_REDACTION: unknown variable; did you mean LOGBUS_REDACTION__KEY?"),
        (
            "LOGBUS_REDACTION_PATTERNS",
            "[]",
            "LOGBUS_REDACTION_PATTERNS: unknown variable; did you mean LOGBUS_REDACTION__PATTERNS?",
        ),
        ("LOGBUS_SINKS_0", "x", "LOGBUS_SINKS_0: unknown variable; did you mean LOGBUS_SINKS?"),
        ("LOGBUS_SINKS__0", "x", "LOGBUS_SINKS__0: unknown variable; LOGBUS_SINKS is the one that sets sinks"),
        ("LOGBUS_BUS__CONTROL", "x", "LOGBUS_BUS__CONTROL: unknown variable; LOGBUS_CONTROL is the one"),
        (
            "LOGBUS_BUS__DURABILTY",
            "none",
            "LOGBUS_BUS__DURABILTY: bus.durabilty: unknown key; did you mean durability?",
        ),
        ("LOGBUS_BUS__DURABILITY", "process", 'LOGBUS_BUS__DURABILITY: bus.durability: "process" is not available yet'),
        (
            "LOGBUS_LEVELS__DEFAULT",
            "INFO",
            "LOGBUS_LEVELS__DEFAULT: unknown variable; LOGBUS_LEVEL is the one that sets",
        ),
        ("LOGBUS_LEVELS", "{}", "LOGBUS_LEVELS: unknown variable; did you mean LOGBUS_LEVEL?"),
        ("LOGBUS_LEVEL", "loud", "LOGBUS_LEVEL: levels.default: expected a level"),
        ("LOGBUS_LEVELS__ROTATOR", "loud", "LOGBUS_LEVELS__ROTATOR: levels.rotator: expected a level"),
        ("LOGBUS_METRICS__ADDRESS", "9464", "LOGBUS_METRICS__ADDRESS: metrics.address: expected HOST:PORT"),
        ("PROXYWHIRL_LOG_LEVEL", "loud", "PROXYWHIRL_LOG_LEVEL: levels.default: expected a level"),
        ("PROXYWHIRL_LOG_FILE", "logs/", "PROXYWHIRL_LOG_FILE: sinks[1].path: expected the path of a file"),
        ("LOGBUS_X__Y", "1", "LOGBUS_X__Y: x: unknown key; expected one of bus, levels, sinks, redaction, metrics"),
        ("LOGBUS_X\udcff__Y", "1", 'LOGBUS_X\\udcff__Y: "x\\\\udcff": unknown key'),
        ("LOGBUS_SINKS", "[{", "LOGBUS_SINKS: sinks: not valid JSON: "),
        ("LOGBUS_SINKS", "file", "LOGBUS_SINKS: sinks: expected a list"),
        ("LOGBUS_REDACTION__FIELDS", "pin", "LOGBUS_REDACTION__FIELDS: redaction.fields: expected a list"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, line: str) -> None:
    """A problem in the environment begins with the variable."""
    (problem,) = problems(None, {}, **{variable: value})
    assert problem.startswith(line)


@pytest.mark.parametrize("other", ["logs/a", "./logs/../logs/a", "link"])
def test_two_sinks_on_one_file_are_refused(tmp_path: Path, other: str) -> None:
    """The lines of two sinks would mix: one path, however it is written, belongs to one sink."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to("logs/a")
    (problem,) = problems(None, {"sinks": ["file:logs/a", f"file:{other}"]})
    assert problem.startswith(f"--sink file:{other}: sinks[1].path: expected another path than that of sinks[0]")


def test_two_sinks_of_one_name_are_refused() -> None:
    """A name is a sink's row in the ledger and can't be shared."""
    (problem,) = problems(None, {"sinks": ["console,name=x", "file:a,name=x"]})
    assert 'sinks[1].name: expected another name than that of sinks[0], found "x"' in problem


@pytest.mark.parametrize(
    ("endpoint", "control"),
    [
        ("ipc:///run/x", "ipc:///run/x"),
        ("ipc:///run/x.pub", "ipc:///run/x"),
        ("tcp://127.0.0.1:5556", "tcp://localhost:5555"),
    ],
)
def test_the_record_endpoint_is_neither_the_control_endpoint_nor_its_neighbour(endpoint: str, control: str) -> None:
    """The control endpoint and the PUB socket beside it need addresses of their own, whatever source named them."""
    (problem,) = problems(None, {"bus": {"control": control}}, LOGBUS_ENDPOINT=endpoint)
    assert problem.startswith("bus.control: expected another address than bus.endpoint")


def test_a_file_that_can_not_be_read_is_a_problem_of_that_file(tmp_path: Path) -> None:
    """A named file that is missing is an error with the file as its source, no reason to take the defaults."""
    with pytest.raises(ConfigurationError, match=r"gone\.toml: can't be read: No such file or directory") as caught:
        load(tmp_path / "gone.toml", {}, {})
    assert caught.value.source == str(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    "text",
    [
        '[bus]\nendpoint = "tcp://user:hunter2@10.0.0.1:99"',
        f'[bus]\nendpoint = "tcp://user:{"x" * 70}hunter2@10.0.0.1:99"',
        '[metrics]\naddress = "user:hunter2@host:99999"',
        '[levels]\n"rotator" = "token=hunter2"',
    ],
)
def test_a_problem_shows_no_secret(write: Write, text: str) -> None:
    """What was found is shown masked: problems go to the log, and into the status."""
    with pytest.raises(ConfigurationError) as raised:
        load(write(text), environ={})
    assert "***" in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert "x" * 10 not in str(raised.value)
