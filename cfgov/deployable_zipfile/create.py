#!/usr/bin/env python3
"""Command line of the build side: pack a Django site and all its dependencies into one self-extracting zip.

    create.py PROJECT_PATH REQUIREMENTS_FILE ZIPFILE_BASENAME [--extra-static DIR]... [--extra-python PY]...

The story of a build, top-down: :func:`build`. Its steps are in ``builder/``; only this module knows them all.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not __package__:
    # Run as a script: become part of the package without putting its folder on sys.path, where modules named as
    # ours (wheel, errors) would hide others.
    # As importlib.util would, which takes longer to load.
    from importlib.machinery import ModuleSpec, SourceFileLoader

    _FOLDER = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or os.curdir) != _FOLDER]
    _LOADER = SourceFileLoader("deployable_zipfile", os.path.join(_FOLDER, "__init__.py"))
    _SPEC = ModuleSpec("deployable_zipfile", _LOADER, origin=_LOADER.path, is_package=True)
    _SPEC.submodule_search_locations = [_FOLDER]
    _PACKAGE = type(sys)("deployable_zipfile")
    _PACKAGE.__file__, _PACKAGE.__path__, _PACKAGE.__spec__ = _LOADER.path, [_FOLDER], _SPEC
    _PACKAGE.__package__ = "deployable_zipfile"
    sys.modules["deployable_zipfile"] = _PACKAGE
    _LOADER.exec_module(_PACKAGE)
    __package__ = "deployable_zipfile"

if __name__ == "__main__":
    from deployable_zipfile.builder import interrupts as early
    from deployable_zipfile.builder import unchanged as record

    early.end_quietly()
    if record.repeated(sys.argv[1:]):
        sys.exit(0)

import argparse
import contextlib
import functools
import importlib.util
import json
import re
import shutil
import tempfile
import time
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)
from urllib.parse import unquote, urlsplit

from . import __version__, cli, inherited
from .artifact import layout, manifests, zipreader
from .builder import interrupts
from .console import Console
from .errors import BuildInputError, DeployableZipfileError, Interrupted, UsageError, masked, printable

try:
    for _needed in ("cyclonedx", "elftools", "rich"):  # imported when they are needed
        if importlib.util.find_spec(_needed) is None:
            raise ModuleNotFoundError(name=_needed)
    from .builder import (
        cache,
        checkout,
        collect,
        credentials,
        delta,
        exclusions,
        git,
        inputs,
        last,
        naming,
        needs,
        pack,
        planning,
        project,
        reproducible,
        requirements,
        settings,
        source,
        surroundings,
        targets,
        unchanged,
    )
    from .builder.output import Output, Written
except ModuleNotFoundError as _error:
    if (_error.name or "").startswith("deployable_zipfile"):
        raise
    print(
        f"error: {_error.name}: needed to build and not installed. Run pip install -r requirements/build.txt.",
        file=sys.stderr,
    )
    sys.exit(BuildInputError.exit_code)

_SHEBANG = re.compile(r"#![\x20-\x7e]{1,125}\Z")
_SECOND_BUILD = 24 * 3600.0  # seconds; its runs of pip have the time-out of the settings
_MINOR = re.compile(r"3\.[0-9]{1,2}\Z")


class Options(NamedTuple):
    """What a build was asked for: each field but the first is the setting of its name, see ``builder/settings.py``."""

    file: str  # pyproject.toml that the settings are from, "" without one
    project: str
    requirements: str
    output: str
    name: str
    extra_static: Tuple[str, ...]
    include: Tuple[str, ...]
    exclude: Tuple[str, ...]
    all_files: bool
    require_clean: bool
    settings_module: str
    wsgi: str
    asgi: str
    manage: str
    python_path: str
    skip_steps: Tuple[str, ...]
    python: str
    extra_python: Tuple[str, ...]
    target: Tuple[str, ...]
    extra_requirements: Tuple[str, ...]
    group: Tuple[str, ...]
    extra: Tuple[str, ...]
    wheelhouse: str
    build_constraint: Tuple[str, ...]
    require_hashes: bool
    only_binary: bool
    allow: Tuple[str, ...]
    strict: bool
    shebang: str
    bytecode: bool
    cache: bool
    cache_dir: str
    timeout: float
    workers: int


class Built(NamedTuple):
    """What a build made."""

    written: Written
    manifest: manifests.Manifest
    warnings: Tuple[str, ...]
    from_cache: Tuple[str, ...]  # labels of the targets whose wheels all came from the cache
    from_sdists: Tuple[str, ...]  # wheels that were built here
    delta: Optional[Written] = None


def create_zipfile(
    project_path: str,
    requirements_file: str,
    zipfile_basename: str,
    extra_static: Union[str, Sequence[str], None] = None,
    extra_python: Union[str, Sequence[str], None] = None,
) -> str:
    """Build an artifact and return its path.

    Parameters:
        project_path: the project's folder; its name is the project's name.
        requirements_file: a requirements file or ``pylock.toml``.
        zipfile_basename: the artifact's path without ``.zip``.
        extra_static: folders, or one, that become ``static.in/0``, ``static.in/1``, ...
        extra_python: further interpreters, or one, to collect wheels for.

    Raises:
        DeployableZipfileError: the build failed; nothing was written.
    """
    given = {
        "project": os.fspath(project_path),
        "requirements": os.fspath(requirements_file),
        "output": os.fspath(zipfile_basename),
        "extra-static": _several(extra_static),
        "extra-python": _several(extra_python),
    }
    return build(options(given), Console()).written.path


def _several(value: Union[str, Sequence[str], None]) -> Tuple[str, ...]:
    """Return *value* as several, as upstream's callers may give one."""
    return (os.fspath(value),) if isinstance(value, (str, os.PathLike)) else tuple(map(os.fspath, value or ()))


def options(given: Mapping[str, Any]) -> Options:
    """Return what to build: what was *given*, by the names of the settings, and what ``pyproject.toml`` says.

    Without a project it is the one that the ``pyproject.toml`` of the working directory, or of a folder above, is for.

    Raises:
        UsageError: something necessary is missing, or a value makes no sense.
        BuildInputError: the file cannot be used.
    """
    found = settings.read(given.get("project") or os.curdir)
    values = settings.merged(found, dict(given))
    if not given.get("project"):
        if not found.path:
            raise UsageError(
                "PROJECT_PATH",
                f"not given, and no pyproject.toml here has a section [{settings.SECTION}]",
                "Give PROJECT_PATH REQUIREMENTS_FILE ZIPFILE_BASENAME, or run deployable-zipfile init",
            )
        values["project"] = values["project"] or found.folder
    if not values["requirements"]:
        place = found.path or "pyproject.toml"
        raise UsageError("REQUIREMENTS_FILE", "not given", f"Give it, or set requirements in {place}")
    values["shebang"] = _shebang(values["shebang"])
    values["output"] = re.sub(r"(?<=[^/])\.zip\Z", "", values["output"], flags=re.I)
    made = Options(found.path, **{name.replace("-", "_"): value for name, value in values.items()})
    source.check_directory(made.project, "Give the folder of a Django, WSGI or ASGI project")
    made = made._replace(name=naming.project_name(made.project, made.name), wheelhouse=_directory(made.wheelhouse))
    for path in made.build_constraint:
        if not os.path.isfile(path):
            raise UsageError(f"--build-constraint {path}", "does not exist", "Correct the path")
    made = made._replace(build_constraint=tuple(map(os.path.abspath, made.build_constraint)))
    return made if made.output else made._replace(output=f"{made.name}_build")


def _directory(wheelhouse: str) -> str:
    if wheelhouse and not os.path.isdir(wheelhouse):
        raise UsageError(f"--wheelhouse {wheelhouse}", "is not a directory", "Correct the path")
    return os.path.abspath(wheelhouse) if wheelhouse else ""


def build(
    options: Options,
    console: Console,
    check: bool = False,
    against: str = "",
    repeat: bool = False,
    record: Optional[unchanged.Record] = None,
) -> Built:
    """Build one artifact.

    Parameters:
        check: import the settings and callables from what was packed before the artifact takes its place.
        against: path of an earlier artifact, "": none; a delta against it is written beside the new one.
        repeat: build a second time in other surroundings, and refuse an artifact that is not the same.
        record: gets what the outcome follows from.

    Raises:
        DeployableZipfileError: the build failed; what was at the artifact's path before still is.
    """
    warnings: List[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        console.warn(text)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_fixed_umask())
        if record:
            stack.enter_context(git.listened(record.answers))
        wanted = project.check(
            project.Wanted(
                options.settings_module, options.wsgi, options.asgi, options.manage, options.python_path,
                options.skip_steps,
            )
        )  # fmt: skip
        former_build = stack.enter_context(delta.opened_base(against)) if against else None
        locked = _requirements(options, warn)
        output = stack.enter_context(Output(options.output))
        kept = stack.enter_context(cache.Cache(_cache_folder(options, warn)))
        chosen, state = _source(options, locked, output.names, kept, console, warn)
        site = _site(chosen[0], wanted, console, warn)
        house = collect.Wheelhouse(
            needs.Settings(
                options.only_binary, options.cache, options.timeout, options.wheelhouse, options.build_constraint,
                options.allow,
            ),
            locked, kept, console,
        )  # fmt: skip
        plans = planning.distinct([house.plan(target) for target in _targets(options, warn)])
        plans = [house.checked(plan, options.strict, warn) for plan in plans]
        files = [file for selection in chosen for file in selection.files]
        modules = {file.name.split("/")[1].partition(".py")[0] for file in files if file.name.endswith(".py")}
        for plan in plans:
            planning.rehearse(plan, house.rehearsed, options.name, modules, warn)
        source.check_sizes(files, sum(facts.size for facts in planning.every_wheel(plans)))
        declared = settings.environment(options.file)
        schema = declared.to_json(options.name) if declared is not None else b""
        how = pack.Settings(options.name, options.shebang, site, options.bytecode, options.workers, schema)
        former = stack.enter_context(last.opened(kept, output.path))
        packed = pack.Packer(how, house, plans, chosen, state, console).pack(output.temporary, former)
        source.check_unchanged(chosen)
        if former:
            former.check()
        fresh = output.path if packed.members is None else output.temporary
        if packed.members is not None:
            with zipreader.Artifact.open(fresh):
                pass  # our own strict reader takes it
        if check:
            _try(fresh, packed.manifest, plans, chosen[0].root, kept.work, console, warn)
        if repeat:
            _repeat(fresh, options, state, kept.work, console, warn)
        written = _placed(output, packed, former, kept)
        if record:
            record.holds &= not check and not repeat and not against and packed.members is None
            _note(record, options, locked, state, chosen, plans, house)
        made = delta.write(written, former_build, options.output, options.workers, console) if former_build else None
    built = tuple(sorted(set(house.built)))
    return Built(written, packed.manifest, tuple(warnings), tuple(house.from_cache), built, made)


def _note(
    record: unchanged.Record,
    options: Options,
    locked: requirements.Requirements,
    state: manifests.Source,
    chosen: Sequence[source.Selection],
    plans: Sequence[planning.Plan],
    house: collect.Wheelhouse,
) -> None:
    """Record what a build that wrote nothing followed from, if that is the commit, a lock of hashes and this Python."""
    everything = planning.every_wheel(plans)
    labels = {plan.target.label for plan in plans}
    record.holds &= bool(
        state.commit and not state.dirty and locked.fixed and locked.files
        and all(line.kind == "index" or str(line.requirement.url).startswith("https://") for line in locked.lines)
        and len(locked.files) == 1 + len(options.extra_requirements) and not locked.constraints
        and not any("://" in path for path in locked.files)
        and not any(facts.built_from for facts in everything) and labels == set(house.from_cache)
        and not options.include and not options.extra_static and not options.all_files
        and not options.python and not options.extra_python and not options.target
        and not options.build_constraint and "SOURCE_DATE_EPOCH" not in os.environ
    )  # fmt: skip
    record.holds &= not any(words[0] == "status" and said for _, words, _, said in record.answers)
    record.holds &= len({folder for folder, *_ in record.answers}) == 1  # no submodules
    if not record.holds:
        return
    [selection] = chosen
    root, base = selection.root, os.path.dirname(options.file) or os.path.dirname(selection.root)
    found = checkout.find(options.project, house.kept.of_commit)
    names = {*checkout.tracked(found, root), *(file.name[len(selection.prefix) + 1 :] for file in selection.files)}
    record.holds &= not any(name.endswith(".sha256") for name in names)  # what that is depends on the file beside it
    places = [os.path.join(root, name) for name in names]
    folders = {os.path.dirname(place) for place in places}
    record.files(places)
    record.files((file.path for file in selection.files), follow=True)
    record.below({root, *(folder for place in folders for folder in _between(root, place))})
    record.leads(options.project, root)
    record.leads(base, os.path.realpath(base))
    record.files(exclusions.secrets([root, os.path.dirname(root), os.path.realpath(base), *folders]), follow=True)
    record.files(settings.looked_for(options.project), follow=True)
    record.files(checkout.looked_for(found, options.project), follow=True)
    record.files(surroundings.configuration_paths(sys.executable), follow=True)
    record.files(locked.files, follow=True)


def _between(root: str, folder: str) -> Iterator[str]:
    """Yield *folder* and those above it, up to *root*."""
    while folder.startswith(root):
        yield folder
        folder = os.path.dirname(folder)


_REPEATED_PATHS = ("file", "project", "requirements", "extra_static", "extra_requirements", "build_constraint")


def _repeat(
    path: str,
    options: Options,
    state: manifests.Source,
    work: str,
    console: Console,
    warn: Callable[[str], None],
) -> None:
    """Build again from a copy in other surroundings, name what came out differently, and refuse it."""
    root = checkout.find(options.project).root if state.commit else ""
    root = root or os.path.realpath(os.path.dirname(options.file) or options.project)
    paths = {name: getattr(options, name) for name in _REPEATED_PATHS}
    whole = {
        name: (os.path.abspath(value) if value else "") if isinstance(value, str) else [*map(os.path.abspath, value)]
        for name, value in paths.items()
    }
    text = "Building a second time in other surroundings"
    with console.phase(text), tempfile.TemporaryDirectory(prefix="reproducible-", dir=work) as folder:
        moved = reproducible.copied(root, {"cwd": os.getcwd(), **whole}, folder)
        cwd = moved.pop("cwd")
        output = os.path.join(folder, "again")
        further = {"output": output, "cache": False, "cache_dir": "", "workers": 1}
        reproducible.second({**options._asdict(), **moved, **further}, cwd, folder, _SECOND_BUILD)
        differences = reproducible.compare(path, f"{output}.zip")
    for difference in differences:
        warn(f"two builds differ: {difference}")
    reproducible.refuse(differences)
    console.step("Reproducible: the second build made the same bytes")


def again() -> None:
    """Run the second build of :func:`_repeat`, in a process of its own, from the options in the file that is named."""
    command = cli.Parser(prog="second build")
    command.add_argument("options")
    _add_output(command)

    def run(parsed: argparse.Namespace, console: Console) -> None:
        with open(parsed.options, encoding="utf-8") as file:
            given: Dict[str, Any] = json.load(file)
        for name, value in given.items():
            given[name] = tuple(value) if isinstance(value, list) else value
        build(Options(**given), console)

    sys.exit(_run(command, [*sys.argv[1:], "--quiet"], run))


def _placed(output: Output, packed: pack.Packed, former: Optional[last.Last], kept: cache.Cache) -> Written:
    """Put the artifact in its place, or leave the same one there."""
    if packed.members is None:
        assert former is not None
        return output.stay(former.size, former.sha256)
    written = output.commit(packed.sha256)
    last.keep(kept, written.path, written.sha256, packed.manifest.shebang, packed.members)
    return written


def main(arguments: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> int:
    """Run the command line of a build and return its exit code."""

    began = time.time_ns()
    words = list(sys.argv[1:] if arguments is None else arguments)

    def run(parsed: argparse.Namespace, console: Console) -> None:
        check = sys.stderr.isatty() and not parsed.json if parsed.check is None else parsed.check
        wanted = options(_given(parsed))
        record = unchanged.Record(began) if wanted.cache else None
        built = build(wanted, console, check, parsed.against or "", parsed.verify_reproducible, record)
        document, lines = _report(built)
        console.outcome(document, lines)
        if record:
            _remember(record, words, wanted, built, console.shown(document, lines))

    return _run(parser(prog), words, run)


def _remember(record: unchanged.Record, words: List[str], options: Options, built: Built, text: str) -> None:
    """Let the next run of the same command line say *text* again as long as nothing changes."""
    hint = _program(built.manifest.shebang)
    record.holds &= bool(hint)
    record.files([hint], follow=True)
    lines = [masked(f"warning: {printable(warning)}") for warning in built.warnings]
    path, folder = built.written.path, os.path.abspath(options.cache_dir or cache.default_folder() or os.curdir)
    with contextlib.suppress(OSError):  # the next build takes longer, no more
        record.keep(folder, words, path, f"{path}.sha256", (lines, masked(text)))


def main_init(arguments: Sequence[str]) -> int:
    """Run the command line of ``deployable-zipfile init`` and return its exit code."""
    return _run(init_parser(), arguments, _init)


def init_parser() -> argparse.ArgumentParser:
    """Return the parser of ``deployable-zipfile init``."""
    command = cli.Parser(
        prog="deployable-zipfile init",
        description=f"Look at a project and write [{settings.SECTION}], with comments, into its pyproject.toml.",
    )
    _add_folder(command)
    command.add_argument("--workflow", action="store_true", help="also write a GitHub workflow that packs the project")
    command.add_argument("--print", action="store_true", help="print what would be written, and write nothing")
    _add_output(command)
    return command


def _init(parsed: argparse.Namespace, console: Console) -> None:
    from .builder import init
    from .views import sources  # reads the variables from the syntax trees of the project's files

    found = init.look(parsed.folder)
    found = found._replace(variables=tuple(sorted(sources.of_files(found.name, found.site, found.files).environment)))
    texts = {"pyproject.toml": init.section(found)}
    if parsed.workflow:
        texts[init.WORKFLOW] = init.workflow(found)
    if parsed.print:
        document: Dict[str, Any] = {"files": texts}
        console.result(document, "\n".join(texts.values()).rstrip("\n"))
        return
    for line in init.described(found):
        console.step(line)
    written = init.write(found, parsed.workflow)
    lines = [f"Wrote {path}" for path in written]
    if found.requirements:
        lines.append("Next: read it, commit it, and run deployable-zipfile create")
    else:
        lines.append("Next: set requirements in it, commit it, and run deployable-zipfile create")
    console.outcome({"written": written}, "\n".join(lines))


def main_environment(arguments: Sequence[str]) -> int:
    """Run the command line of ``deployable-zipfile environment`` and return its exit code."""
    return _run(environment_parser(), arguments, _environment)


def environment_parser() -> argparse.ArgumentParser:
    """Return the parser of ``deployable-zipfile environment``."""
    command = cli.Parser(
        prog="deployable-zipfile environment",
        description=f"Print what [{settings.SECTION}.{settings.ENVIRONMENT}] of a project declares.",
    )
    _add_folder(command)
    command.add_argument("--example", choices=("json", "env"), default="env", help="environment.json or a .env file")
    command.add_argument("--schema", action="store_true", help="the JSON Schema that travels in the artifact, instead")
    _add_output(command)
    return command


def _environment(parsed: argparse.Namespace, console: Console) -> None:
    found = settings.read(parsed.folder)
    contract = settings.environment(found.path)
    if contract is None:
        what = found.path or os.path.join(parsed.folder, "pyproject.toml")
        raise BuildInputError(what, "declares no variables", "See docs/build.md; init --print proposes them")
    if parsed.schema:
        name = naming.project_name(found.values.get("project") or found.folder, found.values.get("name", ""))
        text = contract.to_json(name).decode("ascii")
    else:
        text = contract.example(parsed.example)
    console.result({"schema" if parsed.schema else "environment_example": text}, text.rstrip("\n"))


def main_sign(arguments: Sequence[str]) -> int:
    """Run the command line of ``deployable-zipfile sign`` and return its exit code."""
    return _run(sign_parser(), arguments, _sign)


def sign_parser() -> argparse.ArgumentParser:
    """Return the parser of ``deployable-zipfile sign``."""
    from .builder import sign

    command = cli.Parser(
        prog="deployable-zipfile sign",
        description="Write ARTIFACT.sig, which ssh-keygen or openssl can check without a network.",
    )
    command.add_argument("artifact", metavar="ARTIFACT", help="the artifact")
    command.add_argument("--key", metavar="FILE", required=True, help="private key: of SSH, or PEM for openssl")
    command.add_argument("--format", choices=sign.FORMATS, default="", help="of the signature, instead of the key's")
    _add_output(command)
    return command


def _sign(parsed: argparse.Namespace, console: Console) -> None:
    from .builder import sign

    done = sign.sign(parsed.artifact, parsed.key, parsed.format)
    console.result(done._asdict(), f"Wrote {done.path}: {done.size} bytes, for {done.form}")


def _run(
    command: argparse.ArgumentParser,
    arguments: Sequence[str],
    run: Callable[[argparse.Namespace, Console], None],
) -> int:
    """Parse and run one command line; whatever fails is one line and an exit code."""
    inherited.claim()
    words = list(arguments)
    console = Console(as_json="--json" in words)
    before = interrupts.raise_once()
    try:
        parsed = command.parse_intermixed_args(words)  # options may be between the arguments
        console = Console(quiet=parsed.quiet, as_json=parsed.json)
        run(parsed, console)
        return 0
    except KeyboardInterrupt:
        error: DeployableZipfileError = Interrupted("build", "was interrupted, nothing was written", "Build again")
    except DeployableZipfileError as raised:
        error = raised
        if "--debug" in words:
            raise
    except OSError as raised:
        error = _system_error(raised)
        if "--debug" in words:
            raise
    finally:
        interrupts.restore(before)
    console.error(error)
    return error.exit_code


def _system_error(error: OSError) -> BuildInputError:
    """Return what to say of an error of the system that no step has explained."""
    why = error.strerror or str(error)
    if not error.filename and isinstance(error, FileNotFoundError):  # os.getcwd names none
        return BuildInputError("the current folder", f"cannot be read ({why})", "Change to a folder that exists")
    return BuildInputError(error.filename or "build", why, "Free space, or look at the path")


def parser(prog: Optional[str] = None) -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = cli.Parser(
        prog=prog or os.path.basename(sys.argv[0]),
        description="Pack a Django, WSGI or ASGI project and all its dependencies into one self-extracting zip.",
        epilog=f"Every option is also a setting in [{settings.SECTION}] of pyproject.toml; see docs/build.md.",
    )
    add_arguments(result)
    return result


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of a build to *command*."""
    for name in settings.ARGUMENTS:
        setting = settings.BY_NAME[name]
        command.add_argument(name, metavar=setting.metavar, nargs="?", type=cli.named, help=setting.help)
    groups = {title: command.add_argument_group(title) for title in settings.groups()}
    for setting in settings.TABLE:
        if setting.group:
            _add_option(groups[setting.group], setting)
    group = command.add_argument_group("the result")
    group.add_argument(
        "--check",
        action="store_const",
        const=True,
        help="import settings and callables from what was packed before writing it (default on a terminal)",
    )
    group.add_argument(
        "--verify-reproducible",
        action="store_true",
        help="build a second time in other surroundings without the cache, and refuse an artifact that differs",
    )
    group.add_argument(
        "--against", type=cli.named, metavar="OLD.zip", help="also write ZIPFILE_BASENAME.delta.zip: what OLD.zip lacks"
    )
    group.add_argument("--no-check", dest="check", action="store_const", const=False, help="do not")
    _add_output(command)


def _add_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folder", metavar="DIR", nargs="?", type=cli.named, default=os.curdir, help="folder of the project (default: .)"
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("output")
    group.add_argument("--quiet", "-q", action="store_true", help="print only warnings, errors and the result")
    group.add_argument("--json", action="store_true", help="print the result as one JSON object")
    group.add_argument("--debug", action="store_true", help="print tracebacks of errors")
    command.add_argument("--version", action="version", version=f"deployable-zipfile {__version__}")


def _add_option(group: Any, setting: settings.Setting) -> None:
    option, where = f"--{setting.name}", setting.name
    kind: Callable[[str], Any]
    if setting.kind == settings.FLAG:
        words = (f"--no-{setting.name}", option) if setting.default else (option, f"--no-{setting.name}")
        text = f"do not {setting.help}" if setting.default else setting.help
        group.add_argument(words[0], dest=where, action="store_const", const=not setting.default, help=text)
        group.add_argument(
            words[1], dest=where, action="store_const", const=setting.default, help="the opposite, if the file sets it"
        )
    elif setting.kind in (settings.TEXTS, settings.PATHS):
        kind = cli.named if setting.kind == settings.PATHS else str
        group.add_argument(option, dest=where, metavar=setting.metavar, action="append", type=kind, help=setting.help)
    elif setting.kind == settings.NUMBER:
        kind = cli.workers if isinstance(setting.default, int) else cli.timeout
        group.add_argument(option, dest=where, metavar=setting.metavar, type=kind, help=setting.help)
    else:
        kind = cli.named if setting.kind == settings.PATH else str
        group.add_argument(option, dest=where, metavar=setting.metavar, type=kind, help=setting.help)


def _given(parsed: argparse.Namespace) -> Dict[str, Any]:
    return {setting.name: getattr(parsed, setting.name) for setting in settings.TABLE}


def _shebang(line: str) -> str:
    line = line or layout.DEFAULT_SHEBANG
    line = line if line.startswith("#!") else f"#!{line}"
    if not _SHEBANG.match(line) or "python" not in line:
        raise UsageError(
            "--shebang", "must be one line of at most 127 printable ASCII characters that names python", "Correct it"
        )
    return line


def _requirements(options: Options, warn: Callable[[str], None]) -> requirements.Requirements:
    locked = inputs.read(options.requirements, inputs.Selection(options.group, options.extra))
    for path in options.extra_requirements:
        locked = _with_more(locked, inputs.read(path))
    if not locked.lines:
        warn(f"{options.requirements}: holds no requirement; the artifact will hold only pip")
    elif not locked.fixed:
        if options.require_hashes:
            raise BuildInputError(
                options.requirements, "gives no hashes", "Lock it with uv pip compile --generate-hashes, or pip-compile"
            )
        warn(
            f"{options.requirements}: gives no hashes, so other files may be fetched under the same names; "
            "lock it with uv pip compile --generate-hashes"
        )
    return locked


def _with_more(locked: requirements.Requirements, more: requirements.Requirements) -> requirements.Requirements:
    """Return *locked* with the requirements of a further file."""
    if locked.lines and more.lines and locked.fixed != more.fixed:
        bare = more.path if locked.fixed else locked.path
        raise BuildInputError(bare, "gives no hashes, the other requirements do", "Lock it with hashes too")
    return locked._replace(
        lines=locked.lines + more.lines,
        options=locked.options + tuple(word for word in more.options if word not in locked.options),
        constraints=tuple(dict.fromkeys(locked.constraints + more.constraints)),
        digest=cache.key(locked.digest, more.digest),
        files=locked.files + more.files if locked.files and more.files else (),
    )


def _source(
    options: Options,
    locked: requirements.Requirements,
    outputs: FrozenSet[str],
    kept: cache.Cache,
    console: Console,
    warn: Callable[[str], None],
) -> Tuple[List[source.Selection], manifests.Source]:
    """Choose the files of project and static folders, and say what was left out and what is not the commit's."""
    root, base = os.path.realpath(options.project), os.path.dirname(options.file)
    about = kept.memory.about
    state = _checkout(options, kept, warn)
    console.step(f"Choosing the files of {options.project}")
    known = checkout.tracked(state, root) if state.root and not options.all_files else None
    chosen = [
        source.project_files(root, options.name, options.include, options.exclude, base, known, outputs, about),
        *(source.static_files(folder, number, outputs, about) for number, folder in enumerate(options.extra_static)),
    ]
    source.check_together(file for selection in chosen for file in selection.files)
    dirty = _compare(options, locked, state, chosen, kept, warn)
    if not any(file.name.endswith(".py") for file in chosen[0].files):
        warn(f"{options.project}: holds no Python file")
    if options.name != os.path.basename(root):
        console.step(f"  the project is called {options.name} in the artifact")
    for selection in chosen:
        if selection.left_out:
            console.step(f"  never packed: {source.named(selection.left_out)}")
        if selection.links:
            console.step(f"  symbolic links packed as copies: {source.named(selection.links)}")
        _check_credentials(selection, options.strict, about, warn)
    commit_time = max(state.epoch, source.EARLIEST)
    epoch = source.source_epoch(os.environ.get("SOURCE_DATE_EPOCH"), commit_time)
    return chosen, manifests.Source(state.commit, dirty, epoch)


def _check_credentials(
    selection: source.Selection, strict: bool, about: source.About, warn: Callable[[str], None]
) -> None:
    """Warn of passwords in packed files of configuration, or refuse them."""
    for file in selection.files:
        if not credentials.may_hold(file.name):
            continue
        kind = f"credentials {credentials.FORMAT}"
        found = about(file.path, file.identity, kind, functools.partial(credentials.found, file.path))
        if not found:
            continue
        more = f" (and {len(found) - 1} more lines)" if len(found) > 1 else ""
        why = f"holds {found[0][1]}{more}, which everyone who has the artifact can read"
        fix = "Take it out, or leave the file out with exclude"
        if strict:
            raise BuildInputError(f"{file.name}, line {found[0][0]}", why, f"{fix}, or build without --strict")
        warn(f"{file.name}, line {found[0][0]}: {why}; {fix[0].lower()}{fix[1:]}")


def _checkout(options: Options, kept: cache.Cache, warn: Callable[[str], None]) -> checkout.Checkout:
    """Return the project's checkout; what packs all files needs none, so it may be one that git cannot read."""
    try:
        return checkout.find(options.project, kept.of_commit)
    except BuildInputError as error:
        if not options.all_files or options.require_clean:
            raise
        warn(f"{error.what}: the commit is not known ({error.why})")
        return checkout.Checkout()


def _compare(
    options: Options,
    locked: requirements.Requirements,
    state: checkout.Checkout,
    chosen: Sequence[source.Selection],
    kept: cache.Cache,
    warn: Callable[[str], None],
) -> bool:
    """Say whether a packed byte is not the commit's, warn of it, and refuse it if only the commit may be packed."""
    if options.require_clean and not state.commit:
        raise BuildInputError(
            "--require-clean", f"{options.project} is not in a git checkout with a commit", "Commit it first"
        )
    if not state.root:
        return False
    packed = [
        checkout.Packed(place, file.mode == layout.FILE_MODES[1], file.identity if place == file.path else ())
        for one in chosen
        for file in one.files
        for place in [os.path.join(one.root, file.name[len(one.prefix) + 1 :])]
    ]
    rules = [source.leaves_out(chosen[0].root, options.exclude, os.path.dirname(options.file))]
    rules += [source.leaves_out(one.root) for one in chosen[1:]]
    roots = [one.root for one in chosen]

    def left_out(path: str) -> bool:
        return all(rule(path) for rule, root in zip(rules, roots) if path.startswith(root + os.sep))

    different = checkout.differences(state, packed, roots, left_out, kept.of_commit, kept.memory.about)
    deciding = [os.path.realpath(path) for path in (options.file, locked.path, *options.extra_requirements) if path]
    different = different.and_(checkout.input_differences(state, deciding, kept.of_commit))
    for folder in _local_projects(locked):
        different = different.and_(checkout.folder_differences(state, folder))
    untracked = [
        path for path in checkout.untracked(state, [*roots, *deciding]) if not left_out(os.path.join(state.root, path))
    ]
    untracked = [path for path in untracked if path not in different.added]
    if options.require_clean and (different or untracked):
        paths = [*different.changed, *different.added, *untracked]
        raise BuildInputError(
            state.root,
            f"{state.short} is not all that would be packed: {source.named(paths)}",
            "Commit, ignore or remove them, or leave out --require-clean",
        )
    if different.changed:
        warn(f"{state.short} has uncommitted changes: {source.named(different.changed)}")
    if different.added:
        warn(f"packed, but not in {state.short}: {source.named(different.added)}")
    if untracked and not options.all_files:
        warn(f"git does not track, so not packed: {source.named(untracked)}")
    return bool(different)


def _try(
    path: str,
    manifest: manifests.Manifest,
    plans: Sequence[planning.Plan],
    root: str,
    work: str,
    console: Console,
    warn: Callable[[str], None],
) -> None:
    """Import the site from what was packed, with the first interpreter at hand that the artifact is for."""
    ours = [plan.target.interpreter for plan in plans if plan.target.interpreter and not plan.target.cross]
    if not ours:
        console.step("Not checked whether the site imports: no Python of the target is here")
        return
    with console.phase("Checking that the site imports from what was packed"):
        from .builder import trial

    outcome = trial.run(path, ours[0], manifest, root, work)
    if outcome.doubt:
        warn(f"{outcome.doubt}; --no-check leaves this check out")


def _local_projects(locked: requirements.Requirements) -> List[str]:
    """Return the folders that wheels are built from."""
    urls = [line.requirement.url or "" for line in locked.lines if line.kind == "folder"]
    return [os.path.realpath(unquote(urlsplit(url).path)) for url in urls]


def _site(
    chosen: source.Selection, wanted: project.Wanted, console: Console, warn: Callable[[str], None]
) -> manifests.Site:
    files = {file.name[len(chosen.prefix) + 1 :]: file.path for file in chosen.files}
    site = project.describe(files, wanted)
    hidden = project.hidden(files, site.path)
    if hidden:
        why = "is never imported: the module of that name that loads environment.json comes first"
        warn(f"{chosen.root}: {hidden} {why}; rename it")
    callables = [f"{kind} {value}" for kind, value in (("WSGI", site.wsgi), ("ASGI", site.asgi)) if value]
    if site.settings_module:
        callables.insert(0, f"Django settings {site.settings_module}")
    if callables:
        console.step(f"  {', '.join(callables)}")
    if not site.wsgi and not site.asgi:
        module, _, function = project.factory(files).partition(":")
        made = f"add a wsgi.py with: from {module} import {function}; application = {function}()"
        named = f"set wsgi or asgi in [{settings.SECTION}], or give --wsgi or --asgi"
        warn(f"{chosen.root}: no WSGI or ASGI callable found, so nothing can serve it; {made if module else named}")
    return site


def _targets(options: Options, warn: Callable[[str], None]) -> List[targets.Target]:
    """Return what to build for: the named targets, or else one Python; and every further Python.

    Of several interpreters of one minor version the first is taken, and the others are named in a warning.
    """
    python = _command(options.python) or sys.executable
    further = [_command(python) for python in options.extra_python]
    goals = [targets.of_name(name, (python, *further)) for name in options.target]
    commands = further if goals else [python, *further]
    goals += [targets.of_interpreter(command) for command in commands]
    chosen: Dict[Tuple[str, str], targets.Target] = {}
    for goal in goals:
        first = chosen.setdefault((goal.python, goal.label if goal.cross else goal.machine), goal)
        if os.path.realpath(first.interpreter) != os.path.realpath(goal.interpreter):
            warn(
                f"{goal.interpreter}: is Python {goal.release} and {first.interpreter} is {first.release}; "
                f"the wheels for Python {goal.python} are those of the latter"
            )
    return list(chosen.values())


def _command(python: str) -> str:
    """Return the interpreter's command: "3.11" means python3.11."""
    return f"python{python}" if _MINOR.match(python) else python


def _cache_folder(options: Options, warn: Callable[[str], None]) -> Optional[str]:
    """Return the cache's folder; None for a build that keeps nothing, by wish or without a home folder."""
    if not options.cache or options.cache_dir:
        return options.cache_dir if options.cache else None
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


def _report(built: Built) -> Tuple[Dict[str, Any], str]:
    """Return what a build came to, for ``--json`` and for people."""
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
    if built.delta:
        document["delta"] = built.delta._asdict()
    lines = [
        written.path,
        f"  {written.size} bytes ({written.size / 1e6:.1f} MB) for {', '.join(labels)}",
        f"  build id {manifest.build_id}",
        f"  sha256   {written.sha256}",
        *(_delta_lines(built.delta, written) if built.delta else ()),
        *_next_steps(written.path, manifest.shebang),
    ]
    return document, "\n".join(lines)


def _delta_lines(made: Written, whole: Written) -> List[str]:
    share = made.size / whole.size
    return [made.path, f"  {made.size} bytes, {share:.1%} of the whole", f"  sha256   {made.sha256}"]


def _next_steps(path: str, first_line: str) -> List[str]:
    """Return how to use the artifact."""
    here = os.path.relpath(path)
    shown = path if here.startswith(os.pardir) else os.path.join(os.curdir, here)
    hint = _start_hint(first_line, shown)
    start = f"python3 -I {shown}" if hint else shown
    return [*hint, f"Next: {start} -d DEST installs it into a new folder; {start} --help lists its other verbs"]


def _start_hint(first_line: str, file: str) -> List[str]:
    """Return how to start *file* here when its first line names a program that this machine does not have."""
    if _program(first_line):
        return []
    return [f"  this machine has no {_named_program(first_line)}: start the file with python3 -I {file}"]


def _named_program(first_line: str) -> str:
    words = first_line[2:].split()
    return next((word for word in words[1:] if not word.startswith("-")), "") if words[0].endswith("/env") else words[0]


def _program(first_line: str) -> str:
    """Return the path of the program that *first_line* names, "" when this machine does not have it."""
    return shutil.which(_named_program(first_line)) or ""


@contextlib.contextmanager
def _fixed_umask() -> Iterator[None]:
    """Let what is built have the same modes whatever the user's umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


if __name__ == "__main__":
    sys.exit(main())
