"""What the things of a proxied request are called."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from logbus.integrations.proxywhirl.names import MAX_CHARS, active_text, known_proxy, proxy_fields, strategy_name
from logbus.producers.context import context


def test_the_fields_of_a_proxy_are_plain_short_and_masked() -> None:
    """Whatever its attributes are, texts in ASCII come out, and the same mapping for the same proxy."""
    proxy = SimpleNamespace(id="é" * 1000, url="http://user:word@10.0.0.1:1", source="üser")
    fields = proxy_fields(proxy)
    assert set(fields) == {"proxy_id", "proxy_url", "source"}
    assert fields["proxy_url"] == "http://***:***@10.0.0.1:1"
    assert fields["source"] == "\\xfcser"
    assert all(value.isascii() and len(value) <= 4 * MAX_CHARS for value in fields.values())
    assert dict(proxy_fields(proxy)) == dict(fields)


def test_a_proxy_that_changes_is_another_one() -> None:
    """What is kept is kept by id, URL and source."""
    proxy = SimpleNamespace(id="changing", url="http://10.0.0.1:1", source="user")
    before = proxy_fields(proxy)
    proxy.url = "http://10.0.0.1:2"
    assert (before["proxy_url"], proxy_fields(proxy)["proxy_url"]) == ("http://10.0.0.1:1", "http://10.0.0.1:2")


def test_a_proxy_that_was_seen_is_known_by_its_id() -> None:
    """For events that have no more than the id."""
    assert known_proxy("never seen") == {}
    fields = proxy_fields(SimpleNamespace(id="seen", url="http://10.0.0.1:1", source="user"))
    assert known_proxy("seen") == fields


@pytest.mark.parametrize("odd", [None, 7, "text", object(), SimpleNamespace(id=1, url=2)])
def test_what_is_no_proxy_has_no_fields(odd: object) -> None:
    """Nothing is raised."""
    assert proxy_fields(odd) == {}


def test_types_of_applications_have_their_own_names() -> None:
    """Short and in ASCII as well; a type that hides its name is unknown."""

    class Hiding(type):
        def __getattribute__(cls, name: str) -> object:
            raise RuntimeError(name)

    hidden = Hiding("Hidden", (), {})
    assert strategy_name(type("Größte", (), {})) == "Gr\\xf6\\xdfte"
    assert len(strategy_name(type("x" * 1000, (), {}))) == MAX_CHARS
    assert strategy_name(type("RandomStrategy", (), {"__module__": "shop"})) == "RandomStrategy"
    assert strategy_name(type("RandomStrategy", (), {"__module__": "proxywhirl.strategies"})) == "random"
    assert strategy_name(hidden) == "unknown"


def test_only_a_text_that_says_something_is_one() -> None:
    """Of the active context."""
    assert active_text("word") is None
    with context(word="yes", empty="", number=1, several=["a"]):
        assert [active_text(key) for key in ("word", "empty", "number", "several")] == ["yes", None, None, None]
