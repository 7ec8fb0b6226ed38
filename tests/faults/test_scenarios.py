"""The promise of the ledger: exact after every fault, against witnesses that do not trust it. Seeded."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import SOAK, StartCollector
from tests.faults.scenario import Scenario

#: Seeded runs of every fault: 7 faults; together more than 50 in full.
SEEDS = range(8) if SOAK else range(1)

NewScenario = Callable[[int], Scenario]


@pytest.fixture
def scenario(directories: Path, start_collector: StartCollector) -> Iterator[NewScenario]:
    """Makes a scenario from a seed, and ends its processes."""
    made: list[Scenario] = []

    def make(seed: int) -> Scenario:
        found = Scenario(directories, start_collector, seed)
        made.append(found)
        return found

    yield make
    for found in made:
        found.end()


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_normal_end(scenario: NewScenario, seed: int) -> None:
    """Workers that end by themselves: every record collected and delivered, none dropped."""
    run = scenario(seed)
    for _ in range(3):
        run.work(run.random.randrange(500, 3000), rate=5000, threads=2, fixed_level=0)
    assert [worker.wait() for worker in run.workers] == [0, 0, 0]

    status = run.judge()

    assert status["total"]["dropped"] == {}


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_worker_sigterm(scenario: NewScenario, seed: int) -> None:
    """A worker ended by SIGTERM drains first: what it had emitted arrives."""
    run = scenario(seed)
    worker = run.work(1_000_000, rate=5000)
    run.wait_begun(worker, run.random.randrange(200, 4000))
    worker.end(signal.SIGTERM)
    assert worker.wait() == -signal.SIGTERM

    status = run.judge()

    assert status["total"]["dropped"] == {}


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_worker_killed(scenario: NewScenario, seed: int) -> None:
    """A worker ended by kill -9: its last records are lost and counted, exactly."""
    run = scenario(seed)
    worker = run.work(1_000_000, rate=run.random.choice([0, 5000]), threads=2)
    other = run.work(1000, rate=2000)
    run.wait_begun(worker, run.random.randrange(200, 20_000))
    worker.end(signal.SIGKILL)
    worker.wait()
    other.wait()

    status = run.judge()

    states = {row["worker"]: row["state"] for row in status["workers"]}
    assert states["w0"] == "crashed"
    assert states["w1"] == "gone"


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_collector_restarts_under_load(scenario: NewScenario, seed: int) -> None:
    """Graceful restarts under load lose nothing."""
    run = scenario(seed)
    for _ in range(3):
        # One that ends while no collector is there must not give up: how long a start takes depends on the machine.
        run.work(36_000, rate=9000, patience=60.0)
    for part in range(3):
        run.wait_begun(run.workers[0], 9000 * part + run.random.randrange(1000, 9000))
        run.restart_collector()
    assert [worker.wait() for worker in run.workers] == [0, 0, 0]

    status = run.judge()

    assert status["total"]["dropped"] == {}


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_collector_killed(scenario: NewScenario, seed: int) -> None:
    """A collector ended by kill -9 loses what it held; each lost record is counted where it was lost."""
    run = scenario(seed)
    for _ in range(3):
        run.work(24_000, rate=run.random.choice([4000, 9000]))
    for part in range(2):
        run.wait_begun(run.workers[0], 9000 * part + run.random.randrange(1000, 9000))
        run.kill_collector()
        run.start()
    for worker in run.workers:
        worker.wait()

    run.judge()


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
def test_both_killed(scenario: NewScenario, seed: int) -> None:
    """Worker and collector killed back to back, in either order."""
    run = scenario(seed)
    worker = run.work(1_000_000, rate=run.random.choice([0, 4000]))
    other = run.work(6000, rate=2000)
    run.wait_begun(worker, run.random.randrange(500, 10_000))
    for end in run.random.sample([lambda: worker.end(signal.SIGKILL), run.kill_collector], 2):
        end()
    worker.wait()
    run.start()
    other.wait()

    run.judge()


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("policy", ["shed_lowest", "drop_newest", "drop_oldest"])
def test_full_buffer(scenario: NewScenario, seed: int, policy: str) -> None:
    """With the collector stopped the buffer fills: drops are counted by reason, the rest arrives when it goes on."""
    run = scenario(seed)
    run.collector.process.send_signal(signal.SIGSTOP)
    worker = run.work(
        20_000,
        threads=2,
        fixed_level=0,
        stay=True,
        settings={"capacity": run.random.choice([500, 2000]), "on_full": policy},
    )
    run.wait_begun(worker, 40_000)
    run.collector.process.send_signal(signal.SIGCONT)
    run.wait_written(100)
    worker.end(signal.SIGTERM)
    worker.wait()

    status = run.judge()

    dropped = status["total"]["dropped"]
    assert dropped["high_water_mark"] > 10_000
    assert set(dropped) == {"high_water_mark"}
