"""``logbus config validate``: what a collector would say about a file, without starting one."""

from __future__ import annotations

from pathlib import Path

import click

from logbus.cli.options import as_json
from logbus.cli.terminal import print_json, printable


@click.group()
def config() -> None:
    """Check configuration files."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
@click.pass_context
def validate(ctx: click.Context, *, file: Path, as_json: bool) -> None:
    """Report every problem of FILE (TOML or JSON), with its key and what would be right.

    Neither the environment nor ./logbus.toml counts. Exit 2 if there is a problem.
    """
    from logbus.collectors.config import load
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
