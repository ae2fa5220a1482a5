"""Which files of the project are packed: what git tracks, and why the rest is left out.

In a git checkout exactly the tracked files are packed, plus what ``include`` names, minus ``exclude``; outside git, or
when the caller wants everything, all files. In all cases some are never packed: see ``exclusions.py``.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
)

from ..artifact import layout
from ..artifact.names import check_distinct
from ..definitions import NamedTuple
from ..errors import BuildInputError
from . import cache, exclusions
from .files import ByPath, File, Files, Place
from .packable import Candidate, check_name, refuse_link
from .walk import Rules, Walk

EARLIEST, LATEST = 315_532_800, 4_354_819_199  # seconds: 1980-01-01 to 2107-12-31, what a zip can name
LISTED = 10  # paths that a message names at most
# Returns a fact about a file, from the cache as long as the file is the same: see cache.Memory.about.
About = Callable[[str, cache.Identity, str, Callable[[], Any]], Any]
_PLAIN, _SECRET, _POINTER = 0, 1, 2  # what the beginning of a file says


class Selection(NamedTuple):
    """What is packed of one folder, and what a person should know about it."""

    place: Place
    files: Files  # sorted by name
    directories: Tuple[str, ...]  # empty folders
    left_out: Tuple[str, ...]  # never packed: paths relative to the folder; a trailing "/" marks folders
    links: Tuple[str, ...]  # symbolic links that are packed as copies

    @property
    def root(self) -> str:
        """Absolute path of the folder."""
        return self.place.root

    @property
    def prefix(self) -> str:
        """Its name in the artifact."""
        return self.place.prefix


def _read_now(path: str, own: cache.Identity, kind: str, find: Callable[[], Any]) -> Any:
    del path, own, kind
    return find()


def source_epoch(value: Optional[str], otherwise: int) -> int:
    """Return the SOURCE_DATE_EPOCH *value*, or *otherwise* when it is not set.

    Raises:
        BuildInputError: it is not a whole number of seconds between 1980 and 2107 (what a zip can name).
    """
    if value is None:
        return otherwise
    if not re.match(r"[0-9]{1,12}\Z", value) or not EARLIEST <= int(value) <= LATEST:
        raise BuildInputError(
            "SOURCE_DATE_EPOCH",
            f"is {value!r}, not a number of seconds from {EARLIEST} (1980) to {LATEST} (2107)",
            "Unset it or correct it",
        )
    return int(value)


def project_files(
    project: str,
    name: str,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    base: str = "",
    tracked: Optional[Mapping[str, Optional[bool]]] = None,
    outputs: FrozenSet[str] = frozenset(),
    about: About = _read_now,
) -> Selection:
    """Choose the files of *project*.

    Parameters:
        project: path of its folder.
        name: the project's name, which its folder gets in the artifact.
        include, exclude: patterns relative to *base*: ``*`` and ``?`` stay within a folder, ``**`` crosses folders, a
            pattern that matches a folder means everything in it.
        base: folder of the configuration file; the project's parent when empty.
        tracked: relative paths that git tracks, with its executable bit or None for the file system's own; None takes
            every file.
        outputs: real paths that this build writes; never packed.
        about: knows files that were read before.

    Raises:
        BuildInputError: a link, a special file or a file name cannot be packed, or there is no file.
    """
    root = os.path.realpath(project)
    check_directory(project, "Give the folder of a Django, WSGI or ASGI project")
    rules = Rules(root, base or os.path.dirname(root), include, exclude, outputs)
    selection = _selected(root, name, rules, tracked, about)
    rules.check_used()
    if not selection.files:
        if tracked is not None:
            raise BuildInputError(root, "contains no file that git tracks", "Run git add, or use --all-files")
        raise BuildInputError(root, "contains no file to pack", "Give the folder of a Django, WSGI or ASGI project")
    return selection


def check_directory(path: str, fix: str) -> None:
    """Refuse what is not a directory.

    Raises:
        BuildInputError: there is nothing at *path*, or something else.
    """
    if not os.path.isdir(path):
        raise BuildInputError(path, "is not a directory" if os.path.lexists(path) else "directory not found", fix)


def static_files(
    directory: str, number: int, outputs: FrozenSet[str] = frozenset(), about: About = _read_now
) -> Selection:
    """Choose the files of the *number*-th ``--extra-static`` folder: all but what is never packed.

    Raises:
        BuildInputError: as :func:`project_files`.
    """
    root = os.path.realpath(directory)
    check_directory(directory, "Correct --extra-static")
    selection = _selected(root, f"{layout.STATIC}/{number}", Rules(root, root, (), (), outputs), None, about)
    if selection.files or selection.directories:
        return selection
    return selection._replace(directories=(f"{layout.STATIC}/{number}",))


def leaves_out(root: str, exclude: Sequence[str] = (), base: str = "") -> Callable[[str], bool]:
    """Return a function that says of an absolute path below *root* whether the rules leave it out.

    Parameters:
        root: the packed folder; *exclude* and *base* as for :func:`project_files`.
    """
    root = os.path.realpath(root)
    rules = Rules(root, base or os.path.dirname(root), (), exclude, frozenset())

    def left_out(path: str) -> bool:
        name = path[len(root) + 1 :].rstrip(os.sep) or os.curdir
        if exclusions.is_never_packed(name) or rules.excludes(name):
            return True
        # Of a folder that it does not track git names only the folder.
        if os.path.isdir(path) and not os.path.islink(path):
            return rules.excludes(f"{name}/*")
        return os.path.isfile(path) and exclusions.is_never_packed_content(path)

    return left_out


def check_together(files: Files) -> None:
    """Refuse files whose names differ only by case, and a file where another needs a folder (R9).

    Raises:
        BuildInputError: naming both.
    """

    def refuse(name: str, why: str) -> NoReturn:
        raise BuildInputError(name, why, "Rename one of them")

    check_distinct(files.names, refuse)


def check_unchanged(selections: Iterable[Selection]) -> None:
    """Refuse files that changed since they were chosen: what was compared with the commit is not what was packed.

    Raises:
        BuildInputError: naming the first one.
    """
    for selection in selections:
        for file in selection.files:
            try:
                now = os.stat(file.path)
            except OSError:
                raise BuildInputError(file.path, "was removed while the artifact was built", "Build again") from None
            _, inode, _, moment, _ = file.identity
            if (inode, moment) != (now.st_ino, now.st_mtime_ns):
                raise BuildInputError(file.path, "changed while the artifact was built", "Build again")


def check_sizes(files: Sequence[File], further: int) -> None:
    """Refuse what a zip without ZIP64 records cannot hold (R3).

    Parameters:
        files: of project and static folders.
        further: bytes of the wheels.

    Raises:
        BuildInputError: one file, or all together, reach 4 GiB; names the largest folders.
    """
    total = further
    for file in files:
        if file.size > layout.MAX_SIZE:
            raise BuildInputError(file.path, f"has {file.size} bytes, 4 GiB or more", "Exclude it: see docs/build.md")
        total += file.size
    if total > layout.MAX_SIZE:
        raise BuildInputError(
            "the project",
            f"has {len(files)} files, with the wheels {total} bytes: 4 GiB or more; largest: {_largest(files)}",
            "Exclude what the site does not need: see docs/build.md",
        )


def named(paths: Sequence[str], limit: int = LISTED) -> str:
    """Return *paths* as one phrase, with the number of those that are not named."""
    shown = ", ".join(paths[:limit])
    return shown if len(paths) <= limit else f"{shown} and {len(paths) - limit} more"


def _selected(
    root: str, prefix: str, rules: Rules, tracked: Optional[Mapping[str, Optional[bool]]], about: About
) -> Selection:
    """Choose below *root*; *tracked* as for :func:`project_files`."""
    walk, place = Walk(root, rules), Place(root, prefix)
    names = [name for name in _names(walk, rules, tracked) if not rules.excludes(name)]
    folders = {os.path.dirname(name) for name in names}
    copies = exclusions.Copies([*rules.places, *(os.path.join(root, folder) for folder in folders)])
    links: List[str] = []

    def packed() -> Iterator[File]:
        for name in names:
            file = Candidate.at(root, name)
            if _is_secret(file, copies, about):
                walk.left_out.add(name)
                continue
            if file.link:
                links.append(name)
            yield _packed(name, place, file, (tracked or {}).get(name))

    files = Files(packed())
    _check_links(root, links, files)
    empty = [] if tracked is not None else [f"{prefix}/{name}" for name in walk.empty if not rules.excludes(name)]
    for path in itertools.chain(files.names, empty):
        check_name(path)
    return Selection(place, files, tuple(sorted(empty)), tuple(sorted(walk.left_out)), tuple(links))


def _is_secret(file: Candidate, copies: exclusions.Copies, about: About) -> bool:
    """Say whether the content of *file* keeps it from being packed.

    Raises:
        BuildInputError: it is not the file itself.
    """
    begins = _beginning(file, about)
    if (begins == _SECRET or copies.holds(file.path, file.status)) and not file.link:
        return True  # a link to what is not packed is refused later
    if begins == _POINTER:
        raise BuildInputError(file.path, "is a Git LFS pointer, not the file itself", "Run git lfs pull, or exclude it")
    return False


def _beginning(file: Candidate, about: About) -> int:
    """Say what the beginning of *file* is, of a private key or an earlier artifact or a pointer of Git LFS."""

    def find() -> int:
        if exclusions.is_never_packed_content(file.path):
            return _SECRET
        return _POINTER if exclusions.is_pointer(file.path) else _PLAIN

    if file.path.endswith(".sha256"):  # what that is depends on the file beside it
        return find()
    return int(about(file.path, cache.identity(file.status), f"beginning {exclusions.FORMAT}", find))


def _names(walk: Walk, rules: Rules, tracked: Optional[Mapping[str, Optional[bool]]]) -> List[str]:
    """Return the paths to pack, and let *rules* see which patterns of ``include`` name something."""
    if tracked is None:
        names = walk.everything()
        for name in names:
            rules.includes(name)
        return names
    names = walk.these(sorted(tracked))
    if not rules.include:
        return names
    return sorted({*names, *(name for name in walk.everything() if rules.includes(name))})


def _packed(name: str, place: Place, file: Candidate, executable: Optional[bool]) -> File:
    if executable is None:
        executable = bool(file.status.st_mode & stat.S_IXUSR)
    mode = layout.FILE_MODES[1] if executable else layout.FILE_MODES[0]
    return File(f"{place.prefix}/{name}", mode, place, cache.identity(file.status), file.path if file.link else "")


def _check_links(root: str, links: Sequence[str], files: Files) -> None:
    """Refuse one of *links* that does not lead to one of *files*."""
    targets = {name: os.path.realpath(os.path.join(root, name)) for name in links}
    if not targets:
        return
    led_to = set(targets.values())
    packed = {path for path in (os.path.join(root, name) for name in ByPath(files)) if path in led_to}
    for name, target in targets.items():
        if target not in packed:
            refuse_link(root, name, f"leads to {os.path.relpath(target, root)}, which is not packed")


def _largest(files: Iterable[File]) -> str:
    sizes: Dict[str, int] = {}
    for file in files:
        folder = "/".join(file.name.split("/")[:-1][:3])
        sizes[folder] = sizes.get(folder, 0) + file.size
    most = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{folder} ({size // 1_000_000} MB)" for folder, size in most)
