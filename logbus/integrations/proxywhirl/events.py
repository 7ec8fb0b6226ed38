"""What proxywhirl never logs, logged as if it did: ordinary records of the standard library, with an ``event`` field.

They come from loggers with proxywhirl's own names, so that levels, filters and the application's other handlers treat
them as records of proxywhirl. Whoever emits looks at ``isEnabledFor`` first, and builds its message only then.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from logbus.integrations.proxywhirl.mask import masked_text
from logbus.producers.text import error_text, type_name


def emit(
    log: logging.Logger, level: int, event: str, message: str, fields: Mapping[str, Any], *, stacklevel: int
) -> None:
    """Logs one event. Raises no Exception, whatever handlers and filters of the application do.

    ``stacklevel`` counts as in logging, from whoever calls this: 1 shows that call, 2 the caller's caller.
    """
    try:
        # What Logger.log() does, but for the look that has been taken.
        log._log(level, message, (), extra={"event": event, **fields}, stacklevel=stacklevel + 1)
    except Exception:  # it would surface in the middle of a request, or under a breaker's lock
        return


def worded(error: BaseException) -> str:
    """Type and words of an error, as the field ``error`` has them: without credentials. Raises no Exception."""
    return f"{type_name(type(error))}: {masked_text(error_text(error))}"
