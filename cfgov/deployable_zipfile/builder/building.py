"""Wheels from sources: what a line names by URL or path, and sdists; broken wheels are mended where that is allowed."""

from __future__ import annotations

import fnmatch
import os
import shutil
import tempfile
from typing import List
from urllib.parse import quote, unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..console import Console
from ..errors import BuildInputError, WheelError, masked
from . import pip, proving, requirements, rewriting, targets, wheelcache
from .collected import CollectedWheel
from .needs import Needs
from .wheelcache import WheelCache

# What is not source of a Python project; ``.git`` is, as versions are read from it.
_LEFT_BY_PYTHON = ("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache")
_LEFT_BY_BUILDS = (*_LEFT_BY_PYTHON, "*.egg-info", "build", "dist", ".venv", "venv", ".tox", ".nox", "node_modules")


class Building:
    """Makes a proven wheel of whatever a requirement names.

    Attributes:
        built: file names of the wheels that were built.
    """

    def __init__(self, needs: Needs, store: WheelCache, console: Console) -> None:
        self.built: List[str] = []
        self._needs = needs
        self._store = store
        self._console = console

    def made(self, runner: pip.Runner, target: targets.BuildTarget, line: requirements.Line) -> CollectedWheel:
        """Build what a line names by URL or path.

        Kept for the next build is what a hash or a commit fixes. What a folder holds today is built today.
        """
        shown = masked(str(line.requirement if line.named else line.requirement.url))
        if self._needs.settings.only_binary:
            raise BuildInputError(line.place, f"{shown} has to be built", "Leave out --only-binary")
        where = requirements.origin(line)
        name = ""
        if line.fixed and line.kind != "folder":
            name = wheelcache.key("made", where, line.options, target.identity, self._needs.inputs(target))
        known = self._store.kept.document("made", name) if name else None
        wheel = self._store.known(*known) if known else None
        if wheel is None:
            self._console.step(f"  building {shown}")
            wheel = self._built(runner, line, where)
            if name:
                self._store.kept.keep_document("made", name, *wheelcache.references([wheel]))
        if not line.named:
            self._needs.name(line.place, wheel.name)
        elif wheel.name != canonicalize_name(line.requirement.name):
            shown = masked(str(line.requirement.url))
            raise BuildInputError(
                line.place, f"takes {line.requirement.name} from {shown}, which is {wheel.name}", "Correct the name"
            )
        self.built.append(wheel.file)
        return wheel

    def _built(self, runner: pip.Runner, line: requirements.Line, where: str) -> CollectedWheel:
        if line.kind == "folder":
            line = line._replace(requirement=self._copied(line))
        built = pip.build(runner, requirements.as_pip_lines([line], self._needs.options()))
        path = self._repacked(built)
        if not line.named:
            where = where.replace(line.requirement.name, requirements.project_of(os.path.basename(path)))
        return self._store.keep(path, where)

    def _copied(self, line: requirements.Line) -> Requirement:
        """Return the requirement of a copy of the folder: a build leaves files behind, and may pick up old ones."""
        parts = urlsplit(str(line.requirement.url))
        copy = os.path.join(
            tempfile.mkdtemp(dir=self._store.kept.work), os.path.basename(unquote(parts.path)) or "project"
        )
        top = unquote(parts.path)

        def left_out(folder: str, names: List[str]) -> List[str]:
            unwanted = _LEFT_BY_BUILDS if os.path.samefile(folder, top) else _LEFT_BY_PYTHON
            inside = [name for name in names if os.path.join(os.path.realpath(folder), name) == self._store.kept.folder]
            return inside + [name for name in names for pattern in unwanted if fnmatch.fnmatch(name, pattern)]

        shutil.copytree(top, copy, symlinks=True, ignore=left_out)
        requirement = Requirement(str(line.requirement))
        requirement.url = parts._replace(path=quote(copy)).geturl()
        return requirement

    def wheel(self, runner: pip.Runner, target: targets.BuildTarget, path: str) -> CollectedWheel:
        """Keep what pip fetched: a wheel as it is, an sdist as the wheel that is built from it."""
        name = requirements.project_of(os.path.basename(path))
        options = [
            line.options for line in self._needs.lines(target) if canonicalize_name(line.requirement.name) == name
        ]
        settings = [option for words in options for option in words]
        if path.endswith(".whl"):
            if settings:
                self._console.warn(f"{os.path.basename(path)}: is a wheel, so {settings[0]} has no effect on it")
            return self._sound(path)
        if not path.endswith(requirements.SDISTS):
            raise BuildInputError(os.path.basename(path), "is neither wheel nor sdist", "Lock another version")
        sdist = self._store.kept.keep_file(path)
        origin = f"{os.path.basename(path)} sha256:{sdist.sha256}"
        key = wheelcache.key("built", sdist.sha256, target.identity, settings, self._needs.inputs(target))
        # Without a lock the build backend may be another one today, as everything else.
        built = self._store.kept.document("built", key) if self._needs.locked.fixed else None
        wheel = self._store.known(*built) if built else None
        if wheel is None:
            self._console.step(f"  building {os.path.basename(path)}")
            url = "file://" + quote(sdist.path)
            line = requirements.Line(path, Requirement(f"{name} @ {url}"), (), tuple(settings), named=False)
            built = pip.build(runner, requirements.as_pip_lines([line], self._needs.options()))
            wheel = self._store.keep(self._repacked(built), origin)
            self._store.kept.keep_document("built", key, *wheelcache.references([wheel]))
        self.built.append(wheel.file)
        return wheel

    def _sound(self, path: str) -> CollectedWheel:
        """Keep the wheel *path* as it is, or mended if it is broken and that is allowed."""
        kept = self._store.kept.keep_file(path)
        file, allowed = os.path.basename(path), self._needs.settings.allow
        try:
            return self._store.proven(kept, "")
        except WheelError as error:
            folder = os.path.join(self._store.kept.work, f"mended-{kept.sha256[:16]}")
            os.makedirs(folder, exist_ok=True)
            mended = os.path.join(folder, file)
            if not _is_mended(kept.path, mended):
                raise
            if not {file, canonicalize_name(file.partition("-")[0])} & {*allowed, *map(canonicalize_name, allowed)}:
                raise WheelError(
                    error.what, error.why, f"Lock another version, or pack it repaired with --allow {file}"
                ) from None
        return self._store.keep(mended, f"{file} sha256:{kept.sha256}")

    def _repacked(self, built: str) -> str:
        folder = built + ".repacked"
        os.mkdir(folder)
        path = os.path.join(folder, os.path.basename(built))
        rewriting.repack(built, path)
        return path


def _is_mended(path: str, output: str) -> bool:
    """Write the wheel *path* again as *output*, and say whether that is sound."""
    if not rewriting.mend(path, output):
        return False
    try:
        proving.prove(output, "", 0)
    except WheelError:
        return False
    return True
