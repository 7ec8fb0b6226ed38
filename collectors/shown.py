"""Values and their places in a document as messages show them: in one line, short, and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from logbus.collectors.configuration.spec import in_one_line
from logbus.collectors.redaction.mask import DEFAULT_FIELDS, SecretKeys, mask_text

#: Characters of a value or a key that a message shows at most, and of those in which secrets are looked for.
MAX_SHOWN: Final = 80
_MASKED: Final = 4096
_KEYS: Final = SecretKeys(DEFAULT_FIELDS)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")

#: Where a value stands in a document: keys, and indices of lists.
Location = tuple[str | int, ...]


def path_of(location: Sequence[str | int]) -> str:
    """A location as it is written in messages.

    >>> path_of(("sinks", 1, "path")), path_of(("bus", "a b"))
    ('sinks[1].path', 'bus."a b"')
    """
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += "." * bool(path) + (part if _BARE_KEY.match(part) and len(part) <= MAX_SHOWN else shown(part))
    return path


def inside(location: Location, line: str) -> str:
    """A line about something inside a value, under the path of the whole document.

    >>> inside(("sinks", 0, "where"), "level.ge: expected a level"), inside(("sinks", 0, "where"), "[1]: expected …")
    ('sinks[0].where.level.ge: expected a level', 'sinks[0].where[1]: expected …')
    """
    return f"{path_of(location)}{'' if line[:1] in ('[', ':') else '.'}{in_one_line(line)}"


def shown(value: object) -> str:
    """A value as it stands in the file, nearly, in printable ASCII and cut to :data:`MAX_SHOWN` characters.

    Secrets that it gives away, as the password in a URL, are masked: problems go to the log and into the status.
    """
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if value is None:
        return "null"
    if isinstance(value, (str, bool)):
        text = json.dumps(value if isinstance(value, bool) else without_secrets(value[:_MASKED])[: MAX_SHOWN + 1])
    else:
        text = str(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def without_secrets(text: str) -> str:
    """The text with what it gives away masked."""
    return mask_text(text, _KEYS)
