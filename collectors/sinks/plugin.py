"""Sinks of other people: an entry point of the group ``logbus.sinks``, or ``"package.module:Name"``.

All that its author writes is a class (or a function that makes such an object) with one method::

    class Table:
        def __init__(self, path: str) -> None:      # the sink's options
            self.path = path

        def write(self, lines: list[bytes]) -> None:
            with open(self.path, "ab") as file:
                file.writelines(line + b"\n" for line in lines)

``lines`` are whole, redacted, of the sink's format and without their newlines. That ``write`` returns says that all of
them are delivered. If it raises, none are, and they come again: after a while, or after ``after_s`` seconds of a
:class:`~logbus.collectors.sinks.base.TryAgainError`, whose ``doubtful`` says how many may have arrived all the same.
:class:`logbus.RefusedError` says that these lines will never be taken. Of several that are refused together each is
then offered by itself, so that the others are delivered; whatever is refused alone becomes a dead letter.

The object is made when the sink is opened, at the start or at a reload, in the collector's main thread: it keeps its
options and does no more. Then one thread has it, the sink's writer. ``open()``, if there is one, is called there before
the first ``write``, again and again until it works; ``close()`` at the end, when the last lines are written or have
been given up. ``abort()`` comes from another thread and should have a ``write`` that hangs end soon.

Whatever it raises ends neither the collector nor the writer; what is wrong with its options is a wrong setting.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from logbus.collectors import installed
from logbus.collectors.installed import refusal, short, words
from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.sinks.remote import RemoteSink
from logbus.errors import ConfigurationError, RefusedError

#: Where packages announce their sinks.
GROUP: Final = "logbus.sinks"
#: Seconds for which a plug-in may have itself left alone, at most, so that a slip of a digit is not for ever.
MAX_AFTER_S: Final = 3600.0

Make = Callable[..., Any]


class PluginSink(RemoteSink):
    """Lines to somebody else's code. ``kind`` is what configuration calls it, ``make`` what makes it of ``options``.

    ``secrets`` are texts in these that no message should have.
    """

    def __init__(
        self, name: str, kind: str, make: Make, options: Mapping[str, Any], secrets: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name)
        self._secrets = tuple(sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True))
        self.type = kind
        self._make = make
        self._options = dict(options)
        self._theirs: Any = None
        self._ready = False
        self._aborted = threading.Event()

    def open(self) -> None:
        """Makes it. Raises ConfigurationError with what it has against its options."""
        where, kind = f"sink {self.name!r}: options", short(self.type)
        try:
            found = self._make(**self._options)
        except BaseException as error:  # making it is running somebody's code
            told = words(error, self._secrets)
            raise ConfigurationError([f"{where}: expected such as {kind} takes: {told}"]) from error
        if not callable(getattr(found, "write", None)):
            raise ConfigurationError([f"{where}: expected an object with a method write of {kind}, found none"])
        self._theirs = found
        self._ready = False

    def write(self, data: bytes) -> Sent | None:
        """Hands the lines over. Raises TryAgainError with its words for whatever it raises."""
        self._aborted.clear()
        lines = data[:-1].split(b"\n")
        try:
            self._begin()
            self._theirs.write(lines)
        except RefusedError as error:
            if len(lines) == 1:
                return Sent(1, (Refusal(data, 1, self._said(error)),))
            return self._each(data[:-1].split(b"\n"))  # the list was theirs
        # Its errors, sys.exit() and what ends tasks included, concern this write only. A signal raises nothing in a
        # thread.
        except BaseException as error:
            raise self._again(error, len(lines)) from error
        return None

    def abort(self) -> None:
        """Asks for the end of a write that hangs, where it has a way."""
        self._aborted.set()
        try:
            _call(self._theirs, "abort")
        except BaseException:  # what a hanging write does then is its own affair
            return

    def close(self) -> None:
        """Tells it that there will be no more."""
        theirs, self._theirs, self._ready = self._theirs, None, False
        if theirs is None:
            return
        try:
            _call(theirs, "close")
        except BaseException as error:  # what it had is delivered, or was given up
            self.trouble = f"close: {words(error, self._secrets)}"

    def _each(self, lines: list[bytes]) -> Sent:
        """Line by line, until one is to be tried again: which of them it refuses."""
        refused: list[Refusal] = []
        for at, line in enumerate(lines):
            try:
                if self._aborted.is_set():
                    raise TryAgainError("it is to end")
                self._theirs.write([line])
            except RefusedError as error:
                refused.append(Refusal(line + b"\n", 1, self._said(error)))
            except BaseException as error:
                again = self._again(error, 1)
                if at == 0:
                    raise again from error
                return Sent(at, tuple(refused), resent=again.doubtful)
        return Sent(len(lines), tuple(refused))

    def _begin(self) -> None:
        """Has it opened, unless that has worked already."""
        if self._ready:
            return
        try:
            _call(self._theirs, "open")
        except RefusedError as error:  # it has seen no line that it could refuse
            raise TryAgainError(self._said(error)) from error
        self._ready = True

    def _said(self, error: BaseException) -> str:
        """The words of an error of ours, whose type says nothing more."""
        text = words(error, self._secrets)
        return text.partition(": ")[2] or text

    def _again(self, error: BaseException, count: int) -> TryAgainError:
        """What a writer understands, of what somebody's code has raised."""
        if not isinstance(error, TryAgainError):
            return TryAgainError(words(error, self._secrets))
        after, doubtful = _number(error.after_s), _number(error.doubtful)
        return TryAgainError(self._said(error), after_s=min(after, MAX_AFTER_S), doubtful=int(min(doubtful, count)))


def load(name: str, others: tuple[str, ...] = ()) -> Make:
    """The class or function that a name in configuration stands for; ``others`` are the types that are ours.

    Raises ConfigurationError when there is none to be had, with what would be right.
    """
    point = installed.find(GROUP, "type", name, others)
    found = installed.load(point, "type", "sink")
    where = short(installed.called(point))
    if not callable(found):
        what = "a class with a method write, or a function that makes such an object"
        raise refusal("type", what, f"{where}, which is of type {type(found).__name__}")
    if isinstance(found, type) and not callable(getattr(found, "write", None)):
        raise refusal("type", "a class with a method write", f"{where}, which has none")
    return found  # type: ignore[no-any-return]


def check_options(make: Make, options: Mapping[str, Any]) -> None:
    """Nothing, if they fit the arguments, as far as can be told without a call. Raises ConfigurationError."""
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # written in C
        return
    try:
        signature.bind(**options)
    except TypeError as error:
        raise ConfigurationError([f"options: expected the arguments {_arguments(signature)}: {words(error)}"]) from None


def _forms(secret: str) -> tuple[str, ...]:
    """A text as an error may repeat it: as it is, as Python writes it in quotes, in JSON, and in a URL."""
    utf8 = secret.encode("utf-8", "surrogateescape")
    quoted = (
        repr(secret)[1:-1],
        repr(utf8)[2:-1],
        *(json.dumps(secret, ensure_ascii=way)[1:-1] for way in (True, False)),
    )
    return secret, *quoted, quote(utf8, safe=""), quote(utf8), quote_plus(utf8)


def _call(theirs: Any, method: str) -> None:
    found = getattr(theirs, method, None)
    if callable(found):
        found()


def _number(value: object) -> float:
    """A number that somebody's code has given: not below 0; 0 for anything else."""
    return value if isinstance(value, (int, float)) and value > 0 else 0.0


def _arguments(signature: inspect.Signature) -> str:
    return short(", ".join(signature.parameters))
