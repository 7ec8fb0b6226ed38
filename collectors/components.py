"""The names that levels can be set for: every logger and component that this collector has heard of.

They come from records, from the lists that workers send of loggers that have not logged yet, and from configuration.
A name is remembered over restarts, so that a level can be set before the first worker is there; and the number of
names is bounded, so that an application that makes a logger for each request costs no memory: when there are too many
the oldest are forgotten, those first that have never logged, and those in use come back with their next record.
"""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from logbus.collectors.decode import Site
from logbus.collectors.replace import Replacement, put_aside, read_own
from logbus.errors import ConfigurationError
from logbus.levels import component_of
from logbus.rules import MAX_CHARS, covers

#: The names in the state directory of a collector.
FILE_NAME: Final = "components.json"
#: Names remembered; beyond them the oldest tenth is forgotten.
MAX_NAMES: Final = 20_000
#: Bytes of the file, read at most: every name with its quotes, each character as an escape.
_MAX_BYTES: Final = 16 * 1024 * 1024
#: Seconds between two writings of the file.
WRITE_S: Final = 10.0
#: Names that a misspelt one is compared with, about a microsecond or ten each, and how many are offered.
_COMPARED: Final = 4096
_OFFERED: Final = 3


class Components:
    """Known names. ``tell`` is given sentences for people; one thread uses it."""

    def __init__(self, directory: Path, *, tell: Callable[[str], None], configured: Iterable[str] = ()) -> None:
        self._path = directory / FILE_NAME
        self._tell = tell
        #: Names, the oldest first, and whether a record of that name has come.
        self._names: dict[str, bool] = {}
        self._configured = frozenset(configured)
        self._changed = False
        self._failing = False
        self._write_at = 0.0
        self._read()

    def __len__(self) -> int:
        return len(self._names)

    def configure(self, selectors: Iterable[str]) -> None:
        """The selectors that configuration names from now on."""
        self._configured = frozenset(selectors)

    def learn(self, sites: Iterable[Site]) -> None:
        """Takes in who has logged."""
        names = self._names
        for site in sites:
            if not names.get(site.logger):
                self._add(site.logger, spoke=True)
            if not names.get(site.component):
                self._add(site.component, spoke=True)

    def learn_names(self, names: Iterable[str]) -> None:
        """Takes in which loggers exist."""
        for name in names:
            if name not in self._names:
                self._add(name, spoke=False)

    def covered(self, selector: str) -> Iterable[str]:
        """The known names that a selector covers."""
        return (name for name in self._names if covers(selector, name, component_of(name)))

    def spoke(self, selector: str) -> bool:
        """Whether any record has come from what a selector covers."""
        return any(self._names[name] for name in self.covered(selector))

    def check(self, selector: str) -> None:
        """Nothing, if a selector covers a known name. Raises ConfigurationError, with near matches, if it does not."""
        if next(iter(self.covered(selector)), None) is not None:
            return
        if any(covers(selector, name, component_of(name)) for name in self._configured):
            return
        near = self._near(selector)
        guess = f": did you mean {' or '.join(near)}?" if near else ""
        raise ConfigurationError(
            [f"unknown component {selector!r}{guess}", "--force accepts a name that nobody has used yet"]
        )

    def write(self, *, now: bool = False) -> None:
        """Keeps what is new, rarely; at once with ``now``. A disk that refuses is told once."""
        if not self._changed or (not now and time.monotonic() < self._write_at):
            return
        self._write_at = time.monotonic() + WRITE_S
        spoken = [name for name, spoke in self._names.items() if spoke]
        silent = [name for name, spoke in self._names.items() if not spoke]
        try:
            # Names are learnt again from the workers: they need not survive a power cut.
            data = json.dumps({"spoken": spoken, "silent": silent}).encode()
            with Replacement(self._path, data, durable=False) as kept:
                kept.commit()
        except OSError as error:
            if not self._failing:
                self._tell(f"names of components can't be kept in {self._path}: {error.strerror}")
            self._failing = True
            return
        self._changed = self._failing = False

    def _add(self, name: str, *, spoke: bool) -> None:
        if not 0 < len(name) <= MAX_CHARS:  # no selector can be so long
            return
        if name not in self._names and len(self._names) >= MAX_NAMES:
            # Who makes a logger for each request must not drive out those that log.
            silent = (known for known, spoke in self._names.items() if not spoke)
            victims = dict.fromkeys(islice(silent, MAX_NAMES // 10))
            for known in self._names:
                if len(victims) >= MAX_NAMES // 10:
                    break
                victims[known] = None
            for victim in victims:
                del self._names[victim]
        self._names[name] = spoke
        self._changed = True

    def _near(self, selector: str) -> list[str]:
        """Known names, or runs of as many of their segments, that are nearly this one."""
        length = selector.count(".") + 1
        found: dict[str, None] = {}
        for name in (*self._configured, *self._names):
            segments = name.split(".")
            for run in (segments[at : at + length] for at in range(len(segments) - length + 1)):
                # Who differs by more than a third in length is no misspelling.
                if 3 * abs(sum(map(len, run)) + length - 1 - len(selector)) <= max(6, len(selector)):
                    found[".".join(run)] = None
            if len(found) >= _COMPARED:
                break
        return difflib.get_close_matches(selector, found, _OFFERED)

    def _read(self) -> None:
        try:
            data = read_own(self._path, max_bytes=_MAX_BYTES)
            document = {} if data is None else json.loads(data)
            for key, spoke in (("silent", False), ("spoken", True)):
                names = document.get(key, [])
                if not all(isinstance(name, str) for name in names):
                    raise ValueError(f"{key}: expected a list of names")
                for name in names:
                    self._add(name, spoke=spoke)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            aside = put_aside(self._path)
            self._names.clear()
            self._tell(f"names of components in {self._path} can't be read ({error}): put aside as {aside}")
        self._changed = False
