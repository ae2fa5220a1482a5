"""Which files of the project are packed: what git tracks, and why the rest is left out.

In a git checkout exactly the tracked files are packed, plus what ``include`` names, minus ``exclude``; outside git, or
when the caller wants everything, all files. In all cases some are never packed: see ``exclusions.py``.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import sysconfig
import unicodedata
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from ..artifact import layout
from ..artifact.names import check_distinct, name_problem, project_name_problem
from ..errors import BuildInputError
from . import cache, exclusions

EARLIEST, LATEST = 315_532_800, 4_354_819_199  # seconds: 1980-01-01 to 2107-12-31, what a zip can name
LISTED = 10  # paths that a message names at most
# Returns a fact about a file, from the cache as long as the file is the same: see cache.Memory.about.
About = Callable[[str, cache.Identity, str, Callable[[], Any]], Any]
_PLAIN, _SECRET, _POINTER = 0, 1, 2  # what the beginning of a file says


class File(NamedTuple):
    """One file to pack."""

    name: str  # in the artifact and in the destination: PROJECT/... or static.in/N/...
    path: str  # where its bytes are now; the target's path for a symbolic link
    size: int  # bytes
    inode: int
    mode: int  # 0o644 or 0o755
    identity: cache.Identity = ()  # when it was chosen


class Selection(NamedTuple):
    """What is packed of one folder, and what a person should know about it."""

    root: str  # absolute path of the folder
    prefix: str  # its name in the artifact: PROJECT or static.in/N
    files: Tuple[File, ...]  # sorted by name
    directories: Tuple[str, ...]  # empty folders
    left_out: Tuple[str, ...]  # never packed: paths relative to the folder; a trailing "/" marks folders
    links: Tuple[str, ...]  # symbolic links that are packed as copies


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
    rules = _Rules(root, base or os.path.dirname(root), include, exclude, outputs)
    selection = _selected(root, name, rules, tracked, about)
    rules.check_used()
    if not selection.files:
        if tracked is not None:
            raise BuildInputError(root, "holds no file that git tracks", "Run git add, or use --all-files")
        raise BuildInputError(root, "holds no file to pack", "Give the folder of a Django, WSGI or ASGI project")
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
    selection = _selected(root, f"{layout.STATIC}/{number}", _Rules(root, root, (), (), outputs), None, about)
    if selection.files or selection.directories:
        return selection
    return selection._replace(directories=(f"{layout.STATIC}/{number}",))


def project_name(project: str, wanted: str = "") -> str:
    """Return the name of *project* in the artifact: *wanted*, or one made from the folder's own.

    A folder's name that is an ASCII identifier and clashes with nothing is kept. Otherwise what an identifier cannot
    hold becomes "_", and a name that Python or the artifact uses itself gets "_project" added.

    Raises:
        BuildInputError: *wanted* cannot be a name, or the folder's name gives none.
    """
    if wanted:
        problem = _name_clash(wanted)
        if problem:
            raise BuildInputError(f"the name {wanted!r}", problem, "Give another name")
        return wanted
    folder = os.path.basename(os.path.realpath(project))
    if not _name_clash(folder):
        return folder
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode("ascii")
    made = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")
    made = f"project_{made}" if made[:1].isdigit() else made
    made = f"{made}_project" if made and _name_clash(made) else made
    if not made or _name_clash(made):
        raise BuildInputError(os.path.realpath(project), "its name gives no project name", "Give --name NAME")
    return made


def leaves_out(root: str, exclude: Sequence[str] = (), base: str = "") -> Callable[[str], bool]:
    """Return a function that says of an absolute path below *root* whether the rules leave it out.

    Parameters:
        root: the packed folder; *exclude* and *base* as for :func:`project_files`.
    """
    root = os.path.realpath(root)
    rules = _Rules(root, base or os.path.dirname(root), (), exclude, frozenset())

    def left_out(path: str) -> bool:
        name = os.path.relpath(path, root)
        if exclusions.is_never_packed(name) or rules.excludes(name):
            return True
        # Of a folder that it does not track git names only the folder.
        if os.path.isdir(path) and not os.path.islink(path):
            return rules.excludes(f"{name}/*")
        return os.path.isfile(path) and exclusions.is_never_packed_content(path)

    return left_out


def check_together(files: Iterable[File]) -> None:
    """Refuse files whose names differ only by case, and a file where another needs a folder (R9).

    Raises:
        BuildInputError: naming both.
    """

    def refuse(name: str, why: str) -> NoReturn:
        raise BuildInputError(name, why, "Rename one of them")

    check_distinct([file.name for file in files], refuse)


def check_unchanged(selections: Iterable[Selection]) -> None:
    """Refuse files that changed since they were chosen: what was compared with the commit is not what was packed.

    Raises:
        BuildInputError: naming the first one.
    """
    for selection in selections:
        for file in selection.files:
            try:
                _, inode, _, moment, _ = cache.identity(os.stat(file.path))
            except OSError:
                raise BuildInputError(file.path, "was removed while the artifact was built", "Build again") from None
            if (inode, moment) != (file.identity[1], file.identity[3]):
                raise BuildInputError(file.path, "changed while the artifact was built", "Build again")


def check_sizes(files: Sequence[File], further: int) -> None:
    """Refuse what a zip without ZIP64 records cannot hold (R3).

    Parameters:
        files: of project and static folders.
        further: bytes of the wheels.

    Raises:
        BuildInputError: one file, or all together, reach 4 GiB; names the largest folders.
    """
    for file in files:
        if file.size > layout.MAX_SIZE:
            raise BuildInputError(file.path, f"has {file.size} bytes, 4 GiB or more", "Exclude it: see docs/build.md")
    total = sum(file.size for file in files) + further
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


def _name_clash(name: str) -> str:
    """Return why *name* cannot be a project's, "" when it can."""
    problem = project_name_problem(name)
    if not problem and name in _standard_modules():
        return "is the name of a module of Python's standard library"
    return problem or ""


def _selected(
    root: str, prefix: str, rules: "_Rules", tracked: Optional[Mapping[str, Optional[bool]]], about: About
) -> Selection:
    """Choose below *root*; *tracked* as for :func:`project_files`."""
    walk = _Walk(root, rules)
    names = [name for name in _names(walk, rules, tracked) if not rules.excludes(name)]
    copies = exclusions.Copies([*rules.places, *(os.path.join(root, os.path.dirname(name)) for name in names)])
    files, links = [], []
    for name in names:
        file = _File.at(root, name)
        begins = _beginning(file, about)
        secret = begins == _SECRET or copies.holds(file.path, file.status)
        if secret and not file.link:  # a link to what is not packed is refused below
            walk.left_out.add(name)
            continue
        if begins == _POINTER:
            raise BuildInputError(
                file.path, "is a Git LFS pointer, not the file itself", "Run git lfs pull, or exclude it"
            )
        if file.link:
            links.append(name)
        files.append(_packed(f"{prefix}/{name}", file, (tracked or {}).get(name)))
    _check_links(root, links, {os.path.join(root, file.name[len(prefix) + 1 :]) for file in files})
    empty = [] if tracked is not None else [f"{prefix}/{name}" for name in walk.empty if not rules.excludes(name)]
    for path in [*(file.name for file in files), *empty]:
        _check_name(path)
    left_out = tuple(sorted(walk.left_out))
    return Selection(root, prefix, tuple(sorted(files)), tuple(sorted(empty)), left_out, tuple(links))


def _beginning(file: "_File", about: About) -> int:
    """Say what the beginning of *file* is, of a private key or an earlier artifact or a pointer of Git LFS."""

    def find() -> int:
        if exclusions.is_never_packed_content(file.path):
            return _SECRET
        return _POINTER if exclusions.is_pointer(file.path) else _PLAIN

    if file.path.endswith(".sha256"):  # what that is depends on the file beside it
        return find()
    return int(about(file.path, cache.identity(file.status), f"beginning {exclusions.FORMAT}", find))


def _names(walk: "_Walk", rules: "_Rules", tracked: Optional[Mapping[str, Optional[bool]]]) -> List[str]:
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


def _packed(name: str, file: "_File", executable: Optional[bool]) -> File:
    if executable is None:
        executable = bool(file.status.st_mode & stat.S_IXUSR)
    mode = layout.FILE_MODES[1] if executable else layout.FILE_MODES[0]
    status = file.status
    return File(name, file.path, status.st_size, status.st_ino, mode, cache.identity(status))


def _check_links(root: str, links: Sequence[str], packed: Set[str]) -> None:
    for name in links:
        target = os.path.realpath(os.path.join(root, name))
        if target not in packed:
            _refuse_link(root, name, f"leads to {os.path.relpath(target, root)}, which is not packed")


class _Rules:
    """What the configuration and the build itself say about paths relative to the packed folder."""

    def __init__(
        self, root: str, base: str, include: Sequence[str], exclude: Sequence[str], outputs: FrozenSet[str]
    ) -> None:
        self._root = root
        self._offset = os.path.relpath(root, os.path.realpath(base))
        self.places = (root, os.path.dirname(root), os.path.realpath(base))  # where an environment.json is kept
        self.include = [(pattern, _compiled(pattern)) for pattern in include]
        self._exclude = [_compiled(pattern) for pattern in exclude]
        self._outputs = outputs
        self._used: Set[str] = set()

    def includes(self, name: str) -> bool:
        """Say whether a pattern of ``include`` names *name*, and remember which patterns did."""
        found = [pattern for pattern, compiled in self.include if compiled.match(self._based(name))]
        self._used.update(found)
        return bool(found)

    def excludes(self, name: str) -> bool:
        if os.path.join(self._root, name) in self._outputs:
            return True
        return bool(self._exclude) and any(pattern.match(self._based(name)) for pattern in self._exclude)

    def check_used(self) -> None:
        """Refuse a pattern of ``include`` that names nothing: the files that it should match were not built."""
        for pattern, _ in self.include:
            if pattern not in self._used:
                raise BuildInputError(
                    f"include {pattern!r}", "matches no file", "Build these files first, or correct it"
                )

    def _based(self, name: str) -> str:
        return os.path.normpath(os.path.join(self._offset, name))


class _Walk:
    """Finds files below a folder and remembers what it left out."""

    def __init__(self, root: str, rules: _Rules) -> None:
        self._root = root
        self._rules = rules
        self.left_out: Set[str] = set()
        self.empty: List[str] = []

    def these(self, names: Iterable[str]) -> List[str]:
        """Return those of *names* that exist and may be packed."""
        names = list(names)
        environments = {os.path.dirname(name) for name in names if os.path.basename(name) == "pyvenv.cfg"}
        folders: Dict[str, bool] = {}
        return [name for name in names if self._may_pack(name, environments) and self._is_there(name, folders)]

    def everything(self, folder: str = "") -> List[str]:
        """Return all files below *folder*, in sorted order, without what is never packed."""
        found: List[str] = []
        try:
            with os.scandir(os.path.join(self._root, folder)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            raise BuildInputError(
                os.path.join(self._root, folder), f"cannot be read ({error.strerror})", "Make it readable"
            ) from None
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if self._may_enter(name):
                    found += self.everything(name)
            elif self._may_pack(name, set()):
                found.append(name)
        if not entries and folder:
            self.empty.append(folder)
        return found

    def _may_enter(self, name: str) -> bool:
        if exclusions.is_never_packed(name) or os.path.lexists(os.path.join(self._root, name, "pyvenv.cfg")):
            self.left_out.add(f"{name}/")
            return False
        return True

    def _may_pack(self, name: str, environments: Set[str]) -> bool:
        if any(name.startswith(f"{environment}/") for environment in environments if environment):
            self.left_out.add(name)
            return False
        if not exclusions.is_never_packed(name) or self._is_public(name):
            return True
        self.left_out.add(name)
        return False

    def _is_public(self, name: str) -> bool:
        """Say whether *name* is a certificate that ``include`` names, not a key."""
        if not exclusions.may_be_certificate(name) or not self._rules.includes(name):
            return False
        path = os.path.join(self._root, name)
        return stat.S_ISREG(os.lstat(path).st_mode) and not exclusions.holds_key(path)

    def _is_there(self, name: str, folders: Dict[str, bool]) -> bool:
        """Say whether a tracked file exists, not reached through a folder that became a link."""
        folder = os.path.dirname(os.path.join(self._root, name))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder) == folder
        return folders[folder] and os.path.lexists(os.path.join(self._root, name))


class _File(NamedTuple):
    path: str
    status: os.stat_result
    link: bool

    @classmethod
    def at(cls, root: str, name: str) -> "_File":
        """Look at the file *name* below *root* without opening it (a FIFO would wait for ever)."""
        path = os.path.join(root, name)
        try:
            status = os.lstat(path)
        except OSError as error:
            raise BuildInputError(path, f"cannot be read ({error.strerror})", "Build again") from None
        if stat.S_ISLNK(status.st_mode):
            return cls(*_followed(root, name), link=True)
        if not stat.S_ISREG(status.st_mode):
            raise BuildInputError(path, f"is {_kind(status.st_mode)}", "Remove it, or exclude it: see docs/build.md")
        if not os.access(path, os.R_OK):
            raise BuildInputError(path, "cannot be read (no permission)", "Make it readable, or exclude it")
        return cls(path, status, link=False)


def _followed(root: str, name: str) -> Tuple[str, os.stat_result]:
    """Return the regular file inside *root* that the symbolic link *name* leads to."""
    path = os.path.join(root, name)
    if os.path.isabs(os.readlink(path)):
        _refuse_link(root, name, f"leads to the absolute path {os.readlink(path)}")
    try:
        status = os.stat(path)
    except OSError as error:
        loop = error.errno == errno.ELOOP
        _refuse_link(root, name, f"leads {'in a circle' if loop else 'to a missing file'} ({os.readlink(path)})")
    target = os.path.realpath(path)
    if not target.startswith(root + os.sep):
        _refuse_link(root, name, f"leads out of the folder ({os.readlink(path)})")
    if not stat.S_ISREG(status.st_mode):
        _refuse_link(root, name, f"leads to {_kind(status.st_mode)} ({os.readlink(path)})")
    return target, status


def _refuse_link(root: str, name: str, why: str) -> NoReturn:
    raise BuildInputError(
        os.path.join(root, name), f"is a symbolic link that {why}", "Replace it by a copy, or exclude it"
    )


def _kind(mode: int) -> str:
    kinds: List[Tuple[Callable[[int], bool], str]] = [
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISCHR, "a device"),
    ]
    return next((text for test, text in kinds if test(mode)), "no regular file")


def _check_name(name: str) -> None:
    problem = name_problem(name)
    if not problem and any(part.endswith(" ") for part in name.split("/")):
        problem = "its name ends with a blank"
    if problem:
        raise BuildInputError(name, problem, "Rename it, or exclude it: see docs/build.md")


def _compiled(pattern: str) -> "re.Pattern[str]":
    """Translate one pattern of include or exclude; a match of a folder is a match of all below it."""
    text = ""
    position = 0
    pattern = pattern.strip("/")
    while position < len(pattern):
        if pattern.startswith("**/", position):
            text, position = text + "(?:.*/)?", position + 3
        elif pattern.startswith("**", position):
            text, position = text + ".*", position + 2
        else:
            character = pattern[position]
            text += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
            position += 1
    return re.compile(f"{text}(?:/.*)?\\Z", re.DOTALL)


def _standard_modules() -> Set[str]:
    """Return the names that the standard library of the building Python uses."""
    listed = getattr(sys, "stdlib_module_names", None)
    if listed is not None:
        return set(listed)
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")]
    found = {entry.partition(".")[0] for folder in folders if os.path.isdir(folder) for entry in os.listdir(folder)}
    return (found | set(sys.builtin_module_names)) - {"site-packages", "lib-dynload"}


def _largest(files: Iterable[File]) -> str:
    sizes: Dict[str, int] = {}
    for file in files:
        folder = "/".join(file.name.split("/")[:-1][:3])
        sizes[folder] = sizes.get(folder, 0) + file.size
    most = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{folder} ({size // 1_000_000} MB)" for folder, size in most)
