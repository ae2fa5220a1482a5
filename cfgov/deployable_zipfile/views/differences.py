"""How two artifacts differ, or an artifact and what is installed: by the strict readers only."""

from __future__ import annotations

import hashlib
from typing import Dict, List, Optional, Set, Tuple

from packaging.version import InvalidVersion, Version

from ..artifact import layout, manifests
from ..definitions import NamedTuple, expression
from . import sources
from .sides import Side

_MIGRATION = expression(r"(?:.*/)?migrations/[0-9]{4}_[^/]*\.py\Z")
_FILE_KINDS = ("migration", "project file", "static file")

Key = Tuple[str, str]  # Python and machine of a target


class Difference(NamedTuple):
    """One thing that differs."""

    kind: str  # "package", "entry point", "migration", "project file", "static file", "setting", "environment key", ...
    change: str  # "added", "removed" or "changed"; of packages "upgraded", "downgraded" and "rebuilt" too
    name: str
    old: str  # version, digest, floor or file; "" when it is not in the old one
    new: str


class Result(NamedTuple):
    """Everything that differs, and what could not be compared."""

    found: List[Difference]
    unread: List[str]  # Python files that could not be parsed


def between(old: Side, new: Side) -> Result:
    """Return everything that differs, in a fixed order of kinds, names sorted.

    Raises:
        DeployableZipfileError: one of the two breaks a rule of its form.
    """
    found = _packages(old, new) + _entry_points(old, new)
    changed = sources.changed_files(old, new)
    before, after = _files(old, changed), _files(new, changed)
    for kind in _FILE_KINDS:
        found += _changed(kind, before[kind], after[kind])
    found += _changed("empty folder", _folders(old.manifest), _folders(new.manifest))
    found += _targets(old.manifest, new.manifest)
    named, unread = _names(old, new, changed)
    found += _declared(old, new)
    found += named + _changed("tool", _tool(old.manifest), _tool(new.manifest))
    found += [
        Difference("drift", change, path, "", side.path) for side in (old, new) for change, path in side.drifted()
    ]
    return Result(found, unread)


def _changed(kind: str, old: Dict[str, str], new: Dict[str, str]) -> List[Difference]:
    found = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            change = "added" if name not in old else "removed" if name not in new else "changed"
            found.append(Difference(kind, change, name, old.get(name, ""), new.get(name, "")))
    return found


def target_names(manifest: manifests.Manifest) -> Dict[str, str]:
    """Return what each target needs, by its name."""
    return {f"CPython {one.python} {one.machine}": _needs(one) for one in manifest.targets}


def _needs(target: manifests.Target) -> str:
    parts = [f"{target.libc} {target.libc_floor}".strip()]
    parts += [f"Python {one.first or 'any'} to {one.last or 'any'}" for one in target.patch_releases]
    parts += [f"needs {', '.join(target.libraries)}"] if target.libraries else []
    return "; ".join(parts)


def _targets(old: manifests.Manifest, new: manifests.Manifest) -> List[Difference]:
    return _changed("target", target_names(old), target_names(new)) + _changed(
        "first line", {"#!": old.shebang}, {"#!": new.shebang}
    )


def _packages(old: Side, new: Side) -> List[Difference]:
    """Compare the packages of each target; one that has the same version, but another wheel, is rebuilt."""
    before, after = _planned(old.manifest), _planned(new.manifest)
    found = []
    for name in sorted({*before, *after}):
        one, other = before.get(name, {}), after.get(name, {})
        versions = _versions(one), _versions(other)
        change = "added" if not one else "removed" if not other else _direction(one, other)
        if change:
            found.append(Difference("package", change, name, *versions))
    return found


class _Planned(NamedTuple):
    version: str
    file: str
    sha256: str


def _planned(manifest: manifests.Manifest) -> Dict[str, Dict[Key, Set[_Planned]]]:
    found: Dict[str, Dict[Key, Set[_Planned]]] = {}
    for target in manifest.targets:
        for wheel in target.wheels + target.bootstrap:
            one = _Planned(wheel.version, wheel.file.rpartition("/")[2], manifest.members[wheel.file].sha256)
            found.setdefault(wheel.name, {}).setdefault((target.python, target.machine), set()).add(one)
    return found


def _versions(planned: Dict[Key, Set[_Planned]]) -> str:
    versions = {one.version for group in planned.values() for one in group}
    return ", ".join(sorted(versions, key=lambda version: (_version(version) or Version("0"), version)))


def _direction(old: Dict[Key, Set[_Planned]], new: Dict[Key, Set[_Planned]]) -> str:
    """Say how a package that both sides have changed; "" when nothing did on the targets that both are for."""
    common = [key for key in old if key in new]
    pairs = [(old[key], new[key]) for key in common if old[key] != new[key]]
    if not common:
        pairs = [(set().union(*old.values()), set().union(*new.values()))]
    steps = {_step(one, other) for one, other in pairs} - {""}
    if len(steps - {"rebuilt"}) > 1:
        return "changed"
    return next(iter(sorted(steps - {"rebuilt"})), "rebuilt" if "rebuilt" in steps and common else "")


def _step(old: Set[_Planned], new: Set[_Planned]) -> str:
    if {one.version for one in old} == {one.version for one in new}:
        return "rebuilt" if old != new else ""
    versions = [[_version(one.version) for one in group] for group in (old, new)]
    known = [[version for version in group if version is not None] for group in versions]
    if any(None in group for group in versions) or sorted(known[0]) == sorted(known[1]):
        return "changed"
    return "upgraded" if sorted(known[0], reverse=True) < sorted(known[1], reverse=True) else "downgraded"


def _version(text: str) -> Optional[Version]:
    try:
        return Version(text.replace("_", "+", 1) if "+" not in text else text)
    except InvalidVersion:
        return None


def _entry_points(old: Side, new: Side) -> List[Difference]:
    """Compare how the project is run, and the scripts of packages that both sides have."""
    before, after = _site(old.manifest), _site(new.manifest)
    if old.manifest.site is None or new.manifest.site is None:
        before, after = {}, {}  # one of the two was made by a version that did not record it
    members = [
        {wheel.name: wheel.file for target in side.manifest.targets for wheel in target.wheels + target.bootstrap}
        for side in (old, new)
    ]
    for name in sorted(set(members[0]) & set(members[1])):
        files = members[0][name], members[1][name]
        if old.manifest.members[files[0]].sha256 == new.manifest.members[files[1]].sha256:
            continue
        scripts = old.scripts(files[0]), new.scripts(files[1])
        if scripts[0] is not None and scripts[1] is not None:
            for found, given in ((before, scripts[0]), (after, scripts[1])):
                for line in given:
                    script, _, reference = line.partition(" = ")
                    found[f"{script} of {name}"] = reference
    return _changed("entry point", before, after)


def _site(manifest: manifests.Manifest) -> Dict[str, str]:
    if manifest.site is None:
        return {}
    given = manifest.site._asdict()
    texts = {key: " ".join(value) if isinstance(value, tuple) else str(value) for key, value in given.items()}
    return {key.replace("_", "-"): text for key, text in texts.items() if text}


def _files(side: Side, changed: List[str]) -> Dict[str, Dict[str, str]]:
    """Return digest and mode of those of the project's files that *changed*, by kind and name."""
    found: Dict[str, Dict[str, str]] = {kind: {} for kind in _FILE_KINDS}
    for name in changed:
        member = side.files.get(name)
        if member is None:
            continue
        if name.startswith(f"{layout.STATIC}/"):
            kind = "static file"
        else:
            kind = "migration" if _MIGRATION.match(name) else "project file"
        found[kind][name] = f"{member.sha256[:12]} {member.mode:o}"
    return found


def _folders(manifest: manifests.Manifest) -> Dict[str, str]:
    return dict.fromkeys(manifest.directories, "empty")


def _declared(old: Side, new: Side) -> List[Difference]:
    """Compare the declared variables of environment.json, where both sides know them."""
    before, after = old.variables(), new.variables()
    return _changed("declared variable", before, after) if before is not None and after is not None else []


def _names(old: Side, new: Side, changed: List[str]) -> Tuple[List[Difference], List[str]]:
    """Compare what the project's sources read and set."""
    before, after = sources.compared(old, new, changed)
    found = _changed_names("environment key", _read(before.environment), _read(after.environment))
    settings = [_settings(one) for one in (before, after)]
    found += _changed_names("setting", settings[0], settings[1])
    return found, sorted({*before.unread, *after.unread})


def _changed_names(kind: str, old: Dict[str, Tuple[str, str]], new: Dict[str, Tuple[str, str]]) -> List[Difference]:
    """Compare names by how they are used; where is told, but only another place is not a difference."""
    differing = {name for name in {*old, *new} if old.get(name, ("", ""))[0] != new.get(name, ("", ""))[0]}
    texts = [
        {name: f"{how} in {where}" for name, (how, where) in side.items() if name in differing} for side in (old, new)
    ]
    return _changed(kind, texts[0], texts[1])


def _read(names: Dict[str, str]) -> Dict[str, Tuple[str, str]]:
    return {name: ("read", file) for name, file in names.items()}


def _settings(found: sources.Found) -> Dict[str, Tuple[str, str]]:
    settings = _read(found.read)
    for name, file in found.assigned.items():
        settings[name] = ("assigned and read", file) if name in settings else ("assigned", file)
    return settings


def _tool(manifest: manifests.Manifest) -> Dict[str, str]:
    """Return version and digest of the tool's own modules in the artifact."""
    digest = hashlib.sha256()
    for name in sorted(manifest.members):
        if layout.runtime_path(name) or name in (layout.MAIN, layout.LOADENV_PTH, layout.LOADENV_START):
            digest.update(f"{name} {manifest.members[name].sha256}\n".encode("utf-8", "surrogatepass"))
    return {"deployable-zipfile": f"{manifest.tool_version} ({digest.hexdigest()[:12]})"}
