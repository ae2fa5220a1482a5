"""What an artifact contains, read only by the strict readers."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..artifact import layout, manifests
from ..artifact.wheel import Wheel
from ..artifact.zipreader import Artifact
from ..builder import embedded, metadata
from ..definitions import expression
from ..errors import masked
from . import bill
from .sides import ArtifactSide

_COMPILED = expression(r".*\.(?:so(?:\.[0-9]+)*|pyd|dylib)\Z")


def summary(artifact: Artifact) -> Dict[str, Any]:
    """Return what *artifact* holds as JSON values.

    Raises:
        DeployableZipfileError: the artifact or a wheel in it breaks a rule of its form.
    """
    manifest = artifact.manifest
    side = ArtifactSide(artifact, lists=False)
    nested = sum(len(artifact.nested(payload.file).entries) for payload in manifest.payloads)
    known = side.bill()
    return {
        "path": artifact.path,
        "size": artifact.size,
        "build_id": artifact.build_id,
        "tool": manifest.tool_version,
        "project": manifest.project,
        "commit": manifest.source.commit,
        "dirty": manifest.source.dirty,
        "site": manifest.site._asdict() if manifest.site else None,
        "files": len(side.files) + nested,
        "targets": [_target(target, known) for target in manifest.targets],
        "environment": side.variables(),
        "parts": _parts(artifact),
        "packages": [
            _package(side, name, known.get(name, bill.NOTHING))
            for name in sorted(filter(layout.is_wheel, artifact.members))
        ],
    }


def _target(target: manifests.Target, known: Dict[str, bill.Entry]) -> Dict[str, Any]:
    floor, sets = _floor(target, known)
    return {
        "python": target.python,
        "machine": target.machine,
        "libc": f"{target.libc} {target.libc_floor}".strip(),
        "libc_set_by": sets if floor == target.libc_floor else None,
        "libraries": list(target.libraries),
        "patch_releases": [one._asdict() for one in target.patch_releases],
    }


def _floor(target: manifests.Target, known: Dict[str, bill.Entry]) -> Tuple[str, Optional[Dict[str, str]]]:
    """Return the highest glibc that a wheel of *target* needs, and the wheel and the file in it that need it."""
    found: List[Tuple[List[int], str, Dict[str, str]]] = []
    for wheel in target.wheels + target.bootstrap:
        for floor in known.get(wheel.file, bill.NOTHING).floors:
            if floor.machine == target.machine:
                where = {"wheel": wheel.file, "file": floor.file}
                found.append(([int(part) for part in floor.version.split(".")], floor.version, where))
    if not found:
        return "", None
    _, version, where = max(found, key=lambda one: one[0])
    return version, where


def _parts(artifact: Artifact) -> Dict[str, int]:
    sizes: Dict[str, int] = {}
    for name, entry in artifact.members.items():
        part = name.partition("/")[0]
        if part[0] == ".":
            part = "/".join(name.split("/")[:2])
        sizes[part] = sizes.get(part, 0) + entry.compressed
    return dict(sorted(sizes.items()))


def _package(side: ArtifactSide, member: str, known: bill.Entry) -> Dict[str, Any]:
    wheel = side.wheel(member)
    return {
        "name": wheel.name,
        "version": wheel.version,
        "file": member,
        "size": wheel.size,
        "licence": known.licence or _licence(wheel),
        "origin": f"built from {known.built_from}" if known.built_from else "wheel",
        "compiled": sorted(name for name in wheel.files if _COMPILED.match(name) and not embedded.EMBEDDED.match(name)),
        "embedded": sorted(name for name in wheel.files if embedded.EMBEDDED.match(name)),
        "pth": sorted(name for name in wheel.files if name.endswith((".pth", ".start"))),
        "needs": list(known.needs),
    }


def _licence(wheel: Wheel) -> str:
    return masked(metadata.licence(metadata.headers(wheel)))
