"""What the bill of materials says of the wheels: for which targets they are, and which needs which. A chapter."""

from __future__ import annotations

from typing import Dict, Iterator, Sequence

from .. import __version__
from . import cache, closure, collected, markers, planning, sbom


def digest(plans: Sequence[planning.TargetPlan]) -> str:
    """Return a digest of what :func:`parts` follows from: the wheels' names, contents and origins."""
    about = [
        [plan.target.label, plan.target.markers, folder, [[one.file, one.sha256, one.built_from] for one in group]]
        for plan in plans
        for folder, group in plan.folders
    ]
    return cache.key(__version__, sbom.FORMAT, collected.FORMAT, about)


def parts(plans: Sequence[planning.TargetPlan]) -> Iterator[sbom.Part]:
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
