"""From the lock to the wheels of each target: from the cache when the lock is unchanged, else from pip; all proven.

With ``pack.py`` one of the two modules that tell how the steps in this folder follow each other.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import sys
import tempfile
from typing import (
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
from urllib.parse import quote, unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .. import __version__
from ..artifact import patches, wheel
from ..console import Console
from ..errors import BuildInputError, WheelError, masked
from . import (
    cache,
    inputs,
    markers,
    pip,
    planning,
    requirements,
    requirements_file,
    surroundings,
    targets,
    urls,
    wheels,
)

_FORMAT = 4  # of the documents in the cache
_LARGEST_FILE = 2 * 1024**3  # bytes of one file that a lock names by URL
# What is not source of a Python project; ``.git`` is, as versions are read from it.
_LEFT_BY_PYTHON = ("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache")
_LEFT_BY_BUILDS = (*_LEFT_BY_PYTHON, "*.egg-info", "build", "dist", ".venv", "venv", ".tox", ".nox", "node_modules")


class Settings(NamedTuple):
    """How wheels are collected."""

    only_binary: bool = False
    use_cache: bool = True
    timeout: float = 1800.0  # seconds for one run of pip
    wheelhouse: str = ""  # a folder that is taken instead of any index
    build_constraints: Tuple[str, ...] = ()  # paths of files that constrain what build backends get
    allow: Tuple[str, ...] = ()  # broken wheels to mend, by file or project name


class Wheelhouse:
    """Wheels, from the cache as long as the lock is unchanged, else from pip.

    Parameters:
        locked: what to collect.
        kept: the cache.

    Attributes:
        paths: where the wheels are, by SHA-256.
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
        self._bootstrap = requirements_file.read(pip.BOOTSTRAP)
        self._pips: Dict[str, Tuple[wheels.Facts, ...]] = {}
        self._surroundings: Dict[str, str] = {}
        self._requested: Dict[targets.Target, FrozenSet[str]] = {}
        self._incomplete: Set[str] = set()  # labels of the targets for which a line of the lock was not found

    def plan(self, target: targets.Target) -> planning.Plan:
        """Return the wheels of *target*.

        Raises:
            BuildInputError: pip cannot fetch or build them.
            WheelError: one of them is broken.
        """
        self._check_python(target)
        if not self._locked.fixed:
            return self._fetched(target)
        name = cache.key(
            "plans", _FORMAT, __version__, self._locked.digest, self._bootstrap.digest, target.label, target.identity,
            self._settings.only_binary, self._settings.wheelhouse, sorted(self._settings.allow),
            surroundings.pip_settings(target.interpreter),
        )  # fmt: skip
        plan = self._recalled(target, self.kept.document("plans", name))
        if plan is not None:
            self._console.step(f"Wheels for {target.label}: the lock is unchanged, {len(plan.wheels)} from the cache")
            self.from_cache.append(target.label)
            return plan
        plan = self._fetched(target)
        made = {facts.name for facts in plan.wheels if facts.built_from}
        folders = requirements.names(line for line in self._lines(target) if line.kind == "folder")
        document = [
            self._inputs(target) if made - folders else "",
            _references(facts for facts in plan.wheels if facts.name not in folders),
            _references(plan.bootstrap),
        ]
        if target.label not in self._incomplete:
            self.kept.keep_document("plans", name, document)
        return plan

    def _recalled(self, target: targets.Target, document: Any) -> Optional[planning.Plan]:
        """Return the plan in *document*, with the folders beside the project built anew: nothing pins those."""
        if document is None or document[0] not in ("", self._inputs(target)):
            return None
        groups = []
        for references in document[1:]:
            group = [self._known(*reference) for reference in references]
            if None in group:
                return None
            groups.append([facts for facts in group if facts is not None])
        wheels_, bootstrap = groups
        folders = [line for line in self._lines(target) if line.kind == "folder"]
        if folders:
            runner = self._runner(target)
            wheels_ += [self._made(runner, target, line) for line in folders]
        return planning.Plan(target, _sorted(wheels_), tuple(bootstrap))

    def _inputs(self, target: targets.Target) -> str:
        """Return what of this machine decides how an sdist is built for *target*, as a digest."""
        if target.python not in self._surroundings:
            found = surroundings.compiling(target.interpreter, self._options())
            found += [surroundings.state(path) for path in self._settings.build_constraints]
            self._surroundings[target.python] = cache.key(found, surroundings.pip_settings(target.interpreter))
        return self._surroundings[target.python]

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

    def checked(self, plan: planning.Plan, strict: bool, warn: Callable[[str], None]) -> planning.Plan:
        """Return *plan* as :func:`check` does, from the cache when the same was checked before, with its warnings.

        Raises:
            WheelError: as :func:`check`.
        """
        name = cache.key(
            "checked", _FORMAT, __version__, self._locked.path, self._locked.digest, plan.target, strict,
            [[str(line.requirement), line.place] for line in self._locked.lines],
            _references(plan.wheels), _references(plan.bootstrap),
        )  # fmt: skip
        found = self.kept.document("checked", name)
        if found is None:
            said: List[str] = []
            done = planning.check(plan, self._locked, strict, said.append)
            files = [[facts.file for facts in group] for group in (done.wheels, done.bootstrap)]
            found = [files, done.holds, done.limited, done.markers, said]
            self.kept.keep_document("checked", name, found)
        files, holds, limited, markers, warnings = found
        for text in warnings:
            warn(text)
        known = {facts.file: facts for facts in plan.wheels + plan.bootstrap}
        return plan._replace(
            wheels=tuple(known[file] for file in files[0]),
            bootstrap=tuple(known[file] for file in files[1]),
            holds=_ranges(holds),
            limited=tuple((file, _ranges(ranges)) for file, ranges in limited),
            markers=tuple((variable, value) for variable, value in markers),
        )

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
            from .. import install_wheels  # the installer itself, which a build from the cache does not need

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
        if target not in self._requested:
            self._requested[target] = requirements.names(self._lines(target))
        return self._requested[target]

    @property
    def locked(self) -> requirements.Requirements:
        """What was to be collected, with the names of projects that were unknown before they were built."""
        return self._locked

    def _lines(self, target: targets.Target) -> List[requirements.Line]:
        """Return the lines that any patch release of *target* needs."""
        at = markers.Releases(target.markers)
        return [line for line in self._locked.lines if at.where(line.requirement.marker)]

    def _check_python(self, target: targets.Target) -> None:
        """Refuse a lock that was not made for the Python or the platform of *target*."""
        at = markers.Releases(target.markers)
        own = at.final if target.cross else at.of(target.release)
        for problem in planning.limits(self._locked, at):
            if problem.releases & own == own:
                raise BuildInputError(problem.what, f"{problem.why} (for {target.label})", problem.fix)

    def _fetched(self, target: targets.Target) -> planning.Plan:
        lines = self._lines(target)
        # What a list without hashes needs besides is not known before pip has resolved it.
        total = len(lines) if self._locked.fixed else 0
        with self._console.phase(f"Fetching wheels for {target.label}", total) as fetched:
            return self._fetched_lines(target, lines, fetched)

    def _fetched_lines(
        self, target: targets.Target, wanted: Sequence[requirements.Line], fetched: Callable[[int], object]
    ) -> planning.Plan:
        bootstrap = self._bootstrap_of(target)
        if not self._locked.lines:
            return planning.Plan(target, (), bootstrap)
        runner = self._runner(target)._replace(fetched=fetched)
        if not self._locked.fixed:
            runner = runner._replace(cache="")  # a server may say that a file stays fresh which nothing pins
        lines = [self._chosen(target, line) for line in wanted]
        sources = [line for line in lines if line.kind in ("vcs", "folder", "archive")]
        made: List[wheels.Facts] = []
        for line in sources:
            made.append(self._made(runner, target, line))
            fetched(1)
        built = [(line, facts) for line, facts in zip(sources, made)]
        found = {facts.sha256: facts for facts in made}
        files = self._taken(runner, target, [line for line in lines if line not in sources], built)
        files = [file for file in files if os.path.basename(file) not in {facts.file for facts in made}]
        with self._console.phase(f"Checking {len(files)} files, and building the sdists", len(files)) as checked:
            for file in files:
                facts = self._wheel(runner, target, file)
                found[facts.sha256] = facts
                checked(1)
        return planning.Plan(target, _sorted(found.values()), bootstrap)

    def _taken(
        self,
        runner: pip.Runner,
        target: targets.Target,
        lines: Sequence[requirements.Line],
        built: Sequence[Tuple[requirements.Line, wheels.Facts]],
    ) -> List[str]:
        """Let pip fetch *lines*: from the URLs that a lock names, or else by version and hash from the index.

        A network may reach its own index only, not the hosts that were there when the lock was made.
        """
        try:
            return self._files(runner, target, lines, built)
        except BuildInputError:
            named = {line.place: line for line in self._locked.lines if line.files}
            if not any(line.place in named and line.requirement.url for line in lines):
                raise
        self._console.step("  not every URL of the lock can be fetched, so the package index is searched too")
        files: List[str] = []
        for line in lines:  # such a lock is fixed, so no line depends on another
            try:
                files += self._files(runner, target, [line], ())
            except BuildInputError:
                if line.place not in named:
                    raise
                files += self._files(runner, target, [named[line.place]], ())
        return files

    def _files(
        self,
        runner: pip.Runner,
        target: targets.Target,
        lines: Sequence[requirements.Line],
        built: Sequence[Tuple[requirements.Line, wheels.Facts]],
    ) -> List[str]:
        """Let pip fetch *lines* for *target*, for each of its patch releases.

        A fixed list is complete, so it needs no resolver; the check of the closure finds what it lacks. Otherwise pip
        resolves what this release needs, and takes what was *built* already as given.
        """
        arguments = ["--only-binary=:all:"] if target.cross or self._settings.only_binary else []
        if self._locked.fixed:
            arguments += ["--require-hashes", "--no-deps"]
        files: List[str] = []
        own: List[requirements.Line] = []
        if not target.cross:
            here = markers.Releases(target.markers, frozenset())

            def is_own(line: requirements.Line) -> bool:
                return bool(here.where(line.requirement.marker) & here.of(target.release))

            own = [line for line in lines if is_own(line)]
            given = [] if self._locked.fixed else [self._stand_in(*one) for one in built if is_own(one[0])]
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
        self, target: targets.Target, lines: Sequence[requirements.Line]
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
        text = requirements.as_pip_lines(lines, self._options(), self._locked.constraints)
        return pip.download(runner, arguments, text)

    def _options(self) -> Tuple[str, ...]:
        """Return the options that decide where pip looks, in the words of a requirements file."""
        if not self._settings.wheelhouse:
            return self._locked.options
        kept: List[str] = []
        words = iter(self._locked.options)
        for word in words:
            value = [next(words)] if word in requirements.ONE_VALUE else []
            if word not in requirements.INDEXES:
                kept += [word, *value]
        return (*kept, "--no-index", "--find-links", self._settings.wheelhouse)

    def _chosen(self, target: targets.Target, line: requirements.Line) -> requirements.Line:
        """Return *line* with the one file of those that the lock offers that suits *target* best (PEP 751)."""
        if not line.files or self._settings.wheelhouse:
            return line
        name = line.requirement.name
        file = targets.best({file.name: file for file in line.files}, target)
        sdists = [file for file in line.files if not file.name.endswith(".whl")]
        if file is None and (target.cross or self._settings.only_binary or not sdists):
            why = f"{name} has no wheel for {target.label}" + (", only an sdist" if sdists else " and no sdist")
            raise BuildInputError(line.place, why, "Lock another version")
        file = file or sdists[0]
        requirement = Requirement(f"{name} @ {self._url(file)}")
        requirement.extras = line.requirement.extras
        return line._replace(requirement=requirement, hashes=file.hashes, files=())

    def _url(self, file: requirements.File) -> str:
        """Return a URL of *file* that ends in its name, for pip reads what a wheel is from that."""
        if os.path.basename(unquote(urlsplit(file.url).path)) == file.name:
            return file.url
        folder = tempfile.mkdtemp(dir=self.kept.work)
        path = os.path.join(folder, file.name)
        with open(path, "wb") as copy:
            copy.write(urls.content(file.url, _LARGEST_FILE))
        return "file://" + quote(path)

    def _stand_in(self, line: requirements.Line, facts: wheels.Facts) -> requirements.Line:
        """Return the line of the wheel that was built for *line*."""
        folder = tempfile.mkdtemp(dir=self.kept.work)
        path = os.path.join(folder, facts.file)
        shutil.copyfile(self.paths[facts.sha256], path)
        extras = f"[{','.join(sorted(line.requirement.extras))}]" if line.requirement.extras else ""
        return line._replace(
            requirement=Requirement(f"{facts.name}{extras} @ file://{quote(path)}"), hashes=(), options=()
        )

    def _made(self, runner: pip.Runner, target: targets.Target, line: requirements.Line) -> wheels.Facts:
        """Build what a line names by URL or path.

        Kept for the next build is what a hash or a commit fixes. What a folder holds today is built today.
        """
        shown = masked(str(line.requirement if line.named else line.requirement.url))
        if self._settings.only_binary:
            raise BuildInputError(line.place, f"{shown} has to be built", "Leave out --only-binary")
        where = requirements.origin(line)
        name = ""
        if line.fixed and line.kind != "folder":
            name = cache.key("made", _FORMAT, __version__, where, line.options, target.identity, self._inputs(target))
        known = self.kept.document("made", name) if name else None
        facts = self._known(*known) if known else None
        if facts is None:
            self._console.step(f"  building {shown}")
            facts = self._built(runner, line, where)
            if name:
                self.kept.keep_document("made", name, *_references([facts]))
        if not line.named:
            self._locked = inputs.named(self._locked, [(line.place, facts.name)])
        self.built.append(facts.file)
        return facts

    def _built(self, runner: pip.Runner, line: requirements.Line, where: str) -> wheels.Facts:
        if line.kind == "folder":
            line = line._replace(requirement=self._copied(line))
        built = pip.build(runner, requirements.as_pip_lines([line], self._options()))
        path = self._repacked(built)
        if not line.named:
            where = where.replace(line.requirement.name, requirements.project_of(os.path.basename(path)))
        return self._proven(self.kept.keep_file(path), where)

    def _copied(self, line: requirements.Line) -> Requirement:
        """Return the requirement of a copy of the folder: a build leaves files behind, and may pick up old ones."""
        parts = urlsplit(str(line.requirement.url))
        copy = os.path.join(tempfile.mkdtemp(dir=self.kept.work), os.path.basename(unquote(parts.path)) or "project")
        top = unquote(parts.path)

        def left_out(folder: str, names: List[str]) -> List[str]:
            unwanted = _LEFT_BY_BUILDS if os.path.samefile(folder, top) else _LEFT_BY_PYTHON
            inside = [name for name in names if os.path.join(os.path.realpath(folder), name) == self.kept.folder]
            return inside + [name for name in names for pattern in unwanted if fnmatch.fnmatch(name, pattern)]

        shutil.copytree(top, copy, symlinks=True, ignore=left_out)
        requirement = Requirement(str(line.requirement))
        requirement.url = parts._replace(path=quote(copy)).geturl()
        return requirement

    def _wheel(self, runner: pip.Runner, target: targets.Target, path: str) -> wheels.Facts:
        """Keep what pip fetched: a wheel as it is, an sdist as the wheel that is built from it."""
        name = requirements.project_of(os.path.basename(path))
        options = [line.options for line in self._lines(target) if canonicalize_name(line.requirement.name) == name]
        settings = [option for words in options for option in words]
        if path.endswith(".whl"):
            if settings:
                self._console.warn(f"{os.path.basename(path)}: is a wheel, so {settings[0]} has no effect on it")
            return self._sound(path)
        if not path.endswith(requirements.SDISTS):
            raise BuildInputError(os.path.basename(path), "is neither wheel nor sdist", "Lock another version")
        sdist = self.kept.keep_file(path)
        origin = f"{os.path.basename(path)} sha256:{sdist.sha256}"
        key = cache.key("built", _FORMAT, __version__, sdist.sha256, target.identity, settings, self._inputs(target))
        # Without a lock the build backend may be another one today, as everything else.
        built = self.kept.document("built", key) if self._locked.fixed else None
        facts = self._known(*built) if built else None
        if facts is None:
            self._console.step(f"  building {os.path.basename(path)}")
            url = "file://" + quote(sdist.path)
            line = requirements.Line(path, Requirement(f"{name} @ {url}"), (), tuple(settings), named=False)
            built = pip.build(runner, requirements.as_pip_lines([line], self._options()))
            facts = self._proven(self.kept.keep_file(self._repacked(built)), origin)
            self.kept.keep_document("built", key, *_references([facts]))
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

    def _repacked(self, built: str) -> str:
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
        return self._run_by(command, tool.version)

    def _run_by(self, command: Tuple[str, ...], version: str = "") -> pip.Runner:
        cached = os.path.join(self.kept.folder, "pip") if self._settings.use_cache else ""
        logs = os.path.join(self.kept.folder if cached else cache.default_folder() or tempfile.gettempdir(), "logs")
        return pip.Runner(
            command, self.kept.work, cached, logs, self._settings.timeout, version, self._settings.build_constraints,
            bool(self._settings.wheelhouse),
        )  # fmt: skip

    def _bootstrap_of(self, target: targets.Target) -> Tuple[wheels.Facts, ...]:
        """Return the pinned pip, and what else a virtual environment of *target* starts with."""
        if target.python not in self._pips:
            name = cache.key("bootstrap", _FORMAT, __version__, self._bootstrap.digest, target.python)
            document = self.kept.document("bootstrap", name)
            found = [self._known(*reference) for reference in document or []]
            facts = [one for one in found if one is not None]
            if not document or len(facts) != len(document):
                facts, pinned = self._fetched_bootstrap(target)
                if pinned:
                    self.kept.keep_document("bootstrap", name, _references(facts))
            self._pips[target.python] = _sorted(facts)
        return self._pips[target.python]

    def _fetched_bootstrap(self, target: targets.Target) -> Tuple[List[wheels.Facts], bool]:
        """Return the pinned wheels, and True; from a wheelhouse that lacks them, other releases of them, and False."""
        interpreters = [path for path in (target.interpreter, sys.executable) if path]
        runner = self._run_by(pip.starting_command(interpreters, self.kept.work))
        at = markers.Releases(target.markers)
        lines = [line for line in self._bootstrap.lines if at.where(line.requirement.marker) & at.of(target.release)]
        arguments = ["--no-deps", "--only-binary=:all:", f"--python-version={target.version}"]
        house = self._settings.wheelhouse
        options = ["--find-links", house] if house else []
        try:
            text = requirements.as_pip_lines(lines, options)
            files, pinned = pip.download(runner, [*arguments, "--require-hashes"], text), True
        except pip.NotFound as error:
            if not house:
                raise
            for folder in pip.bundled(interpreters):
                options += ["--find-links", folder]
            names = [line._replace(requirement=Requirement(line.requirement.name), hashes=()) for line in lines]
            try:
                files, pinned = pip.download(runner, arguments, requirements.as_pip_lines(names, options)), False
            except pip.NotFound:
                fix = f"Add it: pip download --no-deps --dest {house} {error.what}"
                raise BuildInputError(error.what, f"is not in {house}, and every artifact carries it", fix) from None
        return [self._proven(self.kept.keep_file(file), "") for file in files], pinned


def _ranges(found: Iterable[Sequence[str]]) -> Tuple[patches.Range, ...]:
    return tuple(patches.Range(first, last) for first, last in found)


def _facts_key(sha256: str, file: str) -> str:
    return cache.key("facts", _FORMAT, wheels.FORMAT, __version__, sha256, file)


def _references(facts: Iterable[wheels.Facts]) -> List[List[str]]:
    """Return what finds wheels again in the cache."""
    return [[one.sha256, one.file, one.built_from] for one in facts]


def _sorted(facts: Iterable[wheels.Facts]) -> Tuple[wheels.Facts, ...]:
    return tuple(sorted(facts, key=lambda one: (one.name, one.file)))
