"""How a rotated file becomes its compressed form, so that at every moment one of the two is there and whole.

The steps, each written down before it is taken: a name that ends in ``.part``, made anew and never an existing file;
everything into it, and onto the disk; its last name, which a hard link gives without ever replacing a file; then the
plain file goes. A crash leaves a partial one or two whole ones, and the journal tells which: :meth:`Packer.settle`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from logbus.collectors.replace import sync_names
from logbus.collectors.sinks.compress import compress
from logbus.collectors.sinks.entry import COMPRESSED, PACKED, PACKING, PART, PLAIN, Entry
from logbus.collectors.sinks.folder import create, is_file, is_ours, open_for_reading, remove, remove_empty, status

#: What a file system says that has no hard links, or won't have more of them.
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})


class Packer:
    """Compresses rotated files to ``kind``.

    ``note`` writes an entry down, ``sync`` brings what was written down onto the disk, and ``go_on`` says whether there
    is time left.
    """

    def __init__(
        self, kind: str, *, note: Callable[[Entry], None], sync: Callable[[], None], go_on: Callable[[], bool]
    ) -> None:
        self._kind = kind
        self._note = note
        self._sync = sync
        self._go_on = go_on

    def pack(self, entry: Entry, folder: int) -> str | None:
        """Compresses a plain file; what is in the way of ever doing so, else None (the state of the entry says more).

        ``folder`` is the descriptor of its directory. Raises OSError when it may be tried again: the file is a plain
        one still, or :meth:`settle` takes it from there. FileNotFoundError: the file has gone.
        """
        if not is_file(folder, entry.name, entry.inode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry.name)
        source = open_for_reading(folder, entry.name)
        try:
            info = os.fstat(source)
            packed = f"{entry.name}.{self._kind}"
            if status(folder, packed) is not None or status(folder, packed + PART) is not None:
                return f"{packed} or {packed}{PART} is there, and not ours"
            entry.state, entry.packed, entry.packed_inode = PACKING, packed, 0
            self._note(entry)
            try:
                whole = self._write(entry, folder, source, info)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._discard(entry, folder)
                raise
            if not whole:
                self._discard(entry, folder)
                return None
        finally:
            os.close(source)
        self._install(entry, folder)
        return None

    def settle(self, entry: Entry, folder: int) -> None:
        """Finishes or undoes what was under way when the collector died. Raises OSError; FileNotFoundError: all of it
        has gone.
        """
        if entry.state == PACKED:
            self._install(entry, folder)
        elif entry.state == PACKING:
            self._discard(entry, folder)

    def _write(self, entry: Entry, folder: int, source: int, plain: os.stat_result) -> bool:
        """Writes all of the compressed form onto the disk. False when there was no time, or the file has changed."""
        target = create(folder, entry.packed + PART)
        try:
            entry.packed_inode = os.fstat(target).st_ino
            self._note(entry)
            read = compress(source, target, self._kind, go_on=self._go_on)
            if read is None or read != os.fstat(source).st_size:
                return False
            _dress(target, plain)
            os.fsync(target)
            if not self._go_on():
                return False
            entry.state, entry.size = PACKED, os.fstat(target).st_size
            self._note(entry)
            return True
        finally:
            os.close(target)

    def _discard(self, entry: Entry, folder: int) -> None:
        """Removes a compressed form that is not whole; the file is a plain one again."""
        part = entry.packed + PART
        if entry.packed_inode:
            remove(folder, part, entry.packed_inode)
        else:
            remove_empty(folder, part)
        _make_plain(entry, status(folder, entry.name))
        self._note(entry)

    def _install(self, entry: Entry, folder: int) -> None:
        """Gives the compressed form its name and removes the plain file."""
        self._sync()  # before anything is removed, the disk knows what takes its place
        part, inode = entry.packed + PART, entry.packed_inode
        there = status(folder, entry.packed)
        if there is None and is_file(folder, part, inode):
            _name(folder, part, entry.packed)
            there = status(folder, entry.packed)
        if there is None or not is_ours(there, inode):
            # Somebody has removed it, or taken the name meanwhile: the plain file stays.
            self._discard(entry, folder)
            return
        sync_names(folder)
        remove(folder, part, inode)
        remove(folder, entry.name, entry.inode)
        entry.state = COMPRESSED
        self._note(entry)


def _make_plain(entry: Entry, info: os.stat_result | None) -> None:
    """Raises FileNotFoundError when there is no plain file either."""
    if info is None or not is_ours(info, entry.inode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry.name)
    entry.state, entry.packed, entry.packed_inode, entry.size = PLAIN, "", 0, info.st_size


def _name(folder: int, part: str, packed: str) -> None:
    """Gives a file its last name, unless another one has it. Raises OSError."""
    try:
        os.link(part, packed, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Looked for just now; without links nothing better can be had.
        os.rename(part, packed, src_dir_fd=folder, dst_dir_fd=folder)


def _dress(target: int, plain: os.stat_result) -> None:
    """Gives the compressed form the times, the mode and, where allowed, the group of the plain file. Raises OSError."""
    if os.fstat(target).st_gid != plain.st_gid:
        with contextlib.suppress(PermissionError):
            os.fchown(target, -1, plain.st_gid)
    mode = stat.S_IMODE(plain.st_mode) & 0o777
    try:
        os.fchmod(target, mode)
    except PermissionError:  # a file system without modes of its own
        if stat.S_IMODE(os.fstat(target).st_mode) & ~mode:
            raise  # nobody shall read there what he could not read before
    with contextlib.suppress(PermissionError):
        os.utime(target, ns=(plain.st_atime_ns, plain.st_mtime_ns))
