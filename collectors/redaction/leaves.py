"""The texts of a batch, wherever they stand: taken out to be looked at once each, and put back masked."""

from __future__ import annotations

from typing import Any

from logbus.collectors.decode import Raised, Scalar, Site
from logbus.collectors.redaction.pem import SIGN, mask_lines
from logbus.collectors.redaction.work import MASK

#: The scalars of a record by their keys.
Extra = dict[str, Scalar]
#: What texts become. Numbers stand here as texts.
Changed = dict[str, str]


def lines_of(items: list[Any], changed: Changed) -> list[Any]:
    """The items with what has changed in its place, and without the private keys that several of them hold together."""
    lines = [changed.get(item, item) if type(item) is str else item for item in items]
    if any(type(item) is str and SIGN in item for item in items):
        pieces = mask_lines([item if type(item) is str else "" for item in items])
        lines = [
            MASK if piece == MASK and type(line) is str else line for piece, line in zip(pieces, lines, strict=True)
        ]
    return lines


def numbers_of(value: Any) -> set[str]:
    """The numbers among the values, as texts."""
    if is_number(value):
        return {str(value)}
    found: set[str] = set()
    for one in value.values() if type(value) is dict else value if type(value) is list else ():
        found |= numbers_of(one)
    return found


def is_number(value: Any) -> bool:
    """Whether it is a number, and neither true nor false."""
    return type(value) is int or type(value) is float


def names_of(site: Site) -> tuple[str, ...]:
    """The names that a call site has."""
    return site.logger, site.level_name, site.module, site.function, site.component


def masked_site(site: Site, changed: Changed) -> Site:
    """The site with its names masked."""
    logger, level_name, module, function, component = (changed.get(name, name) for name in names_of(site))
    return Site(logger, site.level_no, level_name, module, function, site.line, component)


def renamed(mapping: dict[str, Any], changed: Changed) -> dict[str, Any]:
    """The mapping with its keys masked; two that become one stay two."""
    renamed: dict[str, Any] = {}
    for key, value in mapping.items():
        new = name = changed.get(key, key)
        again = 1
        while new in renamed:
            again += 1
            new = f"{name}~{again}"
        renamed[new] = value
    return renamed


def columns_of(keys: set[str], extras: list[Extra]) -> dict[str | None, set[Scalar]]:
    """The values under each key, each once. Under None those of all keys, where the records don't have the same."""
    if sum(map(len, extras)) == len(keys) * len(extras):
        return {key: {extra[key] for extra in extras} for key in keys}
    return {None: set().union(*[extra.values() for extra in extras])}


def replace(name: str | None, extras: list[Extra], changed: Changed) -> None:
    """Puts what has changed in its place: under one key that all have, or wherever it stands."""
    if name is not None:
        for extra in extras:
            value: Any = extra[name]
            extra[name] = changed.get(value, value)
        return
    for extra in extras:
        if not changed.keys().isdisjoint(extra.values()):
            for key, value in extra.items():
                if value in changed:
                    extra[key] = changed[value]


def replace_numbers(extras: list[Extra], changed: Changed) -> None:
    """Puts the texts in the places of numbers that became one."""
    for extra in extras:
        for key, value in extra.items():
            if is_number(value):
                extra[key] = changed.get(str(value), value)


def collect(value: Any, texts: list[str]) -> None:
    """Adds the texts of a nested value."""
    kind = type(value)
    if kind is str:
        texts.append(value)
    elif kind is dict:
        texts += value
        for one in value.values():
            collect(one, texts)
    elif kind is list:
        for one in value:
            collect(one, texts)


def collect_raised(raised: Raised | None, texts: list[str]) -> None:
    """Adds the texts of an exception and of all that hang on it."""
    for one in _chain(raised):
        texts += (one.type, one.message, *one.traceback)


def replace_raised(raised: Raised | None, changed: Changed) -> None:
    """Puts what has changed in its place in an exception and in all that hang on it."""
    for one in _chain(raised):
        one.type, one.message = changed.get(one.type, one.type), changed.get(one.message, one.message)
        one.traceback[:] = lines_of(one.traceback, changed)


def _chain(raised: Raised | None) -> list[Raised]:
    """An exception and all that hang on it."""
    chain = [] if raised is None else [raised]
    for one in chain:
        chain += one.members
        chain += [linked for linked in (one.cause, one.context) if linked is not None]
    return chain
