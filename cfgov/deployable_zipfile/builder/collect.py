"""From the lock to the wheels of each target: from the cache when the lock is unchanged, else from pip; all proven.

With ``pack.py`` one of the two modules that tell how the steps in this folder follow each other.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import (
    AbstractSet,
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .. import __version__, install_wheels
from ..artifact import patches, wheel
from ..console import Console
from ..errors import BuildInputError, WheelError
from . import cache, closure, pip, progress, requirements, targets, wheels

_FORMAT = 3  # of the documents in the cache
_PIP_FLOOR = Version("26.1.2")  # older ones let an entry point's name leave the environment (CVE-2026-8643)
_PIP_FLOOR_FROM = (3, 10)  # the oldest Python that such a pip exists for


class Plan(NamedTuple):
    """The wheels of one target, in the order of their names."""

    target: targets.Target
    wheels: Tuple[wheels.Facts, ...]
    bootstrap: Tuple[wheels.Facts, ...]  # pip, and what else a virtual environment starts with
    holds: Tuple[patches.Range, ...] = ()  # releases of Python that it is complete for, (): all of them
    limited: Tuple[Tuple[str, Tuple[patches.Range, ...]], ...] = ()  # files that only these releases need
    markers: Tuple[Tuple[str, str], ...] = ()  # variables and values that it depends on


class Settings(NamedTuple):
    """How wheels are collected."""

    only_binary: bool = False
    use_cache: bool = True
    timeout: float = 1800.0  # seconds for one run of pip
    allow: Tuple[str, ...] = ()  # broken wheels to mend, by file or project name


class Wheelhouse:
    """Wheels, from the cache as long as the lock is unchanged, else from pip.

    Parameters:
        locked: what to collect.
        kept: the cache.

    Attributes:
        paths: where the wheels lie, by SHA-256.
        from_cache: labels of the targets whose wheels all came from the cache.
        built: file names of the wheels that were built from sdists.
    """

    def __init__(
        self, settings: Settings, locked: requirements.Requirements, kept: cache.Cache, console: Console
    ) -> None:
        self.kept = kept
        self.paths: Dict[str, str] = {}
        self.from_cache: List[str] = []
        self.built: List[str] = []
        self._settings = settings
        self._locked = locked
        self._console = console
        self._bootstrap = requirements.read(pip.BOOTSTRAP)
        self._pips: Dict[str, Tuple[wheels.Facts, ...]] = {}
        self._incomplete: Set[str] = set()  # labels of the targets for which a line of the lock was not found

    def plan(self, target: targets.Target) -> Plan:
        """Return the wheels of *target*.

        Raises:
            BuildInputError: pip cannot fetch or build them.
            WheelError: one of them is broken.
        """
        name = cache.key(
            "plans", _FORMAT, __version__, self._locked.digest, self._bootstrap.digest, target.label, target.identity,
            self._settings.only_binary, pip.index_settings(), sorted(self._settings.allow),
        )  # fmt: skip
        plan = self._recalled(target, self.kept.document("plans", name))
        if plan is not None:
            self._console.step(f"Wheels for {target.label}: the lock is unchanged, {len(plan.wheels)} from the cache")
            self.from_cache.append(target.label)
            return plan
        with progress.phase(self._console, f"Fetching wheels for {target.label}"):
            plan = self._fetched(target)
        pinned = requirements.pinned(self._locked)
        if target.label not in self._incomplete and not {facts.name for facts in plan.wheels} - pinned:
            self.kept.keep_document("plans", name, [_references(plan.wheels), _references(plan.bootstrap)])
        return plan

    def _recalled(self, target: targets.Target, document: Any) -> Optional[Plan]:
        if document is None:
            return None
        groups = []
        for references in document:
            group = [self._known(*reference) for reference in references]
            if None in group:
                return None
            groups.append(tuple(facts for facts in group if facts is not None))
        return Plan(target, groups[0], groups[1])

    def _known(self, sha256: str, file: str, built_from: str) -> Optional[wheels.Facts]:
        kept = self.kept.file(sha256, file)
        if kept is None:
            return None
        self.paths[sha256] = kept.path
        document = self.kept.document("facts", _facts_key(sha256, file))
        return wheels.from_document(document) if document else self._proven(kept, built_from)

    def _proven(self, kept: cache.Kept, built_from: str) -> wheels.Facts:
        facts = wheels.prove(kept.path, kept.sha256, kept.crc, built_from)
        self.paths[kept.sha256] = kept.path
        self.kept.keep_document("facts", _facts_key(kept.sha256, facts.file), wheels.to_document(facts))
        return facts

    def rehearsed(self, chosen: Sequence[wheels.Facts], python: str, project: str) -> List[Tuple[str, str, List[str]]]:
        """Plan the installation of *chosen*; return (wheel, later wheel, paths) where one replaces files of another.

        Raises:
            WheelError: the target would refuse a wheel.
        """
        name = cache.key(
            "rehearsed", _FORMAT, __version__, python, project, [[facts.sha256, facts.file] for facts in chosen]
        )  # fmt: skip
        found = self.kept.document("rehearsed", name)
        if found is None:
            with contextlib.ExitStack() as stack:
                opened = [self._opened(stack, facts) for facts in chosen]
                pairs: Dict[Tuple[str, str], List[str]] = {}
                for one in install_wheels.examine(opened, python, project):
                    pairs.setdefault((one.first, one.second), []).append(one.path)
            found = [[first, second, paths] for (first, second), paths in pairs.items()]
            self.kept.keep_document("rehearsed", name, found)
        return [(first, second, list(paths)) for first, second, paths in found]

    def _opened(self, stack: contextlib.ExitStack, facts: wheels.Facts) -> wheel.Wheel:
        advice = "Lock another version, or leave it out"
        return stack.enter_context(wheel.Wheel.open(self.paths[facts.sha256], facts.file, advice))

    def requested(self, target: targets.Target) -> FrozenSet[str]:
        """Return the projects that the requirements file itself names for *target*."""
        at = closure.Releases(target.markers)
        return requirements.names(line for line in self._locked.lines if at.where(line.requirement.marker))

    def _fetched(self, target: targets.Target) -> Plan:
        bootstrap = self._bootstrap_of(target)
        if not self._locked.lines:
            return Plan(target, (), bootstrap)
        runner = self._runner(target)
        files = self._files(runner, target)
        found = {facts.sha256: facts for facts in (self._wheel(runner, target, file) for file in files)}
        return Plan(target, _sorted(found.values()), bootstrap)

    def _files(self, runner: pip.Runner, target: targets.Target) -> List[str]:
        """Let pip fetch what the lock names for *target*, for each of its patch releases."""
        locked = self._locked
        binary = ["--only-binary=:all:"] if target.cross or self._settings.only_binary else []
        files: List[str] = []
        own: List[requirements.Line] = []
        if not target.cross:
            here = closure.Releases(target.markers, frozenset())
            own = [line for line in locked.lines if here.where(line.requirement.marker) & here.of(target.release)]
            if not locked.rewritten:
                files = pip.download(runner, binary, requirements=os.path.abspath(locked.path))
            elif own:
                files = self._download(runner, binary, own)
        if target.cross:
            binary += ["--implementation=cp", *(f"--abi={abi}" for abi in (target.abi, "abi3", "none"))]
            binary += [f"--platform={platform}" for platform in target.platforms]
        for version, lines in self._further(target, own):
            # pip evaluates the markers of dependencies for the Python that runs it, so it is not asked for any.
            arguments = [*binary, f"--python-version={version}", "--no-deps"]
            if target.cross and version == target.version:
                files += self._download(runner, arguments, lines)
            else:
                files += self._found(runner, target, arguments, lines)
        return files

    def _further(
        self, target: targets.Target, own: Sequence[requirements.Line]
    ) -> List[Tuple[str, List[requirements.Line]]]:
        """Return the lines beside *own* that a final patch release of *target* needs, with the newest that does."""
        at = closure.Releases(target.markers)
        found: Dict[str, List[requirements.Line]] = {}
        for line in self._locked.lines:
            needed = at.where(line.requirement.marker) & at.final
            if needed and line not in own:
                found.setdefault(at.newest(needed), []).append(line)
        return list(found.items())

    def _found(
        self, runner: pip.Runner, target: targets.Target, arguments: List[str], lines: List[requirements.Line]
    ) -> List[str]:
        """Fetch *lines*, which other patch releases need; what the package index lacks narrows the plan."""
        try:
            return self._download(runner, arguments, lines)
        except pip.NotFound:
            self._incomplete.add(target.label)
            if len(lines) == 1:
                return []
            return [file for line in lines for file in self._found(runner, target, arguments, [line])]

    def _download(self, runner: pip.Runner, arguments: List[str], lines: List[requirements.Line]) -> List[str]:
        text = requirements.as_pip_lines(lines)
        return pip.download(runner, [*arguments, *self._locked.options], text, constraints=self._locked.constraints)

    def _wheel(self, runner: pip.Runner, target: targets.Target, path: str) -> wheels.Facts:
        """Keep what pip fetched: a wheel as it is, an sdist as the wheel that is built from it."""
        if path.endswith(".whl"):
            return self._sound(path)
        if not path.endswith(pip.SDISTS):
            raise BuildInputError(os.path.basename(path), "is neither wheel nor sdist", "Lock another version")
        sdist = self.kept.keep_file(path)
        origin = f"{os.path.basename(path)} sha256:{sdist.sha256}"
        name = cache.key("built", _FORMAT, __version__, sdist.sha256, target.identity)
        built = self.kept.document("built", name)
        facts = self._known(*built) if built else None
        if facts is None:
            self._console.step(f"  building {os.path.basename(path)}")
            facts = self._proven(self.kept.keep_file(self._repacked(runner, sdist.path)), origin)
            self.kept.keep_document("built", name, *_references([facts]))
        self.built.append(facts.file)
        return facts

    def _sound(self, path: str) -> wheels.Facts:
        """Keep the wheel *path* as it is, or mended if it is broken and that is allowed."""
        kept = self.kept.keep_file(path)
        file, allowed = os.path.basename(path), self._settings.allow
        try:
            return self._proven(kept, "")
        except WheelError as error:
            folder = os.path.join(self.kept.work, f"mended-{kept.sha256[:16]}")
            os.makedirs(folder, exist_ok=True)
            mended = os.path.join(folder, file)
            if not wheels.mend(kept.path, mended):
                raise
            if not {file, canonicalize_name(file.partition("-")[0])} & {*allowed, *map(canonicalize_name, allowed)}:
                raise WheelError(
                    error.what, error.why, f"Lock another version, or pack it mended with --allow {file}"
                ) from None
        return self._proven(self.kept.keep_file(mended), f"{file} sha256:{kept.sha256}")

    def _repacked(self, runner: pip.Runner, sdist: str) -> str:
        index = [word for word in self._locked.options if word not in ("--require-hashes", "--pre")]
        # The sdist may be for another patch release than the one that builds it.
        built = pip.build(runner, sdist, [*index, "--ignore-requires-python"])
        folder = built + ".repacked"
        os.mkdir(folder)
        path = os.path.join(folder, os.path.basename(built))
        wheels.repack(built, path)
        return path

    def _runner(self, target: targets.Target) -> pip.Runner:
        """Return the pinned pip, run by the target's interpreter, or by this one when there is none."""
        goal = target if target.interpreter else targets.of_interpreter(sys.executable)
        tool = next(facts for facts in self._bootstrap_of(goal) if facts.name == "pip")
        folder = os.path.join(self.kept.work, f"pip-{tool.version}")
        command = pip.unpacked(self.paths[tool.sha256], goal.interpreter, folder)
        return self._run_by(command)

    def _run_by(self, command: Tuple[str, ...]) -> pip.Runner:
        cached = os.path.join(self.kept.folder, "pip") if self._settings.use_cache else ""
        logs = os.path.join(self.kept.folder if cached else cache.default_folder() or tempfile.gettempdir(), "logs")
        return pip.Runner(command, self.kept.work, cached, logs, self._settings.timeout)

    def _bootstrap_of(self, target: targets.Target) -> Tuple[wheels.Facts, ...]:
        """Return the pinned pip, and what else a virtual environment of *target* starts with."""
        if target.python not in self._pips:
            name = cache.key("bootstrap", _FORMAT, __version__, self._bootstrap.digest, target.python)
            document = self.kept.document("bootstrap", name)
            found = [self._known(*reference) for reference in document or []]
            facts = [one for one in found if one is not None]
            if not document or len(facts) != len(document):
                facts = self._fetched_bootstrap(target)
                self.kept.keep_document("bootstrap", name, _references(facts))
            self._pips[target.python] = _sorted(facts)
        return self._pips[target.python]

    def _fetched_bootstrap(self, target: targets.Target) -> List[wheels.Facts]:
        interpreters = [path for path in (target.interpreter, sys.executable) if path]
        runner = self._run_by(pip.starting_command(interpreters, self.kept.work))
        at = closure.Releases(target.markers)
        lines = [line for line in self._bootstrap.lines if at.where(line.requirement.marker) & at.of(target.release)]
        arguments = ["--no-deps", "--only-binary=:all:", "--require-hashes", f"--python-version={target.version}"]
        files = pip.download(runner, arguments, requirements.as_pip_lines(lines))
        return [self._proven(self.kept.keep_file(file), "") for file in files]


def _facts_key(sha256: str, file: str) -> str:
    return cache.key("facts", _FORMAT, wheels.FORMAT, __version__, sha256, file)


def _references(facts: Sequence[wheels.Facts]) -> List[List[str]]:
    """Return what finds wheels again in the cache."""
    return [[one.sha256, one.file, one.built_from] for one in facts]


def distinct(plans: Sequence[Plan]) -> List[Plan]:
    """Give different wheels different names: two Pythons may build one sdist to two wheels of one name.

    The later one gets a build tag (PEP 427) that names its Python.
    """
    names: Dict[str, str] = {}
    result = []
    for plan in plans:
        groups = []
        for group in (plan.wheels, plan.bootstrap):
            groups.append(tuple(_named_apart(facts, plan.target, names) for facts in group))
        result.append(plan._replace(wheels=groups[0], bootstrap=groups[1]))
    return result


def _named_apart(facts: wheels.Facts, target: targets.Target, names: Dict[str, str]) -> wheels.Facts:
    if names.setdefault(facts.file, facts.sha256) == facts.sha256:
        return facts
    if not facts.built_from:
        raise WheelError(facts.file, "is offered with two contents under one name", "Use one package index")
    distribution, version, rest = facts.file.split("-", 2)
    renamed = f"{distribution}-{version}-1{target.abi}-{rest}"
    names[renamed] = facts.sha256
    return facts._replace(file=renamed)


def check(plan: Plan, locked: requirements.Requirements, strict: bool, warn: Callable[[str], None]) -> Plan:
    """Prove that *plan* is complete, unambiguous and runs on its target; return it with what it holds for.

    Parameters:
        strict: refuse what would otherwise be a warning.

    Raises:
        WheelError: a wheel is missing, there twice, or cannot run; named.
    """
    target = plan.target
    _check_each(plan, warn)
    for text in _doubts(plan):
        if strict:
            what, _, why = text.partition(": ")
            raise WheelError(what, why, "Leave out --strict if that is wanted")
        warn(text)
    at = closure.Releases(target.markers)
    roots = [(line.place, line.requirement) for line in locked.lines]
    # Nothing of the lock asks for these: they make the virtual environment.
    roots += [("the virtual environment", Requirement(name)) for name in sorted(facts.name for facts in plan.bootstrap)]
    judged = [_judged(facts, facts in plan.bootstrap) for facts in plan.wheels + plan.bootstrap]
    outcome = closure.follow(roots, judged, at)
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
    return _limited(plan, at, outcome, holding)._replace(holds=ranges, markers=_markers(plan, roots, judged))


def _judged(facts: wheels.Facts, spare: bool) -> closure.Wheel:
    origin = facts.built_from.partition(" ")[0]
    return closure.Wheel(
        facts.file, facts.name, facts.version, facts.requires, facts.requires_python, origin, spare
    )  # fmt: skip


def _check_holding(target: targets.Target, at: closure.Releases, outcome: closure.Outcome, holding: int) -> None:
    """Refuse a plan that does not hold for the Python that builds, or of a named target for no release at all."""
    own = at.of(target.release)
    if holding & own or (target.cross and holding & at.final):
        return
    failed = [problem for problem in outcome.problems if problem.releases & own]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    first = failed[0]
    where = target.label if target.cross else f"{target.label}, Python {target.release}"
    raise WheelError(first.what, f"{first.why} (for {where}){more}", first.fix)


def _limited(plan: Plan, at: closure.Releases, outcome: closure.Outcome, holding: int) -> Plan:
    """Return *plan* with the releases that each wheel is for, without what no release needs.

    A wheel that nothing asks for is one that pip fetched for a reason of its own, and is for every release.
    """
    every = plan.wheels + plan.bootstrap
    needed = {facts.file: outcome.needed[facts.file] & holding for facts in every}
    limited = {file: at.ranges(chosen) for file, chosen in needed.items() if chosen and chosen != holding}
    named = {facts.name for facts in plan.wheels if needed[facts.file]}
    kept = [
        facts
        for facts in plan.wheels
        if needed[facts.file] or (not outcome.needed[facts.file] and facts.name not in named)
    ]
    return plan._replace(
        wheels=tuple(kept),
        bootstrap=tuple(facts for facts in plan.bootstrap if needed[facts.file]),
        limited=tuple(sorted(limited.items())),
    )


def _markers(
    plan: Plan, roots: Sequence[Tuple[str, Requirement]], judged: Sequence[closure.Wheel]
) -> Tuple[Tuple[str, str], ...]:
    values = plan.target.markers
    names = set(closure.platform_markers(roots, judged, values))
    if not all(any(tag.endswith("-any") for tag in facts.tags) for facts in plan.wheels + plan.bootstrap):
        names |= {"platform_machine", "sys_platform"}
    return tuple((name, values[name]) for name in sorted(names))


def every_wheel(plans: Sequence[Plan]) -> List[wheels.Facts]:
    """Return every wheel of *plans* once, sorted by file name."""
    found = {facts.file: facts for plan in plans for facts in plan.wheels + plan.bootstrap}
    return [found[name] for name in sorted(found)]


def _check_each(plan: Plan, warn: Callable[[str], None]) -> None:
    target = plan.target
    tags = target.tags
    for facts in plan.wheels + plan.bootstrap:
        wheels.check_fits(facts, target.label, tags, target.machine, target.glibc)
        if facts.built_from and any(tag.endswith(f"-linux_{target.machine}") for tag in facts.tags):
            floor = wheels.glibc_floor([facts], target.machine)
            warn(f"{facts.file}: was compiled here, it needs glibc {floor} and the libraries of this system")
    if not any(facts.name == "pip" for facts in plan.wheels + plan.bootstrap):
        raise WheelError("pip", f"is missing among the bootstrap wheels for {target.label}", "Install the tool again")


def _doubts(plan: Plan) -> List[str]:
    """Return what deserves a look.

    Code that runs at every start of Python, a pip with known holes, wheels that were broken, imports of a
    pkg_resources that is not there.
    """
    found = [
        f"{facts.file}: runs code at every start of Python ({', '.join(facts.startup)})"
        for facts in plan.wheels
        if facts.startup
    ]
    found += [f"{facts.file}: {doubt}" for facts in plan.wheels for doubt in facts.doubts]
    found += [
        f"{facts.file}: was broken and is packed with a new RECORD, as allowed"
        for facts in plan.wheels
        if facts.built_from.partition(" ")[0].endswith(".whl")
    ]
    found += _without_pkg_resources(plan)
    release = Version(plan.target.version).release[:2]
    for facts in plan.wheels + plan.bootstrap:
        if facts.name == "pip" and release >= _PIP_FLOOR_FROM and Version(facts.version) < _PIP_FLOOR:
            found.append(f"{facts.file}: is older than pip {_PIP_FLOOR}, which closed CVE-2026-8643")
    return found


def _without_pkg_resources(plan: Plan) -> List[str]:
    """Name the wheels that import pkg_resources, which setuptools has no more since version 82."""
    everything = plan.wheels + plan.bootstrap
    if any(name.startswith("pkg_resources/") for facts in everything for _, name in facts.python_files):
        return []
    return [
        f"{facts.file}: imports pkg_resources ({facts.pkg_resources}), which no wheel here has; lock setuptools<82"
        for facts in plan.wheels
        if facts.pkg_resources
    ]


def rehearse(
    plan: Plan, house: Wheelhouse, project: str, modules: AbstractSet[str], warn: Callable[[str], None]
) -> None:
    """Refuse at build every wheel of *plan* that the target would refuse to install, by the installer's own code.

    Parameters:
        project: its name.
        modules: names of the modules and packages in its folder, which is on ``sys.path`` after site-packages.

    Raises:
        WheelError: naming wheel and inner file.
    """
    everything = plan.wheels + plan.bootstrap
    limited = dict(plan.limited)
    starts = {one.first for ranges in [plan.holds, *limited.values()] for one in ranges} or {plan.target.version}
    chosen: Dict[Tuple[str, ...], List[wheels.Facts]] = {}
    for start in sorted(starts):
        patch = patches.parsed(start)
        facts = [one for one in everything if patches.hold(limited.get(one.file, ()), patch)]
        chosen.setdefault(tuple(one.file for one in facts), facts)
    for facts in chosen.values():
        for first, second, paths in house.rehearsed(facts, plan.target.python, project):
            more = f" and {len(paths) - 1} more file{'s' if len(paths) > 2 else ''}" if len(paths) > 1 else ""
            warn(f"{first} and {second}: both hold {paths[0]}{more} with different content; {second} wins, as with pip")
    for one in everything:
        hidden = sorted(modules & {name.partition("/")[0].partition(".py")[0] for _, name in one.python_files})
        if hidden:
            warn(f"{one.file}: its module {hidden[0]} hides the project's own module of that name")


def _sorted(facts: Iterable[wheels.Facts]) -> Tuple[wheels.Facts, ...]:
    return tuple(sorted(facts, key=lambda one: (one.name, one.file)))
