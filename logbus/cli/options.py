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
    from logbus.collectors.sources import bus_addresses

    checked = check_name(name) if name else "default"
    in_file = bus_addresses(os.environ)
    records = records_endpoint(endpoint or os.environ.get("LOGBUS_ENDPOINT") or in_file[0], name=checked)
    url = control or os.environ.get("LOGBUS_CONTROL") or in_file[1]
    return Addresses(records, control_endpoint(url, records=records, name=checked))


def reaches_collector(seconds: float) -> Callable[[_Command], _Command]:
    """The options of a command that talks to a collector: --control, --name, --timeout (default in seconds)."""

    def add(command: _Command) -> _Command:
        for option in (
            click.option(
                "--timeout",
                type=float,
                metavar="SECONDS",
                callback=_deadline,
                default=seconds,
                show_default=True,
                help="Give up after this many seconds.",
            ),
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
