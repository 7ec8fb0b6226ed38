"""Debian's nginx as a reverse proxy in front of another HTTP server, with an access log of what it answered.

Connections to the proxy are kept alive and used again; those to the server behind it are new each time, so that one
that was down is asked anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.servers import place
from tests.servers.certificates import Identity
from tests.servers.daemon import Daemon, accepts, free_port, requires

#: Seconds until the proxy gives up on the server behind it (504), the bytes of a body that it takes (413 above), and
#: the requests after which it closes a connection.
READ_TIMEOUT_S = 1
MAX_BODY_BYTES = 64 * 1024
REQUESTS_PER_CONNECTION = 10

_CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log info;
events {{ worker_connections 64; }}
http {{
  log_format line escape=json '{{"status":$status,"connection":$connection,"requests":$connection_requests,'
    '"bytes":$request_length,"path":"$request_uri","scheme":"$scheme"}}';
  access_log {directory}/access.jsonl line;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  client_max_body_size {max_body};
  keepalive_requests {requests};
  server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_read_timeout {timeout}s; }}
    location /close/ {{ keepalive_timeout 0; proxy_pass http://127.0.0.1:{upstream}/; }}
  }}
}}
"""


class Nginx(Daemon):
    """A proxy on ``port`` (plain) and ``tls``; below ``/close/`` it closes each connection after its answer."""

    def __init__(self, directory: Path, upstream: int, identity: Identity) -> None:
        requires("nginx")
        directory.mkdir()
        self.port, self.tls = free_port(), free_port()
        self._access = directory / "access.jsonl"
        text = _CONFIGURATION.format(
            directory=directory,
            upstream=upstream,
            port=self.port,
            tls=self.tls,
            certificate=identity.certificate,
            key=identity.key,
            max_body=MAX_BODY_BYTES,
            requests=REQUESTS_PER_CONNECTION,
            timeout=READ_TIMEOUT_S,
        )
        configuration = directory / "nginx.conf"
        configuration.write_text(text)
        command = [str(place.program("nginx")), "-p", str(directory), "-c", str(configuration)]
        super().__init__([*command, "-e", str(directory / "error.log")], directory, self._ready)

    def answered(self) -> list[dict[str, Any]]:
        """The requests that it has answered: ``status``, ``connection``, ``requests``, ``bytes``, ``path``."""
        if not self._access.exists():
            return []
        return [json.loads(line) for line in self._access.read_bytes().split(b"\n")[:-1]]

    def _ready(self) -> bool:
        return accepts(self.port) and accepts(self.tls)
