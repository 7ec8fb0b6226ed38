"""``logbus tail`` as far as no collector is needed; with one: tests/integration/test_tail.py."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logbus.bus import Endpoint
from logbus.cli import program, tail as module
from tests.fake_collector import FakeCollector


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--grep", "(["), "expected a regular expression, found '(['"),
        (("--grep", "a{99999999999}"), "expected a regular expression"),
        (("--level", "LOUD"), "expected one of"),
        (("--where", "k"), "expected KEY=VALUE, found 'k'"),
        (("--format", "yaml"), "'yaml' is not one of"),
        (("-n", "0"), "0 is not in the range"),
        (("--timeout", "0"), "expected seconds"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    """What is wrong stands on stderr; no collector is asked."""
    done = CliRunner().invoke(program, ["tail", *arguments], prog_name="logbus")
    assert done.exit_code == 2
    assert words in done.stderr


def test_without_a_collector_it_ends_at_once() -> None:
    """As every command that asks one: 1, and one line that says where none is."""
    done = CliRunner().invoke(program, ["tail"], prog_name="logbus")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nobody listens there" in done.stderr


@pytest.fixture
def question(directories: Path) -> Iterator[list[dict[str, Any]]]:
    """The commands that a collector gets, which refuses each with 2."""
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    refusal = {"ok": False, "error": "tail: no such thing", "exit_code": 2}
    with FakeCollector(control, lambda _: refusal) as fake:
        yield fake.commands


def test_the_collector_is_asked_for_all_but_the_pattern(question: list[dict[str, Any]]) -> None:
    """A pattern stays here; a refusal ends the command with its reason and its code."""
    arguments = "--component a --component b.c --level error --where k=v=w --grep x+ --format json -n 3".split()
    done = CliRunner(env={"NO_COLOR": "1"}).invoke(program, ["tail", *arguments], prog_name="logbus")
    assert done.exit_code == 2
    assert "tail: no such thing" in done.stderr
    assert question == [
        {
            "v": 1,
            "command": "tail",
            "components": ["a", "b.c"],
            "level": 40,
            "where": {"k": "v=w"},
            "format": "json",
            "colour": False,
        }
    ]


@pytest.mark.parametrize(
    ("environment", "colour"), [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)]
)
def test_colours_are_asked_for_as_the_environment_says(
    question: list[dict[str, Any]], environment: dict[str, str], colour: bool
) -> None:
    """By the rules of a console sink."""
    CliRunner(env=environment).invoke(program, ["tail"], prog_name="logbus")
    assert question[0]["colour"] is colour


def test_another_collector_is_not_followed(directories: Path) -> None:
    """The one that was named, or none."""
    control = Endpoint.parse(f"ipc://{directories}/runtime/eu/control")
    with FakeCollector(control, lambda _: {"ok": True, "name": "us", "pid": 1}):
        done = CliRunner().invoke(program, ["tail", "--name", "eu"], prog_name="logbus")
    assert done.exit_code == 1
    assert "expected collector 'eu', found 'us'" in done.stderr


@pytest.mark.parametrize("answer", [None, b"junk", b"\1" + bytes(24)])
def test_an_answer_that_is_none_ends_with_1(directories: Path, answer: bytes | None) -> None:
    """Within the timeout, without a traceback."""
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    with FakeCollector(control, lambda _: answer):
        done = CliRunner().invoke(program, ["tail", "--timeout", "0.3"], prog_name="logbus")
    assert done.exit_code == 1
    assert done.stderr.startswith("logbus: error: ")


def test_a_pattern_sees_a_line_without_its_colours() -> None:
    """They stand between the words that somebody looks for."""
    watch = module._Tail({}, Endpoint.parse("ipc:///nowhere"), None, 1.0, re.compile(r"INFO +w1 .*7$"), None)
    assert watch._wants(b"2026 \x1b[32mINFO    \x1b[0m w1 rotator: \x1b[2mk=7\x1b[0m\n")
    assert not watch._wants(b"2026 \x1b[32mINFO    \x1b[0m w1 rotator: \x1b[2mk=8\x1b[0m\n")


def test_a_slow_terminal_gets_every_byte_and_the_lease_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is written as far as it goes; while it is full the collector is kept waiting for nothing."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    monkeypatch.setattr(module, "_STDOUT", writing)
    monkeypatch.setattr(module, "TELL_S", 0.001)
    read = bytearray()

    class Following:
        renewals = 0

        def renew(self) -> None:
            """Reads a little each time, as a slow reader does."""
            self.renewals += 1
            if self.renewals > 40:
                try:
                    read.extend(os.read(reading, 10_000))
                except BlockingIOError:
                    return

    following = Following()
    lines = b"".join(b"line %d\n" % number for number in range(50_000))
    module._write(lines, following)  # type: ignore[arg-type]
    read.extend(os.read(reading, 1_000_000))
    assert bytes(read) == lines
    os.close(reading)
    os.close(writing)
