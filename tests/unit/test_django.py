"""Django's middleware and LOGGING, with the real Django: one id, the user once somebody has looked, no object."""

from __future__ import annotations

import io
import logging
import logging.config
from collections.abc import Callable, Iterator
from typing import Any

import pytest

django = pytest.importorskip("django")

from asgiref.sync import async_to_sync  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import AsyncClient, Client  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from logbus.errors import ConfigurationError  # noqa: E402
from logbus.integrations.django import RequestContextMiddleware, logging_config  # noqa: E402
from logbus.producers.context import current_context  # noqa: E402
from logbus.producers.handler import LogbusHandler  # noqa: E402
from tests.kept import Kept  # noqa: E402

log = logging.getLogger("shop.till")


def fine(request: Any) -> HttpResponse:
    """A view that logs."""
    log.info("sold", extra={"header": request.headers["X-Request-ID"]})
    return HttpResponse(request.request_id)


async def fine_async(request: Any) -> HttpResponse:
    """The same, async."""
    log.info("sold", extra={"header": request.headers["X-Request-ID"]})
    return HttpResponse(request.request_id)


def broken(request: Any) -> HttpResponse:
    """A view that raises."""
    raise ValueError("no till")


def who(request: Any) -> HttpResponse:
    """A view that looks who is there, between two records."""
    log.info("before")
    name = request.user.get_username()
    log.info("after")
    return HttpResponse(name)


async def who_async(request: Any) -> HttpResponse:
    """The same, async."""
    log.info("before")
    user = await request.auser()
    log.info("after")
    return HttpResponse(user.get_username())


urlpatterns = [
    path("fine", fine),
    path("fine-async", fine_async),
    path("broken", broken),
    path("who", who),
    path("who-async", who_async),
]

if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["testserver"],
        SECRET_KEY="test",
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        MIDDLEWARE=[
            "logbus.integrations.django.RequestContextMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        LOGGING_CONFIG=None,
    )
    django.setup()


@pytest.fixture
def collected(kept: Kept) -> Kept:
    """What the root logger gets."""
    root = logging.getLogger()
    root.addHandler(LogbusHandler.of(kept.producer))
    root.setLevel(logging.INFO)
    return kept


@pytest.fixture
def user() -> Iterator[Any]:
    """Somebody who can log in, in a database of this test's own."""
    from django.contrib.auth.models import User

    call_command("migrate", verbosity=0)
    user = User.objects.create_user("ada", password="x")
    yield user
    user.delete()


def told(kept: Kept, logger: str) -> list[dict[str, Any]]:
    """The fields of a logger's records."""
    return [{**(entry.extra or {}), **(entry.nested or {})} for entry in kept.entries if entry.site[0] == logger]


@pytest.mark.parametrize("url", ["/fine", "/fine-async"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_id_from_the_client_to_the_response(collected: Kept, url: str, asynchronous: bool) -> None:
    """It is on the records of the view, in its request and in the answer, in sync and async Django."""
    sent = {"X-Request-ID": "r-1"}
    response = async_to_sync(AsyncClient().get)(url, headers=sent) if asynchronous else Client().get(url, headers=sent)
    assert (response.content, response.headers["X-Request-ID"]) == (b"r-1", "r-1")
    assert told(collected, "shop.till") == [{"request_id": "r-1", "operation": "http_request", "header": "r-1"}]
    assert current_context() == {}


@pytest.mark.parametrize("sent", [None, "", "a\x7fb", "é", "x" * 129])
def test_an_id_that_nobody_should_believe(collected: Kept, sent: str | None) -> None:
    """Is replaced by one of our own."""
    response = Client().get("/fine", headers={} if sent is None else {"X-Request-ID": sent})
    [fields] = told(collected, "shop.till")
    assert len(fields["request_id"]) == 32
    assert response.headers["X-Request-ID"] == fields["request_id"]


def test_a_trace_gives_the_id(collected: Kept) -> None:
    """And its own two fields."""
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    Client().get("/fine", headers={"traceparent": f"00-{trace}-{span}-01"})
    [fields] = told(collected, "shop.till")
    assert (fields["request_id"], fields["trace_id"], fields["span_id"]) == (trace, trace, span)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("url", "status"), [("/broken", 500), ("/missing", 404)])
def test_what_django_says_of_a_failure(
    collected: Kept, caplog: pytest.LogCaptureFixture, url: str, status: int, asynchronous: bool
) -> None:
    """Its record has the id, though a 404 is logged outside of every middleware, and no request as an object."""
    sent = {"X-Request-ID": "r-2"}
    if asynchronous:
        response = async_to_sync(AsyncClient(raise_request_exception=False).get)(f"{url}?token=x", headers=sent)
    else:
        response = Client(raise_request_exception=False).get(f"{url}?token=x", headers=sent)
    assert (response.status_code, response.headers.get("X-Request-ID")) == (status, "r-2")
    caplog.clear()  # its records hold the traceback, and that the thread of asgiref's loop
    [fields] = told(collected, "django.request")
    fields.pop("operation", None)
    assert fields == {"request_id": "r-2", "method": "GET", "path": url, "status_code": status}
    [entry] = [entry for entry in collected.entries if entry.site[0] == "django.request"]
    assert (entry.exception is not None) == (status == 500)


def test_nobody_is_asked_who_it_is(collected: Kept, user: Any) -> None:
    """A view that doesn't look at the user costs no query."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.force_login(user)
    with CaptureQueriesContext(connection) as queries:
        client.get("/fine")
    assert len(queries) == 0
    assert "user_id" not in told(collected, "shop.till")[0]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_who_was_looked_at_is_known(collected: Kept, user: Any, asynchronous: bool) -> None:
    """From the moment in which the application reads the user the records carry the id."""
    if asynchronous:
        client = AsyncClient()
        async_to_sync(client.aforce_login)(user)
        response = async_to_sync(client.get)("/who-async")
    else:
        client = Client()
        client.force_login(user)
        response = client.get("/who")
    assert response.content == b"ada"
    before, after = told(collected, "shop.till")
    assert "user_id" not in before
    assert after["user_id"] == user.pk
    assert current_context() == {}


def test_nobody_has_no_id(collected: Kept, user: Any) -> None:
    """Who is not logged in is not named."""
    assert Client().get("/who").content == b""
    assert all("user_id" not in fields for fields in told(collected, "shop.till"))


def test_the_header_is_a_setting(collected: Kept) -> None:
    """Another name, in both directions; what no header can be named is refused."""
    with override_settings(LOGBUS_REQUEST_ID_HEADER="X-Correlation-ID"):
        response = Client().get("/fine", headers={"X-Correlation-ID": "c-1", "X-Request-ID": "r-1"})
        assert response.headers["X-Correlation-ID"] == "c-1"
    with override_settings(LOGBUS_REQUEST_ID_HEADER="two words"), pytest.raises(ConfigurationError, match="two words"):
        RequestContextMiddleware(lambda request: None)


def test_logging_config(collected: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what dictConfig takes; runserver's lines are still shown, and everything else is as Django has it."""
    from django.utils.log import configure_logging

    configure_logging("logging.config.dictConfig", logging_config(level="DEBUG", component="shop"))
    root, server = logging.getLogger(), logging.getLogger("django.server")
    [handler] = [handler for handler in root.handlers if isinstance(handler, LogbusHandler)]
    assert handler.producer.settings.component == "shop"
    assert root.level == logging.DEBUG
    assert [type(handler) for handler in server.handlers] == [logging.StreamHandler, LogbusHandler]
    stream = io.StringIO()
    server.handlers[0].setStream(stream)  # type: ignore[attr-defined]
    server.info('"GET / HTTP/1.1" 200 5', extra={"request": object(), "status_code": 200, "server_time": "now"})
    assert stream.getvalue() == '[now] "GET / HTTP/1.1" 200 5\n'


def test_a_user_of_the_applications_own_making(collected: Kept) -> None:
    """What has no key, or raises when it is looked at, is the application's matter: nothing of ours gets in the way."""
    from types import SimpleNamespace

    from django.utils.functional import SimpleLazyObject

    from logbus.integrations.django import _wait_for_user

    def fail() -> Any:
        raise RuntimeError("no database")

    odd: Callable[[], Any] = lambda: SimpleNamespace(name="odd", is_authenticated=True)  # noqa: E731
    for make, expected in ((odd, "odd"), (fail, None)):
        request = SimpleNamespace(user=SimpleLazyObject(make))
        _wait_for_user(request)
        if expected is None:
            with pytest.raises(RuntimeError, match="no database"):
                _ = request.user.name
        else:
            assert request.user.name == expected
    assert current_context() == {}
