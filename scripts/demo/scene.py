"""The scene of a run: where the servers listen, and the secrets that must never reach a log.

The services write it once they listen; workers wait for it. Services that are restarted take the ports and secrets
of the scene that they find, so that the workers go on as before.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.demo.proxy import basic

#: Seconds between looks for a scene that is not there yet.
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Scene:
    """Ports on 127.0.0.1 (0: any free one), and secrets made anew for each run."""

    target: int = 0
    open_proxies: tuple[int, ...] = (0, 0)
    auth_proxy: int = 0
    #: Ports on which nothing listens, kept from others by a socket that is bound to them.
    dead_ports: tuple[int, ...] = (0, 0)
    user: str = "scout"
    #: With characters that have to be percent-encoded in a URL.
    password: str = field(default_factory=lambda: f"p@{secrets.token_hex(8)}/x")
    wrong_password: str = field(default_factory=lambda: f"wrong{secrets.token_hex(8)}")
    cookie: str = field(default_factory=lambda: secrets.token_hex(16))
    api_key: str = field(default_factory=lambda: secrets.token_hex(16))

    def secrets(self) -> tuple[str, ...]:
        """Every form in which a secret may stand in a log: plain, percent-encoded, and in a Basic header."""
        plain = (self.password, self.wrong_password, self.cookie, self.api_key)
        encoded = (quote(self.password, safe=""),)
        headers = tuple(basic(self.user, word).removeprefix("Basic ") for word in (self.password, self.wrong_password))
        return plain + encoded + headers

    def save(self, path: Path) -> None:
        """Writes the scene, readable by its owner only, whole or not at all."""
        scratch = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)
        os.replace(scratch, path)

    @classmethod
    def load(cls, path: Path) -> Scene:
        """The scene in a file. Raises FileNotFoundError."""
        document = json.loads(path.read_text())
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
        }
        return cls(**fields)

    @classmethod
    def wait(cls, path: Path, timeout: float) -> Scene:
        """The scene, once it is there. Raises TimeoutError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return cls.load(path)
            except FileNotFoundError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"expected the services to write {path} within {timeout:g} s") from None
                time.sleep(POLL_SECONDS)
