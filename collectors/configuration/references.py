"""Variables of the environment in a setting: ``Bearer ${LOG_TOKEN}``, so that a file need not hold a secret.

A setting keeps the text as it was written, which can be shown, compared and put into a file again. Only what makes a
sink of it (:mod:`logbus.collectors.destinations`) looks the variables up, in the environment that the process was
started with: a secret that changes needs a restart, or stands in a file that is read again.

``$${`` is a ``${`` that means itself; a ``$`` before anything else does too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from logbus.collectors.redaction.work import MASK
from logbus.errors import ConfigurationError

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: Words before a variable that are no secret: the schemes of Authorization (IANA's registry), and those of services.
_SCHEME: Final = re.compile(r"(?:Basic|Bearer|Digest|Token|Splunk|ApiKey|Api-Token|GenieKey|Key|Negotiate) +", re.I)


def names(text: str) -> list[str]:
    """The variables that a text refers to, each once. Raises ConfigurationError for a ``${`` that refers to none.

    >>> names("Bearer ${LOG_TOKEN}$${X}")
    ['LOG_TOKEN']
    """
    if "${" in _REFERENCE.sub("", text):
        raise ConfigurationError(["expected ${NAME}, a variable of the environment, or $${ for a ${ that means itself"])
    return list(dict.fromkeys(match[1] for match in _REFERENCE.finditer(text) if match[1]))


def texts_in(value: object) -> Iterator[str]:
    """Every text in a value, at any depth; keys are none.

    >>> [*texts_in({"a": ["${B}", 1], "c": {"d": "e"}})]
    ['${B}', 'e']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts_in(one)


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """The text with the values of its variables. Raises ConfigurationError, naming those that are unset or empty.

    >>> expanded("Bearer ${LOG_TOKEN}", {"LOG_TOKEN": "abc"})
    'Bearer abc'
    """
    # An empty one is a secret that somebody has forgotten, and a header that no server takes.
    missing = [name for name in names(text) if not environ.get(name)]
    if missing:
        what, found = " and ".join(missing), "empty" if all(name in environ for name in missing) else "unset"
        raise ConfigurationError([f"expected a value of {what} in the environment of the collector, found it {found}"])
    # Not a template of the library's: what a variable holds is not looked through again.
    return _REFERENCE.sub(lambda match: environ[match[1]] if match[1] else "${", text)


def masked(text: str) -> str:
    """The text with all masked that is not a variable, or the scheme before one.

    >>> masked("Bearer ${LOG_TOKEN}"), masked("Bearer abc"), masked("abc${X}")
    ('Bearer ${LOG_TOKEN}', '***', '***${X}')
    """
    found: list[str] = []
    end = 0
    for match in _REFERENCE.finditer(text):
        if match[1] is None:
            continue
        before = text[end : match.start()]
        plain = not before.strip(" :") or (end == 0 and _SCHEME.fullmatch(before))
        found += [before if plain else MASK, match[0]]
        end = match.end()
    rest = text[end:]
    return "".join([*found, rest if not rest.strip(" :") else MASK])
