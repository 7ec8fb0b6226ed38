"""What is replaced is put back as it was, unless somebody has put something on top."""

from __future__ import annotations

from typing import Any

from logbus.producers.patch import Patch


class Shop:
    """Something that belongs to somebody else."""

    def sell(self) -> str:
        """What is replaced."""
        return "sold"


class Till(Shop):
    """It only inherits."""


def louder(original: Any) -> Any:
    """A replacement that calls what it found."""
    return lambda self: original(self).upper()


def test_it_replaces_and_puts_back() -> None:
    """What stood there itself stands there again."""
    found = vars(Shop)["sell"]
    patch = Patch(Shop, "sell", louder)
    assert Shop().sell() == "SOLD"
    assert patch.remove()
    assert vars(Shop)["sell"] is found


def test_what_was_only_inherited_is_taken_off() -> None:
    """A class that had none of its own has none afterwards."""
    patch = Patch(Till, "sell", louder)
    assert Till().sell() == "SOLD"
    assert patch.remove()
    assert "sell" not in vars(Till)


def test_what_somebody_has_put_on_top_stays() -> None:
    """His calls lead through ours still; nobody is cut off."""
    found = vars(Shop)["sell"]
    patch = Patch(Shop, "sell", louder)
    ours = vars(Shop)["sell"]
    theirs = lambda self: ours(self) + "!"  # noqa: E731
    Shop.sell = theirs  # type: ignore[method-assign]
    try:
        assert not patch.remove()
        assert Shop().sell() == "SOLD!"
    finally:
        Shop.sell = found  # type: ignore[method-assign]
