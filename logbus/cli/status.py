"""``logbus status``: the ledger, as the collector has it: where every record has gone, and whether it all adds up.

The document comes whole from the collector. Nothing is added up here: a table that computed its own totals could
balance where the ledger doesn't. A term that is zero in every row gets no column, except those of the law that a
reader looks for (emitted and collected, offered and delivered).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from logbus.cli.options import addresses, as_json, reaches_collector
from logbus.cli.terminal import console, print_json, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Columns of the two tables: key, and whether it stands there even when it is empty or zero in every row.
WORKER_COLUMNS: Final = (
    ("worker", True),
    ("pid", True),
    ("host", False),
    ("state", True),
    ("emitted", True),
    ("collected", True),
    ("dropped", True),
    ("in_flight", True),
    ("unknown", False),
    ("duplicated", False),
)
SINK_COLUMNS: Final = (
    ("name", True),
    ("type", True),
    ("state", True),
    ("offered", True),
    ("delivered", True),
    ("filtered", False),
    ("sampled_out", False),
    ("dropped", True),
    ("queued", True),
    ("spooled", False),
    ("unknown", False),
    ("duplicated", False),
    ("last_error", False),
)

#: Columns that hold text; the others hold numbers and stand to the right.
_TEXT: Final = frozenset({"worker", "host", "state", "name", "type", "last_error", "dropped"})
_STYLES: Final = {"crashed": "red", "failing": "red", "live": "green", "ok": "green", "gone": "dim", "removed": "dim"}


@click.command()
@reaches_collector(5.0)
@as_json
@click.pass_context
def status(ctx: click.Context, *, control: str | None, name: str | None, timeout: float, as_json: bool) -> None:
    """Show where every record has gone. Exit 1 if the ledger does not balance."""
    from logbus.cli import client

    where = addresses(control=control, name=name)
    document = client.fetch_status(where.control, name=name, timeout=timeout)
    if as_json:
        print_json(document)
    else:
        show(document, console())
    ctx.exit(0 if document.get("balanced") is True else 1)


def show(document: Mapping[str, Any], terminal: Console) -> None:
    """Prints a status document for people."""
    part = document["collector"]
    words = [f"collector {part.get('name')}", f"pid {part.get('pid')}", str(part.get("state"))]
    if isinstance(uptime := part.get("uptime_seconds"), (int, float)):
        words.append(f"up {uptime:.1f} s")
    terminal.print(printable(", ".join(words)), "", sep="\n")
    total = {**document.get("total", {}), "worker": "total"}
    terminal.print(_table(WORKER_COLUMNS, document.get("workers", ()), total), "")
    terminal.print(_table(SINK_COLUMNS, document.get("sinks", ())), "")
    if document.get("balanced") is True:
        terminal.print("balanced: every record is accounted for", style="green")
        return
    terminal.print("NOT BALANCED", style="bold red")
    for problem in document.get("problems", ()):
        terminal.print(f"  {printable(problem)}", style="red", soft_wrap=True)


def _table(
    columns: Sequence[tuple[str, bool]], rows: Sequence[Mapping[str, Any]], total: Mapping[str, Any] | None = None
) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    everything = [*rows, total] if total is not None else list(rows)
    shown = [key for key, always in columns if always or any(row.get(key) for row in everything)]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for key in shown:
        table.add_column(key.replace("_", " "), justify="left" if key in _TEXT else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(key, row), style=_style(key, row)) for key in shown))
    if total is not None:
        table.add_section()
        table.add_row(*(Text(_cell(key, total), style="bold") for key in shown))
    return table


def _cell(key: str, row: Mapping[str, Any]) -> str:
    value = row.get(key)
    if key == "dropped" and isinstance(value, Mapping):
        return printable(" ".join(f"{reason} {count:,}" for reason, count in value.items())) or "0"
    if isinstance(value, int):
        # A pid is a name in digits, a count is a number to be read.
        return str(value) if key == "pid" else f"{value:,}"
    if key == "state" and row.get("exact") is False:
        return printable(f"{value}, not exact" if value else "not exact")
    return printable(value) if value is not None else ""


def _style(key: str, row: Mapping[str, Any]) -> str:
    if key == "state":
        return _STYLES.get(str(row.get(key)), "yellow")
    return "yellow" if key in ("dropped", "unknown", "last_error") and row.get(key) else ""
