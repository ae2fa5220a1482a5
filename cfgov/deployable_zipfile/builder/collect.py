"""From the lock to the wheels of each target: from the cache when the lock is unchanged, else from pip; all proven.

A chapter: files are fetched by :mod:`fetching`, sdists built by :mod:`building`, with the pip of :mod:`pinned_pip`.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from ..artifact import patches
from ..artifact.wheel import Wheel
from ..console import Console
from ..errors import BuildInputError
from . import cache, markers, planning, requirements, surroundings, targets, wheelcache
from .building import Building
from .collected import CollectedWheel
from .fetching import Fetching
from .needs import CollectSettings, Needs
from .pinned_pip import PinnedPip
from .wheelcache import WheelCache


class Wheelhouse:
    """Wheels, from the cache as long as the lock is unchanged, else from pip.

    Parameters:
        locked: what to collect.
        kept: the cache.

    Attributes:
        steps: what was said of wheels from the cache.
        built: file names of the wheels that were built from sdists.
    """

    def __init__(
        self, settings: CollectSettings, locked: requirements.Requirements, kept: cache.Cache, console: Console
    ) -> None:
        self.kept = kept
        self.steps: List[str] = []
        self._console = console
        self._store = WheelCache(kept)
        self._needs = Needs(settings, locked)
        self._pip = PinnedPip(self._needs, self._store)
        self._building = Building(self._needs, self._store, console)
        self._fetching = Fetching(self._needs, self._store, console)
        self.built = self._building.built

    def plan(self, target: targets.BuildTarget) -> planning.TargetPlan:
        """Return the wheels of *target*.

        Raises:
            BuildInputError: pip cannot fetch or build them.
            WheelError: one of them is broken.
        """
        self._check_python(target)
        if not self._needs.locked.fixed:
            return self._fetched(target)
        name = wheelcache.key(
            "plans", self._needs.locked.digest, self._pip.digest, target.label, target.identity,
            self._needs.settings.only_binary, self._needs.settings.wheelhouse, sorted(self._needs.settings.allow),
            surroundings.pip_settings(target.interpreter),
        )  # fmt: skip
        plan = self._recalled(target, self._store.kept.document("plans", name))
        if plan is not None:
            text = f"Wheels for {target.label}: the lock is unchanged, {len(plan.wheels)} from the cache"
            self._console.step(text)
            self.steps.append(text)
            return plan
        plan = self._fetched(target)
        made = {wheel.name for wheel in plan.wheels if wheel.built_from}
        folders = requirements.names(line for line in self._needs.lines(target) if line.kind == "folder")
        document = [
            self._needs.inputs(target) if made - folders else "",
            wheelcache.references(wheel for wheel in plan.wheels if wheel.name not in folders),
            wheelcache.references(plan.bootstrap),
            self._needs.names(),
        ]
        if target.label not in self._fetching.incomplete:
            self._store.kept.keep_document("plans", name, document)
        return plan

    def _recalled(self, target: targets.BuildTarget, document: Any) -> Optional[planning.TargetPlan]:
        """Return the plan in *document*, with the folders beside the project built anew: nothing pins those."""
        if document is None or document[0] not in ("", self._needs.inputs(target)):
            return None
        _, *groups_of_references, names = document
        groups = []
        for references in groups_of_references:
            group = [self._store.known(*reference) for reference in references]
            if None in group:
                return None
            groups.append([wheel for wheel in group if wheel is not None])
        wheels_, bootstrap = groups
        self._needs.recall(names)
        folders = [line for line in self._needs.lines(target) if line.kind == "folder"]
        if folders:
            runner = self._pip.runner(target)
            wheels_ += [self._building.made(runner, target, line) for line in folders]
        return planning.TargetPlan(target, wheelcache.in_order(wheels_), tuple(bootstrap), from_cache=True)

    def tools(self, plan: planning.TargetPlan) -> List[str]:
        """Return the paths that decide whether the wheels of *plan* would be built here as they were."""
        if not any(wheel.built_from for wheel in plan.wheels + plan.bootstrap):
            return []
        return surroundings.looked_for(plan.target.interpreter, self._needs.options())

    def checked(self, plan: planning.TargetPlan, strict: bool, warn: Callable[[str], None]) -> planning.TargetPlan:
        """Return *plan* as :func:`check` does, from the cache when the same was checked before, with its warnings.

        Raises:
            WheelError: as :func:`check`.
        """
        name = wheelcache.key(
            "checked", self._needs.locked.path, self._needs.locked.digest, plan.target, strict,
            [[str(line.requirement), line.place] for line in self._needs.locked.lines],
            wheelcache.references(plan.wheels), wheelcache.references(plan.bootstrap),
        )  # fmt: skip
        found = self._store.kept.document("checked", name)
        if found is None:
            said: List[str] = []
            done = planning.check(plan, self._needs.locked, strict, said.append)
            files = [[wheel.file for wheel in group] for group in (done.wheels, done.bootstrap)]
            found = [files, done.holds, done.limited, done.markers, said]
            self._store.kept.keep_document("checked", name, found)
        files, holds, limited, markers, warnings = found
        for text in warnings:
            warn(text)
        known = {wheel.file: wheel for wheel in plan.wheels + plan.bootstrap}
        return plan._replace(
            wheels=tuple(known[file] for file in files[0]),
            bootstrap=tuple(known[file] for file in files[1]),
            holds=_ranges(holds),
            limited=tuple((file, _ranges(ranges)) for file, ranges in limited),
            markers=tuple((variable, value) for variable, value in markers),
            requested=requirements.names(self._needs.lines(plan.target)),
        )

    def rehearsed(
        self, chosen: Sequence[CollectedWheel], python: str, project: str
    ) -> List[Tuple[str, str, List[str]]]:
        """Plan the installation of *chosen*; return (wheel, later wheel, paths) where one replaces files of another.

        Raises:
            WheelError: the target would refuse a wheel.
        """
        name = wheelcache.key("rehearsed", python, project, [[wheel.sha256, wheel.file] for wheel in chosen])
        found = self._store.kept.document("rehearsed", name)
        if found is None:
            from .. import install_wheels  # the installer itself, which a build from the cache does not need

            with contextlib.ExitStack() as stack:
                opened = [self._opened(stack, wheel) for wheel in chosen]
                pairs: Dict[Tuple[str, str], List[str]] = {}
                for one in install_wheels.examine(opened, python, project):
                    pairs.setdefault((one.first, one.second), []).append(one.path)
            found = [[first, second, paths] for (first, second), paths in pairs.items()]
            self._store.kept.keep_document("rehearsed", name, found)
        return [(first, second, list(paths)) for first, second, paths in found]

    def _opened(self, stack: contextlib.ExitStack, wheel: CollectedWheel) -> Wheel:
        advice = "Lock another version, or leave it out"
        return stack.enter_context(Wheel.open(wheel.path, wheel.file, advice))

    def _check_python(self, target: targets.BuildTarget) -> None:
        """Refuse a lock that was not made for the Python or the platform of *target*."""
        at = markers.Releases(target.markers)
        own = at.final if target.cross else at.of(target.release)
        for problem in planning.limits(self._needs.locked, at):
            if problem.releases & own == own:
                raise BuildInputError(problem.what, f"{problem.why} (for {target.label})", problem.fix)

    def _fetched(self, target: targets.BuildTarget) -> planning.TargetPlan:
        lines = self._needs.lines(target)
        # What a list without hashes needs besides is not known before pip has resolved it.
        total = len(lines) if self._needs.locked.fixed else 0
        with self._console.phase(f"Fetching wheels for {target.label}", total) as fetched:
            return self._fetched_lines(target, lines, fetched)

    def _fetched_lines(
        self, target: targets.BuildTarget, wanted: Sequence[requirements.Line], fetched: Callable[[int], object]
    ) -> planning.TargetPlan:
        bootstrap = self._pip.bootstrap_of(target)
        if not self._needs.locked.lines:
            return planning.TargetPlan(target, (), bootstrap)
        runner = self._pip.runner(target)._replace(fetched=fetched)
        if not self._needs.locked.fixed:
            runner = runner._replace(cache="")  # a server may say that a file stays fresh which nothing pins
        lines = [self._fetching.chosen(target, line) for line in wanted]
        sources = [line for line in lines if line.kind in ("vcs", "folder", "archive")]
        made: List[CollectedWheel] = []
        for line in sources:
            made.append(self._building.made(runner, target, line))
            fetched(1)
        built = [(line, wheel) for line, wheel in zip(sources, made)]
        found = {wheel.sha256: wheel for wheel in made}
        files = self._fetching.files(runner, target, [line for line in lines if line not in sources], built)
        files = [file for file in files if os.path.basename(file) not in {wheel.file for wheel in made}]
        with self._console.phase(f"Checking {len(files)} files, and building the sdists", len(files)) as checked:
            for file in files:
                wheel = self._building.wheel(runner, target, file)
                found[wheel.sha256] = wheel
                checked(1)
        return planning.TargetPlan(target, wheelcache.in_order(found.values()), bootstrap)

    @property
    def locked(self) -> requirements.Requirements:
        """What was to be collected, with the names of projects that were unknown before they were built."""
        return self._needs.locked


def _ranges(found: Iterable[Sequence[str]]) -> Tuple[patches.Range, ...]:
    return tuple(patches.Range(first, last) for first, last in found)
