"""logbus.integrations.celery_scopes: a task's scope, from the publisher's headers to the end of the task."""

# Celery is not typed.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.app.trace import trace_task
from celery.exceptions import Ignore, Reject
from celery.worker import strategy
from opentelemetry.sdk.trace import TracerProvider

import logbus
from logbus.integrations import celery
from logbus.integrations.celery_scopes import Scopes, close_all

TRACE = "00-" + "4b" * 16 + "-" + "0f" * 8 + "-01"
MESSAGE = {"root_id": "the-root", "parent_id": "the-parent", "retries": 2, "request_id": "the-request"}


@pytest.fixture
def app() -> Iterator[Any]:
    """An application whose broker is memory, with scopes for its tasks."""
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    celery.install(app)
    yield app
    celery.uninstall()
    app.close()


@pytest.fixture
def seen(app: Any) -> Any:
    """A task that gives what is active in it."""

    @app.task(name="shop.seen")
    def seen() -> dict[str, Any]:
        return logbus.current_context()

    return seen


def run(task: Any, request: dict[str, Any] | None = None, *arguments: Any) -> Any:
    """The result of a task that is run as a worker runs one, for the message with these headers."""
    result, *_ = trace_task(
        task, "the-task", arguments, {}, {"id": "the-task", "delivery_info": {}, **(request or {})}, app=task.app
    )
    return result


def published(app: Any) -> dict[str, Any]:
    """The headers of the message that is in the queue."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        message = queue.get(timeout=5)
        message.ack()
        return dict(message.headers)


def test_a_task_has_the_fields_of_its_message(seen: Any) -> None:
    """Ids, name, operation and trace are active in the task, and nothing is afterwards."""
    logbus.bind(service="shop")
    assert run(seen, {**MESSAGE, "traceparent": TRACE}) == {
        "service": "shop",
        "request_id": "the-request",
        "operation": "shop.seen",
        "task_id": "the-task",
        "task_name": "shop.seen",
        "retries": 2,
        "parent_id": "the-parent",
        "trace_id": "4b" * 16,
        "span_id": "0f" * 8,
    }
    assert logbus.current_context() == {"service": "shop"}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, "the-task"),
        ({"root_id": "the-root"}, "the-root"),
        ({"root_id": "the-root", "request_id": "the-request"}, "the-request"),
        ({"root_id": "the-root", "request_id": ""}, "the-root"),
        ({"root_id": "the-root", "request_id": {"not": "an id"}}, "the-root"),
    ],
)
def test_a_request_without_an_id_is_its_workflow(seen: Any, request_: dict[str, Any], expected: str) -> None:
    """The publisher's id comes first, then that of the task which began the workflow, then the task's own."""
    assert run(seen, request_)["request_id"] == expected


@pytest.mark.parametrize("header", ["", "nonsense", TRACE.upper(), 7])
def test_a_trace_that_is_none_is_ignored(seen: Any, header: Any) -> None:
    """Whatever stands in the header, the task runs, without a trace."""
    assert "trace_id" not in run(seen, {"traceparent": header})


def test_what_is_active_travels(app: Any, seen: Any) -> None:
    """The publisher's request and trace are in the headers of its message."""
    with logbus.request_scope("the-request", traceparent=TRACE):
        seen.delay()
    headers = published(app)
    assert (headers["request_id"], headers["traceparent"]) == ("the-request", TRACE)


def test_the_current_span_travels(app: Any, seen: Any) -> None:
    """Where OpenTelemetry has a span, that is the caller, and not the one that the request came from."""
    tracer = TracerProvider().get_tracer("shop")
    with logbus.request_scope("the-request", traceparent=TRACE), tracer.start_as_current_span("pay") as span:
        seen.delay()
        ids = span.get_span_context()
    assert published(app)["traceparent"] == f"00-{ids.trace_id:032x}-{ids.span_id:016x}-01"


def test_nothing_travels_from_outside_of_a_request(app: Any, seen: Any) -> None:
    """A message is as celery makes it."""
    seen.delay()
    assert not {"request_id", "traceparent"} & set(published(app))


def test_headers_that_are_there_stay(app: Any, seen: Any) -> None:
    """Whoever gives a message an id or a trace means it."""
    with logbus.request_scope("the-request", traceparent=TRACE):
        seen.apply_async(headers={"request_id": "chosen", "traceparent": "theirs"})
    headers = published(app)
    assert (headers["request_id"], headers["traceparent"]) == ("chosen", "theirs")


def test_a_task_publishes_in_its_own_request(app: Any, seen: Any) -> None:
    """A subtask belongs to the request of the task that asks for it."""

    @app.task(name="shop.outer")
    def outer() -> None:
        seen.delay()

    run(outer, {**MESSAGE, "traceparent": TRACE})
    headers = published(app)
    assert (headers["request_id"], headers["traceparent"]) == ("the-request", TRACE)


def test_an_eager_task_is_part_of_its_caller(app: Any, seen: Any) -> None:
    """Called inside another task or a request, it has that one's id; the caller's fields come back."""

    @app.task(name="shop.outer")
    def outer() -> list[Any]:
        return [seen.apply().get(), logbus.current_context()]

    inner, after = run(outer, MESSAGE)
    assert inner["request_id"] == after["request_id"] == "the-request"
    assert (inner["operation_path"], inner["task_name"]) == ("shop.outer/shop.seen", "shop.seen")
    assert inner["task_id"] != after["task_id"] == "the-task"
    assert "operation_path" not in after
    app.conf.task_always_eager = True
    with logbus.request_scope("mine", operation="checkout"):
        found = seen.delay().get()
    assert (found["request_id"], found["operation_path"]) == ("mine", "checkout/shop.seen")
    alone = seen.delay().get()
    assert alone["request_id"] == alone["task_id"]


@pytest.mark.parametrize("error", [ValueError(), Ignore(), Reject(), SystemExit(), KeyboardInterrupt()])
def test_a_scope_ends_however_a_task_ends(app: Any, error: BaseException) -> None:
    """Whatever a task raises."""

    @app.task(name="shop.raising")
    def raising() -> None:
        logbus.bind(left="behind")
        raise error

    try:
        run(raising)
    except (Reject, SystemExit, KeyboardInterrupt):
        pass
    assert logbus.current_context() == {}


def test_a_scope_that_was_left_open_ends_with_the_next_task(seen: Any) -> None:
    """A task whose end was never told of leaves nothing to those that come after it."""
    scopes = Scopes()
    seen.push_request(is_eager=False, id="lost")
    try:
        scopes.begin(task_id="lost", task=seen)
        logbus.bind(secret="of the lost one")
    finally:
        seen.pop_request()
    found = run(seen)
    assert (found["task_id"], "secret" in found) == ("the-task", False)
    assert logbus.current_context() == {}


def test_an_end_without_a_beginning_does_nothing(app: Any) -> None:
    """As when celery is told to start a worker in the middle of a scope."""
    with logbus.request_scope("the-request"):
        Scopes().end(task_id="unknown")
        close_all()
        assert logbus.current_context() == {"request_id": "the-request"}


def test_threads_do_not_meet(seen: Any) -> None:
    """Tasks that run side by side in threads have their own fields."""
    both = threading.Barrier(2)
    found: dict[str, Any] = {}

    @seen.app.task(name="shop.meeting")
    def meeting() -> dict[str, Any]:
        both.wait(10)
        try:
            return logbus.current_context()
        finally:
            both.wait(10)

    def work(name: str) -> None:
        found[name] = run(meeting, {"request_id": name})["request_id"]

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"one": "one", "two": "two"}


def test_only_the_tasks_of_the_application_that_was_given(app: Any) -> None:
    """Another application's tasks run as ever, until the integration is installed for it too, or for all."""
    other = Celery("other", broker="memory://", set_as_current=False)

    @other.task(name="other.seen")
    def seen() -> dict[str, Any]:
        return logbus.current_context()

    mine = app.task(logbus.current_context, name="shop.mine")
    assert run(seen) == {}
    for more in (other, None, app):
        celery.install(more)
        assert [run(seen)["task_name"], run(mine)["task_name"]] == ["other.seen", "shop.mine"]
    other.close()


def test_uninstalled_tasks_have_no_scope(seen: Any) -> None:
    """After uninstall() nothing is active in a task, and nothing travels."""
    celery.uninstall()
    assert run(seen) == {}
    with logbus.request_scope("the-request"):
        seen.delay()
    assert "request_id" not in published(seen.app)


def test_a_worker_that_has_changed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where celery's main process is not what the hook is for, tasks have their scopes all the same."""
    monkeypatch.setattr(strategy, "default", lambda consumer: consumer)
    with pytest.warns(
        RuntimeWarning, match=r"celery\.worker\.strategy is imported, but is not instrumented: .*expected"
    ):
        celery.install()
    app = Celery("shop", broker="memory://", set_as_current=False)
    task = app.task(logbus.current_context, name="shop.seen")
    assert run(task)["task_name"] == "shop.seen"
    celery.uninstall()
    app.close()
