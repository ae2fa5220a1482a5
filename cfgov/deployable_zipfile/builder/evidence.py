"""What the outcome of a build depends on, for ``unchanged.py`` to check before the next one.

A chapter. Only a build in a checkout with a commit, of a lock of hashes, for this Python and with wheels from the cache
leaves a record.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Iterator, Sequence

from ..errors import masked, printable
from . import cache, checkout, exclusions, settings, source, stock, surroundings, unchanged
from .options import BuildOptions
from .outcome import Built, program
from .provenance import Chosen


def narrow(record: unchanged.Record) -> None:
    """Forget what git said that other files decide, which may be long, once the files are chosen."""
    folders = {folder for folder, *_ in record.answers}
    record.holds &= len(folders) == 1  # no submodules
    if record.holds:
        record.answers[:], _ = checkout.decided(checkout.Checkout(folders.pop()), record.answers)


def note(
    record: unchanged.Record,
    options: BuildOptions,
    taken: stock.Stock,
    chosen: Chosen,
    kept: cache.Cache,
) -> None:
    """Record what a build that wrote nothing followed from, as far as that can be recorded."""
    record.holds &= (
        _is_of_a_checkout(options, chosen)
        and taken.is_pinned
        and not (options.python or options.extra_python or options.target or options.build_constraint)
        and len({folder for folder, *_ in record.answers}) == 1  # no submodules
    )
    if record.holds:
        _note_files(record, options, chosen.selections[0], kept)
        record.files(taken.files, follow=True)
        record.tools(taken.tools)


def remember(record: unchanged.Record, words: Sequence[str], options: BuildOptions, built: Built, text: str) -> None:
    """Let the next run of the same command line say *text* again as long as nothing changes.

    Parameters:
        words: of the command line.
    """
    first = program(built.manifest.shebang)
    record.holds &= bool(first)
    record.files([first], follow=True)
    if not record.holds:
        return
    lines = [masked(f"warning: {printable(warning)}") for warning in built.warnings]
    path, folder = built.written.path, os.path.abspath(options.cache_dir or cache.default_folder() or os.curdir)
    with contextlib.suppress(OSError):  # the next build takes longer, no more
        record.keep(folder, words, path, f"{path}.sha256", (lines, masked(text)))


def _is_of_a_checkout(options: BuildOptions, chosen: Chosen) -> bool:
    """Say whether every packed file is tracked by git and the time is that of a commit."""
    further = options.include or options.extra_static or options.all_files
    return bool(chosen.state.commit) and not further and "SOURCE_DATE_EPOCH" not in os.environ


def _note_files(
    record: unchanged.Record, options: BuildOptions, selection: source.Selection, kept: cache.Cache
) -> None:
    root, base = selection.root, options.base or os.path.dirname(selection.root)
    found = checkout.find(options.project, kept.of_commit)
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
    record.files(_not_tracked(record))
    record.answers[:], files = checkout.decided(found, record.answers)
    record.files(files, follow=True)
    record.files(surroundings.configuration_paths(sys.executable), follow=True)


def _between(root: str, folder: str) -> Iterator[str]:
    """Yield *folder* and those above it, up to *root*."""
    while folder.startswith(root):
        yield folder
        folder = os.path.dirname(folder)


def _not_tracked(record: unchanged.Record) -> Iterator[str]:
    """Yield the files that git named because it does not track them: some are looked into, to warn of the others."""
    for folder, words, _, said in record.answers:
        if "--others" in words:
            yield from (os.path.join(folder, name) for name in os.fsdecode(said).split("\0") if name)
