"""What an artifact holds and how two differ, from the strict readers alone."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Set

from ..artifact import layout
from ..artifact.wheel import Wheel
from ..artifact.zipreader import Artifact

_MIGRATION = re.compile(r"(?:.*/)?migrations/[0-9]{4}_[^/]*\.py\Z")


class Difference(NamedTuple):
    """One thing that differs between two artifacts."""

    kind: str  # "package", "project file", "migration", "static file" or "target"
    change: str  # "added", "removed" or "changed"
    name: str
    old: str  # version, digest or floor; "" when it is not in the old one
    new: str


def summary(artifact: Artifact) -> Dict[str, Any]:
    """Return what *artifact* holds as JSON values.

    Raises:
        DeployableZipfileError: the artifact or a wheel in it breaks a rule of its form.
    """
    manifest = artifact.manifest
    sizes: Dict[str, int] = {}
    for name, entry in artifact.members.items():
        part = name if "/" not in name else "/".join(name.split("/")[: 2 if name.startswith(".") else 1])
        sizes[part] = sizes.get(part, 0) + entry.compressed
    return {
        "path": artifact.path,
        "size": artifact.size,
        "build_id": manifest.build_id,
        "project": manifest.project,
        "commit": manifest.source.commit,
        "dirty": manifest.source.dirty,
        "targets": _targets(manifest),
        "parts": dict(sorted(sizes.items())),
        "packages": [_package(artifact, name) for name in sorted(artifact.members) if layout.is_wheel(name)],
    }


def _package(artifact: Artifact, member: str) -> Dict[str, Any]:
    entry = artifact.members[member]
    wheel = Wheel(artifact.descriptor, artifact.container.data_start(entry), entry.size, member)
    return {
        "name": wheel.name,
        "version": wheel.version,
        "file": member,
        "size": entry.size,
        "compiled": sum(1 for name in wheel.files if re.search(r"\.so(\.[0-9]+)*\Z", name)),
        "pth": sorted(name for name in wheel.files if name.endswith(".pth")),
    }


def differences(old: Artifact, new: Artifact) -> List[Difference]:
    """Return everything that differs, in the order packages, migrations, project files, static files, targets."""
    found = _between("package", _packages(old.manifest), _packages(new.manifest))
    before, after = _files(old), _files(new)
    for kind in ("migration", "project file", "static file"):
        found += _between(kind, before[kind], after[kind])
    return found + _between("target", _targets(old.manifest), _targets(new.manifest))


def _between(kind: str, old: Dict[str, str], new: Dict[str, str]) -> List[Difference]:
    found = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            change = "added" if name not in old else "removed" if name not in new else "changed"
            found.append(Difference(kind, change, name, old.get(name, ""), new.get(name, "")))
    return found


def _packages(manifest: layout.Manifest) -> Dict[str, str]:
    versions: Dict[str, Set[str]] = {}
    for target in manifest.targets:
        for wheel in target.wheels + target.bootstrap:
            versions.setdefault(wheel.name, set()).add(wheel.version)
    return {name: ", ".join(sorted(found)) for name, found in versions.items()}


def _targets(manifest: layout.Manifest) -> Dict[str, str]:
    return {
        f"CPython {target.python} {target.machine}": f"{target.libc} {target.libc_floor}".strip()
        for target in manifest.targets
    }


def _files(artifact: Artifact) -> Dict[str, Dict[str, str]]:
    """Return the digests of the project's files by kind and name, those in nested payloads included."""
    found: Dict[str, Dict[str, str]] = {"migration": {}, "project file": {}, "static file": {}}
    listings = [artifact.manifest.members]
    listings += [artifact.payload_members(payload)[1] for payload in artifact.manifest.payloads]
    for members in listings:
        for name, member in members.items():
            if name.startswith(f"{layout.STATIC}/"):
                kind = "static file"
            elif name.startswith(f"{artifact.manifest.project}/"):
                kind = "migration" if _MIGRATION.match(name) else "project file"
            else:
                continue
            found[kind][name] = f"{member.sha256[:12]} {member.mode:o}"
    return found
