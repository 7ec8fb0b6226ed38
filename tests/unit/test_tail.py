"""The followers of a collector: who is one, what they get, and that their cost has bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from logbus.bus import COMMAND_QUEUE, client_socket
from logbus.collectors import tail as module
from logbus.collectors.commands import Commands
from logbus.collectors.decode import Batch, decode
from logbus.collectors.excerpt import Excerpt
from logbus.collectors.tail import MAX_FOLLOWERS, MESSAGE_BYTES, Tail
from logbus.control import pack_message, unpack_message
from logbus.wire import Header, pack_payload
from tests.eventually import eventually
from tests.frames import payload, producer

ADDRESS = "inproc://control"


class Clock:
    """Stands for the module ``time``: both clocks stand still until a test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.used = 0.0
        #: Seconds of the thread that each look at its clock adds.
        self.each = 0.0

    def monotonic(self) -> float:
        """Seconds of the world."""
        return self.now

    def thread_time(self) -> float:
        """Seconds of the thread."""
        self.used += self.each
        return self.used


class Desk:
    """A tail behind a command socket, and clients of it."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.tail = Tail("eu")
        self.commands = Commands(self.context, {"tail": self.tail.follow, "tail_renew": self.tail.renew})
        self.tail.socket = self.commands.socket
        self.commands.socket.bind(ADDRESS)

    def client(self, hwm: int = 1000) -> zmq.Socket[bytes]:
        """Somebody who may ask; ``hwm`` messages wait for him on his side."""
        socket = client_socket(self.context)
        socket.set(zmq.RCVHWM, hwm)
        socket.connect(ADDRESS)
        return socket

    def ask(self, client: zmq.Socket[bytes], command: str = "tail", **document: Any) -> dict[str, Any]:
        """The answer to a command."""
        client.send(pack_message({"command": command, **document}))

        def answered() -> bool:
            self.commands.read()
            return bool(client.poll(0))

        eventually(answered)
        return unpack_message(client.recv())

    def follow(self, hwm: int = 1000, **document: Any) -> zmq.Socket[bytes]:
        """A client who follows."""
        client = self.client(hwm)
        assert self.ask(client, **document)["ok"] is True
        return client


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clocks that the tail sees."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def desk(clock: Clock) -> Iterator[Desk]:
    """A desk."""
    desk = Desk()
    yield desk
    desk.context.destroy(0)


def batch(*messages: str, **options: Any) -> Batch:
    """A batch with these messages."""
    header = Header(1, 0, 1, producer(1), 0, len(messages))
    return decode(header, pack_payload(payload(*messages, **options)))


def excerpts(client: zmq.Socket[bytes]) -> list[Excerpt]:
    """What has come."""
    found = []
    while client.poll(0):
        excerpt = Excerpt.unpack(client.recv())
        assert excerpt is not None
        found.append(excerpt)
    return found


def texts(found: list[Excerpt]) -> list[str]:
    """The messages of its lines, which are text."""
    return [line.split(": ", 1)[1].split()[0] for each in found for line in each.lines.decode().splitlines()]


def test_who_asks_gets_what_comes_then(desk: Desk) -> None:
    """Not what was before; each follower what he wants, in the form he wants; the answer says who serves."""
    desk.tail.show([batch("before")])
    assert not desk.tail
    client = desk.client()
    answer = desk.ask(client, level=20)
    assert (answer["ok"], answer["name"]) == (True, "eu")
    other = desk.follow(format="json", components=["nobody"])
    assert len(desk.tail) == 2
    desk.tail.show([batch("one", "two"), batch("three")])
    [excerpt] = excerpts(client)
    assert (excerpt.number, excerpt.slow, excerpt.beyond) == (0, 0, 0)
    assert texts([excerpt]) == ["one", "two", "three"]
    assert excerpts(other) == []
    client.close()
    other.close()


def test_a_colour_is_for_who_wants_it(desk: Desk) -> None:
    """JSON has none."""
    plain, colour, as_json = desk.follow(), desk.follow(colour=True), desk.follow(format="json", colour=True)
    desk.tail.show([batch("one")])
    assert [b"\x1b[" in excerpts(client)[0].lines for client in (plain, colour, as_json)] == [False, True, False]
    for client in (plain, colour, as_json):
        client.close()


def test_who_asks_again_is_one_follower(desk: Desk) -> None:
    """With his newest question."""
    client = desk.follow(level=50)
    desk.ask(client, level=0)
    assert len(desk.tail) == 1
    desk.tail.show([batch("one")])
    assert texts(excerpts(client)) == ["one"]
    client.close()


def test_batches_are_left_as_they_were(desk: Desk) -> None:
    """They belong to the sinks."""
    client = desk.follow(where={"k": "1"})
    shown = batch("one", "two", extra={"k": 1})
    before = batch("one", "two", extra={"k": 1})
    desk.tail.show([shown])
    assert shown == before
    assert texts(excerpts(client)) == ["one", "two"]
    client.close()


def test_messages_hold_whole_lines_up_to_their_size(desk: Desk) -> None:
    """In order; a line that is longer than a message is skipped and counted."""
    client = desk.follow()
    long = "x" * 30_000
    desk.tail.show([batch(f"a{long}", f"b{long}", f"c{long}", "y" * MESSAGE_BYTES, "d")])
    desk.tail.sweep()
    found = excerpts(client)
    assert [text[0] for text in texts(found)] == ["a", "b", "c", "d"]
    assert all(len(excerpt.lines) <= MESSAGE_BYTES for excerpt in found)
    assert [excerpt.number for excerpt in found] == list(range(len(found)))
    assert found[-1].beyond == 1
    client.close()


def test_a_full_queue_skips_and_counts(desk: Desk) -> None:
    """Nobody waits for a follower who doesn't read; when he does, he learns how much he has missed."""
    client, quick = desk.follow(hwm=1), desk.follow()
    sent = COMMAND_QUEUE + 200
    for number in range(sent):
        desk.tail.show([batch(f"{number}.0", f"{number}.1")])
    assert texts(excerpts(quick)) == [f"{number}.{at}" for number in range(sent) for at in (0, 1)]
    found = excerpts(client)
    got = texts(found)
    assert got == [f"{number}.{at}" for number in range(len(found)) for at in (0, 1)]

    def told() -> Excerpt | None:
        desk.tail.sweep()  # the queue has room again, a moment after it was read
        came = excerpts(client)
        return came[-1] if came else None

    last = eventually(told)
    assert last is not None
    assert len(got) + last.slow == 2 * sent
    assert (last.beyond, last.lines) == (0, b"")
    desk.tail.show([batch("after")])
    [after] = excerpts(client)
    assert (after.number, after.slow, texts([after])) == (last.number + 1, last.slow, ["after"])
    client.close()
    quick.close()


def test_a_second_holds_so_many_records(desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond is skipped, each follower for himself; time gives new ones, up to those of a second."""
    monkeypatch.setattr(module, "RECORDS_PER_S", 10)
    client, other = desk.follow(), desk.follow(where={"k": "0"})
    desk.tail.show([batch(*map(str, range(8))), batch(*map(str, range(8, 16)))])
    [excerpt] = excerpts(client)
    assert texts([excerpt]) == [str(number) for number in range(10)]
    clock.now += 0.5
    desk.tail.show([batch(*map(str, range(16, 24)), extra={"k": "0"})])
    [excerpt] = excerpts(client)
    assert texts([excerpt]) == ["16", "17", "18", "19", "20"]
    assert texts(excerpts(other)) == [str(number) for number in range(16, 24)]
    clock.now += 10
    desk.tail.show([batch(*map(str, range(24)))])
    [excerpt] = excerpts(client)
    assert (len(texts([excerpt])), excerpt.beyond, excerpt.slow) == (10, 6 + 3 + 14, 0)
    desk.tail.show([batch("one more")])
    desk.tail.sweep()
    [excerpt] = excerpts(client)
    assert (excerpt.beyond, excerpt.lines) == (6 + 3 + 14 + 1, b"")
    client.close()
    other.close()


def test_all_together_cost_a_share_of_the_time(desk: Desk, clock: Clock) -> None:
    """When it is used up nothing is encoded until there is time again, and all get of what there is."""
    clients = [desk.follow(), desk.follow()]
    clock.each = 0.9 * module.SHARE  # to encode a batch for one; then there is no time for the other
    for _ in range(40):
        clock.now += 10
        desk.tail.show([batch("one")])
    clock.each = 0.0
    clock.now += 100
    desk.tail.show([batch("two")])
    found = [excerpts(client) for client in clients]
    shown = [len(texts(each)) - 1 for each in found]
    assert sum(shown) + sum(each[-1].beyond for each in found) == 80
    assert shown == [20, 20]
    for client in clients:
        client.close()


def test_a_lease_is_renewed_or_ends(desk: Desk, clock: Clock) -> None:
    """Who is silent is told and forgotten; who renews stays; a renewal without a lease is refused."""
    client, silent = desk.follow(), desk.follow()
    for _ in range(3):
        clock.now += module.LEASE_S / 2
        assert desk.ask(client, "tail_renew") == {"v": 1, "ok": True}
        desk.tail.sweep()
    assert len(desk.tail) == 1
    assert unpack_message(silent.recv())["tail"] == "expired"
    assert desk.ask(silent, "tail_renew")["ok"] is False
    clock.now += module.LEASE_S
    desk.tail.sweep()
    assert not desk.tail
    client.close()
    silent.close()


def test_who_has_gone_is_forgotten_with_the_next_message(desk: Desk) -> None:
    """Not only when his lease ends."""
    gone, client = desk.follow(), desk.follow()
    gone.close()

    def forgotten() -> bool:
        desk.tail.show([batch("one")])
        return len(desk.tail) == 1

    eventually(forgotten)
    assert set(texts(excerpts(client))) == {"one"}
    client.close()


def test_places_are_few_and_those_who_have_gone_leave_theirs(desk: Desk) -> None:
    """One too many is refused with the number; when somebody has gone there is room, though nothing was logged."""
    clients = [desk.follow() for _ in range(MAX_FOLLOWERS)]
    late = desk.client()
    assert f"at most {MAX_FOLLOWERS}" in desk.ask(late)["error"]
    clients.pop().close()
    eventually(lambda: desk.ask(late)["ok"])
    assert len(desk.tail) == MAX_FOLLOWERS
    for client in (*clients, late):
        client.close()


def test_a_drain_is_told(desk: Desk) -> None:
    """Before the last records, which are shown still."""
    client = desk.follow()
    desk.tail.drain()
    desk.tail.show([batch("last")])
    assert unpack_message(client.recv())["tail"] == "draining"
    assert texts(excerpts(client)) == ["last"]
    client.close()
