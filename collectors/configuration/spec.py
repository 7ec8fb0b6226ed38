"""A sink in one word: what follows ``--sink`` on the command line becomes the table that a file would hold.

``TYPE[:ARGUMENT][,KEY=VALUE]…``, where the argument is the format of a console, the path of a file, the address of a
syslog server and the URL of an HTTP one; a sink of somebody else has none, so that ``"package.module:Name"`` is a type.
The items of a list are joined with ``+``, a key of a table inside the sink's stands behind a dot. No value can hold a
comma: what needs one, and conditions (``where``), stand in a file; in a URL a comma can be written as ``%2C``.

What may be a secret stands in plain sight of everybody on the machine there: better is ``${NAME}``, or a file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from logbus.collectors.configuration.references import masked
from logbus.collectors.redaction.work import MASK
from logbus.collectors.sinks.http.keys import without_keys
from logbus.errors import ConfigurationError

#: The types of sinks that are ours, and which key of each the argument behind the colon sets.
ARGUMENTS: Final[Mapping[str, str]] = {"console": "format", "file": "path", "syslog": "address", "http": "url"}
#: Keys of a sink that hold a list; and those that hold a list or one item.
LIST_KEYS: Final = frozenset({"components", "exclude_components"})
RULE_KEYS: Final = frozenset({"rotation", "retention"})
#: Keys of a sink that hold a table, of which a dotted key sets one key.
TABLE_KEYS: Final = frozenset(
    "sample rename_fields static_fields queue batch retry tls auth headers labels options".split()
)
#: Keys whose values are numbers or booleans, and are no texts; and that of a list of numbers.
TYPED_KEYS: Final = frozenset({"sample.rate", "sample.first", "sample.tail", "batch.max_records", "facility"})
NUMBERS_KEY: Final = "retry.statuses"
#: Tables whose values may be secrets under any name.
_SECRET_TABLES: Final = ("headers", "auth", "options")


def sink_table(spec: str) -> dict[str, Any]:
    """The table of a sink. Raises ConfigurationError with every problem when the text does not have that form.

    >>> sink_table("file:app.log,level=ERROR,components=rotator+health,rotation=1 day")
    {'type': 'file', 'path': 'app.log', 'level': 'ERROR', 'components': ['rotator', 'health'], 'rotation': '1 day'}
    >>> sink_table("console,sample.rate=0.1,sample.key=request_id")
    {'type': 'console', 'sample': {'rate': 0.1, 'key': 'request_id'}}
    >>> sink_table("http:https://logs.example.com:8443/in,headers.Authorization=Bearer ${TOKEN}")["url"]
    'https://logs.example.com:8443/in'
    """
    head, *pairs = spec.split(",")
    type_, colon, argument = head.partition(":")
    table: dict[str, Any] = {"type": type_ if type_ in ARGUMENTS else head}
    if colon and type_ in ARGUMENTS:
        table[ARGUMENTS[type_]] = argument
    problems = []
    for pair, visible in zip(pairs, _visible(spec)[1:], strict=True):
        key, equals, value = pair.partition("=")
        key = encodable(key.strip())
        outer, dot, inner = key.partition(".")
        place = table
        if dot and outer in TABLE_KEYS:
            place = table.setdefault(outer, {})
        elif key in TABLE_KEYS and equals:
            problems.append(f"expected {key}.KEY=VALUE, found {json.dumps(visible)}")
            continue
        else:
            inner = key
        if not equals:
            problems.append(
                f"expected KEY=VALUE after each comma, found {json.dumps(visible)} "
                "(the items of a list are joined with +, a value with a comma stands in a file)"
            )
        elif inner in place:
            problems.append(f"expected {key} once, found it again in {json.dumps(visible)}")
        else:
            place[inner] = _value(key, value)
    if problems:
        raise ConfigurationError(problems)
    return table


def in_one_line(text: str) -> str:
    r"""The text with every character escaped that would not show, or would end the line.

    >>> in_one_line("a\nb\u2028c")
    'a\\x0ab\\u2028c'
    """
    return "".join([c if c.isprintable() else _escaped(c) for c in text])


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def encodable(text: str) -> str:
    """The text with what is no character escaped: bytes of argv or the environment that are not UTF-8 arrive as lone
    surrogates, which no model and no stream takes.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def without_values(spec: str) -> str:
    """The text with masks in place of all that may be a secret, variables aside: for messages that repeat it.

    >>> without_values("http:https://h/in?key=abc,headers.X-Key=abc,auth.bearer=${T},level=INFO")
    'http:https://h/in?***,headers.X-Key=***,auth.bearer=${T},level=INFO'
    """
    return ",".join(_visible(spec))


def _visible(spec: str) -> list[str]:
    """What stands between the commas, with masks."""
    head, *pairs = spec.split(",")
    before, _, query = head.partition("?")
    hidden = bool(query) and head.startswith("http:")
    if head.startswith("http:"):
        head = without_keys(before) + (f"?{MASK}" if hidden else "")
    shown = [head]
    for pair in pairs:
        key, equals, value = pair.partition("=")
        # Behind a secret, what is no KEY=VALUE is the rest of it: somebody's token has a comma.
        hidden = key.strip().partition(".")[0] in _SECRET_TABLES or (hidden and not equals)
        shown.append((f"{key}={masked(value)}" if equals else MASK) if hidden else pair)
    return shown


def _value(key: str, text: str) -> Any:
    if key == NUMBERS_KEY:
        return [int(one) if one.isdecimal() and one.isascii() else one for one in text.split("+")]
    if key in LIST_KEYS or (key in RULE_KEYS and "+" in text):
        return text.split("+")
    if key in TYPED_KEYS:
        with contextlib.suppress(ValueError):
            found = json.loads(text)
            return found if isinstance(found, (int, float)) else text
    return text
