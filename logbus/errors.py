"""Every error that logbus raises, in one tree.

A message says what was expected, what was found and where (the setting, the frame or the file);
the values are attributes too, so that a program need not read the text.
Nothing here is ever raised out of a log call.
"""

from __future__ import annotations

from pathlib import Path


class LogbusError(Exception):
    """Base of every error of logbus. ``exit_code`` is what a command ends with (interface §1)."""

    exit_code = 1


class WireError(LogbusError):
    """Raised when bytes are not a valid frame. ``reason`` is a short stable key, used as a counter."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigurationError(LogbusError):
    """Raised when settings are wrong. ``problems`` holds one line per problem, each with its key."""

    exit_code = 2

    def __init__(self, problems: list[str], *, source: str | None = None) -> None:
        where = f"{source}: " if source else ""
        super().__init__("\n".join(f"{where}{problem}" for problem in problems))
        self.problems = problems
        self.source = source


class EndpointError(ConfigurationError):
    """Raised when an endpoint URL can't be used; ``setting`` is where it was written, if that is known."""

    def __init__(self, endpoint: str, expected: str, *, setting: str | None = None) -> None:
        super().__init__([f"{setting or 'endpoint'} {endpoint!r}: {expected}"])
        self.endpoint = endpoint
        self.expected = expected
        self.setting = setting


class OwnedError(LogbusError):
    """Raised when an endpoint, a state directory or a log file belongs to another live collector."""

    exit_code = 3

    def __init__(self, what: str, *, name: str | None, pid: int | None) -> None:
        owner = f"collector {name!r}" if name else "another process"
        super().__init__(f"{what} is owned by {owner}" + (f" (pid {pid})" if pid else ""))
        self.what = what
        self.name = name
        self.pid = pid


class PageError(LogbusError):
    """Raised when a counter page or a ledger page can't be read; ``path`` names the file."""

    def __init__(self, path: Path | str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = Path(path)


class ControlError(LogbusError):
    """Raised when a collector refuses a command or answers with an error; ``exit_code`` may be the answer's."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NoCollectorError(LogbusError):
    """Raised when no collector answers on the control endpoint within the timeout (seconds).

    ``reason`` says why it was known sooner: then nothing was ever sent; else ``asked`` is true, and it may act yet.
    """

    def __init__(self, control: str, timeout: float, *, reason: str | None = None) -> None:
        how = f": {reason}" if reason else f" within {timeout:g} s"
        super().__init__(f"no collector answered at {control}{how}")
        self.control = control
        self.timeout = timeout
        self.asked = reason is None


class SinkError(LogbusError):
    """Raised when a sink can't be opened or can't deliver; ``sink`` is its name."""

    def __init__(self, sink: str, message: str) -> None:
        super().__init__(f"sink {sink!r}: {message}")
        self.sink = sink


class RefusedError(LogbusError):
    """Raised by a sink of somebody else for lines that its other side will never take, with the reason.

    They become dead letters; any other error has them tried again.
    """
