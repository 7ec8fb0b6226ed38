"""A service with four workers: its own endpoints, proxywhirl's rotator behind them, and proxywhirl's REST API beside.

In three terminals, in this directory. The proxies of loopback.py will do to try it; yours come in PROXIES, and without
any proxywhirl looks for public ones::

    logbus collector start --sink file:service.jsonl

    python loopback.py python fastapi_service.py --port 8000 --workers 4

    curl -H 'X-Request-ID: mine' http://127.0.0.1:8000/prices/7
    grep mine service.jsonl                     # uvicorn's, the endpoint's, the rotator's and httpx's: one id
    curl http://127.0.0.1:8000/api/v1/proxies   # proxywhirl's own API
    logbus set-level DEBUG --component httpcore --where request_id=mine
    logbus status                               # four workers and their supervisor

Four things are done for that, marked 1 to 4. Without 1, 2 and 4 the same service logs the same when it is started so::

    logbus run --app-name prices -- uvicorn fastapi_service:app --workers 4

What remains is 3: nobody but the application can say where a request of its own begins. (Under ``logbus run`` too the
rotator gives its requests an id where there is none, and so does proxywhirl's API.)
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

import proxywhirl.api
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from proxywhirl import Proxy, ProxyWhirl
from proxywhirl.exceptions import ProxyWhirlError

import logbus
import logbus.integrations.proxywhirl
import logbus.integrations.uvicorn
from logbus.integrations.asgi import RequestContextMiddleware

#: The site whose prices these are, and the proxies by which it is asked. In the environment: each worker reads it.
SITE = os.environ.get("SITE", "http://shop.example")
PROXIES = os.environ.get("PROXIES", "").split()

# (1) Each process that imports this becomes a worker: uvicorn spawns its workers, and they inherit nothing.
logbus.configure(app_name="prices")
# (2) Records of proxied requests get their fields, and selections, attempts, breakers and health become records.
logbus.integrations.proxywhirl.install()

log = logging.getLogger("prices.service")


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """What a worker does before its first request and after its last."""
    # Nobody runs the lifespan of an application that is mounted, and it is there that proxywhirl makes its rotator.
    async with proxywhirl.api.lifespan(proxywhirl.api.app):
        for url in PROXIES:
            # From a URL alone it takes no proxies in your own network.
            proxywhirl.api.get_rotator().add_proxy(Proxy(url=url, allow_local=True))
        yield


service = FastAPI(lifespan=lifespan, openapi_url=None)  # no /docs of its own, which would hide proxywhirl's


# Not "async def": ProxyWhirl blocks. FastAPI calls it in a thread, and the context of the request goes along.
@service.get("/prices/{item}")
def price(item: int, rotator: Annotated[ProxyWhirl, Depends(proxywhirl.api.get_rotator)]) -> dict[str, Any]:
    """The price of an item, as another shop's site says it."""
    log.info("asked for a price", extra={"item": item})
    try:
        answer: dict[str, Any] = rotator.get(f"{SITE}/items/{item}").json()
    except ProxyWhirlError as error:
        log.exception("no price", extra={"item": item})
        raise HTTPException(502, "no price today") from error
    return {"item": item, **answer}


# Last, and not below a prefix: all that the service has no endpoint for is proxywhirl's, and its audit log passes over
# paths that don't begin with /api/.
service.mount("/", proxywhirl.api.app)

# (3) A request is what the client says it is, in X-Request-ID or traceparent. Around everything: what is outside has
# no id, and the middleware that FastAPI itself puts outermost answers when an endpoint fails.
app = RequestContextMiddleware(service)


def main() -> None:
    """Serves until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    # (4) Uvicorn's own records: its loggers don't propagate. The settings are those of configure() above.
    log_config = logbus.integrations.uvicorn.log_config(app_name="prices")
    uvicorn.run(
        "fastapi_service:app",
        port=options.port,
        workers=options.workers,
        log_config=log_config,
        # Seconds in which a worker answers its supervisor, or is replaced. It can't before it has imported all this,
        # for which four at a time may need more than the 5 seconds that are the default.
        timeout_worker_healthcheck=60,
    )


if __name__ == "__main__":
    main()
