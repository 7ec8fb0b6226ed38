"""``logbus dead-letters list``, ``replay`` and ``purge``: what a sink has refused for good, with the reason.

The collector has them, and does all of it; without one these commands say so. Reasons and lines come from others, so
what is not printable in them is shown as an escape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from logbus.cli.options import addresses, as_json, reaches_collector, read_duration
from logbus.cli.order import PARTIAL, order
from logbus.cli.terminal import complain, console, print_json, printable

if TYPE_CHECKING:
    from rich.console import Console

#: Letters that are shown where nobody says how many.
SHOWN: Final = 20

_UNKNOWN: Final = "it may have been done all the same: logbus dead-letters list shows what is left"
_COLUMNS: Final = ("id", "time", "sink", "reason", "line")

_of_sink = click.option("--sink", metavar="NAME", help="Those of this sink.")
_of_ids = click.option("--id", "ids", metavar="N", type=click.IntRange(1), multiple=True, help="This one; repeatable.")


@click.group("dead-letters", short_help="Show, replay or purge what sinks refuse.")
def dead_letters() -> None:
    """What a sink refused for good: show it, offer it to the sink again, or throw it away."""


@dead_letters.command("list", short_help="Show them, with the reason.")
@_of_sink
@click.option(
    "-n",
    "count",
    metavar="N",
    type=click.IntRange(1),
    default=SHOWN,
    show_default=True,
    help="The newest so many, oldest of them first.",
)
@click.option("--full", is_flag=True, help="Whole lines and reasons, one below the other.")
@as_json
@reaches_collector(5.0)
def list_letters(
    *, sink: str | None, count: int, full: bool, as_json: bool, control: str | None, name: str | None, timeout: float
) -> None:
    """Show what sinks have refused for good, with the reason, the newest last.

    With --json lines are whole.
    """
    letters: list[dict[str, Any]] = []
    page: dict[str, Any] = {"more": True}
    while page["more"] and len(letters) < count:
        page = _ask(
            {
                "command": "dead_letters",
                "sink": sink,
                "limit": count - len(letters),
                "below": letters[-1]["id"] if letters else None,
                "full": full or as_json,
            },
            control=control,
            name=name,
            timeout=timeout,
        )
        letters += page["letters"]
        if not page["letters"]:
            break
    letters.reverse()
    sinks = page.get("sinks", {})
    total = sum(sinks.values()) if sink is None else sinks.get(sink, 0)
    if as_json:
        print_json({"letters": letters, "total": total, "sinks": sinks, "store": page.get("store")})
    else:
        show(letters, total, console(), full=full)


@dead_letters.command(short_help="Offer them to their sinks again.")
@_of_sink
@_of_ids
@click.option("--all", "everything", is_flag=True, help="All of them.")
@as_json
@reaches_collector(30.0)
@click.pass_context
def replay(
    ctx: click.Context,
    *,
    sink: str | None,
    ids: tuple[int, ...],
    everything: bool,
    as_json: bool,
    control: str | None,
    name: str | None,
    timeout: float,
) -> None:
    """Offer them to their sinks again, in order, as fast as the sinks take them.

    Each is removed here once its sink or its spool has it; one that is
    refused again comes back under another id.

    Exit 4 when some of them stay, as for want of time, 1 when all do.
    """
    _choose_one(sink=sink, id=ids, all=everything)
    answer = order(
        {"command": "dead_letters_replay", "sink": sink, "ids": list(ids) or None, "all": everything},
        _UNKNOWN,
        control=control,
        name=name,
        timeout=timeout,
    )
    if as_json:
        print_json({key: answer.get(key) for key in ("replayed", "sinks", "kept", "remaining", "missing")})
    else:
        sinks = ", ".join(f"{count:,} of {printable(one)}" for one, count in answer.get("sinks", {}).items())
        click.echo(f"{_letters(answer['replayed'])} replayed" + (f": {sinks}" if sinks else ""))
        for kept in answer.get("kept", ()):
            complain(f"sink {kept['sink']!r}: {_letters(kept['letters'])} kept: {kept['reason']}")
        if answer["remaining"]:
            complain(f"{_letters(answer['remaining'])} remain: their sinks did not take them within {timeout:g} s")
        _tell_missing(answer)
    whole = not (answer.get("kept") or answer["remaining"] or answer["missing"])
    ctx.exit(0 if whole else PARTIAL if answer["replayed"] else 1)


@dead_letters.command()
@_of_sink
@_of_ids
@click.option(
    "--older-than", metavar="DURATION", callback=read_duration, help='Those refused longer ago, like "7 days".'
)
@click.option("--all", "everything", is_flag=True, help="All of them.")
@as_json
@reaches_collector(30.0)
@click.pass_context
def purge(
    ctx: click.Context,
    *,
    sink: str | None,
    ids: tuple[int, ...],
    older_than: float | None,
    everything: bool,
    as_json: bool,
    control: str | None,
    name: str | None,
    timeout: float,
) -> None:
    """Throw them away for good."""
    if sink is None or older_than is None:
        _choose_one(sink=sink, id=ids, older_than=older_than, all=everything)
    elif ids or everything:
        raise click.UsageError("expected --id or --all alone, found --sink and --older-than beside it")
    answer = order(
        {
            "command": "dead_letters_purge",
            "sink": sink,
            "ids": list(ids) or None,
            "older_than": older_than,
            "all": everything,
        },
        _UNKNOWN,
        control=control,
        name=name,
        timeout=timeout,
    )
    if as_json:
        print_json({key: answer.get(key) for key in ("purged", "missing", "remaining")})
    else:
        click.echo(f"{_letters(answer['purged'])} purged, {answer['remaining']:,} left")
        _tell_missing(answer)
    ctx.exit(0 if not answer["missing"] else PARTIAL if answer["purged"] else 1)


def show(letters: Sequence[Mapping[str, Any]], total: int, terminal: Console, *, full: bool) -> None:
    """Prints letters for people, and of how many they are a part."""
    if full:
        for letter in letters:
            about = f"{letter['id']}  {letter['time']}  {letter['sink']}  ({letter['dialect'] or 'no dialect'})"
            terminal.print(printable(about), style="bold", soft_wrap=True)
            terminal.print(f"  {printable(letter['reason'])}", f"  {_line(letter)}", "", sep="\n", soft_wrap=True)
    elif letters:
        _show_table(letters, terminal)
    shown = f"{len(letters):,} of " if len(letters) < total else ""
    terminal.print(f"{shown}{_letters(total)}" if total else "no dead letters")


def _show_table(letters: Sequence[Mapping[str, Any]], terminal: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column == "id" else "left", overflow="fold")
    for letter in letters:
        cells = [letter["id"], letter["time"], letter["sink"], letter["reason"]]
        table.add_row(*(Text(printable(cell)) for cell in cells), Text(_line(letter)))
    terminal.print(table, "")


def _line(letter: Mapping[str, Any]) -> str:
    if not letter["line"]:
        return f"({letter['records']:,} records: the other side has not said which)"
    return printable(letter["line"]) + ("…" if letter["truncated"] else "")


def _choose_one(**given: object) -> None:
    """Nothing, if one option was given, by its name. Raises UsageError."""
    named = {f"--{key.replace('_', '-')}": value for key, value in given.items()}
    chosen = [option for option, value in named.items() if value not in (None, (), False)]
    if len(chosen) != 1:
        raise click.UsageError(f"expected one of {', '.join(named)}, found {' and '.join(chosen) or 'none'}")


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _tell_missing(answer: Mapping[str, Any]) -> None:
    if missing := answer["missing"]:
        complain("no dead letter has this id" if missing == 1 else f"no dead letter has {missing:,} of these ids")


def _ask(command: dict[str, Any], *, control: str | None, name: str | None, timeout: float) -> dict[str, Any]:
    from logbus.cli import client

    place = addresses(control=control, name=name).control
    return client.request({**command, "name": name}, control=place, timeout=timeout)
