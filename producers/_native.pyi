"""The compiled part of a producer (native/), as the Python beside it sees it through :mod:`logbus.producers.compiled`.

Each name is described where its Python is: what stands here does the same, and hands on what is unusual.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from logbus.counters import Counters
from logbus.producers.buffer import OnFull

#: A digest of the C that it was built from: ``logbus.producers.compiled.digest()``.
SOURCES: Final[str]

class Buffer:
    """The buffer (:mod:`logbus.producers.buffer`), whose records are msgpack already."""

    asleep: bool
    closed: bool
    wake: Callable[[], None]
    hurry: Callable[[], None]
    @property
    def capacity(self) -> int: ...
    @property
    def capacity_bytes(self) -> int: ...
    @property
    def on_full(self) -> OnFull: ...
    @property
    def records(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def __init__(self, capacity: int, capacity_bytes: int, on_full: OnFull, counters: Counters) -> None: ...
    def put(
        self,
        created: float,
        site: tuple[Any, ...],
        thread: str,
        message: str,
        extra: dict[str, Any] | None,
        nested: dict[str, Any] | None,
        exception: Any,
        size: int,
        /,
    ) -> None: ...
    def take(self, limit: int, limit_bytes: int, /) -> Batch: ...
    def ticket(self) -> int: ...
    def release(self, records: int, size: int, /) -> None: ...
    def span(self, reason: int, bucket: int, /) -> tuple[float, float]: ...

class Batch:
    """What the buffer hands to the sender."""

    def __len__(self) -> int: ...
    def levels(self) -> tuple[list[int], int]:
        """How many records there are of each level bucket, and how many bytes they count for together."""

    def entries(self) -> list[tuple[int, int, float, tuple[Any, ...], Any, Any]]:
        """Ticket, size, created, site, thread, and the rest: four msgpack values as bytes, or a tuple of objects."""

def pack(
    batch: Batch | None,
    source: bytes,
    sites: dict[Any, bytes],
    site_row: Callable[[Any], bytes],
    threads: dict[Any, bytes],
    thread_row: Callable[[Any], bytes],
    tail: Callable[[Any, Any, Any, Any], bytes | None],
    drops: bytes,
    no_drops: bytes,
    limit: int,
    /,
) -> list[tuple[bytes, int, int, int, list[int]]]:
    """The frames of a batch (:class:`logbus.producers.pack.CompiledPacker`)."""

def calls(
    names: dict[str, Any], levels: tuple[tuple[int, Callable[..., None], Callable[..., None]], ...], /
) -> list[Any]:
    """The methods of a FastLogger (:mod:`logbus.producers.fast_logger`)."""

def handling(
    function: Callable[..., Any],
    handler: type,
    record: type,
    standard: tuple[str, ...],
    not_extra: frozenset[str],
    context: ContextVar[Any],
    add_context: Callable[..., Any],
    entry_bytes: int,
    field_bytes: int,
    usual_bytes: int,
    /,
) -> Any:
    """The method ``handle`` of a class of handlers (:mod:`logbus.producers.take`)."""
