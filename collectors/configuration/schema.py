"""JSON Schema of the configuration file, for editors and pipelines: ``logbus config schema`` prints it.

Made from the models that judge the file, so that both know the same keys and values. The schema is the more lenient:
what only a look at the whole or at the system can tell (two sinks on one file, a URL that can't be bound) it lets
pass, and ``logbus config validate`` does not.
"""

from __future__ import annotations

from typing import Any, Final

from logbus.collectors.configuration.settings import SINKS, Settings

#: The schema's own name; it changes when a file that was right stops being so.
SCHEMA_ID: Final = "urn:logbus:configuration:1"

#: What a model says about itself and a reader of the file need not know.
_NOISE: Final = frozenset({"title", "discriminator"})


def configuration_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the configuration file; a new document at each call."""
    schema = _clean(Settings.model_json_schema())
    for model in SINKS.values():
        # A type has a default for those who make a sink in Python; in a file it tells which sink is meant.
        table = schema["$defs"][model.__name__]
        table["required"] = ["type", *(key for key in table.get("required", ()) if key != "type")]
        table["properties"]["type"].pop("default", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "logbus configuration",
        **schema,
        "description": "The configuration file of a logbus collector, TOML or JSON.",
    }


def _clean(value: Any, *, names: bool = False) -> Any:
    """The schema without noise; ``names``: its keys are those of the file, and all stay."""
    if isinstance(value, dict) and not names:
        noise = set(_NOISE)
        if "$ref" in value:
            noise.add("description")  # "a table": what is referred to says which one
        if value.get("default") == [] and ("minItems" in value or "anyOf" in value):
            noise.add("default")  # no list, which can't be written as one
        value = {key: one for key, one in value.items() if key not in noise}
    if isinstance(value, dict):
        return {key: _clean(one, names=key in ("properties", "$defs") and not names) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list) else value
