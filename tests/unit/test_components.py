"""The names that levels can be set for."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from logbus.collectors import components as components_module
from logbus.collectors.components import FILE_NAME, Components
from logbus.collectors.decode import Site
from logbus.errors import ConfigurationError


def site(logger: str, component: str = "") -> Site:
    """A call site."""
    return Site(logger, 20, "INFO", "m", "f", 1, component or logger)


def known(components: Components, selector: str) -> bool:
    """Whether a selector is taken."""
    try:
        components.check(selector)
    except ConfigurationError:
        return False
    return True


@pytest.fixture
def told() -> list[str]:
    """What was told."""
    return []


@pytest.fixture
def components(tmp_path: Path, told: list[str]) -> Components:
    """No name yet."""
    return Components(tmp_path, tell=told.append)


def test_a_run_of_segments_of_a_known_name_is_known(components: Components) -> None:
    """Of loggers, of components, of what a worker lists, and of what configuration names."""
    components.learn([site("proxywhirl.rotator.sync", "rotator"), site("__main__", "billing")])
    components.learn_names(["shop.till.drawer"])
    components.configure(["health.probe"])
    taken = ["rotator", "proxywhirl.rotator", "rotator.sync", "billing", "till", "shop.till.drawer", "health", "probe"]
    assert [name for name in taken if not known(components, name)] == []
    assert [name for name in ("rot", "proxywhirl.sync", "drawer.till", "cache") if known(components, name)] == []
    components.configure([])
    assert not known(components, "health")


@pytest.mark.parametrize(
    ("wrong", "guess"),
    [
        ("rotater", "did you mean rotator?"),
        ("proxywhirl.rotater", "did you mean proxywhirl.rotator?"),
        ("rotator.snyc", "did you mean rotator.sync?"),
        ("helth", "did you mean health?"),
        ("quite_something_else", None),
    ],
)
def test_a_misspelt_name_is_an_error_with_near_ones(components: Components, wrong: str, guess: str | None) -> None:
    """Of as many segments as were written; the error says what to do if it is no mistake."""
    components.learn([site("proxywhirl.rotator.sync", "rotator")])
    components.configure(["health"])
    with pytest.raises(ConfigurationError) as raised:
        components.check(wrong)
    first, second = raised.value.problems
    assert first == f"unknown component {wrong!r}" + (f": {guess}" if guess else "")
    assert second == "--force accepts a name that nobody has used yet"


def test_who_has_logged_is_told_from_who_exists(components: Components) -> None:
    """A listed logger is known and silent until its first record."""
    components.learn_names(["shop.till"])
    assert (known(components, "till"), components.spoke("till")) == (True, False)
    components.learn([site("shop.till", "shop")])
    assert components.spoke("till")
    components.learn_names(["shop.till"])
    assert components.spoke("till")


def test_names_are_bounded(components: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger for each request costs no memory; names still in use come back, and giants are not kept at all."""
    monkeypatch.setattr(components_module, "MAX_NAMES", 100)
    components.learn([site("steady")])
    for number in range(1000):
        components.learn([site(f"request-{number}"), site("steady")])
    components.learn([site("x" * 201), site("")])
    assert len(components) <= 100
    assert known(components, "steady")
    assert known(components, "request-999")
    assert not known(components, "request-1")


def test_names_survive_a_restart(tmp_path: Path, components: Components, told: list[str]) -> None:
    """Written rarely, and at the end; who has logged is still told from who has not."""
    components.learn([site("rotator")])
    components.write()
    components.learn_names(["health"])
    components.write()
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {"spoken": ["rotator"], "silent": []}
    components.write(now=True)
    again = Components(tmp_path, tell=told.append)
    assert (again.spoke("rotator"), known(again, "health"), again.spoke("health")) == (True, True, False)
    before = (tmp_path / FILE_NAME).stat()
    again.write(now=True)
    assert (tmp_path / FILE_NAME).stat() == before, "nothing new, nothing written"
    assert told == []


@pytest.mark.parametrize("contents", [b"", b"[]", b'{"spoken": 7}', b'{"silent": [7]}', b"\xff", b"[" * 100_000])
def test_a_file_that_can_not_be_read_is_put_aside(tmp_path: Path, told: list[str], contents: bytes) -> None:
    """The collector starts without names, says so, and keeps the file."""
    (tmp_path / FILE_NAME).write_bytes(contents)
    assert len(Components(tmp_path, tell=told.append)) == 0
    assert (tmp_path / f"{FILE_NAME}.unreadable").read_bytes() == contents
    assert len(told) == 1


def test_a_disk_that_refuses_is_told_once(tmp_path: Path, components: Components, told: list[str]) -> None:
    """Names are no reason to stop; when the disk is well again they are kept."""
    (tmp_path / f"{FILE_NAME}.new").mkdir()
    for name in ("a", "b"):
        components.learn([site(name)])
        components.write(now=True)
    assert len(told) == 1
    os.rmdir(tmp_path / f"{FILE_NAME}.new")
    components.write(now=True)
    assert json.loads((tmp_path / FILE_NAME).read_text())["spoken"] == ["a", "b"]


def test_a_guess_among_very_many_names_takes_no_time(components: Components) -> None:
    """The loop that answers has records to read."""
    components.learn_names(f"app.module{number}.part{number % 7}" for number in range(20_000))
    begun = time.process_time()
    assert not known(components, "modul99x.part")
    assert time.process_time() - begun < 2


def test_loggers_that_only_exist_do_not_drive_out_those_that_log(
    components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that makes a logger for each request leaves the names known for which levels are set."""
    monkeypatch.setattr(components_module, "MAX_NAMES", 100)
    components.learn([site("proxywhirl.rotator", "rotator")])
    for number in range(1000):
        components.learn_names([f"request.{number}"])
    assert known(components, "rotator")
    assert known(components, "request.999")
    components.learn(site(f"logged.{number}") for number in range(1000))
    assert len(components) <= 100
    assert known(components, "logged.999")
