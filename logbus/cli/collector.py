"""``logbus collector start|stop|status``: the life of a collector, from the outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from logbus.cli.options import addresses, as_json, reaches_collector
from logbus.cli.terminal import console, print_json, printable

_START_HELP = """Run a collector in the foreground until SIGTERM or SIGINT, which drain it.

With no option at all: lines on the console and JSON lines in ./logs/logbus.jsonl.
Options win over LOGBUS_ENDPOINT, LOGBUS_CONTROL, LOGBUS_SINKS (a JSON list) and LOGBUS_<SECTION>__<KEY>,
these over the configuration file, this over the defaults.

\b
SPEC is TYPE[:ARGUMENT][,KEY=VALUE]...
  console                        text on a terminal, else JSON
  console:json                   the argument is the format (text, json)
  file:logs/app.jsonl            the argument is the path
  file:PATH,format=text,level=WARNING,components=rotator+health
Keys of any sink: name, format, level, components, exclude_components
(the items of a list joined with "+"); of a console: stream, color.
With --sink, the sinks of the environment and the file don't count.
"""


@click.group()
def collector() -> None:
    """Start, stop and ask a collector."""


@collector.command(help=_START_HELP)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration, TOML or JSON. [default: LOGBUS_CONFIG, else ./logbus.toml if it is there]",
)
@click.option("--endpoint", metavar="URL", help="Where workers send records: ipc://PATH or tcp://127.0.0.1:PORT.")
@click.option("--control", metavar="URL", help="Where commands are answered. [default: beside an ipc endpoint]")
@click.option("--sink", "sinks", metavar="SPEC", multiple=True, help="A sink; may be given several times.")
@click.option("--name", metavar="NAME", default="default", show_default=True, help="What this collector is called.")
@click.pass_context
def start(
    ctx: click.Context,
    *,
    config_file: Path | None,
    endpoint: str | None,
    control: str | None,
    sinks: tuple[str, ...],
    name: str,
) -> None:
    """The command behind :data:`_START_HELP`."""
    from logbus.bus import check_name
    from logbus.collectors.config import load

    check_name(name)
    bus = {key: url for key, url in (("endpoint", endpoint), ("control", control)) if url is not None}
    overrides: dict[str, Any] = {"bus": bus, "sinks": list(sinks)}
    settings = load(config_file, overrides)
    # After the settings: who has made a mistake there need not wait for all that a collector loads.
    from logbus.collectors.start import run

    ctx.exit(run(settings, name=name))


@collector.command()
@reaches_collector(15.0)
def stop(*, control: str | None, name: str | None, timeout: float) -> None:
    """Drain a collector and end it; returns when its process has gone."""
    from logbus.cli import client

    where = addresses(control=control, name=name)
    answer = client.stop(where.control, name=name, timeout=timeout)
    click.echo(f"collector {printable(answer.get('name'))} (pid {answer['pid']}) has stopped", err=True)


@collector.command()
@reaches_collector(5.0)
@as_json
def status(*, control: str | None, name: str | None, timeout: float, as_json: bool) -> None:
    """Say whether a collector serves, since when and where."""
    from logbus.cli import client

    where = addresses(control=control, name=name)
    part: dict[str, Any] = client.fetch_status(where.control, name=name, timeout=timeout)["collector"]
    if as_json:
        print_json(part)
        return
    shown = {key.replace("_", " "): value for key, value in part.items()} | {"control": where.control.url}
    width = max(map(len, shown))
    for key, value in shown.items():
        console().print(f"{printable(key):<{width}}  {_words(value)}", soft_wrap=True)


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {count}" for key, count in value.items()) or "none"
    return printable(value)
