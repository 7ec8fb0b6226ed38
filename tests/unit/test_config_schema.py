"""The schema of the configuration file, and the starter file that it describes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from logbus.collectors.configuration.problems import VALUES_NOT_YET
from logbus.collectors.configuration.read import load
from logbus.collectors.configuration.schema import configuration_schema
from logbus.collectors.configuration.starter import STARTER

VALIDATOR = Draft202012Validator(configuration_schema())

EXAMPLES: list[dict[str, Any]] = [
    {},
    {"bus": {"endpoint": None, "control": "tcp://127.0.0.1:5", "durability": "none", "allow": ["alice", 7]}},
    {"levels": {"default": "info", "proxywhirl.cache": 7, "x": "007"}},
    {"sinks": [{"type": "console", "color": "never"}, {"type": "file", "path": "x", "components": ["a.b"]}]},
    {"redaction": {"fields": [], "patterns": ["acct-[0-9]{8}"]}, "metrics": {"address": "[::1]:9464"}},
    {"sinks": [{"type": "file", "path": "x", "rotation": ["1 MB", "00:00"], "retention": "5 files"}]},
    {"sinks": [{"type": "console", "where": None, "sample": None, "rename_fields": {}, "static_fields": {"a": 1.5}}]},
    {"sinks": [{"type": "console", "where": {"status_code": {"ge": 500}, "strategy": ["a"], "extra.kind": "x"}}]},
    {"sinks": [{"type": "console", "where": [{"extra": {"kind": {"exists": True}}}, {"level": "ERROR"}]}]},
    {"sinks": [{"type": "console", "sample": {"rate": 0, "key": "k", "keep": "error", "tail": True, "window": "9 s"}}]},
    {"sinks": [{"type": "console", "sample": {"first": 1, "interval": "1 min", "rate": 1}}]},
    {"sinks": [{"type": "console", "queue": {"max_bytes": "1 MiB", "on_full": "block"}}]},
    {"sinks": [{"type": "syslog", "address": "udp://[::1]", "facility": 16, "protocol": "rfc3164", "format": "json"}]},
    {"sinks": [{"type": "syslog", "address": "/dev/log", "app_name": "x", "max_message": "1 KiB", "spool": "1 MiB"}]},
    {"sinks": [{"type": "http", "url": "http://h/in", "batch": {"max_delay": "0 s"}, "retry": {"statuses": [429]}}]},
    {
        "sinks": [
            {"type": "http", "url": "http://h", "body": "loki", "labels": {"job": "x"}, "auth": {"bearer": "${A}"}}
        ]
    },
    {"sinks": [{"type": "http", "url": "https://h", "headers": {"X-Key": "a b"}, "tls": {"ca": "/c"}, "format": None}]},
    {"sinks": [{"type": "tests.plugin_sinks:Kept", "options": {"path": "${HOME}/x"}, "spool": None}]},
]
WRONG: list[dict[str, Any]] = [
    {"bsu": {}},
    {"bus": {"durability": "process"}},
    {"bus": {"allow": ["1001"]}},
    {"levels": {"a..b": "INFO"}},
    {"levels": {"a": "LOUD"}},
    {"levels": {"a": 101}},
    {"sinks": []},
    {"sinks": [{"path": "x"}]},
    {"sinks": [{"type": "file"}]},
    {"sinks": [{"type": "file", "path": "x", "stream": "stdout"}]},
    {"sinks": [{"type": "console", "rotation": "1 MB"}]},
    {"sinks": [{"type": "file", "path": "x", "rotation": []}]},
    {"sinks": [{"type": "file", "path": "x", "compression": "rar"}]},
    {"sinks": [{"type": "console", "where": []}]},
    {"sinks": [{"type": "console", "where": {}}]},
    {"sinks": [{"type": "console", "where": {"a": None}}]},
    {"sinks": [{"type": "console", "sample": {"rate": 1.1}}]},
    {"sinks": [{"type": "console", "sample": {"first": 0}}]},
    {"sinks": [{"type": "console", "sample": {"rat": 0.1}}]},
    {"sinks": [{"type": "console", "static_fields": {"a": [1]}}]},
    {"sinks": [{"type": "console", "rename_fields": {"a": 1}}]},
    {"sinks": [{"type": "console"}] * 33},
    {"redaction": {"patterns": "x"}},
    {"sinks": [{"type": "syslog"}]},
    {"sinks": [{"type": "syslog", "address": "/dev/log", "facility": 24}]},
    {"sinks": [{"type": "syslog", "address": "/dev/log", "batch": {}}]},
    {"sinks": [{"type": "http"}]},
    {"sinks": [{"type": "http", "url": "ftp://h"}]},
    {"sinks": [{"type": "http", "url": "http://h", "body": "xml"}]},
    {"sinks": [{"type": "http", "url": "http://h", "retry": {"statuses": [200]}}]},
    {"sinks": [{"type": "http", "url": "http://h", "queue": {"on_full": "spool"}}]},
    {"sinks": [{"type": "http", "url": "http://h", "tls": {"verify": False}}]},
    {"sinks": [{"type": "http", "url": "http://h", "headers": {"A": 5}}]},
    {"sinks": [{"type": "file", "path": "x", "spool": "1 MiB"}]},
    {"sinks": [{"type": "console", "components": []}]},
    {"metrics": {"address": 9464}},
]


def test_the_schema_is_one() -> None:
    """It is a right schema of draft 2020-12, and a new document at each call."""
    schema = configuration_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    schema.clear()
    assert configuration_schema()
    json.dumps(configuration_schema())


@pytest.mark.parametrize("document", EXAMPLES, ids=json.dumps)
def test_what_is_right_is_right_by_the_schema(document: dict[str, Any], tmp_path: Path) -> None:
    """JSON and, written as TOML would have it, the same document."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    load(path, {}, {})
    VALIDATOR.validate(document)


@pytest.mark.parametrize("document", WRONG, ids=json.dumps)
def test_what_is_wrong_is_wrong_by_the_schema(document: dict[str, Any]) -> None:
    """Unknown keys, missing ones, values of another type or form."""
    assert not VALIDATOR.is_valid(document)


def test_every_key_is_described() -> None:
    """An editor can show what belongs there: a description for each key of each table."""
    schema = configuration_schema()
    tables = [schema, *schema["$defs"].values()]
    keys = [(key, one) for table in tables for key, one in table["properties"].items()]
    assert len(keys) > 20
    assert [key for key, one in keys if "description" not in one and "$ref" not in one] == []
    assert [name for name, table in schema["$defs"].items() if not table["description"]] == []


def test_every_default_is_right_by_its_own_schema() -> None:
    """What an editor fills in is no mistake."""
    schema = configuration_schema()
    keys = [(key, one) for table in schema["$defs"].values() for key, one in table["properties"].items()]
    defaults = [(key, one) for key, one in keys if "default" in one]
    assert len(defaults) > 15
    for key, one in defaults:
        whole = {**one, "$defs": schema["$defs"]}
        assert Draft202012Validator(whole).is_valid(one["default"]), key


def test_the_starter_is_right_as_it_is(tmp_path: Path) -> None:
    """A collector takes it as it stands, with the settings that it has without any file."""
    path = tmp_path / "logbus.toml"
    path.write_text(STARTER)
    assert load(path, {}, {}) == load(None, {}, {})
    VALIDATOR.validate(tomllib.loads(STARTER))


def test_every_setting_of_the_starter_is_right_when_switched_on(tmp_path: Path) -> None:
    """Without the ``#`` before them the settings that are off are right too: the file and the schema take them."""
    text = re.sub(r"(?m)^#(?! |$)", "", STARTER)
    path = tmp_path / "logbus.toml"
    path.write_text(text)
    settings = load(path, {}, {})
    assert settings.levels == {"default": 20, "rotator": 10, "proxywhirl.cache": 30}
    document = tomllib.loads(text)
    VALIDATOR.validate(document)
    schema = configuration_schema()
    assert document.keys() == schema["properties"].keys()
    assert document["bus"].keys() == schema["$defs"]["Bus"]["properties"].keys()
    assert document["redaction"].keys() == schema["$defs"]["Redaction"]["properties"].keys()
    sinks = {sink["name"]: sink for sink in document["sinks"]}
    tables = {name: schema["$defs"][name]["properties"].keys() for name in schema["$defs"]}
    assert sinks["file"].keys() == tables["FileSink"]
    shared = tables["FileSink"] & tables["SyslogSink"] - {"name", "type", "format", "queue"}
    assert sinks["syslog"].keys() == tables["SyslogSink"] - shared
    assert sinks["http"].keys() | sinks["loki"].keys() == tables["HttpSink"] - shared
    for key, table in (("queue", "Queue"), ("batch", "Batch"), ("retry", "HttpRetry")):
        assert sinks["http"][key].keys() == tables[table]
    assert sinks["syslog"]["tls"].keys() == tables["Tls"]
    # The first records of each call site are no choice for whole requests.
    assert sinks["file"]["sample"].keys() | {"first", "interval"} == schema["$defs"]["Sample"]["properties"].keys()


def test_the_starter_mentions_nothing_that_is_not_built() -> None:
    """No key and no value of a later version."""
    later = {
        *VALUES_NOT_YET["type"],
        *VALUES_NOT_YET["durability"],
    }
    assert [word for word in later if re.search(rf"(?m)^#?{word} *=|\"{word}\"", STARTER)] == []
