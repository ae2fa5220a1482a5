"""The cache of builds: files and small documents, each found by a digest and checked by another.

A document is kept under the digest of everything it depends on; a file under its own SHA-256. Whatever does not fit
its digest is removed and made again, so a damaged cache costs time and nothing else. What was found out by reading a
file is remembered with the file's identity, and holds until that changes: see :class:`Memory`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
import zlib
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple, TypeVar

from .. import durable
from ..errors import BuildInputError
from .unchanged import default_folder as default_folder
from .unchanged import identity as identity
from .unchanged import settles as settles

_BLOCK = 1024 * 1024
_FACTS = 1000  # files of which what is known is in one line
_UNUSED = 60 * 24 * 3600  # seconds after which an entry that no build touched is removed
_PRUNE_EVERY = 24 * 3600
_DAY = 24 * 3600
_IDENTITY = ""  # of no kind of fact

_Fact = TypeVar("_Fact")
Identity = Tuple[int, ...]  # device, inode, size, time of content and of the inode (nanoseconds)


class Kept(NamedTuple):
    """One file in the cache."""

    path: str
    sha256: str
    size: int  # bytes
    crc: int


class Memory:
    """What was found out about files by reading them, for as long as they have the identity that they had then.

    What is known of a file is kept as text and parsed when it is asked for: there may be 100 000 files, and as objects
    each takes a kilobyte.

    Parameters:
        path: of the file that it is kept in; one that is damaged counts as missing.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._today = int(time.time()) // _DAY
        self._facts: Optional[Dict[str, str]] = None  # path -> day of the last use, a blank, identity and facts (JSON)
        self._changed = False

    def about(self, path: str, own: Identity, kind: str, find: Callable[[], _Fact]) -> _Fact:
        """Return the fact of *kind* (what JSON can carry) about the regular file *path*.

        Parameters:
            path: absolute.
            own: its identity, from before *find* is called.
            find: reads the file; called when the fact is not known.
        """
        known = self.known(path, own, kind)
        if known is not None:
            return known  # type: ignore[no-any-return]
        began = time.time_ns()
        found = find()
        self.keep(path, own, kind, found, began)
        return found

    def known(self, path: str, own: Identity, kind: str) -> Any:
        """Return the fact of *kind* about the file *path*, whose identity is *own*; None when it is not known."""
        facts = self._read()
        found, day, text = self._parsed(path)
        if found.get(_IDENTITY) != list(own) or kind not in found:
            return None
        if day != str(self._today):
            facts[path], self._changed = f"{self._today} {text}", True
        return found[kind]

    def keep(self, path: str, own: Identity, kind: str, fact: Any, moment: int) -> None:
        """Remember a fact about *path*, unless a change after it was read could go unseen.

        A time in the future, after a step of the clock or from another machine's, proves nothing either.

        Parameters:
            own: the file's identity before it was read.
            moment: when reading it began, or before, in nanoseconds since 1970.
        """
        if moment <= settles(own):
            return
        facts = self._read()
        found, day, _ = self._parsed(path)
        if found.get(_IDENTITY) != list(own):
            found = {_IDENTITY: list(own)}
        elif found.get(kind) == fact and day == str(self._today):
            return  # known already: nothing is written for that
        found[kind] = fact
        facts[path], self._changed = f"{self._today} {json.dumps(found, separators=(',', ':'))}", True

    def save(self, folder: str) -> None:
        """Write what is new through a file in *folder*, on the same file system."""
        if not self._changed:
            return
        first, facts = self._today - _UNUSED // _DAY, self._read()
        for path in [path for path, text in facts.items() if int(text.partition(" ")[0]) < first]:
            del facts[path]
        _write_lines(folder, self._path, _lines_of(facts))
        self._changed = False

    def _parsed(self, path: str) -> Tuple[Dict[str, Any], str, str]:
        """Return what is known of *path*, the day of its last use, and the text; nothing for an unknown path."""
        day, _, text = self._read().get(path, "").partition(" ")
        return json.loads(text) if text else {}, day, text

    def _read(self) -> Dict[str, str]:
        if self._facts is None:
            try:
                self._facts = _read_facts(self._path)
            except OSError:
                self._facts = {}
        return self._facts


def _read_proven(path: str) -> Any:
    """Return the document in the file *path*, None when it is damaged."""
    with open(path, "rb") as file:
        digest, text = file.readline().rstrip(b"\n"), file.read()
    if hashlib.sha256(text).hexdigest().encode("ascii") != digest:
        return None
    return json.loads(text)


def _read_facts(path: str) -> Dict[str, str]:
    """Return what :func:`_lines_of` wrote to the file *path*, line by line, and nothing if it is damaged.

    Nor is anything returned of what a former version of the tool wrote in another form.
    """
    facts: Dict[str, str] = {}
    with open(path, "rb") as file:
        stated, digest = file.readline().rstrip(b"\n"), hashlib.sha256()
        start = file.tell()
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
        if digest.hexdigest().encode("ascii") != stated:
            return {}
        file.seek(start)
        for line in file:
            found = json.loads(line)
            if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
                return {}
            facts.update(found)
    return facts


def _lines_of(facts: Dict[str, str]) -> Iterator[bytes]:
    """Yield *facts* in lines, each an object of JSON: as one text they would take as much memory again."""
    paths = sorted(facts)
    for first in range(0, len(paths), _FACTS):
        yield _json({path: facts[path] for path in paths[first : first + _FACTS]}) + b"\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _write_proven(folder: str, path: str, value: Any) -> None:
    """Write *value* (what JSON can carry) to *path*, with its digest in the first line, through a file in *folder*."""
    _write_lines(folder, path, [_json(value)])


def _write_lines(folder: str, path: str, lines: Iterable[bytes]) -> None:
    """Write *lines* to *path*, after a line with the digest of all, through a file in *folder*."""
    descriptor, temporary = durable.fresh_file(folder)
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as file:
        file.write(digest.hexdigest().encode("ascii") + b"\n")
        for line in lines:
            digest.update(line)
            file.write(line)
        file.seek(0)
        file.write(digest.hexdigest().encode("ascii"))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    durable.put(temporary, path, sync=False)


class Cache:
    """A folder of files and documents, shared by builds that may run at the same time.

    Parameters:
        folder: where; made when missing, readable only for its owner. None: a folder that :meth:`close` removes.

    Attributes:
        work: a scratch folder on the same file system, removed by :meth:`close`; those of killed builds are removed
            by the next one.
        memory: what earlier builds found out about files, here and elsewhere.

    Raises:
        BuildInputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Optional[str]) -> None:
        self._temporary = folder is None
        try:
            self.folder = os.path.abspath(folder) if folder else _temporary_folder()
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self.memory = Memory(os.path.join(self.folder, "known"))
            self._remove_leftovers()
            self.work, self._lock = self._fresh_work()
        except OSError as error:
            raise BuildInputError(
                folder or "temporary folder", f"cannot hold the cache ({error.strerror})", "Give --cache-dir DIR"
            ) from None

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Save the memory; remove the scratch folder, and what no build used for two months."""
        with contextlib.suppress(OSError):  # what cannot be remembered, on a full disk for instance, is read again
            if not self._temporary:
                self.memory.save(self.work)
        os.close(self._lock)
        _remove_folder(self.folder if self._temporary else self.work)
        if not self._temporary:
            self._prune()

    def document(self, kind: str, key: str) -> Any:
        """Return the document *key* of *kind*; None when there is none or it is damaged."""
        path = self._path(kind, key + ".json")
        try:
            found = _read_proven(path)
            if found is None:
                self._remove(path)
            else:
                self._use(path, os.stat(path))
        except OSError:
            return None
        return found

    def keep_document(self, kind: str, key: str, value: Any) -> None:
        """Keep *value* (what JSON can carry) as *key* of *kind*."""
        _write_proven(self.work, self._path(kind, key + ".json"), value)

    def of_commit(self, kind: str, commit: str, make: Callable[[], str]) -> str:
        """Return the text of *kind* about a commit of git, which cannot change: kept, or else made by *make*."""
        name = key("commit", kind, commit)
        found = self.document("commit", name)
        if found is None:
            found = make()
            self.keep_document("commit", name, found)
        return str(found)

    def file(self, sha256: str, name: str) -> Optional[Kept]:
        """Return the file *name* with digest *sha256*; None when there is none or it is damaged."""
        path = self._path("files", sha256, name)
        try:
            status = os.stat(path)
            kept = self._measured(path, status)
        except OSError:
            return None
        if kept.sha256 != sha256:
            self._remove(path)
            return None
        self._use(path, status)
        return kept

    def keep_file(self, path: str, name: str = "") -> Kept:
        """Move the file *path* into the cache, under *name* or its own."""
        kept = measured(path)
        target = self._path("files", kept.sha256, name or os.path.basename(path))
        self._move(path, target)
        return kept._replace(path=target)

    def _measured(self, path: str, status: os.stat_result) -> Kept:
        sha256, crc = self.memory.about(path, identity(status), "measured", lambda: _digests(measured(path)))
        return Kept(path, sha256, status.st_size, crc)

    def _use(self, path: str, status: os.stat_result) -> None:
        """Let the entry *path* look used. Not by every build: that would change its identity each time."""
        if time.time() - status.st_mtime > _DAY:
            os.utime(path)

    def _path(self, kind: str, key: str, name: str = "") -> str:
        return (
            os.path.join(self.folder, kind, key[:2], key, name)
            if name
            else os.path.join(self.folder, kind, key[:2], key)
        )

    def _move(self, source: str, target: str) -> None:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        try:
            durable.put(source, target, sync=False)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            import shutil  # takes long, and is hardly ever needed

            shutil.copyfile(source, target + ".partial")
            durable.put(target + ".partial", target, sync=False)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # another build removed it first
            os.unlink(path)

    def _fresh_work(self) -> Tuple[str, int]:
        """Return a new scratch folder, and the descriptor that holds its lock."""
        while True:
            work = os.path.join(self.folder, f"work-{os.urandom(8).hex()}")
            os.mkdir(work, 0o700)
            lock = os.open(os.path.join(work, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            if durable.take_fresh(lock):
                return work, lock
            os.close(lock)  # a build that began at the same time took it for one that was left

    def _remove_leftovers(self) -> None:
        """Remove scratch folders whose build is gone: nobody holds their lock."""
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if name.startswith("work-"):
                with durable.abandoned(os.path.join(path, ".lock")) as gone:
                    if gone:
                        _remove_folder(path)

    def _prune(self) -> None:
        stamp = os.path.join(self.folder, "pruned")
        now = time.time()
        if os.path.exists(stamp) and now - os.stat(stamp).st_mtime < _PRUNE_EVERY:
            return
        with open(stamp, "wb"):
            pass
        for folder, _, names in os.walk(self.folder, topdown=False):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if now - os.stat(path).st_mtime > _UNUSED:
                        os.unlink(path)
                except FileNotFoundError:
                    pass  # another build was here first


def kept_document(folder: str, kind: str, key: str) -> Any:
    """Return the document *key* of *kind* of the cache in *folder*, without opening that; None when there is none."""
    try:
        return _read_proven(os.path.join(folder, kind, key[:2], key + ".json"))
    except OSError:
        return None


def key(*parts: Any) -> str:
    """Return one digest for *parts* (what JSON can carry): 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()


def measured(path: str) -> Kept:
    """Read the file *path* and return its digest, size and CRC-32.

    Raises:
        OSError: it cannot be read.
    """
    digest, crc, size = hashlib.sha256(), 0, 0
    with open(path, "rb", buffering=0) as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
            crc = zlib.crc32(block, crc)
            size += len(block)
    return Kept(path, digest.hexdigest(), size, crc)


def _temporary_folder() -> str:
    import tempfile  # takes long, and only a build without a cache needs it

    return tempfile.mkdtemp(prefix="deployable-zipfile-")


def _remove_folder(path: str) -> None:
    """Remove a scratch folder, as far as that is possible: the next build looks again."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(path, ".lock"))
        os.rmdir(path)  # most of them hold nothing any more
        return
    import shutil  # takes longer than the rest

    shutil.rmtree(path, ignore_errors=True)


def _digests(kept: Kept) -> Tuple[str, int]:
    return kept.sha256, kept.crc
