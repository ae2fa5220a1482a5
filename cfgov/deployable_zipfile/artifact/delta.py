"""A delta: an artifact with what an old build lacks, and the names of what it needs from that one.

It obeys every rule of an artifact (R1-R12) and has no targets of its own. Below ``.deploy/delta/`` it holds the
manifest of the whole build, the digests of the files in those archives that are left out, and the files in them that an
installation of the other build has not.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Tuple

from ..definitions import NamedTuple, expression
from ..errors import ArtifactError
from . import layout, manifest_reader, manifests, strict_json
from .zipreader import Artifact

FORMAT = 1
MANIFEST = ".deploy/delta/manifest.json"
PLAN = ".deploy/delta/delta.json"
FILES = ".deploy/delta/files.zip"  # nested; each file under its SHA-256

_AGAIN = "Copy the artifact again"
_KEYS = {"schema", "base", "base_sha256", "sha256", "size", "archives"}
_BUILD = expression(r"[0-9a-f]{32}\Z")
_DIGEST = expression(r"[0-9a-f]{64}\Z")


class Row(NamedTuple):
    """One file in an archive that is left out."""

    name: str
    mode: int
    size: int  # bytes
    sha256: str


class Delta(NamedTuple):
    """What a delta says of itself."""

    base: str  # build id of the build that it needs
    base_sha256: str  # of that build's artifact
    sha256: str  # of the whole artifact
    size: int  # bytes of it
    archives: Dict[str, Tuple[Row, ...]]  # by member: wheels, bytecode and payloads that are left out
    manifest: manifests.Manifest  # of the whole build

    def to_json(self) -> bytes:
        """Return the canonical text of everything but the manifest, which is a member of its own."""
        archives = {member: [list(row) for row in rows] for member, rows in self.archives.items()}
        document = dict(self._asdict(), archives=archives, schema=FORMAT)
        del document["manifest"]
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"


def is_delta(manifest: manifests.Manifest) -> bool:
    """Tell whether *manifest* is that of a delta."""
    return MANIFEST in manifest.members


def read(artifact: Artifact) -> Optional[Delta]:
    """Return what *artifact* says when it is a delta, None when it is a whole artifact.

    Raises:
        ArtifactError: it is a delta that is not in order.
    """
    if not is_delta(artifact.manifest):
        return None
    for name in (PLAN, FILES):
        if name not in artifact.members:
            raise ArtifactError(name, "is missing from the delta", _AGAIN)
    manifest = manifest_reader.read(artifact.read(MANIFEST))
    found = _parsed(artifact.read(PLAN), manifest)
    _check(artifact, found)
    return found


def refuse(artifact: Artifact) -> None:
    """Refuse a delta where only a whole artifact will do.

    Raises:
        ArtifactError: naming the build that it is of.
    """
    found = read(artifact)
    if found is not None:
        raise ArtifactError(
            artifact.path,
            f"is a delta of build {found.manifest.build_id} against {found.base}",
            f"Give the complete artifact (SHA-256 {found.sha256})",
        )


def base_of(artifact: Artifact) -> str:
    """Return the build that *artifact* is a delta against, "" when it is whole."""
    found = read(artifact)
    return found.base if found else ""


def is_found_by_path(manifest: manifests.Manifest, member: str) -> bool:
    """Tell whether an installation has *member* under its own name, unchanged: files of the project, static files."""
    return member.startswith((manifest.project + "/", layout.STATIC + "/"))


def _check(artifact: Artifact, found: Delta) -> None:
    manifest, own = found.manifest, artifact.manifest
    left_out = found.archives.keys() | {layout.index_of(name) for name in found.archives}
    if (manifest.project, manifest.shebang) != (own.project, own.shebang):
        raise ArtifactError(MANIFEST, "belongs to another project than the delta", _AGAIN)
    for name, member in manifest.members.items():
        if name in own.members:
            if own.members[name] != member:
                raise ArtifactError(name, "does not match the manifest of the complete build", _AGAIN)
        elif name not in left_out and not is_found_by_path(manifest, name):
            raise ArtifactError(name, "is missing from the delta", _AGAIN)


def _parsed(text: bytes, manifest: manifests.Manifest) -> Delta:
    try:
        document = strict_json.bounded_json(text, object_pairs_hook=_object)
        if not isinstance(document, dict) or set(document) != _KEYS or document["schema"] != FORMAT:
            raise ValueError("it has other keys, or another schema, than this version reads")
        archives = {str(member): _rows(rows) for member, rows in document["archives"].items()}
        digests = [document["base_sha256"], document["sha256"]]
        if not _BUILD.match(document["base"]) or not all(_DIGEST.match(digest) for digest in digests):
            raise ValueError("a digest has a wrong form")
        if type(document["size"]) is not int or not 0 <= document["size"] <= layout.MAX_SIZE:
            raise ValueError("the size has a wrong form")
        if not set(archives) <= set(manifest.members):
            raise ValueError("it names an archive that is not in the build")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ArtifactError(PLAN, f"is not in order ({error})", _AGAIN) from None
    base_sha256, sha256 = digests
    return Delta(document["base"], base_sha256, sha256, document["size"], archives, manifest)


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _rows(rows: Any) -> Tuple[Row, ...]:
    found = []
    for name, mode, size, sha256 in rows:
        if type(name) is not str or type(size) is not int or type(sha256) is not str:
            raise ValueError("a file's name, size or digest has a wrong type")
        if mode not in layout.FILE_MODES or not 0 <= size <= layout.MAX_SIZE or not _DIGEST.match(sha256):
            raise ValueError("a file's mode, size or digest is out of range")
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise ValueError("a file's name is not a plain path")
        found.append(Row(name, mode, size, sha256))
    return tuple(found)
