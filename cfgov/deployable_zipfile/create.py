"""Command line of the build side: pack a Django site and all its dependencies into one self-extracting zip.

    create.py PROJECT_PATH REQUIREMENTS_FILE ZIPFILE_BASENAME [--extra-static DIR]... [--extra-python PY]...

The story of a build, top-down: :func:`build`. Its steps stand in ``builder/``; this module alone knows them all.
"""

from __future__ import annotations

import os
import shutil
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
    assert _SPEC is not None
    assert _SPEC.loader is not None
    sys.modules["deployable_zipfile"] = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(sys.modules["deployable_zipfile"])
    __package__ = "deployable_zipfile"

import argparse
import contextlib
import importlib.util
import re
import signal
from typing import Any, Callable, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from . import __version__
from .artifact import layout, zipreader
from .console import Console
from .errors import BuildInputError, DeployableZipfileError, Interrupted, UsageError

try:
    for _needed in ("cyclonedx", "elftools", "rich"):  # imported when they are needed
        if importlib.util.find_spec(_needed) is None:
            raise ModuleNotFoundError(name=_needed)
    from .builder import cache, collect, pack, requirements, settings, source, targets
    from .builder.output import Output, Written
except ModuleNotFoundError as _error:
    if (_error.name or "").startswith("deployable_zipfile"):
        raise
    print(
        f"error: {_error.name}: is needed to build and is not installed. Run pip install -r requirements/build.txt.",
        file=sys.stderr,
    )
    sys.exit(BuildInputError.exit_code)

_SHEBANG = re.compile(r"#![\x20-\x7e]{1,125}\Z")


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
    allow: Tuple[str, ...] = ()
    bytecode: bool = True
    shebang: str = ""  # the settings' own, or else the default
    cache_dir: Optional[str] = None
    use_cache: bool = True
    timeout: float = 1800.0
    workers: int = 0


class Built(NamedTuple):
    """What a build made."""

    written: Written
    manifest: layout.Manifest
    warnings: Tuple[str, ...]
    from_cache: Tuple[str, ...]  # labels of the targets whose wheels all came from the cache
    from_sdists: Tuple[str, ...]  # wheels that were built here


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

    def warn(text: str) -> None:
        warnings.append(text)
        console.warn(text)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_fixed_umask())
        locked = _requirements(options, warn)
        output = stack.enter_context(Output(options.basename))
        chosen, state = _source(options, locked, output.names, console, warn)
        kept = stack.enter_context(cache.Cache(_cache_folder(options, warn)))
        house = collect.Wheelhouse(
            collect.Settings(options.only_binary, options.use_cache, options.timeout, options.allow),
            locked,
            kept,
            console,
        )
        plans = collect.distinct([house.plan(target) for target in _targets(options)])
        plans = [collect.check(plan, locked, options.strict, warn) for plan in plans]
        files = [file for selection in chosen for file in selection.files]
        modules = {file.name.split("/")[1].partition(".py")[0] for file in files if file.name.endswith(".py")}
        for plan in plans:
            collect.rehearse(plan, house, _name(options.project), modules, warn)
        source.check_sizes(files, sum(facts.size for facts in collect.every_wheel(plans)))
        how = pack.Settings(_name(options.project), options.shebang, options.bytecode, options.workers)
        manifest = pack.Packer(how, house, plans, chosen, state, console).pack(output.temporary)
        with zipreader.Artifact.open(output.temporary):
            pass  # our own strict reader takes it
        written = output.commit()
    return Built(written, manifest, tuple(warnings), tuple(house.from_cache), tuple(sorted(set(house.built))))


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
        error = BuildInputError(
            raised.filename or "build", (raised.strerror or str(raised)), "Free space, or look at the path"
        )
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
    command.add_argument(
        "project_path", metavar="PROJECT_PATH", help="folder of the project; its name is the project's"
    )
    command.add_argument("requirements_file", metavar="REQUIREMENTS_FILE", help="requirements file or pylock.toml")
    command.add_argument("zipfile_basename", metavar="ZIPFILE_BASENAME", help="path of the artifact, without .zip")
    group = command.add_argument_group("what is packed")
    group.add_argument(
        "--extra-static", metavar="DIR", action="append", default=[], help="folder of static files; repeatable"
    )
    group.add_argument(
        "--include", metavar="GLOB", action="append", default=[], help="untracked files to pack as well; repeatable"
    )
    group.add_argument("--exclude", metavar="GLOB", action="append", default=[], help="files to leave out; repeatable")
    group.add_argument("--all-files", action="store_true", help="pack untracked files too, not only what git tracks")
    group.add_argument("--require-clean", action="store_true", help="refuse a checkout with changed or untracked files")
    group = command.add_argument_group("what it runs on")
    group.add_argument(
        "--extra-python",
        metavar="PY",
        action="append",
        default=[],
        help="another Python to collect wheels for; repeatable",
    )
    group.add_argument(
        "--target",
        metavar="NAME",
        action="append",
        default=[],
        help="build for cp38-manylinux_2_17_x86_64 or the like, not for this machine; takes wheels alone; repeatable",
    )
    group.add_argument(
        "--shebang", metavar="LINE", help=f"first line of the artifact (default: {layout.DEFAULT_SHEBANG})"
    )
    group.add_argument("--no-bytecode", action="store_true", help="ship no compiled Python files; the target compiles")
    group = command.add_argument_group("how strictly")
    group.add_argument("--require-hashes", action="store_true", help="refuse requirements without hashes")
    group.add_argument("--only-binary", action="store_true", help="build nothing from sdists")
    group.add_argument(
        "--allow",
        metavar="WHEEL",
        action="append",
        default=[],
        help="pack this wheel although it is broken, with a new RECORD; a file name or a project's name; repeatable",
    )
    group.add_argument(
        "--strict", action="store_true", help="refuse wheels that run code at every start of Python (.pth)"
    )
    group = command.add_argument_group("the build itself")
    group.add_argument(
        "--cache-dir", metavar="DIR", help="folder of the cache (default: deployable-zipfile in the user's cache)"
    )
    group.add_argument("--no-cache", action="store_true", help="neither use nor fill the cache")
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=1800.0,
        help="give up a run of pip after this time (default: 1800)",
    )
    group.add_argument(
        "--workers", metavar="N", type=_count, default=0, help="processes to use (default: one per core)"
    )
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
        allow=found.allow + options.allow,
        shebang=options.shebang or found.shebang or layout.DEFAULT_SHEBANG,
    )
    if not options.shebang.startswith("#!"):
        options = options._replace(shebang="#!" + options.shebang)
    if not _SHEBANG.match(options.shebang) or "python" not in options.shebang:
        raise UsageError("--shebang", "is no line of at most 127 printable characters that names python", "Correct it")
    return options


def _name(project: str) -> str:
    return os.path.basename(os.path.realpath(project))


def _requirements(options: Options, warn: Callable[[str], None]) -> requirements.Requirements:
    locked = requirements.read(options.requirements)
    if not locked.lines:
        warn(f"{options.requirements}: holds no requirement; the artifact will carry pip alone")
    elif not locked.hashed:
        if options.require_hashes:
            raise BuildInputError(
                options.requirements, "gives no hashes", "Lock it with uv pip compile --generate-hashes, or pip-compile"
            )
        warn(
            f"{options.requirements}: gives no hashes, so other files may be fetched under the same names; "
            "lock it with uv pip compile --generate-hashes"
        )
    return locked


def _source(
    options: Options,
    locked: requirements.Requirements,
    outputs: FrozenSet[str],
    console: Console,
    warn: Callable[[str], None],
) -> Tuple[List[source.Selection], layout.Source]:
    """Choose the files of project and static folders, and say what was left out."""
    source.check_project(os.path.realpath(options.project))
    found = settings.read(options.project)
    base = os.path.dirname(found.path) if found.path else ""
    watched = [path for path in (locked.path, found.path) if path]
    state = source.checkout(options.project, watched, options.exclude, base)
    if options.require_clean:
        source.require_clean(state)
    epoch = source.source_epoch(os.environ.get("SOURCE_DATE_EPOCH"), state.epoch)
    console.step(f"Choosing the files of {options.project}")
    chosen = [source.project_files(options.project, options.include, options.exclude, base, options.all_files, outputs)]
    chosen += [source.static_files(folder, number, outputs) for number, folder in enumerate(options.extra_static)]
    source.check_together(file for selection in chosen for file in selection.files)
    if state.changed:
        warn(f"the checkout differs from its commit: {source.named(state.changed)}")
    if state.untracked and not options.all_files:
        warn(f"git does not track, so not packed: {source.named(state.untracked)}")
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
    goals += [targets.of_interpreter(command) for command in commands]
    distinct = {(goal.python, goal.label if goal.cross else goal.machine): goal for goal in reversed(goals)}
    return [goal for goal in goals if goal in distinct.values()]


def _cache_folder(options: Options, warn: Callable[[str], None]) -> Optional[str]:
    """Return the cache's folder; None for a build that keeps nothing, by wish or for want of a home."""
    if not options.use_cache or options.cache_dir:
        return options.cache_dir if options.use_cache else None
    folder = cache.default_folder()
    if folder is None:
        warn("there is no home folder for the cache, so nothing is kept; give --cache-dir DIR")
        return None
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        warn(f"{folder}: cannot hold the cache ({error.strerror}), so nothing is kept; give --cache-dir DIR")
        return None
    return folder


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
        allow=tuple(parsed.allow),
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
        "from_cache": list(built.from_cache),
        "from_sdists": list(built.from_sdists),
    }
    lines = [
        written.path,
        f"  {written.size} bytes ({written.size / 1e6:.1f} MB) for {', '.join(labels)}",
        f"  build id {manifest.build_id}",
        f"  sha256   {written.sha256}",
        *_start_hint(manifest.shebang, os.path.basename(written.path)),
    ]
    console.result(document, "\n".join(lines))


def _start_hint(first_line: str, file: str) -> List[str]:
    """Return how to start *file* here when its first line names a program that this machine does not have."""
    words = first_line[2:].split()
    program = (
        next((word for word in words[1:] if not word.startswith("-")), "") if words[0].endswith("/env") else words[0]
    )
    if shutil.which(program):
        return []
    return [f"  this machine has no {program}: start the file with python3 -I {file}"]


@contextlib.contextmanager
def _fixed_umask() -> Iterator[None]:
    """Let what is built have the same modes whatever the user's umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _interrupt(number: int, frame: Any) -> None:
    del number, frame
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
