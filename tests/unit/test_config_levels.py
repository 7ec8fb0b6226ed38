"""The sections [levels], [metrics] and bus.allow, what deployments set already, and where each setting came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbus.collectors.configuration.kinds import MAX_LEVELS, level_name
from logbus.collectors.configuration.read import DEFAULT_ORIGIN, ConsoleSink, FileSink, load, read
from logbus.errors import ConfigurationError
from tests.refused import Write, json_writer, problems

pytestmark = pytest.mark.usefixtures("working_directory")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file as JSON, and gives its path."""
    return json_writer(tmp_path)


def test_levels_are_selectors_and_numbers(write: Write) -> None:
    """Names in any case and integers, under components, dotted names, and "default"; none at all by default."""
    path = write({"levels": {"default": "info", "rotator": "DEBUG", "proxywhirl.cache": 35, "x": " trace "}})
    assert load(path, {}, {}).levels == {"default": 20, "rotator": 10, "proxywhirl.cache": 35, "x": 5}
    assert load(None, {}, {}).levels == {}


def test_levels_are_merged_selector_by_selector(write: Write) -> None:
    """Option over variable over file, each selector for itself."""
    path = write({"levels": {"default": "INFO", "rotator": "INFO", "health": "ERROR"}})
    environ = {"LOGBUS_LEVEL": "WARNING", "LOGBUS_LEVELS__ROTATOR": "DEBUG"}
    assert load(path, {}, environ).levels == {"default": 30, "rotator": 10, "health": 40}
    assert load(path, {"levels": {"default": "5"}}, environ).levels == {"default": 5, "rotator": 10, "health": 40}


def test_levels_can_not_be_changed() -> None:
    """The table is frozen like every other setting, given or not."""
    for settings in (load(None, {}, {}), load(None, {}, {"LOGBUS_LEVEL": "INFO"})):
        with pytest.raises(TypeError):
            settings.levels["x"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("levels", "line"),
    [
        (3, "levels: expected a table of at most 128 levels, each under a component or a logger's dotted name"),
        ({"rotator": "LOUD"}, "levels.rotator: expected a level (NOTSET, TRACE,"),
        ({"rotator": 101}, "levels.rotator: expected a level"),
        ({"rotator": True}, "levels.rotator: expected a level"),
        ({"rotator": "\u0131nfo"}, "levels.rotator: expected a level"),
        ({"rotator": "info\n"}, "levels.rotator: expected a level"),
        ({"rotator": None}, "levels.rotator: expected a level"),
        ({"rotator": {"level": "INFO"}}, "levels.rotator: expected a level"),
        ({"a..b": "INFO"}, 'levels."a..b": expected a component or a logger\'s dotted name'),
        ({"": "INFO"}, 'levels."": expected a component or a logger\'s dotted name'),
        ({"a b": "INFO"}, 'levels."a b": expected a component or a logger\'s dotted name'),
        ({"a" * 201: "INFO"}, 'levels."aaaa'),
        ({f"x{n}": 1 for n in range(MAX_LEVELS + 1)}, "levels: expected a table of at most 128 levels"),
    ],
)
def test_a_wrong_level_is_reported_by_its_key(write: Write, levels: object, line: str) -> None:
    """One line for each, with what would be right."""
    (problem,) = problems(write({"levels": levels}))
    assert problem.startswith(line)


def test_too_many_levels_together_are_refused(write: Write) -> None:
    """A file and a variable that are right by themselves may be one level too many together."""
    path = write({"levels": {f"x{n}": 1 for n in range(MAX_LEVELS)}})
    assert len(load(path, {}, {}).levels) == MAX_LEVELS
    (problem,) = problems(path, LOGBUS_LEVELS__Y="INFO")
    assert problem.startswith("levels: expected a table of at most 128 levels")


def test_users_are_names_and_uids(write: Write) -> None:
    """bus.allow is a list of both; nobody by default."""
    assert load(write({"bus": {"allow": ["alice", 1001, 0]}}), {}, {}).bus.allow == ("alice", 1001, 0)
    assert load(None, {}, {}).bus.allow == ()
    assert load(None, {}, {"LOGBUS_BUS__ALLOW": '["bob"]'}).bus.allow == ("bob",)


@pytest.mark.parametrize("user", ["", "1001", "a b", "a:b", "a/b", -1, 2**32 - 1, True, 1.0, None, ["x"]])
def test_what_is_no_user_is_refused(write: Write, user: object) -> None:
    """A uid in quotes too: a user's name may consist of digits, and be another one."""
    (problem,) = problems(write({"bus": {"allow": ["alice", user]}}))
    assert problem.startswith("bus.allow[1]: expected the name of a user, or a uid (a number without quotes), found")


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "localhost:1", "[::1]:65535", "0.0.0.0:80", "a-b.example:80"])
def test_an_address_of_metrics(write: Write, address: str) -> None:
    """HOST:PORT; none by default, and the option wins."""
    assert load(write({"metrics": {"address": address}}), {}, {}).metrics.address == address
    assert load(None, {}, {}).metrics.address is None
    overrides = {"metrics": {"address": "127.0.0.1:1"}}
    assert load(None, overrides, {"LOGBUS_METRICS__ADDRESS": address}).metrics.address == "127.0.0.1:1"


@pytest.mark.parametrize(
    "address",
    ["", "9464", ":9464", "h:", "h:0", "h:65536", "h:x", "http://h:1", "u@h:1", "h:1/x", "::1:80x", 9464, "h h:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(write: Write, address: object) -> None:
    """Anything but HOST:PORT is reported by its key."""
    (problem,) = problems(write({"metrics": {"address": address}}))
    assert problem.startswith('metrics.address: expected HOST:PORT, like "127.0.0.1:9464", found')


def test_what_proxywhirl_deployments_set_counts_last(write: Write, tmp_path: Path) -> None:
    """PROXYWHIRL_LOG_LEVEL and PROXYWHIRL_LOG_FILE stand above the built-in defaults, and below all else."""
    environ = {"PROXYWHIRL_LOG_LEVEL": "warning", "PROXYWHIRL_LOG_FILE": "deployed.jsonl"}
    settings = load(None, {}, environ)
    assert settings.levels == {"default": 30}
    console, file = settings.sinks
    assert isinstance(console, ConsoleSink)
    assert isinstance(file, FileSink)
    assert (file.name, file.path, file.format) == ("file", tmp_path / "deployed.jsonl", "json")
    path = write({"levels": {"default": "INFO"}, "sinks": [{"type": "file", "path": "own"}]})
    settings = load(path, {}, environ)
    assert settings.levels == {"default": 20}
    (file,) = settings.sinks
    assert isinstance(file, FileSink)
    assert file.path.name == "own"
    assert load(None, {"sinks": ["console"]}, environ).sinks == (ConsoleSink(),)
    assert load(None, {}, {"PROXYWHIRL_LOG_LEVEL": "", "PROXYWHIRL_LOG_FILE": ""}) == load(None, {}, {})


def test_each_setting_remembers_where_it_came_from(write: Write) -> None:
    """A file, a variable, an option, or the default: key by key, and sinks as a whole."""
    path = write(
        {"bus": {"allow": [1]}, "levels": {"a.b": 5, "c": 5}, "sinks": [{"type": "console", "color": "never"}]}
    )
    environ = {"LOGBUS_LEVELS__C": "6", "LOGBUS_ENDPOINT": "ipc:///e", "PROXYWHIRL_LOG_LEVEL": "INFO"}
    found = read(path, {"metrics": {"address": "h:1"}, "bus": {"control": "ipc:///c"}}, environ)
    origins = {
        "bus.endpoint": "LOGBUS_ENDPOINT",
        "bus.control": "--control",
        "bus.allow": str(path),
        'levels."a.b"': str(path),
        "levels.c": "LOGBUS_LEVELS__C",
        "levels.default": "PROXYWHIRL_LOG_LEVEL",
        "sinks[0].type": str(path),
        "sinks[0].color": str(path),
        "metrics.address": "--metrics",
    }
    assert dict(found.origins) == origins
    assert found.origin("sinks[0].name") == found.origin("redaction.fields") == DEFAULT_ORIGIN
    option = read(path, {"sinks": ["file:x,name=y"]}, environ)
    assert {key for key in option.origins if key.startswith("sinks")} == {
        "sinks[0].type",
        "sinks[0].path",
        "sinks[0].name",
    }
    assert option.origin("sinks[0].path") == "--sink file:x,name=y"
    deployed = read(None, {}, {"PROXYWHIRL_LOG_FILE": "f"})
    assert deployed.origin("sinks[1].path") == "PROXYWHIRL_LOG_FILE"


def test_a_configuration_is_read_again_from_the_same_sources(write: Write, tmp_path: Path) -> None:
    """The file may have changed, appeared or gone; options and variables are as strong as they were."""
    path = write({"levels": {"x": "INFO", "y": "INFO"}})
    first = read(path, {"levels": {"default": "ERROR"}}, {"LOGBUS_LEVELS__Y": "DEBUG"})
    assert (first.file, first.again().sha256) == (path, first.sha256)
    write({"levels": {"x": "DEBUG", "y": "ERROR", "default": "INFO"}})
    assert first.again().settings.levels == {"x": 10, "y": 10, "default": 40}
    assert first.again().sha256 != first.sha256
    path.unlink()
    with pytest.raises(ConfigurationError, match="can't be read"):
        first.again()
    nothing = read(None, {}, {})
    assert (nothing.file, nothing.sha256, nothing.chosen()) == (None, None, None)
    (tmp_path / "logbus.toml").write_text("[levels]\ndefault = 5\n")
    found = nothing.again()
    assert (found.file, found.settings.levels) == (Path("logbus.toml"), {"default": 5})
    (tmp_path / "logbus.toml").unlink()
    assert found.chosen() == Path("logbus.toml")
    with pytest.raises(ConfigurationError, match=r"logbus\.toml: can't be read"):
        found.again()


def test_a_file_that_was_cut_to_nothing_is_no_configuration(tmp_path: Path) -> None:
    """A full disk leaves an empty file: the patterns that were in it stay in force; a comment is meant as it stands."""
    path = tmp_path / "c.toml"
    path.write_text("redaction.patterns = ['acct-[0-9]+']")
    found = read(path, {}, {})
    path.write_text("")
    with pytest.raises(ConfigurationError, match=r"c\.toml: expected settings, or a comment .*: was it cut off\?"):
        found.again()
    assert read(path, {}, {}).again().settings.redaction.patterns == ()
    path.write_text("# nothing\n")
    assert found.again().settings.redaction.patterns == ()


def test_a_level_has_its_usual_name() -> None:
    """What somebody would write: WARNING and not WARN, and a number where there is no name."""
    assert [level_name(level) for level in (0, 10, 30, 50, 33)] == ["NOTSET", "DEBUG", "WARNING", "CRITICAL", 33]
