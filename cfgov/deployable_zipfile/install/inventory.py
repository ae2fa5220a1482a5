"""What an installation wrote: kind, mode, owner and digest of everything, kept as ``.deploy/files.mtree``.

The form is that of mtree(5), which BSD's ``mtree`` and ``bsdtar`` read too. Its SHA-256 is in ``installed.json``. The
list is made of the finished tree, whose files have just been proven against the artifact.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple

from .. import durable
from ..artifact import layout
from ..workers import run

MAX_LINE = 16 * 1024  # bytes: a path of 1024 bytes, escaped, and a link's target
MAX_LINES = 1_000_000
_MAX_LIST = 256 * 1024 * 1024  # bytes
_BLOCK = 1024 * 1024
_FEW = 50_000  # known files that one process lists before others would be done
_DEPTH = 5  # venv/lib/pythonX.Y/site-packages/PACKAGE
_UNUSUAL = re.compile(r"[^!-\"$-\[\]-~]")  # everything but printable ASCII without "#" and the backslash
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Drift(NamedTuple):
    """How an installation, or a store, is not what was written: paths in it, sorted."""

    changed: List[str]
    missing: List[str]
    added: List[str]
    checked: int  # files compared
    build_id: str = ""  # of an installation

    @property
    def clean(self) -> bool:
        """Whether everything is as it was written."""
        return not (self.changed or self.missing or self.added)


class Changed(ValueError):
    """The list is not the one that the installation wrote."""


class Entry(NamedTuple):
    """One file, folder or link."""

    kind: str  # "file", "dir", "link"
    mode: int  # permission bits; of no meaning for a link
    detail: str  # SHA-256 of a file, target of a link, "" for a folder


class Inventory(NamedTuple):
    """Everything that was installed, by path relative to the destination."""

    uid: int
    gid: int
    entries: Dict[str, Entry]


class Known(NamedTuple):
    """What is known of a tree by those who wrote it. It is new and nobody else's, so it need not be looked at again."""

    digests: Dict[str, str]  # SHA-256 of files by path, in hexadecimal, as they were written
    modes: Dict[str, int]  # modes of files that were asked for, by path: of folders that hold no other files
    folders: Set[str]  # every folder in these folders, and others
    mixed: Set[str]  # folders that hold other files nevertheless


class _Listing(NamedTuple):
    """What :func:`_lines` need not ask the file system for."""

    digests: Mapping[str, str]
    whole: Dict[str, Dict[str, int]]  # folder, with "/" at its end -> name -> mode with the type of file


def written(tree: str, workers: int = 0, known: Optional[Known] = None) -> bytes:
    """Return the text of the list of everything in *tree*, an absolute path, folder after folder.

    Parameters:
        workers: processes, as in :func:`workers.run`.
        known: what need not be looked at; other folders are scanned, and other files are read.
    """
    status = os.lstat(tree)
    head = b"#mtree v2.0\n/set uid=%d gid=%d\n" % (status.st_uid, status.st_gid)
    folders = list(_branches(tree, "", 0))
    found = known.digests if known else {}
    listing = _Listing(found, _whole(tree, known) if known else {})

    def listed(number: int) -> Tuple[int, bytes]:
        lines: List[str] = []
        _list(tree, *folders[number], listing, lines)
        return number, "".join(lines).encode("ascii")

    parts = dict(run(listed, len(folders), workers if len(found) > _FEW or not found else 1))
    return b"".join([head, *(parts[number] for number in range(len(folders)))])  # joined once: it may be megabytes


def _whole(tree: str, known: Known) -> Dict[str, Dict[str, int]]:
    """Return the folders of which everything is known: names of files and folders in them, with their modes."""
    # What the file system makes of a mode, by an inherited ACL for instance, is the same in the whole tree.
    samples = {mode: path for path, mode in known.modes.items()}
    as_made = {mode: os.lstat(f"{tree}/{path}").st_mode for mode, path in samples.items()}
    found: Dict[str, Dict[str, int]] = {}
    for path, mode in known.modes.items():
        folder, slash, name = path.rpartition("/")
        found.setdefault(folder + slash, {})[name] = as_made[mode]
    for folder in known.mixed:
        found.pop(f"{folder}/", None)
    for folder in known.folders - known.mixed:
        found.setdefault(f"{folder}/", {})
    folder_mode = os.lstat(f"{tree}/{next(iter(known.folders))}").st_mode if known.folders else 0
    for folder in known.folders:
        above, slash, name = folder.rpartition("/")
        if above + slash in found:
            found[above + slash][name] = folder_mode
    return found


def _scanned(tree: str, inner: str) -> Dict[str, int]:
    with os.scandir(f"{tree}/{inner}") as entries:
        return {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in entries}


def _branches(tree: str, inner: str, depth: int) -> Iterator[Tuple[str, bool]]:
    """Yield folders to be listed, each with whether all below it belong to it: those of a package, for instance."""
    whole = depth == _DEPTH
    yield inner, whole
    if not whole:
        with os.scandir(f"{tree}/{inner}") as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in names:
            yield from _branches(tree, f"{inner}{name}/", depth + 1)


def _list(tree: str, inner: str, whole: bool, known: _Listing, lines: List[str]) -> None:
    """Add a line to *lines* for everything in the folder *inner*, a path that ends in "/" or is "".

    Parameters:
        whole: with everything in the folders below it.
    """
    folders = []
    prefix = f"./{_escaped(inner)}"
    modes = known.whole.pop(inner) if inner in known.whole else _scanned(tree, inner)  # each folder is listed once
    names = sorted(modes)
    escaped = map(_escaped, names) if _UNUSUAL.search("".join(names)) else names
    for name, text in zip(names, escaped):
        mode = modes[name]
        if stat.S_ISREG(mode):
            path = inner + name
            sha256 = known.digests.get(path) or durable.digest(f"{tree}/{path}")
            lines.append(f"{prefix}{text}{_facts(mode)}{sha256}\n")
        elif stat.S_ISDIR(mode):
            folders.append(name)
            lines.append(f"{prefix}{text}{_facts(mode)}\n")
        elif stat.S_ISLNK(mode):
            target = _escaped(os.readlink(f"{tree}/{inner}{name}"))
            lines.append(f"{prefix}{text}{_facts(mode)}{target}\n")
        else:
            raise ValueError(f"{inner}{name} is neither a file nor a folder nor a link")
    for name in folders if whole else ():
        _list(tree, f"{inner}{name}/", whole, known, lines)


@functools.lru_cache(maxsize=None)
def _facts(mode: int) -> str:
    """Return the part of a line that says of what kind something is, and its mode."""
    kind, detail = {stat.S_IFDIR: ("dir", ""), stat.S_IFLNK: ("link", " link=")}.get(
        stat.S_IFMT(mode), ("file", " sha256digest=")
    )
    return f" type={kind} mode={mode & 0o7777:04o}{detail}"


def read(destination: str, sha256: str) -> Inventory:
    """Return the list of the installation in *destination*, whose SHA-256 must be *sha256*.

    Raises:
        Changed: it is another list.
        OSError, ValueError: it cannot be read.
    """
    text = durable.read_file(os.path.join(destination, layout.FILES), _MAX_LIST)
    if hashlib.sha256(text).hexdigest() != sha256:
        raise Changed("is not the list of this installation")
    return parsed(text)


def parsed(text: bytes) -> Inventory:
    """Read a list.

    Raises:
        ValueError: a line of another form; the message quotes nothing of it.
    """
    if text.count(b"\n") > MAX_LINES:
        raise ValueError(f"has more than {MAX_LINES} lines")
    ids: Dict[str, str] = {}
    entries: Dict[str, Entry] = {}
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        if end - start > MAX_LINE:
            raise ValueError(f"has a line of more than {MAX_LINE} bytes")
        words = text[start:end].split(b" ")
        start = end + 1
        values = dict(word.decode("ascii").partition("=")[::2] for word in words[1:])
        if words[0] == b"/set":
            ids = values
        elif words[0].startswith(b"./"):
            detail = values.get("sha256digest") or _unescaped(values.get("link", "").encode())
            entries[_unescaped(words[0][2:])] = Entry(values.get("type", ""), int(values.get("mode", "-"), 8), detail)
    return Inventory(int(ids.get("uid", "-")), int(ids.get("gid", "-")), entries)


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
