"""The figures of delivery: an endpoint that is away for long, and random faults with ``kill -9`` in between. Seeded."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import SOAK, StartCollector
from tests.eventually import eventually
from tests.faults.remote import Delays, Remote, Syslog, resident_bytes
from tests.faults.scenario import SETTLE, Scenario
from tests.integration.watch import status_of
from tests.servers.daemon import unread
from tests.servers.faulty_http import FaultyHttp, Program

#: Runs of random faults.
SEEDS = range(10) if SOAK else range(2)
#: The time limit of a request where faults are random. Before, there is no limit that a slow machine could reach.
TIMEOUT = "1 s"
#: Bytes by which the collector may grow while an endpoint is away.
GROWTH = 64 * 1024 * 1024

NewRemote = Callable[..., Remote]
StartHttp = Callable[..., FaultyHttp]
Scale = Callable[[int, int], int]


@pytest.fixture
def remote(directories: Path, start_collector: StartCollector) -> Iterator[NewRemote]:
    """Makes a scenario with remote sinks, and ends its processes and its syslog server."""
    made: list[Remote] = []

    def make(**options: object) -> Remote:
        made.append(Remote(directories, start_collector, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for found in made:
        found.end()
        if found.syslog is not None:
            found.syslog.stop(reset=False)


@pytest.fixture
def undisturbed(tmp_path: Path, start_collector: StartCollector) -> Iterator[Scenario]:
    """A second collector with its worker, on the same machine, which has nothing but a file."""
    places = {f"LOGBUS_{what.upper()}_DIR": str(tmp_path / what) for what in ("state", "runtime")}

    def start(*arguments: str, directory: Path | None = None) -> object:
        return start_collector(*arguments, "--name", "second", directory=directory, env=places)

    found = Scenario(tmp_path, start)  # type: ignore[arg-type]
    yield found
    found.end()


@pytest.mark.soak
@pytest.mark.timeout(600 if SOAK else 120)
def test_an_endpoint_that_is_away_costs_no_record(
    remote: NewRemote, start_http: StartHttp, request: pytest.FixtureRequest, scale: Scale
) -> None:
    """Everything goes to disk meanwhile and arrives afterwards, once and in order; the file beside it gets its lines.

    The collector does not grow, and (in full) its file gets them as soon as that of a collector without the sink.
    """
    rate, before, away, after = scale(5000, 500), scale(10, 1), scale(60, 3), scale(10, 1)
    server = start_http()
    run = remote(
        http=server,
        web=f'spool = "{scale(256, 1)} MiB"\nbatch = {{ max_delay = "100 ms" }}\n'
        f'retry = {{ initial = "100 ms", max_interval = "{scale(30, 1)} s" }}',
    )
    count = rate * (before + away + after)
    worker = run.work(count, rate=rate, patience=30.0)
    beside = None
    if SOAK:  # figures that depend on the machine: both at the same time
        beside = request.getfixturevalue("undisturbed")
        settings = {"endpoint": beside.collector.endpoint, "control": beside.collector.control}
        beside.work(count, rate=rate, patience=30.0, settings=settings)
    run.wait_begun(worker, rate * before)
    eventually(lambda: server.report()["records"] >= rate * before // 2, SETTLE)
    at_first = resident_bytes(run.collector.process.pid)

    # As an endpoint behind a balancer goes: it refuses, then nobody listens. Of an endpoint that dies with a request in
    # its hands nobody knows whether it has the records; that is what the other test is about.
    gone_at = run.returned()
    server.always(status=503)
    eventually(lambda: run.row("web")["circuit"] == "open", 4 * SETTLE)
    server.down()
    delivered, largest = run.row("web")["delivered"], at_first

    def long_away() -> bool:
        nonlocal largest
        largest = max(largest, resident_bytes(run.collector.process.pid))
        return run.returned() >= gone_at + rate * away

    with contextlib.ExitStack() as stack:
        delays = [stack.enter_context(Delays(one.log)) for one in (run, beside) if one is not None]
        eventually(long_away, away + SETTLE)
    logged = run.returned()
    status = eventually(
        lambda: found if (found := status_of(run.collector))["sinks"][0]["delivered"] >= logged else None, SETTLE
    )
    assert status is not None
    _, web = status["sinks"]
    assert web["delivered"] == delivered
    assert web["state"] == "failing"
    assert web["spool"]["records"] > rate * away // 2, web

    server.always()
    server.up()
    for scenario in (run, *([beside] if beside else [])):
        assert [one.process.wait(count / rate + 4 * SETTLE) for one in scenario.workers] == [0]
    eventually(long_away, SETTLE)
    status = run.judge()
    largest = max(largest, resident_bytes(run.collector.process.pid))

    file, web = status["sinks"]
    assert numbers(server.lines) == list(range(count))
    assert numbers(run.log.read_bytes().splitlines()) == list(range(count))
    for row in (file, web):
        assert (row["dropped"], row["unknown"], row["duplicated"]) == ({}, 0, 0), row
    assert largest - at_first < GROWTH, f"from {at_first:,} to {largest:,} bytes"
    print(f"grown by {(largest - at_first) / 1024**2:.1f} MiB, {web['spool']}")
    if beside is not None:
        for part, name in ((0.5, "median"), (0.99, "p99")):
            with_it, without = (one.at(part) for one in delays)
            print(f"{name} from the call to the line: {with_it * 1e3:.2f} ms, without the sink {without * 1e3:.2f} ms")
            assert with_it <= 1.2 * without, name


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_random_faults(remote: NewRemote, start_http: StartHttp, scale: Scale, seed: int) -> None:
    """Servers fail in every way, and the collector is killed in between: the ledger is exact in the end.

    What was in a spool when the collector died has arrived, and what has arrived twice was said to be possible.
    """
    chance = random.Random(seed)
    spooling = 'spool = "16 MiB"\nretry = { initial = "20 ms", max_interval = "200 ms" }'
    server, syslog = start_http(), Syslog()
    run = remote(
        http=server,
        syslog=syslog,
        seed=seed,
        timeout="5 min",
        web=f'{spooling}\nbatch = {{ max_records = 50, max_delay = "20 ms" }}',
        log_keys=spooling,
    )
    steps, rate = scale(24, 4), 500
    worker = run.work(10_000_000, rate=rate, threads=2, fixed_level=0, patience=30.0)
    run.wait_begun(worker, rate // 4)
    certain_faults(run)
    kills = range(3, steps, 4)
    for step in range(steps):
        if step in kills:
            run.kill_collector()
            run.start()
        else:
            fault(chance, run)
        begun = run.returned()
        run.wait_begun(worker, begun + chance.randrange(rate // 4, rate))
    server.always()
    server.up()
    syslog.start()
    syslog.resume()
    worker.end(signal.SIGTERM)
    assert worker.wait() == -signal.SIGTERM

    status = run.judge()

    rows = {row["name"]: row for row in status["sinks"]}
    assert rows["web"]["duplicated"]
    assert rows["web"]["unknown"]
    assert rows["log"]["duplicated"]
    print(f"seed {seed}: " + "; ".join(f"{name} {summary(row)}" for name, row in rows.items()))


def certain_faults(run: Remote) -> None:
    """What every run has: a request that has arrived without an answer, a server that took messages with it, a kill
    with a write in hand, and one with records in the spool.
    """
    http, syslog = run.http, run.syslog
    assert syslog is not None
    requests = http.report()["requests"]
    http.next({"do": "close", "keep": True})
    eventually(lambda: http.report()["requests"] > requests + 1, SETTLE)

    syslog.stall()
    eventually(lambda: unread(syslog.port) > 0, SETTLE)
    syslog.stop(reset=True, client=run.collector.process)
    assert syslog.unread()
    syslog.start()
    eventually(lambda: syslog.unread() <= set(syslog.lines()), SETTLE, what="what was acknowledged and never read")

    eventually(lambda: (row := run.row("web"))["state"] == "ok" and not row["spooled"], SETTLE)
    http.always(do="mute")
    eventually(lambda: http.report()["muted"], SETTLE)
    run.kill_collector()
    http.always(status=503)
    run.timeout = TIMEOUT
    run.start()
    eventually(lambda: run.row("web")["spooled"], SETTLE)
    run.kill_collector()
    assert run.spooled["web"]
    http.always()
    run.start()


def fault(chance: random.Random, run: Remote) -> None:
    """Something goes wrong at one server or at both, or is mended."""
    http = run.http
    programs: list[Program] = [
        {"status": 500},
        {"status": 503, "headers": {"Retry-After": "1"}},
        {"status": 400, "when": {"records": 20}},
        {"do": "reset"},
        {"do": "close"},
        {"do": "close", "keep": True},
        {"do": "garbage", "keep": True},
        {"do": "cut"},
        {"do": "mute"},
        {"status": 502, "close": True},
    ]
    assert run.syslog is not None
    for _ in range(chance.choice((1, 1, 2))):
        match chance.randrange(8):
            case 0:
                http.down()
            case 1:
                http.up()
                http.always()
            case 2:
                http.always(**chance.choice(programs))
            case 3 | 4:
                http.next(*chance.choices(programs, k=chance.randrange(1, 6)))
            case 5:
                run.syslog.stop(reset=chance.random() < 0.5, client=run.collector.process)
            case 6:
                run.syslog.start()
                run.syslog.resume()
            case _:
                run.syslog.stall()


def numbers(lines: list[bytes]) -> list[int]:
    """The numbers of the worker's lines, in their order."""
    return [record["extra"]["number"] for record in map(json.loads, lines) if record["worker"] == "w0"]


def summary(row: dict[str, object]) -> str:
    """What became of a sink's records."""
    return ", ".join(f"{key} {row[key]}" for key in ("offered", "delivered", "unknown", "duplicated", "dropped"))
