"""The end of the writers of a collector: all at once, within a time, whatever their sinks do.

Every sink is tried once more at once, whatever it was waiting for. One that works writes until it has nothing left,
or its time is over; what is under way then is ended. What remains goes into its spool, or is dropped, counted and
told. A sink that fails holds nobody up for long: with a spool one more failure is enough, without one as many as open
its breaker; a file, which has none, is tried as long as there is time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from logbus.collectors.writing.writer import Writer

#: Seconds for the sinks to write what is queued.
FLUSH_S: Final = 10.0
#: The same for a console: somebody may have stopped the terminal for good.
FLUSH_CONSOLE_S: Final = 1.0
#: Seconds between looks at how far they are.
LOOK_S: Final = 0.02


def drain(writers: Sequence[Writer], *, hurried: Callable[[], bool]) -> None:
    """Ends writers, those before which others wait first in the sequence. ``hurried`` ends the time that they have."""
    begun = time.monotonic()
    for writer in writers:
        writer.retire(begun + (FLUSH_CONSOLE_S if writer.sink.type == "console" else FLUSH_S))
    left = list(writers)
    while left:
        if hurried():
            for writer in left:
                writer.retire(begun)
        for writer in left:
            writer.give_up()
        left = [writer for writer in left if not writer.wait(LOOK_S / len(left))]
    for writer in writers:
        writer.finish(begun)
