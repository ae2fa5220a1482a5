"""Files that pip fetches for a target: for each of its patch releases, from where the lock says."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Dict, List, Sequence, Set, Tuple
from urllib.parse import quote, unquote, urlsplit

from packaging.requirements import Requirement

from ..console import Console
from ..errors import BuildInputError
from . import markers, pip, requirements, targets, urls
from .collected import CollectedWheel
from .needs import Needs
from .wheelcache import WheelCache

_LARGEST_FILE = 2 * 1024**3  # bytes of one file that a lock names by URL


class Fetching:
    """Lets pip fetch wheels and sdists.

    Attributes:
        incomplete: labels of the targets for which a line of the lock was not found.
    """

    def __init__(self, needs: Needs, store: WheelCache, console: Console) -> None:
        self.incomplete: Set[str] = set()
        self._needs = needs
        self._store = store
        self._console = console

    def files(
        self,
        runner: pip.Runner,
        target: targets.BuildTarget,
        lines: Sequence[requirements.Line],
        built: Sequence[Tuple[requirements.Line, CollectedWheel]],
    ) -> List[str]:
        """Let pip fetch *lines*: from the URLs that a lock names, or else by version and hash from the index.

        A network may reach its own index only, not the hosts that were there when the lock was made.
        """
        named = {line.place: line for line in self._needs.locked.lines if line.files}
        try:
            return self._of_their_size(self._fetched(runner, target, lines, built))
        except BuildInputError:
            if not any(line.place in named and _is_remote(line) for line in lines):
                raise
        self._console.step("  not every URL of the lock can be fetched, so the package index is searched too")
        files: List[str] = []
        for line in lines:  # such a lock is fixed, so no line depends on another
            try:
                files += self._fetched(runner, target, [line], ())
            except BuildInputError as error:
                if line.place not in named or not _is_remote(line):
                    raise
                try:
                    files += self._fetched(runner, target, [named[line.place]], ())
                except pip.NotFound:
                    raise error from None
        return self._of_their_size(files)

    def _of_their_size(self, files: List[str]) -> List[str]:
        """Return *files*, each of the size that the lock gives."""
        sizes = {
            file.name: (line.place, file.size)
            for line in self._needs.locked.lines
            for file in line.files
            if file.size >= 0
        }
        if sizes:
            from . import pylock

            for path in files:
                if os.path.basename(path) in sizes:
                    place, size = sizes[os.path.basename(path)]
                    pylock.check_size(place, path, size)
        return files

    def _fetched(
        self,
        runner: pip.Runner,
        target: targets.BuildTarget,
        lines: Sequence[requirements.Line],
        built: Sequence[Tuple[requirements.Line, CollectedWheel]],
    ) -> List[str]:
        """Let pip fetch *lines* for *target*, for each of its patch releases.

        A fixed list is complete, so it needs no resolver; the check of the closure finds what it lacks. Otherwise pip
        resolves what this release needs, and takes what was *built* already as given.
        """
        arguments = ["--only-binary=:all:"] if target.cross or self._needs.settings.only_binary else []
        if self._needs.locked.fixed:
            arguments += ["--require-hashes", "--no-deps"]
        files: List[str] = []
        own: List[requirements.Line] = []
        if not target.cross:
            here = markers.Releases(target.markers, frozenset())

            def is_own(line: requirements.Line) -> bool:
                return bool(here.where(line.requirement.marker) & here.of(target.release))

            own = [line for line in lines if is_own(line)]
            given = [] if self._needs.locked.fixed else [self._stand_in(*one) for one in built if is_own(one[0])]
            if own or given:
                files = self._download(runner, arguments, [*own, *given])
        if target.cross:
            arguments += ["--implementation=cp", *(f"--abi={abi}" for abi in (target.abi, "abi3", "none"))]
            arguments += [f"--platform={platform}" for platform in target.platforms]
        for version, further in self._further(target, [line for line in lines if line not in own]):
            # pip evaluates the markers of dependencies for the Python that runs it, so it is not asked for any.
            chosen = [*arguments, f"--python-version={version}", "--no-deps"]
            if target.cross and version == target.version:
                files += self._download(runner, chosen, further)
            else:
                files += self._found(runner, target, chosen, further)
        return files

    def _further(
        self, target: targets.BuildTarget, lines: Sequence[requirements.Line]
    ) -> List[Tuple[str, List[requirements.Line]]]:
        """Return those of *lines* that a final patch release of *target* needs, with the newest that does."""
        at = markers.Releases(target.markers)
        found: Dict[str, List[requirements.Line]] = {}
        for line in lines:
            needed = at.where(line.requirement.marker) & at.final
            if needed:
                found.setdefault(at.newest(needed), []).append(line)
        return list(found.items())

    def _found(
        self, runner: pip.Runner, target: targets.BuildTarget, arguments: List[str], lines: List[requirements.Line]
    ) -> List[str]:
        """Fetch *lines*, which other patch releases need; what the package index lacks narrows the plan."""
        try:
            return self._download(runner, arguments, lines)
        except pip.NotFound:
            self.incomplete.add(target.label)
            if len(lines) == 1:
                return []
            return [file for line in lines for file in self._found(runner, target, arguments, [line])]

    def _download(self, runner: pip.Runner, arguments: List[str], lines: List[requirements.Line]) -> List[str]:
        text = requirements.as_pip_lines(lines, self._needs.options(), self._needs.locked.constraints)
        return pip.download(runner, arguments, text)

    def chosen(self, target: targets.BuildTarget, line: requirements.Line) -> requirements.Line:
        """Return *line* with the one file of those that the lock offers that suits *target* best (PEP 751)."""
        if not line.files or self._needs.settings.wheelhouse:
            return line
        name = line.requirement.name
        file = targets.best({file.name: file for file in line.files}, target)
        sdists = [file for file in line.files if not file.name.endswith(".whl")]
        if file is None and (target.cross or self._needs.settings.only_binary or not sdists):
            why = f"{name} has no wheel for {target.label}" + (", only an sdist" if sdists else " and no sdist")
            raise BuildInputError(line.place, why, "Lock another version")
        file = file or sdists[0]
        requirement = Requirement(f"{name} @ {self._url(file)}")
        requirement.extras, requirement.marker = line.requirement.extras, line.requirement.marker
        return line._replace(requirement=requirement, hashes=file.hashes, files=())

    def _url(self, file: requirements.File) -> str:
        """Return a URL of *file* that ends in its name, for pip reads what a wheel is from that."""
        if os.path.basename(unquote(urlsplit(file.url).path)) == file.name:
            return file.url
        folder = tempfile.mkdtemp(dir=self._store.kept.work)
        path = os.path.join(folder, file.name)
        with open(path, "wb") as copy:
            copy.write(urls.content(file.url, _LARGEST_FILE))
        return "file://" + quote(path)

    def _stand_in(self, line: requirements.Line, wheel: CollectedWheel) -> requirements.Line:
        """Return the line of the wheel that was built for *line*."""
        folder = tempfile.mkdtemp(dir=self._store.kept.work)
        path = os.path.join(folder, wheel.file)
        shutil.copyfile(wheel.path, path)
        extras = f"[{','.join(sorted(line.requirement.extras))}]" if line.requirement.extras else ""
        return line._replace(
            requirement=Requirement(f"{wheel.name}{extras} @ file://{quote(path)}"), hashes=(), options=()
        )


def _is_remote(line: requirements.Line) -> bool:
    return bool(line.requirement.url) and not str(line.requirement.url).startswith("file:")
