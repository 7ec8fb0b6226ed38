"""The page of the benchmarks, made of a small run: what it marks, what it leaves out, and that it stays the same."""

from __future__ import annotations

import json
import re
from typing import Any

from benchmarks.suite import tables
from benchmarks.suite.job import Job
from benchmarks.suite.page import PLOTS, page
from benchmarks.suite.render import merged
from benchmarks.suite.results import runs_of
from benchmarks.suite.sample import Sample
from tests.measured import document, results


def row(text: str, start: str) -> list[str]:
    """The cells of the first row that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def hour() -> dict[str, Any]:
    """Results of a run over hours, of two pieces, of which one was cut off."""
    points = [
        {"piece": piece, "at_s": at, "records": 100_000, "collector_rss_mib": 50.0}
        for piece in (0, 1)
        for at in (10, 1800)
    ]
    flat = {"mean": 50.0, "min": 49.0, "max": 51.0, "per_hour": 0.25, "error": 0.5}
    ledger = {"emitted": 200_000, "collected": 200_000, "dropped": {}}
    return {
        "points": points,
        "pieces": [{"ledger": ledger, "balanced": True}, {}],
        "flatness": {"collector_rss_mib": flat, "worker_rss_mib": None},
    }


def test_the_same_results_give_the_same_page() -> None:
    """Nothing of the day or the place gets into it."""
    assert page(document(), {}, hour(), PLOTS) == page(document(), {}, hour(), PLOTS)


def test_no_placeholder_is_left() -> None:
    """Each part of the frame is filled, with tables or with words."""
    for others in ({}, hour()):
        assert "${" not in page(document(), {}, others or None)


def test_a_part_without_results_says_which_command_makes_them() -> None:
    """A page of a part of the suite is whole as well."""
    text = page(document(), {}, None)
    for command in ("suite --only collector", "scale.endurance", "pipeline", "proxied", "scale --full"):
        assert f"Not measured in this run (`python -m benchmarks.{command}`)." in text


def test_only_plots_that_were_drawn_are_shown() -> None:
    """A link to a picture that is not there is none."""
    text = page(document(), {}, None, ["producers"])
    assert re.findall(r"\]\((performance/[^)]*)\)", text) == ["performance/producers.svg"]
    assert "\n\n\n" not in text


def test_costs_are_sorted_and_beside_ours() -> None:
    """The cheapest is first; each has its cost in floors and by ours of the same round; ours is bold."""
    text = tables.producers(document())
    names = [line.split("|")[1].strip() for line in text.splitlines()[2:]]
    assert names == [
        "leaky (lost records)",
        "**logbus: FastLogger, fast**",
        "stdlib, NullHandler (the floor)",
        "**logbus: LogbusHandler**",
        "loguru file",
    ]
    found = row(text, "loguru file")
    assert found[3:5] == ["22.0 (20.0-40.0)", "4.00"]
    assert found[8:] == ["2.5x", "10.0x", "plain text \\| no fields; loguru 0.7.3"]


def test_a_loss_is_marked() -> None:
    """In the row of the variant, in the column of losses, and in the list at the end."""
    text = page(document(), {}, None)
    assert "| leaky (lost records)" in text
    assert row(tables.calls(document()), "leaky")[-1] == "**14** of 3,000"
    assert "- void: producer: leaky, round 3: 7 of 1,000 records lost" in text


def test_promises_have_figure_spread_verdict_and_command() -> None:
    """Every row of the table of promises says how it came out, and with which command."""
    text = page(document(), {}, hour())
    assert row(text, "1      | stdlib logger and LogbusHandler: whole process")[2:] == [
        "<= 1.65 floors",
        "<= 1.35 floors",
        "1.60 floors",
        "held",
        "",
        "`python -m benchmarks.suite`",
    ]
    assert row(text, "3      | call to file, LogbusHandler")[4:6] == ["2.40 floors", "**missed**"]
    assert row(text, "2      | collector, default redaction")[4:6] == ["-", "not measured"]
    assert row(text, "5      | flat in uptime and records: the collector's RSS")[4:6] == [
        "0.2 MiB/h (-0.8 to 1.2)",
        "held (not certain)",
    ]


def test_what_failed_is_named_without_places_of_this_machine() -> None:
    """Of a traceback only what failed and its last line are there; no path is on the page."""
    made = results()
    made.fail(0, made.jobs[0], RuntimeError('Traceback:\n  File "/home/x/y.py"\nKeyError: no /tmp/lb-1/socket'))
    text = page({**document(), **json.loads(json.dumps(made.document()))}, {}, hour())
    assert "- failed: producer: loguru file, round 1: RuntimeError: … KeyError: no …" in text
    assert not re.search(r"(?<![\w.`/])/(home|tmp|work|root)/", text)


def test_what_is_in_python_is_ours_and_says_so() -> None:
    """The other form of a log call has the name of the first, in bold, and what its process had loaded beside it."""
    made = results()
    for name, form in (("fast", "compiled"), ("fast, in Python", "in Python")):
        made.take(0, Sample("end_to_end", name, {"process_us": 9.0}, {"process_us": 5.0}, 10, 0, form))
    made.jobs = [*made.jobs, Job("end_to_end", "fast, in Python", lambda number: [], "redacts")]
    text = tables.whole_way({**document(), **json.loads(json.dumps(made.document()))})
    assert row(text, "**logbus: FastLogger, fast, in Python**")[-1] == "redacts; in Python"
    assert row(text, "**logbus: FastLogger, fast** ")[-1] == "compiled"


def test_a_collector_in_python_is_ours_and_is_not_judged() -> None:
    """Its row is in bold and says its form; the promises of row 2 are of the compiled one beside it."""
    made = results()
    for name, form, cost in (("logbus", "compiled", 2.0), ("logbus, in Python", "in Python", 9.0)):
        made.take(0, Sample("collector", name, {"process_us": cost}, {"process_us": 5.0}, 10, 0, form))
    made.jobs = [*made.jobs, Job("collector", "logbus, in Python", lambda number: [], "redacts")]
    found = {**document(), **json.loads(json.dumps(made.document()))}
    assert row(tables.receivers(found), "**logbus, in Python**")[-1] == "redacts; in Python"
    assert row(tables.receivers(found), "**logbus** ")[-1] == "compiled"
    assert row(tables.promises(found["goals"]), "2      | collector, default redaction")[4] == "0.40 floors (one round)"


def test_the_forms_of_an_interpreter_are_named() -> None:
    """What its log calls are and what its collector is; a document from before that was told says the first alone."""
    found = document()
    assert "; log calls of logbus are compiled, unless a row says otherwise" in tables.machine(found)
    found["machine"]["peers"] = {**found["machine"]["peers"], "collector": "in Python"}
    assert "; log calls of logbus are compiled, its collector is in Python, unless" in tables.machine(found)
    found["machine"]["peers"]["collector"] = "compiled"
    assert "; log calls and collector of logbus are compiled, unless" in tables.machine(found)


def test_what_a_record_costs_a_crowd_stands_on_the_page() -> None:
    """That it costs more at one rate of all workers together is said with its figure, or that nobody measured it."""
    made = results()
    for name, cost in (("4", 10.0), ("200", 16.0)):
        made.take(0, Sample("workers", name, {"paced_process_us": cost}, {"paced_process_us": 5.0}, 10, 0))
    text = page({**document(), **json.loads(json.dumps(made.document()))}, {}, hour())
    assert (
        "**At one rate of all together a record costs more in 200 workers than in four:\n1.60 times as much.**" in text
    )
    assert "than in four:\nnot measured in this run.**" in page(document(), {}, hour())


def test_what_was_left_out_says_why() -> None:
    """Variants that can't be measured here are not forgotten."""
    assert "- left out: producer/logxide: there is no Python 3.13" in tables.losses(document())


def test_the_machine_and_its_python_are_named() -> None:
    """Processor, kernel, C library, how Python was built, programs and packages with their versions."""
    text = tables.machine(document())
    for word in ("Abacus 2000", "Linux 6.1", "glibc 2.36", "without profile-guided optimization", "seed 7"):
        assert word in text
    assert "programs: loguru 0.7.3, rsyslogd 8.2302.0" in text
    assert "packages: loguru 0.7.3, pyzmq 27.3.0" in text


def test_hours_are_summed_over_pieces() -> None:
    """Records and hours of all pieces, slopes with their errors, and the ledger at the end of each."""
    text = page(document(), {}, hour())
    assert "400,000 records in 1.00 hours, in 2 pieces." in text
    assert row(text, "collector RSS, MiB")[4] == "+0.250 ± 0.500"
    assert "- ledger after piece 1: 200,000 emitted, 200,000 collected, dropped none, balanced" in text
    assert "- ledger after piece 2: cut off before its end" in text


def test_a_longer_run_of_growth_takes_the_place_of_the_suites() -> None:
    """Its families come from it alone, samples, losses and reasons too; everything else stays."""
    suite = document()
    longer = {name: suite[name] for name in ("mode", "seed", "seconds")} | {
        "rounds": 9,
        "figures": {"end_to_end": suite["figures"]["end_to_end"], "workers": {}},
        "samples": [sample for sample in suite["samples"] if sample["family"] == "end_to_end"][:2],
        "jobs": {},
        "void": ["end_to_end: handler, round 1: 3 of 4 records lost"],
        "failed": [],
        "skipped": {},
    }
    found = merged(suite, longer)
    assert len(runs_of(found).samples("end_to_end", "handler")) == 1
    assert len(runs_of(found).samples("producer", "handler")) == 3
    assert found["void"] == [*suite["void"], *longer["void"]]
    assert "a run of its own, 9 rounds" in tables.machine(found)
    assert merged(suite, None) == suite
