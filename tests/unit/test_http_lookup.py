"""Addresses of a host, and a name service that does not answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.collectors.sinks.http.lookup import Lookup
from logbus.collectors.sinks.http.watch import AbortedError, Watch
from tests.eventually import eventually


@pytest.fixture
def watch() -> Watch:
    """Of a call that has ten seconds."""
    watch = Watch()
    watch.begin()
    watch.allow(10)
    return watch


class Service:
    """A name service that answers when the test lets it."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = 0

    def getaddrinfo(self, host: str, port: int, *, flags: int, **options: int) -> list[Any]:
        """As that of the system."""
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.asked += 1
        self.answers.wait()
        return [(socket.AF_INET, options["type"], 6, "", ("192.0.2.7", port))]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """In the place of the system's; its threads end with the test."""
    service = Service()
    monkeypatch.setattr(socket, "getaddrinfo", service.getaddrinfo)
    yield service
    service.answers.set()
    eventually(lambda: not any(thread.name.startswith("logbus-lookup") for thread in threading.enumerate()))


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_an_address_needs_no_name_service(host: str, family: socket.AddressFamily, watch: Watch) -> None:
    """And no thread."""
    before = threading.active_count()
    [(found, kind, _, _, address)] = Lookup(host, 80).addresses(watch)
    assert (found, kind, address[:2]) == (family, socket.SOCK_STREAM, (host, 80))
    assert threading.active_count() == before


def test_a_name_is_found(watch: Watch) -> None:
    """The one that every machine has, at one of its addresses or both."""
    assert {address[4][0] for address in Lookup("localhost", 80).addresses(watch)} <= {"127.0.0.1", "::1"}


def test_a_name_that_nobody_knows_is_an_error(monkeypatch: pytest.MonkeyPatch, watch: Watch) -> None:
    """The name service's own, each time it is asked."""

    def unknown(*arguments: Any, **options: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    lookup = Lookup("no.such.host.invalid", 80)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            lookup.addresses(watch)


def test_a_name_service_that_hangs_holds_nobody(service: Service, watch: Watch) -> None:
    """The time is over at the deadline; the next call takes up the same lookup, and gets its answer."""
    lookup = Lookup("slow.example", 443)
    for _ in range(3):
        watch.allow(0.05)
        with pytest.raises(TimeoutError):
            lookup.addresses(watch)
    assert service.asked == 1
    service.answers.set()
    watch.allow(10)
    assert lookup.addresses(watch)[0][4] == ("192.0.2.7", 443)
    lookup.addresses(watch)
    assert service.asked == 2  # addresses change


def test_a_lookup_that_could_not_begin_is_none(service: Service, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started the call fails, and the next one asks again instead of waiting for nobody."""

    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lookup = Lookup("some.example", 443)
    service.answers.set()
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError):
            lookup.addresses(watch)
    watch.allow(10)
    assert lookup.addresses(watch)[0][4] == ("192.0.2.7", 443)


def test_a_lookup_ends_for_the_one_who_aborts_it(service: Service, watch: Watch) -> None:
    """Soon, though the name service still hangs."""
    caught: list[BaseException] = []

    def find() -> None:
        try:
            Lookup("slow.example", 443).addresses(watch)
        except AbortedError as error:
            caught.append(error)

    finding = threading.Thread(target=find)
    finding.start()
    eventually(lambda: service.asked)
    watch.abort()
    finding.join(10)
    assert caught
