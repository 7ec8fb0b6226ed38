"""What the doctor looks at around a collector: its configuration, the variables, and where its files would go."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from logbus.cli.finding import Finding, failed, ok, warning

if TYPE_CHECKING:
    from logbus.collectors.configuration.settings import Settings

#: Variables that name a setting of a worker or a collector; LOGBUS_<SECTION>__<KEY> is judged with the configuration.
VARIABLES: Final = frozenset(
    {
        "LOGBUS_APP_NAME",
        "LOGBUS_CAPACITY",
        "LOGBUS_CAPACITY_BYTES",
        "LOGBUS_COMPONENT",
        "LOGBUS_CONFIG",
        "LOGBUS_CONTROL",
        "LOGBUS_ENDPOINT",
        "LOGBUS_FAST_LOGGERS",
        "LOGBUS_FLIGHT_RECORDER",
        "LOGBUS_LEVEL",
        "LOGBUS_ON_FULL",
        "LOGBUS_OPENTELEMETRY",
        "LOGBUS_PURE_PYTHON",
        "LOGBUS_RUN",
        "LOGBUS_RUNTIME_DIR",
        "LOGBUS_RUN_TOLD",
        "LOGBUS_SHUTDOWN_TIMEOUT",
        "LOGBUS_SINKS",
        "LOGBUS_STATE_DIR",
        "LOGBUS_WORKER",
    }
)


def variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The LOGBUS_ variables that are set, each unknown one by name."""
    names = sorted(name for name in environ if name.startswith("LOGBUS_"))
    unknown = [name for name in names if "__" not in name and name not in VARIABLES]
    for name in unknown:
        near = difflib.get_close_matches(name, VARIABLES, 1, 0.8)
        advice = f"did you mean {near[0]}?" if near else "unset it: nothing reads it"
        yield warning("variables", f"{name} is unknown", advice)
    known = [name for name in names if name not in unknown]
    yield ok("variables", ", ".join(known) or "none")


def configuration(environ: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """The settings that a collector started here would have, if they are valid, and every problem of theirs."""
    from logbus.collectors.configuration.read import load
    from logbus.collectors.configuration.sources import chosen_file
    from logbus.errors import ConfigurationError

    path = chosen_file(None, environ)
    try:
        settings = load(None, environ=environ)
    except ConfigurationError as error:
        advice = f"mend it; logbus config validate {path} checks again" if path else "mend the variable"
        return None, [failed("configuration", line, advice) for line in str(error).splitlines()]
    return settings, [ok("configuration", f"{path.absolute()} is valid" if path else "no file: defaults")]


def worker_settings(environ: Mapping[str, str]) -> Finding:
    """What a worker started here would say of its settings."""
    from logbus.errors import ConfigurationError
    from logbus.producers.settings import resolve

    try:
        settings = resolve({}, environ=environ)
    except ConfigurationError as error:
        return failed("worker settings", "; ".join(error.problems), "mend them: logbus.configure() raises this error")
    return ok("worker settings", f"records to {settings.endpoint.url}")


def log_files(settings: Settings) -> Iterator[Finding]:
    """Whether the files of the sinks could be written, one line for each."""
    for sink in settings.sinks:
        path: Any = getattr(sink, "path", None)
        if isinstance(path, Path):
            yield _log_file(f"sink {sink.name}", path)


def _log_file(check: str, path: Path) -> Finding:
    if path.exists():
        if not path.is_file():
            return failed(check, f"{path} is not a file", "choose another path")
        if not os.access(path, os.W_OK):
            return failed(check, f"{path} can't be written", "mend its permissions, or choose another path")
        return ok(check, str(path))
    there = path.parent
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return failed(check, f"{path}: {there} is not a directory", "move it away, or choose another path")
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(check, f"{path}: {there} can't be written", "mend its permissions, or choose another path")
    return ok(check, f"{path} (not there yet)")
