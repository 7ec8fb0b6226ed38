"""Commands that have a collector change something, wait for others meanwhile, and say how much of it was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from logbus.cli.options import addresses
from logbus.cli.terminal import complain

#: The exit code where something was done, and not all of it.
PARTIAL: Final = 4
#: Seconds of the timeout that are left to the answer of a collector that has waited.
ANSWER_S: Final = 0.5


def order(
    command: Mapping[str, Any], unknown: str, *, control: str | None, name: str | None, timeout: float
) -> dict[str, Any]:
    """The answer of a collector to a command that changes something.

    ``unknown`` is what is said of one that was sent and not answered. Raises NoCollectorError, ControlError.
    """
    from logbus.cli import client
    from logbus.errors import ControlError, NoCollectorError

    place = addresses(control=control, name=name).control
    # So that somebody who does not follow costs no more than the timeout, and the answer still names him.
    patience = max(timeout / 2, timeout - ANSWER_S)
    try:
        return client.request({**command, "name": name, "wait_seconds": patience}, control=place, timeout=timeout)
    except KeyboardInterrupt:
        complain(unknown)
        raise
    except NoCollectorError as error:
        if error.asked:
            raise ControlError(f"{error}\n{unknown}") from error
        raise
