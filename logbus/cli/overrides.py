"""The options that win over every other source of a collector's settings: those of ``collector start``.

``config show`` takes the same, so that what it shows is what a collector started with them would do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def collector_settings(command: _Command) -> _Command:
    """Adds the options; the command gets them as ``config_file``, ``name`` and what :func:`overrides` takes."""
    for option in reversed(
        (
            click.option(
                "--config",
                "config_file",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Configuration, TOML or JSON. [default: LOGBUS_CONFIG, else ./logbus.toml if it is there]",
            ),
            click.option("--endpoint", metavar="URL", help="Where workers send: ipc://PATH or tcp://127.0.0.1:PORT."),
            click.option(
                "--control", metavar="URL", help="Where commands are answered. [default: beside an ipc endpoint]"
            ),
            click.option("--sink", "sinks", metavar="SPEC", multiple=True, help="A sink; may be given several times."),
            click.option("--level", metavar="LEVEL", help="Level of every logger without a level of its own."),
            click.option("--metrics", metavar="HOST:PORT", help="Where Prometheus metrics are served."),
            click.option(
                "--name", metavar="NAME", default="default", show_default=True, help="What the collector is called."
            ),
        )
    ):
        command = option(command)
    return command


def overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options given, in the shape of the configuration file (:func:`logbus.collectors.configuration.read.read`)."""
    places = {
        "endpoint": ("bus", "endpoint"),
        "control": ("bus", "control"),
        "level": ("levels", "default"),
        "metrics": ("metrics", "address"),
    }
    document: dict[str, Any] = {"sinks": list(given["sinks"])}
    for option, (section, key) in places.items():
        if given[option] is not None:
            document.setdefault(section, {})[key] = given[option]
    return document
