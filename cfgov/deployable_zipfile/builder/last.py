"""The artifact that the last build left at a path: the next one copies what is unchanged, or leaves all of it there.

A chapter beside ``pack.py``. The index of its members is in the cache; the artifact is used only as long as it is the
very file that was written then, by its identity. Otherwise the next build writes everything anew.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import marshal
import os
import stat
import time
import zlib
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ..artifact import manifests, zipreader
from ..definitions import NamedTuple
from ..errors import BuildInputError
from . import cache, contents, zipwriter

_FORMAT = 3  # of what is kept in the cache, and of what the writer makes of a member
_PIECE = 250  # members
_OPEN = 4  # pieces that are parsed
_BLOCK = 1024 * 1024
_WAIT = 0.1  # seconds at most for the clock of a file system that counts in ticks
_STEP = 0.002


class Members(Mapping[str, zipwriter.Written]):
    """The members of an archive, by name.

    They are kept as bytes, and some neighbours are parsed when one of them is asked for: there may be tens of
    thousands, and they are asked for in the order of their names, or nearly.

    Parameters:
        pieces: those that :func:`pieces` returns.
        firsts: the first name in each.
        count: of members.
    """

    def __init__(self, pieces: Sequence[Union[bytes, memoryview]], firsts: Sequence[str], count: int) -> None:
        self._pieces = pieces
        self._firsts = firsts
        self._count = count
        self._open: Dict[int, Dict[str, zipwriter.Written]] = {}

    def __getitem__(self, name: str) -> zipwriter.Written:
        at = bisect.bisect_right(self._firsts, name) - 1
        if at < 0:
            raise KeyError(name)
        if at not in self._open:
            if len(self._open) >= _OPEN:
                del self._open[next(iter(self._open))]
            self._open[at] = {fields[0]: zipwriter.Written(*fields) for fields in marshal.loads(self._pieces[at])}
        return self._open[at][name]

    def clear(self) -> None:
        """Forget them all, and the memory that they take."""
        self._pieces, self._firsts, self._count = (), (), 0
        self._open.clear()

    def __iter__(self) -> Iterator[str]:
        return (fields[0] for piece in self._pieces for fields in marshal.loads(piece))

    def __len__(self) -> int:
        return self._count


class Last(NamedTuple):
    """The last artifact, open and proven."""

    path: str
    size: int  # bytes
    sha256: str
    first_line: str
    identity: cache.Identity
    members: Members
    descriptor: int

    @property
    def former(self) -> zipwriter.Former:
        """What the writer copies from."""
        return zipwriter.Former(self.descriptor, self.members)

    def check(self) -> None:
        """Refuse what was copied from it if it was changed meanwhile; its members are not needed any more.

        Raises:
            BuildInputError: it was.
        """
        if cache.identity(os.fstat(self.descriptor)) != self.identity:
            raise BuildInputError(self.path, "changed while it was being copied from", "Build again")
        self.members.clear()


@contextlib.contextmanager
def opened(kept: cache.Cache, path: str) -> Iterator[Optional[Last]]:
    """Yield what the last build left at *path*, None when there is nothing to be trusted."""
    descriptor = _descriptor(path)
    if descriptor < 0:
        yield None
        return
    try:
        yield _proven(kept, path, descriptor)
    finally:
        os.close(descriptor)


def _proven(kept: cache.Cache, path: str, descriptor: int) -> Optional[Last]:
    """Return what is open as *descriptor* if it is what the last build left there, with the same zlib."""
    document, pieces = _document(kept, path)
    own = cache.identity(os.fstat(descriptor))
    if not document or document["writer"] != _writer() or list(own) != document["identity"]:
        return None
    if not (document["settled"] or _is(descriptor, document["sha256"])):
        return None
    members = Members(pieces, document["firsts"], document["count"])
    return Last(path, own[2], document["sha256"], document["first_line"], own, members, descriptor)


def _document(kept: cache.Cache, path: str) -> Tuple[Dict[str, Any], List[memoryview]]:
    """Return what was kept of the artifact at *path*, and its pieces; nothing if there is nothing or it is damaged."""
    text = kept.text("last", _key(path))
    if text is None:
        return {}, []
    document, at = marshal.loads(text), len(text)
    found = []
    for size in reversed(document["sizes"]):
        found.append(memoryview(text)[at - size : at])
        at -= size
    return document, found[::-1]


def pieces(artifact: zipreader.Artifact) -> Dict[str, bytes]:
    """Return where each member of *artifact* is and what it holds, for :func:`keep`.

    In the order of their names, some at a time; the key is the first name of these.
    """
    names = sorted(artifact.members)
    some = [names[at : at + _PIECE] for at in range(0, len(names), _PIECE)]
    return {part[0]: marshal.dumps([_row(artifact, name) for name in part], cache.MARSHAL) for part in some}


def _row(artifact: zipreader.Artifact, name: str) -> Sequence[Any]:
    """Return the fields of the member *name* as the writer has them."""
    entry, member = artifact.members[name], artifact.manifest.members.get(name)
    digest = member.sha256 if member else artifact.container.digest(entry)  # the manifest does not list itself
    return name, entry.mode, entry.method, entry.crc, entry.compressed, entry.size, entry.start, digest


def keep(kept: cache.Cache, path: str, sha256: str, manifest: manifests.Manifest, pieces: Mapping[str, bytes]) -> None:
    """Remember the artifact that was put in place at *path* a moment ago.

    Parameters:
        sha256: of the whole file.
        manifest: its own.
        pieces: what :func:`pieces` says of it.
    """
    try:
        own = cache.identity(os.lstat(path))
        settled = _settled(path, own)
    except OSError:
        return  # somebody took it away already
    document: Dict[str, Any] = {
        "writer": _writer(),
        "identity": list(own),
        "settled": settled,
        "sha256": sha256,
        "first_line": manifest.shebang,
        "count": len(manifest.members) + 1,
        "firsts": list(pieces),
        "sizes": list(map(len, pieces.values())),  # of the pieces, which come behind this
    }
    kept.keep_text("last", _key(path), [marshal.dumps(document, cache.MARSHAL), *pieces.values()])


def _settled(path: str, own: cache.Identity) -> bool:
    """Wait until every later change of *path* must show in its identity; say whether that can be known soon.

    The file system's own clock is what counts, so a file of ours beside it is touched and looked at.
    """
    if own[4] % 1_000_000 == 0:
        return False  # it counts in whole seconds, or nearly
    ends = time.monotonic() + _WAIT
    while time.monotonic() < ends:
        os.utime(path + ".sha256")
        if os.stat(path + ".sha256").st_ctime_ns > own[4]:
            return cache.identity(os.lstat(path)) == own
        time.sleep(_STEP)
    return False


def _descriptor(path: str) -> int:
    """Open the regular file *path* for reading, not through a link; -1 when it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return -1
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return -1


def _is(descriptor: int, sha256: str) -> bool:
    digest = hashlib.sha256()
    offset = 0
    while True:
        block = os.pread(descriptor, _BLOCK, offset)
        if not block:
            return digest.hexdigest() == sha256
        digest.update(block)
        offset += len(block)


def _key(path: str) -> str:
    folder, name = os.path.split(path)
    return cache.key("last", _FORMAT, os.path.join(os.path.realpath(folder), name))


def _writer() -> List[Any]:
    """Return what the bytes of a member depend on beside its content."""
    return [_FORMAT, contents.LEVEL, zlib.ZLIB_RUNTIME_VERSION]
