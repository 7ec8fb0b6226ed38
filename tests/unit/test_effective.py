"""Settings in words: what is in force, with secrets masked, and what is different."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logbus.collectors.configuration.effective import changes, document, entries, masked, origin
from logbus.collectors.configuration.read import read
from logbus.collectors.configuration.settings import ConsoleSink, FileSink, Redaction, Settings
from logbus.collectors.redaction.mask import DEFAULT_FIELDS, MASK, SecretKeys

KEYS = SecretKeys(DEFAULT_FIELDS)


def test_every_setting_is_there() -> None:
    """Each key of the models, levels by their names, paths as text."""
    settings = Settings.model_validate(
        {"levels": {"auth": "debug", "x": 33}, "sinks": [{"type": "file", "path": "/l/f", "level": 40}]}
    )
    found = document(settings)
    assert list(found) == ["bus", "levels", "sinks", "redaction", "metrics"]
    assert found["levels"] == {"auth": "DEBUG", "x": 33}
    assert found["sinks"] == [
        {
            "name": "file",
            "type": "file",
            "level": "ERROR",
            "components": [],
            "exclude_components": [],
            "where": None,
            "sample": None,
            "rename_fields": {},
            "static_fields": {},
            "path": "/l/f",
            "format": "json",
            "rotation": [],
            "retention": [],
            "compression": None,
            "queue": {"max_bytes": "4 MiB", "on_full": "block"},
        }
    ]
    assert found["bus"] == {"endpoint": None, "control": None, "durability": "none", "allow": []}
    assert found["redaction"]["fields"] == list(DEFAULT_FIELDS)
    flat = dict(entries(settings))
    assert flat["sinks", 0, "path"] == "/l/f"
    assert flat["levels", "auth"] == "DEBUG"
    assert flat["metrics", "address"] is None


def test_what_is_in_a_table_of_a_sink_comes_one_by_one() -> None:
    """Each key of a sampler, each field that is renamed or added; conditions are one setting."""
    sink = {
        "type": "console",
        "format": "json",
        "where": {"level": {"ge": "error"}, "extra.kind": ["a", True]},
        "sample": {"rate": 0.5, "keep": "ERROR", "first": 3, "interval": "1000 ms"},
        "rename_fields": {"timestamp": "@timestamp"},
        "static_fields": {"a b": 1.5, "token": "x"},
    }
    flat = {
        path[2:]: value for path, value in entries(Settings.model_validate({"sinks": [sink]})) if path[0] == "sinks"
    }
    assert flat["where",] == {"level": {"ge": "error"}, "extra.kind": ["a", True]}
    assert flat["sample", "rate"] == 0.5
    assert flat["sample", "keep"] == "ERROR"
    assert flat["sample", "interval"] == "1 s"
    assert flat["sample", "key"] is None
    assert flat["rename_fields", "timestamp"] == "@timestamp"
    assert flat["static_fields", "a b"] == 1.5
    assert flat["static_fields", "token"] == MASK
    assert ("sample",) not in flat


def test_secrets_are_masked() -> None:
    """What stands under a secret key, passwords in URLs and secrets in texts; names of fields are no secrets."""
    value: dict[str, Any] = {
        "headers": {"Authorization": "Bearer abc", "X-Api-Key": "k", "Accept": "json"},
        "url": "https://user:pass@host/x",
        "tokens": 5,
        "token": None,
        "list": ["password=hunter2", {"cookie": ["a"]}],
        "fields": ["password", "pin"],
    }
    assert masked(value, KEYS) == {
        "headers": {"Authorization": MASK, "X-Api-Key": MASK, "Accept": "json"},
        "url": f"https://user:{MASK}@host/x",
        "tokens": 5,
        "token": None,
        "list": [f"password={MASK}", {"cookie": MASK}],
        "fields": ["password", "pin"],
    }
    settings = Settings(sinks=(FileSink(path=Path("/l/pin=1234.log")),), redaction=Redaction(fields=("pin",)))
    assert "1234" not in str(document(settings))


def test_names_of_secrets_are_those_of_fields_and_not_of_settings() -> None:
    """Who masks ``name`` in records still sees which sink is which, and what a condition asks but not about what."""
    sinks = [
        {
            "type": "file",
            "name": name,
            "path": f"/l/{name}",
            "where": [{"token": {"exists": True, "ne": "s3cret"}, "name": ["Ann", "Bob"], "kind": "x"}],
            "rename_fields": {"user_id": "uid"},
            "static_fields": {"name": "Ann", "kind": "x"},
        }
        for name in "ab"
    ]
    more = {"redaction": {"fields": ["name", "path", "user_id", "address"]}, "metrics": {"address": "h:1"}}
    settings = Settings.model_validate({"sinks": sinks, **more})
    found = document(settings)
    assert [(sink["name"], sink["path"]) for sink in found["sinks"]] == [("a", "/l/a"), ("b", "/l/b")]
    assert found["sinks"][0]["where"] == [{"token": {"exists": True, "ne": MASK}, "name": [MASK, MASK], "kind": "x"}]
    assert found["sinks"][0]["rename_fields"] == {"user_id": "uid"}
    assert found["sinks"][0]["static_fields"] == {"name": MASK, "kind": "x"}
    assert found["metrics"] == {"address": "h:1"}
    one = Settings.model_validate({"sinks": sinks[:1], **more})
    assert changes(settings, one) == ['sink "b": removed']


def test_a_difference_that_is_masked_is_said() -> None:
    """Another value of a secret is a change, of which nothing but that is shown."""
    old, new = (
        Settings.model_validate({"sinks": [{"type": "console", "format": "json", "static_fields": {"token": token}}]})
        for token in ("s3cret", "s4cret")
    )
    assert changes(old, new) == ['sink "console": static_fields.token: another value that is not shown']


def test_an_origin_is_shown_without_its_secrets() -> None:
    """An option is shown as it was given, but for what must not be seen."""
    found = read(None, {"sinks": ["file:/l/token=abc"]}, {})
    assert origin(found, "sinks[0].path") == f"--sink file:/l/token={MASK}"
    assert origin(found, "bus.endpoint") == "default"


def test_differences_are_lines_by_the_name_of_the_setting() -> None:
    """Sinks by their names, levels by their selectors; nothing where nothing is different."""
    old = Settings.model_validate(
        {
            "levels": {"a": 10, "b": 20},
            "sinks": [
                ConsoleSink(name="c"),
                FileSink(name="f", path=Path("/l/f")),
                FileSink(name="g", path=Path("/g")),
            ],
        }
    )
    new = Settings.model_validate(
        {
            "levels": {"a": 30, "d": 20},
            "sinks": [
                FileSink(name="n", path=Path("/n")),
                FileSink(name="f", path=Path("/l/f"), level=40, components=("x", "y")),
                ConsoleSink(name="c"),
            ],
            "redaction": {"fields": ["pin"]},
        }
    )
    assert changes(old, old) == []
    found = changes(old, new)
    assert sorted(line for line in found if "redaction" not in line) == [
        'levels.a: "WARNING", was "DEBUG"',
        'levels.b: removed, was "INFO"',
        'levels.d: "INFO", was not set',
        'sink "f": components: ["x", "y"], was []',
        'sink "f": level: "ERROR", was "NOTSET"',
        'sink "g": removed',
        'sink "n": added',
    ]
    [line] = [line for line in found if "redaction" in line]
    assert line.startswith('redaction.fields: ["pin"], was ["password", ')


def test_differences_inside_a_table_of_a_sink_are_lines_of_their_own() -> None:
    """A key of a sampler, a field that is added, conditions; a table that was not there, and one that has gone."""
    table = {"type": "console", "name": "c", "format": "json"}
    changed = {"where": {"a": [1]}, "sample": {"rate": 0.5}, "static_fields": {"a": 1, "b": 2}}
    none, some, other = (
        Settings.model_validate({"sinks": [{**table, **more}]})
        for more in ({}, changed, {**changed, "sample": {"rate": 0.25}, "static_fields": {"a": 2}})
    )
    assert changes(some, other) == [
        'sink "c": sample.rate: 0.25, was 0.5',
        'sink "c": static_fields.a: 2, was 1',
        'sink "c": static_fields.b: removed, was 2',
    ]
    found = changes(none, some)
    assert 'sink "c": where: {"a": [1]}, was null' in found
    assert [line for line in [*found, *changes(some, none)] if "null" in line or "{}" in line] == [
        'sink "c": where: {"a": [1]}, was null',
        'sink "c": where: null, was {"a": [1]}',
    ]
    assert 'sink "c": sample.rate: 0.5, was not set' in found
    assert 'sink "c": static_fields.b: 2, was not set' in found
    assert 'sink "c": sample.rate: removed, was 0.5' in changes(some, none)


def test_a_sink_of_another_type_is_another_sink() -> None:
    """Under the same name: what the one had and the other has not is said too."""
    found = changes(Settings(sinks=(ConsoleSink(name="x"),)), Settings(sinks=(FileSink(name="x", path=Path("/f")),)))
    assert 'sink "x": type: "file", was "console"' in found
    assert 'sink "x": path: "/f", was not set' in found
    assert 'sink "x": stream: removed, was "stdout"' in found


def of_http(**more: Any) -> Settings:
    """Settings with one sink of type http."""
    return Settings.model_validate({"sinks": [{"type": "http", "url": "https://h/in", **more}]})


def test_no_secret_of_a_sink_is_shown() -> None:
    """Variables are, since they are none; headers have secrets under any name, and so has a query."""
    settings = of_http(
        url="https://h/in?key=s3cret",
        headers={"Authorization": "Bearer ${TOKEN}", "X-Insert-Key": "s3cret", "X-Both": "s3cret-${KEY}"},
        labels={},
        retry={"statuses": [429]},
    )
    [sink] = document(settings)["sinks"]
    assert sink["url"] == f"https://h/in?{MASK}"
    assert sink["headers"] == {"Authorization": "Bearer ${TOKEN}", "X-Insert-Key": MASK, "X-Both": f"{MASK}${{KEY}}"}
    assert sink["retry"]["statuses"] == [429]
    assert (sink["auth"], sink["tls"]) == (None, None)
    for auth, shown in (
        ({"username": "me", "password": "s3cret"}, ("me", MASK, None)),
        ({"username": "${U}", "password": "${P}"}, ("${U}", "${P}", None)),
        ({"bearer": "s3cret"}, (None, None, MASK)),
    ):
        [sink] = document(of_http(auth=auth))["sinks"]
        assert tuple(sink["auth"].values()) == shown
    options = {"path": "/x", "token": "s3cret", "key": {"api_key": "${KEY}", "urls": ["http://u:s3cret@h", 5]}}
    theirs = Settings.model_validate({"sinks": [{"type": "tests.plugin_sinks:make", "options": options}]})
    [sink] = document(theirs)["sinks"]
    assert sink["options"] == {
        "path": "/x",
        "token": MASK,
        "key": {"api_key": "${KEY}", "urls": [f"http://u:{MASK}@h", 5]},
    }
    assert "s3cret" not in str([*entries(settings), *entries(theirs)])


def test_a_key_in_the_path_of_a_url_is_not_shown() -> None:
    """Services that take logs give one there; what is an address and no key is shown."""
    [sink] = document(of_http(url="https://h/bulk/0f8fad5b-d9cb-469f-a165-70867728950e/tag/my-application-of-2026"))[
        "sinks"
    ]
    assert sink["url"] == f"https://h/bulk/{MASK}/tag/{MASK}"
    [sink] = document(of_http(url="https://intake-2.logs.eu1.example.com/api/organisations-of-mine"))["sinks"]
    assert sink["url"] == "https://intake-2.logs.eu1.example.com/api/organisations-of-mine"


def test_a_secret_of_a_sink_that_has_changed_is_not_shown() -> None:
    """That it has changed is."""
    old = of_http(url="https://h/in?key=a", headers={"X-Key": "a", "X-Other": "${A}"}, batch={"max_records": 5})
    new = of_http(url="https://h/in?key=b", headers={"X-Key": "b", "X-Other": "${B}"}, batch={"max_records": 6})
    assert changes(old, new) == [
        'sink "http": url: another value that is not shown',
        'sink "http": headers.X-Key: another value that is not shown',
        'sink "http": headers.X-Other: "${B}", was "${A}"',
        'sink "http": batch.max_records: 6, was 5',
    ]


def test_labels_are_shown_as_templates() -> None:
    """The name of a field is no secret, whatever it is called."""
    labels = {"job": "logbus", "token": "{token}", "password": "s3cret"}
    [sink] = document(of_http(body="loki", labels=labels))["sinks"]
    assert sink["labels"] == {"job": "logbus", "token": "{token}", "password": MASK}
