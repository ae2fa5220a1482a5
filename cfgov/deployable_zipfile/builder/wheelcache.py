"""Proven wheels in the cache, found again by what they were made from."""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Tuple

from .. import __version__
from . import cache, wheels

FORMAT = 4  # of the documents in the cache


class WheelCache:
    """Wheels in the cache, each proven once.

    Parameters:
        kept: the cache.

    Attributes:
        paths: where the wheels are, by SHA-256.
    """

    def __init__(self, kept: cache.Cache) -> None:
        self.kept = kept
        self.paths: Dict[str, str] = {}

    def known(self, sha256: str, file: str, built_from: str) -> Optional[wheels.Facts]:
        """Return what is known of a wheel; None when it is not there any more. See :func:`references`."""
        kept = self.kept.file(sha256, file)
        if kept is None:
            return None
        self.paths[sha256] = kept.path
        document = self.kept.document("facts", _facts_key(sha256, file))
        return wheels.from_document(document) if document else self.proven(kept, built_from)

    def proven(self, kept: cache.Kept, built_from: str) -> wheels.Facts:
        """Check every file of the wheel *kept*, and remember what is known of it.

        Raises:
            WheelError: it is broken.
        """
        facts = wheels.prove(kept.path, kept.sha256, kept.crc, built_from)
        self.paths[kept.sha256] = kept.path
        self.kept.keep_document("facts", _facts_key(kept.sha256, facts.file), wheels.to_document(facts))
        return facts


def key(kind: str, *parts: object) -> str:
    """Return the name of a document of *kind*; those of other releases of this tool are not taken."""
    return cache.key(kind, FORMAT, __version__, *parts)


def _facts_key(sha256: str, file: str) -> str:
    return cache.key("facts", FORMAT, wheels.FORMAT, __version__, sha256, file)


def references(facts: Iterable[wheels.Facts]) -> List[List[str]]:
    """Return what finds wheels again in the cache."""
    return [[one.sha256, one.file, one.built_from] for one in facts]


def in_order(facts: Iterable[wheels.Facts]) -> Tuple[wheels.Facts, ...]:
    """Return *facts* by the names of their projects and files."""
    return tuple(sorted(facts, key=lambda one: (one.name, one.file)))
