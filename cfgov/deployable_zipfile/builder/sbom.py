"""The bill of materials: which distributions the artifact holds, for which targets (CycloneDX 1.6, JSON)."""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from .. import __version__
from ..definitions import NamedTuple
from .collected import CollectedWheel
from .embedded import Embedded

# The library takes as long to import as a whole build from the cache does, which needs none of it.
if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from packageurl import PackageURL

FORMAT = 3  # for caches
_NAMESPACE = uuid.UUID("0f6a4d0e-6d0b-5c0e-9d55-7c1f6c0f7b55")  # of serial numbers made from content


class Part(NamedTuple):
    """One wheel in the artifact."""

    member: str  # its name in the artifact
    wheel: CollectedWheel
    targets: Tuple[str, ...]
    needs: Tuple[str, ...]  # members that it requires


def document(project: str, version: str, epoch: int, parts: Sequence[Part], pythons: Sequence[str] = ()) -> bytes:
    """Return the bill of materials of *project* as JSON; the same parts give the same bytes.

    Parameters:
        version: of the project: its commit, "" when unknown.
        epoch: seconds since 1970 UTC, written as the time of the document.
        pythons: "3.11" and so on, which the targets bring and the artifact needs.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom()
    root = Component(name=project, version=version or None, type=ComponentType.APPLICATION, bom_ref=project)
    bom.metadata.component = root
    bom.metadata.tools.components.add(
        Component(name="deployable-zipfile", version=__version__, type=ComponentType.APPLICATION)
    )
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    components = {part.member: _component(part) for part in parts}
    interpreters = [_interpreter(python) for python in pythons]
    for component in [*components.values(), *interpreters]:
        bom.components.add(component)
    for part in parts:
        bom.register_dependency(components[part.member], _known(components, part.needs))
    needed = {member for part in parts for member in part.needs}
    bom.register_dependency(root, [*_known(components, sorted(set(components) - needed)), *interpreters])
    for interpreter in interpreters:
        bom.register_dependency(interpreter)
    content = [
        project,
        version,
        epoch,
        [_content(part) for part in sorted(parts, key=lambda part: part.member)],
        list(pythons),
        __version__,
    ]
    bom.serial_number = uuid.uuid5(_NAMESPACE, hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest())
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    return json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=True).encode("ascii") + b"\n"


def _content(part: Part) -> List[object]:
    """Return what the serial number follows from."""
    wheel = part.wheel
    about = [wheel.name, wheel.version, wheel.sha256, wheel.licence, wheel.built_from]
    return [part.member, *about, part.targets, part.needs, wheel.floors, wheel.embedded]


def _interpreter(python: str) -> Component:
    """Return the Python of a target: the artifact needs it and does not hold it."""
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        name="cpython",
        version=python,
        type=ComponentType.PLATFORM,
        bom_ref=f"cpython-{python}",
        purl=PackageURL("generic", None, "cpython", python),
        properties=[Property(name="deployable-zipfile:provided-by", value="target")],
    )


def _library(member: str, number: int, library: Embedded) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        name=library.name,
        version=library.version or None,
        type=ComponentType.LIBRARY,
        bom_ref=f"{member}#{number}",
        purl=_purl(library.purl),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=library.sha256)] if library.sha256 else [],
        licenses=[_licence(library.licence)] if library.licence else [],
        properties=[Property(name="deployable-zipfile:file", value=library.where)],
    )


def _purl(text: str) -> Optional[PackageURL]:
    """Return the package URL *text*; None for none, and for what a wheel calls one and is none."""
    from packageurl import PackageURL

    try:
        return PackageURL.from_string(text) if text else None
    except ValueError:
        return None


def _component(part: Part) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    wheel = part.wheel
    properties = [Property(name="deployable-zipfile:member", value=part.member)]
    properties += [Property(name="deployable-zipfile:target", value=target) for target in part.targets]
    properties += [Property(name="deployable-zipfile:glibc", value=floor) for floor in wheel.floors]
    if wheel.built_from:
        properties.append(Property(name="deployable-zipfile:built-from", value=wheel.built_from))
    licences = [_licence(wheel.licence)] if wheel.licence else []
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        bom_ref=part.member,
        purl=PackageURL("pypi", None, wheel.name, wheel.version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
        licenses=licences,
        properties=properties,
        components=[_library(part.member, number, library) for number, library in enumerate(wheel.embedded)],
    )


def _licence(text: str) -> Union[DisjunctiveLicense, LicenseExpression]:
    """Return *text* as an SPDX identifier or expression if it is one, else as a name."""
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import fixup_id, is_expression

    identifier = fixup_id(text)
    if identifier:
        return DisjunctiveLicense(id=identifier)
    return LicenseExpression(text) if is_expression(text) else DisjunctiveLicense(name=text)


def _known(components: Dict[str, Component], members: Iterable[str]) -> List[Component]:
    return [components[member] for member in members if member in components]
