"""The examples, run as their docstrings say, with a real collector: each does what it promises, to the last record."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.collector_command import ROOT, child_environment
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.integration.watch import free_port, lines_of, settled
from tests.real_proxywhirl import needs_proxywhirl

EXAMPLES = ROOT / "examples"
#: Seconds for an example, on a machine that does other things.
PATIENCE = 90.0


def run(name: str, *arguments: str, directory: Path, **environment: str) -> str:
    """The output of an example that has ended without a fault."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=directory,
        env=child_environment(PYTHONWARNINGS="ignore", **environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_pool(start_collector: StartCollector, tmp_path: Path, method: str) -> None:
    """Both pools: every record of every process has the request of whoever asked for it, and none is lost."""
    collector = start_collector("--sink", f"file:{tmp_path}/records.jsonl")
    run("multiprocessing_pool.py", "--start-method", method, directory=tmp_path)

    def all_arrived(status: dict[str, Any]) -> bool:
        return bool(status["total"]["emitted"] == status["total"]["collected"] == status["sinks"][0]["delivered"] == 24)

    assert settled(collector, all_arrived)["balanced"]
    lines = lines_of(tmp_path / "records.jsonl")
    requests = set()
    for operation in ("with_pool", "with_executor"):
        mine = [line for line in lines if line["operation"] == operation]
        messages = sorted(line["message"] for line in mine if line["message"].startswith("squaring"))
        assert messages == [f"squaring {number}" for number in range(10)]
        [begins] = [line for line in mine if line["message"] == f"begins, {method}"]
        assert [line["message"] for line in mine if line["message"].startswith("sum")] == ["sum 285"]
        children = {line["process_id"] for line in mine} - {begins["process_id"]}
        assert children
        assert {line["request_id"] for line in mine} == {begins["request_id"]}
        requests.add(begins["request_id"])
    assert len(requests) == 2
    assert {line["app_name"] for line in lines} == {"pool"}


def test_celery_worker(tmp_path: Path) -> None:
    """The demo tells one order's story through every process, and its ledger balances."""
    output = run("celery_worker.py", "--demo", directory=tmp_path)

    ledger, _, story = output.partition("The ledger:")[2].partition("The story of order 2")
    told = [line.split(": ", 1) for line in story.splitlines()[1:] if line]
    messages = [message for _, message in told]
    own = ["placed", "the bank does not answer", "charged", "shipped", "mail: order 2 is on its way"]
    assert [message for message in messages if message in own] == own
    assert sum(message.endswith(" received") for message in messages) == 4
    assert sum("] succeeded in " in message for message in messages) == 3
    assert len({line.split()[1] for line, _ in told}) >= 3
    assert "balanced: every record is accounted for" in ledger
    assert not list(tmp_path.iterdir())


def by_request(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The records of each request, what is theirs alone beside what all records have."""
    found = defaultdict(list)
    for line in lines:
        if "request_id" in line:
            found[line["request_id"]].append({**line, **line.get("extra", {})})
    return found


@needs_proxywhirl
def test_structured_logging_demo(tmp_path: Path) -> None:
    """What the demo says of its records is true of them: ids, proxies, retries, the level, and no secret."""
    file = tmp_path / "records.jsonl"
    output = run("structured_logging_demo.py", str(file), directory=tmp_path)
    lines = lines_of(file)
    requests = by_request(lines)

    # One request, shown as it is in the file: from its selection to its exception.
    shown = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert shown == [line for line in lines if line.get("request_id") == "order-17"]
    story = requests["order-17"]
    events = [record["event"] for record in story if "event" in record]
    tried = ["attempt_failed", *["retry", "attempt_failed"] * 2]
    assert events == ["proxy_selected", *tried, "health_changed"]
    assert [record["attempt"] for record in story if record.get("event") == "attempt_failed"] == [1, 2, 3]
    assert {record["operation"] for record in story} == {"checkout"}
    assert len({(record["proxy_id"], record["proxy_url"]) for record in story[:-1]}) == 1
    assert story[-1]["exception"]["type"] == "proxywhirl.exceptions.ProxyConnectionError"

    # Each request of a thread or a task has its own id, and no record of it another one.
    for job, logger in ("threads", "proxywhirl.rotator.sync"), ("tasks", "proxywhirl.rotator.async_"):
        mine = [records for records in requests.values() if records[0].get("job") == job]
        assert sorted(records[0]["item"] for records in mine) == list(range(12))
        for records in mine:
            assert {(record["job"], record["item"]) for record in records} == {(job, records[0]["item"])}
            assert logger in {record["logger"] for record in records}
            named = [re.findall(r"/(?:busy|items)/(\d+)", record["message"]) for record in records]
            assert {int(item) for items in named for item in items} in ({records[0]["item"]}, set())
            selected = [record.get("event") for record in records].index("proxy_selected")
            for record in records[selected:]:
                if record["logger"] != "shop.prices":
                    assert all(record[field] for field in ("proxy_id", "proxy_url", "source", "strategy"))
    told = [line for line in lines if line["logger"].startswith(("proxywhirl.rotator", "httpx"))]
    assert [line for line in told if "job" in line.get("extra", {}) and "request_id" not in line] == []
    # The level: one library, while it was set, and nobody else.
    debug = {(line["logger"].partition(".")[0], line["extra"]["job"]) for line in lines if line["level"] == "DEBUG"}
    assert debug == {("httpcore", "detail")}
    # A secret has 32 hexadecimal digits, as an id has.
    assert set(re.findall(r"[0-9a-f]{32}", file.read_text())) <= set(requests)
    assert "api_key=***" in file.read_text()
    # The ledger: as many as there are in the file.
    [row] = re.findall(r"^shop-(\d+) .* (\d+) +(\d+) +0 +0$", output, re.MULTILINE)
    assert {int(row[1]), int(row[2])} == {sum(line["process_id"] == int(row[0]) for line in lines)}
    assert "balanced: every record is accounted for" in output


def test_loopback_takes_its_command_along(tmp_path: Path) -> None:
    """What ends it ends the command too, by the same signal: nothing is left to serve on."""
    command = "import os, signal; print(os.environ['PROXIES'].count('http:'), flush=True); signal.pause()"
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "loopback.py"), sys.executable, "-c", command],
        cwd=tmp_path,
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "3\n"
        process.terminate()
        assert process.stdout.read() == ""  # to its end, which comes when nobody has it open
        assert process.wait(PATIENCE) == 256 - signal.SIGTERM


@contextlib.contextmanager
def serving(*command: str, directory: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A program that runs until it is ended, and at the latest here, with all that it has started."""
    with (directory / f"{Path(command[0]).stem}.err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / command[0]), *command[1:]],
            cwd=directory,
            env=child_environment(PYTHONWARNINGS="ignore", **environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@needs_proxywhirl
@pytest.mark.timeout(180)
def test_fastapi_service(start_collector: StartCollector, tmp_path: Path) -> None:
    """Four workers share the load, a client's id is on all that its request causes, and SIGTERM loses nothing."""
    import httpx

    collector = start_collector("--sink", f"file:{tmp_path}/service.jsonl")
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    ids: list[str] = []
    answers: list[Any] = []

    def ask(number: int) -> Any:
        ids.append(f"client-{number}.")
        # A connection for each: which worker takes it is a matter of chance.
        return httpx.get(f"{site}/prices/{number}", headers={"X-Request-ID": ids[-1]}, timeout=60, trust_env=False)

    def lines() -> list[dict[str, Any]]:
        return lines_of(tmp_path / "service.jsonl")

    def up() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return bool(httpx.get(f"{site}/", timeout=10, trust_env=False).status_code == 200)
        return False

    with serving("loopback.py", directory=tmp_path) as loopback:
        assert loopback.stdout is not None
        proxies = loopback.stdout.readline().split()[:2]
        with serving(
            "fastapi_service.py", "--port", str(port), directory=tmp_path, PROXIES=" ".join(proxies)
        ) as server:
            eventually(up, 90, what="an answer")

            def ready() -> list[dict[str, Any]]:
                return [line for line in lines() if line["message"] == "Application startup complete."]

            eventually(lambda: len(ready()) == 4, 90, what="four workers")
            numbers = iter(range(10_000))

            def shared() -> bool:
                with ThreadPoolExecutor(8) as clients:
                    answers.extend(clients.map(ask, [next(numbers) for _ in range(16)]))
                asked = {line["process_id"] for line in lines() if line["logger"] == "prices.service"}
                return asked == {line["process_id"] for line in ready()}

            eventually(shared, 60, what="requests in every worker")
            secret = "5ec1e7" * 6
            rest = httpx.post(
                f"{site}/api/v1/request",
                headers={"X-Request-ID": "client-rest"},
                json={"url": f"http://8.8.8.8/items/0?api_key={secret}"},  # a proxy answers: nothing leaves the machine
                timeout=60,
                trust_env=False,
            )
            server.terminate()
            assert server.wait(60) == 0

    def all_gone(status: dict[str, Any]) -> bool:
        total = status["total"]
        states = [row["state"] for row in status["workers"] if row["worker"] != "logbus"]
        return states == ["gone"] * 5 and total["emitted"] == total["collected"] == status["sinks"][0]["delivered"]

    status = settled(collector, all_gone)
    assert status["balanced"]
    assert len(lines()) == status["total"]["emitted"]
    requests = by_request(lines())
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.headers["X-Request-ID"] for answer in answers) == sorted(ids)
    for request_id in ids:
        records = requests[request_id]
        loggers = {record["logger"] for record in records}
        assert loggers >= {
            "uvicorn.access",
            "prices.service",
            "proxywhirl.strategies",
            "proxywhirl.rotator.sync",
            "httpx",
        }
        assert len({record["process_id"] for record in records}) == 1
        number = request_id[7:-1]
        assert {path for record in records for path in re.findall(r"/(?:items|prices)/(\d+)", record["message"])} == {
            number
        }
    assert (rest.status_code, rest.headers["X-Request-ID"]) == (200, "client-rest")
    audit = [record for record in requests["client-rest"] if record["message"].startswith("AUDIT")]
    assert len(audit) == 2
    loggers = {record["logger"] for record in requests["client-rest"]}
    assert loggers >= {"uvicorn.access", "proxywhirl.api", "proxywhirl.strategies", "httpx"}
    assert set(requests) >= {*ids, "client-rest"}
    about = [line for line in lines() if "/items/" in line["message"] or "/prices/" in line["message"]]
    assert [line for line in about if line.get("request_id") not in {*ids, "client-rest"}] == []
    output = (tmp_path / "service.jsonl").read_text()
    assert [word for word in (secret, urlsplit(proxies[1]).password) if not word or word in output] == []
