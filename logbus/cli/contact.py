"""What the doctor looks at in a collector: sockets, answer, what it leaves on disk, and a round trip of a record."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from logbus.cli.finding import Finding, failed, ok, warning

if TYPE_CHECKING:
    from logbus.bus import Endpoint
    from logbus.cli.options import Addresses

#: Pages of dead workers that wait while a collector runs, from which on something is wrong with it.
MANY_PAGES: Final = 16
#: The call site of the record that makes the round trip: at DEBUG, so that most sinks need not keep it.
_SITE: Final = ("logbus.doctor", 10, "DEBUG", "doctor", "round_trip", 0)


def sockets(where: Addresses) -> Iterator[Finding]:
    """What lies at the paths of the endpoints, and whose it is."""
    for check, endpoint in (
        ("record socket", where.records),
        ("control socket", where.control),
        ("publisher socket", where.control.publisher),
    ):
        if endpoint.path is None:
            yield ok(check, endpoint.url)
            continue
        lock = where.records.lock if check == "record socket" else where.control.lock
        yield _socket(check, endpoint.path, lock)


def _socket(check: str, path: Path, lock: Path) -> Finding:
    from logbus.bus import Endpoint, is_bound
    from logbus.collectors.lock import holder

    try:
        info = path.lstat()
    except FileNotFoundError:
        return ok(check, f"{path} is free")
    except OSError as error:
        return failed(check, f"{path} can't be looked at: {error.strerror}", "ask its owner to allow us: [bus] allow")
    if not stat.S_ISSOCK(info.st_mode):
        return failed(check, f"{path} is not a socket", "move it away: a collector does not start over it")
    if info.st_uid != os.geteuid():
        return warning(
            check,
            f"{path} belongs to uid {info.st_uid}",
            "we may log there if [bus] allow of its collector names us, and never command it",
        )
    try:
        held, owner = holder(lock)
    except OSError:
        held, owner = False, {}
    bound = is_bound(Endpoint(f"ipc://{path}", path=path))
    who = f"collector {owner.get('name')!r} (pid {owner.get('pid')})"
    if bound and held:
        return ok(check, f"{path}, {who}")
    if bound:
        return failed(check, f"{path} is bound by something that is no collector", "end it, or choose another endpoint")
    if held:
        return failed(check, f"{path}: {who} has claimed it and does not listen", "wait for its start, or end it")
    return warning(check, f"{path} was left by {who}, which was killed", "start a collector: it clears it away")


def foreign(control: Endpoint) -> Finding | None:
    """That the control socket is another user's, if it is: he alone commands, and we may still log there."""
    try:
        uid = control.path.lstat().st_uid if control.path is not None else os.geteuid()
    except OSError:
        return None
    if uid == os.geteuid():
        return None
    text = f"the one at {control.url} is uid {uid}'s, and not asked: only he commands it"
    return warning("collector", text, "if the round trip fails, ask him for a place in its [bus] allow")


def collector(where: Addresses, *, name: str | None, timeout: float) -> tuple[dict[str, Any] | None, list[Finding]]:
    """What the collector says of itself, if it is one that serves these endpoints, and what is wrong with it."""
    from logbus import __version__
    from logbus.cli.client import request
    from logbus.errors import LogbusError, NoCollectorError

    start = "start one: logbus collector start" + (f" --name {name}" if name else "")
    try:
        answer = request({"command": "describe"}, control=where.control, timeout=timeout)
    except NoCollectorError as error:
        stuck = "it listens and does not answer: kill -CONT it if it is stopped, or end it"
        advice = start if "nobody listens" in str(error) else stuck
        return None, [failed("collector", str(error), advice)]
    except LogbusError as error:
        return None, [failed("collector", str(error), "ask another one (--control), or run the same version")]
    said: Any = answer.get("collector")
    if not isinstance(said, dict):
        advice = "run the same version on both sides"
        return None, [failed("collector", f"{where.control.url} gives an answer of another kind", advice)]
    who = f"{said.get('name')} (pid {said.get('pid')})"
    found = [ok("collector", f"{who} is {said.get('state')}, {answer.get('workers')} workers")]
    if name is not None and said.get("name") != name:
        advice = "look at LOGBUS_CONTROL and --control"
        return None, [failed("collector", f"{who} answers at {where.control.url}, expected {name}", advice)]
    if said.get("state") != "serving":
        found = [warning("collector", f"{who} is {said.get('state')}", "workers hold their records until one serves")]
    if said.get("version") != __version__:
        versions = f"{who} is version {said.get('version')}, this is {__version__}"
        found.append(warning("collector version", versions, "restart it: nothing is lost by that"))
    if said.get("endpoint") != where.records.url:
        found.append(
            failed(
                "record endpoint",
                f"workers here send to {where.records.url}, {who} reads {said.get('endpoint')}",
                f"set LOGBUS_ENDPOINT={said.get('endpoint')}",
            )
        )
    refused: Any = said.get("configuration")
    if isinstance(refused, dict) and refused.get("error"):
        text = f"the file in force is an older one: {refused['error']}"
        found.append(warning("collector configuration", text, "mend the file; it is read again by itself"))
    return said, found


def level_snapshot(control: Endpoint, *, served: bool) -> Finding:
    """Whether a worker that starts now can read the level rules in force."""
    from logbus.errors import WireError
    from logbus.rules import Levels

    check, path = "level snapshot", control.levels
    advice = "restart the collector: it writes the file anew"
    try:
        levels = Levels.of(json.loads(path.read_bytes()))
    except FileNotFoundError:
        if served:
            return warning(check, f"{path} is not there", advice)
        return ok(check, "none, as no collector has run here")
    except OSError as error:
        return failed(check, f"{path} can't be read: {error.strerror}", advice)
    except (ValueError, RecursionError, WireError) as error:
        return failed(check, f"{path} is not a level snapshot: {error}", advice)
    return ok(check, f"version {levels.version}, {len(levels.rules)} rules")


def dead_pages(records: Endpoint, *, served: bool) -> Finding:
    """The counter pages of workers that have died: a collector enters them in its ledger within a second."""
    from logbus.counters import SUFFIX, page_is_alive

    check = "counter pages"
    try:
        pages = [path for path in records.pages.iterdir() if path.suffix == SUFFIX]
    except FileNotFoundError:
        return ok(check, "none")
    except OSError as error:
        return warning(
            check, f"{records.pages} can't be read: {error.strerror}", "counts of killed workers are not exact"
        )
    dead = sum(page_is_alive(path) is False for path in pages)
    words = f"{len(pages) - dead} of live workers, {dead} of dead ones"
    if dead and not served:
        return warning(check, f"{words}: their counts wait for a collector", "start one, and its status has them")
    if dead >= MANY_PAGES:
        return warning(check, f"{words}, which should be in the ledger", "look at the collector's stderr")
    return ok(check, words)


def round_trip(where: Addresses, *, timeout: float) -> Finding:
    """One record through a real producer, confirmed by the collector's acknowledgement once it is in the ledger."""
    from logbus.producers.producer import producer_for
    from logbus.producers.settings import resolve

    check = "round trip"
    producer = producer_for(
        resolve({"endpoint": where.records.url, "control": where.control.url, "worker": f"doctor-{os.getpid()}"})
    )
    producer.open()
    try:
        begun = time.monotonic()
        welcomed = producer.wait_welcome(timeout)
        sent = time.monotonic()
        thread = threading.current_thread().name
        producer.emit(time.time(), _SITE, thread, "logbus doctor: a record's round trip", None, None, None, 200)
        collected = welcomed and producer.flush(max(0.0, begun + timeout - sent))
        milliseconds = (time.monotonic() - sent) * 1000
    finally:
        producer.shutdown(timeout if welcomed else 0.0)
    if collected:
        return ok(check, f"a record was collected in {milliseconds:.1f} ms")
    if not welcomed:
        text = f"no welcome from {where.control.publisher.url} within {timeout:g} s"
        return failed(check, text, "is that the collector's own control endpoint, and may we connect to it?")
    text = f"a record sent to {where.records.url} was not acknowledged within {timeout:g} s"
    return failed(
        check, text, "does a collector read there? logbus status shows its sinks: one that is stuck holds all up"
    )
