"""The WSGI middleware with raw callables, the standard library's validator, and a real Flask application."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import flask
import pytest

from logbus.errors import ConfigurationError
from logbus.integrations.wsgi import RequestContextMiddleware
from logbus.producers.context import active, bind, context, current_context
from tests.kept import Kept
from tests.requested import events, listen, log, told

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OTHER: ContextVar[str] = ContextVar("other", default="none")


@pytest.fixture(autouse=True)
def listening(kept: Kept) -> None:
    """Everything that is logged."""
    listen(kept)


class Server:
    """A server's side of one request."""

    def __init__(self, app: Any, **environ: Any) -> None:
        self.environ: dict[str, Any] = {"REMOTE_ADDR": "10.0.0.1"} | environ
        setup_testing_defaults(self.environ)
        self.answers: list[tuple[Any, ...]] = []
        self.written: list[bytes] = []
        self.body = app(self.environ, self.start)

    def start(self, *answer: Any) -> Callable[[bytes], Any]:
        """``start_response``."""
        self.answers.append(answer)
        return self.written.append

    def read(self) -> list[bytes]:
        """The whole answer, closed at its end."""
        pieces = list(self.body)
        self.close()
        return pieces

    def close(self) -> None:
        """What PEP 3333 demands."""
        if hasattr(self.body, "close"):
            self.body.close()


def listed(environ: Any, start_response: Any) -> list[bytes]:
    """An application that answers with a list."""
    log.info("called")
    start_response("201 Created", [("X-Own", "a")])
    return [environ["HTTP_X_REQUEST_ID"].encode()]


def generated(environ: Any, start_response: Any) -> Iterator[bytes]:
    """One that is a generator, so that nothing of it runs in the call."""
    log.info("begun")
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        for n in range(3):
            log.info("piece %d", n)
            yield b"%d" % n
    finally:
        log.info("closed")


def test_one_id_from_the_header_to_the_answer(kept: Kept) -> None:
    """In the environment for whoever is inside, on every record, and back to the client; a trace gives it too."""
    server = Server(RequestContextMiddleware(listed), HTTP_X_REQUEST_ID="from-client")
    assert server.body == [b"from-client"]
    assert server.answers == [("201 Created", [("X-Own", "a"), ("X-Request-ID", "from-client")])]
    header = f"00-{TRACE}-{SPAN}-01"
    assert Server(RequestContextMiddleware(listed), HTTP_TRACEPARENT=header).body == [TRACE.encode()]
    refused = Server(RequestContextMiddleware(listed), HTTP_X_REQUEST_ID="\xe9")
    assert [extra for _, extra in told(kept)] == [
        {"request_id": "from-client", "operation": "http_request"},
        {"request_id": TRACE, "operation": "http_request", "trace_id": TRACE, "span_id": SPAN},
        {"request_id": refused.body[0].decode(), "operation": "http_request"},
    ]
    assert len(refused.body[0]) == 32


def test_another_header_may_be_chosen() -> None:
    """Its name in the environment follows from it."""
    own: Any = RequestContextMiddleware(lambda environ, start: start("200 OK", []) or [], header="X-Correlation-Id")
    server = Server(own, HTTP_X_CORRELATION_ID="c", HTTP_X_REQUEST_ID="r")
    assert server.answers == [("200 OK", [("X-Correlation-Id", "c")])]
    assert server.environ["HTTP_X_CORRELATION_ID"] == "c"
    with pytest.raises(ConfigurationError, match="'X Y'"):
        RequestContextMiddleware(listed, header="X Y")


def test_a_generator_is_inside_until_it_is_closed(kept: Kept) -> None:
    """Each piece, and its end, carry the id; between the pieces the server's thread is outside."""
    server = Server(RequestContextMiddleware(generated, log_requests=True), HTTP_X_REQUEST_ID="r")
    assert (active(), server.answers) == (None, [])
    assert next(iter(server.body)) == b"0"
    assert active() is None
    assert server.answers[0][1][-1] == ("X-Request-ID", "r")
    assert server.read() == [b"1", b"2"]
    assert active() is None
    order = [(entry.extra or {}).get("event", entry.message) for entry in kept.entries]
    assert order == ["request_started", "begun", "piece 0", "piece 1", "piece 2", "closed", "request_ended"]
    assert {(entry.extra or {})["request_id"] for entry in kept.entries} == {"r"}


def test_a_server_that_never_closes_leaks_nothing(kept: Kept) -> None:
    """The next request of the thread is one of its own, whatever became of the one before."""
    middleware = RequestContextMiddleware(generated)
    first = Server(middleware, HTTP_X_REQUEST_ID="first")
    next(iter(first.body))
    second = Server(middleware, HTTP_X_REQUEST_ID="second")
    assert (next(iter(second.body)), active()) == (b"0", None)
    assert list(first.body) == [b"1", b"2"]
    assert [extra["request_id"] for _, extra in told(kept)] == [
        *("first", "first", "second", "second", "first", "first", "first")
    ]
    second.close()


def test_an_answer_may_be_closed_in_another_thread(kept: Kept) -> None:
    """Even while a piece of it is being made; the application's ``close`` is inside the scope there too."""
    begun, go_on = threading.Event(), threading.Event()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            begun.set()
            assert go_on.wait(10)
            log.info("piece")
            yield b"1"

        def close(self) -> None:
            log.info("closed")
            go_on.set()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    server = Server(RequestContextMiddleware(app, log_requests=True), HTTP_X_REQUEST_ID="r")
    reader = threading.Thread(target=lambda: pieces.extend(server.body))
    pieces: list[bytes] = []
    reader.start()
    assert begun.wait(10)
    server.close()
    reader.join(10)
    assert pieces == [b"1"]
    expected = {"request_id": "r", "operation": "http_request"}
    assert told(kept) == [("closed", expected), ("piece", expected)]
    assert [event.get("error") for event in events(kept)] == [None, "incomplete response"]


def test_the_context_of_a_request_is_one(kept: Kept) -> None:
    """What the application sets in its call is there in every piece and at the end, and nowhere else."""
    seen: list[str] = []
    tokens: list[Any] = []

    def pieces() -> Iterator[bytes]:
        try:
            seen.append(OTHER.get())
            yield b"1"
        finally:
            seen.append(OTHER.get())
            OTHER.reset(tokens.pop())

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        bind(user="u")
        tokens.append(OTHER.set("set"))
        log.info("called")
        return pieces()

    server = Server(RequestContextMiddleware(app))
    next(iter(server.body))
    server.close()
    assert (seen, OTHER.get(), current_context()) == (["set", "set"], "none", {})
    assert told(kept)[0][1]["user"] == "u"


def test_context_variables_of_others_are_as_without_us() -> None:
    """What is outside sees what the application has set, and may take it back: Flask's test client does, in streams."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        OTHER.set("by the application")
        return []

    def outside() -> str:
        Server(RequestContextMiddleware(app))
        return OTHER.get()

    assert copy_context().run(outside) == "by the application"
    service = flask.Flask("shop")
    service.wsgi_app = RequestContextMiddleware(service.wsgi_app)  # type: ignore[method-assign]

    @service.get("/stream")
    def stream() -> flask.Response:
        pieces = (flask.request.path + current_context()["request_id"] for _ in range(1))
        return flask.Response(flask.stream_with_context(pieces))

    with service.test_client() as client:
        answer = client.get("/stream", headers={"X-Request-ID": "r"})
        assert (answer.text, flask.request.path) == ("/streamr", "/stream")


def test_what_needs_no_code_any_more_goes_to_the_server_as_it_is(kept: Kept) -> None:
    """A list, whose length servers take, and a file that they send by themselves."""
    pieces = [b"a"]
    file = FileWrapper(io.BytesIO(b"content"))

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return file if environ["PATH_INFO"] == "/file" else pieces

    middleware = RequestContextMiddleware(app, log_requests=True)
    assert Server(middleware, PATH_INFO="/").body is pieces
    server = Server(middleware, **{"PATH_INFO": "/file", "wsgi.file_wrapper": FileWrapper})
    assert server.body is file
    assert [event.get("status") for event in events(kept)] == [None, 200, None, 200]
    server.close()


def test_access_records(kept: Kept) -> None:
    """The path without its query, with the place of the application, as the client has meant it; the client's host."""
    path = "/é/a".encode().decode("latin-1")
    Server(RequestContextMiddleware(listed, log_requests=True), SCRIPT_NAME="/shop", PATH_INFO=path, QUERY_STRING="s=1")
    common = {"method": "GET", "path": "/shop/é/a", "client": "10.0.0.1"}
    assert events(kept) == [
        {"event": "request_started", **common},
        {"event": "request_ended", **common, "status": 201},
    ]
    Server(RequestContextMiddleware(listed, log_requests=True, logger="shop.web"), REMOTE_ADDR="")
    assert [(event["path"], "client" in event) for event in events(kept, "shop.web")] == [("/", False)] * 2


def test_exceptions_pass_and_are_told(kept: Kept) -> None:
    """In the call, in a piece, before an answer and in the middle of one."""

    def early(environ: Any, start_response: Any) -> Any:
        raise KeyError("secret")

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        raise KeyError("secret")

    with pytest.raises(KeyError):
        Server(RequestContextMiddleware(early, log_requests=True))
    with pytest.raises(KeyError):
        Server(RequestContextMiddleware(late, log_requests=True)).read()
    ends = [(event.get("status"), event.get("error")) for event in events(kept)]
    assert ends == [(None, None), (500, "KeyError"), (None, None), (200, "KeyError")]
    assert active() is None


def test_what_the_server_logs_about_a_failure_is_of_the_request(kept: Kept) -> None:
    """It logs outside of the application, where no scope is open."""

    def early(environ: Any, start_response: Any) -> Any:
        bind(user="u")
        raise KeyError("secret")

    def late(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b"a"
        raise KeyError("secret")

    for app in (early, late):
        try:
            Server(RequestContextMiddleware(app), HTTP_X_REQUEST_ID=app.__name__).read()
        except KeyError:
            log.exception("failed")
    assert told(kept) == [
        ("failed", {"request_id": "early", "operation": "http_request", "user": "u"}),
        ("failed", {"request_id": "late", "operation": "http_request"}),
    ]


def test_a_client_that_goes_away(kept: Kept) -> None:
    """The server closes the answer in the middle, or before it has begun."""
    for count in (0, 1):
        server = Server(RequestContextMiddleware(generated, log_requests=True))
        for _ in range(count):
            next(iter(server.body))
        server.close()
    ends = [(event.get("status"), event.get("error")) for event in events(kept)]
    assert ends == [(None, None), (None, "incomplete response"), (None, None), (200, "incomplete response")]


def test_an_answer_may_be_begun_twice(kept: Kept) -> None:
    """With an error page in its place: the last status counts, each has the id, the exception reaches the server."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("x-request-ID", "own")])
        try:
            raise KeyError
        except KeyError as error:
            write = start_response("503 Sorry", [], (KeyError, error, None))
        write(b"written")
        return []

    server = Server(RequestContextMiddleware(app, log_requests=True), HTTP_X_REQUEST_ID="r")
    assert [answer[:2] for answer in server.answers] == [
        ("200 OK", [("x-request-ID", "own")]),
        ("503 Sorry", [("X-Request-ID", "r")]),
    ]
    assert (server.answers[1][2][0], server.written) == (KeyError, [b"written"])
    assert events(kept)[-1]["status"] == 503


def test_what_the_server_raises_passes_through_the_application() -> None:
    """A second answer after the headers have gone out, as PEP 3333 has it."""

    def app(environ: Any, start_response: Any) -> Any:
        with pytest.raises(AssertionError, match="sent"):
            start_response("200 OK", [])
        start_response("200 OK", [], "more")
        return []

    def start_response(status: str, headers: Any, *more: Any) -> None:
        assert more, "headers are sent"

    assert RequestContextMiddleware(app)({}, start_response) == []


def test_the_specification_is_kept() -> None:
    """The standard library's validator finds nothing wrong on either side."""
    for app in (listed, generated):

        def with_headers(environ: Any, start_response: Any, app: Any = app) -> Any:
            return app(environ, lambda status, headers: start_response("200 OK", [("Content-Type", "text/plain")]))

        checked = validator(RequestContextMiddleware(validator(with_headers)))
        server = Server(checked, QUERY_STRING="")
        assert b"".join(server.read())


def test_flask(kept: Kept) -> None:
    """Views, streams with the request's context, errors and what runs at the end are inside; threads are kept apart."""
    app = flask.Flask("shop")

    @app.get("/view/<name>")
    def view(name: str) -> str:
        log.info("view %s", name)
        return str(flask.request.headers["X-Request-ID"])

    @app.get("/stream")
    def stream() -> flask.Response:
        def pieces() -> Iterator[str]:
            log.info("stream %s", flask.request.path)
            yield "piece"

        response = flask.Response(flask.stream_with_context(pieces()))
        response.call_on_close(lambda: log.info("on close"))
        return response

    @app.get("/fail")
    def fail() -> str:
        raise KeyError("secret")

    app.logger.disabled = True
    app.wsgi_app = RequestContextMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    barrier = threading.Barrier(4, timeout=10)

    def request(name: str) -> None:
        barrier.wait()
        for _ in range(5):
            answered = app.test_client().get(f"/view/{name}", headers={"X-Request-ID": name})
            assert (answered.text, answered.headers["X-Request-ID"]) == (name, name)

    threads = [threading.Thread(target=request, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(kept)) == 20
    assert all(message == f"view {extra['request_id']}" for message, extra in told(kept))
    kept.entries.clear()
    client = app.test_client()
    for path, status in (("/stream", 200), ("/fail", 500), ("/none", 404)):
        with contextlib.closing(client.get(path, headers={"X-Request-ID": "r"})) as answered:
            assert (answered.status_code, answered.headers["X-Request-ID"]) == (status, "r")
            assert answered.data
    assert [(message, extra["request_id"]) for message, extra in told(kept)] == [
        ("stream /stream", "r"),
        ("on close", "r"),
    ]
    assert active() is None


def test_nothing_of_the_server_is_inherited_but_other_fields(kept: Kept) -> None:
    """A server that was started inside a request serves requests of their own."""
    with context(request_id="of the start", service="shop"):
        Server(RequestContextMiddleware(listed))
        Server(RequestContextMiddleware(listed))
    assert len({extra["request_id"] for _, extra in told(kept)} - {"of the start"}) == 2
    assert {extra["service"] for _, extra in told(kept)} == {"shop"}


@pytest.mark.parametrize(
    "environ", [{"HTTP_X_REQUEST_ID": 7}, {"HTTP_TRACEPARENT": None}, {"PATH_INFO": "\ud800\u0660", "n": 1}, {}]
)
def test_no_request_fails_for_anything_done_here(environ: dict[str, Any]) -> None:
    """A server that keeps to no specification: the application is called with what there is."""
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        seen.append(environ)
        start_response(None, 7)
        return None

    answers: list[Any] = []
    given = {**environ}
    middleware = RequestContextMiddleware(app, log_requests="PATH_INFO" not in environ)
    assert middleware(given, lambda *answer: answers.append(answer)) is None or environ.get("n")
    assert seen == [given]
    assert answers == [(None, 7)]


def test_a_failing_filter_of_the_application_breaks_no_request() -> None:
    """Logging may raise where the application has told it to."""

    def fail(_: logging.LogRecord) -> bool:
        raise ValueError

    logging.getLogger("requests").addFilter(fail)
    assert len(Server(RequestContextMiddleware(generated, log_requests=True)).read()) == 3
