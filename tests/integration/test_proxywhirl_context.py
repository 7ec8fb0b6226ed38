"""The context of proxied requests, with the real package: every record has its request's id, its proxy, and no secret.

Without the demo's packages (requirements/demo.lock) these tests are skipped on a laptop, and fail in CI.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartCollector
from tests.worker import Worker

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("proxywhirl") is None and not os.environ.get("CI"), reason="not installed: proxywhirl"
    ),
    pytest.mark.timeout(240),
]

THREADS, TASKS = 4, 40
PROXY_FIELDS = ("proxy_url", "strategy", "source")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records in a JSON log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_witness(lines: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """The records that were logged between the start and the end of each request, by the request's number."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if "witness" in line.get("extra", {}):
            found[line.get("extra", {})["witness"]].append(line)
    return found


@pytest.mark.soak
@pytest.mark.parametrize(
    ("source", "public_only"),
    [("direct", False), ("handler", False), ("direct", True)],
    ids=["direct", "handler", "public-only"],
)
def test_every_record_of_a_request_has_its_context_and_no_secret(
    source: str,
    public_only: bool,
    start_collector: StartCollector,
    start_worker: Callable[..., Worker],
    scale: Callable[[int, int], int],
    tmp_path: Path,
) -> None:
    """All records of a request carry its id, all after its selection the proxy; no id is mixed, no secret comes out."""
    collector = start_collector("--level", "DEBUG", "--sink", "file:out.jsonl")
    each = scale(25, 2)
    script = f"from tests.programs.proxied import main; main({TASKS}, {THREADS}, {each}, {source!r}, {public_only})"
    worker = start_worker(script)
    said = worker.finish()
    assert collector.stop() == 0
    output = (tmp_path / "out.jsonl").read_text()

    assert said["unhooked"] == []
    assert said["same"] == [True, True]
    requests = by_witness(lines_of(tmp_path / "out.jsonl"))
    without = requests.pop(0)
    assert without
    assert [line for line in without if "request_id" in line or "strategy" in line] == []
    assert len(requests) == said["requests"] == (THREADS + TASKS) * each
    assert [line for lines in requests.values() for line in lines if not line.get("request_id")] == []
    # One id each, and each another one: nothing is mixed.
    ids = {number: {line["request_id"] for line in lines} for number, lines in requests.items()}
    assert [(number, found) for number, found in ids.items() if len(found) != 1] == []
    assert len(set.union(*ids.values())) == len(ids)
    assert all(len(found) == 32 and set(found) <= set("0123456789abcdef") for found in set.union(*ids.values()))
    named = [line for line in lines_of(tmp_path / "out.jsonl") if "/n/" in line["message"] and "request_id" in line]
    assert len(named) > len(requests)
    numbers = {number: next(iter(found)) for number, found in ids.items()}
    assert [
        line
        for line in named
        if line["request_id"] != numbers[int(line["message"].split("/n/")[1].split()[0].strip("\"',"))]
    ] == []
    # After its selection every record has the proxy.
    loggers, selected = set(), 0
    for lines in requests.values():
        assert {line["operation"] for line in lines} == {"proxied_request"}
        assert len({line["strategy"] for line in lines}) == 1
        events = [line.get("extra", {}).get("event") for line in lines]
        if "proxy_selected" not in events:  # every breaker was open
            assert "circuit breakers" in lines[0]["message"]
            assert not any(line.get("proxy_url") for line in lines)
            continue
        selected += 1
        after = lines[events.index("proxy_selected") :]
        loggers |= {line["logger"].partition(".")[0] for line in after}
        missing = [
            line
            for line in after
            if not all(line.get(key) for key in PROXY_FIELDS) or not line.get("extra", {}).get("proxy_id")
        ]
        assert missing == []
    assert selected > len(requests) * 0.9
    assert loggers >= {"proxywhirl", "httpx", "httpcore"}
    assert {line["strategy"] for lines in requests.values() for line in lines} == {"round-robin", "random", "weighted"}
    assert {line["source"] for line in named} == {"user"}
    events = [line.get("extra", {}).get("event") for lines in requests.values() for line in lines]
    assert events.count("attempt_failed") > 0
    assert events.count("retry") > 0
    assert [secret for secret in said["secrets"] if secret in output] == []
    assert output.count("***@") > 0
