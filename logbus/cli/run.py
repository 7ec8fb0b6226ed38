"""``logbus run``: any command, with every Python process that comes of it a worker, and no change to its code.

The command takes this process's place: the same pid, the same descriptors, its own exit code, and signals go to it.
What makes its processes workers is the environment that it gets, and gives to its children: a folder with a
``sitecustomize`` at the head of ``PYTHONPATH`` (:mod:`logbus.integrations.attach` says what that does), ``LOGBUS_RUN``,
and the options as the ``LOGBUS_*`` variables that every worker reads.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

import click

from logbus.cli.options import addresses, read_level
from logbus.cli.terminal import complain, printable

#: Exit codes where nothing was run, those of env(1), nohup(1) and every shell.
NOT_FOUND: Final = 127
NOT_RUNNABLE: Final = 126


def _read_level(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    return None if text is None else read_level(context, parameter, text)


@click.command(context_settings={"allow_interspersed_args": False}, options_metavar="[OPTIONS] [--]")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
@click.option("--endpoint", metavar="URL", help="Where records go. [default: LOGBUS_ENDPOINT, else as --name says]")
@click.option("--control", metavar="URL", help="Control endpoint of the collector. [default: beside the records]")
@click.option("--name", metavar="NAME", help="The collector of this name. [default: default]")
@click.option(
    "--level",
    metavar="LEVEL",
    callback=_read_level,
    help="Level from which on loggers without one of their own are collected; what the program lets through is "
    "collected in any case. [default: INFO, until the program sets one for the root]",
)
@click.option("--component", metavar="NAME", help="Component of records whose logger names none.")
@click.option("--app-name", metavar="NAME", help="Name of the application. [default: that of each program]")
@click.option("--worker", metavar="NAME", help="Name of the worker, if there is but one. [default: APP-PID]")
@click.option("--no-proxywhirl", is_flag=True, help="Leave proxywhirl as it is.")
@click.option("--public-only", is_flag=True, help="Instrument proxywhirl by its public names only.")
def run(
    *,
    command: tuple[str, ...],
    endpoint: str | None,
    control: str | None,
    name: str | None,
    level: int | None,
    component: str | None,
    app_name: str | None,
    worker: str | None,
    no_proxywhirl: bool,
    public_only: bool,
) -> None:
    """Run COMMAND, and make every Python process of it a worker.

    The program's own logging stays as it is. Exit code: the command's; 126 where it can't be run, 127 where there is
    none of this name.
    """
    from logbus.bus import is_bound
    from logbus.producers.settings import resolve

    where = addresses(control=control, name=name, endpoint=endpoint)
    given: dict[str, str | None] = {
        "LOGBUS_LEVEL": None if level is None else str(level),
        "LOGBUS_COMPONENT": component,
        "LOGBUS_APP_NAME": app_name,
        "LOGBUS_WORKER": worker,
    }
    if endpoint or control or name or _is_in_file():
        given |= {"LOGBUS_ENDPOINT": where.records.url, "LOGBUS_CONTROL": where.control.url}
    environment = worker_environment(os.environ, given, no_proxywhirl=no_proxywhirl, public_only=public_only)
    settings = resolve({}, environ=environment)
    if refusal := settings.refusal():
        _warn(f"records wait in the workers: {refusal}; set LOGBUS_RUNTIME_DIR")
    elif not is_bound(where.records):
        _warn(f"no collector listens at {where.records.url}: records wait in the workers for one")
    _become(command, environment)


def worker_environment(
    environ: Mapping[str, str], given: Mapping[str, str | None], *, no_proxywhirl: bool, public_only: bool
) -> dict[str, str]:
    """The environment of a command whose Python processes are workers; variables that are None stay as they are."""
    from logbus.integrations import startup
    from logbus.producers.below import NO_PROXYWHIRL, ON, PUBLIC_ONLY, TOLD, VARIABLE

    folder = os.path.dirname(os.path.abspath(startup.__file__))
    path = environ.get("PYTHONPATH")
    # An empty entry stands for the working directory: what was there stays exactly as it was.
    others = [entry for entry in path.split(os.pathsep) if entry != folder] if path else []
    words = [ON, *([NO_PROXYWHIRL] if no_proxywhirl else ()), *([PUBLIC_ONLY] if public_only else ())]
    return {
        **{variable: value for variable, value in environ.items() if variable != TOLD},
        **{variable: value for variable, value in given.items() if value is not None},
        "PYTHONPATH": os.pathsep.join((folder, *others)),
        VARIABLE: ",".join(words),
    }


def _is_in_file() -> bool:
    """Whether a configuration file here says where the collector is: processes elsewhere would not find that file."""
    from logbus.collectors.configuration.sources import bus_addresses

    return any(bus_addresses(os.environ))


def _become(command: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """Makes this process the command. Ends it with an exit code of its own where that can't be."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and what is ignored stays so in the next program
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except FileNotFoundError:
        complain(f"run: {command[0]}: {_advice(command[0], 'no such command')}")
        code = NOT_FOUND
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        complain(f"run: {command[0]}: {_advice(command[0], reason)}")
        code = NOT_RUNNABLE
    sys.exit(code)


def _advice(command: str, reason: str) -> str:
    """What is wrong with a command, and what to say instead where that is plain."""
    if os.sep in command and os.access(command, os.X_OK) and os.path.isfile(command):
        return "the program that its first line names is not there"
    if command.endswith(".py") and os.path.isfile(command):
        return f"a Python file: say logbus run -- python {command}"
    if os.sep not in command and os.path.isfile(command) and shutil.which(os.path.join(os.curdir, command)):
        return f"{reason} on PATH: say ./{command} for the one here"
    return reason


def _warn(text: str) -> None:
    click.echo(f"logbus run: {printable(text)}", err=True)
