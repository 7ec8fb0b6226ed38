"""``logbus config init|validate|show|schema``: what can be said about a configuration without starting a collector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from logbus.cli.options import as_json
from logbus.cli.overrides import collector_settings, overrides
from logbus.cli.terminal import print_json, printable

if TYPE_CHECKING:
    from logbus.collectors.configuration.read import Configuration

#: The column in which the origin of a setting begins, where its line is not longer.
_ORIGIN_COLUMN = 56
#: Keys of a sink that hold a table, or nothing.
_TABLES: Final = frozenset({("where",), ("sample",), ("tls",), ("auth",)})
_BARE_KEY = re.compile("[A-Za-z0-9_-]+")


@click.group()
def config() -> None:
    """Write, check and explain configurations."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("logbus.toml"))
def init(*, file: Path) -> None:
    """Write a commented starter FILE [default: logbus.toml], which is never overwritten; "-" prints it."""
    from logbus.collectors.configuration.starter import STARTER
    from logbus.errors import ConfigurationError

    if str(file) == "-":
        click.echo(STARTER, nl=False)
        return
    if file.suffix == ".json":
        raise ConfigurationError(["expected a name that does not end in .json: the starter is TOML"], source=str(file))
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(STARTER)
    except FileExistsError:
        raise ConfigurationError(["it is there already, and stays"], source=str(file)) from None
    click.echo(f"{printable(file)}: written", err=True)


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
@click.pass_context
def validate(ctx: click.Context, *, file: Path, as_json: bool) -> None:
    """Report every problem of FILE (TOML or JSON), with its key and what would be right.

    Neither the environment nor ./logbus.toml counts. Exit 2 if there is a problem.
    """
    from logbus.collectors.configuration.read import load
    from logbus.errors import ConfigurationError

    problems: list[str] = []
    try:
        load(file, environ={})
    except ConfigurationError as error:
        if not as_json:
            raise
        problems = error.problems
    if as_json:
        print_json({"file": str(file), "ok": not problems, "problems": problems})
        ctx.exit(2 if problems else 0)
    click.echo(f"{printable(file)}: ok")


@config.command()
@collector_settings
@as_json
def show(*, config_file: Path | None, name: str, as_json: bool, **given: Any) -> None:
    """Show the settings that a collector started here with these options would have, and where each came from.

    What is shown is a configuration file itself; secrets are masked.
    """
    from logbus.bus import control_endpoint, records_endpoint
    from logbus.collectors.configuration.effective import entries, origin
    from logbus.collectors.configuration.read import read

    configuration = read(config_file, overrides(given))
    records = records_endpoint(configuration.settings.bus.endpoint, name=name)
    control = control_endpoint(configuration.settings.bus.control, records=records, name=name)
    addresses = {"bus.endpoint": records.url, "bus.control": control.url}
    if as_json:
        from logbus.collectors.configuration.effective import document
        from logbus.collectors.shown import path_of

        paths = [path_of(location) for location, _ in entries(configuration.settings)]
        origins = {path: origin(configuration, path) for path in paths}
        file = str(configuration.file) if configuration.file else None
        settings = document(configuration.settings)
        settings["bus"] |= {"endpoint": records.url, "control": control.url}
        print_json({"file": file, "settings": settings, "origins": origins})
        return
    for line in _lines(configuration, addresses):
        click.echo(printable(line))


@config.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the configuration file."""
    from logbus.collectors.configuration.schema import configuration_schema

    print_json(configuration_schema())


def _lines(configuration: Configuration, addresses: dict[str, str]) -> Iterator[str]:
    """A configuration as a TOML file, with the origin of each setting behind it; what is unset is commented out."""
    from logbus.collectors.configuration.effective import entries, origin
    from logbus.collectors.configuration.read import DEFAULT_ORIGIN
    from logbus.collectors.shown import path_of

    yield f"# file: {configuration.file or 'none'}"
    table: tuple[str | int, ...] = ()
    for location, value in entries(configuration.settings):
        keys = 2 if isinstance(location[1], int) else 1
        if location[:keys] != table:
            table = location[:keys]
            yield ""
            yield f"[[{table[0]}]]" if keys == 2 else f"[{table[0]}]"
        path = path_of(location)
        made = origin(configuration, path)
        # In a sampler some keys are refused where they would do nothing, at their defaults too.
        unset = value is None or value in ([], {}) or (location[2:3] == ("sample",) and made == DEFAULT_ORIGIN)
        if value is None:
            value = {} if location[2:] in _TABLES else addresses.get(path, "")
        line = f"{'#' * unset}{'.'.join(map(_toml_key, location[keys:]))} = {_toml(value)}"
        yield f"{line:<{_ORIGIN_COLUMN}}  # {made}"
        if path == "bus.allow" and not configuration.settings.levels:
            yield ""
            yield "# no [levels]: the workers' own settings hold, and INFO without any"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        inside = ", ".join(f"{_toml_key(key)} = {_toml(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _toml_text(value) if isinstance(value, str) else str(value)


def _toml_key(key: str | int) -> str:
    return str(key) if _BARE_KEY.fullmatch(str(key)) else _toml_text(str(key))


def _toml_text(text: str) -> str:
    plain = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(plain)}"'
