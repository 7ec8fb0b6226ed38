"""``logbus status``: the ledger, as the collector has it: where every record has gone, and whether it all adds up.

The document comes whole from the collector. Nothing is added up here: a table that computed its own totals could
balance where the ledger doesn't. A term that is zero in every row gets no column, except those of the law that a
reader looks for (emitted and collected, offered and delivered). What is wrong with a sink stands below the tables in
whole sentences: since when, how much waits, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    ("circuit", False),
    ("offered", True),
    ("delivered", True),
    ("filtered", False),
    ("sampled_out", False),
    ("dropped", True),
    ("queued", True),
    ("spooled", False),
    ("oldest", False),
    ("unknown", False),
    ("duplicated", False),
    ("dead_letters", False),
    ("last_error", False),
)

#: Columns that hold text; the others hold numbers and stand to the right.
_TEXT: Final = frozenset({"worker", "host", "state", "name", "type", "circuit", "last_error", "dropped"})
#: Characters of an error in the table; all of it stands below.
ERROR_CHARS: Final = 60
#: What to look at where a sink of a type fails. It is tried again by itself in any case.
_REMEDIES: Final = {
    "file": "make room, or mend the permissions of its path",
    "console": "see whether the terminal or pipe that it writes to is read",
    "http": "see whether its server is up, and its url, auth and tls are right",
    "syslog": "see whether its server is up, and its address and tls are right",
}
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
    sinks = [_with_age(row) for row in document.get("sinks", ())]
    terminal.print(_table(SINK_COLUMNS, sinks), "")
    sentences = [sentence for row in sinks for sentence in _sentences(row)]
    for style, sentence in sentences:
        terminal.print(printable(sentence), style=style, soft_wrap=True)
    if sentences:
        terminal.print("")
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


def _with_age(row: Mapping[str, Any]) -> dict[str, Any]:
    """A sink's row with what is worth a column: how long its oldest record waits, and a circuit that is not closed."""
    seconds, circuit = row.get("oldest_seconds"), row.get("circuit")
    oldest = _age(seconds) if isinstance(seconds, (int, float)) and seconds >= 1 else None
    return {**row, "oldest": oldest, "circuit": None if circuit == "closed" else circuit}


def _sentences(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What there is to say of a sink, each with its style."""
    name, error = row.get("name"), row.get("last_error")
    if row.get("state") == "failing":
        seconds = row.get("failing_seconds")
        since = f" for {_age(seconds)}" if isinstance(seconds, (int, float)) else ""
        parts = [f"sink {name} fails{since}: {error}", *_waiting(row)]
        parts.append(_REMEDIES.get(str(row.get("type")), "see what it says, and mend that"))
        yield "red", "; ".join(parts)
    elif error:
        yield "yellow", f"sink {name}: {error}"
    if letters := row.get("dead_letters"):
        many = f"{letters:,} dead letter{'' if letters == 1 else 's'}"
        yield "yellow", f"sink {name} has {many}: logbus dead-letters list --sink {name}"


def _waiting(row: Mapping[str, Any]) -> Iterator[str]:
    queued, spooled = row.get("queued") or 0, row.get("spooled") or 0
    if queued + spooled:
        where = f" ({spooled:,} of them in its spool)" if spooled else ""
        since = f", the oldest for {row['oldest']}" if row.get("oldest") else ""
        yield f"{queued + spooled:,} records wait{where}{since}"


def _age(seconds: float) -> str:
    """A length of time as one says it: in whole units, two of the same at least."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cell(key: str, row: Mapping[str, Any]) -> str:
    value = row.get(key)
    if key == "last_error" and isinstance(value, str) and len(value) > ERROR_CHARS:
        value = f"{value[:ERROR_CHARS]}…"
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
    return "yellow" if key in ("circuit", "dropped", "unknown", "dead_letters", "last_error") and row.get(key) else ""
