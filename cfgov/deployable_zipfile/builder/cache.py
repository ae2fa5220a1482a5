"""What earlier builds left for later ones: files and small documents, each found by a digest and proven by another.

A document is kept under the digest of everything it depends on; a file under its own SHA-256. Whatever does not fit
its digest is removed and made again, so a damaged cache costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from typing import Any, NamedTuple, Optional

from .. import durable
from ..errors import BuildInputError

_BLOCK = 1024 * 1024
_UNUSED = 60 * 24 * 3600  # seconds after which an entry that no build touched is removed
_PRUNE_EVERY = 24 * 3600


class Kept(NamedTuple):
    """One file in the cache."""

    path: str
    sha256: str
    size: int  # bytes
    crc: int


class Cache:
    """A folder of files and documents, shared by builds that may run at the same time.

    Parameters:
        folder: where; made when missing, readable for its owner alone. None: a folder that :meth:`close` removes.

    Attributes:
        work: a scratch folder on the same file system, removed by :meth:`close`; those of killed builds are removed
            by the next one.

    Raises:
        BuildInputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Optional[str]) -> None:
        self._temporary = folder is None
        try:
            self.folder = os.path.abspath(folder) if folder else tempfile.mkdtemp(prefix="deployable-zipfile-")
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self._remove_leftovers()
            self.work = tempfile.mkdtemp(prefix="work-", dir=self.folder)
            self._lock = os.open(os.path.join(self.work, ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            durable.take_lock(self._lock, 0)
        except OSError as error:
            raise BuildInputError(
                folder or "temporary folder", f"cannot hold the cache ({error.strerror})", "Give --cache-dir DIR"
            ) from None

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch folder, and what no build used for two months."""
        os.close(self._lock)
        shutil.rmtree(self.folder if self._temporary else self.work, ignore_errors=True)
        if not self._temporary:
            self._prune()

    def document(self, kind: str, key: str) -> Any:
        """Return the document *key* of *kind*; None when there is none or it is damaged."""
        path = self._path(kind, key + ".json")
        try:
            with open(path, "rb") as file:
                digest, _, text = file.read().partition(b"\n")
        except OSError:
            return None
        if hashlib.sha256(text).hexdigest().encode("ascii") != digest:
            self._remove(path)
            return None
        os.utime(path)
        return json.loads(text.decode("utf-8"))

    def keep_document(self, kind: str, key: str, value: Any) -> None:
        """Keep *value* (what JSON can carry) as *key* of *kind*."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
        descriptor, temporary = tempfile.mkstemp(dir=self.work)
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(text).hexdigest().encode("ascii") + b"\n" + text)
        self._move(temporary, self._path(kind, key + ".json"))

    def file(self, sha256: str, name: str) -> Optional[Kept]:
        """Return the file *name* with digest *sha256*; None when there is none or it is damaged."""
        path = self._path("files", sha256, name)
        try:
            kept = measured(path)
        except OSError:
            return None
        if kept.sha256 != sha256:
            self._remove(path)
            return None
        os.utime(path)
        return kept

    def keep_file(self, path: str, name: str = "") -> Kept:
        """Move the file *path* into the cache, under *name* or its own."""
        kept = measured(path)
        target = self._path("files", kept.sha256, name or os.path.basename(path))
        self._move(path, target)
        return kept._replace(path=target)

    def _path(self, kind: str, key: str, name: str = "") -> str:
        return (
            os.path.join(self.folder, kind, key[:2], key, name)
            if name
            else os.path.join(self.folder, kind, key[:2], key)
        )

    def _move(self, source: str, target: str) -> None:
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        try:
            os.replace(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copyfile(source, target + ".partial")
            os.replace(target + ".partial", target)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # another build removed it first
            os.unlink(path)

    def _remove_leftovers(self) -> None:
        """Remove scratch folders whose build is gone: nobody holds their lock."""
        for name in os.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if name.startswith("work-") and _is_abandoned(os.path.join(path, ".lock")):
                shutil.rmtree(path, ignore_errors=True)

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


def default_folder() -> Optional[str]:
    """Return the user's cache folder for this tool (XDG Base Directory Specification); None when there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home) or not os.path.isdir(home):
            return None
        base = os.path.join(home, ".cache")
    return os.path.join(base, "deployable-zipfile")


def _is_abandoned(lock: str) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False  # being made, or already gone
    try:
        return durable.take_lock(descriptor, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
