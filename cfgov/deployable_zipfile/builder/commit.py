"""The files of one commit, as git lists them, and whether a file on disk is one of them. A part of ``checkout.py``."""

from __future__ import annotations

import bisect
import hashlib
import os
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from .. import durable
from ..definitions import NamedTuple, expression
from ..errors import BuildInputError
from . import git

# Returns what *make* returns, or what it returned before for the same commit.
Recall = Callable[[str, str, Callable[[], bytes]], bytes]
About = Callable[[str, Tuple[int, ...], str, Callable[[], Any]], Any]  # cache.Memory.about

GITLINK, LINK, EXECUTABLE = "160000", "120000", "100755"  # git's modes
_BLOCK = 1024 * 1024
_PART = 32 * 1024  # bytes of a listing that are parsed at a time
_POINTER = expression(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
_POINTER_SIZES = range(119, 1024)  # bytes: its two lines have no less, and the specification of Git LFS allows no more


class Blob(NamedTuple):
    """One file of a commit."""

    mode: str  # as git writes it, "100644"
    name: str  # hexadecimal object name
    size: int  # bytes
    repository: str  # absolute path of the checkout that holds it: a submodule has its own


class Packed(NamedTuple):
    """One file as it is packed."""

    place: str  # absolute path in the working tree, not through a symbolic link in the last part
    executable: bool
    identity: Tuple[int, ...] = ()  # of the file, as cache.identity gives it; (): not known


class Committed:
    """Every file of a commit, those of submodules at the commits that it names included.

    There may be 100 000, so what git lists is kept as it is, and of it the part that is asked for is parsed.

    Parameters:
        root: absolute path of the checkout.
        commit: "" for none.
    """

    def __init__(self, root: str, commit: str, recall: Recall) -> None:
        self._listings = list(_listings(root, commit, recall, "")) if commit else []

    def take(self, name: str) -> Optional[Blob]:
        """Return the file *name*, relative to the root; None when the commit has none."""
        for listing in self._listings:
            blob = listing.take(name)
            if blob is not None:
                return blob
        return None

    def left(self) -> Iterator[str]:
        """Yield the names of those that were not taken."""
        for listing in self._listings:
            yield from listing.left()


def _listings(root: str, commit: str, recall: Recall, prefix: str) -> Iterator["_Listing"]:
    text = recall("tree", commit, lambda: git.output(root, "ls-tree", "-r", "-z", "-l", "--full-tree", commit))
    yield _Listing(text, root, prefix)
    for mode, blob, _, name in _rows(text) if GITLINK.encode("ascii") in text else ():
        inner = os.path.join(root, name)
        is_there = mode == GITLINK and os.path.lexists(os.path.join(inner, ".git"))
        if is_there and git.run(inner, "cat-file", "-t", blob, allow_failure=True).strip() == "commit":
            yield from _listings(inner, blob, recall, f"{prefix}{name}/")


class _Listing:
    """What git lists of one commit, in the order of the bytes of the names."""

    def __init__(self, text: bytes, repository: str, prefix: str) -> None:
        self._text = text
        self._repository = repository
        self._prefix = prefix
        self._begins = list(_begins(text))
        self._firsts = [os.fsencode(name) for begin in self._begins for *_, name in _rows(text, begin, begin + 1)]
        self._parsed: Tuple[int, Dict[str, Blob]] = -1, {}  # number of a part, and what it says
        self._left: Dict[int, Set[str]] = {}  # names that were not taken, of each part that was parsed

    def take(self, name: str) -> Optional[Blob]:
        """Return the file *name*, None when there is none."""
        if not name.startswith(self._prefix):
            return None
        own = name[len(self._prefix) :]
        at = bisect.bisect_right(self._firsts, os.fsencode(own)) - 1
        blob = self._part(at).get(own) if at >= 0 else None
        if blob is not None:
            self._left[at].discard(own)
        return blob

    def left(self) -> Iterator[str]:
        """Yield the names of those that were not taken."""
        for number in range(len(self._begins)):
            names = self._left[number] if number in self._left else self._part(number)
            yield from (self._prefix + name for name in names)

    def _part(self, number: int) -> Dict[str, Blob]:
        before = self._parsed[0]
        if before != number:
            if before in self._left:
                self._left[before] = set(self._left[before])  # a set keeps the room that it once had
            begin, end = [*self._begins, len(self._text)][number : number + 2]
            rows = _rows(self._text, begin, end)
            blobs = {
                name: Blob(mode, blob, size, self._repository) for mode, blob, size, name in rows if mode != GITLINK
            }
            self._parsed = number, blobs
            self._left.setdefault(number, set(blobs))
        return self._parsed[1]


def _begins(listing: bytes) -> Iterator[int]:
    """Yield where the parts of *listing* begin that are parsed at a time."""
    begin = 0
    while begin < len(listing):
        yield begin
        begin = listing.find(b"\0", begin + _PART) + 1 or len(listing)


def _rows(listing: bytes, begin: int = 0, end: Optional[int] = None) -> Iterator[Tuple[str, str, int, str]]:
    """Yield mode, object, size (bytes) and path of what git lists of a commit, of the rows that begin in a part."""
    end = len(listing) if end is None else end
    while begin < end:
        stop = listing.find(b"\0", begin)
        information, _, name = os.fsdecode(listing[begin:stop]).partition("\t")
        mode, _, blob, size = information.split()
        yield mode, blob, int(size) if size != "-" else 0, name
        begin = stop + 1


def epoch(root: str, commit: str) -> int:
    """Return the committer's time of *commit*: the fourth header, or a later one, of the commit object."""
    for line in git.run(root, "cat-file", "commit", commit).splitlines():
        if line.startswith("committer "):
            return max(int(line.split()[-2]), 0)
    raise BuildInputError(root, f"commit {commit} has no time", "Repair the checkout")


def same_kind(blob: Blob, file: Packed) -> bool:
    """Say whether *file* is a file, a link or executable as the commit's."""
    if blob.mode == LINK or os.path.islink(file.place):
        return blob.mode == LINK and os.path.islink(file.place)
    return (blob.mode == EXECUTABLE) == file.executable


def same_bytes(blob: Blob, file: Packed, about: About) -> bool:
    """Say whether *file* holds what the commit's does."""
    if blob.mode == LINK:
        content = os.fsencode(os.readlink(file.place))
        return _object_name(blob, len(content), [content]) == blob.name
    size = file.identity[2] if file.identity else os.stat(file.place).st_size
    if size != blob.size:
        return False

    def find() -> str:
        with open(file.place, "rb") as opened:
            return _object_name(blob, size, iter(lambda: opened.read(_BLOCK), b""))

    name = about(file.place, file.identity, f"blob {len(blob.name)}", find) if file.identity else find()
    return bool(name == blob.name)


def _object_name(blob: Blob, size: int, blocks: Iterable[bytes]) -> str:
    # Named so by git; security does not hang on it here.
    digest = hashlib.new("sha256" if len(blob.name) == 64 else "sha1")
    digest.update(b"blob %d\0" % size)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def not_what_pointers_name(doubtful: Sequence[Tuple[str, str, Blob]]) -> List[str]:
    """Return those of *doubtful* that are not the content that the commit's Git LFS pointer names by its SHA-256."""
    found = []
    for name, place, blob in doubtful:
        match = None
        if blob.size in _POINTER_SIZES and blob.mode != LINK:
            text = git.run(blob.repository, "cat-file", "blob", blob.name)
            match = _POINTER.match(os.fsencode(text))
        if match is None or durable.digest(place, follow=True) != match.group(1).decode("ascii"):
            found.append(name)
    return found
