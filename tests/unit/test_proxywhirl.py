"""Installing the instrumentation of proxywhirl: what it says of itself, and that it can be had and given back."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.errors import ConfigurationError
from logbus.integrations import proxywhirl as integration
from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl import Installed, install, installed, table, uninstall
from tests.real_proxywhirl import needs_proxywhirl
from tests.worker import Worker

pytestmark = needs_proxywhirl


@pytest.fixture(autouse=True)
def given_back() -> Iterator[None]:
    """Nothing of ours stays in the classes."""
    before = classes()
    yield
    uninstall()
    assert classes() == before


def classes() -> dict[str, dict[str, Any]]:
    """What the instrumented classes hold."""
    import proxywhirl
    from proxywhirl.retry import RetryExecutor

    return {
        kind.__name__: dict(vars(kind)) for kind in (proxywhirl.ProxyWhirl, proxywhirl.AsyncProxyWhirl, RetryExecutor)
    }


def test_every_hook_fits_the_version_that_is_tested() -> None:
    """Nothing is unhooked, and the version is that of the package."""
    from importlib.metadata import version

    now = install()
    assert installed() is now
    assert [*now.unhooked] == []
    assert now.version == version("proxywhirl")
    assert set(now.hooked) >= {"sync requests", "async requests", "sync selections", "async selections"}
    assert set(now.hooked) | set(now.waiting) == {hook.name for hook in table(public_only=False)}
    assert now.version in repr(now)


def test_names_of_hooks_are_unique_and_say_what_they_give() -> None:
    """So that a doctor's words are worth something."""
    for public_only in (False, True):
        hooks = table(public_only=public_only)
        assert len({hook.name for hook in hooks}) == len(hooks)
        assert [hook.name for hook in hooks if not hook.gives] == []


def test_public_only_uses_no_private_name() -> None:
    """No hook is marked private, and no attribute among the targets has a leading underscore."""
    hooks = table(public_only=True)
    assert [hook for hook in hooks if hook.private] == []
    attributes = [hook.target.rpartition(".")[2] for hook in hooks]
    assert [name for name in attributes if name.startswith("_") and not name.endswith("__")] == []
    assert all(hook.private for hook in table(public_only=False) if hook.target.rpartition(".")[2] == "_make_request")


def test_install_is_idempotent_and_changes_its_mode() -> None:
    """The same call gives the same answer; another mode starts anew, with nothing left of the first."""
    first = install()
    assert install() is first
    public = install(public_only=True)
    assert public is not first
    assert (public.public_only, installed()) == (True, public)
    assert first.hooked == ()
    assert "sync get requests" in public.hooked
    uninstall()
    uninstall()
    assert installed() is None
    assert public.hooked == ()


def test_install_does_not_wait_for_an_import_that_waits_for_it(start_worker: Any) -> None:
    """A thread that installs while another one imports, and is told of its end there, is not held up for ever."""
    worker: Worker = start_worker(
        """
        import warnings
        warnings.simplefilter("ignore")
        from logbus.producers.imports import when_imported
        from logbus.integrations.proxywhirl import install, installed, uninstall
        begun, wanted = threading.Event(), threading.Event()
        def told(module):  # under the import lock
            begun.set()
            wanted.wait(10)
            for _ in range(100):
                install(), install(public_only=True)
        when_imported("proxywhirl", told)
        importer = threading.Thread(target=__import__, args=("proxywhirl",), daemon=True)
        importer.start()
        begun.wait(30)
        others = [threading.Thread(target=install, daemon=True) for _ in range(3)]
        for thread in others:
            thread.start()
        wanted.set()
        for thread in (importer, *others):
            thread.join(30)
        alive = [thread.is_alive() for thread in (importer, *others)]
        install()
        hooked = len(installed().hooked)
        uninstall()
        import proxywhirl
        say(alive=alive, hooked=hooked, left="strategy" in vars(proxywhirl.ProxyWhirl))
        """
    )
    said = worker.finish()
    assert said["alive"] == [False] * 4
    assert said["hooked"] >= 7
    assert said["left"] is False


def test_threads_install_once() -> None:
    """Whoever comes first, all have the same."""
    found: list[Installed] = []
    threads = [threading.Thread(target=lambda: found.append(install())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_threads_install_and_uninstall_at_once() -> None:
    """Whatever their order, at the end there is what the last one has left, and nothing else."""

    def work() -> None:
        for turn in range(10):
            install(public_only=turn % 2 == 0)
            uninstall()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert installed() is None  # and given_back looks at the classes


def test_without_the_package_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """install() says what it expected, and nothing is installed."""
    monkeypatch.delitem(sys.modules, "proxywhirl")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="expected the package proxywhirl, which is not installed"):
        install()
    assert installed() is None


def test_what_can_not_be_hooked_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning has each hook's name, its target, the reason and the version; the others are in force."""

    def odd(public_only: bool) -> list[Hook]:
        return [
            Hook("fortunes", "proxywhirl.rotator:ProxyWhirl.tell_fortune", lambda original: original),
            Hook("weather", "proxywhirl.weather:Forecast.rain", lambda original: original),
            Hook("later", "proxywhirl.tui:ProxyWhirlTUI.run", lambda original: original),
        ]

    monkeypatch.setattr(integration, "_PARTS", (*integration._PARTS, odd))
    monkeypatch.delitem(sys.modules, "proxywhirl.tui", raising=False)
    now = install()
    assert install() is now
    assert [(each.name, each.reason) for each in now.unhooked] == [
        ("fortunes", "expected it to exist, found nothing"),
        ("weather", "there is no module proxywhirl.weather"),
    ]
    assert "later" in now.waiting
    assert "sync requests" in now.hooked
    warnings = [record for record in caplog.records if record.name == "logbus.integrations"]
    assert [record.levelno for record in warnings] == [logging.WARNING]
    told = warnings[0].getMessage()
    assert told.startswith(f"proxywhirl {now.version} is instrumented in part, not hooked: ")
    assert "fortunes (proxywhirl.rotator:ProxyWhirl.tell_fortune): expected it to exist, found nothing" in told
    assert "weather (proxywhirl.weather:Forecast.rain): there is no module proxywhirl.weather" in told


def test_what_does_not_fit_in_a_module_imported_later_is_named_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, at the end of its import, and not before."""
    import proxywhirl.safe_regex

    def odd(public_only: bool) -> list[Hook]:
        return [Hook("later", "proxywhirl.safe_regex:fortune", lambda original: original)]

    monkeypatch.setattr(integration, "_PARTS", (*integration._PARTS, odd))
    monkeypatch.setattr(proxywhirl, "safe_regex", proxywhirl.safe_regex)
    monkeypatch.delitem(sys.modules, "proxywhirl.safe_regex")
    now = install()
    assert [*now.unhooked] == []
    assert "later" in now.waiting
    assert caplog.records == []
    importlib.import_module("proxywhirl.safe_regex")
    assert [each.name for each in now.unhooked] == ["later"]
    [told] = caplog.records
    assert "later (proxywhirl.safe_regex:fortune): expected it to exist, found nothing" in told.getMessage()


def test_before_the_import_everything_waits_and_nothing_is_imported(start_worker: Any) -> None:
    """install() imports nothing; the import is instrumented as it ends, and no warning is logged on the way."""
    worker: Worker = start_worker(
        """
        from logbus.integrations.proxywhirl import install, uninstall
        logging.basicConfig(level=logging.WARNING)
        now = install()
        early = sorted({"proxywhirl", "pydantic", "httpx", "loguru"} & set(sys.modules))
        before = [len(now.hooked), len(now.unhooked), len(now.waiting)]
        import proxywhirl.api
        after = [len(now.hooked), len(now.unhooked), "sync requests" in now.hooked]
        uninstall()
        from proxywhirl.rotator import ProxyWhirl
        say(early=early, before=before, after=after, left="strategy" in vars(ProxyWhirl), meta=len(sys.meta_path))
        """
    )
    said = worker.finish()
    assert said["early"] == []
    assert said["before"][:2] == [0, 0]
    assert said["before"][2] >= 7
    assert said["after"][0] >= 7
    assert said["after"][1:] == [0, True]
    assert said["left"] is False
    assert "WARNING" not in worker.stderr


def test_a_forked_child_is_instrumented_too(start_worker: Any) -> None:
    """What was installed before a fork is in force in the child, and can be taken off there alone."""
    worker: Worker = start_worker(
        """
        import warnings
        warnings.simplefilter("ignore")
        from logbus.integrations.proxywhirl import install, installed, uninstall
        import proxywhirl
        install()
        if (pid := os.fork()) == 0:
            hooked = len(installed().hooked)
            uninstall()
            say(child=hooked, left="strategy" in vars(proxywhirl.ProxyWhirl))
            os._exit(0)
        os.waitpid(pid, 0)
        say(parent=len(installed().hooked))
        """
    )
    child, parent = worker.hear(), worker.hear()
    worker.finish()
    assert child == {"child": parent["parent"], "left": False}
    assert parent["parent"] >= 7
