"""proxywhirl's REST application under the real uvicorn: one id from the client's header to the last record.

Without the demo's packages (requirements/demo.lock) these tests are skipped on a laptop, and fail in CI.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartCollector
from tests.real_proxywhirl import needs_proxywhirl
from tests.worker import Worker

pytestmark = [needs_proxywhirl, pytest.mark.timeout(120)]

REQUESTS = 20


async def ask(said: dict[str, Any]) -> list[Any]:
    """The answers to requests that run at the same time, each with an id, a path and secrets of its own."""
    import httpx

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{said['port']}", timeout=60, trust_env=False) as client:

        async def one(number: int) -> Any:
            body = {
                "url": f"http://127.0.0.1:{said['target']}/?number={number}&api_key={said['secrets'][3]}",
                "headers": {"Cookie": f"session={said['secrets'][2]}"},
            }
            return await client.post("/api/v1/request", json=body, headers={"X-Request-ID": f"client-{number:02}"})

        answers = await asyncio.gather(*(one(number) for number in range(REQUESTS)))
        # No id of the client's; and credentials in the body, which the audit line repeats.
        added = await client.post("/api/v1/proxies", json={"url": f"http://scout:{said['secrets'][4]}@8.8.8.8:3128"})
        return [*answers, added]


@pytest.mark.parametrize("public_only", [False, True], ids=["private", "public-only"])
def test_every_record_of_a_request_has_the_client_s_id(
    public_only: bool, start_collector: StartCollector, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    """Audit lines, the API's own, selections, httpx's and uvicorn's; none is mixed, and none has a secret."""
    collector = start_collector("--level", "DEBUG", "--sink", "file:out.jsonl")
    worker = start_worker(f"from tests.programs.rest_api import main; main({public_only})")
    said = worker.hear()
    *answers, added = asyncio.run(ask(said))
    worker.process.send_signal(signal.SIGTERM)
    worker.wait()
    assert collector.stop() == 0
    output = (tmp_path / "out.jsonl").read_text()
    lines = [json.loads(line) for line in output.splitlines()]

    ids = [f"client-{number:02}" for number in range(REQUESTS)]
    assert [answer.headers.get_list("x-request-id") for answer in answers] == [[identity] for identity in ids]
    assert {answer.status_code for answer in answers} == {200}
    assert added.status_code == 201
    ids.append(added.headers["x-request-id"])
    assert len(ids[-1]) == 32

    for number, identity in enumerate(ids):
        mine = [line for line in lines if line.get("request_id") == identity]
        named = [line for line in mine if f"number={number}&" in line["message"]]
        found = {line["logger"] for line in mine}
        assert found >= {"proxywhirl.api", "proxywhirl.api.core", "uvicorn.access"}
        audit = [line for line in mine if line["message"].startswith("AUDIT")]
        assert len(audit) == 2
        events = [line.get("extra", {}).get("event") for line in mine]
        assert (events.count("api_request_started"), events.count("api_request_ended")) == (1, 1)
        if number < REQUESTS:
            assert named
            assert found >= {"proxywhirl.strategies", "httpx", "httpcore.connection"}
            assert {line["operation"] for line in mine if line not in audit} == {"api_request"}
            after = mine[events.index("proxy_selected") :]
            upstream = [line for line in after if line["logger"].startswith(("httpx", "httpcore", "proxywhirl.strat"))]
            assert [line for line in upstream if not (line.get("proxy_url") and "proxy_id" in line["extra"])] == []
    # Nothing of a request has another id or none.
    assert [line for line in lines if "number=" in line["message"] and line.get("request_id") not in ids] == []
    asked = ("AUDIT", "HTTP Request", "POST /api")
    assert [line for line in lines if line["message"].startswith(asked) and line.get("request_id") not in ids] == []
    assert [secret for secret in said["secrets"] if secret in output] == []
