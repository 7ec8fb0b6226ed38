"""The settings of a producer: code over environment over file over default. Plain data, checked once.

The file is ``[tool.logbus]`` of ./pyproject.toml; for ``endpoint`` and ``control`` the collector's own file
(``LOGBUS_CONFIG`` or ./logbus.toml, section ``[bus]``) comes before the default, so that one file serves both sides.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from logbus.bus import Endpoint, control_endpoint, records_endpoint, stranger
from logbus.errors import ConfigurationError
from logbus.levels import parse_level
from logbus.producers.buffer import OnFull

if TYPE_CHECKING:
    from logbus.producers.recorder import Flight

#: Records that a producer holds at most.
CAPACITY: Final = 65_536
#: Bytes (estimated) that a producer holds at most.
CAPACITY_BYTES: Final = 32 * 1024 * 1024
#: Seconds for the drain at exit, at most.
SHUTDOWN_TIMEOUT: Final = 2.0

_ENVIRONMENT: Final = {
    "endpoint": "LOGBUS_ENDPOINT",
    "control": "LOGBUS_CONTROL",
    "component": "LOGBUS_COMPONENT",
    "level": "LOGBUS_LEVEL",
    "worker": "LOGBUS_WORKER",
    "app_name": "LOGBUS_APP_NAME",
    "capacity": "LOGBUS_CAPACITY",
    "capacity_bytes": "LOGBUS_CAPACITY_BYTES",
    "on_full": "LOGBUS_ON_FULL",
    "shutdown_timeout": "LOGBUS_SHUTDOWN_TIMEOUT",
    "flight_recorder": "LOGBUS_FLIGHT_RECORDER",
    "opentelemetry": "LOGBUS_OPENTELEMETRY",
    "fast_loggers": "LOGBUS_FAST_LOGGERS",
}
#: What a switch is set to in the environment.
_ON: Final = frozenset({"1", "on", "true", "yes"})
_OFF: Final = frozenset({"0", "off", "false", "no"})
#: The level that deployments of proxywhirl set already: it counts where nobody has said one.
_DEPLOYED_LEVEL: Final = "PROXYWHIRL_LOG_LEVEL"
#: How TOML and JSON write a letter by its number: a key may be in the file without its text.
_LETTERS_AS_NUMBERS: Final = ("\\u", "\\U", "\\x")


class ProducerSettings(NamedTuple):
    """What a producer needs to know.

    ``component`` names the component of records whose logger names none (the root logger, ``__main__``).
    ``level`` is None where nobody has said one, ``flight_recorder`` where there is none. Empty ``worker`` and
    ``app_name`` mean: found out per process. ``opentelemetry`` is None for: where it is loaded. ``fast_loggers`` is for
    what makes the process a worker (:mod:`logbus.producers.fast_tree`). ``owner`` is the user (uid) to whom the
    directory of the endpoint has to belong, where it is the default one; None where somebody has named it, who knows
    whose it is.
    """

    endpoint: Endpoint
    control: Endpoint
    component: str = ""
    level: int | None = None
    worker: str = ""
    app_name: str = ""
    capacity: int = CAPACITY
    capacity_bytes: int = CAPACITY_BYTES
    on_full: OnFull = "shed_lowest"
    shutdown_timeout: float = SHUTDOWN_TIMEOUT
    flight_recorder: Flight | None = None
    opentelemetry: bool | None = None
    fast_loggers: bool = False
    owner: int | None = None

    def refusal(self) -> str | None:
        """Why nothing may go to the endpoint now; None if it may.

        In /tmp another user may have made our default directory first, and listen there. A process that has given up
        its privileges since goes on to where it was configured.
        """
        directory = self.endpoint.lock.parent
        try:
            found = stranger(directory, self.owner) if self.owner is not None else None
        except OSError as error:
            return f"{directory}: {error.strerror}"
        return None if found is None else f"{found[0]} belongs to uid {found[1]}, expected {self.owner}"

    def worker_name(self, pid: int) -> str:
        """The name of this process as a worker: the one given, or the application's with the pid."""
        return self.worker or f"{self.application()}-{pid}"

    def application(self) -> str:
        """The name of the application: the one given, or that of the program."""
        if self.app_name:
            return self.app_name
        stem = Path(sys.argv[0] if sys.argv else "").stem
        if stem == "__main__":
            stem = Path(sys.argv[0]).parent.name
        return _encodable(stem) if stem not in ("", "-c", "-m", "-") else "python"


def host_name() -> str:
    """The host as records name it."""
    return _encodable(os.uname().nodename) or "localhost"


def resolve(
    given: Mapping[str, Any], *, environ: Mapping[str, str] | None = None, directory: Path | None = None
) -> ProducerSettings:
    """The settings after precedence; keys of ``given`` that are None count as not given.

    Raises ConfigurationError, naming every wrong value and where it came from.
    """
    environ = os.environ if environ is None else environ
    known = set(ProducerSettings._fields) - {"owner"}
    values = _file_values(environ, directory or Path.cwd())
    for key, variable in _ENVIRONMENT.items():
        if environ.get(variable):
            values[key] = environ[variable], variable
    for key, value in given.items():
        if value is not None:
            values[key] = value, f"{key}="
    problems = [f"{where}: unknown key {key!r}" for key, (_, where) in values.items() if key not in known]
    checked: dict[str, Any] = {}
    for key, (value, where) in values.items():
        if key not in known:
            continue
        try:
            checked[key] = _CHECKS[key](value)
        except ConfigurationError as error:
            problems += [f"{where} {problem}" for problem in error.problems]
        except (TypeError, ValueError):
            problems.append(f"{where} {value!r}: expected {_EXPECTED[key]}")
    if problems:
        raise ConfigurationError(problems)
    if "level" not in checked:
        with contextlib.suppress(ConfigurationError):  # not written for us: a mistake there must stop no application
            checked["level"] = parse_level(environ[_DEPLOYED_LEVEL]) if environ.get(_DEPLOYED_LEVEL) else None
    if "endpoint" not in checked and not environ.get("LOGBUS_RUNTIME_DIR"):
        checked["owner"] = os.geteuid()
    endpoint = checked.pop("endpoint", None) or records_endpoint()
    control = checked.pop("control", None) or control_endpoint(records=endpoint)
    return ProducerSettings(endpoint=endpoint, control=control, **checked)


def _file_values(environ: Mapping[str, str], directory: Path) -> dict[str, tuple[Any, str]]:
    values: dict[str, tuple[Any, str]] = {}
    named = environ.get("LOGBUS_CONFIG")
    bus = _table(Path(named) if named else directory / "logbus.toml", "bus", "bus")
    values |= {key: (bus[key], "[bus]") for key in ("endpoint", "control") if key in bus}
    tool = _table(directory / "pyproject.toml", "tool", "logbus")
    own = tool.get("logbus", {})
    if isinstance(own, dict):
        values |= {key: (value, "[tool.logbus]") for key, value in own.items()}
    return values


def _table(path: Path, section: str, word: str) -> dict[str, Any]:
    """A section of a file, in which it matters only where the file has this word among its keys.

    A file that can't be read is the collector's to complain about: a worker goes on.
    """
    try:
        text = path.read_text("utf-8")
        if word not in text and not any(mark in text for mark in _LETTERS_AS_NUMBERS):
            return {}
        if path.suffix == ".json":
            document = json.loads(text)
        else:
            import tomllib  # where there is such a table: a third of a megabyte

            document = tomllib.loads(text)
        table = document.get(section, {})
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 128:
        raise TypeError
    return _encodable(value)


def _encodable(text: str) -> str:
    # Bytes of argv or the environment that are not UTF-8 arrive as lone surrogates, which no frame takes.
    return text.encode("utf-8", "backslashreplace").decode()


def _whole(value: object) -> int:
    number = int(value) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError
    return number


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    number = float(value)
    if not 0 <= number <= 3600:
        raise ValueError
    return number


def _on_full(value: object) -> str:
    if value not in get_args(OnFull):
        raise ValueError
    return str(value)


def _endpoint(value: object) -> Endpoint:
    if not isinstance(value, str):
        raise TypeError
    return Endpoint.parse(value)


def _level(value: object) -> int:
    if not isinstance(value, (str, int)):
        raise TypeError
    return parse_level(value)


def _flight(value: object) -> Flight | None:
    from logbus.producers.recorder import Flight  # where somebody says a word about it

    return Flight.of(value)


def _switch(value: object) -> bool:
    if isinstance(value, str):
        word = value.strip().lower()
        value = True if word in _ON else False if word in _OFF else value
    if not isinstance(value, bool):
        raise TypeError
    return value


_CHECKS: Final[Mapping[str, Any]] = {
    "endpoint": _endpoint,
    "control": _endpoint,
    "component": _text,
    "level": _level,
    "worker": _text,
    "app_name": _text,
    "capacity": _whole,
    "capacity_bytes": _whole,
    "on_full": _on_full,
    "shutdown_timeout": _seconds,
    "flight_recorder": _flight,
    "opentelemetry": _switch,
    "fast_loggers": _switch,
}
_EXPECTED: Final[Mapping[str, str]] = {
    "endpoint": "a URL",
    "control": "a URL",
    "component": "a name of at most 128 characters",
    "level": "a level name or an integer from 0 to 100",
    "worker": "a name of at most 128 characters",
    "app_name": "a name of at most 128 characters",
    "capacity": "a number of records, at least 1",
    "capacity_bytes": "a number of bytes, at least 1",
    "on_full": "one of " + ", ".join(get_args(OnFull)),
    "shutdown_timeout": "seconds from 0 to 3600",
    "flight_recorder": "true, false or a table",
    "opentelemetry": "true or false",
    "fast_loggers": "true or false",
}
