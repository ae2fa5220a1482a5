"""Proven wheels in the cache, found again by what they were made from."""

from __future__ import annotations

from typing import Iterable, List, Optional, Tuple

from .. import __version__
from . import cache, collected, proving
from .collected import CollectedWheel

FORMAT = 5  # of the documents in the cache


class WheelCache:
    """Wheels in the cache, each proven once.

    Parameters:
        kept: the cache.
    """

    def __init__(self, kept: cache.Cache) -> None:
        self.kept = kept

    def known(self, sha256: str, file: str, built_from: str) -> Optional[CollectedWheel]:
        """Return what is known of a wheel; None when it is not there any more. See :func:`references`."""
        kept = self.kept.file(sha256, file)
        if kept is None:
            return None
        document = self.kept.document("facts", _facts_key(sha256, file))
        return collected.from_document(document, kept.path) if document else self.proven(kept, built_from)

    def keep(self, path: str, built_from: str = "") -> CollectedWheel:
        """Move the wheel at *path* into the cache, and prove it.

        Parameters:
            built_from: the sdist it was built from here, "" when it was downloaded.

        Raises:
            WheelError: it is broken.
        """
        return self.proven(self.kept.keep_file(path), built_from)

    def proven(self, kept: cache.Kept, built_from: str) -> CollectedWheel:
        """Check every file of the wheel *kept*, and remember what is known of it.

        Raises:
            WheelError: it is broken.
        """
        wheel = proving.prove(kept.path, kept.sha256, kept.crc, built_from)
        self.kept.keep_document("facts", _facts_key(kept.sha256, wheel.file), collected.to_document(wheel))
        return wheel


def key(kind: str, *parts: object) -> str:
    """Return the name of a document of *kind*; those of other releases of this tool are not taken."""
    return cache.key(kind, FORMAT, __version__, *parts)


def _facts_key(sha256: str, file: str) -> str:
    return cache.key("facts", FORMAT, collected.FORMAT, __version__, sha256, file)


def references(wheels: Iterable[CollectedWheel]) -> List[List[str]]:
    """Return what finds wheels again in the cache."""
    return [[one.sha256, one.file, one.built_from] for one in wheels]


def in_order(wheels: Iterable[CollectedWheel]) -> Tuple[CollectedWheel, ...]:
    """Return *wheels* by the names of their projects and files."""
    return tuple(sorted(wheels, key=lambda one: (one.name, one.file)))
