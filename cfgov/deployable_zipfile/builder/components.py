"""The bill of materials of what is packed: which wheels, for which targets, and what needs what. A chapter."""

from __future__ import annotations

from typing import Dict, Iterator, Sequence, Tuple

from .. import __version__
from ..artifact import layout, manifests
from . import cache, closure, markers, planning, sbom, wheels


def bill(kept: cache.Cache, project: str, source: manifests.Source, plans: Sequence[planning.Plan]) -> bytes:
    """Return the bill of materials; making one takes longer than packing, so it is cached.

    So is what requires what, which follows from the wheels: their names, contents and origins are the key.
    """
    pythons = sorted({plan.target.python for plan in plans}, key=lambda python: int(python.split(".")[1]))
    known = (project, source.commit, source.epoch)
    about = [
        [plan.target.label, plan.target.markers, folder, [[one.file, one.sha256, one.built_from] for one in group]]
        for plan in plans
        for folder, group in folders(plan)
    ]
    key = cache.key(__version__, sbom.FORMAT, wheels.FORMAT, *known, pythons, about)
    text = kept.document("sbom", key)
    if text is None:
        text = sbom.document(*known, list(_parts(plans)), pythons).decode("ascii")
        kept.keep_document("sbom", key, text)
    return str(text).encode("ascii")


def folders(plan: planning.Plan) -> Tuple[Tuple[str, Tuple[wheels.Facts, ...]], ...]:
    """Return the wheels of *plan* by their folder in the artifact."""
    return (layout.WHEELS, plan.wheels), (layout.BOOTSTRAP_WHEELS, plan.bootstrap)


def _parts(plans: Sequence[planning.Plan]) -> Iterator[sbom.Part]:
    """Yield every wheel with the targets that install it and the wheels that it requires there."""
    found: Dict[str, sbom.Part] = {}
    for plan in plans:
        at = markers.Releases(plan.target.markers)
        members = [(facts, f"{folder}/{facts.file}") for folder, group in folders(plan) for facts in group]
        for facts, member in members:
            names = closure.names_needed(facts.requires, at)
            needs = {other for one, other in members if one.name in names}
            part = sbom.Part(
                member=member,
                name=facts.name,
                version=facts.version,
                sha256=facts.sha256,
                licence=facts.licence,
                built_from=facts.built_from,
                targets=(),
                needs=(),
                floors=_floors(facts),
                embedded=tuple(sbom.Library(*library) for library in facts.embedded),
            )
            before = found.get(member, part)
            found[member] = before._replace(
                targets=(*before.targets, plan.target.label), needs=tuple(sorted(needs | set(before.needs)))
            )
    for member in sorted(found):
        yield found[member]


def _floors(facts: wheels.Facts) -> Tuple[str, ...]:
    """Return for each architecture the glibc that the wheel needs and the file that needs it."""
    return tuple(
        f"{elf.machine} {elf.glibc[0]}.{elf.glibc[1]} {elf.glibc_file}" for elf in facts.elves if any(elf.glibc)
    )
