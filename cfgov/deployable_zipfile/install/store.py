"""A store of unpacked wheels: each one is unpacked once, and shared by the installations of this machine.

An entry is a wheel with its bytecode. It is prepared in ``new``, put on the disk, and moved into place by one rename,
so that an entry is complete or absent whatever happens. Every command takes one lock, which ends with its process:
what is in ``new`` when the lock was just taken belongs to nobody.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from typing import Callable, Dict, Iterator, List, Optional, Set

from .. import durable, removal
from ..artifact import strict_json
from ..definitions import expression
from ..errors import DestinationError
from ..signals import unbroken
from . import installed, inventory, ownership
from .destination import content_of
from .entries import (
    FORMAT,
    INDEX,
    Damaged,
    Entry,
    files_in,
    is_linked,
    read_entry,
    seen_of,
    state_of,
    write_index,
    write_seen,
)

MARK = "store.json"
ENTRIES = "entries"
_NEW = "new"
_REFERENCES = "references"
_KEY = expression(r"[0-9a-f]{64}\Z")


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

        def user() -> str:
            text = durable.holder(descriptor)
            return durable.SOMEBODY if durable.is_gone(text) else text

        def waits() -> None:
            tell(durable.waiting(wait, f"store {self.path} is in use by {user()}"))

        try:
            if not durable.take_lock(descriptor, wait, waits=waits, named=lambda: durable.is_named(descriptor)):
                raise OSError(errno.EAGAIN, f"it is in use by {user()}", self.path)
            durable.write_holder(descriptor, durable.this_process())
            try:
                self._begin()
                yield
            finally:
                with unbroken(), contextlib.suppress(OSError):
                    self.clear()
                    durable.write_holder(descriptor, "")
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
        return os.path.isfile(os.path.join(self.entries, key, INDEX))

    def entry(self, key: str) -> Optional[Entry]:
        """Return the entry *key*, as :func:`entries.read_entry` does."""
        return read_entry(os.path.join(self.entries, key), key)

    def publish(self, made: List[Entry]) -> None:
        """Move the entries *made*, complete in ``new``, into their place; they are on the disk before that.

        Raises:
            OSError: the store cannot be written.
        """
        for entry in made:
            write_index(entry)
            write_seen(entry)
        if not made:
            return
        durable.sync_file_system(self.path)
        for entry in made:
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
            if key in wanted or is_linked(os.path.join(self.entries, key)):
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
                write_seen(entry)

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
                changed.append(f"{inner}/{INDEX}")
                continue
            if entry is None:
                continue
            for name, row in entry.rows.items():
                state = state_of(os.path.join(entry.folder, name), row)
                (missing if state == "missing" else changed if state else []).append(f"{inner}/{name}")
            checked += len(entry.rows)
            added += [f"{inner}/{name}" for name in files_in(entry.folder) if name not in entry.rows]
        return inventory.Drift(sorted(changed), sorted(missing), sorted(added), checked)


def _is_there(destination: str, build_id: str) -> bool:
    """Tell whether *destination* holds the build, or is being made."""
    parent, name = os.path.split(destination)
    if os.path.isdir(os.path.join(parent, f".{name}.partial")):
        return True
    return installed.read(destination).get("build_id") == build_id
