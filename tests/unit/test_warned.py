"""Warnings as records: exactly those that are shown, once, and shown as they were."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.producers import warned
from logbus.producers.context import context
from logbus.rules import Rule
from tests.kept import Kept


@pytest.fixture(autouse=True)
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Warnings as an application has them: shown on stderr, each of them, and not kept by the test's own machinery."""
    shown = io.StringIO()

    def show(message: Any) -> None:
        if message.file is None:
            shown.write(warnings._formatwarnmsg_impl(message))  # type: ignore[attr-defined]

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", warnings._showwarning_orig)  # type: ignore[attr-defined]
        monkeypatch.setattr(warnings, "_showwarnmsg_impl", show)
        yield shown
        warned.uninstall()


def test_a_warning(kept: Kept, stderr: io.StringIO) -> None:
    """Place, category and the fields of the context; stderr has it too."""
    warned.install(kept.producer)
    with context(request_id="r1"):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    entry = kept.last
    line = entry.site[5]
    assert entry.site == ("py.warnings", logging.WARNING, "WARNING", "test_warned", "test_a_warning", line)
    assert entry.message == "DeprecationWarning: old"
    assert entry.extra == {
        "request_id": "r1",
        "category": "DeprecationWarning",
        "filename": __file__,
        "lineno": line,
    }
    assert stderr.getvalue().startswith(f"{__file__}:{line}: DeprecationWarning: old\n")


def test_stderr_shows_the_same(kept: Kept, stderr: io.StringIO, tmp_path: Path) -> None:
    """The line about the object that a ResourceWarning comes from included, which a hook in public would lose."""

    def leak() -> None:
        warnings.warn("unclosed", ResourceWarning, stacklevel=1, source=tmp_path)

    leak()
    before = stderr.getvalue()
    warned.install(kept.producer)
    leak()
    assert "tracemalloc" in before
    assert stderr.getvalue() == before * 2


def test_what_the_application_takes_for_itself(kept: Kept) -> None:
    """A block that records warnings keeps them, and one that ignores or raises them has its way; then ours is back."""
    warned.install(kept.producer)
    with warnings.catch_warnings(record=True) as found:
        warnings.warn("kept", UserWarning, stacklevel=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.warn("ignored", UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match="expected"):
        warnings.warn("expected", UserWarning, stacklevel=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            warnings.warn("raised", UserWarning, stacklevel=1)
    warnings.warn("ours", UserWarning, stacklevel=1)
    assert [str(one.message) for one in found] == ["kept"]
    assert kept.messages == ["UserWarning: ours"]


@pytest.mark.parametrize("first", ["logbus", "logging"])
def test_logging_captures_too(kept: Kept, stderr: io.StringIO, first: str) -> None:
    """With logging.captureWarnings a warning is logging's record alone, whoever came first; afterwards it is ours."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logging.getLogger("py.warnings").addHandler(Keep())
    if first == "logbus":
        warned.install(kept.producer)
    logging.captureWarnings(True)
    warned.install(kept.producer)
    warnings.warn("captured", UserWarning, stacklevel=1)
    assert len(found) == 1
    assert kept.messages == []
    logging.captureWarnings(False)
    warnings.warn("shown", UserWarning, stacklevel=1)
    assert len(found) == 1
    assert kept.messages == ["UserWarning: shown"]


def test_a_warning_that_is_written_elsewhere(kept: Kept) -> None:
    """What an application writes to a file of its own, by showwarning(), is no record."""
    warned.install(kept.producer)
    own = io.StringIO()
    warnings.showwarning(UserWarning("own"), UserWarning, "f.py", 3, file=own)
    assert kept.messages == []


def test_rules_count_and_disabled_loggers_do_not(kept: Kept) -> None:
    """A rule above WARNING silences it; dictConfig, which disables every logger that it doesn't name, does not."""
    from logbus.producers.stdlib import STDLIB

    warned.install(kept.producer)
    kept.gate.attach(STDLIB)
    logging.getLogger("py.warnings").disabled = True
    warnings.warn("one", UserWarning, stacklevel=1)
    kept.rule(Rule("py.warnings", logging.ERROR))
    warnings.warn("two", UserWarning, stacklevel=1)
    kept.gate.close()
    assert kept.messages == ["UserWarning: one"]


def test_the_hook_is_given_back(kept: Kept) -> None:
    """Twice on is once on; off is as before, and under another's hook ours is silent."""
    before = warnings._showwarnmsg_impl  # type: ignore[attr-defined]
    warned.install(Kept().producer)
    warned.install(kept.producer)
    warnings.warn("once", UserWarning, stacklevel=1)
    assert kept.messages == ["UserWarning: once"]
    ours = warnings._showwarnmsg_impl  # type: ignore[attr-defined]
    warned.uninstall()
    assert warnings._showwarnmsg_impl is before  # type: ignore[attr-defined]
    warned.install(kept.producer)

    def theirs(shown: Any) -> None:
        ours(shown)

    warnings._showwarnmsg_impl = theirs  # type: ignore[attr-defined]
    warned.uninstall()
    warnings.warn("silent", UserWarning, stacklevel=1)
    assert warnings._showwarnmsg_impl is theirs  # type: ignore[attr-defined]
    warned.install(kept.producer)
    warnings.warn("again", UserWarning, stacklevel=1)
    assert kept.messages == ["UserWarning: once", "UserWarning: again"]


def test_our_own_failure_is_silent(kept: Kept, stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in making the record, the warning is shown, and nothing is raised."""

    def broken(*arguments: Any) -> None:
        raise RuntimeError

    class Odd(UserWarning):
        def __str__(self) -> str:
            return "odd"

    monkeypatch.setattr(kept, "emit", broken)
    warned.install(kept.producer)
    warnings.warn(Odd(), stacklevel=1)
    assert "Odd: odd" in stderr.getvalue()
