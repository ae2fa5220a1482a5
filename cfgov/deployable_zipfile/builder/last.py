"""The artifact that the last build left at a path: the next one copies what is unchanged, or leaves all of it there.

A chapter beside ``pack.py``. The index of its members is in the cache; the artifact is used only as long as it is the
very file that was written then, by its identity. Otherwise the next build writes everything anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
import zlib
from typing import Any, Dict, Iterator, List, Optional, Sequence

from ..definitions import NamedTuple
from ..errors import BuildInputError
from . import cache, contents, zipwriter

_FORMAT = 1  # of the documents in the cache, and of what the writer makes of a member
_BLOCK = 1024 * 1024
_WAIT = 0.1  # seconds at most for the clock of a file system that counts in ticks
_STEP = 0.002


class Last(NamedTuple):
    """The last artifact, open and proven."""

    path: str
    size: int  # bytes
    sha256: str
    first_line: str
    identity: cache.Identity
    order: Sequence[zipwriter.Written]
    former: zipwriter.Former

    def check(self) -> None:
        """Refuse what was copied from it if it was changed meanwhile.

        Raises:
            BuildInputError: it was.
        """
        if cache.identity(os.fstat(self.former.descriptor)) != self.identity:
            raise BuildInputError(self.path, "changed while it was being copied from", "Build again")


@contextlib.contextmanager
def opened(kept: cache.Cache, path: str) -> Iterator[Optional[Last]]:
    """Yield what the last build left at *path*, None when there is nothing to be trusted."""
    document = kept.document("last", _key(path))
    descriptor = _descriptor(path) if document is not None and document["writer"] == _writer() else -1
    if descriptor < 0:
        yield None
        return
    try:
        own = cache.identity(os.fstat(descriptor))
        if list(own) != document["identity"] or not (document["settled"] or _is(descriptor, document["sha256"])):
            yield None
            return
        members = [zipwriter.Written(*fields) for fields in document["members"]]
        former = zipwriter.Former(descriptor, {member.name: member for member in members})
        yield Last(path, own[2], document["sha256"], document["first_line"], own, members, former)
    finally:
        os.close(descriptor)


def keep(kept: cache.Cache, path: str, sha256: str, first_line: str, members: Sequence[zipwriter.Written]) -> None:
    """Remember the artifact that was put in place at *path* a moment ago.

    Parameters:
        sha256: of the whole file.
        members: in their order.
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
        "first_line": first_line,
        "members": [list(member) for member in members],
    }
    kept.keep_document("last", _key(path), document)


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
    return cache.key("last", os.path.join(os.path.realpath(folder), name))


def _writer() -> List[Any]:
    """Return what the bytes of a member depend on beside its content."""
    return [_FORMAT, contents.LEVEL, zlib.ZLIB_RUNTIME_VERSION]
