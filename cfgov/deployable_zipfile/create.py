"""Command line of the build side: pack a Django site and all its dependencies into one self-extracting zip.

    create.py PROJECT_PATH REQUIREMENTS_FILE ZIPFILE_BASENAME [--extra-static DIR]... [--extra-python PY]...

The story of a build, top-down: :func:`build`. Its steps stand in ``builder/``; this module alone knows them all.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not __package__:
    # Run as a script: become part of the package without putting its folder on sys.path, where modules named as
    # ours (wheel, errors) would hide others.
    import importlib.util

    _FOLDER = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or os.curdir) != _FOLDER]
    _SPEC = importlib.util.spec_from_file_location(
        "deployable_zipfile", os.path.join(_FOLDER, "__init__.py"), submodule_search_locations=[_FOLDER]
    )
    assert _SPEC is not None and _SPEC.loader is not None
    sys.modules["deployable_zipfile"] = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(sys.modules["deployable_zipfile"])
    __package__ = "deployable_zipfile"

import argparse
import contextlib
import re
import signal
from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from . import __version__, archive, layout
from .console import Console
from .errors import BuildInputError, DeployableZipfileError, Interrupted, UsageError, WheelError
from .parallel import cores

try:
    from .builder import bytecode, cache, pip, progress, requirements, sbom, settings, source, targets, wheels, zipwriter
    from .builder.output import Output, Written
except ModuleNotFoundError as _error:
    if (_error.name or "").startswith("deployable_zipfile"):
        raise
    sys.exit(f"error: {_error.name}: is needed to build and is not installed. Run pip install -r requirements/build.txt.")

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_NOT_SHIPPED = ("create.py", "__main__.py")
_AT_ROOT = {"bootstrap.py": layout.MAIN, "install_wheels.py": layout.INSTALL_WHEELS, "loadenv.py": layout.LOADENV}
_SHEBANG = re.compile(r"#![\x20-\x7e]{1,125}\Z")
_PIP_FLOOR = "26.1.2"  # older ones let an entry point's name leave the venv (CVE-2026-8643)


class Options(NamedTuple):
    """What a build was asked for."""

    project: str
    requirements: str
    basename: str
    extra_static: Tuple[str, ...] = ()
    extra_python: Tuple[str, ...] = ()
    target: Tuple[str, ...] = ()
    include: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()
    all_files: bool = False
    require_clean: bool = False
    require_hashes: bool = False
    only_binary: bool = False
    strict: bool = False
    bytecode: bool = True
    shebang: str = layout.DEFAULT_SHEBANG
    cache_dir: Optional[str] = None
    use_cache: bool = True
    timeout: float = 1800.0
    workers: int = 0


class Built(NamedTuple):
    """What a build made."""

    written: Written
    manifest: layout.Manifest
    warnings: Tuple[str, ...]
    notes: Dict[str, Any]


class Plan(NamedTuple):
    """The wheels of one target, in the order of their names."""

    target: targets.Target
    wheels: Tuple[wheels.Facts, ...]
    bootstrap: Tuple[wheels.Facts, ...]


def create_zipfile(
    project_path: str,
    requirements_file: str,
    zipfile_basename: str,
    extra_static: Optional[Sequence[str]] = None,
    extra_python: Optional[Sequence[str]] = None,
) -> str:
    """Build an artifact and return its path.

    Parameters:
        project_path: the project's folder; its name is the project's name.
        requirements_file: a requirements file or ``pylock.toml``.
        zipfile_basename: the artifact's path without ``.zip``.
        extra_static: folders that become ``static.in/0``, ``static.in/1``, ...
        extra_python: further interpreters to collect wheels for.

    Raises:
        DeployableZipfileError: the build failed; nothing was written.
    """
    options = Options(
        project_path, requirements_file, zipfile_basename, tuple(extra_static or ()), tuple(extra_python or ())
    )
    return build(options, Console()).written.path


def build(options: Options, console: Console) -> Built:
    """Build one artifact.

    Raises:
        DeployableZipfileError: the build failed; what stood at the artifact's path before still does.
    """
    options = _with_settings(options)
    warnings: List[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(_fixed_umask())
        locked = _requirements(options, warnings)
        output = stack.enter_context(Output(options.basename))
        chosen, state = _source(options, locked, output.names, console, warnings)
        goals = _targets(options)
        kept = stack.enter_context(cache.Cache(_cache_folder(options, warnings)))
        store = _Store(options, locked, kept, console)
        plans = _distinct([store.plan(goal) for goal in goals], store)
        for plan in plans:
            _check_plan(plan, locked, options, warnings)
        files = [file for selection in chosen for file in selection.files]
        source.check_sizes(files, sum(facts.size for facts in _all_wheels(plans)))
        packer = _Packer(options, store, plans, chosen, state)
        manifest = packer.pack(output.temporary, console)
        with archive.Artifact.open(output.temporary):
            pass  # our own strict reader takes it
        written = output.commit()
    for text in warnings:
        console.warn(text)
    return Built(written, manifest, tuple(warnings), store.notes())


def main(arguments: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> int:
    """Run the command line and return its exit code."""
    parsed = parser(prog).parse_args(arguments)
    console = Console(quiet=parsed.quiet, as_json=parsed.json)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        _report(build(_options(parsed), console), console)
        return 0
    except KeyboardInterrupt:
        error: DeployableZipfileError = Interrupted("build", "was interrupted, nothing was written", "Build again")
    except DeployableZipfileError as raised:
        error = raised
        if parsed.debug:
            raise
    except OSError as raised:
        error = BuildInputError(raised.filename or "build", (raised.strerror or str(raised)), "Free space, or look at the path")
        if parsed.debug:
            raise
    console.error(error)
    return error.exit_code


def parser(prog: Optional[str] = None) -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        prog=prog,
        description="Pack a Django or WSGI project and all its dependencies into one self-extracting zip.",
        epilog="Settings of a project stand in [tool.deployable-zipfile] of its pyproject.toml; see docs/build.md.",
    )
    add_arguments(result)
    return result


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of a build to *command*."""
    command.add_argument("project_path", metavar="PROJECT_PATH", help="folder of the project; its name is the project's")
    command.add_argument("requirements_file", metavar="REQUIREMENTS_FILE", help="requirements file or pylock.toml")
    command.add_argument("zipfile_basename", metavar="ZIPFILE_BASENAME", help="path of the artifact, without .zip")
    group = command.add_argument_group("what is packed")
    group.add_argument("--extra-static", metavar="DIR", action="append", default=[], help="folder of static files; repeatable")
    group.add_argument("--include", metavar="GLOB", action="append", default=[], help="untracked files to pack as well; repeatable")
    group.add_argument("--exclude", metavar="GLOB", action="append", default=[], help="files to leave out; repeatable")
    group.add_argument("--all-files", action="store_true", help="pack untracked files too, not only what git tracks")
    group.add_argument("--require-clean", action="store_true", help="refuse a checkout with changed or untracked files")
    group = command.add_argument_group("what it runs on")
    group.add_argument("--extra-python", metavar="PY", action="append", default=[], help="another Python to collect wheels for; repeatable")
    group.add_argument("--target", metavar="NAME", action="append", default=[], help="build for cp38-manylinux_2_17_x86_64 or the like instead of this machine, from binary wheels alone; repeatable")
    group.add_argument("--shebang", metavar="LINE", help=f"first line of the artifact (default: {layout.DEFAULT_SHEBANG})")
    group.add_argument("--no-bytecode", action="store_true", help="ship no compiled Python files; the target compiles")
    group = command.add_argument_group("how strictly")
    group.add_argument("--require-hashes", action="store_true", help="refuse requirements without hashes")
    group.add_argument("--only-binary", action="store_true", help="build nothing from sdists")
    group.add_argument("--strict", action="store_true", help="refuse wheels that run code at every start of Python (.pth)")
    group = command.add_argument_group("the build itself")
    group.add_argument("--cache-dir", metavar="DIR", help="folder of the cache (default: deployable-zipfile in the user's cache)")
    group.add_argument("--no-cache", action="store_true", help="neither use nor fill the cache")
    group.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=1800.0, help="give up a run of pip after this time (default: 1800)")
    group.add_argument("--workers", metavar="N", type=_count, default=0, help="processes to use (default: one per core)")
    group.add_argument("--quiet", action="store_true", help="print warnings, errors and the result only")
    group.add_argument("--json", action="store_true", help="print the result as one JSON object")
    group.add_argument("--debug", action="store_true", help="print tracebacks of errors")
    command.add_argument("--version", action="version", version=f"deployable-zipfile {__version__}")


def _with_settings(options: Options) -> Options:
    found = settings.read(options.project)
    options = options._replace(
        include=found.include + options.include,
        exclude=found.exclude + options.exclude,
        target=options.target or found.target,
        require_clean=options.require_clean or found.require_clean,
        require_hashes=options.require_hashes or found.require_hashes,
        strict=options.strict or found.strict,
        shebang=options.shebang or found.shebang or layout.DEFAULT_SHEBANG,
    )
    if not options.shebang.startswith("#!"):
        options = options._replace(shebang="#!" + options.shebang)
    if not _SHEBANG.match(options.shebang) or "python" not in options.shebang:
        raise UsageError("--shebang", "is no line of at most 127 printable characters that names python", "Correct it")
    return options


def _requirements(options: Options, warnings: List[str]) -> requirements.Requirements:
    locked = requirements.read(options.requirements)
    if not locked.lines:
        warnings.append(f"{options.requirements}: holds no requirement; the artifact will carry pip alone")
    elif not locked.hashed:
        if options.require_hashes:
            raise BuildInputError(
                options.requirements, "gives no hashes", "Lock it with uv pip compile --generate-hashes, or pip-compile"
            )
        warnings.append(
            f"{options.requirements}: gives no hashes, so other files may be fetched under the same names; "
            "lock it with uv pip compile --generate-hashes"
        )
    return locked


def _source(
    options: Options,
    locked: requirements.Requirements,
    outputs: FrozenSet[str],
    console: Console,
    warnings: List[str],
) -> Tuple[List[source.Selection], layout.Source]:
    """Choose the files of project and static folders, and say what was left out."""
    source.check_project(os.path.realpath(options.project))
    found = settings.read(options.project)
    state = source.checkout(options.project, [locked.path, found.path] if found.path else [locked.path])
    if options.require_clean:
        source.require_clean(state)
    epoch = source.source_epoch(os.environ.get("SOURCE_DATE_EPOCH"), state.epoch)
    console.step(f"Choosing the files of {options.project}")
    base = os.path.dirname(found.path) if found.path else ""
    chosen = [
        source.project_files(options.project, options.include, options.exclude, base, options.all_files, outputs)
    ]
    chosen += [source.static_files(folder, number, outputs) for number, folder in enumerate(options.extra_static)]
    source.check_together(file for selection in chosen for file in selection.files)
    if state.changed:
        warnings.append(f"the checkout differs from its commit: {source.named(state.changed)}")
    if state.untracked and not options.all_files:
        warnings.append(f"git does not track, so not packed: {source.named(state.untracked)}")
    for selection in chosen:
        if selection.left_out:
            console.step(f"  never packed: {source.named(selection.left_out)}")
        if selection.links:
            console.step(f"  symbolic links packed as copies: {source.named(selection.links)}")
    return chosen, layout.Source(state.commit, bool(state.changed), epoch)


def _targets(options: Options) -> List[targets.Target]:
    """Return what to build for: the named targets, or else this Python; and every further Python."""
    goals = [targets.of_name(name, (sys.executable, *options.extra_python)) for name in options.target]
    commands = options.extra_python if goals else (sys.executable, *options.extra_python)
    for command in commands:
        goal = targets.of_interpreter(command)
        if all((goal.python, goal.machine) != (other.python, other.machine) or other.cross for other in goals):
            goals.append(goal)
    return goals


def _cache_folder(options: Options, warnings: List[str]) -> Optional[str]:
    if not options.use_cache:
        return None
    folder = options.cache_dir or cache.default_folder()
    if folder is None:
        warnings.append("there is no home folder for the cache, so nothing is kept; give --cache-dir DIR")
    return folder


class _Store:
    """Wheels, from the cache as long as the lock is unchanged, else from pip."""

    def __init__(
        self, options: Options, locked: requirements.Requirements, kept: cache.Cache, console: Console
    ) -> None:
        self.kept = kept
        self.paths: Dict[str, str] = {}  # of wheels and bytecode archives, by SHA-256
        self._options = options
        self._locked = locked
        self._console = console
        self._bootstrap = requirements.read(pip.BOOTSTRAP)
        self._pips: Dict[str, Tuple[wheels.Facts, ...]] = {}
        self._from_cache: List[str] = []
        self._built: List[str] = []

    def notes(self) -> Dict[str, Any]:
        """Return what a report should say: targets whose wheels came from the cache, wheels built here."""
        return {"from_cache": self._from_cache, "built": sorted(set(self._built))}

    def plan(self, target: targets.Target) -> Plan:
        """Return the wheels of *target*."""
        name = cache.key(
            __version__, wheels.FORMAT, self._locked.digest, self._bootstrap.digest, target.label, target.identity,
            self._options.only_binary, pip.index_settings(),
        )  # fmt: skip
        plan = self._recalled(target, self.kept.document("plans", name))
        if plan is not None:
            self._console.step(f"Wheels for {target.label}: the lock is unchanged, {len(plan.wheels)} from the cache")
            self._from_cache.append(target.label)
            return plan
        with progress.phase(self._console, f"Fetching wheels for {target.label}"):
            plan = self._fetched(target)
        if not {facts.name for facts in plan.wheels} - requirements.pinned(self._locked):
            document = {kind: [[f.sha256, f.file] for f in getattr(plan, kind)] for kind in ("wheels", "bootstrap")}
            self.kept.keep_document("plans", name, document)
        return plan

    def _recalled(self, target: targets.Target, document: Any) -> Optional[Plan]:
        if document is None:
            return None
        groups = []
        for kind in ("wheels", "bootstrap"):
            group = [self._known(sha256, file) for sha256, file in document[kind]]
            if None in group:
                return None
            groups.append(tuple(facts for facts in group if facts is not None))
        return Plan(target, *groups)

    def _known(self, sha256: str, file: str) -> Optional[wheels.Facts]:
        kept = self.kept.file(sha256, file)
        if kept is None:
            return None
        self.paths[sha256] = kept.path
        document = self.kept.document("facts", cache.key(wheels.FORMAT, __version__, sha256, file))
        return wheels.from_document(document) if document else self._proven(kept, "")

    def _proven(self, kept: cache.Kept, built_from: str) -> wheels.Facts:
        facts = wheels.prove(kept.path, kept.sha256, kept.crc, built_from)
        self.paths[kept.sha256] = kept.path
        self.kept.keep_document(
            "facts", cache.key(wheels.FORMAT, __version__, kept.sha256, facts.file), wheels.to_document(facts)
        )
        return facts

    def requested(self, target: targets.Target) -> FrozenSet[str]:
        """Return the projects that the requirements file itself names for *target*."""
        return requirements.names(line for line in self._locked.lines if targets.applies(line.requirement, target))

    def _fetched(self, target: targets.Target) -> Plan:
        bootstrap = self._bootstrap_of(target)
        runner = self._runner(target)
        if not self._locked.lines:
            return Plan(target, (), bootstrap)
        arguments = list(self._locked.options)
        text = requirements.as_pip_lines(self._locked.lines) if self._locked.rewritten else ""
        constraints: Sequence[str] = ()
        if target.cross:
            applying = [line for line in self._locked.lines if targets.applies(line.requirement, target)]
            text = requirements.as_pip_lines(applying, with_markers=False)
            constraints = self._locked.constraints
            arguments += ["--only-binary=:all:", "--implementation=cp", f"--python-version={target.version}"]
            arguments += [f"--abi={abi}" for abi in (target.abi, "abi3", "none")]
            arguments += [f"--platform={platform}" for platform in target.platforms]
            # pip evaluates the markers of dependencies for the Python that runs it, so it is not asked for any.
            arguments.append("--no-deps")
            if not applying:
                return Plan(target, (), bootstrap)
        elif self._options.only_binary:
            arguments.append("--only-binary=:all:")
        if not text:
            arguments = []
        path = "" if text else os.path.abspath(self._locked.path)
        files = pip.download(runner, arguments, text, path, constraints)
        found = [self._wheel(runner, target, file) for file in files]
        named = {facts.name for facts in found}
        return Plan(target, _sorted(found), tuple(facts for facts in bootstrap if facts.name not in named))

    def _wheel(self, runner: pip.Runner, target: targets.Target, path: str) -> wheels.Facts:
        """Keep what pip fetched: a wheel as it is, an sdist as the wheel that is built from it."""
        if path.endswith(".whl"):
            return self._proven(self.kept.keep_file(path), "")
        if not path.endswith(pip.SDISTS):
            raise BuildInputError(os.path.basename(path), "is neither wheel nor sdist", "Lock another version")
        sdist = self.kept.keep_file(path)
        origin = f"{os.path.basename(path)} sha256:{sdist.sha256}"
        name = cache.key(__version__, wheels.FORMAT, sdist.sha256, target.identity)
        built = self.kept.document("built", name)
        facts = self._known(*built) if built else None
        if facts is None:
            self._console.step(f"  building {os.path.basename(path)}")
            facts = self._proven(self.kept.keep_file(self._repacked(runner, sdist.path)), origin)
            self.kept.keep_document("built", name, [facts.sha256, facts.file])
        self._built.append(facts.file)
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
        cached = os.path.join(self.kept.folder, "pip") if self._options.use_cache else ""
        logs = os.path.join(cache.default_folder() or self.kept.folder, "logs")
        return pip.Runner(command, self.kept.work, cached, logs, self._options.timeout)

    def _bootstrap_of(self, target: targets.Target) -> Tuple[wheels.Facts, ...]:
        """Return the pinned pip, and what else a virtual environment of *target* starts with."""
        if target.python not in self._pips:
            name = cache.key(__version__, wheels.FORMAT, self._bootstrap.digest, target.python)
            document = self.kept.document("bootstrap", name)
            found = [self._known(sha256, file) for sha256, file in document or []]
            facts = [one for one in found if one is not None]
            if not document or len(facts) != len(document):
                facts = self._fetched_bootstrap(target)
                self.kept.keep_document("bootstrap", name, [[one.sha256, one.file] for one in facts])
            self._pips[target.python] = _sorted(facts)
        return self._pips[target.python]

    def _fetched_bootstrap(self, target: targets.Target) -> List[wheels.Facts]:
        interpreters = [path for path in (target.interpreter, sys.executable) if path]
        runner = self._run_by(pip.starting_command(interpreters, self.kept.work))
        lines = [line for line in self._bootstrap.lines if targets.applies(line.requirement, target)]
        arguments = ["--no-deps", "--only-binary=:all:", "--require-hashes", f"--python-version={target.version}"]
        files = pip.download(runner, arguments, requirements.as_pip_lines(lines, with_markers=False))
        return [self._proven(self.kept.keep_file(file), "") for file in files]


def _distinct(plans: Sequence[Plan], store: _Store) -> List[Plan]:
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


def _check_plan(plan: Plan, locked: requirements.Requirements, options: Options, warnings: List[str]) -> None:
    """Prove that *plan* is complete, unambiguous and runs on its target."""
    target, everything = plan.target, plan.wheels + plan.bootstrap
    tags = target.tags
    seen: Dict[str, wheels.Facts] = {}
    for facts in everything:
        other = seen.setdefault(facts.name, facts)
        if other is not facts:
            raise WheelError(facts.name, f"is there twice for {target.label}: {other.file}, {facts.file}", "Lock one version")
        wheels.check_fits(facts, target.label, tags, target.machine, target.glibc)
        if not targets.runs_on(facts.requires_python, target):
            raise WheelError(facts.file, f"needs Python {facts.requires_python}, {target.label} has {target.version}", "Lock another version")
        if facts.built_from and any(tag.endswith(f"-linux_{target.machine}") for tag in facts.tags):
            warnings.append(f"{facts.file}: was compiled here, so it runs on systems as new as this one")
    for facts in plan.wheels:
        if facts.startup:
            text = f"runs code at every start of Python ({', '.join(facts.startup)})"
            if options.strict:
                raise WheelError(facts.file, text, "Leave out --strict if that is wanted")
            warnings.append(f"{facts.file}: {text}")
    _check_bootstrap(plan)
    roots = [(line.place, line.requirement) for line in locked.lines]
    needed = [targets.Wheel(facts.name, facts.version, facts.requires, facts.file) for facts in everything]
    absent = targets.missing(roots, needed, target)
    if absent:
        first, more = absent[0], f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        found = f"{first.found} is there" if first.found else "it is not there"
        raise WheelError(
            first.requirement, f"is required by {first.wanted_by} on {target.label}, and {found}{more}", "Lock it as well"
        )


def _check_bootstrap(plan: Plan) -> None:
    version = next((facts.version for facts in plan.wheels + plan.bootstrap if facts.name == "pip"), None)
    if version is None:
        raise BuildInputError("pip", f"is missing among the bootstrap wheels for {plan.target.label}", "Install the tool again")


def _sorted(facts: Sequence[wheels.Facts]) -> Tuple[wheels.Facts, ...]:
    return tuple(sorted(facts, key=lambda one: (one.name, one.file)))


def _all_wheels(plans: Sequence[Plan]) -> List[wheels.Facts]:
    """Return every wheel once."""
    found = {facts.file: facts for plan in plans for facts in plan.wheels + plan.bootstrap}
    return [found[name] for name in sorted(found)]


class _Packer:
    """Writes the members of the artifact, in the order in which they are read."""

    def __init__(
        self,
        options: Options,
        store: _Store,
        plans: Sequence[Plan],
        chosen: Sequence[source.Selection],
        state: layout.Source,
    ) -> None:
        self._options = options
        self._store = store
        self._plans = plans
        self._chosen = chosen
        self._state = state
        self._project = os.path.basename(os.path.realpath(options.project))
        self._work = store.kept.work
        self._files = [
            zipwriter.Item(file.name, zipwriter.FileContent(file.path, file.size, inode=file.inode), file.mode)
            for selection in chosen
            for file in selection.files
        ]
        self._bytecode: Dict[Tuple[str, str], str] = {}  # (wheel file or "", cache tag) -> member

    def pack(self, path: str, console: Console) -> layout.Manifest:
        """Write the artifact to *path* and return its manifest."""
        overlays = self._overlays(console)
        stored = self._stored_wheels() + overlays
        runtime = _runtime(self._project)
        nested = len(runtime) + len(stored) + len(self._files) + 4 > layout.MAX_MEMBERS
        total = sum(_size(item) for item in [*runtime, *stored, *self._files])
        with progress.phase(console, f"Packing {len(self._files)} files and {len(_all_wheels(self._plans))} wheels", total) as advance:
            with zipwriter.Archive(path, self._options.shebang, self._options.workers, advance) as target:
                target.add(runtime)
                payloads = self._add_payloads(target, advance) if nested else ()
                if not nested:
                    target.add(self._files)
                project = self._project_bytecode(console, dict(target.members) if not nested else self._nested_members)
                target.add(stored + project)
                target.add([zipwriter.Item(layout.SBOM, self._sbom())])
                manifest = self._manifest(target.members, payloads)
                target.add([zipwriter.Item(layout.MANIFEST, manifest.to_json())])
        return manifest

    def _stored_wheels(self) -> List[zipwriter.Item]:
        items = []
        for plan in self._plans:
            for folder, group in ((layout.WHEELS, plan.wheels), (layout.BOOTSTRAP_WHEELS, plan.bootstrap)):
                items += [self._stored(f"{folder}/{facts.file}", facts.sha256, facts.size, facts.crc) for facts in group]
        return list({item.name: item for item in sorted(items)}.values())

    def _stored(self, name: str, sha256: str, size: int, crc: int) -> zipwriter.Item:
        content = zipwriter.FileContent(self._store.paths[sha256], size)
        return zipwriter.Item(name, content, stored=True, sha256=sha256, crc=crc)

    def _add_payloads(self, target: zipwriter.Archive, advance: Any) -> Tuple[layout.Payload, ...]:
        """Pack the project's files as nested archives, for trees with more files than a zip can start with."""
        payloads = []
        self._nested_members: Dict[str, layout.Member] = {}
        step = layout.MAX_PAYLOAD_MEMBERS
        for number, first in enumerate(range(0, len(self._files), step)):
            payload = layout.Payload(f"{layout.PAYLOAD}/{number:03}.zip", f"{layout.PAYLOAD}/{number:03}.json")
            path = os.path.join(self._work, f"payload-{number}")
            with zipwriter.Archive(path, workers=self._options.workers, progress=advance) as nested:
                nested.add(self._files[first : first + step])
            self._nested_members.update(nested.members)
            measured = cache.measured(path)
            content = zipwriter.FileContent(path, measured.size)
            target.add([
                zipwriter.Item(payload.file, content, stored=True, sha256=measured.sha256, crc=measured.crc),
                zipwriter.Item(payload.listing, layout.listing_to_json(nested.members)),
            ])
            os.unlink(path)
            payloads.append(payload)
        return tuple(payloads)

    def _overlays(self, console: Console) -> List[zipwriter.Item]:
        """Return the bytecode archives of all wheels, compiling those that no earlier build compiled."""
        items: Dict[str, zipwriter.Item] = {}
        for goal, plan_wheels in self._compiling():
            missing = []
            for facts in plan_wheels:
                name = self._overlay_key(goal, facts.sha256)
                document = self._store.kept.document("bytecode", name)
                kept = self._store.kept.file(*document["file"]) if document and document["file"] else None
                if document is None or (document["file"] and kept is None):
                    missing.append(facts)
            if missing:
                self._compile_wheels(goal, missing, console)
            for facts in plan_wheels:
                document = self._store.kept.document("bytecode", self._overlay_key(goal, facts.sha256))
                if document["file"]:
                    member = f"{layout.BYTECODE}/{goal.cache_tag}/{facts.file[:-4]}.zip"
                    items.setdefault(member, self._kept_item(member, document["file"]))
                    self._bytecode[facts.file, goal.cache_tag] = member
        return [items[name] for name in sorted(items)]

    def _compiling(self) -> Iterator[Tuple[targets.Target, List[wheels.Facts]]]:
        """Yield each interpreter that compiles, with its wheels."""
        if not self._options.bytecode:
            return
        seen: Dict[str, targets.Target] = {}
        for plan in self._plans:
            if plan.target.interpreter:
                goal = seen.setdefault(plan.target.cache_tag, plan.target)
                if goal.magic == plan.target.magic:
                    yield goal, list(plan.wheels + plan.bootstrap)

    def _overlay_key(self, goal: targets.Target, content: str) -> str:
        return cache.key(__version__, bytecode.FORMAT, zipwriter.LEVEL, goal.identity, goal.magic, content)

    def _compile_wheels(self, goal: targets.Target, missing: Sequence[wheels.Facts], console: Console) -> None:
        console.step(f"Compiling {len(missing)} wheels for Python {goal.python}")
        units = [bytecode.Unit(facts.sha256, self._store.paths[facts.sha256], facts.python_files) for facts in missing]
        workers = self._options.workers or cores()
        results = bytecode.compile_units(units, goal.interpreter, goal.cache_tag, self._work, workers)
        for facts in missing:
            self._keep_overlay(self._overlay_key(goal, facts.sha256), facts.file[:-4], results[facts.sha256])

    def _keep_overlay(self, name: str, stem: str, result: bytecode.Result) -> Optional[List[str]]:
        """Keep one bytecode archive under *name* and return its digest and file name; None when it would be empty."""
        file: Optional[List[str]] = None
        if result.compiled:
            path = os.path.join(self._work, f"{stem}.zip")
            with zipwriter.Archive(path, workers=self._options.workers) as nested:
                nested.add([
                    zipwriter.Item(one.name, zipwriter.FileContent(one.path, one.size, one.offset))
                    for one in result.compiled
                ])
            kept = self._store.kept.keep_file(path)
            file = [kept.sha256, os.path.basename(path)]
        self._store.kept.keep_document("bytecode", name, {"file": file, "skipped": len(result.skipped)})
        return file

    def _kept_item(self, member: str, file: Sequence[str]) -> zipwriter.Item:
        kept = self._store.kept.file(file[0], file[1])
        if kept is None:
            raise BuildInputError(member, "vanished from the cache", "Build again")
        self._store.paths[kept.sha256] = kept.path
        return self._stored(member, kept.sha256, kept.size, kept.crc)

    def _project_bytecode(self, console: Console, members: Dict[str, layout.Member]) -> List[zipwriter.Item]:
        """Compile the project's own files; their digests must be those that were packed."""
        files = {
            file.name: file.path
            for file in self._chosen[0].files
            if file.name.endswith(".py")
        }
        items = {}
        for goal, _ in self._compiling():
            member = f"{layout.BYTECODE}/{goal.cache_tag}/project.zip"
            if member in items:
                continue
            content = cache.key([[name, members[name].sha256] for name in files])
            name = self._overlay_key(goal, content)
            document = self._store.kept.document("bytecode", name)
            file = document["file"] if document else None
            if document is None or (file and self._store.kept.file(*file) is None):
                console.step(f"Compiling {len(files)} files of the project for Python {goal.python}")
                unit = bytecode.Unit("project", None, tuple((path, name) for name, path in files.items()))
                result = bytecode.compile_units(
                    [unit], goal.interpreter, goal.cache_tag, self._work, self._options.workers or cores()
                )["project"]
                for source_name, digest in result.digests.items():
                    if digest != members[source_name].sha256:
                        raise BuildInputError(files[source_name], "changed while it was being packed", "Build again")
                file = self._keep_overlay(name, "project", result)
            if file:
                items[member] = self._kept_item(member, file)
                self._bytecode["", goal.cache_tag] = member
        return list(items.values())

    def _manifest(
        self, members: Dict[str, layout.Member], payloads: Tuple[layout.Payload, ...]
    ) -> layout.Manifest:
        return layout.Manifest(
            tool_version=__version__,
            project=self._project,
            shebang=self._options.shebang,
            source=self._state,
            targets=tuple(self._target(plan) for plan in self._plans),
            members=dict(members),
            directories=tuple(sorted({name for selection in self._chosen for name in selection.directories})),
            payloads=payloads,
        )

    def _target(self, plan: Plan) -> layout.Target:
        target = plan.target
        everything = plan.wheels + plan.bootstrap
        compiled = any((facts.file, target.cache_tag) in self._bytecode for facts in everything)
        project = self._bytecode.get(("", target.cache_tag))
        shipped = bool(compiled or project) and bool(target.cache_tag)
        return layout.Target(
            python=target.python,
            abi=target.abi,
            machine=target.machine,
            libc="glibc",
            libc_floor=wheels.glibc_floor(everything, target.machine),
            libraries=wheels.system_libraries(everything, target.machine),
            cache_tag=target.cache_tag if shipped else "",
            magic=target.magic if shipped else "",
            wheels=tuple(self._planned(layout.WHEELS, facts, target) for facts in plan.wheels),
            bootstrap=tuple(self._planned(layout.BOOTSTRAP_WHEELS, facts, target) for facts in plan.bootstrap),
            project_bytecode=project,
        )

    def _planned(self, folder: str, facts: wheels.Facts, target: targets.Target) -> layout.PlannedWheel:
        return layout.PlannedWheel(
            file=f"{folder}/{facts.file}",
            name=facts.name,
            version=facts.version,
            requested=folder == layout.WHEELS and facts.name in self._store.requested(target),
            bytecode=self._bytecode.get((facts.file, target.cache_tag)),
        )

    def _sbom(self) -> bytes:
        parts = [part for part in _parts(self._plans)]
        version, epoch = self._state.commit, self._state.epoch
        name = cache.key(__version__, sbom.FORMAT, self._project, version, epoch, parts)
        text = self._store.kept.document("sbom", name)
        if text is None:
            text = sbom.document(self._project, version, epoch, parts).decode("ascii")
            self._store.kept.keep_document("sbom", name, text)
        return str(text).encode("ascii")


def _parts(plans: Sequence[Plan]) -> List[sbom.Part]:
    """Return every wheel with the targets that install it and the wheels that it requires there."""
    found: Dict[str, sbom.Part] = {}
    for plan in plans:
        folders = ((layout.WHEELS, plan.wheels), (layout.BOOTSTRAP_WHEELS, plan.bootstrap))
        members = {facts.name: f"{folder}/{facts.file}" for folder, group in folders for facts in group}
        for facts in plan.wheels + plan.bootstrap:
            member = members[facts.name]
            needs = {members[name] for name in targets.required(facts.requires, plan.target) if name in members}
            before = found.get(member)
            found[member] = sbom.Part(
                member, facts.name, facts.version, facts.sha256, facts.licence, facts.built_from,
                (*(before.targets if before else ()), plan.target.label),
                tuple(sorted(needs | set(before.needs if before else ()))),
            )  # fmt: skip
    return [found[member] for member in sorted(found)]


def _runtime(project: str) -> List[zipwriter.Item]:
    """Return the members that run on the target, the entry point first."""
    items = {}
    for name in sorted(os.listdir(_PACKAGE)):
        if name.endswith(".py") and name not in _NOT_SHIPPED:
            items[_AT_ROOT.get(name, f"{layout.RUNTIME}/{name}")] = _own(name)
    items[layout.LOADENV_PTH] = _own(layout.LOADENV_PTH)
    items[layout.LOADENV_START] = _own(os.path.basename(layout.LOADENV_START))
    items[layout.project_pth_name(project)] = layout.project_pth_text(project).encode("ascii")
    first = [layout.MAIN, layout.INSTALL_WHEELS, layout.LOADENV]
    return [zipwriter.Item(name, items[name]) for name in [*first, *sorted(set(items) - set(first))]]


def _own(name: str) -> bytes:
    with open(os.path.join(_PACKAGE, name), "rb") as file:
        return file.read()


def _size(item: zipwriter.Item) -> int:
    return len(item.content) if isinstance(item.content, bytes) else item.content.size


def _options(parsed: argparse.Namespace) -> Options:
    return Options(
        project=parsed.project_path,
        requirements=parsed.requirements_file,
        basename=parsed.zipfile_basename,
        extra_static=tuple(parsed.extra_static),
        extra_python=tuple(parsed.extra_python),
        target=tuple(parsed.target),
        include=tuple(parsed.include),
        exclude=tuple(parsed.exclude),
        all_files=parsed.all_files,
        require_clean=parsed.require_clean,
        require_hashes=parsed.require_hashes,
        only_binary=parsed.only_binary,
        strict=parsed.strict,
        bytecode=not parsed.no_bytecode,
        shebang=parsed.shebang or "",
        cache_dir=parsed.cache_dir,
        use_cache=not parsed.no_cache,
        timeout=parsed.timeout,
        workers=parsed.workers,
    )


def _report(built: Built, console: Console) -> None:
    written, manifest = built.written, built.manifest
    labels = [f"{target.abi}-{target.machine}" for target in manifest.targets]
    document = {
        "path": written.path,
        "size": written.size,
        "sha256": written.sha256,
        "build_id": manifest.build_id,
        "commit": manifest.source.commit,
        "dirty": manifest.source.dirty,
        "targets": labels,
        "members": len(manifest.members) + 1,
        "warnings": list(built.warnings),
        **built.notes,
    }
    lines = [
        written.path,
        f"  {written.size} bytes ({written.size / 1e6:.1f} MB), {len(manifest.members) + 1} members, for {', '.join(labels)}",
        f"  build id {manifest.build_id}",
        f"  sha256   {written.sha256}",
    ]
    console.result(document, "\n".join(lines))


@contextlib.contextmanager
def _fixed_umask() -> Iterator[None]:
    """Let what is built have the same modes whatever the user's umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _seconds(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


if __name__ == "__main__":
    sys.exit(main())
