"""What the body of a request is to the sink that sends it: a form with a name, put together from whole lines.

The lines are what the sink's format has written, one per record, already redacted. So a form never sees a record, and
the sink never looks into a line.
"""

from __future__ import annotations

from typing import Protocol


class Body(Protocol):
    """A form of the body (:mod:`logbus.collectors.sinks.http.bodies`).

    ``name`` is what the configuration calls it, ``content_type`` what the request says of it.
    """

    name: str
    content_type: str

    def assemble(self, data: bytes) -> bytes:
        r"""The body for one or more whole lines, each of which ends in ``\n``."""

    def rejected(self, answer: bytes) -> tuple[int, str]:
        """What the answer to an accepted request says of records that were left out: how many, and why; (0, "").

        ``answer`` is the beginning of its body, and may be anything. The reason is in the server's words, of which not
        all may be shown.
        """
