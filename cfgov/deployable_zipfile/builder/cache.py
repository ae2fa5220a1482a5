"""The cache of builds: files and small documents, each found by a digest and checked by another.

A document is kept under the digest of everything it depends on; a file under its own SHA-256. Whatever does not fit
its digest is removed and made again, so a damaged cache costs time and nothing else. What was found out by reading a
file is remembered with the file's identity, and holds until that changes: see :class:`Memory`.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import errno
import hashlib
import json
import marshal
import os
import time
import zlib
from typing import IO, Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, TypeVar, Union

from .. import durable
from ..definitions import NamedTuple
from ..errors import BuildInputError
from .unchanged import default_folder as default_folder
from .unchanged import identity as identity
from .unchanged import settles as settles

_BLOCK = 1024 * 1024
_STATED = 2 * hashlib.sha256().digest_size + 1  # bytes of the line with the digest of all that follows
_MEMORY = 1  # format of what is known of files
MARSHAL = 4  # format that every Python from 3.4 on reads
_TAIL = 20  # digits at the end of such a file: how long the part is that says what is where
_ROW = 250  # files of which what is known is in one piece
_OPEN = 16  # pieces of which what is known is parsed
_HELD = 1024 * 1024  # bytes of pieces that changed; more of them go into a file until they are saved
_UNUSED = 60 * 24 * 3600  # seconds after which an entry that no build touched is removed
_PRUNE_EVERY = 24 * 3600
_DAY = 24 * 3600

_Fact = TypeVar("_Fact")
_Row = Tuple[str, str]  # folder, and the first name of neighbours in it, "" for the first ones
Identity = Tuple[int, ...]  # device, inode, size, time of content and of the inode (nanoseconds)


class Kept(NamedTuple):
    """One file in the cache."""

    path: str
    sha256: str
    size: int  # bytes
    crc: int


class Memory:
    """What was found out about files by reading them, for as long as they have the identity that they had then.

    What is known of neighbours, files of one folder with names next to each other, is kept as bytes and parsed when one
    of them is asked for: there may be 100 000 files, as objects each takes a kilobyte, and they are asked for in order.
    What is new of so many is not held in memory either: it waits in a file without a name.

    Parameters:
        path: of the file that it is kept in; one that is damaged counts as missing.
        folder: on the same file system, for what is not finished.
    """

    def __init__(self, path: str, folder: str) -> None:
        self._path = path
        self._folder = folder
        self._today = int(time.time()) // _DAY
        self._first_day = self._today - _UNUSED // _DAY  # of use; what was used before is forgotten
        self._is_read = False
        self._file: Optional[IO[bytes]] = None
        self._places: Dict[_Row, _Place] = {}  # of neighbours in that file
        self._rows: Dict[str, List[str]] = {}  # folder -> first name of each of its rows of neighbours
        self._fresh: Dict[_Row, Union[bytes, _Place]] = {}  # neighbours that changed, or where they wait to be saved
        self._waiting: Optional[IO[bytes]] = None  # the file that they wait in
        self._held = 0  # bytes of those that are in no file
        self._open: "collections.OrderedDict[_Row, _Neighbours]" = collections.OrderedDict()  # the last used ones

    def about(self, path: str, own: Identity, kind: str, find: Callable[[], _Fact]) -> _Fact:
        """Return the fact of *kind* (what ``marshal`` can carry) about the regular file *path*.

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
        folder, _, name = path.rpartition("/")
        beside = self._of(self._row(folder, name))
        found = beside.files.get(name)
        if found is None or found[1] != own or kind not in found[2]:
            return None
        if found[0] != self._today:
            beside.files[name] = (self._today, own, found[2])
            beside.changed = True
        return found[2][kind]

    def keep(self, path: str, own: Identity, kind: str, fact: Any, moment: int) -> None:
        """Remember a fact about *path*, unless a change after it was read could go unseen.

        A time in the future, after a step of the clock or from another machine's, proves nothing either.

        Parameters:
            own: the file's identity before it was read.
            moment: when reading it began, or before, in nanoseconds since 1970.
        """
        if moment <= settles(own):
            return
        folder, _, name = path.rpartition("/")
        row = self._row(folder, name)
        beside = self._of(row)
        day, identity, facts = beside.files.get(name, (0, (), {}))
        if identity != own:
            facts = {}
        elif facts.get(kind) == fact and day == self._today:
            return  # known already: nothing is written for that
        beside.files[name] = (self._today, own, {**facts, kind: fact})
        beside.changed = True
        if len(beside.files) >= 2 * _ROW:
            self._close(row)

    def save(self) -> None:
        """Write what is new."""
        for row in list(self._open):
            self._close(row)
        if self._fresh:
            days = {row: place.day for row, place in self._places.items()}
            days.update((row, self._today) for row in self._fresh)
            _write_lines(self._folder, self._path, self._pieces(days))
        self.close()

    def close(self) -> None:
        """Forget what was not saved; what was is read again when something of it is asked for."""
        for file in (self._file, self._waiting):
            if file:
                file.close()
        self._file, self._waiting, self._is_read, self._held = None, None, False, 0
        for kept in (self._places, self._rows, self._fresh, self._open):
            kept.clear()

    def _pieces(self, days: Mapping[_Row, int]) -> Iterator[bytes]:
        """Yield what the file holds: the rows that are not too old, what is where, and how long that is."""
        index = []
        for row in sorted(row for row, day in days.items() if day >= self._first_day):
            content = self._bytes(row)
            index.append((*row, days[row], len(content)))
            yield content
        text = marshal.dumps(index, MARSHAL)
        yield text
        yield b"%0*d" % (_TAIL, len(text))

    def _row(self, folder: str, name: str) -> _Row:
        """Return the row of neighbours in *folder* that *name* belongs to."""
        if not self._is_read:
            self._read()
        firsts = self._rows.get(folder, ())
        at = bisect.bisect_right(firsts, name)
        return folder, firsts[at - 1] if at else ""

    def _of(self, row: _Row) -> _Neighbours:
        """Return what is known of the neighbours in *row*."""
        found = self._open.get(row)
        if found is None:
            if len(self._open) >= _OPEN:
                self._close(next(iter(self._open)))
            content = self._bytes(row)
            found = self._open[row] = _Neighbours(marshal.loads(content) if content else {})
        else:
            self._open.move_to_end(row)
        return found

    def _close(self, row: _Row) -> None:
        """Put what is known of the neighbours in *row* into bytes again if it changed: into several if it is much."""
        found = self._open.pop(row)
        if not found.changed:
            return
        folder, first = row
        names = sorted(name for name, (day, *_) in found.files.items() if day >= self._first_day)
        firsts = [first, *names[_ROW::_ROW]]
        for number, one in enumerate(firsts):
            files = {name: found.files[name] for name in names[number * _ROW : number * _ROW + _ROW]}
            self._hold((folder, one), marshal.dumps(files, MARSHAL))
        self._rows[folder] = sorted({*self._rows.get(folder, ()), *firsts})

    def _hold(self, row: _Row, content: bytes) -> None:
        """Hold the *content* of a row that changed until it is saved."""
        before = self._fresh.get(row)
        self._held += len(content) - (len(before) if isinstance(before, bytes) else 0)
        self._fresh[row] = content
        if self._held > _HELD:
            with contextlib.suppress(OSError):  # on a full disk it stays in memory
                self._let_wait()

    def _let_wait(self) -> None:
        """Put the rows that changed into a file without a name.

        Raises:
            OSError: it cannot be written; those that are not in it are as they were.
        """
        if self._waiting is None:
            descriptor, path = durable.fresh_file(self._folder)
            os.unlink(path)
            self._waiting = os.fdopen(descriptor, "wb+", buffering=0)
        descriptor = self._waiting.fileno()
        for row, content in self._fresh.items():
            if isinstance(content, bytes):
                start = os.lseek(descriptor, 0, os.SEEK_END)
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._fresh[row] = _Place(self._today, start, len(content))
                self._held -= len(content)

    def _bytes(self, row: _Row) -> bytes:
        """Return the content of *row*, b"" if it is not there as it should be."""
        place, file = self._fresh.get(row), self._waiting
        if isinstance(place, bytes):
            return place
        if place is None:
            place, file = self._places.get(row), self._file
        if place is None or file is None:
            return b""
        content = os.pread(file.fileno(), place.size, place.start)
        return content if len(content) == place.size else b""

    def _read(self) -> None:
        """Read what is where in the file, unless that is missing or damaged."""
        self._is_read = True
        with contextlib.suppress(OSError):
            self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
            self._places = _places_in(self._file)
        for folder, first in sorted(self._places):
            self._rows.setdefault(folder, []).append(first)


class _Place(NamedTuple):
    """Where what is known of the neighbours of one row is in the file of a :class:`Memory`."""

    day: int  # of the last use
    start: int  # in bytes
    size: int


class _Neighbours:
    """What is known of the files of one row: day of the last use, identity, and facts by kind, for each name."""

    __slots__ = ("changed", "files")

    def __init__(self, files: Dict[str, Tuple[int, Identity, Dict[str, Any]]]) -> None:
        self.files = files
        self.changed = False


def _read_proven(path: str) -> Any:
    """Return the document in the file *path*, None when it is damaged."""
    text = _proven(path)
    return None if text is None else json.loads(text)


def _proven(path: str) -> Optional[bytes]:
    """Return what the file *path* holds after the line with its digest, None when it is damaged."""
    with open(path, "rb", buffering=0) as file:  # with a buffer a long text would be copied
        digest, text = file.read(_STATED).rstrip(b"\n"), file.readall()
    return text if hashlib.sha256(text).hexdigest().encode("ascii") == digest else None


def _places_in(file: IO[bytes]) -> Dict[_Row, _Place]:
    """Return what is where in the open *file* of a :class:`Memory`; nothing if that is damaged."""
    at = _STATED
    stated, digest = file.read(at).rstrip(b"\n"), hashlib.sha256()
    for block in iter(lambda: file.read(_BLOCK), b""):
        digest.update(block)
    end = max(file.tell() - _TAIL, 0)
    size = os.pread(file.fileno(), _TAIL, end)
    if digest.hexdigest().encode("ascii") != stated or not size.isdigit():
        return {}
    places = {}
    for folder, first, day, length in marshal.loads(os.pread(file.fileno(), int(size), end - int(size))):
        places[folder, first] = _Place(day, at, length)
        at += length
    return places


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
        project: real path of the project that is built. What is known of files is kept for each, so that none has to
            read what is known of all others.

    Attributes:
        work: a scratch folder on the same file system, removed by :meth:`close`; those of killed builds are removed
            by the next one.
        memory: what earlier builds of the project found out about files, here and elsewhere.

    Raises:
        BuildInputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Optional[str], project: str = "") -> None:
        self._temporary = folder is None
        try:
            self.folder = os.path.abspath(folder) if folder else _temporary_folder()
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._remove_leftovers()
            self.work, self._lock = self._fresh_work()
            self.memory = Memory(self._path("facts", key(_MEMORY, project)), self.work)
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
                self.memory.save()
        self.memory.close()
        os.close(self._lock)
        _remove_folder(self.folder if self._temporary else self.work)
        if not self._temporary:
            self._prune()

    def document(self, kind: str, key: str) -> Any:
        """Return the document *key* of *kind*; None when there is none or it is damaged."""
        text = self.text(kind, key + ".json")
        return None if text is None else json.loads(text)

    def keep_document(self, kind: str, key: str, value: Any) -> None:
        """Keep *value* (what JSON can carry) as *key* of *kind*."""
        _write_proven(self.work, self._path(kind, key + ".json"), value)

    def of_commit(self, kind: str, commit: str, make: Callable[[], bytes]) -> bytes:
        """Return the text of *kind* about a commit of git, which cannot change: kept, or else made by *make*."""
        name = key("commit", kind, commit)
        text = self.text("commit", name)
        if text is None:
            text = make()
            self.keep_text("commit", name, [text])
        return text

    def text(self, kind: str, key: str) -> Optional[bytes]:
        """Return the text *key* of *kind*; None when there is none or it is damaged."""
        path = self._path(kind, key)
        try:
            text = _proven(path)
            if text is None:
                self._remove(path)
            else:
                self._use(path, os.stat(path))
        except OSError:
            return None
        return text

    def keep_text(self, kind: str, key: str, lines: Iterable[bytes]) -> None:
        """Keep *lines* together as *key* of *kind*."""
        _write_lines(self.work, self._path(kind, key), lines)

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
