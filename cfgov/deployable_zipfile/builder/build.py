"""The story of a build, top-down: :func:`build`. Its steps are the other modules here; only this one knows them all."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from typing import ContextManager, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ..artifact import manifests, zipreader
from ..console import Console
from ..definitions import NamedTuple
from . import (
    cache,
    commands,
    evidence,
    files,
    git,
    last,
    options,
    outcome,
    pack,
    parsers,
    project,
    provenance,
    settings,
    source,
    stock,
    supplies,
    unchanged,
)
from .options import BuildOptions, Context, Wishes
from .outcome import Built
from .output import Output, Written


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
    return build(options.read(given), Console(), Wishes()).written.path


def _several(value: Union[str, Sequence[str], None]) -> Tuple[str, ...]:
    """Return *value* as several, as upstream's callers may give one."""
    return (os.fspath(value),) if isinstance(value, (str, os.PathLike)) else tuple(map(os.fspath, value or ()))


def main(arguments: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> int:
    """Run the command line of a build and return its exit code."""
    began = time.time_ns()
    words = list(sys.argv[1:] if arguments is None else arguments)

    def run(parsed: argparse.Namespace, console: Console) -> None:
        check = sys.stderr.isatty() and not parsed.json if parsed.check is None else parsed.check
        wanted = options.read({setting.name: getattr(parsed, setting.name) for setting in settings.TABLE})
        record = unchanged.Record(began) if wanted.cache else None
        built = build(wanted, console, Wishes(check, parsed.against or "", parsed.verify_reproducible), record)
        document, lines = outcome.report(built)
        console.outcome(document, lines)
        if record:
            evidence.remember(record, words, wanted, built, console.shown(document, lines))

    return commands.run(parsers.create(prog), words, run)


def again() -> None:
    """Run the second build of ``--verify-reproducible``, in a process of its own, from the options in a file."""

    from . import reproducible

    def run(parsed: argparse.Namespace, console: Console) -> None:
        build(reproducible.given(parsed.options), console, Wishes())

    sys.exit(commands.run(parsers.second_build(), [*sys.argv[1:], "--quiet"], run))


def build(wanted: BuildOptions, console: Console, wishes: Wishes, record: Optional[unchanged.Record] = None) -> Built:
    """Build one artifact.

    Parameters:
        record: gets what the outcome follows from.

    Raises:
        DeployableZipfileError: the build failed; what was at the artifact's path before still is.
    """
    context = Context(wanted, console, [])
    with contextlib.ExitStack() as stack:
        stack.enter_context(_fixed_umask())
        if record:
            stack.enter_context(git.listened(record.answers))
        run_as = project.check(wanted.wanted)
        base = stack.enter_context(_opened_base(wishes.against)) if wishes.against else None
        kept = stack.enter_context(cache.Cache(options.cache_folder(context), os.path.realpath(wanted.project)))
        options.keep_settings(kept)
        lock = supplies.Supplies(context, kept)
        output = stack.enter_context(Output(wanted.output))
        chosen = provenance.choose(context, lock.projects, output.names, kept)
        if record:
            evidence.narrow(record)
        how = _how_to_pack(context, chosen.selections[0], run_as, lock)
        taken = lock.take(chosen.files)
        former = stack.enter_context(last.opened(kept, output.path))
        packed = pack.Packer(how, taken, chosen, kept, console).pack(output.temporary, former)
        source.check_unchanged(chosen.selections)
        if record:
            record.holds &= wishes == Wishes() and packed.again is not None
            evidence.note(record, wanted, taken, chosen, kept)
        root, of_a_commit = chosen.selections[0].root, bool(chosen.state.commit)
        del chosen  # there may be very many files
        proven = _prove(output, packed, former)
        manifest = proven.manifest
        if wishes.check:
            _try_imports(context, proven.path, manifest, taken, root, kept.work)
        if wishes.repeat:
            _repeat(context, proven.path, of_a_commit, kept.work)
        written = _put_in_place(output, packed.sha256, proven, former, kept)
        made = _delta(context, written, base) if base else None
    return Built(written, manifest, tuple(context.warnings), taken.from_cache, taken.built, made)


def _how_to_pack(
    context: Context, chosen: source.Selection, run_as: project.Wanted, lock: supplies.Supplies
) -> pack.PackSettings:
    """Return how the artifact is packed, with how its site is run and the variables that the project declares."""
    asked, site = context.options, _site(context, chosen, run_as, lock)
    return pack.PackSettings(asked.name, asked.shebang, site, asked.bytecode, asked.workers, _schema(asked, lock))


def _schema(asked: BuildOptions, lock: supplies.Supplies) -> bytes:
    """Return the schema of the variables that the project declares, b"" when it declares none."""
    table = settings.variables(asked.file)
    if table is None:
        return b""

    def find(_: Mapping[str, str]) -> List[str]:
        contract = settings.environment(asked.file)
        return [contract.to_json(asked.name).decode("ascii")] if contract else []

    return "".join(lock.found_in({}, ["schema", asked.name, repr(table)], find)).encode("ascii")


def _site(
    context: Context, chosen: source.Selection, wanted: project.Wanted, lock: supplies.Supplies
) -> manifests.Site:
    """Find out how the project is run, and warn of what would keep it from that."""
    packed = files.ByPath(chosen.files)
    site = manifests.Site(*lock.found_in(packed, wanted, lambda paths: project.describe(paths, wanted)))
    site = site._replace(skip_steps=tuple(site.skip_steps))
    hidden = project.hidden(packed, site.path)
    if hidden:
        why = "is never imported: the module of that name that loads environment.json comes first"
        context.warn(f"{chosen.root}: {hidden} {why}; rename it")
    callables = [f"{kind} {value}" for kind, value in (("WSGI", site.wsgi), ("ASGI", site.asgi)) if value]
    if site.settings_module:
        callables.insert(0, f"Django settings {site.settings_module}")
    if callables:
        context.console.step(f"  {', '.join(callables)}")
    if not site.wsgi and not site.asgi:
        module, _, function = project.factory({name: file.path for name, file in packed.items()}).partition(":")
        made = f"add a wsgi.py with: from {module} import {function}; application = {function}()"
        named = f"set wsgi or asgi in [{settings.SECTION}], or give --wsgi or --asgi"
        context.warn(
            f"{chosen.root}: no WSGI or ASGI callable found, so nothing can serve it; {made if module else named}"
        )
    return site


class _Proven(NamedTuple):
    """The artifact before it is put in its place."""

    path: str  # where it is now
    manifest: manifests.Manifest
    pieces: Mapping[str, bytes]  # what is to be kept of its members, nothing if it stays where it is


def _prove(output: Output, packed: pack.Packed, former: Optional[last.Last]) -> _Proven:
    """Return the artifact as our own strict reader has taken it; what was known of it when it was written is gone."""
    if former:
        former.check()
    if packed.again is not None:
        return _Proven(output.path, packed.again, {})
    with output.sent(), zipreader.Artifact.open(output.temporary) as artifact:
        return _Proven(output.temporary, artifact.manifest, last.pieces(artifact))


def _try_imports(
    context: Context, path: str, manifest: manifests.Manifest, taken: stock.Stock, root: str, work: str
) -> None:
    """Import the site from what was packed, with the first interpreter at hand that the artifact is for."""
    if not taken.interpreters:
        context.console.step("Not checking whether the site can be imported: no Python of the target is installed here")
        return
    with context.console.phase("Checking that the site imports from what was packed"):
        from . import trial

        tried = trial.run(path, taken.interpreters[0], manifest, root, work)
    if tried.doubt:
        context.warn(f"{tried.doubt}; --no-check leaves this check out")


def _repeat(context: Context, path: str, of_a_commit: bool, work: str) -> None:
    """Build a second time in other surroundings, and refuse an artifact that is not the same."""
    from . import reproducible

    reproducible.check(path, context, of_a_commit, work)


def _opened_base(path: str) -> ContextManager[zipreader.Artifact]:
    """Open the artifact that a delta shall be against."""
    from . import delta

    return delta.opened_base(path)


def _delta(context: Context, written: Written, base: zipreader.Artifact) -> Written:
    """Write the delta beside the artifact."""
    from . import delta

    asked = context.options
    return delta.write(written, base, asked.output, asked.workers, context.console)


def _put_in_place(
    output: Output, sha256: str, proven: _Proven, former: Optional[last.Last], kept: cache.Cache
) -> Written:
    """Put the artifact in its place, or leave the same one there."""
    if not proven.pieces:
        assert former is not None
        return output.stay(former.size, former.sha256)
    written = output.commit(sha256)
    last.keep(kept, written.path, written.sha256, proven.manifest, proven.pieces)
    return written


@contextlib.contextmanager
def _fixed_umask() -> Iterator[None]:
    """Let what is built have the same modes whatever the user's umask."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
