"""The file sink: whole lines, appended by one collector alone, whatever others do to the file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logbus.bus import Endpoint
from logbus.collectors.claim import Claim
from logbus.collectors.sinks import file as file_module
from logbus.collectors.sinks.file import FileSink
from logbus.errors import OwnedError, SinkError
from tests.collector_command import child_environment
from tests.small_disk import can_mount, small_disk

MakeSink = Callable[..., FileSink]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the sinks of a test write."""
    return tmp_path / "logs" / "app.jsonl"


@pytest.fixture
def sink(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSink]:
    """Makes sinks that look at their file before every write, and closes them."""
    monkeypatch.setattr(file_module, "LOOK_S", 0.0)
    made: list[FileSink] = []

    def make(*, json_lines: bool = True, opened: bool = True, at: Path = path) -> FileSink:
        made.append(FileSink("main", at, json_lines=json_lines))
        if opened:
            made[-1].open()
        return made[-1]

    yield make
    for each in made:
        each.close()


def write(sink: FileSink, data: bytes) -> None:
    """What a writer does: look, say what comes, write."""
    sink.look()
    intent = sink.intent(1, len(data), 0, ())
    assert Path(intent.path).stat().st_size == intent.offset
    assert (Path(intent.path).stat().st_ino, Path(intent.path).stat().st_dev) == (intent.inode, intent.device)
    sink.write(data)


@contextlib.contextmanager
def room(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_new_file_is_for_owner_and_group(sink: MakeSink, path: Path) -> None:
    """The file has mode 0640 and every directory that was made 0750; lines are appended."""
    deep = path.parent / "a" / "b" / "app.jsonl"
    umask = os.umask(0)
    try:
        log = sink(at=deep)
    finally:
        os.umask(umask)
    write(log, b"1\n")
    write(log, b"2\n3\n")
    assert deep.read_bytes() == b"1\n2\n3\n"
    assert stat.S_IMODE(deep.stat().st_mode) == 0o640
    assert {stat.S_IMODE(made.stat().st_mode) for made in (deep.parent, deep.parents[1], path.parent)} == {0o750}


def test_what_is_there_stays(sink: MakeSink, path: Path) -> None:
    """An existing file is appended to."""
    path.parent.mkdir()
    path.write_bytes(b'{"a":1}\n')
    write(sink(), b"2\n")
    assert path.read_bytes() == b'{"a":1}\n2\n'


def test_a_file_has_one_writer(sink: MakeSink, path: Path, directories: Path) -> None:
    """A second sink is refused with the name and pid of the collector that has the file, in another process too."""
    claim = Claim(Endpoint.parse(f"ipc://{directories}/bus/records"), name="eu")
    log = sink()
    program = (
        "import pathlib, sys\nfrom logbus.collectors.sinks.file import FileSink\nfrom logbus.errors import OwnedError\n"
        "try: FileSink('main', pathlib.Path(sys.argv[1]), json_lines=True).open()\n"
        "except OwnedError as error: print(error.exit_code, error.name, error.pid, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, env=child_environment()
    )
    assert done.stdout.startswith(f"3 eu {os.getpid()} file {path} is owned by collector 'eu' (pid {os.getpid()})")
    with pytest.raises(OwnedError):
        sink()
    log.close()
    write(sink(), b"1\n")
    claim.release()


def test_a_lock_of_somebody_who_is_no_collector(sink: MakeSink, path: Path) -> None:
    """A file that another program has locked is owned by another process, with its pid."""
    path.parent.mkdir()
    with path.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OwnedError, match=rf"is owned by another process \(pid {os.getpid()}\)"):
            sink()


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "pipe", "device"])
def test_what_is_not_a_regular_file_is_refused(sink: MakeSink, path: Path, tmp_path: Path, kind: str) -> None:
    """A link that somebody planted is not followed, and nothing else that is no file is written to."""
    path.parent.mkdir()
    target = tmp_path / "target"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/full")
    else:
        path.symlink_to(target)
        if kind == "link":
            target.write_text("precious")
    with pytest.raises(SinkError, match="found a symbolic link" if "link" in kind else "main"):
        sink(at=path)
    assert not target.exists() or target.read_text() == "precious"


def test_a_directory_that_can_not_be_made_is_said(sink: MakeSink, path: Path) -> None:
    """The message has the sink, the path and the reason."""
    path.parent.write_text("a file")
    with pytest.raises(SinkError, match=r"sink 'main': .*app\.jsonl: can't be opened: Not a directory"):
        sink()


@pytest.mark.parametrize(
    ("left", "kept", "cut"),
    [
        (b"", b"", 0),
        (b'{"a":1}\n', b'{"a":1}\n', 0),
        (b'{"a":1}\n{"b":', b'{"a":1}\n', 5),
        (b'{"b":', b"", 5),
        (b'{"a":1}\n{"b":2}', b'{"a":1}\n{"b":2}\n', 0),
        (b'{"a":1}\n\0\0\0', b'{"a":1}\n', 3),
        (b'{"a":1}\n' + b"x" * 200_000, b'{"a":1}\n', 200_000),
        (b"x" * 65_536, b"", 65_536),
        (b'{"a":1}\n{"b":"\xff', b'{"a":1}\n', 7),
    ],
    ids=range(9),
)
def test_a_torn_last_line_is_cut(sink: MakeSink, path: Path, left: bytes, kept: bytes, cut: int) -> None:
    """What a crash left of a JSON line is cut off, however long; a whole line gets its newline and stays."""
    path.parent.mkdir()
    path.write_bytes(left)
    log = sink()
    assert path.read_bytes() == kept
    assert log.cut == cut
    write(log, b"9\n")
    assert path.read_bytes() == kept + b"9\n"


def test_a_text_file_loses_nothing(sink: MakeSink, path: Path) -> None:
    """Where no end of line can be missed, a line without newline is ended, not destroyed."""
    path.parent.mkdir()
    path.write_bytes(b"somebody's notes, without newline")
    log = sink(json_lines=False)
    write(log, b"1\n")
    assert path.read_bytes() == b"somebody's notes, without newline\n1\n"
    assert log.cut == 0


def test_a_file_that_was_moved_is_left_to_its_mover(sink: MakeSink, path: Path) -> None:
    """As logrotate does it: what was written stays in the moved file, what comes goes into a new one."""
    log = sink()
    write(log, b"1\n")
    moved = path.rename(path.with_suffix(".1"))
    assert log.look(2) == sys.maxsize  # without a rotation there is room for anything
    write(log, b"2\n")
    assert (moved.read_bytes(), path.read_bytes()) == (b"1\n", b"2\n")
    with moved.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and it is nobody's any more


def test_a_move_is_noticed_in_time_or_at_once(sink: MakeSink, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks the old file is written to, which loses nothing; a request looks at once."""
    monkeypatch.setattr(file_module, "LOOK_S", 3600.0)
    log = sink()
    moved = path.rename(path.with_suffix(".1"))
    log.look()
    log.write(b"1\n")
    assert not path.exists()
    log.reopen()
    write(log, b"2\n")
    assert (moved.read_bytes(), path.read_bytes()) == (b"1\n", b"2\n")


def test_a_directory_that_was_removed_is_made_again(sink: MakeSink, path: Path) -> None:
    """Nothing but what was in the removed file is gone."""
    log = sink()
    write(log, b"1\n")
    path.unlink()
    path.parent.rmdir()
    write(log, b"2\n")
    assert path.read_bytes() == b"2\n"


@pytest.mark.parametrize("directory_too", [False, True])
def test_nothing_is_written_to_a_file_that_has_been_removed(
    sink: MakeSink, path: Path, monkeypatch: pytest.MonkeyPatch, directory_too: bool
) -> None:
    """A moved file still has what comes until the next look, a removed one would swallow it: that is seen at once."""
    monkeypatch.setattr(file_module, "LOOK_S", 3600.0)
    log = sink()
    write(log, b"1\n")
    path.unlink()
    if directory_too:
        path.parent.rmdir()
    write(log, b"2\n")
    assert path.read_bytes() == b"2\n"


@pytest.mark.parametrize("obstacle", ["directory", "link", "foreign lock", "file for the directory"])
def test_nothing_is_written_to_a_file_that_has_lost_its_name(
    sink: MakeSink, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """While something is in the way of the new file every look fails, the second and third as well."""
    monkeypatch.setattr(file_module, "LOOK_S", 3600.0)
    log = sink()
    write(log, b"1\n")
    path.unlink()
    other = None
    if obstacle == "directory":
        path.mkdir()
    elif obstacle == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif obstacle == "foreign lock":
        other = path.open("wb")
        fcntl.flock(other, fcntl.LOCK_EX)
    else:
        path.parent.rmdir()
        path.parent.write_text("")
    with pytest.raises((OSError, SinkError, OwnedError)):
        log.reopen()
    for _ in range(3):
        with pytest.raises((OSError, SinkError, OwnedError)):
            log.look()
    if obstacle == "directory":
        path.rmdir()
    elif obstacle == "file for the directory":
        path.parent.unlink()
    else:
        path.unlink()
    if other is not None:
        other.close()
    write(log, b"2\n")
    assert path.read_bytes() == b"2\n"
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_truncated_in_place_goes_on_at_its_end(
    sink: MakeSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As copytruncate does it: no hole of zeros, also when the very next write fails."""
    monkeypatch.setattr(file_module, "LOOK_S", 3600.0)
    log = sink()
    write(log, b"1\n" * 100)
    os.truncate(path, 0)
    write(log, b"2\n")
    assert path.read_bytes() == b"2\n"
    os.truncate(path, 0)
    log.look()
    with room(4), pytest.raises(OSError, match="File too large"):
        log.write(b'{"a":3}\n')
    assert log.undo()
    assert path.read_bytes() == b""


def test_a_file_truncated_under_a_write_that_fails_is_not_filled_up(sink: MakeSink, path: Path) -> None:
    """Cutting it to where the write began would make it longer: nobody can tell what is in it, and that is said."""
    log = sink()
    write(log, b"1\n" * 100)
    os.truncate(path, 0)
    with room(4), pytest.raises(OSError, match="File too large"):
        log.write(b'{"a":3}\n')
    assert not log.undo()
    write(log, b"4\n")
    assert path.read_bytes() == b"4\n"


@pytest.mark.parametrize(
    ("foreign", "kept"),
    [(b"echo", b""), (b'{"b":2}', b'{"b":2}\n'), (b"whole\n", b"whole\n")],
    ids=["torn", "json", "line"],
)
def test_what_another_program_appends_does_not_join_our_lines(
    sink: MakeSink, path: Path, foreign: bytes, kept: bytes
) -> None:
    """Half a line of somebody else's is cut or ended before the next of ours; the intent knows where that begins."""
    log = sink()
    write(log, b"1\n")
    with path.open("ab") as other:
        other.write(foreign)
    write(log, b"2\n")
    assert path.read_bytes() == b"1\n" + kept + b"2\n"


def test_a_failed_write_leaves_nothing(sink: MakeSink, path: Path) -> None:
    """What went out of it is taken back: the file ends where it ended before."""
    log = sink()
    write(log, b"1\n")
    with room(1000), pytest.raises(OSError, match="File too large"):
        log.write(b"x" * 5000 + b"\n")
    assert path.stat().st_size == 1000
    assert log.undo()
    assert path.read_bytes() == b"1\n"
    write(log, b"2\n")
    assert path.read_bytes() == b"1\n2\n"


def test_a_full_disk_leaves_nothing(sink: MakeSink, tmp_path: Path) -> None:
    """The same on a real file system without room, until it has some."""
    if not can_mount():
        pytest.skip("mounting a small disk is not allowed here")
    with small_disk(tmp_path / "disk", 4) as disk:
        log = sink(at=disk.path / "app.jsonl")
        write(log, b"1\n")
        with pytest.raises(OSError) as full:  # noqa: PT011 (its number is looked at)
            log.write(b"x" * disk.size + b"\n")
        assert full.value.errno == errno.ENOSPC
        assert log.undo()
        assert (disk.path / "app.jsonl").read_bytes() == b"1\n"
        data = b"y" * disk.size + b"\n"
        disk.grow(16)
        write(log, data)
        assert (disk.path / "app.jsonl").read_bytes() == b"1\n" + data
        log.close()


def test_closing_twice_is_closing_once(sink: MakeSink, path: Path) -> None:
    """A closed sink gives up the lock, closes no descriptor of others, and opens again."""
    log = sink()
    log.close()
    with path.open("rb") as other:
        log.close()
        assert other.read() == b""
    log.look()
    write(log, b"1\n")
    assert path.read_bytes() == b"1\n"


def test_an_undo_without_a_file_can_not_tell(sink: MakeSink) -> None:
    """Where cutting fails nobody knows what is in the file."""
    log = sink()
    log.close()
    assert log.undo() is False


def test_a_last_line_that_is_none_of_ours_is_not_read(
    sink: MakeSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that ends in gigabytes without a newline costs no memory: it gets one, and nothing of it is cut."""
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(b"{}\n")
        file.truncate(64 * 1024 * 1024 * 1024)
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        read.append(length)
        assert sum(read) < 100_000_000, "it reads all of the file"
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    log = sink()
    assert log.cut == 0
    write(log, b"{}\n")
    with path.open("rb") as written:
        written.seek(-6, os.SEEK_END)
        assert written.read() == b"\0\0\n{}\n"


def test_an_old_file_that_complains_when_it_is_closed(
    sink: MakeSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed all the same, as the kernel does it, and only once: its number may be somebody else's by then."""
    log = sink()
    write(log, b"1\n")
    path.unlink()
    old = log._fd
    closed: list[int] = []
    close = os.close

    def complain(fd: int) -> None:
        close(fd)
        if fd == old:
            closed.append(fd)
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", complain)
        with pytest.raises(OSError, match="quota"):
            log.look()
        write(log, b"2\n")
        log.close()
    assert path.read_bytes() == b"2\n"
    assert closed == [old]
