"""What the doctor finds in proxywhirl."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from logbus.cli import proxywhirl as examined
from logbus.cli.finding import Finding
from logbus.cli.proxywhirl import judge, look
from logbus.integrations import proxywhirl as integration
from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl import install, installed, uninstall
from tests.eventually import eventually
from tests.real_proxywhirl import needs_proxywhirl

FIT = {"name": "sync requests", "target": "proxywhirl.rotator:ProxyWhirl.get", "gives": "request_id", "problem": None}
UNFIT = {**FIT, "problem": "expected it to exist, found nothing"}


def found() -> list[Finding]:
    """What a look finds."""
    with examined.looking() as findings:
        return list(findings())


def test_hooks_that_fit_a_tested_version_are_well() -> None:
    """One line, with the version and how many they are."""
    assert list(judge("0.3.7", [FIT, FIT])) == [Finding("proxywhirl", "ok", "0.3.7: all 2 hooks fit")]


def test_a_hook_that_does_not_fit_is_named_with_what_is_missing() -> None:
    """A warning for each, with its target and the reason; an untested version is one more."""
    untested, missing = judge("0.4.0", [FIT, UNFIT])
    assert (untested.verdict, untested.found) == ("warning", "0.4.0 is not tested, 0.3.x is")
    assert missing.verdict == "warning"
    assert missing.found == (
        "not hooked: sync requests (proxywhirl.rotator:ProxyWhirl.get): expected it to exist, found nothing"
    )
    assert missing.advice == "missing with this version: request_id"


def test_an_untested_version_whose_hooks_fit_says_both() -> None:
    """It is a warning, and nothing is missing."""
    assert [finding.verdict for finding in judge("unknown", [FIT])] == ["warning", "ok"]


@needs_proxywhirl
def test_the_version_that_is_installed_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    """The real package, examined in a process of its own: nothing is imported here, printed, or left hooked."""
    from importlib.metadata import version

    before = installed()
    [finding] = found()
    hooks = len(integration.table(public_only=False))
    assert finding == Finding("proxywhirl", "ok", f"{version('proxywhirl')}: all {hooks} hooks fit")
    assert installed() is before
    assert capsys.readouterr() == ("", "")


@needs_proxywhirl
def test_a_look_leaves_nothing_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where nothing was installed nor where the application has installed it; what does not fit is told."""

    def odd(public_only: bool) -> list[Hook]:
        return [
            Hook("fortunes", "proxywhirl.rotator:ProxyWhirl.tell_fortune", lambda original: original, gives="luck"),
            Hook("weather", "proxywhirl.weather:Forecast.rain", lambda original: original),
        ]

    import proxywhirl

    before = dict(vars(proxywhirl.ProxyWhirl))
    monkeypatch.setattr(integration, "_PARTS", (integration.rotator.hooks, odd))
    problems = {row["name"]: row["problem"] for row in json.loads(look())}
    assert dict(vars(proxywhirl.ProxyWhirl)) == before
    assert problems.pop("fortunes") == "expected it to exist, found nothing"
    weather = problems.pop("weather")
    assert weather.startswith("proxywhirl.weather can't be imported: ModuleNotFoundError: ")
    assert set(problems.values()) == {None}
    now = install()
    hooked = now.hooked
    try:
        look()
        assert now.hooked == hooked
    finally:
        uninstall()


def test_where_it_is_not_installed_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line at all."""
    monkeypatch.setattr(integration, "version_found", lambda: None)
    assert found() == []


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise SystemExit('not today')", "not today"),
        ("raise ImportError('no pyrate')", None),
        ("import os; os._exit(3)", "CalledProcessError: "),
        ("import threading; threading.Event().wait()", "TimeoutExpired: "),
    ],
)
def test_a_package_that_can_not_be_imported_is_told(
    source: str, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does as it is imported, the doctor goes on, and says what happened."""
    (tmp_path / "proxywhirl.py").write_text(source)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(integration, "version_found", lambda: "0.3.9")
    if "wait" in source:
        monkeypatch.setattr(examined, "TIMEOUT", 0.5)
    said: Any = found()
    assert {finding.verdict for finding in said} == {"warning"}
    if why is None:
        assert "can't be imported: ImportError: no pyrate" in said[0].found
    else:
        assert len(said) == 1
        assert said[0].found.startswith(f"0.3.9 can't be examined: {why}")


def test_a_look_that_nobody_waits_for_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on beside whatever else the doctor does, and not longer than the doctor."""
    begun = tmp_path / "begun"
    (tmp_path / "proxywhirl.py").write_text(
        f"import pathlib, threading; pathlib.Path({str(begun)!r}).touch(); threading.Event().wait()"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(integration, "version_found", lambda: "0.3.9")
    with examined.looking():
        eventually(begun.exists, 30)
    # That it is ended is looked at where every test's end is.


def test_a_look_that_can_not_begin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor goes on."""
    monkeypatch.setattr(integration, "version_found", lambda: "0.3.9")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert found()[0].found.startswith("0.3.9 can't be examined: FileNotFoundError: ")
