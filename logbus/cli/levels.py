"""``logbus set-level``, ``reset-level`` and ``levels``: what is logged, changed where it is logged, while it runs.

The collector does the work and says how it went: which workers have confirmed that they log by the new rules, in what
time, and which have not. What a script needs goes to stdout and into the exit code; names and notes are for people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from logbus.cli.options import addresses, as_json, reaches_collector, read_duration, read_fields, read_level
from logbus.cli.order import PARTIAL, order
from logbus.cli.terminal import complain, console, print_json, printable

if TYPE_CHECKING:
    from rich.table import Table

#: What is said of an order that was sent and not answered.
_UNKNOWN: Final = "it may be in force all the same: logbus levels shows it"
RULE_COLUMNS: Final = ("component", "level", "workers", "where", "rank", "by", "since", "ends in")
WORKER_COLUMNS: Final = ("worker", "pid", "host", "state", "version", "gate")


def _seconds(ctx: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    seconds = read_duration(ctx, parameter, text)
    if seconds == 0:
        raise click.BadParameter(f"duration {text!r}: expected more than nothing")
    return seconds


@click.command("set-level", short_help="Set the level at which workers log.")
@click.argument("level", callback=read_level)
@click.option("--component", metavar="NAME", help="A component, or a logger's dotted name. [default: every logger]")
@click.option("--worker", metavar="PATTERN", help='Only workers of this name, host ("api-*") or pid.')
@click.option("--for", "seconds", metavar="DURATION", callback=_seconds, help='Until then, like "10m"; then as before.')
@click.option(
    "--where",
    metavar="KEY=VALUE",
    multiple=True,
    callback=read_fields,
    help="Only calls whose context has this field with this value; all must hold.",
)
@click.option("--force", is_flag=True, help="Take a component that nobody has used yet.")
@as_json
@reaches_collector(5.0)
@click.pass_context
def set_level(
    ctx: click.Context,
    *,
    level: int,
    component: str | None,
    worker: str | None,
    seconds: float | None,
    where: dict[str, str],
    force: bool,
    as_json: bool,
    control: str | None,
    name: str | None,
    timeout: float,
) -> None:
    """Set the level at which workers log, and wait until they do.

    LEVEL is a name in any case (TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR,
    CRITICAL) or an integer from 0 to 100.

    Exit 4 when not every worker has confirmed within --timeout; it takes
    effect there as soon as the worker hears of it.
    """
    command = {
        "command": "set_level",
        "selector": component,
        "level": level,
        "worker": worker,
        "where": where,
        "for_seconds": seconds,
        "force": force,
    }
    ctx.exit(_ordered(command, control=control, name=name, timeout=timeout, as_json=as_json))


@click.command("reset-level", short_help="Take back what set-level has set.")
@click.option("--component", metavar="NAME", help="What was set for this one. [default: what was set for every logger]")
@click.option("--worker", metavar="PATTERN", help="Only what was set for this pattern of workers.")
@click.option("--all", "everything", is_flag=True, help="All that was set.")
@as_json
@reaches_collector(5.0)
@click.pass_context
def reset_level(
    ctx: click.Context,
    *,
    component: str | None,
    worker: str | None,
    everything: bool,
    as_json: bool,
    control: str | None,
    name: str | None,
    timeout: float,
) -> None:
    """Take back what set-level has set: levels are again what configuration says.

    Exit 4 when not every worker has confirmed within --timeout.
    """
    if component is not None and everything:
        raise click.UsageError("expected --component or --all, found both")
    command = {"command": "reset_level", "selector": component, "worker": worker, "all": everything}
    ctx.exit(_ordered(command, control=control, name=name, timeout=timeout, as_json=as_json))


@click.command(short_help="Show level rules and who follows them.")
@reaches_collector(5.0)
@as_json
def levels(*, control: str | None, name: str | None, timeout: float, as_json: bool) -> None:
    """Show the rules in force, who set them, when they end, and which worker has which version."""
    from logbus.cli import client

    where = addresses(control=control, name=name)
    answer = client.request({"command": "levels", "name": name}, control=where.control, timeout=timeout)
    if as_json:
        print_json(_document(answer))
    else:
        show(answer)


def show(answer: Mapping[str, Any]) -> None:
    """Prints what a collector answers to ``levels``, for people."""
    terminal = console()
    version = answer.get("version")
    terminal.print(printable(f"collector {answer.get('collector')}, level version {version}"), "", sep="\n")
    if rules := answer.get("rules"):
        terminal.print(_table(RULE_COLUMNS, [_rule_cells(rule) for rule in rules]), "")
    else:
        terminal.print("no rules: every worker logs at the level of its own settings", "", sep="\n")
    if workers := answer.get("workers"):
        rows = [_worker_cells(worker, version) for worker in workers]
        terminal.print(_table(WORKER_COLUMNS, rows, ["" if worker.get("current") else "yellow" for worker in workers]))
    else:
        terminal.print("no worker is running")


def _ordered(
    command: Mapping[str, Any], *, control: str | None, name: str | None, timeout: float, as_json: bool
) -> int:
    """Gives an order and says how it went; returns the exit code."""
    answer = order(command, _UNKNOWN, control=control, name=name, timeout=timeout)
    confirmed, workers = answer.get("confirmed", 0), answer.get("workers", 0)
    if as_json:
        print_json(_document(answer))
    else:
        took = f" in {_milliseconds(answer.get('milliseconds', 0.0))}" if workers else ""
        click.echo(f"{confirmed}/{workers} workers confirmed{took}")
        for row in answer.get("unconfirmed", ()):
            complain(f"not confirmed: {_unconfirmed(row)}")
        for note in answer.get("notes", ()):
            click.echo(f"logbus: note: {printable(note)}", err=True)
    return 0 if confirmed == workers else PARTIAL  # also where none of several has


def _document(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("v", "ok")}


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"


def _unconfirmed(row: Mapping[str, Any]) -> str:
    words = [str(row.get("worker"))]
    if row.get("pid"):
        words.append(f"(pid {row['pid']}, host {row.get('host')})")
    state, version = row.get("state"), row.get("level_version")
    words.append({"stopped": "is stopped", "silent": "is silent"}.get(str(state), "has not answered"))
    return " ".join(words) + (f", has level version {version}" if version else "")


def _rule_cells(rule: Mapping[str, Any]) -> tuple[str, ...]:
    remaining = rule.get("remaining_seconds")
    where = rule.get("where") or {}
    at = rule.get("at")
    return (
        str(rule.get("selector") or "default"),
        str(rule.get("level_name", rule.get("level"))),
        str(rule.get("worker") or "all"),
        " ".join(f"{key}={value}" for key, value in where.items()),
        {"set": "set-level"}.get(str(rule.get("rank")), str(rule.get("rank"))),
        str(rule.get("by", "")),
        datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else "",
        "" if remaining is None else _about(remaining),
    )


def _about(seconds: float) -> str:
    """A duration as one says it: in whole minutes from two on."""
    from logbus.durations import format_duration

    step = 60 if seconds > 120 else 1
    return format_duration(max(1, math.ceil(seconds / step)) * step)


def _worker_cells(worker: Mapping[str, Any], version: object) -> tuple[str, ...]:
    gates = worker.get("gates") or {}
    known = worker.get("level_version")
    return (
        str(worker.get("worker")),
        str(worker.get("pid")),
        str(worker.get("host")),
        str(worker.get("state")),
        f"{'none' if known is None else known}" + ("" if worker.get("current") else f", not yet {version}"),
        ", ".join(f"{library} {gate}" for library, gate in gates.items()) or "none",
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = [at for at, _ in enumerate(headings) if any(row[at] for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for at in shown:
        table.add_column(headings[at], overflow="fold")
    for number, row in enumerate(rows):
        style = styles[number] if styles else ""
        table.add_row(*(Text(printable(row[at]), style=style) for at in shown))
    return table
