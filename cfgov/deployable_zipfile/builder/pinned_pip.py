"""The pinned pip: fetched once by any pip, then run by the interpreter of each target."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Dict, List, Tuple

from packaging.requirements import Requirement

from ..errors import BuildInputError
from . import cache, markers, pip, requirements, requirements_file, surroundings, targets, wheelcache
from .collected import CollectedWheel
from .needs import Needs
from .wheelcache import WheelCache


class PinnedPip:
    """The pip that resolves and builds, and what else every artifact carries for a virtual environment."""

    def __init__(self, needs: Needs, store: WheelCache) -> None:
        self._needs = needs
        self._store = store
        self._bootstrap = requirements_file.read(pip.BOOTSTRAP)
        self._pips: Dict[str, Tuple[CollectedWheel, ...]] = {}

    @property
    def digest(self) -> str:
        """Of the file that pins it."""
        return self._bootstrap.digest

    def runner(self, target: targets.BuildTarget) -> pip.Runner:
        """Return the pinned pip, run by the target's interpreter, or by this one when there is none."""
        goal = target if target.interpreter else targets.of_interpreter(sys.executable)
        tool = next(wheel for wheel in self.bootstrap_of(goal) if wheel.name == "pip")
        folder = os.path.join(self._store.kept.work, f"pip-{tool.version}")
        command = pip.unpacked(tool.path, goal.interpreter, folder)
        return self._run_by(command, goal.interpreter, tool.version)

    def _run_by(self, command: Tuple[str, ...], interpreter: str, version: str = "") -> pip.Runner:
        settings = self._needs.settings
        cached = os.path.join(self._store.kept.folder, "pip") if settings.use_cache else ""
        logs = os.path.join(
            self._store.kept.folder if cached else cache.default_folder() or tempfile.gettempdir(), "logs"
        )
        return pip.Runner(
            command, self._store.kept.work, cached, logs, settings.timeout, version, settings.build_constraints,
            bool(settings.wheelhouse),
            no_index="--wheelhouse" if settings.wheelhouse else surroundings.demanded(interpreter, "no-index"),
        )  # fmt: skip

    def bootstrap_of(self, target: targets.BuildTarget) -> Tuple[CollectedWheel, ...]:
        """Return the pinned pip, and what else a virtual environment of *target* starts with."""
        if target.python not in self._pips:
            name = wheelcache.key("bootstrap", self._bootstrap.digest, target.python)
            document = self._store.kept.document("bootstrap", name)
            known = [self._store.known(*reference) for reference in document or []]
            found = [wheel for wheel in known if wheel is not None]
            if not document or len(found) != len(document):
                found, pinned = self._fetched_bootstrap(target)
                if pinned:
                    self._store.kept.keep_document("bootstrap", name, wheelcache.references(found))
            self._pips[target.python] = wheelcache.in_order(found)
        return self._pips[target.python]

    def _fetched_bootstrap(self, target: targets.BuildTarget) -> Tuple[List[CollectedWheel], bool]:
        """Return the pinned wheels, and True; other releases and False without an index that has them."""
        interpreters = [path for path in (target.interpreter, sys.executable) if path]
        command = pip.starting_command(interpreters, self._store.kept.work)
        runner = self._run_by(command, command[0])
        at = markers.Releases(target.markers)
        lines = [line for line in self._bootstrap.lines if at.where(line.requirement.marker) & at.of(target.release)]
        arguments = ["--no-deps", "--only-binary=:all:", f"--python-version={target.version}"]
        house = self._needs.settings.wheelhouse
        options = ["--find-links", house] if house else []
        try:
            text = requirements.as_pip_lines(lines, options)
            files, pinned = pip.download(runner, [*arguments, "--require-hashes"], text), True
        except pip.NotFound as error:
            if not runner.no_index:
                raise
            for folder in pip.bundled(interpreters):
                options += ["--find-links", folder]
            names = [line._replace(requirement=Requirement(line.requirement.name), hashes=()) for line in lines]
            try:
                files, pinned = pip.download(runner, arguments, requirements.as_pip_lines(names, options)), False
            except pip.NotFound:
                if not house:
                    raise error from None
                fix = f"Add it: pip download --no-deps --dest {house} {error.what}"
                raise BuildInputError(error.what, f"is not in {house}, and every artifact needs it", fix) from None
        return [self._store.keep(file) for file in files], pinned
