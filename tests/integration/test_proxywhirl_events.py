"""What proxywhirl never logs, from the real package to the collector's file: breakers, health, checks.

Without the demo's packages (requirements/demo.lock) these tests are skipped on a laptop, and fail in CI.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartCollector
from tests.real_proxywhirl import needs_proxywhirl
from tests.worker import Worker

pytestmark = [needs_proxywhirl, pytest.mark.timeout(120)]

#: Of the command line, which takes no proxy on loopback: one that TCP can't even begin to reach, a multicast address.
CONFIGURATION = """
timeout = 5
[[proxies]]
url = "http://scout:s3cret-of-the-proxy@224.0.0.1:3128"
"""


def events(lines: list[dict[str, Any]], part: str, *components: str) -> list[tuple[str, ...]]:
    """The events of one part, in order, with what tells them apart."""
    found = []
    for line in lines:
        extra = line.get("extra", {})
        if extra.get("part") == part and line["component"] in components and "event" in extra:
            more = [str(extra[key]) for key in ("before", "after", "result") if key in extra]
            found.append((extra["event"], *more))
    return found


@pytest.mark.parametrize("public_only", [False, True], ids=["private", "public-only"])
def test_breakers_health_and_checks_are_told(
    public_only: bool, start_collector: StartCollector, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Every change once, in its order, with the proxy's id and masked URL, in the request that brought it about."""
    (tmp_path / "proxywhirl.toml").write_text(CONFIGURATION)
    collector = start_collector("--sink", "file:out.jsonl")
    configuration = str(tmp_path / "proxywhirl.toml")
    worker = start_worker(f"from tests.programs.eventful import main; main({public_only}, {configuration!r})")
    said = worker.finish()
    assert collector.stop() == 0
    output = (tmp_path / "out.jsonl").read_text()
    lines = [json.loads(line) for line in output.splitlines()]
    assert said["unhooked"] == []

    assert said["sync"] == [False, False, False, True, True]
    assert events(lines, "sync", "circuit_breaker") == [
        ("circuit_opened", "closed"),
        ("circuit_half_open", "open"),
        ("circuit_closed", "half_open"),
    ]
    # Upstream's defect: the request that may try is refused by the question that follows, and so is every other.
    assert said["async"] == [False] * 5
    assert events(lines, "async", "circuit_breaker") == [
        ("circuit_opened", "closed"),
        ("circuit_half_open", "open"),
    ]
    assert said["health"] == [True] + [False] * 6
    assert events(lines, "health", "health") == [
        ("health_changed", "unknown", "healthy"),
        ("health_changed", "healthy", "degraded"),
        ("health_changed", "degraded", "unhealthy"),
        ("health_changed", "unhealthy", "dead"),
    ]
    assert said["checks"] == ["working", "True", "failed", "False"]
    own = ["working", "failed"] if public_only else ["working", "working", "failed", "failed"]
    assert events(lines, "checks", "health") == [("health_check", result) for result in own]
    assert events(lines, "command line", "health") == [
        ("health_changed", "unknown", "unhealthy"),
        *([] if public_only else [("health_check", "failed")]),
    ]

    told = [line for line in lines if line["component"] in ("circuit_breaker", "health") and "part" in line["extra"]]
    for line in told:
        part = line["extra"]["part"]
        where = "224.0.0.1:3128" if part == "command line" else "127.0.0.1:"
        assert line["proxy_url"].startswith(f"http://***:***@{where}"), line
        assert "request_id" in line or part == "command line", line
        if line["extra"]["event"] != "health_check":
            assert len(line["extra"]["proxy_id"]) == 36, line
    levels = {(line["extra"]["event"], line["extra"].get("after")): line["level"] for line in told}
    assert levels["circuit_opened", None] == "WARNING"
    assert levels["circuit_closed", None] == "INFO"
    assert levels["health_changed", "dead"] == "ERROR"
    # httpx's record of a check belongs to the check.
    checks = {line["request_id"] for line in told if line["extra"]["event"] == "health_check" and "request_id" in line}
    assert checks & {line.get("request_id") for line in lines if line["logger"] == "httpx"}
    assert "s3cret" not in output
