"""What sinks have in common that send to somebody else: a server, a service, code that is not ours.

Nobody can look there after a crash, so what was in hand is unknown, or sent again where it stands in a spool. A write
that failed is tried again: whether it has arrived the sink says with each failure
(:class:`~logbus.collectors.sinks.base.TryAgainError`). A server that is down when the collector starts is one that
fails later.
"""

from __future__ import annotations

from typing import Final

from logbus.collectors.sinks.plain import PlainSink

#: Seconds that a call may take where nobody knows better.
PATIENCE_S: Final = 30.0


class RemoteSink(PlainSink):
    """A sink of which only :meth:`write` is missing; what else it needs to do its class says."""

    @property
    def patience_s(self) -> float:
        """What a server may take that answers at last."""
        return PATIENCE_S
