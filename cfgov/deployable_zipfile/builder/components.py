"""The bill of materials of what is packed: which wheels, for which targets, and what needs what. A chapter."""

from __future__ import annotations

from typing import Dict, Iterator, Sequence

from .. import __version__
from ..artifact import manifests
from . import cache, closure, collected, markers, planning, sbom


def bill(kept: cache.Cache, project: str, source: manifests.Source, plans: Sequence[planning.Plan]) -> bytes:
    """Return the bill of materials; making one takes longer than packing, so it is cached.

    So is what requires what, which follows from the wheels: their names, contents and origins are the key.
    """
    pythons = sorted({plan.target.python for plan in plans}, key=lambda python: int(python.split(".")[1]))
    known = (project, source.commit, source.epoch)
    about = [
        [plan.target.label, plan.target.markers, folder, [[one.file, one.sha256, one.built_from] for one in group]]
        for plan in plans
        for folder, group in plan.folders
    ]
    key = cache.key(__version__, sbom.FORMAT, collected.FORMAT, *known, pythons, about)
    text = kept.document("sbom", key)
    if text is None:
        text = sbom.document(*known, list(_parts(plans)), pythons).decode("ascii")
        kept.keep_document("sbom", key, text)
    return str(text).encode("ascii")


def _parts(plans: Sequence[planning.Plan]) -> Iterator[sbom.Part]:
    """Yield every wheel with the targets that install it and the wheels that it requires there."""
    found: Dict[str, sbom.Part] = {}
    for plan in plans:
        at = markers.Releases(plan.target.markers)
        members = [(wheel, f"{folder}/{wheel.file}") for folder, group in plan.folders for wheel in group]
        for wheel, member in members:
            names = closure.names_needed(wheel, at)
            needs = {other for one, other in members if one.name in names}
            part = sbom.Part(member, wheel, (), ())
            before = found.get(member, part)
            found[member] = before._replace(
                targets=(*before.targets, plan.target.label), needs=tuple(sorted(needs | set(before.needs)))
            )
    for member in sorted(found):
        yield found[member]
