"""Which wheels each patch release of a Python needs, and for which of them a plan is valid.

Requirements are followed for every patch release at once: see :mod:`markers`. For variables that no build can know,
both outcomes must be fulfilled: what one of them requires is required.
"""

from __future__ import annotations

import functools
import os
from typing import Dict, FrozenSet, Iterable, List, Mapping, Sequence, Set, Tuple
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..definitions import NamedTuple
from .collected import CollectedWheel
from .markers import KERNEL, Releases

# What a target without compiled files may have otherwise than the build.
PLATFORM = ("platform_machine", "sys_platform", "os_name", "platform_system")
_VISITS = 5  # of one project in a circle of requirements, as in pip


class Problem(NamedTuple):
    """Why a plan does not hold for some releases."""

    what: str
    why: str  # a clause
    fix: str
    releases: int  # set of releases

    def __str__(self) -> str:
        return f"{self.what} {self.why}"


class Outcome(NamedTuple):
    """What following the requirements came to."""

    needed: Dict[str, int]  # releases that need each wheel, by file name
    problems: Tuple[Problem, ...]

    @property
    def failing(self) -> int:
        """The releases that the plan does not hold for."""
        return functools.reduce(int.__or__, (problem.releases for problem in self.problems), 0)


def follow(
    roots: Sequence[Tuple[str, Requirement]],
    wheels: Sequence[CollectedWheel],
    at: Releases,
    spare: FrozenSet[str] = frozenset(),
    sure: bool = False,
) -> Outcome:
    """Follow the requirements of *roots* through *wheels*, for every release at once.

    Parameters:
        roots: (place, requirement) of every line of the requirements file.
        wheels: of one target; several of one project only where markers of *roots* tell them apart.
        spare: file names of wheels that give way to others of their projects.
        sure: follow only requirements that hold in any case.
    """
    known: Dict[str, List[CollectedWheel]] = {}
    for wheel in wheels:
        known.setdefault(wheel.name, []).append(wheel)
    places = {wheel.file: at.all for wheel in wheels}
    problems: List[Problem] = []
    for name, several in known.items():
        if len(several) > 1:
            places.update(_told_apart(name, several, roots, at, spare, problems))
    seen: Dict[Tuple[str, str], int] = {}
    waiting = [(place, requirement, at.where(requirement.marker, "", sure)) for place, requirement in roots]
    while waiting:
        wanted_by, requirement, wanted = waiting.pop()
        uncovered = wanted
        candidates = known.get(canonicalize_name(requirement.name), [])
        for wheel in candidates:
            fulfilled = wanted & places[wheel.file] if _fulfils(wheel, requirement) else 0
            uncovered &= ~fulfilled
            unfit = fulfilled & ~at.admitting(wheel.requires_python)
            if unfit:
                problems.append(_unfit(wheel, unfit))
            for extra in sorted({canonicalize_name(extra) for extra in requirement.extras} | {""}):
                new = fulfilled & ~seen.get((wheel.file, extra), 0)
                if new:
                    seen[wheel.file, extra] = seen.get((wheel.file, extra), 0) | new
                    by = f"{wheel.name} {wheel.version}"
                    waiting += [(by, one, new & at.where(one.marker, extra, sure)) for one in wheel.requirements]
        if uncovered:
            problems.append(_absent(requirement, wanted_by, candidates, uncovered))
    needed = {wheel.file: seen.get((wheel.file, ""), 0) for wheel in wheels}
    return Outcome(needed, _merged(problems))


def platform_markers(
    roots: Sequence[Tuple[str, Requirement]],
    wheels: Sequence[CollectedWheel],
    markers: Mapping[str, str],
    spare: FrozenSet[str] = frozenset(),
) -> Tuple[str, ...]:
    """Return the marker variables of the platform whose values the plan depends on, as few as possible."""
    if not any(name in line for name in PLATFORM for line in _lines(roots, wheels)):
        return ()

    def outcomes(known: Sequence[str]) -> Tuple[Outcome, Outcome]:
        at = Releases(markers, KERNEL.union(PLATFORM).difference(known))
        return follow(roots, wheels, at, spare), follow(roots, wheels, at, spare, sure=True)

    depends: Tuple[str, ...] = PLATFORM
    expected = outcomes(depends)
    for name in PLATFORM:
        fewer = tuple(one for one in depends if one != name)
        if outcomes(fewer) == expected:
            depends = fewer
    return depends


def install_order(
    roots: Sequence[Tuple[str, Requirement]], wheels: Sequence[CollectedWheel], at: Releases
) -> Tuple[str, ...]:
    """Return the names of *wheels* in the order in which pip installs them.

    What nothing else in the set requires comes last, so that its files win. Wheels of one weight, which pip defines
    as ``get_topological_weights`` of its resolver does, come in the reverse order of their names.
    """
    graph = _graph(roots, wheels, at)
    weights: Dict[str, int] = {}
    while True:
        leaves = [name for name, needed in graph.items() if name and not needed]
        if not leaves:
            break
        weights.update(dict.fromkeys(leaves, len(graph) - 1))
        graph = {name: needed.difference(leaves) for name, needed in graph.items() if name not in leaves}
    visits: Dict[str, int] = {}
    path: List[str] = []

    def visit(name: str) -> None:
        if name in path or visits.get(name, 0) >= _VISITS:
            return
        visits[name] = visits.get(name, 0) + 1
        path.append(name)
        for needed in sorted(graph[name]):
            visit(needed)
        path.pop()
        weights[name] = max(weights.get(name, 0), len(path))

    visit("")  # what is left goes in circles
    names = {wheel.name for wheel in wheels}
    return tuple(sorted(names, key=lambda name: (weights.get(name, 0), name), reverse=True))


def _graph(
    roots: Sequence[Tuple[str, Requirement]], wheels: Sequence[CollectedWheel], at: Releases
) -> Dict[str, FrozenSet[str]]:
    """Return what each project requires for some release; "" is the lock, "a[x]" for an extra, as in pip."""
    known: Dict[str, List[CollectedWheel]] = {}
    for wheel in wheels:
        known.setdefault(wheel.name, []).append(wheel)
    needed = [(one, "") for _, one in roots if at.where(one.marker)]
    graph = {"": frozenset(_nodes([one for one, _ in needed], known))}
    waiting = sorted(graph[""])
    while waiting:
        node = waiting.pop()
        if node in graph:
            continue
        name, _, extras = node.rstrip("]").partition("[")
        required = [one for wheel in known[name] for one in wheel.requirements]
        found = _nodes(
            [one for one in required for extra in extras.split(",") if at.where(one.marker, extra)], known
        ) | ({name} if extras else set())
        graph[node] = frozenset(found - {node})
        waiting += sorted(found)
    return graph


def _nodes(required: Iterable[Requirement], known: Mapping[str, Sequence[CollectedWheel]]) -> Set[str]:
    found = set()
    for one in required:
        name, extras = canonicalize_name(one.name), ",".join(sorted(map(canonicalize_name, one.extras)))
        if name in known:
            found.add(f"{name}[{extras}]" if extras else name)
    return found


def names_needed(wheel: CollectedWheel, at: Releases) -> FrozenSet[str]:
    """Return the normalised names of what *wheel* may require for some release, without extras."""
    return frozenset(canonicalize_name(one.name) for one in wheel.requirements if at.where(one.marker))


def _lines(roots: Sequence[Tuple[str, Requirement]], wheels: Sequence[CollectedWheel]) -> Iterable[str]:
    yield from (str(requirement.marker) for _, requirement in roots if requirement.marker)
    for wheel in wheels:
        yield from wheel.requires


def _merged(problems: Sequence[Problem]) -> Tuple[Problem, ...]:
    found: Dict[Problem, int] = {}
    for problem in problems:
        key = problem._replace(releases=0)
        found[key] = found.get(key, 0) | problem.releases
    return tuple(key._replace(releases=found[key]) for key in sorted(found))


def _told_apart(
    name: str,
    several: Sequence[CollectedWheel],
    roots: Sequence[Tuple[str, Requirement]],
    at: Releases,
    spare: FrozenSet[str],
    problems: List[Problem],
) -> Dict[str, int]:
    """Return the releases that each of *several* wheels of one project is for.

    Those that a line of the lock names have the releases of that line, others share the rest.
    """
    lines = [requirement for _, requirement in roots if canonicalize_name(requirement.name) == name]
    places: Dict[str, int] = {}
    for wheel in several:
        claims = [at.where(line.marker) for line in lines if _is_named_by(wheel, line)]
        places[wheel.file] = 0 if wheel.file in spare else functools.reduce(int.__or__, claims, 0)
    claimed = functools.reduce(int.__or__, places.values(), 0)
    free = [wheel for wheel in several if not places[wheel.file]]
    # A spare one fills only what the wheels of the lock leave.
    for wheel in [one for one in free if one.file not in spare] or free:
        places[wheel.file] = at.all & ~claimed
    before = 0
    for number, wheel in enumerate(several):
        both = before & places[wheel.file]
        if both:
            other = next(one for one in several[:number] if places[one.file] & both)
            problems.append(Problem(name, f"is there twice: {other.file} and {wheel.file}", "Lock one version", both))
        before |= places[wheel.file]
    return places


def _is_named_by(wheel: CollectedWheel, requirement: Requirement) -> bool:
    """Say whether a line of the lock names this very *wheel* among several of its project."""
    if requirement.url:
        return unquote(os.path.basename(urlsplit(requirement.url).path)) in (wheel.file, wheel.origin)
    return bool(requirement.specifier) and _fulfils(wheel, requirement)


def _fulfils(wheel: CollectedWheel, requirement: Requirement) -> bool:
    return bool(requirement.url) or requirement.specifier.contains(wheel.version, prereleases=True)


def _absent(requirement: Requirement, wanted_by: str, candidates: Sequence[CollectedWheel], releases: int) -> Problem:
    found = f"only {candidates[0].version} is there" if candidates else "it is not there"
    return Problem(str(requirement), f"is required by {wanted_by}, and {found}", "Lock it as well", releases)


def _unfit(wheel: CollectedWheel, releases: int) -> Problem:
    return Problem(wheel.file, f"needs Python {wheel.requires_python}", "Lock another version", releases)
