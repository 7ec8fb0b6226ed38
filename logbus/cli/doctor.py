"""``logbus doctor``: everything that a worker and a collector need, looked at from here, and what to do about it.

Each check stands alone: where one fails the others still run. Only what can't be tried without a collector waits for
one. Nothing is repaired, and nothing is changed but what a worker changes that logs one record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import click

from logbus.cli.finding import Finding, failed, warning
from logbus.cli.options import addresses, as_json, reaches_collector
from logbus.cli.terminal import console, print_json, printable

_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@click.command()
@reaches_collector(5.0)
@as_json
@click.pass_context
def doctor(ctx: click.Context, *, control: str | None, name: str | None, timeout: float, as_json: bool) -> None:
    """Check what logbus needs, and say what to do.

    Exit 1 if a check has failed; a warning is none.
    """
    from logbus.bus import check_name

    if name:
        check_name(name)
    findings: list[Finding] = []
    for finding in examine(control=control, name=name, timeout=timeout):
        findings.append(finding)
        if not as_json:
            _show(finding)
    sound = all(finding.verdict != "failed" for finding in findings)
    if as_json:
        print_json({"ok": sound, "checks": [asdict(finding) for finding in findings]})
    ctx.exit(0 if sound else 1)


def examine(*, control: str | None, name: str | None, timeout: float) -> Iterator[Finding]:
    """Every finding, in the order in which one would look; last what takes longest, which has begun first."""
    from logbus.cli.proxywhirl import looking

    with looking() as proxywhirl:
        yield from _examine(control=control, name=name, timeout=timeout)
        yield from proxywhirl()


def _examine(*, control: str | None, name: str | None, timeout: float) -> Iterator[Finding]:
    from logbus.bus import runtime_directory, state_directory
    from logbus.cli import contact, machine, surroundings
    from logbus.cli.remote_sinks import remote_sinks
    from logbus.errors import ConfigurationError

    yield from machine.versions()
    yield machine.descriptors()
    runtime, state = runtime_directory(), state_directory()
    own = state / (name or "default")
    yield from machine.directory("runtime directory", runtime, lasting=False)
    yield from machine.directory("state directory", state, lasting=True)
    if own.exists():
        yield from machine.directory("collector's state", own, lasting=True)
    yield machine.clock((own, runtime / (name or "default")))
    yield from surroundings.variables(os.environ)
    settings, found = surroundings.configuration(os.environ)
    yield from found
    yield surroundings.worker_settings(os.environ)
    try:
        where = addresses(control=control, name=name)
    except ConfigurationError as error:
        yield failed("endpoints", "; ".join(error.problems), "mend that setting; nothing can be asked before")
        return
    yield from contact.sockets(where)
    if (theirs := contact.foreign(where.control)) is not None:
        served, found = True, [theirs]
    else:
        said, found = contact.collector(where, name=name, timeout=timeout)
        served = said is not None
    yield from found
    yield contact.level_snapshot(where.control, served=served)
    yield contact.dead_pages(where.records, served=served)
    if settings is not None and not served:
        # A collector that runs has its files open, and its status tells of their troubles.
        yield from surroundings.log_files(settings)
    if settings is not None:
        yield from remote_sinks(settings, own, os.environ)
    if served:
        yield contact.round_trip(where, timeout=timeout)
    else:
        yield warning("round trip", "not tried: no collector answers", "start one, and ask the doctor again")


def _show(finding: Finding) -> None:
    from rich.text import Text

    text = f"{finding.check}: {finding.found}" + (f" → {finding.advice}" if finding.advice else "")
    line = Text(f"{finding.verdict:<7}  ", style=_STYLES[finding.verdict])
    console().print(line.append(printable(text), style="default"), soft_wrap=True)
