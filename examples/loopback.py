"""Three proxies and the site behind them, on this machine: to try the other examples where there is no network.

::

    python loopback.py python fastapi_service.py

It runs the command with the URLs of the proxies in PROXIES, or prints them, where there is none, and serves until it is
ended. One proxy is open, one asks for a password, and at the last nobody listens. Whatever host a request is for, they
forward it to the same small site: no name is looked up, and no packet leaves the machine. The site answers at once, but
to the first request for each ``/busy/…`` with 503.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PASSWORD = secrets.token_hex(16)
CREDENTIALS = "Basic " + base64.b64encode(f"scout:{PASSWORD}".encode()).decode()

#: The paths that have had their 503.
BUSY: set[str] = set()


class Handler(BaseHTTPRequestHandler):
    """What the servers have in common: connections are kept, and nothing is printed."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Sends an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name that http.server gives it)
        """Nothing: stdout is for the URLs."""


class Site(Handler):
    """The site that all requests end at."""

    def do_GET(self) -> None:
        """The price of anything."""
        if self.path.startswith("/busy/") and self.path not in BUSY:
            BUSY.add(self.path)
            self.answer(503, b"busy\n")
        else:
            self.answer(200, b'{"price": 42}\n', Content_Type="application/json")


class Proxy(Handler):
    """A forward proxy for plain HTTP."""

    expected: str | None = None
    site: int

    def do_GET(self) -> None:
        """Passes the request on, and the answer back."""
        if self.expected is not None and self.headers["Proxy-Authorization"] != self.expected:
            self.answer(407, b"who are you?\n", Proxy_Authenticate='Basic realm="loopback"')
            return
        site = HTTPConnection("127.0.0.1", self.site, timeout=10)
        site.request("GET", urlsplit(self.path)._replace(scheme="", netloc="").geturl() or "/")
        response = site.getresponse()
        self.answer(response.status, response.read())
        site.close()


class ClosedProxy(Proxy):
    """One that asks for a password."""

    expected = CREDENTIALS


def serve(handler: type[Handler]) -> int:
    """The port of a new server, which lives as long as this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def main() -> int:
    """Serves; the exit code of the command."""
    Proxy.site = serve(Site)
    # Bound, so that nobody else gets the port, but without listen(): connections are refused.
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        urls = [
            f"http://127.0.0.1:{serve(Proxy)}",
            f"http://scout:{PASSWORD}@127.0.0.1:{serve(ClosedProxy)}",
            f"http://127.0.0.1:{dead.getsockname()[1]}",
        ]
        if len(sys.argv) > 1:
            command = subprocess.Popen(sys.argv[1:], env={**os.environ, "PROXIES": " ".join(urls)})
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which may have things to finish
            signal.signal(signal.SIGTERM, lambda *_: command.terminate())  # and what ends this ends the command
            return command.wait()
        print(*urls, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
        return 0


if __name__ == "__main__":
    sys.exit(main())
