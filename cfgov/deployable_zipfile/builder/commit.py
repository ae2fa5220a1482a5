"""The files of one commit, as git lists them, and whether a file on disk is one of them. A part of ``checkout.py``."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import Any, Callable, Dict, Iterable, List, Sequence, Tuple

from .. import durable
from ..definitions import NamedTuple, expression
from ..errors import BuildInputError
from . import git

# Returns what *make* returns, or what it returned before for the same commit.
Recall = Callable[[str, str, Callable[[], str]], str]
About = Callable[[str, Tuple[int, ...], str, Callable[[], Any]], Any]  # cache.Memory.about

GITLINK, LINK, EXECUTABLE = "160000", "120000", "100755"  # git's modes
_BLOCK = 1024 * 1024
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


def committed(root: str, commit: str, recall: Recall, prefix: str = "") -> Dict[str, Blob]:
    """Return every file of *commit*, those of submodules at the commits that it names included."""
    found: Dict[str, Blob] = {}
    if not commit:
        return found
    listing = recall("tree", commit, lambda: git.run(root, "ls-tree", "-r", "-z", "-l", "--full-tree", commit))
    found.update(_blobs(listing, root, prefix))
    for mode, blob, _, name in _rows(listing) if f"{GITLINK} " in listing else ():
        if mode == GITLINK and os.path.lexists(os.path.join(root, name, ".git")):
            inner = os.path.join(root, name)
            known = git.run(inner, "cat-file", "-t", blob, allow_failure=True).strip() == "commit"
            found.update(committed(inner, blob if known else "", recall, f"{prefix}{name}/"))
    return found


@functools.lru_cache(maxsize=2)
def _blobs(listing: str, root: str, prefix: str) -> Dict[str, Blob]:
    """Return the files that git lists of a commit, submodules left aside; nobody may change it."""
    rows = _rows(listing)
    return {prefix + name: Blob(mode, blob, size, root) for mode, blob, size, name in rows if mode != GITLINK}


@functools.lru_cache(maxsize=8)
def _rows(listing: str) -> Tuple[Tuple[str, str, int, str], ...]:
    """Return mode, object, size (bytes) and path of what git lists of a commit."""
    found = []
    for line in listing.split("\0"):
        information, _, name = line.partition("\t")
        if name:
            mode, _, blob, size = information.split()
            found.append((mode, blob, int(size) if size != "-" else 0, name))
    return tuple(found)


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
