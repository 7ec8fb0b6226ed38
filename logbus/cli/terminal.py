"""What reaches a person's terminal: safe text, lines on stderr, tables on stdout.

Names of workers, components and errors come from other processes, so their control characters and escape
sequences are shown, never obeyed.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.console import Console

#: Columns of a table that goes to a file or a pipe, where nothing says how wide a line may be.
PIPE_COLUMNS: Final = 200


def printable(text: object) -> str:
    r"""The text with everything that is not printable (controls, bidirectional overrides) as an escape.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def complain(message: str) -> None:
    """Writes an error to stderr, each of its lines marked as one."""
    for line in message.splitlines() or [message]:
        click.echo(f"logbus: error: {printable(line)}", err=True)


def print_json(document: Any) -> None:
    """Writes one JSON document to stdout, in ASCII."""
    click.echo(json.dumps(document, indent=2))


def console() -> Console:
    """A rich console on stdout: it minds NO_COLOR, FORCE_COLOR, COLUMNS and what stdout is."""
    from rich.console import Console

    made = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPE_COLUMNS
    return made
