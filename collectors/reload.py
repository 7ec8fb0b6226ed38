"""Replaces the configuration of a running collector, whole or not at all.

Theory of operation. The file is watched (:mod:`logbus.collectors.watch`), SIGHUP and the command ``reload`` ask too.
Then every source is read again, the command line and the environment as strong as they were, and judged as a whole.
What is new is opened and started beside the old (:meth:`logbus.collectors.route.Router.prepare`), the level rules are
kept and published, and only then routes and redaction are exchanged, between two batches, which can't fail. Whatever
fails before that leaves everything as it was: the error goes to whoever asked, to stderr, into a record of the
collector's own and into its status.

Sockets are bound once. What would need another one, and what else is decided at the start, is refused by its key.
All of it belongs to the collector's thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from logbus.collectors import notify
from logbus.collectors.commands import Asker
from logbus.collectors.configuration.effective import changes
from logbus.collectors.configuration.read import Configuration, Settings
from logbus.collectors.destinations import destinations, selectors
from logbus.collectors.receiver import Receiver
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.route import MakeWriter, Router
from logbus.collectors.shown import shown
from logbus.collectors.watch import Watch
from logbus.errors import ConfigurationError, ControlError, LogbusError

#: Settings that count when a collector starts, and not again.
FIXED: Final = (
    ("bus", "endpoint"),
    ("bus", "control"),
    ("bus", "durability"),
    ("bus", "allow"),
    ("metrics", "address"),
)
#: Lines of one reload that stderr gets at most, and characters of its record.
MAX_LINES: Final = 20
MAX_CHARS: Final = 4000


class Say(Protocol):
    """Makes a record of the collector's own."""

    def __call__(self, message: str, **fields: str | int) -> None:
        """The message, and fields beside it."""


class Reloader:
    """The configuration in force, and the way to another one.

    ``levels`` takes the level rules by selector, and the selectors of the sinks; ``state`` is the state directory, in
    which sinks keep their journals, and ``complain`` is given what goes wrong with rotated files. ``tell`` is for
    people on stderr; what goes wrong is said in the log (``say``), what goes well is noted there (``note``).
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        router: Router,
        receiver: Receiver,
        make_writer: MakeWriter,
        levels: Callable[[Mapping[str, int], Iterable[str]], object],
        state: Path,
        complain: Callable[[str], None],
        tell: Callable[[str], None],
        say: Say,
        note: Say,
    ) -> None:
        self._configuration = configuration
        self._router = router
        self._receiver = receiver
        self._make_writer = make_writer
        self._levels = levels
        self._state = state
        self._complain = complain
        self._tell = tell
        self._say = say
        self._note = note
        self._watch = Watch(self._chosen)
        self._version = 1
        self._loaded_at = time.time()
        self._error: str | None = None

    def look(self) -> None:
        """Reloads if the file has changed; an error is told and raised to nobody."""
        if self._watch.changed():
            with contextlib.suppress(LogbusError):
                self.reload("its file has changed")

    def reload(self, cause: str) -> list[str]:
        """What has changed, a line for each setting.

        Raises ConfigurationError with every problem, and what opening a sink or keeping the levels raises; it has been
        told by then, and the old configuration is in force. ``cause`` says why this is done.
        """
        self._watch.know()
        notify.reloading()
        try:
            found = self._configuration.again()
            differences = self._replace(found)
        except LogbusError as error:
            self._failed(error, cause)
            raise
        except Exception as error:  # a defect of ours, or a system out of threads: no reason to stop collecting
            wrapped = ControlError(f"{type(error).__name__}: {error}")
            self._failed(wrapped, cause)
            raise wrapped from error
        if differences or self._error is not None:  # logrotate hangs up each night: no record of nothing
            told = "; ".join(differences)[:MAX_CHARS] or "nothing has changed"
            self._note(f"configuration reloaded: {told}", event="reloaded", cause=cause, changes=len(differences))
        self._configuration = found
        self._version += 1
        self._loaded_at, self._error = time.time(), None
        notify.ready(f"configuration {self._version} is in force")
        return differences

    def answer(self, document: dict[str, Any], asker: Asker) -> dict[str, Any]:
        """Answers the command "reload"."""
        differences = self.reload("a command asked for it")
        return {"changes": differences, **self.status()}

    def status(self) -> dict[str, Any]:
        """The file, when it was loaded and which version of this life it is; why a later one is not in force."""
        file = self._configuration.file
        return {
            "file": None if file is None else str(file).encode("utf-8", "backslashreplace").decode(),
            "sha256": self._configuration.sha256,
            "loaded_at": datetime.fromtimestamp(self._loaded_at, UTC).isoformat(timespec="milliseconds"),
            "version": self._version,
            "error": self._error,
        }

    def _chosen(self) -> Any:
        return self._configuration.chosen()

    def _replace(self, found: Configuration) -> list[str]:
        old, new = self._configuration.settings, found.settings
        _check_fixed(old, new, found)
        wanted = destinations(new, self._state, self._complain, origins=found.origins)
        exchange = self._router.prepare(wanted, self._make_writer)
        try:
            redactor = self._receiver.redactor
            if new.redaction != old.redaction:
                redactor = Redactor(new.redaction.fields, new.redaction.patterns)
            self._levels(new.levels, selectors(new))
            self._router.commit(exchange)
        except BaseException:
            exchange.cancel()
            raise
        self._receiver.redactor = redactor
        return changes(old, new)

    def _failed(self, error: LogbusError, cause: str) -> None:
        self._error = str(error)
        lines = self._error.splitlines()
        kept = lines[:MAX_LINES] + [f"and {len(lines) - MAX_LINES} more"] * (len(lines) > MAX_LINES)
        self._tell("\n".join(("configuration not reloaded, the old one stays in force:", *kept)))
        text = f"configuration not reloaded, the old one stays in force: {'; '.join(kept)}"
        self._say(text[:MAX_CHARS], event="reload_failed", cause=cause, problems=len(lines))
        notify.ready(f"configuration {self._version} is in force, reload failed: {lines[0]}")


def _check_fixed(old: Settings, new: Settings, found: Configuration) -> None:
    """Raises ConfigurationError that names each changed setting which can't change while the collector runs."""
    problems = []
    for section, key in FIXED:
        before, after = (getattr(getattr(settings, section), key) for settings in (old, new))
        if before != after:
            path = f"{section}.{key}"
            origin = found.origin(path)
            where = "" if origin == str(found.file) else f"{origin}: "
            problems.append(f"{where}{path}: needs a restart; {_words(before)} is in force, found {_words(after)}")
    if problems:
        raise ConfigurationError(problems, source=str(found.file) if found.file else None)


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(shown, value))}]"
    return "the default" if value is None else shown(value)
