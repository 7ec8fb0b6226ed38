"""``logbus collector list``: every collector of this user that the runtime directory knows of.

A collector leaves its name, pid and URLs in the lock file of each endpoint that it claims. Held locks are collectors
that live: each is asked, all at once, who it is (without asking its workers anything). A lock that nobody holds, with
the socket still beside it, is what a killed collector left behind; the next one of that name clears it away. One that
ended as it should has left no socket, and is not shown. Collectors whose record and control endpoints are both outside
of the runtime directory can't be found.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from logbus.cli.options import as_json, within
from logbus.cli.terminal import console, print_json, printable

#: Collectors asked at a time.
ASKED_AT_ONCE: Final = 16

_STYLES: Final = {"serving": "green", "draining": "yellow", "stale": "dim"}


@dataclass(frozen=True, slots=True)
class Listed:
    """One collector. ``state`` is its own word (serving, draining), "not answering", or "stale": killed, not replaced.

    ``uptime_seconds`` and ``workers`` are None where it does not say; ``error`` is why.
    """

    name: str
    pid: int
    state: str
    endpoint: str
    control: str
    uptime_seconds: float | None = None
    workers: int | None = None
    error: str | None = None


def find(runtime: Path, timeout: float) -> list[Listed]:
    """The collectors in a runtime directory, by name, each asked within ``timeout`` seconds."""
    found = sorted({listed for lock in _locks(runtime) if (listed := _listed(lock)) is not None}, key=_order)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return list(pool.map(lambda listed: _ask(listed, timeout), found))


def _locks(runtime: Path) -> Iterator[Path]:
    """The lock files of endpoints: in the directories of names, and for tcp beside these."""
    yield from runtime.glob("*.lock")
    yield from runtime.glob("*/*.lock")


def _order(listed: Listed) -> tuple[str, int]:
    return listed.name, listed.pid


def _listed(lock: Path) -> Listed | None:
    """What a lock file says of its owner; None where it is no collector's, or that of one that ended well."""
    from logbus.collectors.lock import holder

    try:
        held, document = holder(lock)
    except OSError:  # somebody else's, or gone
        return None
    name, pid = document.get("name"), document.get("pid")
    endpoint, control = document.get("endpoint"), document.get("control")
    texts = isinstance(name, str) and isinstance(endpoint, str) and isinstance(control, str)
    if not texts or not isinstance(pid, int) or not (held or _is_socket(lock.with_suffix(""))):
        return None
    return Listed(str(name), pid, "not answering" if held else "stale", str(endpoint), str(control))


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _ask(listed: Listed, timeout: float) -> Listed:
    """The same with what the collector says of itself, if it lives and answers."""
    from logbus.bus import Endpoint
    from logbus.cli.client import request
    from logbus.errors import LogbusError

    if listed.state == "stale":
        return listed
    try:
        answer = request({"command": "describe"}, control=Endpoint.parse(listed.control), timeout=timeout)
    except LogbusError as error:
        return replace(listed, error=str(error))
    said: Any = answer.get("collector")
    if not isinstance(said, dict) or said.get("pid") != listed.pid:
        return replace(listed, error=f"another collector answers at {listed.control}")
    return replace(
        listed,
        state=str(said.get("state")),
        uptime_seconds=said.get("uptime_seconds"),
        workers=answer.get("workers"),
    )


@click.command("list")
@within(2.0)
@as_json
def list_collectors(*, timeout: float, as_json: bool) -> None:
    """List the collectors of this user, those that don't answer and those that were killed too."""
    from logbus.bus import runtime_directory

    runtime = runtime_directory()
    found = find(runtime, timeout)
    if as_json:
        print_json({"collectors": [asdict(listed) for listed in found]})
        return
    if not found:
        click.echo(f"no collector in {printable(runtime)}", err=True)
        return
    _show(found)


def _show(found: list[Listed]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("name", "pid", "state", "uptime", "workers", "endpoint", "control"):
        table.add_column(column, justify="right" if column in ("pid", "uptime", "workers") else "left", overflow="fold")
    for listed in found:
        uptime = "" if listed.uptime_seconds is None else f"{listed.uptime_seconds:,.0f} s"
        cells = (listed.name, listed.pid, listed.state, uptime, listed.workers, listed.endpoint, listed.control)
        style = _STYLES.get(listed.state, "red")
        table.add_row(
            *(
                Text("" if cell is None else printable(cell), style=style if at == 2 else "")
                for at, cell in enumerate(cells)
            )
        )
    console().print(table)
    for listed in found:
        if listed.error:
            click.echo(f"{printable(listed.name)} (pid {listed.pid}): {printable(listed.error)}", err=True)
