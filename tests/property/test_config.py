"""Any configuration is either settings or a list of problems that name keys; nothing else ever comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from jsonschema import Draft202012Validator

from logbus.collectors.configuration.effective import changes, document as document_of
from logbus.collectors.configuration.read import FileSink, load
from logbus.collectors.configuration.schema import configuration_schema
from logbus.collectors.configuration.sources import from_file
from logbus.collectors.destinations import destinations
from logbus.errors import ConfigurationError

#: Keys and values of the contract, right ones and those that come later, so that documents are nearly right.
KEYS = st.sampled_from(
    [
        *"bus sinks redaction levels metrics endpoint control durability allow type name path format level".split(),
        *"components exclude_components stream color rotation retention compression where sample rate key keep".split(),
        *"first interval tail window max_bytes rename_fields static_fields patterns fields sink pth address".split(),
        *"default rotator a.b ge matches exists url address body headers auth tls batch retry queue spool".split(),
        *"labels options facility protocol timeout max_records max_delay initial max_interval on_full ca".split(),
        *"bearer username password statuses certificate key Authorization".split(),
    ]
) | st.text(max_size=6)
WORDS = st.sampled_from(
    [
        *"console file syslog json text logfmt stdout auto INFO debug none process rotator a.b ipc:///a ipc:///b".split(),
        *"tcp://127.0.0.1:5555 logs/x . / .. a/ gz zst 00:00 sunday request_id timestamp (a|b) a{9}".split(),
        *("100 MB", "1 hour", "5 files", "5 apples", "1 s", "16 MiB"),
        *"http https://h/in http://h /dev/log udp://h tls://h:1 loki otlp ndjson local0 ${HOME} ${ block".split(),
    ]
) | st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
SINKS = st.lists(
    st.dictionaries(
        KEYS,
        SCALARS
        | st.lists(WORDS, max_size=3)
        | st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=2), max_size=4),
        max_size=6,
    ).flatmap(
        lambda table: st.sampled_from(
            [
                {**table, "type": "file"},
                {**table, "type": "console"},
                {"url": "http://h", **table, "type": "http"},
                {"address": "tls://h", **table, "type": "syslog"},
                {**table, "type": "tests.plugin_sinks:make"},
                table,
            ]
        )
    ),
    max_size=4,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4) | st.fixed_dictionaries(
    {},
    optional={
        "bus": st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=2), max_size=3),
        "levels": st.dictionaries(KEYS, SCALARS, max_size=3),
        "sinks": SINKS,
        "redaction": VALUES | st.fixed_dictionaries({}, optional={"patterns": st.lists(WORDS, max_size=3)}),
        "metrics": st.dictionaries(KEYS, SCALARS, max_size=2),
    },
)
#: Right documents, with every key of this version now and then.
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
SELECTORS = st.lists(st.sampled_from(["rotator", "a.b", "httpx"]), min_size=1, max_size=3)
OPERANDS = st.sampled_from([1, 2.5, "a", ""]) | st.text(max_size=4)
CONDITIONS = st.dictionaries(
    st.sampled_from(["message", "extra.kind", "request_id", "a b"]),
    st.text(max_size=4)
    | st.lists(st.text(max_size=4), min_size=1, max_size=3)
    | st.fixed_dictionaries({"ge": st.text(max_size=4)}, optional={"exists": st.booleans(), "matches": st.just("^a+")})
    | st.fixed_dictionaries({}, optional={"ne": st.text(max_size=4), "not_in": st.just(["x"])}).filter(bool),
    min_size=1,
    max_size=3,
)
SPANS = st.sampled_from(["1 s", "500 ms", "1.5 min", "90s"])
SAMPLES = (
    st.fixed_dictionaries(
        {"rate": st.floats(0.01, 1) | st.just(1)},
        optional={"key": st.just("request_id"), "keep": st.sampled_from(["ERROR", 30])},
    )
    | st.fixed_dictionaries(
        {"first": st.integers(1, 100)}, optional={"interval": SPANS, "rate": st.just(0.0) | st.floats(1e-6, 1)}
    )
    | st.fixed_dictionaries(
        {"rate": st.just(0.0) | st.floats(1e-6, 1), "key": st.just("extra.id"), "tail": st.just(True)},
        optional={"window": SPANS, "max_bytes": st.sampled_from(["1 MB", "64 KiB"])},
    )
)
ROTATION = st.sampled_from(["1 MB", "1 day", "00:00", "sunday at 03:00", "1.5 GiB"])
RETENTION = st.sampled_from(["5 files", "1 file", "7 days", "5 GB"])
SHARED: dict[str, st.SearchStrategy[Any]] = {
    "format": st.sampled_from(["json", "text", "logfmt"]),
    "where": CONDITIONS | st.lists(CONDITIONS, min_size=1, max_size=2),
    "sample": SAMPLES,
    "rename_fields": st.dictionaries(st.sampled_from(["timestamp", "worker"]), st.just("@t"), max_size=1),
    "static_fields": st.dictionaries(
        st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), OPERANDS | st.booleans(), max_size=3
    ),
    "level": st.sampled_from(["info", "ERROR", "30", 0, 100]),
    "components": SELECTORS,
    "exclude_components": SELECTORS,
}


def _path_or_itself(sink: dict[str, Any]) -> object:
    return sink.get("path", id(sink))


SECRETS = st.sampled_from(["${HOME}", "Bearer ${HOME}"])
QUEUE = st.fixed_dictionaries(
    {}, optional={"max_bytes": st.sampled_from(["1 MiB", "64000 KiB"]), "on_full": st.sampled_from(["shed_lowest"])}
)
RETRY = st.fixed_dictionaries(
    {},
    optional={"initial": st.sampled_from(["1 s", "500 ms", "30 s"]), "max_elapsed": st.sampled_from(["90 s", "1 day"])},
)
BATCH = st.fixed_dictionaries({}, optional={"max_records": st.integers(1, 100_000), "max_delay": st.just("0.5 s")})
REMOTE: dict[str, st.SearchStrategy[Any]] = {
    **{key: value for key, value in SHARED.items() if key not in ("format", "rename_fields")},
    "queue": QUEUE,
    "spool": st.sampled_from(["1 MiB", "256 MiB", "1.5 GB"]),
    "retry": RETRY,
}
HTTP_SINKS = st.fixed_dictionaries(
    {"type": st.just("http"), "url": st.sampled_from(["https://h:8443/in", "HTTPS://[::1]/"])},
    optional={
        **REMOTE,
        "method": st.sampled_from(["POST", "PUT"]),
        "body": st.sampled_from(["ndjson", "json", "loki", "otlp"]),
        "compression": st.sampled_from(["gzip", "zstd"]),
        "headers": st.dictionaries(st.sampled_from(["X-Key", "Accept"]), SECRETS),
        "auth": st.just({"bearer": "${HOME}"}) | st.just({"username": "me", "password": "${HOME}"}),
        "tls": st.just({"ca": "/c"}) | st.just({"certificate": "/c", "key": "/k"}),
        "timeout": SPANS,
        "batch": BATCH,
        "retry": RETRY | st.just({"statuses": [429, 503]}),
    },
)
SYSLOG_SINKS = st.fixed_dictionaries(
    {"type": st.just("syslog"), "address": st.sampled_from(["/dev/log", "udp://h", "tcp://[::1]:601", "tls://h:1"])},
    optional={
        **REMOTE,
        "format": SHARED["format"],
        "facility": st.sampled_from(["local0", "USER", 5]),
        "protocol": st.sampled_from(["rfc5424", "rfc3164"]),
        "app_name": st.just("shop"),
        "max_message": st.sampled_from(["480 B", "2 KiB"]),
    },
)
PLUGIN_SINKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["tests.plugin_sinks:make", "tests.plugin_sinks:Kept"])},
    optional={**REMOTE, "batch": BATCH, "options": st.just({"path": "${HOME}/x"})},
)
RIGHT_SINKS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.fixed_dictionaries({"type": st.just("console")}, optional={**SHARED, "color": st.just("never")})
    | st.fixed_dictionaries({"type": st.just("file"), "path": NAMES}, optional=SHARED)
    | st.fixed_dictionaries(
        {"type": st.just("file"), "path": NAMES, "rotation": ROTATION | st.lists(ROTATION, min_size=1, max_size=3)},
        optional={
            **SHARED,
            "retention": RETENTION | st.lists(RETENTION, min_size=1, max_size=3),
            "compression": st.sampled_from(["gz", "zst"]),
        },
    )
    | HTTP_SINKS
    | SYSLOG_SINKS
    | PLUGIN_SINKS,
    min_size=1,
    max_size=5,
    unique_by=_path_or_itself,
)

VALIDATOR = Draft202012Validator(configuration_schema())

# The files are written anew by every example, in one directory.
IN_ONE_DIRECTORY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(call: Callable[[], object]) -> ConfigurationError | None:
    """The ConfigurationError that a call raises, or None. Anything else that is raised fails the test."""
    try:
        call()
    except ConfigurationError as error:
        return error
    return None


@IN_ONE_DIRECTORY
@given(document=DOCUMENTS)
def test_any_document_is_settings_or_problems_that_name_a_key(document: dict[str, Any], tmp_path: Path) -> None:
    """A document is accepted, or refused with lines that each begin with one of its keys or with a missing one."""
    file = tmp_path / "x.json"
    file.write_text(json.dumps(document))
    error = refusal(lambda: load(file, {}, {}))
    if error is None:
        sinks = load(file, {}, {}).sinks
        assert len({sink.name for sink in sinks}) == len(sinks) > 0
        assert len(destinations(load(file, {}, {}), tmp_path)) == len(sinks)
        VALIDATOR.validate(document)
        return
    assert error.problems
    assert error.source == str(file)
    for problem in error.problems:
        assert "\n" not in problem
        assert problem.isprintable()
        assert "Pydantic" not in problem
        key = problem.partition(":")[0]
        assert key.partition("[")[0].partition(".")[0] in document or key.startswith('"')


@IN_ONE_DIRECTORY
@given(
    document=st.fixed_dictionaries(
        {},
        optional={
            "bus": st.fixed_dictionaries(
                {},
                optional={
                    "endpoint": st.none() | NAMES.map(lambda name: f"ipc:///e/{name}"),
                    "durability": st.just("none"),
                    "allow": st.lists(st.text(max_size=5) | st.integers(), max_size=3),
                },
            ),
            "levels": st.dictionaries(
                st.text(max_size=5) | st.sampled_from(["default", "rotator", "a.b"]),
                st.text(max_size=5) | st.sampled_from(["Info", " trace\t", "007", "100", 0, 100]) | st.integers(),
                max_size=3,
            ),
            "sinks": RIGHT_SINKS,
            "redaction": st.fixed_dictionaries(
                {}, optional={key: st.lists(st.text(max_size=5), max_size=3) for key in ("fields", "patterns")}
            ),
            "metrics": st.fixed_dictionaries(
                {}, optional={"address": st.none() | st.text(max_size=8) | st.just("h:1")}
            ),
        },
    )
)
def test_what_is_accepted_is_right_by_the_schema(document: dict[str, Any], tmp_path: Path) -> None:
    """Whatever a collector takes, ``config schema`` describes."""
    file = tmp_path / "x.json"
    file.write_text(json.dumps(document))
    if refusal(lambda: load(file, {}, {})) is None:
        VALIDATOR.validate(document)


@IN_ONE_DIRECTORY
@given(sinks=RIGHT_SINKS)
def test_right_sinks_are_accepted_as_they_stand(sinks: list[dict[str, Any]], tmp_path: Path) -> None:
    """What is right is accepted, in its order, with names that are unique, whatever combination it is."""
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"sinks": sinks}))
    result = load(file, {}, {})
    assert [sink.type for sink in result.sinks] == [sink["type"] for sink in sinks]
    assert [sink.path.name for sink in result.sinks if isinstance(sink, FileSink)] == [
        sink["path"] for sink in sinks if "path" in sink
    ]
    assert len({sink.name for sink in result.sinks}) == len(sinks)
    assert len(destinations(result, tmp_path)) == len(sinks)


@IN_ONE_DIRECTORY
@given(sinks=RIGHT_SINKS)
def test_settings_in_words_are_the_same_settings(sinks: list[dict[str, Any]], tmp_path: Path) -> None:
    """What is shown of settings, without what nobody has set, makes equal ones; then there is no difference to tell."""
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"sinks": sinks}))
    first = load(file, {}, {})
    shown = document_of(first)
    for sink, written in zip(shown["sinks"], sinks, strict=True):
        for key in [key for key, value in sink.items() if value in (None, [], {})]:
            del sink[key]
        if "sample" in written:
            sink["sample"] = {key: sink["sample"][key] for key in written["sample"]}
    file.write_text(json.dumps(shown))
    again = load(file, {}, {})
    assert again == first
    assert changes(first, again) == []


@IN_ONE_DIRECTORY
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_document_or_an_error_of_the_file(data: bytes, tmp_path: Path) -> None:
    """Whatever a file holds, reading it gives a document or a ConfigurationError with the file as source."""
    for name in ("x.toml", "x.json", "x"):
        file = tmp_path / name
        file.write_bytes(data)
        error = refusal(partial(from_file, file))
        assert error is None or (error.source == str(file) and error.problems)


@IN_ONE_DIRECTORY
@given(
    environ=st.dictionaries(
        st.sampled_from(["LOGBUS_SINKS", "LOGBUS_ENDPOINT", "LOGBUS_BUS__DURABILITY", "LOGBUS_REDACTION__FIELDS"])
        | st.sampled_from(["LOGBUS_LEVEL", "LOGBUS_LEVELS__X", "LOGBUS_METRICS__ADDRESS", "LOGBUS_BUS__ALLOW"])
        | st.text(max_size=12).map(lambda name: f"LOGBUS_{name}"),
        WORDS | VALUES.map(json.dumps) | st.text(max_size=12).map(lambda text: "[" + text),
        max_size=4,
    )
)
def test_any_environment_is_settings_or_problems_that_name_a_variable(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment is accepted, or each of its problems begins with the name of a variable."""
    monkeypatch.chdir(tmp_path)
    environ.pop("LOGBUS_CONFIG", None)
    error = refusal(lambda: load(None, {}, environ))
    assert error is None or all(line.startswith(("LOGBUS_", "bus.control: ")) for line in str(error).splitlines())
