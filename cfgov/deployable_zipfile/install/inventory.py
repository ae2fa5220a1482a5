"""What an installation wrote: kind, mode, owner and digest of everything, kept as ``.deploy/files.mtree``.

The form is that of mtree(5), which BSD's ``mtree`` and ``bsdtar`` read too. Its SHA-256 is in ``installed.json``. The
list is made of the finished tree, whose files have just been proven against the artifact.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union

from .. import durable
from ..artifact import layout
from ..definitions import NamedTuple, expression

MAX_LINE = 16 * 1024  # bytes: a path of 1024 bytes, escaped, and a link's target
MAX_LINES = 1_000_000
_MAX_LIST = 256 * 1024 * 1024  # bytes
_BLOCK = 1024 * 1024
_LINES = 1000  # of a list, that are written at once
_MODE = 5  # digits of a mode in a row of what is known
LINKED = 0o10000  # of a mode there: the file has it from elsewhere, whatever this file system makes of modes
_UNUSUAL = expression(r"[^!-\"$-\[\]-~]")  # everything but printable ASCII without "#" and the backslash
_LINE = expression(rb"\./([!-~]+) type=(file|dir|link) mode=([0-7]{4})(?: (?:sha256digest|link)=([!-~]+))?\n\Z")
_ESCAPED = expression(rb"\\([0-7]{3})")


class Drift(NamedTuple):
    """How an installation, or a store, is not what was written: paths in it, sorted."""

    changed: List[str]
    missing: List[str]
    added: List[str]  # a folder with a slash at its end
    checked: int  # files compared
    build_id: str = ""  # of an installation
    project: str = ""  # name of its folder in an installation
    open: Sequence[str] = ()  # what of an installation others may write to

    @property
    def clean(self) -> bool:
        """Whether everything is as it was written."""
        return not (self.changed or self.missing or self.added or self.open)


class Changed(ValueError):
    """The list is not the one that the installation wrote."""


class Entry(NamedTuple):
    """One file, folder or link."""

    kind: str  # "file", "dir", "link"
    mode: int  # permission bits; of no meaning for a link
    detail: str  # SHA-256 of a file, target of a link, "" for a folder


class Inventory:
    """Everything that was installed. It is kept as text: objects would take several times as much memory.

    Parameters:
        text: the list.

    Attributes:
        uid, gid: owner of everything.
        count: how many files and links there are.

    Raises:
        ValueError: a line of another form; the message quotes nothing of it.
    """

    def __init__(self, text: bytes) -> None:
        if text.count(b"\n") > MAX_LINES:
            raise ValueError(f"has more than {MAX_LINES} lines")
        self._text = text
        self._lines: Dict[str, List[int]] = {}  # of each folder: where its lines begin and end, range after range
        self._last: Tuple[str, Dict[str, Entry]] = ("", {})
        self.count = 0
        ids: Dict[str, str] = {}
        start, last = 0, b""
        ranges: List[int] = []
        while start < len(text):
            end = text.find(b"\n", start) + 1 or len(text)
            if end - start > MAX_LINE:
                raise ValueError(f"has a line of more than {MAX_LINE} bytes")
            if text.startswith(b"./", start):
                path, kind, _, __ = _fields(text, start, end)
                self.count += kind != "dir"
                folder = path.rpartition(b"/")[0]
                if not ranges or folder != last:
                    ranges, last = self._lines.setdefault(_unescaped(folder), []), folder
                    ranges += [start, start]
                ranges[-1] = end
            elif text.startswith(b"/set ", start):
                ids = _values(text[start:end])
            start = end
        self.uid, self.gid = int(ids.get("uid", "-")), int(ids.get("gid", "-"))

    @property
    def folders(self) -> Iterable[str]:
        """Every folder that something is in, "" for the destination."""
        return self._lines.keys()

    def entries_of(self, folder: str) -> Dict[str, Entry]:
        """Return what is in *folder*, by path relative to the destination."""
        if self._last[0] != folder or not self._last[1]:
            self._last = (folder, dict(self._entries(folder)))
        return self._last[1]

    def entry(self, path: str) -> Optional[Entry]:
        """Return what is at *path*, None for nothing; quick for one path after the other of the same folder."""
        return self.entries_of(path.rpartition("/")[0]).get(path)

    def entries(self) -> Iterator[Tuple[str, Entry]]:
        """Yield everything, by path relative to the destination."""
        for folder in self._lines:
            yield from self._entries(folder)

    def _entries(self, folder: str) -> Iterator[Tuple[str, Entry]]:
        ranges = self._lines.get(folder, [])
        for start, last in zip(ranges[::2], ranges[1::2]):
            while start < last:
                end = self._text.find(b"\n", start) + 1 or last
                path, kind, mode, detail = _fields(self._text, start, end)
                yield _unescaped(path), Entry(kind, mode, detail if kind == "file" else _unescaped(detail.encode()))
                start = end


def _fields(text: bytes, start: int, end: int) -> Tuple[bytes, str, int, str]:
    """Return path, kind, mode and detail of the line from *start* to *end*, the path and a link's target escaped.

    Raises:
        ValueError: it has another form.
    """
    usual = _LINE.match(text, start, end)
    if usual:
        path, kind, mode, detail = usual.groups()
        return path, kind.decode("ascii"), int(mode, 8), (detail or b"").decode("ascii")
    words = text[start:end].rstrip(b"\n").split(b" ", 1)
    values = _values(words[-1])
    kind = values.get("type", "")
    return words[0][2:], kind, int(values.get("mode", "-"), 8), values.get("sha256digest") or values.get("link", "")


def _values(text: bytes) -> Dict[str, str]:
    return dict(word.partition("=")[::2] for word in text.rstrip(b"\n").decode("ascii").split(" "))


Notes = Tuple[List[Tuple[str, bytes]], Dict[int, str]]  # folder and rows of its files; a file of each mode


def notes_of(files: Iterable[Tuple[str, int]], digests: Iterable[str]) -> Notes:
    """Return what :meth:`Known.note` keeps of files; those who write them have it made by many processes.

    Parameters:
        files: path of each, and mode that was asked for, with ``LINKED`` for another name of a file; those of one
            folder are best kept together.
        digests: SHA-256 of each, in hexadecimal.
    """
    rows: Dict[str, List[str]] = {}
    samples: Dict[int, str] = {}
    for (path, mode), digest in zip(files, digests):
        folder, _, name = path.rpartition("/")
        if folder not in rows:
            rows[folder] = []
        if mode not in samples:
            samples[mode] = path
        rows[folder].append(f"{_escaped(name)}\0{mode:05o}{digest}\n")
    return [(folder, "".join(found).encode("ascii")) for folder, found in rows.items()], samples


class Known:
    """What is known of a tree by those who wrote it. It is new and nobody else's, so it need not be looked at again.

    Files are kept as one text for each folder: objects would take several times as much memory. A row of it is the
    escaped name, NUL, the mode as five digits, and the SHA-256: what a line of the list needs, in the order of names.

    Parameters:
        mixed: folders that hold files that were not noted.

    Attributes:
        mixed: as given, and more of them.
    """

    def __init__(self, mixed: Iterable[str] = ()) -> None:
        self.mixed: Set[str] = set(mixed)
        self._rows: Dict[str, Union[bytes, bytearray]] = {}  # of every folder: a second set of names would take as much
        self._others: Set[str] = set()  # folders of which no more is known than files that were noted
        self._samples: Dict[int, str] = {}  # a file of each mode

    def add(self, folders: Iterable[str]) -> None:
        """Keep that these *folders* were made, and that all folders in them will be added too."""
        for folder in folders:
            self._rows.setdefault(folder, b"")
            self._others.discard(folder)

    def note(self, notes: Notes) -> None:
        """Keep what was written."""
        found, samples = notes
        for folder, rows in found:
            before = self._rows.get(folder)
            if before is None:
                self._others.add(folder)
            if isinstance(before, bytearray):
                before += rows
            else:
                self._rows[folder] = bytearray(before) + rows if before else rows
        self._samples.update(samples)

    def folders(self) -> Iterator[str]:
        """Yield the folders that were added."""
        return (folder for folder in self._rows if folder not in self._others)

    def is_whole(self, folder: str) -> bool:
        """Tell whether everything in *folder* is known."""
        return folder in self._rows and folder not in self._others and folder not in self.mixed

    def taken(self, folder: str) -> bytes:
        """Return the rows of the files that were noted in *folder*, and keep them no longer."""
        return bytes(self._rows.pop(folder, b""))

    def as_made(self, tree: str) -> Dict[int, int]:
        """Return what the file system made of each mode, by an inherited ACL for instance: in a whole tree the same."""
        return {mode: os.lstat(f"{tree}/{path}").st_mode for mode, path in self._samples.items()}


class _Listing:
    """Lines of a list, folder after folder, and what need not be asked the file system for."""

    def __init__(self, tree: str, known: Known) -> None:
        self._tree = tree
        self._known = known
        self._facts = {b"\0%05o" % mode: _facts(made) for mode, made in known.as_made(tree).items()}
        self._inner: Dict[str, List[str]] = {}  # folders in each that has any and is known
        for folder in known.folders():
            above = folder.rpartition("/")[0]
            if above in self._inner:
                self._inner[above].append(folder)
            elif known.is_whole(above):
                self._inner[above] = [folder]
        sample = next(known.folders(), "")
        self._folder = _facts(os.lstat(f"{tree}/{sample}").st_mode)

    def lines(self, folder: str, folders: List[str]) -> List[bytes]:
        """Return the line of everything in *folder*, "" for the tree, sorted, without what comes before the names.

        Lines of what is known are rows (:class:`Known`) and become lines by :meth:`made`. The folders in *folder* are
        added to *folders*, sorted.
        """
        return (self._known_lines if self._known.is_whole(folder) else self._other_lines)(folder, folders)

    def made(self, text: bytes) -> bytes:
        """Return *text* with rows made lines: the mode becomes kind and mode of the file that was made."""
        for mode, facts in self._facts.items():
            text = text.replace(mode, facts)  # no line has a NUL
        return text

    def _known_lines(self, folder: str, folders: List[str]) -> List[bytes]:
        """Return the lines of a folder of which everything is known; the file system is not looked at."""
        lines = self._known.taken(folder).splitlines(True)
        inner = self._inner.pop(folder, None)
        if inner:
            inner.sort()
            folders += inner
            names = [path.rpartition("/")[2] for path in inner]
            lines += [b"%s%s\n" % (_escaped(name).encode("ascii"), self._folder) for name in names]
        lines.sort()
        return lines

    def _other_lines(self, folder: str, folders: List[str]) -> List[bytes]:
        """Return the lines of a folder that is looked at; files of which no digest is known are read."""
        inner, lines = f"{folder}/" if folder else "", []
        digests = dict(row.split(b"\0") for row in self._known.taken(folder).splitlines())
        with os.scandir(f"{self._tree}/{folder}") as entries:
            modes = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in entries}
        for name in sorted(modes):
            path, text = inner + name, _escaped(name).encode("ascii")
            if path == layout.FILES:
                continue  # the list itself
            detail = b""
            if stat.S_ISREG(modes[name]):
                detail = digests[text][_MODE:] if text in digests else self._digest(path)
            elif stat.S_ISDIR(modes[name]):
                folders.append(path)
            elif stat.S_ISLNK(modes[name]):
                detail = _escaped(os.readlink(f"{self._tree}/{path}")).encode("ascii")
            else:
                raise ValueError(f"{path} is neither a file nor a folder nor a link")
            lines.append(b"%s%s%s\n" % (text, _facts(modes[name]), detail))
        lines.sort()
        return lines

    def _digest(self, path: str) -> bytes:
        return durable.digest(f"{self._tree}/{path}").encode("ascii")


def lines(tree: str, known: Optional[Known] = None) -> Iterator[bytes]:
    """Yield the list of everything in *tree*, an absolute path, some lines at a time, folder after folder.

    Parameters:
        known: what need not be looked at, and is not kept; other folders are scanned, and other files are read.
    """
    status = os.lstat(tree)
    yield b"#mtree v2.0\n/set uid=%d gid=%d\n" % (status.st_uid, status.st_gid)
    listing, left = _Listing(tree, known or Known()), [""]
    ready: List[bytes] = []
    count = 0
    while left:
        folders: List[str] = []
        folder = left.pop()
        prefix = f"./{_escaped(folder)}/".encode("ascii") if folder else b"./"
        found = listing.lines(folder, folders)
        for first in range(0, len(found), _LINES):
            some = found[first : first + _LINES]
            ready.append(prefix + prefix.join(some))
            count += len(some)
            if count >= _LINES:
                yield listing.made(b"".join(ready))
                ready, count = [], 0
        left += reversed(folders)
    yield listing.made(b"".join(ready))


def write(tree: str, known: Optional[Known] = None) -> str:
    """Write the list of everything in *tree* into it; return its SHA-256, in hexadecimal.

    Parameters:
        known: as for :func:`lines`.
    """
    digest = hashlib.sha256()
    descriptor = os.open(f"{tree}/{layout.FILES}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb", _BLOCK) as file:
        for some in lines(tree, known):
            digest.update(some)
            file.write(some)
    return digest.hexdigest()


@functools.lru_cache(maxsize=None)
def _facts(mode: int) -> bytes:
    """Return the part of a line that says of what kind something is, and its mode."""
    kind, detail = {stat.S_IFDIR: ("dir", ""), stat.S_IFLNK: ("link", " link=")}.get(
        stat.S_IFMT(mode), ("file", " sha256digest=")
    )
    return f" type={kind} mode={mode & 0o7777:04o}{detail}".encode("ascii")


def read(destination: str, sha256: str) -> Inventory:
    """Return the list of the installation in *destination*, whose SHA-256 must be *sha256*.

    Raises:
        Changed: it is another list.
        OSError, ValueError: it cannot be read.
    """
    text = durable.read_file(os.path.join(destination, layout.FILES), _MAX_LIST)
    if hashlib.sha256(text).hexdigest() != sha256:
        raise Changed("is not the list of this installation")
    return Inventory(text)


def state(destination: str, path: str, entry: Entry, inventory: Inventory) -> str:
    """Return "missing", "changed", or "" when *path* is as *entry* says: kind, mode, owner and content."""
    place = os.path.join(destination, path)

    def same() -> bool:
        status = os.lstat(place)
        if _kind(status.st_mode) != entry.kind or (status.st_uid, status.st_gid) != (inventory.uid, inventory.gid):
            return False
        if entry.kind == "link":
            return os.readlink(place) == entry.detail
        if stat.S_IMODE(status.st_mode) != entry.mode:
            return False
        return entry.kind != "file" or durable.digest(place) == entry.detail

    return durable.state(same)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else "other"


def _escaped(text: str) -> str:
    if not _UNUSUAL.search(text):
        return text
    return "".join(chr(byte) if not _UNUSUAL.match(chr(byte)) else f"\\{byte:03o}" for byte in os.fsencode(text))


def _unescaped(text: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found.group(1), 8) & 255]), text))
