"""What is packed of the project and its static folders, and which commit that is.

A chapter: ``source.py`` chooses the files, ``checkout.py`` compares them with the commit.
"""

from __future__ import annotations

import functools
import os
from typing import Callable, FrozenSet, Iterator, Sequence, Tuple

from ..artifact import layout, manifests
from ..definitions import NamedTuple
from ..errors import BuildInputError
from . import cache, checkout, credentials, files, source
from .commit import Packed
from .options import BuildOptions, Context


class Chosen(NamedTuple):
    """The files of a build, and where they came from."""

    selections: Tuple[source.Selection, ...]  # of the project, then of the static folders
    state: manifests.Source

    @property
    def files(self) -> files.Files:
        """Every file, in the order of the artifact."""
        return files.Files.joined(selection.files for selection in self.selections)


def choose(context: Context, projects: Sequence[str], outputs: FrozenSet[str], kept: cache.Cache) -> Chosen:
    """Choose the files of project and static folders, and say what was left out and what is not the commit's.

    Parameters:
        projects: folders of Python projects that wheels are built from.
        outputs: real paths that this build writes.

    Raises:
        BuildInputError: a file cannot be packed, or only the commit may be and something is not the commit's.
    """
    options, console = context.options, context.console
    root, about = os.path.realpath(options.project), kept.memory.about
    state = _checkout(context, kept)
    console.step(f"Choosing the files of {options.project}")
    chosen = (
        _project_files(options, state, outputs, about),
        *(source.static_files(folder, number, outputs, about) for number, folder in enumerate(options.extra_static)),
    )
    source.check_together(files.Files.joined(selection.files for selection in chosen))
    dirty = _is_dirty(context, projects, state, chosen, kept)
    if not any(name.endswith(".py") for name in chosen[0].files.names):
        context.warn(f"{options.project}: contains no Python file")
    if options.name != os.path.basename(root):
        console.step(f"  the project is called {options.name} in the artifact")
    for selection in chosen:
        if selection.left_out:
            console.step(f"  never packed: {source.named(selection.left_out)}")
        if selection.links:
            console.step(f"  symbolic links packed as copies: {source.named(selection.links)}")
        _check_credentials(context, selection, about)
    commit_time = max(state.epoch, source.EARLIEST)
    epoch = source.source_epoch(os.environ.get("SOURCE_DATE_EPOCH"), commit_time)
    return Chosen(chosen, manifests.Source(state.commit, dirty, epoch))


def _project_files(
    options: BuildOptions, state: checkout.Checkout, outputs: FrozenSet[str], about: source.About
) -> source.Selection:
    root = os.path.realpath(options.project)
    tracked = checkout.tracked(state, root) if state.root and not options.all_files else None
    return source.project_files(
        root, options.name, options.include, options.exclude, options.base, tracked, outputs, about
    )


def _check_credentials(context: Context, selection: source.Selection, about: source.About) -> None:
    """Warn of passwords in packed files of configuration.

    Raises:
        BuildInputError: there is one, and the build is strict.
    """
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
        if context.options.strict:
            raise BuildInputError(f"{file.name}, line {found[0][0]}", why, f"{fix}, or build without --strict")
        context.warn(f"{file.name}, line {found[0][0]}: {why}; {fix[0].lower()}{fix[1:]}")


def _checkout(context: Context, kept: cache.Cache) -> checkout.Checkout:
    """Return the project's checkout; what packs all files needs none, so it may be one that git cannot read."""
    options = context.options
    try:
        return checkout.find(options.project, kept.of_commit)
    except BuildInputError as error:
        if not options.all_files or options.require_clean:
            raise
        context.warn(f"{error.what}: the commit is not known ({error.why})")
        return checkout.Checkout()


def _is_dirty(
    context: Context,
    projects: Sequence[str],
    state: checkout.Checkout,
    chosen: Sequence[source.Selection],
    kept: cache.Cache,
) -> bool:
    """Say whether a packed byte is not the commit's, warn of it, and refuse it if only the commit may be packed."""
    options = context.options
    if options.require_clean and not state.commit:
        raise BuildInputError(
            "--require-clean", f"{options.project} is not in a git checkout with a commit", "Commit it first"
        )
    if not state.root:
        return False
    left_out = _left_out(options, chosen)
    deciding = [
        os.path.realpath(path) for path in (options.file, options.requirements, *options.extra_requirements) if path
    ]
    roots = [one.root for one in chosen]
    different = checkout.differences(state, _packed(chosen), roots, left_out, kept.of_commit, kept.memory.about)
    different = different.and_(checkout.input_differences(state, deciding, kept.of_commit))
    for folder in projects:
        different = different.and_(checkout.folder_differences(state, folder))
    untracked = [
        path
        for path in checkout.untracked(state, [*roots, *deciding])
        if not left_out(os.path.join(state.root, path)) and path not in different.added
    ]
    _warn_of(context, state, different, untracked)
    return bool(different)


def _packed(chosen: Sequence[source.Selection]) -> Iterator[Packed]:
    """Yield the files as they are in the checkout: a symbolic link by its own path."""
    for one in chosen:
        for file in one.files:
            place = os.path.join(one.root, file.name[len(one.prefix) + 1 :])
            yield Packed(place, file.mode == layout.FILE_MODES[1], file.identity if place == file.path else ())


def _left_out(options: BuildOptions, chosen: Sequence[source.Selection]) -> Callable[[str], bool]:
    """Return what says whether a path of the checkout is left out of every folder that it is below."""
    rules = [source.leaves_out(chosen[0].root, options.exclude, options.base)]
    rules += [source.leaves_out(one.root) for one in chosen[1:]]
    below = [one.root + os.sep for one in chosen]

    def left_out(path: str) -> bool:
        return all(rule(path) for rule, root in zip(rules, below) if path.startswith(root))

    return left_out


def _warn_of(
    context: Context, state: checkout.Checkout, different: checkout.Differences, untracked: Sequence[str]
) -> None:
    """Warn of what is not the commit's.

    Raises:
        BuildInputError: only the commit may be packed.
    """
    if context.options.require_clean and (different or untracked):
        paths = [*different.changed, *different.added, *untracked]
        raise BuildInputError(
            state.root,
            f"{state.short} does not contain everything that would be packed: {source.named(paths)}",
            "Commit, ignore or remove them, or leave out --require-clean",
        )
    if different.changed:
        context.warn(f"{state.short} has uncommitted changes: {source.named(different.changed)}")
    if different.added:
        context.warn(f"packed, but not in {state.short}: {source.named(different.added)}")
    if untracked and not context.options.all_files:
        context.warn(f"not tracked by git, so not packed: {source.named(untracked)}")
