"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from logbus.bus import Endpoint

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _deadline(_ctx: click.Context, _parameter: click.Parameter, seconds: float) -> float:
    # `nan` and `inf` are floats too, and no deadlines.
    if not 0 < seconds <= 86_400:
        raise click.BadParameter(f"expected seconds, above 0 and at most 86400, found {seconds:g}")
    return seconds


def read_level(_ctx: click.Context, _parameter: click.Parameter, text: str) -> int:
    """The number of a level, as the callback of an option. Raises BadParameter."""
    from logbus.errors import ConfigurationError
    from logbus.levels import parse_level

    try:
        return parse_level(text)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


def read_duration(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """The seconds of a duration, None for none, as the callback of an option. Raises BadParameter."""
    from logbus.durations import parse_duration
    from logbus.errors import ConfigurationError

    try:
        return None if text is None else parse_duration(text)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


def read_fields(_ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """The fields of several KEY=VALUE, as the callback of an option or argument. Raises BadParameter."""
    fields = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"expected KEY=VALUE, found {text!r}")
        fields[key] = value
    return fields


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one collector is: its record endpoint and its control endpoint."""

    records: Endpoint
    control: Endpoint


def addresses(*, control: str | None, name: str | None, endpoint: str | None = None) -> Addresses:
    """The addresses of the collector that the options mean, found as the collector itself and its workers find them:
    option, ``LOGBUS_ENDPOINT`` and ``LOGBUS_CONTROL``, ``[bus]`` of the configuration file, runtime directory.

    Raises ConfigurationError on a wrong URL or name.
    """
    from logbus.bus import check_name, control_endpoint, records_endpoint
    from logbus.collectors.configuration.sources import bus_addresses

    if name:
        check_name(name)
    in_file = bus_addresses(os.environ)
    records = records_endpoint(endpoint, name=name or "default", in_file=in_file[0])
    return Addresses(records, control_endpoint(control, records=records, name=name, in_file=in_file[1]))


def within(seconds: float) -> Callable[[_Command], _Command]:
    """The option --timeout, with its default in seconds."""
    return click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        callback=_deadline,
        default=seconds,
        show_default=True,
        help="Give up after this many seconds.",
    )


def reaches_collector(seconds: float) -> Callable[[_Command], _Command]:
    """The options of a command that talks to a collector: --control, --name, --timeout (default in seconds)."""

    def add(command: _Command) -> _Command:
        for option in (
            within(seconds),
            click.option(
                "--name",
                metavar="NAME",
                help="The collector of this name, and no other. [default: default]",
            ),
            click.option(
                "--control",
                metavar="URL",
                help="Control endpoint of the collector. [default: LOGBUS_CONTROL, else the runtime directory's]",
            ),
        ):
            command = option(command)
        return command

    return add


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
