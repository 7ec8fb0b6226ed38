"""A folder as celery's broker: kombu's, but a message is whole from the moment that it is there.

Kombu's own writes into the file that it has made already, and a worker that looks then reads half a message and dies.
``mailbox(app, folder)`` gives it to an application.
"""

# Kombu is typed in part.
# mypy: disable-error-code="override, no-untyped-call"

from __future__ import annotations

import json
import uuid
from pathlib import Path
from time import monotonic_ns
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.filesystem import Channel, Transport

TRANSPORT_ALIASES["mailbox"] = "tests.programs.mailbox:Mailbox"

#: Seconds for which a worker looks for messages before it looks after itself.
LOOK_S = 0.2


class Slot(Channel):
    """Where messages are put."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        file = Path(self.data_folder_in, f"{monotonic_ns():020d}-{uuid.uuid4()}.{queue}.msg")
        new = file.with_suffix(".new")
        new.write_text(json.dumps(payload))
        new.rename(file)


class Mailbox(Transport):
    """The broker of ``mailbox://``."""

    Channel = Slot

    def drain_events(self, connection: Any, **options: Any) -> Any:
        """Looks for messages, for so many seconds at most: only then does a worker see that it was told to end."""
        return super().drain_events(connection, timeout=min(options.get("timeout") or LOOK_S, LOOK_S))


def mailbox(app: Any, folder: Path) -> None:
    """Makes a folder the broker of an application, and looks into it twenty times a second."""
    options = {"polling_interval": 0.05}
    for option in ("data_folder_in", "data_folder_out", "control_folder"):
        (folder / option).mkdir(parents=True, exist_ok=True)
        options[option] = str(folder / option)  # type: ignore[assignment]
    app.conf.update(broker_url="mailbox://", broker_transport_options=options)
