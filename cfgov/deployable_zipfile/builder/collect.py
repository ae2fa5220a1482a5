"""From the lock to the wheels of each target: from the cache when the lock is unchanged, else from pip; all proven.

With ``pack.py`` one of the two modules that tell how the steps in this folder follow each other.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

from packaging.version import Version

from .. import __version__
from ..console import Console
from ..errors import BuildInputError, WheelError
from . import cache, pip, progress, requirements, targets, wheels

_FORMAT = 2  # of the documents in the cache
_PIP_FLOOR = Version("26.1.2")  # older ones let an entry point's name leave the environment (CVE-2026-8643)
_PIP_FLOOR_FROM = (3, 10)  # the oldest Python that such a pip exists for


class Plan(NamedTuple):
    """The wheels of one target, in the order of their names."""

    target: targets.Target
    wheels: Tuple[wheels.Facts, ...]
    bootstrap: Tuple[wheels.Facts, ...]  # pip, and what else a virtual environment starts with


class Settings(NamedTuple):
    """How wheels are collected."""

    only_binary: bool = False
    use_cache: bool = True
    timeout: float = 1800.0  # seconds for one run of pip


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

    def plan(self, target: targets.Target) -> Plan:
        """Return the wheels of *target*.

        Raises:
            BuildInputError: pip cannot fetch or build them.
            WheelError: one of them is broken.
        """
        name = cache.key(
            "plans", _FORMAT, __version__, self._locked.digest, self._bootstrap.digest, target.label, target.identity,
            self._settings.only_binary, pip.index_settings(),
        )  # fmt: skip
        plan = self._recalled(target, self.kept.document("plans", name))
        if plan is not None:
            self._console.step(f"Wheels for {target.label}: the lock is unchanged, {len(plan.wheels)} from the cache")
            self.from_cache.append(target.label)
            return plan
        with progress.phase(self._console, f"Fetching wheels for {target.label}"):
            plan = self._fetched(target)
        if not {facts.name for facts in plan.wheels} - requirements.pinned(self._locked):
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
        return Plan(target, *groups)

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

    def requested(self, target: targets.Target) -> FrozenSet[str]:
        """Return the projects that the requirements file itself names for *target*."""
        return requirements.names(line for line in self._locked.lines if targets.applies(line.requirement, target))

    def _fetched(self, target: targets.Target) -> Plan:
        bootstrap = self._bootstrap_of(target)
        runner = self._runner(target)
        if not self._locked.lines:
            return Plan(target, (), bootstrap)
        found = [self._wheel(runner, target, file) for file in self._files(runner, target)]
        named = {facts.name for facts in found}
        return Plan(target, _sorted(found), tuple(facts for facts in bootstrap if facts.name not in named))

    def _files(self, runner: pip.Runner, target: targets.Target) -> List[str]:
        """Let pip fetch what the lock names for *target*."""
        locked = self._locked
        arguments = ["--only-binary=:all:"] if target.cross or self._settings.only_binary else []
        if not target.cross and not locked.rewritten:
            return pip.download(runner, arguments, requirements=os.path.abspath(locked.path))
        lines = [line for line in locked.lines if targets.applies(line.requirement, target)]
        if target.cross:
            arguments += ["--implementation=cp", f"--python-version={target.version}"]
            arguments += [f"--abi={abi}" for abi in (target.abi, "abi3", "none")]
            arguments += [f"--platform={platform}" for platform in target.platforms]
            # pip evaluates the markers of dependencies for the Python that runs it, so it is not asked for any.
            arguments.append("--no-deps")
        arguments += locked.options
        return pip.download(runner, arguments, requirements.as_pip_lines(lines), constraints=locked.constraints)

    def _wheel(self, runner: pip.Runner, target: targets.Target, path: str) -> wheels.Facts:
        """Keep what pip fetched: a wheel as it is, an sdist as the wheel that is built from it."""
        if path.endswith(".whl"):
            return self._proven(self.kept.keep_file(path), "")
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

    def _repacked(self, runner: pip.Runner, sdist: str) -> str:
        index = [word for word in self._locked.options if word not in ("--require-hashes", "--pre")]
        wheel = pip.build(runner, sdist, index)
        folder = wheel + ".repacked"
        os.mkdir(folder)
        path = os.path.join(folder, os.path.basename(wheel))
        wheels.repack(wheel, path)
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
        lines = [line for line in self._bootstrap.lines if targets.applies(line.requirement, target)]
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
        result.append(Plan(plan.target, *groups))
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


def check(plan: Plan, locked: requirements.Requirements, strict: bool, warn: Callable[[str], None]) -> None:
    """Prove that *plan* is complete, unambiguous and runs on its target.

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
    everything = plan.wheels + plan.bootstrap
    roots = [(line.place, line.requirement) for line in locked.lines]
    present = [targets.Wheel(facts.name, facts.version, facts.requires) for facts in everything]
    absent = targets.missing(roots, present, target)
    if absent:
        first, more = absent[0], f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        found = f"only {first.found} is there" if first.found else "it is not there"
        raise WheelError(
            first.requirement,
            f"is required by {first.wanted_by} on {target.label}, and {found}{more}",
            "Lock it as well",
        )


def every_wheel(plans: Sequence[Plan]) -> List[wheels.Facts]:
    """Return every wheel of *plans* once, sorted by file name."""
    found = {facts.file: facts for plan in plans for facts in plan.wheels + plan.bootstrap}
    return [found[name] for name in sorted(found)]


def _check_each(plan: Plan, warn: Callable[[str], None]) -> None:
    target = plan.target
    tags = target.tags
    seen: Dict[str, wheels.Facts] = {}
    for facts in plan.wheels + plan.bootstrap:
        other = seen.setdefault(facts.name, facts)
        if other is not facts:
            why = f"is there twice for {target.label}: {other.file} and {facts.file}"
            raise WheelError(facts.name, why, "Lock one version")
        wheels.check_fits(facts, target.label, tags, target.machine, target.glibc)
        if not targets.runs_on(facts.requires_python, target):
            why = f"needs Python {facts.requires_python}, {target.label} has {target.version}"
            raise WheelError(facts.file, why, "Lock another version")
        if facts.built_from and any(tag.endswith(f"-linux_{target.machine}") for tag in facts.tags):
            floor = wheels.glibc_floor([facts], target.machine)
            warn(f"{facts.file}: was compiled here, it needs glibc {floor} and the libraries of this system")
    if "pip" not in seen:
        raise WheelError("pip", f"is missing among the bootstrap wheels for {target.label}", "Install the tool again")


def _doubts(plan: Plan) -> List[str]:
    """Return what deserves a look: code that runs at every start of Python, a pip with known holes."""
    found = [
        f"{facts.file}: runs code at every start of Python ({', '.join(facts.startup)})"
        for facts in plan.wheels
        if facts.startup
    ]
    release = Version(plan.target.version).release[:2]
    for facts in plan.wheels + plan.bootstrap:
        if facts.name == "pip" and release >= _PIP_FLOOR_FROM and Version(facts.version) < _PIP_FLOOR:
            found.append(f"{facts.file}: is older than pip {_PIP_FLOOR}, which closed CVE-2026-8643")
    return found


def _sorted(facts: Sequence[wheels.Facts]) -> Tuple[wheels.Facts, ...]:
    return tuple(sorted(facts, key=lambda one: (one.name, one.file)))
