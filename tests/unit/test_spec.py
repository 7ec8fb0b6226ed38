"""Sinks written as text, as on the command line."""

from __future__ import annotations

import pytest

from logbus.collectors.configuration.spec import sink_table, without_values
from logbus.errors import ConfigurationError


@pytest.mark.parametrize(
    ("spec", "table"),
    [
        ("console", {"type": "console"}),
        ("console:json", {"type": "console", "format": "json"}),
        ("console,stream=stderr,color=never", {"type": "console", "stream": "stderr", "color": "never"}),
        ("file:a:b=c", {"type": "file", "path": "a:b=c"}),
        (
            "file:PATH,format=text,level=WARNING,components=rotator+health",
            {
                "type": "file",
                "path": "PATH",
                "format": "text",
                "level": "WARNING",
                "components": ["rotator", "health"],
            },
        ),
        ("console,exclude_components=httpx", {"type": "console", "exclude_components": ["httpx"]}),
        ("file,path=x", {"type": "file", "path": "x"}),
        ("", {"type": ""}),
        (
            "file:a,rotation=100 MB,retention=7 days+10 files,compression=gz",
            {
                "type": "file",
                "path": "a",
                "rotation": "100 MB",
                "retention": ["7 days", "10 files"],
                "compression": "gz",
            },
        ),
        (
            "file:a,rotation=1 GiB+sunday at 03:00",
            {"type": "file", "path": "a", "rotation": ["1 GiB", "sunday at 03:00"]},
        ),
        (
            "console,sample.rate=0.1,sample.key=request_id,sample.tail=true,sample.window=10 s",
            {"type": "console", "sample": {"rate": 0.1, "key": "request_id", "tail": True, "window": "10 s"}},
        ),
        ("console,sample.first=10", {"type": "console", "sample": {"first": 10}}),
        ("console,sample.rate=ten", {"type": "console", "sample": {"rate": "ten"}}),
        ("console,sample.rate=[1]", {"type": "console", "sample": {"rate": "[1]"}}),
        (
            "console,static_fields.environment=production,static_fields.a.b=7,rename_fields.timestamp=@timestamp",
            {
                "type": "console",
                "static_fields": {"environment": "production", "a.b": "7"},
                "rename_fields": {"timestamp": "@timestamp"},
            },
        ),
        ("console,a.b=1", {"type": "console", "a.b": "1"}),
        ("syslog:udp://[::1]:514", {"type": "syslog", "address": "udp://[::1]:514"}),
        ("syslog:/dev/log,facility=16", {"type": "syslog", "address": "/dev/log", "facility": 16}),
        ("syslog:/dev/log,facility=local0", {"type": "syslog", "address": "/dev/log", "facility": "local0"}),
        ("http:http://h:8080/a?b=c%2Cd", {"type": "http", "url": "http://h:8080/a?b=c%2Cd"}),
        (
            "http:https://h,headers.A.B=Bearer ${T},auth.bearer=x,batch.max_records=5,retry.statuses=429+x",
            {
                "type": "http",
                "url": "https://h",
                "headers": {"A.B": "Bearer ${T}"},
                "auth": {"bearer": "x"},
                "batch": {"max_records": 5},
                "retry": {"statuses": [429, "x"]},
            },
        ),
        ("acme,options.path=5", {"type": "acme", "options": {"path": "5"}}),
        ("acme.sinks:Table,spool=1 MiB", {"type": "acme.sinks:Table", "spool": "1 MiB"}),
    ],
)
def test_a_sink_can_be_written_in_one_word(spec: str, table: dict[str, object]) -> None:
    """A SPEC makes the table that the file would hold."""
    assert sink_table(spec) == table


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("file:a,b.log", 'expected KEY=VALUE after each comma, found "b.log"'),
        ("file:a,rotation=1 day,00:00", r'found "00:00" \(the items of a list are joined with \+, '),
        ("file:a,path=b", 'expected path once, found it again in "path=b"'),
        ("console,level=1,level=2", "expected level once"),
        ("console,sample.rate=1,sample.rate=0.5", "expected sample.rate once"),
        ("console,sample=0.5", 'expected sample.KEY=VALUE, found "sample=0.5"'),
        ("console,sample.rate", "expected KEY=VALUE after each comma"),
        ("http:https://h,headers=x", 'expected headers.KEY=VALUE, found "headers=\\*\\*\\*"'),
        ("http:https://h,auth.bearer=abc,def", 'found "\\*\\*\\*"'),
        ("http:https://h,auth.bearer=abc,auth.bearer=def", 'found it again in "auth.bearer=\\*\\*\\*"'),
        ("http:https://h?key=abc,def", 'found "\\*\\*\\*"'),
    ],
)
def test_a_sink_that_is_written_wrong_is_an_error(spec: str, message: str) -> None:
    """A SPEC without its form raises ConfigurationError with what would be right."""
    with pytest.raises(ConfigurationError, match=message):
        sink_table(spec)


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("file:a?b=c,static_fields.x=y", "file:a?b=c,static_fields.x=y"),
        ("http:https://h?a=b,level=INFO", "http:https://h?***,level=INFO"),
        ("http:https://h,headers.X=Bearer ${T},options.a=b", "http:https://h,headers.X=Bearer ${T},options.a=***"),
        ("http:https://h,auth.password=a,b,c,level=x,d", "http:https://h,auth.password=***,***,***,level=x,d"),
    ],
)
def test_a_spec_is_repeated_without_what_may_be_secret(spec: str, shown: str) -> None:
    """Variables and all else stay."""
    assert without_values(spec) == shown
