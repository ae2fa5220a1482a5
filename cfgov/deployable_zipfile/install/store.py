"""A store of unpacked wheels: each one is unpacked once, and shared by the installations of this machine.

An entry is a wheel with its bytecode. It is prepared in ``new``, put on the disk, and moved into place by one rename,
so that an entry is complete or absent whatever happens. Every command takes one lock, which ends with its process:
what is in ``new`` when the lock was just taken belongs to nobody.

Files of an entry may be one and the same as files of installations (hard links), so an edit of one is an edit of all.
The store therefore keeps for every file its digest, and the inode, size and times that it had when the digest was
last known to be right. A file that differs in one of them is read and compared before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import struct
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from .. import durable, removal
from ..artifact import strict_json
from ..errors import DestinationError
from ..signals import unbroken
from . import installed, inventory, ownership
from .destination import content_of

FORMAT = 1
MARK = "store.json"
ENTRIES = "entries"
_NEW = "new"
_REFERENCES = "references"
_INDEX, _SEEN = "index", "seen"
_MAX_INDEX = 128 * 1024 * 1024  # bytes
_KEY = re.compile(r"[0-9a-f]{64}\Z")
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


def is_store(path: str) -> bool:
    """Tell whether the folder *path* is a store."""
    try:
        text = durable.read_file(os.path.join(path, MARK), 4096)
        document = strict_json.bounded_json(text)
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("deployable-zipfile-store") == FORMAT


class Store:
    """The store in the folder *path*, which is made by :meth:`locked` when it is missing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries = os.path.join(path, ENTRIES)
        self.new = os.path.join(path, _NEW)
        self._references = os.path.join(path, _REFERENCES)

    def check(self) -> None:
        """Refuse a folder that is not a store, or that somebody else can change.

        Raises:
            DestinationError: saying why.
        """
        if not os.path.lexists(self.path):
            ownership.check_folder(os.path.dirname(self.path))
            return
        if not os.path.isdir(self.path):
            raise DestinationError(self.path, "is not a folder", "Name another folder with --store")
        ownership.check_folder(self.path, MARK, "lock", ENTRIES, _NEW, _REFERENCES)
        owner = os.stat(self.path).st_uid
        if owner not in (0, os.geteuid()):
            raise DestinationError(
                self.path, f"belongs to uid {owner}, who can change it", "Name a folder of your own with --store"
            )
        content = [name for name in content_of(self.path) if name not in ("lock", MARK, f".{MARK}.new")]
        if content and not is_store(self.path):
            raise DestinationError(
                self.path, f"is not empty and not a store (it holds {content[0]})", "Name another folder with --store"
            )

    @contextlib.contextmanager
    def locked(self, wait: float, tell: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Hold the store's lock, with everything there that a store has, and nothing unfinished.

        Parameters:
            wait: seconds to wait for another process.
            tell: called with one line when it has to wait: for whom, and how long.

        Raises:
            DestinationError: see :meth:`check`.
            OSError: the store cannot be written, or, as EAGAIN, somebody else has it.
        """
        self.check()
        os.makedirs(self.path, mode=0o755, exist_ok=True)
        self.check()  # once more, now that it exists: somebody else may have made it first
        path = os.path.join(self.path, "lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

        def waits() -> None:
            tell(durable.waiting(wait, f"store {self.path} is in use by {durable.holder(descriptor)}"))

        try:
            if not durable.take_lock(descriptor, wait, waits=waits):
                raise OSError(errno.EAGAIN, f"it is in use by {durable.holder(descriptor)}", self.path)
            durable.write_holder(descriptor, f"process {os.getpid()}\n")
            try:
                self._begin()
                yield
            finally:
                with unbroken(), contextlib.suppress(OSError):
                    self.clear()
        finally:
            os.close(descriptor)

    def _begin(self) -> None:
        if not is_store(self.path):
            text = json.dumps({"deployable-zipfile-store": FORMAT}).encode("ascii") + b"\n"
            durable.replace_file(os.path.join(self.path, MARK), text, 0o644)
        for folder in (self.entries, self._references):
            if not os.path.isdir(folder):
                os.mkdir(folder, 0o755)
        self.clear()

    def clear(self) -> None:
        """Remove what is unfinished, and what was taken out. The caller holds the lock."""
        if os.path.lexists(self.new):
            removal.remove_tree(self.new)

    def names(self) -> List[str]:
        """Return the keys of all entries, sorted."""
        try:
            return sorted(name for name in os.listdir(self.entries) if _KEY.match(name))
        except FileNotFoundError:
            return []

    def has(self, key: str) -> bool:
        """Tell whether there is an entry *key*; whether it is whole is another question."""
        return os.path.isfile(os.path.join(self.entries, key, _INDEX))

    def entry(self, key: str) -> Optional[Entry]:
        """Return the entry *key*, None when there is none. Its files have not been looked at.

        Raises:
            Damaged: its index cannot be read, is not whole, or is of another entry.
        """
        folder = os.path.join(self.entries, key)
        if not os.path.lexists(folder):
            return None
        try:
            text = durable.read_file(os.path.join(folder, _INDEX), _MAX_INDEX)
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
            raise Damaged(f"{_INDEX}: {reason}") from None
        return Entry(key, label, folder, rows, _read_seen(folder, rows))

    def save(self, entry: Entry) -> None:
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

    def publish(self, entries: List[Entry]) -> None:
        """Move *entries*, whose files are complete in ``new``, into their place; they are on the disk before that.

        Raises:
            OSError: the store cannot be written.
        """
        for entry in entries:
            files = [[name, row.mode, row.size, row.sha256] for name, row in entry.rows.items()]
            document = {"key": entry.key, "wheel": entry.label, "files": files}
            body = json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
            descriptor = os.open(os.path.join(entry.folder, _INDEX), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            with open(descriptor, "wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode("ascii") + b"\n" + body)
            self.save(entry)
        if not entries:
            return
        durable.sync_file_system(self.path)
        for entry in entries:
            place = os.path.join(self.entries, entry.key)
            if os.path.lexists(place):
                self.take_out(entry.key)
            os.rename(entry.folder, place)
            entry.folder = place
        durable.sync_folder(self.entries)

    def take_out(self, key: str) -> None:
        """Take the entry *key* out of the store, at one instant. Installations keep their files."""
        if not os.path.isdir(self.new):
            os.mkdir(self.new, 0o700)
        number = len(os.listdir(self.new))
        os.rename(os.path.join(self.entries, key), os.path.join(self.new, f"old-{number}-{key}"))

    def refer(self, destination: str, build_id: str, keys: List[str]) -> None:
        """Remember that the installation of *build_id* in *destination* has files of the entries *keys*."""
        document = {"destination": destination, "build_id": build_id, "entries": sorted(keys)}
        text = json.dumps(document, sort_keys=True).encode("ascii") + b"\n"
        durable.replace_file(self._reference(destination), text, 0o644)

    def _reference(self, destination: str) -> str:
        name = hashlib.sha256(os.fsencode(destination)).hexdigest()
        return os.path.join(self._references, f"{name}.json")

    def collect(self) -> List[str]:
        """Remove the entries that no installation has files of, and return their wheels' names, sorted.

        An entry stays when an installation that exists refers to it, or when a file of it has another name. The
        caller holds the lock.

        Raises:
            OSError: something cannot be removed.
        """
        gone = self.unused(tidy=True)
        for key in gone:
            with unbroken():
                self.take_out(key)
        self.clear()
        return sorted(gone.values())

    def unused(self, tidy: bool = False) -> Dict[str, str]:
        """Return the entries that :meth:`collect` removes, each with its wheel's name.

        Parameters:
            tidy: remove the references of installations that are gone; the caller holds the lock.
        """
        wanted = self._wanted(tidy)
        found = {}
        for key in self.names():
            if key in wanted or _is_linked(os.path.join(self.entries, key)):
                continue
            try:
                entry = self.entry(key)
                found[key] = entry.label if entry else key
            except Damaged:
                found[key] = key
        return found

    def _wanted(self, tidy: bool) -> Set[str]:
        """Return the entries that installations refer to."""
        wanted: Set[str] = set()
        for name in sorted(os.listdir(self._references)) if os.path.isdir(self._references) else []:
            path = os.path.join(self._references, name)
            try:
                document = strict_json.bounded_json(durable.read_file(path, 4 * 1024 * 1024))
                keys = {str(key) for key in document["entries"]}
                there = _is_there(str(document["destination"]), str(document["build_id"]))
            except (OSError, ValueError, KeyError, TypeError):
                there, keys = False, set()
            if there:
                wanted |= keys
            elif tidy:
                os.unlink(path)
        return wanted

    def track(self) -> Dict[str, Entry]:
        """Return every entry with its files as they are now, those left out that may have been edited.

        Removing an installation changes the times of the files that it shared. Called before and given to
        :meth:`follow` afterwards, this keeps the store from reading all of them at its next use.
        """
        found = {}
        for key in self.names():
            with contextlib.suppress(Damaged):
                entry = self.entry(key)
                if entry is not None:
                    entry.seen = {name: seen for name, seen in entry.seen.items() if seen == seen_of(entry, name)}
                    found[key] = entry
        return found

    def follow(self, tracked: Dict[str, Entry]) -> None:
        """Remember the files of *tracked* as they are now, as far as no content was written meanwhile."""
        for entry in tracked.values():
            before, entry.seen = entry.seen, {}
            for name, old in before.items():
                now = seen_of(entry, name)
                if now is not None and now[:2] == old[:2]:
                    entry.seen[name] = now
            if os.path.isdir(entry.folder):
                self.save(entry)

    def drift(self) -> inventory.Drift:
        """Read every file of every entry and compare it with what was unpacked."""
        changed: List[str] = []
        missing: List[str] = []
        added: List[str] = []
        checked = 0
        for key in self.names():
            inner = f"{ENTRIES}/{key}"
            try:
                entry = self.entry(key)
            except Damaged:
                changed.append(f"{inner}/{_INDEX}")
                continue
            if entry is None:
                continue
            for name, row in entry.rows.items():
                state = state_of(os.path.join(entry.folder, name), row)
                (missing if state == "missing" else changed if state else []).append(f"{inner}/{name}")
            checked += len(entry.rows)
            added += [f"{inner}/{name}" for name in _files_in(entry.folder) if name not in entry.rows]
        return inventory.Drift(sorted(changed), sorted(missing), sorted(added), checked)


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
    try:
        status = os.lstat(path)
        if seen_in(status, row) is None:
            return "changed"
        return "" if durable.digest(path) == row.sha256 else "changed"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "changed"


def _read_seen(folder: str, rows: Dict[str, Row]) -> Dict[str, Seen]:
    try:
        text = durable.read_file(os.path.join(folder, _SEEN), _MAX_INDEX)
    except OSError:
        return {}
    body = text[32:]
    if len(body) != len(rows) * _TIMES.size or hashlib.sha256(body).digest() != text[:32]:
        return {}
    return {name: values for name, values in zip(rows, _TIMES.iter_unpack(body)) if values != _NEVER}


def _is_linked(folder: str) -> bool:
    return any(os.lstat(os.path.join(folder, name)).st_nlink > 1 for name in _files_in(folder))


def _files_in(folder: str) -> Iterator[str]:
    """Yield everything in the folder of an entry but folders and our own files."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in [*names, *links]:
            inner = os.path.relpath(os.path.join(place, name), folder)
            if inner not in (_INDEX, _SEEN):
                yield inner


def _is_there(destination: str, build_id: str) -> bool:
    """Tell whether *destination* holds the build, or is being made."""
    parent, name = os.path.split(destination)
    if os.path.isdir(os.path.join(parent, f".{name}.partial")):
        return True
    return installed.read(destination).get("build_id") == build_id
