"""``logbus record-schema``: the contract of a JSON log line, for whoever reads the files."""

from __future__ import annotations

import click

from logbus.cli.terminal import print_json


@click.command("record-schema")
def record_schema() -> None:
    """Print the JSON Schema (draft 2020-12) of a JSON log line."""
    from logbus.collectors import schema

    print_json(schema.record_schema())
