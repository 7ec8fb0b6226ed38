"""Building the handler: every way to say its settings, and what a wrong one says."""

from __future__ import annotations

import json
import logging
import logging.config
from typing import Any

import pytest

from logbus.errors import ConfigurationError
from logbus.producers.handler import LogbusHandler
from logbus.producers.recorder import Flight


def test_dict_config_builds_it_from_json(directories: Any) -> None:
    """Every argument may stand in a JSON file; nothing is opened."""
    text = json.dumps(
        {
            "version": 1,
            "handlers": {
                "bus": {
                    "class": "logbus.LogbusHandler",
                    "level": "WARNING",
                    "endpoint": f"ipc://{directories}/r",
                    "control": f"ipc://{directories}/c",
                    "component": "till",
                    "worker": "w",
                    "app_name": "shop",
                    "capacity": 5,
                    "capacity_bytes": 5000,
                    "on_full": "drop_newest",
                    "shutdown_timeout": 0.5,
                    "flight_recorder": {"records": 10},
                }
            },
            "loggers": {"shop": {"handlers": ["bus"], "level": "DEBUG"}},
        }
    )
    logging.config.dictConfig({**json.loads(text), "disable_existing_loggers": False})
    [handler] = logging.getLogger("shop").handlers
    assert isinstance(handler, LogbusHandler)
    settings = handler.producer.settings
    assert handler.level == logging.WARNING
    assert (settings.endpoint.url, settings.control.url) == (f"ipc://{directories}/r", f"ipc://{directories}/c")
    assert (settings.component, settings.worker, settings.app_name) == ("till", "w", "shop")
    assert (settings.capacity, settings.capacity_bytes, settings.on_full) == (5, 5000, "drop_newest")
    assert settings.flight_recorder == Flight(records=10)
    assert not (directories / "r.pages").exists()


def test_a_wrong_argument_is_refused_at_once() -> None:
    """A mistake in the configuration shows when the handler is made, not in the middle of the night."""
    with pytest.raises(ConfigurationError, match="capacity"):
        LogbusHandler(capacity=0)
    document = {"version": 1, "handlers": {"h": {"class": "logbus.LogbusHandler", "on_full": "x"}}}
    with pytest.raises(ValueError, match="handler 'h'") as caught:
        logging.config.dictConfig({**document, "disable_existing_loggers": False})
    assert "on_full" in str(caught.value.__cause__)


def test_handlers_of_the_same_settings_share_a_producer(directories: Any) -> None:
    """Two handlers make one connection, unless they go elsewhere."""
    first, second = LogbusHandler(f"ipc://{directories}/r"), LogbusHandler(f"ipc://{directories}/r")
    assert first.producer is second.producer
    assert LogbusHandler(f"ipc://{directories}/r2").producer is not first.producer
