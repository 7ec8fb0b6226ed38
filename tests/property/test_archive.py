"""The life of an archive: any order of rotations, turns, deaths, restarts, operators and clocks."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logbus.collectors.retention import Kept, parse_retention
from logbus.collectors.rotation import Moment
from tests.dying import Died, Dying
from tests.lives import Life, archived, lines_of

RETENTION = "4 files", "100 s"


class ArchiveLives(RuleBasedStateMachine):
    """What lies on the disk against a model that knows no file system: lists of lines, and when each was rotated."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="lb-archive-"))
        self.now = Moment.now()
        self.real_now = Moment.now
        Moment.now = classmethod(lambda cls: self.now)  # type: ignore[assignment, method-assign]
        self.number = 0
        #: Lines in the active file, and those of each rotated file that is to be there, with its moment.
        self.active: list[str] = []
        self.files: list[tuple[list[str], Moment]] = []
        self.foreign: dict[Path, str] = {}
        self.life = Life(self.directory)

    @initialize(kind=st.sampled_from([None, "gz", "zst"]))
    def begin(self, kind: str | None) -> None:
        """The first life."""
        self._revive(kind)

    @rule(lines=st.integers(1, 2))
    def write(self, lines: int) -> None:
        """Lines for the active file."""
        for _ in range(lines):
            self.number += 1
            self.life.write(f"line {self.number}")
            self.active.append(f"line {self.number}")

    @rule()
    def rotate(self) -> None:
        """A rotation that succeeds."""
        if self.active:
            self.life.rotate()
            self.files.append((self.active, self.now))
            self.active = []

    @rule()
    def turn(self) -> None:
        """One turn of the slow side."""
        self.life.turn()

    @rule(at=st.integers(1, 25), torn=st.booleans(), turns=st.integers(0, 2), kind=st.sampled_from([None, "gz", "zst"]))
    def die(self, at: int, torn: bool, turns: int, kind: str | None) -> None:
        """A rotation and turns that end in death, at whichever call, and the next life, configured differently."""
        rotated = False
        try:
            with Dying(at, torn=torn):
                if self.active:
                    self.life.rotate()
                    rotated = True
                for _ in range(turns):
                    self.life.turn()
        except Died:
            pass
        self.life.bury()
        self._revive(kind)
        if self.active and (rotated or lines_of(self.life.path) == []):
            self.files.append((self.active, self.now))
            self.active = []

    @rule(kind=st.sampled_from([None, "gz", "zst"]))
    def restart(self, kind: str | None) -> None:
        """An end in order, and the next life."""
        self.life.close()
        self._revive(kind)

    @rule(seconds=st.sampled_from([-1e8, -3600.0, 3600.0, 1e8]))
    def set_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.now = Moment(self.now.wall + seconds, self.now.steady)

    @rule(seconds=st.sampled_from([0.0, 30.0, 70.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now = Moment(self.now.wall + seconds, self.now.steady + seconds)

    @rule(data=st.data())
    def operator_removes(self, data: st.DataObject) -> None:
        """Somebody removes a rotated file."""
        self._rest()
        ours = [path for path in archived(self.directory) if path not in self.foreign]
        if ours:
            path = data.draw(st.sampled_from(ours))
            lines = lines_of(path)
            path.unlink()
            self.files = [file for file in self.files if file[0] != lines]

    @rule(suffix=st.sampled_from(["", ".gz", ".gz.part", ".zst"]), year=st.sampled_from([2001, 2099]))
    def plant(self, suffix: str, year: int) -> None:
        """Somebody leaves a file with a fitting name."""
        path = self.life.path.with_name(f"app.{year}0101T000000.{len(self.foreign):06}Z.jsonl{suffix}")
        path.write_text(f"foreign {year}{suffix}\n")
        self.foreign[path] = path.read_text()

    @rule()
    def look(self) -> None:
        """After some turns the disk holds what it is to hold, in the order of the names, and nothing else."""
        self._rest()
        ours = [path for path in archived(self.directory) if path not in self.foreign]
        found = [lines_of(path) for path in ours]
        assert found == [lines for lines, _ in self.files]
        assert lines_of(self.life.path) == self.active
        document = self.life.archive.document()
        assert (document["files"], document["waiting"]) == (len(ours), 0)
        assert document["bytes"] == sum(path.stat().st_size for path in ours)
        assert self.life.told == []

    @invariant()
    def what_is_not_ours_stays(self) -> None:
        """At every moment."""
        assert {path: path.read_text() for path in self.foreign} == self.foreign

    def teardown(self) -> None:
        """Nothing stays behind."""
        self.life.close()
        Moment.now = self.real_now  # type: ignore[method-assign]
        shutil.rmtree(self.directory)

    def _revive(self, kind: str | None) -> None:
        with Dying():
            self.life = Life(self.directory, retention=RETENTION, compression=kind).open()

    def _rest(self) -> None:
        self.life.shelf._refresh_at = 0.0
        with Dying():  # which syncs nothing
            self.life.rest()
        ages = [Kept(self.now.steady - rotated.steady, 1) for _, rotated in self.files]
        overdue = parse_retention(RETENTION).overdue(ages)
        self.files = [file for index, file in enumerate(self.files) if index not in overdue]


TestArchiveLives = ArchiveLives.TestCase
TestArchiveLives.settings = settings(max_examples=60, stateful_step_count=30)
