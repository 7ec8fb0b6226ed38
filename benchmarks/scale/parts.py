"""What memory a worker takes, part by part: of a process of its own, that is started and not forked.

It looks at its resident set (:mod:`benchmarks.scale.resident`): *bare*, with the standard library's logging and nothing
else; after ``import logbus``; after ``configure()``, once a collector has welcomed it; after its first record; after
thousands more, whose buffer is empty again; and after ``logbus.stats()``, which most workers never call. Each figure
but the bare one is how far all of it lies above that one.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

from benchmarks.scale.place import Place
from benchmarks.scale.resident import PARTS
from benchmarks.service import environment
from benchmarks.suite.sample import IN_PYTHON, Sample

FAMILY: Final = "memory"
#: Seconds that a worker may take.
_TIMEOUT_S: Final = 90.0
_KIB: Final = 1024


def parts(place: Place, variant: str, form: str, records: int) -> Sample:
    """The memory of one worker that logs so many records by log calls of that form, MiB by part.

    Raises RuntimeError when it fails, or when its log calls have another form.
    """
    with place.collector() as collector:
        found = _asked(place, records, pure=variant.endswith(IN_PYTHON))
        status = collector.wait_collected(records + 1)
    if found["form"] != form:
        raise RuntimeError(f"expected log calls that are {form}, found that they are {found['form']}")
    (bare, bare_private), *looks = found["looks"]
    figures = {"bare_rss_mib": bare / _KIB}
    figures |= {f"{part}_rss_mib": (rss - bare) / _KIB for part, (rss, _) in zip(PARTS[1:], looks, strict=True)}
    figures["records_private_mib"] = (looks[PARTS.index("records") - 1][1] - bare_private) / _KIB
    return Sample(FAMILY, variant, figures, None, records + 1, place.lost(status, records + 1), form)


def _asked(place: Place, records: int, *, pure: bool) -> dict[str, Any]:
    """What a worker of this place says of itself."""
    command = [place.python, "-m", "benchmarks.scale.resident", place.running.endpoint, str(records)]
    done = subprocess.run(
        command,
        cwd=place.directory,
        env=environment(place.directory, pure=pure),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"a worker that looks at its memory failed: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
