"""Configuration files of tests, and what is said of those that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.configuration.read import load
from logbus.errors import ConfigurationError

#: Writes a configuration file, and gives its path.
Write = Callable[[object], Path]


def json_writer(directory: Path) -> Write:
    """Writes a document as a JSON file, which nobody finds by its name."""

    def write(document: object) -> Path:
        path = directory / "c.json"
        path.write_text(json.dumps(document))
        return path

    return write


def problems(path: Path | None, overrides: dict[str, Any] | None = None, **environ: str) -> list[str]:
    """The lines about settings that are wrong, as a user sees them; those of the file alone without its name."""
    with pytest.raises(ConfigurationError) as caught:
        load(path, overrides, environ)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines() if caught.value.source != str(path) else caught.value.problems
