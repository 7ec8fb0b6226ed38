"""``logbus emit``: records from a shell script, through the same producer that a worker has.

The command ends well only when every record has been handed to a collector. A pipe can be faster than any
collector, and a producer whose buffer is full drops records; a shell pipe can wait. So after each portion of lines
the buffer is drained before the next line is read.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import click

from logbus.cli.options import addresses, reaches_collector, read_fields, read_level
from logbus.cli.terminal import complain

#: Lines, and characters, between two drains of the buffer: a small part of its capacity.
PORTION: Final = 4096
PORTION_CHARACTERS: Final = 2 * 1024 * 1024
#: Bytes of a line on stdin; a longer one becomes several records.
MAX_LINE_BYTES: Final = 64 * 1024


@click.command()
@click.argument("message")
@click.argument("fields", nargs=-1, callback=read_fields, metavar="[KEY=VALUE]...")
@click.option(
    "--level", metavar="LEVEL", default="INFO", show_default=True, callback=read_level, help="A name or an integer."
)
@click.option("--component", metavar="NAME", help="Logger of the records. [default: LOGBUS_COMPONENT, else root]")
@click.option("--endpoint", metavar="URL", help="Where records go. [default: LOGBUS_ENDPOINT, else as --name says]")
@reaches_collector(5.0)
@click.pass_context
def emit(
    ctx: click.Context,
    *,
    message: str,
    fields: dict[str, str],
    level: int,
    component: str | None,
    endpoint: str | None,
    control: str | None,
    name: str | None,
    timeout: float,
) -> None:
    """Send MESSAGE as a record, or each line of stdin when MESSAGE is "-".

    Exit 0 only when every record was handed to a collector within --timeout.
    """
    import logbus

    where = addresses(control=control, name=name, endpoint=endpoint)
    logbus.configure(endpoint=where.records.url, control=where.control.url, level=level)
    log = logging.getLogger(component)
    messages = _lines() if message == "-" else iter((message,))
    handed_over = False
    try:
        # By context, not by extra=: a field may be called "name" or "message".
        with logbus.context(**fields):
            handed_over = _send(messages, partial(log.log, level), partial(logbus.flush, timeout))
    finally:
        # What a drain could not hand over in time, a second one of the same length would not either.
        stats = logbus.shutdown(timeout if handed_over else 0.0)
    dropped = sum(stats.dropped.values())
    if not handed_over or dropped:
        reasons = ", ".join(f"{reason} {count}" for reason, count in stats.dropped.items() if count)
        # All sent and none dropped: they are in a socket, and nobody has said that a collector has read them.
        complain(
            f"{stats.sent} of {stats.emitted} records handed to a collector at {where.records.url} within {timeout:g} s"
            + (f"; dropped: {reasons}" if reasons else f"; not confirmed by one at {where.control.url}")
        )
        ctx.exit(1)


def _send(messages: Iterable[str], log: Callable[[str], None], drain: Callable[[], bool]) -> bool:
    """Logs every message; whether all of them left the buffer. Reads no further when a drain fails."""
    lines = size = 0
    for text in messages:
        log(text)
        lines, size = lines + 1, size + len(text)
        if lines >= PORTION or size >= PORTION_CHARACTERS:
            if not drain():
                return False
            lines = size = 0
    return not lines or drain()


def _lines() -> Iterator[str]:
    """The lines of stdin without their ends; bytes that are not UTF-8 stay readable as escapes."""
    if sys.stdin is None:  # closed by the caller: as empty as /dev/null
        return
    while line := sys.stdin.buffer.readline(MAX_LINE_BYTES):
        yield line.decode("utf-8", "backslashreplace").rstrip("\r\n")
