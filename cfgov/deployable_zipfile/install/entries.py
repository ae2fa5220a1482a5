"""One wheel in the store: its files and their recorded state.

Files of an entry may be one and the same as files of installations (hard links), so an edit of one is an edit of all.
An entry therefore keeps for every file its digest, and the inode, size and times that it had when the digest was
last known to be right. A file that differs in one of them is read and compared before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import struct
from typing import Dict, Iterator, Optional, Tuple

from .. import durable
from ..definitions import NamedTuple

FORMAT = 1  # of a store, and so of every entry
INDEX, _SEEN = "index", "seen"
_MAX_INDEX = 128 * 1024 * 1024  # bytes
_TIMES = struct.Struct("<Qqq")
_NEVER = (0, 0, 0)

Seen = Tuple[int, int, int]  # inode, mtime_ns, ctime_ns


class Row(NamedTuple):
    """What one file of an entry is."""

    mode: int
    size: int  # bytes
    sha256: str  # hexadecimal


class Entry:
    """One wheel in the store.

    Attributes:
        key: its name, see :func:`key_of`.
        label: the wheel's file name.
        folder: absolute path.
        rows: every file by its path in the folder.
        seen: what each file was like when its content was last known to be right.
    """

    def __init__(self, key: str, label: str, folder: str, rows: Dict[str, Row], seen: Dict[str, Seen]) -> None:
        self.key = key
        self.label = label
        self.folder = folder
        self.rows = rows
        self.seen = seen


class Damaged(ValueError):
    """An entry that cannot be read, or is not whole."""


def key_of(wheel: str, bytecode: str, cache_tag: str) -> str:
    """Return the name of the entry for a wheel.

    Parameters:
        wheel, bytecode: SHA-256 of the wheel and of its bytecode archive, "" when it has none.
        cache_tag: of the Python that reads the bytecode.
    """
    text = f"{FORMAT}\n{wheel}\n{bytecode}\n{cache_tag}\n"
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_entry(folder: str, key: str) -> Optional[Entry]:
    """Return the entry *key* in *folder*, None when there is none. Its files have not been looked at.

    Raises:
        Damaged: its index cannot be read, is not whole, or is of another entry.
    """
    if not os.path.lexists(folder):
        return None
    try:
        text = durable.read_file(os.path.join(folder, INDEX), _MAX_INDEX)
        digest, _, body = text.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode("ascii") != digest:
            raise ValueError("its checksum is wrong")
        document = json.loads(body)
        if document["key"] != key:
            raise ValueError("it is of another entry")
        rows = {str(name): Row(mode, size, sha256) for name, mode, size, sha256 in document["files"]}
        label = str(document["wheel"])
        seen = os.path.join(folder, _SEEN)
        if os.path.lexists(seen) and not stat.S_ISREG(os.lstat(seen).st_mode):
            raise ValueError(f"{_SEEN} is not a file")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Damaged(f"{INDEX}: {reason}") from None
    return Entry(key, label, folder, rows, _read_seen(folder, rows))


def write_index(entry: Entry) -> None:
    """Write what *entry* is into its folder, once: an entry is never changed.

    Raises:
        OSError: it cannot be written.
    """
    files = [[name, row.mode, row.size, row.sha256] for name, row in entry.rows.items()]
    document = {"key": entry.key, "wheel": entry.label, "files": files}
    body = json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
    descriptor = os.open(os.path.join(entry.folder, INDEX), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with open(descriptor, "wb") as file:
        file.write(hashlib.sha256(body).hexdigest().encode("ascii") + b"\n" + body)


def write_seen(entry: Entry) -> None:
    """Write what the files of *entry* were last like.

    Nothing is lost when a crash undoes it or cuts it short: it has a checksum, and without it the files are read.
    So it is written anew and not renamed over the old one, for which ext4 would wait for the disk.
    """
    path = os.path.join(entry.folder, _SEEN)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    body = b"".join(_TIMES.pack(*entry.seen.get(name, _NEVER)) for name in entry.rows)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:
        file.write(hashlib.sha256(body).digest() + body)


def seen_of(entry: Entry, name: str) -> Optional[Seen]:
    """Return what the file *name* of *entry* is like; None when its kind, size or mode is another than it should be."""
    try:
        status = os.lstat(f"{entry.folder}/{name}")
    except OSError:
        return None
    return seen_in(status, entry.rows[name])


def seen_in(status: os.stat_result, row: Row) -> Optional[Seen]:
    """Return the part of *status* that a write changes; None when kind, size or mode is not that of *row*."""
    if status.st_mode != stat.S_IFREG | row.mode or status.st_size != row.size:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def state_of(path: str, row: Row) -> str:
    """Return "missing", "changed", or "" when the file is what *row* says, content included."""
    return durable.state(lambda: seen_in(os.lstat(path), row) is not None and durable.digest(path) == row.sha256)


def _read_seen(folder: str, rows: Dict[str, Row]) -> Dict[str, Seen]:
    try:
        text = durable.read_file(os.path.join(folder, _SEEN), _MAX_INDEX)
    except OSError:
        return {}
    body = text[32:]
    if len(body) != len(rows) * _TIMES.size or hashlib.sha256(body).digest() != text[:32]:
        return {}
    return {name: values for name, values in zip(rows, _TIMES.iter_unpack(body)) if values != _NEVER}


def is_linked(folder: str) -> bool:
    """Tell whether a file of the entry in *folder* has another name."""
    return any(os.lstat(os.path.join(folder, name)).st_nlink > 1 for name in files_in(folder))


def files_in(folder: str) -> Iterator[str]:
    """Yield everything in the folder of an entry but folders and our own files."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in [*names, *links]:
            inner = os.path.relpath(os.path.join(place, name), folder)
            if inner not in (INDEX, _SEEN):
                yield inner
