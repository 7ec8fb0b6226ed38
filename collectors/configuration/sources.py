"""Where settings come from: a file, the environment, the command line. Each becomes a plain document of one shape.

Nothing is checked here beyond what is needed to have a document at all: the models in
``read.py`` judge it. A source remembers which variable or option a key came from, so that a
problem can be reported by the name under which its author wrote it. No pydantic here: a command that only wants
to find the collector reads the file through this module, and must start quickly.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from logbus.collectors.configuration.spec import encodable, in_one_line, sink_table, without_values
from logbus.errors import ConfigurationError

#: Bytes of a configuration file that are read at most: the loop of a collector that reads it again stands for the
#: third of a second that as much hostile TOML takes.
MAX_FILE_BYTES: Final = 256 * 1024
#: Segments of a key, for which the parser needs time in proportion to their square: half a million take an hour.
MAX_SEGMENTS: Final = 256
#: Tables and lists inside one another: whatever walks through a document may call itself at each.
MAX_DEPTH: Final = 32
_DEEP_KEY = re.compile(rf"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){{{MAX_SEGMENTS}}}""")
#: The file that is read from the working directory when none is named.
DEFAULT_FILE: Final = Path("logbus.toml")

#: Variables that name a setting of their own. The rest is LOGBUS_<SECTION>__<KEY>.
VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "LOGBUS_ENDPOINT": ("bus", "endpoint"),
    "LOGBUS_CONTROL": ("bus", "control"),
    "LOGBUS_LEVEL": ("levels", "default"),
    "LOGBUS_SINKS": ("sinks",),
}
#: Variables without "__" that a collector reads. A worker reads more, which are none of our business here; one that
#: is nearly one of these is taken for a misspelling and refused.
_OWN_VARIABLES: Final = (*VARIABLES, "LOGBUS_CONFIG", "LOGBUS_RUNTIME_DIR", "LOGBUS_STATE_DIR")

#: Tables of the file whose keys have variables.
_SECTIONS: Final = ("bus", "levels", "redaction", "metrics")

#: Options of the command line, by the path of what they set.
OPTIONS: Final[Mapping[str, str]] = {
    "bus.endpoint": "--endpoint",
    "bus.control": "--control",
    "levels.default": "--level",
    "metrics.address": "--metrics",
}

#: Variables of proxywhirl's deployments: the level of every logger, and the path of the default file sink.
PROXYWHIRL_LEVEL: Final = "PROXYWHIRL_LOG_LEVEL"
PROXYWHIRL_FILE: Final = "PROXYWHIRL_LOG_FILE"

#: Settings whose text may begin as JSON does: an IPv6 address stands in brackets.
_TEXTS: Final = frozenset({("metrics", "address")})

#: The file that a collector writes when nothing says otherwise.
DEFAULT_PATH: Final = Path("logs/logbus.jsonl")


@dataclass(slots=True)
class Source:
    """A document (the shape of the configuration file) and where its keys were written.

    ``origins`` maps ``bus.endpoint``, ``sinks`` or ``sinks[0]`` to a variable or an option; a key that is not there
    came from ``label``. ``problems`` are whole lines about what could not even become part of the document.
    """

    label: str
    document: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    #: Of a file's bytes, in hexadecimal.
    sha256: str | None = None

    def origin(self, location: Sequence[str | int]) -> str:
        """The variable, option or file in which the key at a location was written."""
        if len(location) > 1:
            section, key = location[:2]
            path = f"{section}[{key}]" if isinstance(key, int) else f"{section}.{key}"
            if path in self.origins:
                return self.origins[path]
        return self.origins.get(str(location[0]), self.label) if location else self.label


def chosen_file(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: the one given, else ``LOGBUS_CONFIG``, else ./logbus.toml if it is there, else None."""
    if given is not None:
        return given
    if named := environ.get("LOGBUS_CONFIG"):
        return Path(named)
    # Not Path.exists(), which raises where we may not look: a running collector asks several times a second.
    return DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None


def from_file(path: Path) -> Source:
    """The document in a TOML or JSON file, by its extension, else by its first character.

    Raises ConfigurationError, with the line for a syntax error, when there is no document to be had.
    """
    try:
        data = _read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError([f"can't be read: {reason}"], source=str(path)) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError([f"expected at most {MAX_FILE_BYTES} bytes, found more"], source=str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {data[error.start]:#04x} in line {data.count(bytes([10]), 0, error.start) + 1}"
        raise ConfigurationError([f"expected UTF-8, found {where}"], source=str(path)) from error
    is_json = path.suffix == ".json" or (path.suffix != ".toml" and text.lstrip().startswith("{"))
    try:
        document = _from_json(text) if is_json else _from_toml(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigurationError([f"not valid {'JSON' if is_json else 'TOML'}: {reason}"], source=str(path)) from error
    if not isinstance(document, dict):
        known = "bus, levels, sinks, redaction, metrics"
        raise ConfigurationError([f"expected an object with the keys {known}"], source=str(path))
    return Source(str(path), document, sha256=hashlib.sha256(data).hexdigest())


def default_file(path: str | Path = DEFAULT_PATH) -> dict[str, Any]:
    """The table of the file sink that a collector has when nobody names any sink: it never fills the disk."""
    return {"type": "file", "path": path, "rotation": "100 MB", "retention": "10 files", "compression": "gz"}


def from_deployment(environ: Mapping[str, str]) -> Source:
    """What deployments of proxywhirl set already, and nothing else reads: the weakest source of all."""
    source = Source("environment")
    if level := environ.get(PROXYWHIRL_LEVEL):
        source.document["levels"] = {"default": level}
        source.origins["levels"] = PROXYWHIRL_LEVEL
    if path := environ.get(PROXYWHIRL_FILE):
        source.document["sinks"] = [{"type": "console"}, default_file(path)]
        source.origins["sinks"] = PROXYWHIRL_FILE
    return source


def from_environment(environ: Mapping[str, str]) -> Source:
    """What the ``LOGBUS_…`` variables set. An empty variable is one that is not set.

    A value that starts with ``[`` or ``{`` is JSON, any other is text.
    """
    source = Source("environment")
    for variable in sorted(environ):
        if not variable.startswith("LOGBUS_") or not environ[variable]:
            continue
        shown = in_one_line(variable)
        if variable in VARIABLES:
            location = VARIABLES[variable]
        elif "__" not in variable:
            if near := _meant(variable):
                source.problems.append(f"{shown}: unknown variable; did you mean {in_one_line(near)}?")
            continue
        else:
            section, _, key = encodable(variable).removeprefix("LOGBUS_").lower().partition("__")
            location = (section, key)
            if own := next((name for name, at in VARIABLES.items() if location[: len(at)] == at), None):
                source.problems.append(
                    f"{shown}: unknown variable; {own} is the one that sets {'.'.join(VARIABLES[own])}"
                )
                continue
        value: Any = environ[variable]
        if value.lstrip()[:1] in ("[", "{") and location not in _TEXTS:
            try:
                value = _from_json(value)
            except (ValueError, RecursionError) as error:
                source.problems.append(f"{shown}: {'.'.join(location)}: not valid JSON: {error}")
                continue
        if len(location) == 1:
            source.document[location[0]] = value
            source.origins[location[0]] = shown
        else:
            section, key = location
            source.document.setdefault(section, {})[key] = value
            source.origins[f"{section}.{key}"] = shown
            # An unknown section is reported as one key: by the names of every variable that speaks of it.
            source.origins[section] = ", ".join(filter(None, (source.origins.get(section), shown)))
    return source


def _meant(variable: str) -> str | None:
    """What a variable that no collector reads was meant for, if it was meant for one: patterns of secrets that nobody
    reads are worse than none.
    """
    if variable in _OWN_VARIABLES:
        return None
    if near := difflib.get_close_matches(variable, _OWN_VARIABLES, 1, 0.9):
        return near[0]
    section, _, key = variable.removeprefix("LOGBUS_").partition("_")
    if section == "SINKS":
        return "LOGBUS_SINKS"
    return f"LOGBUS_{section}__{key or 'KEY'}" if section.lower() in _SECTIONS else None


def from_command_line(overrides: Mapping[str, Any]) -> Source:
    """What the command line sets: a document in which a sink may also be a SPEC (see ``spec.py``)."""
    source = Source("command line", dict(overrides))
    source.origins = dict(OPTIONS)
    sinks = []
    for sink in overrides.get("sinks", ()):
        if not isinstance(sink, str):
            sinks.append(sink)
            continue
        option = f"--sink {in_one_line(without_values(sink))}"
        try:
            sinks.append(sink_table(sink))
        except ConfigurationError as error:
            source.problems += [f"{option}: {problem}" for problem in error.problems]
            continue
        source.origins[f"sinks[{len(sinks) - 1}]"] = option
    if sinks:
        source.document["sinks"] = sinks
    else:
        source.document.pop("sinks", None)
    return source


def bus_addresses(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The endpoint and the control endpoint of the ``[bus]`` section of the configuration file, where it has them.

    For those who only look for the collector: a file that can't be read is for the collector to complain about.
    """
    path = chosen_file(None, environ)
    try:
        section = from_file(path).document.get("bus") if path is not None else None
    except ConfigurationError:
        section = None
    if not isinstance(section, dict):
        return None, None
    endpoint, control = (section.get(key) for key in ("endpoint", "control"))
    return endpoint if isinstance(endpoint, str) else None, control if isinstance(control, str) else None


def _read(path: Path) -> bytes:
    # Not waiting: for a pipe in its place nobody may ever write, and the collector that reads it again would stand.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is a pipe, and a file is read again whenever it changes")
        data: bytes | None = file.read(MAX_FILE_BYTES + 1)
    return data or b""


def _from_toml(text: str) -> dict[str, Any]:
    if _DEEP_KEY.search(text):
        raise ValueError(f"expected keys of fewer than {MAX_SEGMENTS} segments")
    document = tomllib.loads(text)
    _check_depth(document)
    # The parser takes hexadecimal numbers of any length, and Python refuses to print them in decimal.
    bits = max((number.bit_length() for number in _integers(document)), default=0)
    if bits > 64:
        raise ValueError(f"expected integers of at most 64 bits, found one of {bits}")
    return document


def _check_depth(document: object) -> None:
    level = [document]
    for _ in range(MAX_DEPTH + 1):
        level = [one for outer in level for one in _inside(outer)]
        if not level:
            return
    raise ValueError(f"expected at most {MAX_DEPTH} tables and lists inside one another, found more")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _integers(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    else:
        for inner in _inside(value):
            yield from _integers(inner)


def _from_json(text: str) -> Any:
    document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    _check_depth(document)
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a lone surrogate (\\ud800 to \\udfff) is no character") from error
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The parser would let the last of two equal keys win without a word, where TOML refuses them.
    table = dict(pairs)
    if len(table) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"key {next(key for key, count in counts.items() if count > 1)!r} stands twice in one object")
    return table


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")
