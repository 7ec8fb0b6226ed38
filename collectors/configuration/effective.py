"""Settings as they would be written in a file, for people and programs: secrets masked, differences in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from logbus.collectors.configuration import references
from logbus.collectors.configuration.kinds import level_name, thawed
from logbus.collectors.configuration.read import Configuration
from logbus.collectors.configuration.settings import Settings
from logbus.collectors.redaction.mask import DEFAULT_FIELDS, MASK, SecretKeys, Verdict, mask_text
from logbus.collectors.shown import MAX_SHOWN, Location, path_of, shown, without_secrets
from logbus.collectors.sinks.http.keys import without_keys

#: Keys of a sink that come first, as they would in a file.
_FIRST: Final = ("name", "type")
#: Which of our own keys have secret values: whatever this version or a later one may have.
_BUILT_IN: Final = SecretKeys(DEFAULT_FIELDS)
#: Keys of credentials, whose variables are shown.
_CREDENTIALS: Final = frozenset({"password", "bearer"})
#: Keys whose values are levels.
_LEVELS: Final = frozenset({"level", "keep"})


def document(settings: Settings) -> dict[str, Any]:
    """The settings in the shape of the file, every key there, as JSON has it, with secrets masked."""
    keys = SecretKeys({*DEFAULT_FIELDS, *settings.redaction.fields})
    tables = _tables(settings)
    # A level is no secret, and the name of a component ("auth") is no key of one.
    levels, sinks = tables.pop("levels"), tables.pop("sinks")
    shown = {section: _of_ours(table, keys) for section, table in tables.items()}
    return {"bus": shown.pop("bus"), "levels": levels, "sinks": [_of_ours(sink, keys) for sink in sinks], **shown}


def entries(settings: Settings) -> Iterator[tuple[Location, Any]]:
    """Each setting of :func:`document` as its location (``("sinks", 0, "path")``) and its value.

    The settings of a sampler, and the fields that a line has more or under other names, come one by one; conditions
    are one setting.
    """
    for section, part in document(settings).items():
        if isinstance(part, list):
            for index, table in enumerate(part):
                yield from (((section, index, *path), value) for path, value in _leaves(table))
        else:
            yield from (((section, key), value) for key, value in part.items())


def origin(configuration: Configuration, path: str) -> str:
    """Where a setting came from; an option is shown as it was given, without the secrets in it."""
    return str(masked(configuration.origin(path), SecretKeys(DEFAULT_FIELDS)))


def changes(old: Settings, new: Settings) -> list[str]:
    """What is different, a line for each setting; sinks are known by their names. Empty where nothing is."""
    lines = []
    before, after = _by_name(_tables(old)), _by_name(_tables(new))
    was, found = _by_name(document(old)), _by_name(document(new))
    for name in {**before, **after}:
        if name not in after:
            lines.append(f"{name}: removed")
        elif name not in before:
            lines.append(f"{name}: added")
        else:
            different = {
                key
                for key in {**before[name], **after[name]}
                if key not in before[name] or key not in after[name] or before[name][key] != after[name][key]
            }
            lines += _differences(name, different, was[name], found[name])
    return lines


def masked(value: Any, keys: SecretKeys) -> Any:
    """The value with what stands under secret keys, passwords in URLs and secrets in texts masked."""
    if isinstance(value, str):
        return mask_text(value, keys)
    if isinstance(value, Mapping):
        return {key: _under(key, one, keys) for key, one in value.items()}
    if isinstance(value, list):
        return [masked(one, keys) for one in value]
    return value


def _under(key: str, value: Any, keys: SecretKeys) -> Any:
    verdict = keys.verdict(key)
    secret = verdict is Verdict.SECRET or (verdict is Verdict.UNLESS_NUMBER and not isinstance(value, (int, float)))
    return MASK if secret and value is not None else masked(value, keys)


def _of_ours(table: Mapping[str, Any], keys: SecretKeys) -> dict[str, Any]:
    """A table whose keys are ours: those that the user calls secret ("name", "path") are keys of records, not of it."""
    shown: dict[str, Any] = {}
    for key, value in table.items():
        if key == "static_fields":
            shown[key] = masked(value, keys)
        elif key == "where":
            shown[key] = _conditions(value, keys)
        elif key == "url":
            shown[key] = _without_query(value)
        elif key == "headers":
            shown[key] = {name: references.masked(one) for name, one in value.items()}
        elif key == "options":
            shown[key] = _options(value, keys)
        elif key == "labels":
            shown[key] = {name: _under(name, one, keys) if "{" not in one else one for name, one in value.items()}
        elif isinstance(value, Mapping):
            shown[key] = _of_ours(value, keys)
        elif isinstance(value, str) and key in _CREDENTIALS:
            shown[key] = references.masked(value)
        elif value is not None and _BUILT_IN.verdict(key) is Verdict.SECRET:
            shown[key] = MASK
        else:
            shown[key] = masked(value, keys)
    return shown


def _without_query(url: str) -> str:
    """A URL of a sink, without its query and keys in its path: some who take logs want one there, under any name."""
    before, question, _ = url.partition("?")
    return f"{without_secrets(without_keys(before))}{question}{MASK * bool(question)}"


def _options(value: Any, keys: SecretKeys) -> Any:
    """Options of a sink of somebody else: as the fields of a record, but for variables, which are not the secrets."""
    if isinstance(value, Mapping):
        return {
            key: references.masked(one)
            if isinstance(one, str) and keys.verdict(key) is not Verdict.PLAIN
            else _under(key, one, keys)
            if not isinstance(one, (Mapping, list))
            else _options(one, keys)
            for key, one in value.items()
        }
    return masked(value, keys)


def _conditions(value: Any, keys: SecretKeys) -> Any:
    """Conditions, with what they compare secret fields with masked; whether such a field exists is no secret."""
    if isinstance(value, list):
        return [_conditions(one, keys) for one in value]
    if isinstance(value, Mapping):
        return {
            name: masked(one, keys) if keys.verdict(name) is Verdict.PLAIN else _hidden(one)
            for name, one in value.items()
        }
    return value


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _hidden(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_hidden(one) for one in value]
    return value if isinstance(value, bool) else MASK


def _leaves(table: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value and key != "where":
            yield from (((key, inner), one) for inner, one in value.items())
        else:
            yield (key,), value


def _tables(settings: Settings) -> dict[str, Any]:
    """The settings in the shape of the file, with nothing masked."""
    return {
        "bus": _table(settings.bus),
        "levels": {selector: level_name(level) for selector, level in settings.levels.items()},
        "sinks": [_table(sink) for sink in settings.sinks],
        "redaction": _table(settings.redaction),
        "metrics": _table(settings.metrics),
    }


def _table(model: BaseModel) -> dict[str, Any]:
    fields = type(model).model_fields
    first = [key for key in _FIRST if key in fields]
    return {key: _plain(key, getattr(model, key)) for key in (*first, *(key for key in fields if key not in first))}


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, BaseModel):
        return _table(value)
    if isinstance(value, (Mapping, tuple)):
        return thawed(value)
    return level_name(value) if key in _LEVELS else value


def _by_name(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    tables = dict(document)
    sinks = tables.pop("sinks")
    named = {f"sink {shown(table['name'])}": table for table in sinks}
    return tables | {name: {path_of(path): value for path, value in _leaves(table)} for name, table in named.items()}


def _differences(name: str, keys: Set[str], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    lines = []
    for key in (key for key in {**before, **after} if key in keys):
        path = f"{name}: {key}" if name.startswith("sink ") else path_of((name, key))
        if (key not in after or key not in before) and {**before, **after}[key] in (None, {}):
            continue  # the place of a table, whose keys stand on the other side one by one
        if key not in after:
            lines.append(f"{path}: removed, was {_words(before[key])}")
        elif key not in before:
            lines.append(f"{path}: {_words(after[key])}, was not set")
        elif before[key] == after[key]:
            lines.append(f"{path}: another value that is not shown")
        else:
            lines.append(f"{path}: {_words(after[key])}, was {_words(before[key])}")
    return lines


def _words(value: Any) -> str:
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
        text = json.dumps(value)
        return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return shown(value)
