"""The worker that looks at its own memory: ``python -m benchmarks.scale.resident ENDPOINT RECORDS``.

It imports nothing before logbus but what a bare process with the standard library's logging has, and prints JSON at its
end: ``looks``, of each of :data:`PARTS` the resident set in KiB and what of it is private, and the ``form`` of its log
calls.
"""

from __future__ import annotations

import logging
import sys

#: What it has done by each look.
PARTS = ("bare", "import", "configure", "first_record", "records", "stats")
#: Records between two looks at whether the buffer is empty.
_BURST = 50
#: Seconds for a welcome, and for records to leave.
_PATIENCE_S = 30.0


def look() -> tuple[int, int]:
    """The resident set of this process now, KiB, and what of it is private."""
    with open("/proc/self/smaps_rollup") as file:  # nothing is imported for it
        kib = {words[0]: int(words[1]) for words in map(str.split, file) if words[-1] == "kB"}
    return kib["Rss:"], kib["Private_Clean:"] + kib["Private_Dirty:"]


def main(endpoint: str, records: int) -> None:
    """Becomes a worker of the collector there, step by step."""
    log = logging.getLogger("proxywhirl.rotator")
    url = "http://user01:s3cr3t-01@proxy-01.example.net:8080"
    fields = {"operation": "connect", "proxy_url": url, "strategy": "round_robin", "source": "pool"}
    look()  # its code is loaded
    looks = [look()]
    import logbus

    _ = logbus.configure  # is loaded with the first look at it
    looks.append(look())
    if not logbus.configure(endpoint=endpoint, fast_loggers=True).wait_welcome(_PATIENCE_S):
        raise SystemExit("nobody has welcomed the worker")
    looks.append(look())
    for count in (1, records):
        for done in range(0, count, _BURST):
            for number in range(done, min(done + _BURST, count)):
                more = {"request_id": f"req-{number:08x}", **fields}
                log.warning(
                    "Selected proxy %s for the request: healthy, lowest latency of the pool", number, extra=more
                )
            if not logbus.flush(_PATIENCE_S):
                raise SystemExit("nobody took the records")
        looks.append(look())
    logbus.stats()
    looks.append(look())

    import json

    from benchmarks.compiled import form

    print(json.dumps({"looks": looks, "form": form()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
