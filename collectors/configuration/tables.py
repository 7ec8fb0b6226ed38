"""The tables that stand inside a sink's: what it leaves out, its queue, its batches and retries, TLS, credentials."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from logbus.collectors.configuration.kinds import A_LEVEL, FilePath, Level, at_most
from logbus.collectors.configuration.remote_kinds import (
    A_QUEUE,
    A_SECRET,
    A_WAIT,
    BATCH_BYTES,
    BATCH_DELAY,
    BATCH_RECORDS,
    ELAPSED,
    MAX_STATUSES,
    STATUSES,
    BatchBytes,
    BatchDelay,
    BatchRecords,
    Elapsed,
    QueueBytes,
    Secret,
    Status,
    Wait,
    lines_of,
    literal,
)
from logbus.collectors.configuration.sink_kinds import (
    A_COUNT,
    A_HELD,
    A_RATE,
    A_SPAN,
    Count,
    FieldPath,
    Held,
    Rate,
    Span,
)
from logbus.collectors.sinks.http.options import basic, bearer

#: What may happen with a record that has no room in a queue.
OnFull: TypeAlias = Literal["block", "drop_newest", "drop_oldest", "shed_lowest"]
ON_FULL: Final = '"block", "drop_newest", "drop_oldest" or "shed_lowest"'
A_FILE = "the path of a file in PEM"


class Table(BaseModel):
    """A table of known keys, which nobody changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sample(Table):
    """What a sink leaves out; ``interval`` goes with ``first``, ``window`` and ``max_bytes`` go with ``tail``."""

    rate: Rate | None = Field(default=None, description=A_RATE)
    key: FieldPath | None = Field(default=None, description='the name of a field, like "request_id"')
    keep: Level = Field(default=30, description=A_LEVEL)
    first: Count | None = Field(default=None, description=A_COUNT)
    interval: Span = Field(default="1 s", description=A_SPAN)
    tail: StrictBool = Field(default=False, description="true or false")
    window: Span = Field(default="30 s", description=A_SPAN)
    max_bytes: Held = Field(default="16 MiB", description=A_HELD)


class Queue(Table):
    """What waits in memory for a sink that sends to others, and what goes when it is full: the lowest levels first."""

    max_bytes: QueueBytes = Field(default="8 MiB", description=A_QUEUE)
    on_full: OnFull = Field(default="shed_lowest", description=ON_FULL)


class FileQueue(Queue):
    """What waits for a file; when it is full the collector reads less, so that the workers' buffers take over."""

    max_bytes: QueueBytes = Field(default="4 MiB", description=A_QUEUE)
    on_full: OnFull = Field(default="block", description=ON_FULL)


class ConsoleQueue(Queue):
    """What waits for a console; when it is full, what comes is dropped: a stopped terminal must stop nothing."""

    on_full: OnFull = Field(default="drop_newest", description=ON_FULL)


class Batch(Table):
    """What goes out together: a batch goes when it is full, or its oldest record has waited for ``max_delay``."""

    max_records: BatchRecords = Field(default=500, description=BATCH_RECORDS)
    max_bytes: BatchBytes = Field(default="1 MiB", description=BATCH_BYTES)
    max_delay: BatchDelay = Field(default="1 s", description=BATCH_DELAY)


class Retry(Table):
    """How what failed is tried again: after a random time up to a bound that doubles from ``initial`` on.

    Without ``max_elapsed`` a batch is tried for as long as it takes.
    """

    initial: Wait = Field(default="500 ms", description=A_WAIT)
    max_interval: Wait = Field(default="30 s", description=A_WAIT)
    max_elapsed: Elapsed | None = Field(default=None, description=ELAPSED)


class HttpRetry(Retry):
    """The same, and after which answers; without ``statuses`` these are 408, 425, 429 and all from 500 on."""

    statuses: Annotated[tuple[Status, ...], at_most(MAX_STATUSES)] | None = Field(
        default=None, min_length=1, max_length=MAX_STATUSES, description=STATUSES
    )


class Tls(Table):
    """Whom to trust, instead of the system's authorities, and who we are. That a server is checked can't be changed."""

    ca: FilePath | None = Field(default=None, description=A_FILE)
    certificate: FilePath | None = Field(default=None, description=A_FILE)
    key: FilePath | None = Field(default=None, description=A_FILE)


class Auth(Table):
    """Credentials: a user's name and password, or a token."""

    username: Secret | None = Field(default=None, description=A_SECRET)
    password: Secret | None = Field(default=None, description=A_SECRET)
    bearer: Secret | None = Field(default=None, description=A_SECRET)

    @model_validator(mode="after")
    def _fit(self) -> Auth:
        """What is wrong with values that are whole; those of variables are looked at when a sink is made of them."""
        if self.bearer is not None:
            lines_of(bearer, literal(self.bearer))
        if self.username is not None and self.password is not None:
            username, password = literal(self.username), literal(self.password)
            lines_of(lambda name: basic(name, password), username)
        return self
