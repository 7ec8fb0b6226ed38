"""The command line: ``logbus`` and ``python -m logbus``, one file per group of commands.

The top of the import order: commands call the collector, the producer and the control socket, nothing calls them.
A command imports what it needs when it runs, so that ``logbus status`` doesn't wait for a configuration library
and ``logbus --help`` waits for nothing. Exit codes: 0 done; 1 failed at run time; 2 wrong usage or configuration;
3 owned by another collector; 4 done in part. stdout is for results, stderr for people; an error is one line or
several, each beginning with ``logbus: error:``, and a traceback is always a mistake of ours.
"""

from __future__ import annotations

import errno
import io
import sys
from typing import Any, NoReturn

import click

from logbus import __version__
from logbus.cli import collector, config, dead_letters, doctor, emit, levels, run, schema, status, tail
from logbus.cli.terminal import complain
from logbus.errors import LogbusError


class Program(click.Group):
    """The group of all commands, which ends with an error's own exit code instead of its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """What the command returns; errors of logbus and of the system become lines on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except LogbusError as error:
            complain(str(error))
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output has gone: click ends quietly
                raise
            complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            ctx.exit(1)


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    click.echo(f"logbus {__version__}")
    ctx.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def program() -> None:
    """Logs of many processes in one place, every record accounted for.

    Shell completion: eval "$(_LOGBUS_COMPLETE=bash_source logbus)", or zsh_source, or fish_source.
    """


for command in (
    collector.collector,
    status.status,
    tail.tail,
    emit.emit,
    run.run,
    config.config,
    doctor.doctor,
    schema.record_schema,
    levels.set_level,
    levels.reset_level,
    levels.levels,
    dead_letters.dead_letters,
):
    program.add_command(command)


def main() -> NoReturn:
    """Runs the command line of this process and ends it with the command's exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A worker may be named in characters that this terminal doesn't have: show its escape, don't fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    program(prog_name="logbus")
    raise AssertionError("click ends the process")
