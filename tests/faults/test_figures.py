"""The figures of volume: many records from many workers, each exactly once, each line as the schema says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from logbus.collectors.schema import record_schema
from tests.conftest import SOAK, StartCollector
from tests.faults.scenario import Scenario, read_lines

#: One line in so many is held against the schema: the validator is far slower than everything that it checks.
CHECKED = 50


@pytest.fixture
def run(directories: Path, start_collector: StartCollector) -> Iterator[Scenario]:
    """A collector, and workers that end with the test."""
    scenario = Scenario(directories, start_collector)
    yield scenario
    scenario.end()


@pytest.mark.soak
@pytest.mark.timeout(600 if SOAK else 120)
def test_four_workers_flat_out(run: Scenario, scale: Callable[[int, int], int]) -> None:
    """Four workers at full speed, a buffer that holds it: every record once, in order, none torn, all by the schema."""
    count = scale(100_000, 5_000)
    settings = {"capacity": 2 * count, "capacity_bytes": 1 << 30, "shutdown_timeout": 60}
    for _ in range(4):
        run.work(count // 2, threads=2, settings=settings)
    assert [worker.process.wait(300) for worker in run.workers] == [0] * 4

    status = run.judge()

    assert status["total"]["emitted"] == 4 * count
    assert status["total"]["dropped"] == {}
    lines = read_lines(run.log)
    assert len(lines) == 4 * count
    validator = Draft202012Validator(record_schema())
    for line in lines[::CHECKED]:
        validator.validate(line)


@pytest.mark.soak
@pytest.mark.timeout(600 if SOAK else 120)
def test_steady_rate(run: Scenario, scale: Callable[[int, int], int]) -> None:
    """Four workers, together 10,000 records a second, default settings: none dropped."""
    for _ in range(4):
        run.work(2500 * scale(60, 2), rate=2500)
    assert [worker.process.wait(300) for worker in run.workers] == [0] * 4

    status = run.judge()

    assert status["total"]["emitted"] == 10_000 * scale(60, 2)
    assert status["total"]["dropped"] == {}
