"""Keys in the path of a URL: what services that take logs give to their customers in the place of a password.

``/receiver/v1/http/ZaVnC4dhaV1gYbXQ…`` is an address and a secret in one. Nobody says which part is which, so a part
that is long and has digits counts as a key, and is shown nowhere; a name of that kind is missed in messages, no more.
"""

from __future__ import annotations

from typing import Final

from logbus.collectors.redaction.work import MASK

#: Characters of the shortest part of a path that counts as a key, if there is a digit in it.
KEY_CHARS: Final = 20


def keys_in(path: str) -> list[str]:
    """The parts of a path that look like keys."""
    return [part for part in path.split("/") if len(part) >= KEY_CHARS and any(map(str.isdigit, part))]


def without_keys(url: str) -> str:
    """A URL, without a query, as it may be shown.

    >>> without_keys("https://logs.example.com/bulk/0f8fad5b-d9cb-469f-a165-70867728950e/tag/app")
    'https://logs.example.com/bulk/***/tag/app'
    """
    parts = url.split("/")
    return "/".join([*parts[:3], *[MASK if keys_in(part) else part for part in parts[3:]]])
