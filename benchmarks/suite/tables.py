"""The tables of a results document: producers, collectors, the whole way, latency, growth; for page and terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from benchmarks.suite import growth
from benchmarks.suite.runs import OURS
from benchmarks.suite.sample import IN_PYTHON
from benchmarks.suite.table import shown, table, titled

Document = Mapping[str, Any]
Row = Mapping[str, Any]

#: What a family's variants of ours and its floor are called in tables and plots; every other is called what it is.
NAMES: Final[Mapping[str, str]] = {
    "producer/null": "stdlib, NullHandler (the floor)",
    "producer/handler": "logbus: LogbusHandler",
    "producer/lean": "logbus: FastLogger, lean",
    "producer/fast": "logbus: FastLogger, fast",
    "producer/json_file": "FileHandler, JSON",
    "producer/orjson_file": "FileHandler, JSON by orjson",
    "producer/queue_listener": "QueueHandler, SimpleQueue",
    "producer/mp_queue": "QueueHandler, multiprocessing.Queue",
    "producer/socket_handler": "SocketHandler",
    "producer/syslog": "SysLogHandler, JSON",
    "producer/loguru_file": "loguru, file",
    "producer/loguru_serialize": "loguru, serialize",
    "producer/loguru_enqueue": "loguru, serialize, enqueue",
    "producer/loguru_logbus": "logbus: behind loguru",
    "producer/loguru_direct": "logbus: loguru's calls, directly",
    "producer/structlog": "structlog, orjson",
    "producer/structlog_call_site": "structlog, orjson, call site",
    "producer/structlog_logbus": "logbus: behind structlog",
    "producer/zmq_pub": "pyzmq PUBHandler",
    "producer/logbook_null": "logbook, NullHandler",
    "producer/logbook_zmq": "logbook, ZeroMQHandler",
    "producer/picologging_null": "picologging, NullHandler",
    "producer/picologging_file": "picologging, file",
    "producer/fluent": "fluent-logger",
    "producer/fluent_async": "fluent-logger, async",
    "producer/opentelemetry": "OpenTelemetry, batches",
    "producer/logxide": "logxide, text",
    "producer/logxide_json": "logxide, JSON",
    "collector/logbus": "logbus",
    "collector/logbus_fresh": "logbus, no text twice",
    "collector/logbus_bare": "logbus, redaction off",
    "end_to_end/handler": "logbus: LogbusHandler",
    "end_to_end/fast": "logbus: FastLogger, fast",
    "startup/libraries": "import zmq, msgpack",
    "startup/import": "import logbus",
    "startup/configure": "import logbus, configure()",
}
#: What a verdict is called.
_VERDICTS: Final[Mapping[str, str]] = {
    "goal": "goal reached",
    "must": "held",
    "missed": "**missed**",
    "aimed": "not reached",
    "noise": "not decided: the machine's own noise",
    "none": "not measured",
}


def is_ours(family: str, variant: str) -> bool:
    """Whether this is logbus: only families in which it is compared have others."""
    return family not in OURS or name_of(family, variant).startswith("logbus")


def name_of(family: str, variant: str) -> str:
    """What people call it; behind it its form or the version of Python, where they are not those of the others."""
    whole = variant.removesuffix(IN_PYTHON)
    name, bracket, rest = whole.partition(" (")
    return NAMES.get(f"{family}/{name}", name) + bracket + rest + variant[len(whole) :]


def by_cost(rows: Mapping[str, Row], figure: str, kind: str = "floors") -> list[str]:
    """The variants, the cheapest first, those without a figure last; ``kind``: in "floors" or as "figures"."""

    def cost(variant: str) -> tuple[bool, float]:
        found = rows[variant][kind].get(figure)
        return found is None, 0.0 if found is None else found["median"]

    return sorted(rows, key=cost)


def promises(verdicts: Sequence[Row]) -> str:
    """Every promise with its figure, its spread and whether it was kept."""
    return table(
        ("", "promise", "must", "goal", "found", "verdict", "beside it, not judged", "command"),
        (
            (
                verdict["row"],
                verdict["what"],
                _bound(verdict, verdict["must"]),
                _bound(verdict, verdict["goal"]),
                _valued(verdict["value"], verdict["unit"]) + (" (one round)" if verdict["one_round"] else ""),
                _VERDICTS[verdict["verdict"]] + (" (not certain)" if verdict["divided"] else ""),
                "; ".join(f"{name}: {_valued(**found)}" for name, found in verdict["beside"].items()),
                f"`{verdict['command']}`",
            )
            for verdict in verdicts
        ),
    )


def producers(document: Document) -> str:
    """What a call costs: flat out and paced, in the calling thread and in the whole process."""
    rows = document["figures"].get("producer", {})
    figures = ("thread_us", "process_us", "paced_thread_us", "paced_process_us")
    return table(
        (
            "one `log.info(…)`",
            *("thread, µs", "in floors", "process, µs", "in floors"),
            *("paced thread, floors", "paced process, floors", "reader, µs"),
            *(f"process, by {variant}" for variant in ("handler", "fast")),
            "what it does",
        ),
        (
            (
                _named("producer", variant, rows[variant]),
                *_both(rows[variant], figures[0]),
                *_both(rows[variant], figures[1]),
                *(shown(rows[variant]["floors"].get(figure), 2) for figure in figures[2:]),
                shown(rows[variant]["figures"].get("consumer_us")),
                *(_by(rows[variant], base, figures[1]) for base in ("handler", "fast")),
                _does(document, "producer", variant),
            )
            for variant in by_cost(rows, "process_us")
        ),
    )


def calls(document: Document) -> str:
    """What a call waits, and what the process holds and sends."""
    rows = document["figures"].get("producer", {})
    figures = ("call_p50_us", "call_p99_us", "call_p999_us", "wall_us", "drain_ms", "rss_mib", "bytes_per_record")
    heads = ("p50, µs", "p99, µs", "p99.9, µs", "wall, µs", "drain, ms", "RSS, MiB", "bytes")
    return table(
        ("one `log.info(…)`", *heads, "lost"),
        (
            (
                name_of("producer", variant),
                *(
                    shown(rows[variant]["figures"].get(figure), 0 if figure.startswith("bytes") else 1)
                    for figure in figures
                ),
                _lost(rows[variant]),
            )
            for variant in by_cost(rows, "call_p999_us", "figures")
        ),
    )


def receivers(document: Document) -> str:
    """What a collector costs."""
    return _way(document, "collector", "collector", ("rss_mib",), "logbus", "logbus_bare")


def whole_way(document: Document) -> str:
    """What a record costs from four workers' calls to the file."""
    return _way(document, "end_to_end", "from the call to the file", ("workers_us", "receiver_us"), "handler", "fast")


def starts(document: Document) -> str:
    """What the start of a worker takes."""
    rows = document["figures"].get("startup", {})
    return table(
        ("start of a worker", "ms", "what it is"),
        (
            (name_of("startup", variant), shown(row["figures"].get("wall_ms")), _does(document, "startup", variant))
            for variant, row in rows.items()
        ),
    )


def losses(document: Document) -> str:
    """What was lost, what failed, what was left out, and why: a list."""
    lines = [f"- void: {what}" for what in document["void"]]
    lines += [f"- failed: {_shortened(what)}" for what in document["failed"]]
    lines += [f"- left out: {name}: {reason}" for name, reason in document["skipped"].items()]
    for name, ledger in document["ledgers"].items():
        lines.append(
            f"- ledger of collector `{name}`: {ledger['emitted']:,} emitted, {ledger['collected']:,} collected,"
            f" dropped {ledger['dropped'] or 'none'}, {'balanced' if ledger['balanced'] else '**not balanced**'}"
        )
    return "\n".join(lines) or "Nothing was lost, failed or left out."


def _shortened(failure: str) -> str:
    """What failed and the last line of what it said, without the directories of this machine."""
    lines = failure.strip().splitlines()
    said = lines[0] if len(lines) == 1 else f"{lines[0].partition('Error: ')[0]}Error: … {lines[-1]}"
    return re.sub(r"(/[\w.+-]+){2,}", "…", said)


def machine(document: Document) -> str:
    """Where and on what all this was measured: a list."""
    where, peers, newer = document["machine"], document["machine"]["peers"], document["machine"].get("newer")
    before, after = where["load_average_before"][0], document["load_average_after"][0]
    packages = ", ".join(f"{name} {version}" for name, version in peers["packages"].items())
    versions = {job["version"] for job in document["jobs"].values() if job["version"][:1].isalpha()}
    others = ", ".join(sorted(versions))
    lines = [
        f"- {where['cpu']}, {where['cores']} cores, {where['memory_gib']:g} GiB; {where['kernel']}; {where['libc']}",
        f"- logbus {where['logbus']} and its peers on {_built(peers)}",
        "" if newer is None else f"- variants that are named for it on {_built(newer)}",
        f"- {document['mode']} run: {document['rounds']} rounds in {document['seconds']:,} s, seed {document['seed']};"
        f" load average {before:.1f} before, {after:.1f} after",
        _longer(document.get("longer")),
        f"- programs: {others}" if others else "",
        f"- packages: {packages}",
    ]
    return "\n".join(line for line in lines if line)


def _built(interpreter: Row) -> str:
    """An interpreter, and whether it was optimized when it was built."""
    optimized = "with" if interpreter["pgo"] else "without"
    linked = ", with LTO" if interpreter["lto"] else ""
    calls, collector = interpreter["log_calls"], interpreter.get("collector")
    if collector is None:  # a document from before it had a form
        forms = f"log calls of logbus are {calls}"
    elif collector == calls:
        forms = f"log calls and collector of logbus are {calls}"
    else:
        forms = f"log calls of logbus are {calls}, its collector is {collector}"
    return (
        f"Python {interpreter['python']}, built {optimized} profile-guided optimization{linked} by"
        f" {interpreter['compiler']}; {forms}, unless a row says otherwise"
    )


def _longer(of: Row | None) -> str:
    if of is None:
        return ""
    return (
        f"- growth and latency without a collector: a run of its own, {of['rounds']} rounds in {of['seconds']:,} s,"
        f" seed {of['seed']}"
    )


def said(document: Document) -> str:
    """What the command prints at its end."""
    parts: Sequence[tuple[str, Callable[[Document], str]]] = (
        ("producer", producers),
        ("producer", calls),
        ("collector", receivers),
        ("end_to_end", whole_way),
        ("startup", starts),
        ("stalls", growth.stalls),
    )
    listed = [machine(document)]
    listed += [make(document) for family, make in parts if family in document["figures"]]
    listed += [growth.growth(document), promises(document["goals"]), losses(document)]
    return "\n\n".join(part for part in listed if part)


def _way(document: Document, family: str, what: str, parts: Sequence[str], *bases: str) -> str:
    figure = "process_us"
    rows = document["figures"].get(family, {})
    return table(
        (
            what,
            *("CPU, µs", "in floors", *(titled(part) for part in parts), "records/s", "lost"),
            *(f"by {name_of(family, base).removeprefix('logbus: ')}" for base in bases),
            "what it does",
        ),
        (
            (
                _named(family, variant, rows[variant]),
                *_both(rows[variant], figure),
                *(shown(rows[variant]["figures"].get(part)) for part in parts),
                shown(rows[variant]["figures"].get("records_per_s"), 0),
                _lost(rows[variant]),
                *(_by(rows[variant], base, figure) for base in bases),
                _does(document, family, variant),
            )
            for variant in by_cost(rows, figure)
        ),
    )


def _named(family: str, variant: str, row: Row) -> str:
    """Ours in bold; one of which every run lost something says so."""
    name = name_of(family, variant)
    if family in OURS and is_ours(family, variant):
        name = f"**{name}**"
    return f"{name} (lost records)" if row["void"] else name


def _both(row: Row, figure: str) -> tuple[str, str]:
    return shown(row["figures"].get(figure)), shown(row["floors"].get(figure), 2)


def _by(row: Row, base: str, figure: str) -> str:
    found = row["by"].get(base, {}).get(figure)
    return shown(found, 1, "x")


def _lost(row: Row) -> str:
    if not row["lost"]:
        return "0"
    return f"**{row['lost']:,}** of {row['records']:,}"


def _does(document: Document, family: str, variant: str) -> str:
    """What the variant does with a record, its version, and what its runs had to say."""
    job = document["jobs"].get(f"{family}/{variant}", {"does": "", "version": ""})
    notes = document["figures"][family][variant]["notes"]
    parts = [job["does"], *notes, job["version"]]
    return "; ".join(part for part in parts if part)


def _valued(value: Row | None, unit: str) -> str:
    return shown(value, 2 if unit in ("floors", "x") else 1, f" {unit}")


def _bound(verdict: Row, bound: float | None) -> str:
    if bound is None:
        return ""
    return f"{verdict['sense']} {bound:g} {verdict['unit']}"
