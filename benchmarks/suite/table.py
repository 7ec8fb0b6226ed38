"""A table in Markdown whose columns are aligned in the source as well: the page and the terminal show the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

#: A cell that is a figure, or the dash in its place: bold or not, with a sign or a bound before it.
_FIGURE: Final = re.compile(r"[*<>=+ -]*(\d.*)?")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table. Columns of figures are flush right, those of words left; the first is of words."""
    body = [[_escaped(cell) for cell in row] for row in rows]
    lines = [list(head), *body]
    widths = [max(3, *(len(line[at]) for line in lines)) for at in range(len(head))]
    left = [at == 0 or any(not _FIGURE.fullmatch(line[at]) for line in body) for at in range(len(head))]
    rule = ["-" * width if to_left else "-" * (width - 1) + ":" for width, to_left in zip(widths, left, strict=True)]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, left, strict=True)
        )
        + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def shown(of: Mapping[str, Any] | None, digits: int = 1, unit: str = "") -> str:
    """A spread: the median and in brackets the smallest and the largest; a dash where there is none."""
    if of is None:
        return "-"
    median, least, most = (f"{of[name]:,.{digits}f}" for name in ("median", "min", "max"))
    between = " to " if least.startswith("-") else "-"
    return f"{median}{unit}" if least == most else f"{median}{unit} ({least}{between}{most})"


#: The units at the end of a figure's name, as a head of a table says them; and words that are not as they are said.
_UNITS: Final[Mapping[str, str]] = {"us": "µs", "ms": "ms", "mib": "MiB", "s": "s", "percent": "%", "floors": "floors"}
_WORDS: Final[Mapping[str, str]] = {"rss": "RSS", "p999": "p99.9"}


def titled(figure: str) -> str:
    """A figure's name as people read it: ``collector_rss_mib`` is "collector RSS, MiB"."""
    words, _, per = figure.partition("_per_")
    listed = words.split("_")
    unit = f" {_UNITS[listed.pop()]}" if listed[-1] in _UNITS and len(listed) > 1 else ""
    said = " ".join(_WORDS.get(word, word) for word in listed)
    if per == "s" and not unit:
        return f"{said}/s"
    if per:
        return f"{said},{unit} per {_UNITS.get(per, per)}" if unit else f"{said} per {_UNITS.get(per, per)}"
    return f"{said},{unit}" if unit else said


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
