"""A sink in one word: what follows ``--sink`` on the command line becomes the table that a file would hold.

``TYPE[:ARGUMENT][,KEY=VALUE]…``, where the argument is the path of a file and the format of any other type. The items
of a list are joined with ``+``, a key of a table inside the sink's stands behind a dot. No value can hold a comma:
what needs one, and conditions (``where``), stand in a file.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Final

from logbus.errors import ConfigurationError

#: Keys of a sink that hold a list; and those that hold a list or one item.
LIST_KEYS: Final = frozenset({"components", "exclude_components"})
RULE_KEYS: Final = frozenset({"rotation", "retention"})
#: Keys of a sink that hold a table, of which a dotted key sets one key.
TABLE_KEYS: Final = frozenset({"sample", "rename_fields", "static_fields"})
#: Keys whose values are numbers or booleans, and are no texts.
TYPED_KEYS: Final = frozenset({"sample.rate", "sample.first", "sample.tail"})


def sink_table(spec: str) -> dict[str, Any]:
    """The table of a sink. Raises ConfigurationError with every problem when the text does not have that form.

    >>> sink_table("file:app.log,level=ERROR,components=rotator+health,rotation=1 day")
    {'type': 'file', 'path': 'app.log', 'level': 'ERROR', 'components': ['rotator', 'health'], 'rotation': '1 day'}
    >>> sink_table("console,sample.rate=0.1,sample.key=request_id")
    {'type': 'console', 'sample': {'rate': 0.1, 'key': 'request_id'}}
    """
    head, *pairs = spec.split(",")
    type_, colon, argument = head.partition(":")
    table: dict[str, Any] = {"type": type_}
    if colon:
        table["path" if type_ == "file" else "format"] = argument
    problems = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = encodable(key.strip())
        outer, dot, inner = key.partition(".")
        place = table
        if dot and outer in TABLE_KEYS:
            place = table.setdefault(outer, {})
        elif key in TABLE_KEYS and equals:
            problems.append(f"expected {key}.KEY=VALUE, found {json.dumps(pair)}")
            continue
        else:
            inner = key
        if not equals:
            problems.append(
                f"expected KEY=VALUE after each comma, found {json.dumps(pair)} "
                "(the items of a list are joined with +, a value with a comma stands in a file)"
            )
        elif inner in place:
            problems.append(f"expected {key} once, found it again in {json.dumps(pair)}")
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


def _value(key: str, text: str) -> Any:
    if key in LIST_KEYS or (key in RULE_KEYS and "+" in text):
        return text.split("+")
    if key in TYPED_KEYS:
        with contextlib.suppress(ValueError):
            found = json.loads(text)
            return found if isinstance(found, (int, float)) else text
    return text
