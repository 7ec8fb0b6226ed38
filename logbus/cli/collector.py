"""``logbus collector start|stop|status|reload|list``: the life of a collector, from the outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from logbus.cli.collectors import list_collectors
from logbus.cli.options import addresses, as_json, reaches_collector
from logbus.cli.overrides import collector_settings, overrides
from logbus.cli.terminal import console, print_json, printable

_START_HELP = """Run a collector in the foreground until SIGTERM or SIGINT, which drain it.

With no option at all: lines on the console and JSON lines in ./logs/logbus.jsonl, which is rotated
at 100 MB (10 files are kept, compressed).
Options win over LOGBUS_ENDPOINT, LOGBUS_CONTROL, LOGBUS_LEVEL, LOGBUS_SINKS (a JSON list) and
LOGBUS_<SECTION>__<KEY>, these over the configuration file, this over PROXYWHIRL_LOG_LEVEL and
PROXYWHIRL_LOG_FILE, these over the defaults. The file is watched: a change takes effect at once and
whole, or, if it is invalid, not at all. SIGHUP does the same, and opens files that were moved anew.

\b
SPEC is TYPE[:ARGUMENT][,KEY=VALUE]...
  console                        text on a terminal, else JSON
  console:json                   the argument is the format (text, json, logfmt, a plug-in's)
  file:logs/app.jsonl            the argument is the path
  file:PATH,format=text,level=WARNING,components=rotator+health
  file:PATH,rotation=100 MB+1 day,retention=7 days+5 GB,compression=gz
  console,sample.rate=0.1,sample.key=request_id,static_fields.env=prod
Keys of any sink: name, format, level, components, exclude_components
(the items of a list joined with "+"), and behind a dot those of sample,
rename_fields and static_fields; of a file: rotation, retention,
compression; of a console: stream, color. Conditions (where) stand in a file.
With --sink, the sinks of the environment and the file don't count.
"""


@click.group()
def collector() -> None:
    """Start, stop and ask a collector."""


@collector.command(help=_START_HELP)
@collector_settings
@click.pass_context
def start(ctx: click.Context, /, *, config_file: Path | None, name: str, **given: Any) -> None:
    """The command behind :data:`_START_HELP`."""
    from logbus.bus import check_name
    from logbus.collectors.configuration.read import read

    check_name(name)
    configuration = read(config_file, overrides(given))
    # After the settings: who has made a mistake there need not wait for all that a collector loads.
    from logbus.collectors.start import run

    ctx.exit(run(configuration, name=name))


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


@collector.command()
@reaches_collector(10.0)
@as_json
def reload(*, control: str | None, name: str | None, timeout: float, as_json: bool) -> None:
    """Have the configuration read again; shows what has changed.

    An invalid one changes nothing: every problem of it is shown, and the exit code is 2.
    """
    from logbus.cli import client

    where = addresses(control=control, name=name)
    command = {"command": "reload"} if name is None else {"command": "reload", "name": name}
    answer = client.request(command, control=where.control, timeout=timeout)
    if as_json:
        print_json({key: answer.get(key) for key in ("file", "sha256", "loaded_at", "version", "changes")})
        return
    for change in answer.get("changes") or ("nothing has changed",):
        click.echo(printable(change))


collector.add_command(list_collectors)


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {_words(inner)}" for key, inner in value.items()) or "none"
    return printable(value)
