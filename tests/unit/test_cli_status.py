"""``logbus status``: the collector's document, for people and for programs."""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from logbus.bus import Endpoint
from logbus.cli import program
from logbus.cli.status import show
from logbus.cli.terminal import console, printable
from tests.fake_collector import FakeCollector

#: The example of the contract, with a gone worker and the collector's own row beside it.
DOCUMENT: dict[str, Any] = {
    "collector": {"name": "default", "pid": 41, "state": "serving", "level_version": 7, "uptime_seconds": 1.53},
    "workers": [
        {"worker": "rotator-1", "pid": 42, "host": "h", "state": "live", "exact": True,
         "emitted": 12345, "collected": 12343, "dropped": {"high_water_mark": 2}, "in_flight": 0, "unknown": 0},
        {"worker": "rotator-2", "pid": 43, "host": "h", "state": "crashed", "exact": False,
         "emitted": 3, "collected": 2, "dropped": {}, "in_flight": 0, "unknown": 1},
    ],
    "total": {"emitted": 12348, "collected": 12345, "dropped": {"high_water_mark": 2}, "in_flight": 0, "unknown": 1},
    "sinks": [
        {"name": "main", "type": "file", "state": "ok", "offered": 12345, "delivered": 12344, "filtered": 1,
         "sampled_out": 0, "dropped": {}, "queued": 0, "spooled": 0, "unknown": 0, "duplicated": 0, "last_error": None},
    ],
    "balanced": True,
}  # fmt: skip


@pytest.fixture
def document(directories: Path) -> Iterator[dict[str, Any]]:
    """The document that the default collector answers with; a test may change it."""
    answer = copy.deepcopy(DOCUMENT)
    control = Endpoint.parse(f"ipc://{directories}/runtime/default/control")
    with FakeCollector(control, lambda _: {"ok": True, "status": answer}):
        yield answer


def run(*arguments: str, **environ: str) -> Result:
    """What the command did; its stdout is a pipe."""
    return CliRunner(env=environ).invoke(program, [*arguments], prog_name="logbus")


def rendered(document: dict[str, Any], width: int = 160) -> str:
    """The document as it looks without colours."""
    output = io.StringIO()
    show(document, Console(file=output, width=width))
    return output.getvalue()


def test_json_is_the_document_and_nothing_else(document: dict[str, Any]) -> None:
    """With --json stdout holds exactly the collector's document."""
    result = run("status", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == document


def test_a_ledger_that_does_not_balance_ends_with_1(document: dict[str, Any]) -> None:
    """The exit code says whether the ledger balances, with and without --json, and the problems are shown."""
    document["balanced"] = False
    document["problems"] = ["worker rotator-1: emitted 3, accounted for 2"]
    assert run("status", "--json").exit_code == 1
    result = run("status")
    assert result.exit_code == 1
    assert "NOT BALANCED\n  worker rotator-1: emitted 3, accounted for 2\n" in result.stdout


def test_people_see_workers_total_and_sinks(document: dict[str, Any]) -> None:
    """The tables have a row for each worker, the total and each sink, with the collector's own numbers."""
    result = run("status")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [re.sub(r" {2,}", " | ", line.strip()) for line in result.stdout.splitlines()]
    assert lines[0] == "collector default, pid 41, serving, up 1.5 s"
    assert "worker | pid | host | state | emitted | collected | dropped | in flight | unknown" in lines
    assert "rotator-1 | 42 | h | live | 12,345 | 12,343 | high_water_mark 2 | 0 | 0" in lines
    assert "rotator-2 | 43 | h | crashed, not exact | 3 | 2 | 0 | 0 | 1" in lines
    assert "total | 12,348 | 12,345 | high_water_mark 2 | 0 | 1" in lines
    assert "name | type | state | offered | delivered | filtered | dropped | queued" in lines
    assert "main | file | ok | 12,345 | 12,344 | 1 | 0 | 0" in lines
    assert lines[-1] == "balanced: every record is accounted for"


def test_a_total_that_is_not_exact_says_so(document: dict[str, Any]) -> None:
    """The total has no state of its own, only whether every one of its rows is exact."""
    document["total"]["exact"] = False
    lines = [re.sub(r" {2,}", " | ", line.strip()) for line in run("status").stdout.splitlines()]
    assert any(line.startswith("total | not exact | 12,348") for line in lines)


def test_a_term_that_is_not_zero_gets_its_column() -> None:
    """Terms that are rarely anything are shown as soon as one row has them."""
    document = copy.deepcopy(DOCUMENT)
    assert "spooled" not in rendered(document)
    document["sinks"][0]["spooled"] = 5
    document["sinks"][0]["last_error"] = "disk full"
    assert "spooled" in rendered(document)
    assert "disk full" in rendered(document)


def test_a_sink_that_fails_is_explained() -> None:
    """Below the tables: what it says, since when, how much waits and where, and what to do."""
    document = copy.deepcopy(DOCUMENT)
    document["sinks"] = [
        {**DOCUMENT["sinks"][0], "circuit": "closed", "oldest_seconds": 0.01, "dead_letters": 0},
        {**DOCUMENT["sinks"][0], "name": "web", "type": "http", "state": "failing", "circuit": "open",
         "queued": 34, "spooled": 1200, "oldest_seconds": 63.2, "failing_seconds": 150.0, "dead_letters": 2,
         "last_error": "answered 503: " + "x" * 100},
        {**DOCUMENT["sinks"][0], "name": "odd", "type": "acme", "state": "failing", "last_error": "no"},
    ]  # fmt: skip
    lines = rendered(document, width=220).splitlines()
    for head in ("circuit", "queued", "spooled", "oldest", "dead letters", "last error"):
        assert any(f" {head}" in line for line in lines)
    row = next(line for line in lines if line.startswith("web")).split()
    assert (row[3], row[8:12]) == ("open", ["34", "1,200", "63", "s"])
    assert (
        f"sink web fails for 2 min: answered 503: {'x' * 100}; 1,234 records wait (1,200 of them in its spool),"
        " the oldest for 63 s; see whether its server is up, and its url, auth and tls are right"
    ) in lines
    assert "sink web has 2 dead letters: logbus dead-letters list --sink web" in lines
    assert "sink odd fails: no; see what it says, and mend that" in lines
    assert "closed" not in "".join(lines)


def test_what_is_wrong_with_a_sink_that_works_is_told() -> None:
    """In one line, without advice: it delivers."""
    document = copy.deepcopy(DOCUMENT)
    document["sinks"][0]["last_error"] = "rotation\x1b[2J fails"
    assert "sink main: rotation\\x1b[2J fails" in rendered(document).splitlines()


def test_the_tables_add_nothing_up() -> None:
    """The total is the collector's, also where it contradicts the rows."""
    document = copy.deepcopy(DOCUMENT)
    document["total"]["emitted"] = 777
    assert re.search(r"total +777 ", rendered(document))


def test_names_from_other_processes_can_not_write_on_the_terminal() -> None:
    """Escape sequences, markup and bidirectional overrides in names come out as text."""
    document = copy.deepcopy(DOCUMENT)
    document["workers"][0]["worker"] = "\x1b[2J\u202e[red]x\n"
    document["sinks"][0]["last_error"] = "\x1b]0;title\x07"
    text = rendered(document, width=300)
    assert "\\x1b[2J\\u202e[red]x\\n" in text
    assert "\\x1b]0;title\\x07" in text
    assert "\x1b" not in text


def test_a_document_of_a_later_version_is_shown_as_far_as_it_is_known() -> None:
    """Missing keys and new ones don't stop the table."""
    document = {"collector": {}, "workers": [{"worker": "w", "new": 1}], "sinks": [{"name": "s"}], "balanced": True}
    assert "balanced" in rendered(document)


def test_a_pipe_gets_whole_lines_without_colour(document: dict[str, Any]) -> None:
    """Into a pipe the table is not squeezed into 80 columns and holds no escape sequence."""
    document["workers"][0]["worker"] = "w" * 100
    result = run("status")
    assert "w" * 100 in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("environ", "colored"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_mind_the_environment(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], colored: bool) -> None:
    """FORCE_COLOR colours a pipe, NO_COLOR leaves every output without colour."""
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    show(DOCUMENT, console())
    assert bool(re.search("\x1b\\[[0-9;]*3[0-9]m", output.getvalue())) is colored


def test_printable_leaves_what_can_be_read() -> None:
    """Letters of every script stay, controls and overrides do not."""
    assert printable("Übung 記録 🚀") == "Übung 記録 🚀"
    assert printable("a\r\n\x9b\u2028\ud800") == "a\\r\\n\\x9b\\u2028\\ud800"


def test_without_a_collector_the_answer_is_quick_and_1() -> None:
    """Where no collector listens the command ends with 1 and says where it looked, with nothing on stdout."""
    result = run("status", "--json", "--timeout", "60")
    assert result.exit_code == 1
    assert re.fullmatch(r"logbus: error: no collector answered at ipc://\S+/default/control: .*\n", result.stderr)
    assert result.stdout == ""
