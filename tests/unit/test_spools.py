"""The spools of a collector by the names of its sinks."""

from __future__ import annotations

from pathlib import Path

from logbus.collectors.spool.spools import Spools


def test_a_sink_has_one_spool(tmp_path: Path) -> None:
    """The same object each time; nothing is made before it is used."""
    spools = Spools(tmp_path, print)
    assert spools.of("a") is spools.of("a")
    assert spools.of("a") is not spools.of("b")
    assert spools.names() == []
    assert list(tmp_path.iterdir()) == []


def test_spools_on_disk_are_known_by_name(tmp_path: Path) -> None:
    """After a restart, also those of sinks that nobody has configured any more; what is no spool is told."""
    spools = Spools(tmp_path, print)
    for name in ("b/..", "a"):
        spools.of(name).open(0)
        spools.of(name).configure(1 << 20, "d")
        spools.of(name).append(0, [b"x\n"], b"\x02")
    spools.close()
    spools.close()
    (tmp_path / "spools" / "not ours").mkdir()
    told: list[str] = []
    again = Spools(tmp_path, told.append)
    assert again.names() == ["a", "b/.."]
    assert len(told) == 1
    assert again.of("b/..").open(0).records == 1
    again.close()


def test_a_directory_that_cannot_be_listed_stops_nobody(tmp_path: Path) -> None:
    """It is told."""
    (tmp_path / "spools").write_text("a file")
    told: list[str] = []
    assert Spools(tmp_path, told.append).names() == []
    assert len(told) == 1
