"""The wheels of one target, and the proof that they are complete, unambiguous and fit for it.

A chapter between ``collect.py``, which finds the wheels, and ``pack.py``, which packs them.
"""

from __future__ import annotations

import re
from typing import AbstractSet, Callable, Dict, FrozenSet, List, Sequence, Tuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ..artifact import layout, patches
from ..definitions import NamedTuple
from ..errors import WheelError
from . import closure, collected, markers, requirements, targets
from .collected import CollectedWheel

_PIP_FLOOR = Version("26.1.2")  # older ones let an entry point's name leave the environment (CVE-2026-8643)
_PIP_FLOOR_FROM = (3, 10)  # the oldest Python that such a pip exists for


class TargetPlan(NamedTuple):
    """The wheels of one target, in the order of their names, or once checked in the order of installation."""

    target: targets.BuildTarget
    wheels: Tuple[CollectedWheel, ...]
    bootstrap: Tuple[CollectedWheel, ...]  # pip, and what else a virtual environment starts with
    holds: Tuple[patches.Range, ...] = ()  # releases of Python that it is complete for, (): all of them
    limited: Tuple[Tuple[str, Tuple[patches.Range, ...]], ...] = ()  # files that only these releases need
    markers: Tuple[Tuple[str, str], ...] = ()  # variables and values that it depends on
    requested: FrozenSet[str] = frozenset()  # names of projects that the requirements file itself names
    from_cache: bool = False  # as an earlier build with this lock collected it

    @property
    def folders(self) -> Tuple[Tuple[str, Tuple[CollectedWheel, ...]], ...]:
        """The wheels by their folder in the artifact."""
        return (layout.WHEELS, self.wheels), (layout.BOOTSTRAP_WHEELS, self.bootstrap)


def distinct(plans: Sequence[TargetPlan]) -> List[TargetPlan]:
    """Give different wheels different names: two Pythons may build one sdist to two wheels of one name.

    The later one gets a build tag (PEP 427) that names its Python.
    """
    names: Dict[str, str] = {}
    result = []
    for plan in plans:
        groups = []
        for group in (plan.wheels, plan.bootstrap):
            groups.append(tuple(_named_apart(wheel, plan.target, names) for wheel in group))
        result.append(plan._replace(wheels=groups[0], bootstrap=groups[1]))
    return result


def _named_apart(wheel: CollectedWheel, target: targets.BuildTarget, names: Dict[str, str]) -> CollectedWheel:
    if names.setdefault(wheel.file, wheel.sha256) == wheel.sha256:
        return wheel
    if not wheel.built_from:
        raise WheelError(wheel.file, "is offered with different contents under the same name", "Use one package index")
    distribution, version, rest = wheel.file.split("-", 2)
    renamed = f"{distribution}-{version}-1{target.abi}-{rest}"
    names[renamed] = wheel.sha256
    return wheel._replace(file=renamed)


def check(plan: TargetPlan, locked: requirements.Requirements, strict: bool, warn: Callable[[str], None]) -> TargetPlan:
    """Prove that *plan* is complete, unambiguous and runs on its target; return it with what it holds for.

    Parameters:
        strict: refuse what would otherwise be a warning.

    Raises:
        WheelError: a wheel is missing, there twice, or cannot run; named.
    """
    target = plan.target
    # A lock may name the very pip or setuptools that the virtual environment starts with.
    started = _spare(plan)
    plan = plan._replace(wheels=tuple(wheel for wheel in plan.wheels if wheel.file not in started))
    _check_each(plan, warn)
    for text in _doubts(plan):
        if strict:
            what, _, why = text.partition(": ")
            raise WheelError(what, why, "Leave out --strict if this is intended")
        warn(text)
    at = markers.Releases(target.markers)
    roots = [(line.place, line.requirement) for line in locked.lines]
    # Nothing of the lock asks for these: they make the virtual environment.
    roots += [("the virtual environment", Requirement(name)) for name in sorted(wheel.name for wheel in plan.bootstrap)]
    everything = plan.wheels + plan.bootstrap
    outcome = closure.follow(roots, everything, at, _spare(plan))
    outcome = outcome._replace(problems=(*outcome.problems, *limits(locked, at)))
    holding = at.all & ~outcome.failing
    _check_holding(target, at, outcome, holding)
    ranges = at.ranges(holding)
    if holding & at.final != at.final:
        problem = next(one for one in outcome.problems if one.releases & at.final)
        where = patches.described(at.ranges(problem.releases & at.final))
        warn(
            f"{target.label}: the wheels are complete for CPython {patches.described(at.ranges(holding & at.final))} "
            f"only. On {where}, {problem}"
        )
    limited = _limited(plan, at, outcome, holding)
    order = closure.install_order(roots, everything, at)
    wheels_ = tuple(sorted(limited.wheels, key=lambda wheel: (order.index(wheel.name), wheel.file)))
    return limited._replace(wheels=wheels_, holds=ranges, markers=_markers(plan, roots))


def _spare(plan: TargetPlan) -> FrozenSet[str]:
    """Return the files that give way to other wheels of their projects."""
    return frozenset(wheel.file for wheel in plan.bootstrap)


def limits(locked: requirements.Requirements, at: markers.Releases) -> List[closure.Problem]:
    """Return the releases that a lock excludes by its own words: ``requires-python`` and ``environments`` (PEP 751)."""
    found = [_unfit(locked.path, locked.requires_python, at, at.all)]
    found += [
        _unfit(f"{line.place}: {line.requirement.name}", line.requires_python, at, at.where(line.requirement.marker))
        for line in locked.lines
        if line.requires_python
    ]
    found += _ambiguous(locked, at)
    covered = at.all if not locked.environments else 0
    for marker in locked.environments:
        covered |= at.where(Marker(marker))
    why = f"was made for {' or '.join(locked.environments)}"
    found.append(closure.Problem(locked.path, why, "Lock for this platform as well", at.all & ~covered))
    return [problem for problem in found if problem.releases]


def _ambiguous(locked: requirements.Requirements, at: markers.Releases) -> List[closure.Problem]:
    """Return the releases for which a project is there twice.

    In a ``pylock.toml`` that is an error in any case (PEP 751, "Installation"); elsewhere where a variable of the
    kernel chooses the version.
    """
    found: List[closure.Problem] = []
    earlier: Dict[str, List[requirements.Line]] = {}
    for line in locked.lines:
        several = earlier.setdefault(canonicalize_name(line.requirement.name), [])
        for other in several:
            both = at.where(line.requirement.marker) & at.where(other.requirement.marker)
            why = _twice(locked.path, other, line)
            if both and why:
                found.append(closure.Problem(line.requirement.name, why, "Lock one of them", both))
        several.append(line)
    return found


def _twice(path: str, one: requirements.Line, other: requirements.Line) -> str:
    """Return why two lines of one project for one release are ambiguous, "" when they need not be."""
    if other.place.startswith(f"{path}:packages["):
        return f"is locked twice, at {one.place} and {other.place}"
    chosen_by = [
        name for name in sorted(markers.KERNEL) for line in (one, other) if name in str(line.requirement.marker)
    ]
    versions = [str(line.requirement.specifier) for line in (one, other)]
    if not chosen_by or versions[0] == versions[1] or not all(re.match(r"==[^,*]+\Z", version) for version in versions):
        return ""
    return f"has two versions, at {one.place} and {other.place}, and {chosen_by[0]} differs from host to host"


def _unfit(what: str, requires_python: str, at: markers.Releases, wanted: int) -> closure.Problem:
    releases = wanted & ~at.admitting(requires_python)
    return closure.Problem(what, f"needs Python {requires_python}", "Lock for this Python as well", releases)


def _check_holding(target: targets.BuildTarget, at: markers.Releases, outcome: closure.Outcome, holding: int) -> None:
    """Refuse a plan that does not hold for the Python that builds, or of a named target for no release at all."""
    own = at.of(target.release)
    if holding & own or (target.cross and holding & at.final):
        return
    failed = [problem for problem in outcome.problems if problem.releases & own]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    first = failed[0]
    where = target.label if target.cross else f"{target.label}, Python {target.release}"
    raise WheelError(first.what, f"{first.why} (for {where}){more}", first.fix)


def _limited(plan: TargetPlan, at: markers.Releases, outcome: closure.Outcome, holding: int) -> TargetPlan:
    """Return *plan* with the releases that each wheel is for, without what no release needs.

    A wheel that nothing asks for is one that pip fetched for a reason of its own, and is for every release.
    """
    every = plan.wheels + plan.bootstrap
    needed = {wheel.file: outcome.needed[wheel.file] & holding for wheel in every}
    limited = {file: at.ranges(chosen) for file, chosen in needed.items() if chosen and chosen != holding}
    named = {wheel.name for wheel in plan.wheels if needed[wheel.file]}
    kept = [
        wheel
        for wheel in plan.wheels
        if needed[wheel.file] or (not outcome.needed[wheel.file] and wheel.name not in named)
    ]
    return plan._replace(
        wheels=tuple(kept),
        bootstrap=tuple(wheel for wheel in plan.bootstrap if needed[wheel.file]),
        limited=tuple(sorted(limited.items())),
    )


def _markers(plan: TargetPlan, roots: Sequence[Tuple[str, Requirement]]) -> Tuple[Tuple[str, str], ...]:
    values, everything = plan.target.markers, plan.wheels + plan.bootstrap
    names = set(closure.platform_markers(roots, everything, values, _spare(plan)))
    if not all(any(tag.endswith("-any") for tag in wheel.tags) for wheel in everything):
        names |= {"platform_machine", "sys_platform"}
    return tuple((name, values[name]) for name in sorted(names))


def every_wheel(plans: Sequence[TargetPlan]) -> List[CollectedWheel]:
    """Return every wheel of *plans* once, sorted by file name."""
    found = {wheel.file: wheel for plan in plans for wheel in plan.wheels + plan.bootstrap}
    return [found[name] for name in sorted(found)]


def _check_each(plan: TargetPlan, warn: Callable[[str], None]) -> None:
    target = plan.target
    tags = target.tags
    for wheel in plan.wheels + plan.bootstrap:
        collected.check_fits(wheel, target.label, tags, target.machine, target.glibc)
        if wheel.built_from and any(tag.endswith(f"-linux_{target.machine}") for tag in wheel.tags):
            floor = collected.glibc_floor([wheel], target.machine)
            warn(f"{wheel.file}: was compiled here, it needs glibc {floor} and the libraries of this system")
    if not any(wheel.name == "pip" for wheel in plan.wheels + plan.bootstrap):
        raise WheelError("pip", f"is missing among the bootstrap wheels for {target.label}", "Install the tool again")


def _doubts(plan: TargetPlan) -> List[str]:
    """Return what deserves a look.

    Code that runs at every start of Python, a pip with known holes, wheels that were broken, imports of a
    pkg_resources that is not there.
    """
    found = [
        f"{wheel.file}: runs code at every start of Python ({', '.join(wheel.startup)})"
        for wheel in plan.wheels
        if wheel.startup
    ]
    found += [f"{wheel.file}: {doubt}" for wheel in plan.wheels for doubt in wheel.doubts]
    found += [
        f"{wheel.file}: was broken and is packed with a new RECORD, as allowed"
        for wheel in plan.wheels
        if wheel.built_from.partition(" ")[0].endswith(".whl")
    ]
    found += _without_pkg_resources(plan)
    release = Version(plan.target.version).release[:2]
    for wheel in plan.wheels + plan.bootstrap:
        if wheel.name == "pip" and release >= _PIP_FLOOR_FROM and Version(wheel.version) < _PIP_FLOOR:
            found.append(f"{wheel.file}: is older than pip {_PIP_FLOOR}, which closed CVE-2026-8643")
    return found


def _without_pkg_resources(plan: TargetPlan) -> List[str]:
    """Name the wheels that import pkg_resources, which setuptools has no more since version 82."""
    everything = plan.wheels + plan.bootstrap
    if any(name.startswith("pkg_resources/") for wheel in everything for _, name in wheel.python_files):
        return []
    return [
        f"{wheel.file}: imports pkg_resources ({wheel.pkg_resources}), which no wheel here has; lock setuptools<82"
        for wheel in plan.wheels
        if wheel.pkg_resources
    ]


def rehearse(
    plan: TargetPlan,
    rehearsed: Callable[[Sequence[CollectedWheel], str, str], List[Tuple[str, str, List[str]]]],
    project: str,
    modules: AbstractSet[str],
    warn: Callable[[str], None],
) -> None:
    """Refuse at build every wheel of *plan* that the target would refuse to install, by the installer's own code.

    Parameters:
        rehearsed: plans the installation of wheels for a Python and a project, as the installer does.
        project: its name.
        modules: names of the modules and packages in its folder, which is on ``sys.path`` after site-packages.

    Raises:
        WheelError: naming wheel and inner file.
    """
    everything = plan.wheels + plan.bootstrap
    own = {wheel.file for wheel in plan.bootstrap}
    limited = dict(plan.limited)
    starts = {one.first for ranges in [plan.holds, *limited.values()] for one in ranges} or {plan.target.version}
    chosen: Dict[Tuple[str, ...], List[CollectedWheel]] = {}
    for start in sorted(starts):
        patch = patches.parsed(start)
        together = [one for one in everything if patches.hold(limited.get(one.file, ()), patch)]
        chosen.setdefault(tuple(one.file for one in together), together)
    for together in chosen.values():
        for first, second, paths in rehearsed(together, plan.target.python, project):
            more = f" and {len(paths) - 1} more file{'s' if len(paths) > 2 else ''}" if len(paths) > 1 else ""
            end = "" if second in own else ", as with pip"
            warn(f"{first} and {second}: both contain {paths[0]}{more} with different contents; {second} wins{end}")
    for one in everything:
        hidden = sorted(modules & {name.partition("/")[0].partition(".py")[0] for _, name in one.python_files})
        if hidden:
            warn(f"{one.file}: its module {hidden[0]} hides the project's own module of that name")
