"""What an installation wrote: kind, mode, owner and digest of everything, kept as ``.deploy/files.mtree``.

The form is that of mtree(5), which BSD's ``mtree`` and ``bsdtar`` read too. Its SHA-256 is in ``installed.json``. The
list is made of the finished tree, whose files have just been proven against the artifact.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from .. import durable
from ..artifact import layout
from ..workers import run

MAX_LINE = 16 * 1024  # bytes: a path of 1024 bytes, escaped, and a link's target
MAX_LINES = 1_000_000
_MAX_LIST = 256 * 1024 * 1024  # bytes
_BLOCK = 1024 * 1024
_BATCH = 128  # files
_PLAIN = re.compile(rb"[^!-\"$-\[\]-~]")  # everything but printable ASCII without "#" and the backslash
_ESCAPED = re.compile(rb"\\([0-7]{3})")


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


def written(tree: str, workers: int = 0, known: Optional[Dict[str, str]] = None) -> bytes:
    """Return the text of the list of everything in *tree*, an absolute path.

    Parameters:
        workers: processes, as in :func:`workers.run`.
        known: SHA-256 of files that need not be read, by path in the tree.
    """
    known = known or {}
    found = dict(_walk(tree, ""))
    files = [path for path, entry in found.items() if entry.kind == "file" and path not in known]
    found.update((path, found[path]._replace(detail=known[path])) for path in known)

    def digests(number: int) -> List[str]:
        return [digest(f"{tree}/{path}") for path in files[number * _BATCH : (number + 1) * _BATCH]]

    def numbered(number: int) -> Tuple[int, List[str]]:
        return number, digests(number)

    for number, batch in run(numbered, -(-len(files) // _BATCH), workers):
        for path, value in zip(files[number * _BATCH :], batch):
            found[path] = found[path]._replace(detail=value)
    status = os.lstat(tree)
    lines = [b"#mtree v2.0", b"/set uid=%d gid=%d" % (status.st_uid, status.st_gid)]
    for path in sorted(found):
        kind, mode, detail = found[path]
        key = {"file": b" sha256digest=", "link": b" link=", "dir": b""}[kind]
        lines.append(b"./%s type=%s mode=%04o%s%s" % (_escaped(path), kind.encode(), mode, key, _escaped(detail)))
    return b"\n".join(lines) + b"\n"


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
    try:
        status = os.lstat(place)
        if _kind(status.st_mode) != entry.kind or (status.st_uid, status.st_gid) != (inventory.uid, inventory.gid):
            return "changed"
        if entry.kind == "link":
            return "" if os.readlink(place) == entry.detail else "changed"
        if stat.S_IMODE(status.st_mode) != entry.mode:
            return "changed"
        return "changed" if entry.kind == "file" and digest(place) != entry.detail else ""
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "changed"  # unreadable now, readable when it was installed


def digest(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal; a link is not followed."""
    found = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            found.update(block)
    return found.hexdigest()


def _walk(tree: str, inner: str) -> Iterator[Tuple[str, Entry]]:
    with os.scandir(f"{tree}/{inner}" if inner else tree) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            path = f"{inner}/{entry.name}" if inner else entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            kind = _kind(mode)
            yield path, Entry(kind, stat.S_IMODE(mode), os.readlink(f"{tree}/{path}") if kind == "link" else "")
            if kind == "dir":
                yield from _walk(tree, path)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else "other"


def _escaped(text: str) -> bytes:
    return _PLAIN.sub(lambda found: b"\\%03o" % found.group()[0], os.fsencode(text))


def _unescaped(text: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found.group(1), 8) & 255]), text))
