"""Which files of the project are packed: what git tracks, and why the rest is left out.

In a git checkout exactly the tracked files are packed, plus what ``include`` names, minus ``exclude``; outside git, or
with *all_files*, everything. In all cases some files are never packed: version control, caches, virtual environments,
``environment.json``, ``.env`` files and private keys.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import subprocess
import sys
import sysconfig
from typing import Callable, Dict, FrozenSet, Iterable, List, NamedTuple, NoReturn, Optional, Sequence, Set, Tuple

from ..artifact import layout
from ..artifact.zipreader import check_distinct, name_problem, project_name_problem
from ..errors import BuildInputError

EARLIEST, LATEST = 315_532_800, 4_354_819_199  # seconds: 1980-01-01 to 2107-12-31, what a zip can name
LISTED = 10  # paths that a message names at most


def _any_of(*patterns: str) -> "re.Pattern[str]":
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


_CACHES = frozenset(
    ["__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox", ".cache", ".eggs"]
)
_VERSION_CONTROL = frozenset([".git", ".hg", ".svn", ".bzr"])
_COMPILED = _any_of("*.pyc", "*.pyo", ".coverage", ".DS_Store")
_SECRETS = _any_of(
    layout.ENVIRONMENT, ".env", ".env.*", ".netrc", ".pypirc", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"
)
_KEYS = _any_of("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore")
_EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist")
_KEY_MARK = b"PRIVATE KEY"
_GITLINK = "160000"  # git's mode of a submodule


class File(NamedTuple):
    """One file to pack."""

    name: str  # in the artifact and in the destination: PROJECT/... or static.in/N/...
    path: str  # where its bytes are now; the target's path for a symbolic link
    size: int  # bytes
    inode: int
    mode: int  # 0o644 or 0o755


class Selection(NamedTuple):
    """What is packed of one folder, and what a person should know about it."""

    files: Tuple[File, ...]  # sorted by name
    directories: Tuple[str, ...]  # empty folders
    left_out: Tuple[str, ...]  # never packed: paths relative to the folder; a trailing "/" marks folders
    links: Tuple[str, ...]  # symbolic links that are packed as copies


class Checkout(NamedTuple):
    """The state of the git checkout around the project; all empty outside git."""

    root: str  # absolute path, "" outside git
    commit: str  # 40 hexadecimal digits, "" outside git or before the first commit
    epoch: int  # seconds since 1970 UTC: of the commit, or the first moment a zip can name
    changed: Tuple[str, ...]  # tracked paths that differ from the commit
    untracked: Tuple[str, ...]  # paths that git neither tracks nor ignores


def checkout(project: str, watched: Sequence[str] = (), exclude: Sequence[str] = (), base: str = "") -> Checkout:
    """Return the state of the git checkout that holds *project*.

    Parameters:
        project: path of the project's folder.
        watched: further files whose changes count (requirements, configuration).
        exclude, base: as for :func:`project_files`; untracked files that are excluded are not mentioned.

    Raises:
        BuildInputError: git refuses to read the checkout, or there is one but no git.
    """
    root = _git_root(project)
    if not root:
        return Checkout("", "", EARLIEST, (), ())
    paths = [project] + [path for path in watched if os.path.realpath(path).startswith(root + os.sep)]
    rules = _Rules(root, base or os.path.dirname(os.path.realpath(project)), (), exclude, frozenset())
    changed, untracked = [], []
    fields = iter(_git(root, "status", "--porcelain", "-z", "--untracked-files=normal", "--", *paths).split("\0"))
    for field in fields:
        state, path = field[:2], field[3:]
        if state == "??":
            # Of a folder that it does not track git names the folder alone.
            inside = f"{path}*" if path.endswith("/") else path
            if not _is_never_packed(path.rstrip("/")) and not rules.excludes(inside):
                untracked.append(path)
        elif state:
            changed.append(path)
            if "R" in state or "C" in state:
                next(fields)
    head = _git(root, "rev-parse", "--verify", "--quiet", "HEAD", allow_failure=True).strip()
    epoch = int(_git(root, "-c", "log.showSignature=false", "log", "-1", "--format=%ct", head)) if head else EARLIEST
    return Checkout(root, head, max(epoch, EARLIEST), tuple(sorted(changed)), tuple(sorted(untracked)))


def source_epoch(value: Optional[str], otherwise: int) -> int:
    """Return the SOURCE_DATE_EPOCH *value*, or *otherwise* when it is not set.

    Raises:
        BuildInputError: it is no whole number of seconds between 1980 and 2107 (what a zip can name).
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


def require_clean(state: Checkout) -> None:
    """Refuse a checkout whose commit is not what would be packed.

    Raises:
        BuildInputError: not a git checkout, or changed or untracked files; names up to ten.
    """
    if not state.commit:
        raise BuildInputError("--require-clean", "the project is in no git checkout with a commit", "Commit it first")
    paths = state.changed + state.untracked
    if paths:
        raise BuildInputError(
            state.root, f"is not clean: {named(paths)}", "Commit, ignore or remove them, or leave out --require-clean"
        )


def project_files(
    project: str,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    base: str = "",
    all_files: bool = False,
    outputs: FrozenSet[str] = frozenset(),
) -> Selection:
    """Choose the files of *project*.

    Parameters:
        project: path of its folder; the folder's real name is the project's name.
        include, exclude: patterns relative to *base*: ``*`` and ``?`` stay within a folder, ``**`` crosses folders, a
            pattern that matches a folder means everything in it.
        base: folder of the configuration file; the project's parent when empty.
        all_files: take untracked files too.
        outputs: real paths that this build writes; never packed.

    Raises:
        BuildInputError: the folder, its name, a link, a special file or a file name cannot be packed.
    """
    root = os.path.realpath(project)
    check_project(root)
    rules = _Rules(root, base or os.path.dirname(root), include, exclude, outputs)
    in_git = not all_files and _git_root(root)
    names = _tracked(root) if in_git else None
    selection = _selected(root, os.path.basename(root), rules, names)
    rules.check_used()
    if not any(file.name.endswith(".py") for file in selection.files):
        why = "holds no manage.py and no package"
        if in_git:
            raise BuildInputError(root, f"{why} that git tracks", "Run git add, or use --all-files")
        raise BuildInputError(root, why, "Give the folder of a Django or WSGI project")
    return selection


def static_files(directory: str, number: int, outputs: FrozenSet[str] = frozenset()) -> Selection:
    """Choose the files of the *number*-th ``--extra-static`` folder: all but what is never packed.

    Raises:
        BuildInputError: as :func:`project_files`.
    """
    root = os.path.realpath(directory)
    if not os.path.isdir(root):
        raise BuildInputError(directory, "is no folder", "Correct --extra-static")
    selection = _selected(root, f"{layout.STATIC}/{number}", _Rules(root, root, (), (), outputs), None)
    if selection.files or selection.directories:
        return selection
    return selection._replace(directories=(f"{layout.STATIC}/{number}",))


def check_project(root: str) -> None:
    """Refuse a folder that is missing, or whose name cannot be a project's.

    Raises:
        BuildInputError: naming the clash.
    """
    name = os.path.basename(root)
    if not os.path.isdir(root):
        raise BuildInputError(root, "is no folder", "Give the folder of a Django or WSGI project")
    problem = project_name_problem(name)
    if problem:
        raise BuildInputError(root, f"its name {problem}", "Rename the folder")
    if name in _standard_modules():
        raise BuildInputError(
            root, f"its name {name!r} is that of a module of Python's standard library", "Rename the folder"
        )


def check_together(files: Iterable[File]) -> None:
    """Refuse files whose names differ only by case, and a file where another needs a folder (R9).

    Raises:
        BuildInputError: naming both.
    """

    def refuse(name: str, why: str) -> NoReturn:
        raise BuildInputError(name, why, "Rename one of them")

    check_distinct([file.name for file in files], refuse)


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


def _selected(root: str, prefix: str, rules: "_Rules", tracked: Optional[Dict[str, bool]]) -> Selection:
    """Choose below *root*; *tracked* maps relative paths to git's executable bit, None takes everything."""
    walk = _Walk(root, rules)
    if tracked is None:
        names: Iterable[str] = walk.everything()
    else:
        names = walk.these(sorted(tracked))
        if rules.include:
            names = sorted(set(names) | {name for name in walk.everything() if rules.includes(name)})
    modes = tracked if tracked and not _trusts_modes(root) else {}
    files, links = [], []
    for name in names:
        if rules.excludes(name):
            continue
        file = _File.at(root, name)
        if file.link:
            links.append(name)
        executable = modes.get(name, bool(file.status.st_mode & stat.S_IXUSR))
        mode = layout.FILE_MODES[1] if executable else layout.FILE_MODES[0]
        files.append(File(f"{prefix}/{name}", file.path, file.status.st_size, file.status.st_ino, mode))
    packed = {os.path.join(root, file.name[len(prefix) + 1 :]) for file in files}
    for name in links:
        target = os.path.realpath(os.path.join(root, name))
        if target not in packed:
            _refuse_link(root, name, f"leads to {os.path.relpath(target, root)}, which is not packed")
    for packed_file in files:
        _check_name(packed_file.name)
    empty = [] if tracked is not None else [f"{prefix}/{name}" for name in walk.empty if not rules.excludes(name)]
    for folder in empty:
        _check_name(folder)
    return Selection(tuple(sorted(files)), tuple(sorted(empty)), tuple(sorted(walk.left_out)), tuple(links))


class _Rules:
    """What the configuration and the build itself say about paths relative to the packed folder."""

    def __init__(
        self, root: str, base: str, include: Sequence[str], exclude: Sequence[str], outputs: FrozenSet[str]
    ) -> None:
        self._root = root
        self._offset = os.path.relpath(root, os.path.realpath(base))
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
        """Refuse a pattern of ``include`` that names nothing: what it should bring was not built."""
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
        if _is_never_packed(name) or os.path.lexists(os.path.join(self._root, name, "pyvenv.cfg")):
            self.left_out.add(f"{name}/")
            return False
        return True

    def _may_pack(self, name: str, environments: Set[str]) -> bool:
        if any(name.startswith(f"{environment}/") for environment in environments if environment):
            self.left_out.add(name)
            return False
        if not _is_never_packed(name) or self._is_public(name):
            return True
        self.left_out.add(name)
        return False

    def _is_public(self, name: str) -> bool:
        """Say whether *name* is a certificate that ``include`` asks for, not a key."""
        if not _KEYS.match(os.path.basename(name)) or any(_is_never_packed(part) for part in name.split("/")[:-1]):
            return False
        if not self._rules.includes(name):
            return False
        path = os.path.join(self._root, name)
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return _KEY_MARK not in file.read()

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


def _is_never_packed(name: str) -> bool:
    *folders, last = name.split("/")
    if any(part in _CACHES or part in _VERSION_CONTROL for part in [*folders, last]):
        return True
    if _COMPILED.match(last):
        return True
    return bool(_SECRETS.match(last) or _KEYS.match(last)) and last not in _EXAMPLES


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


def _tracked(root: str, prefix: str = "") -> Dict[str, bool]:
    """Return every path that git tracks below *root*, submodules included, and whether git says executable."""
    found: Dict[str, bool] = {}
    for line in _git(root, "ls-files", "-z", "--stage").split("\0"):
        if not line:
            continue
        information, _, path = line.partition("\t")
        mode = information.split(" ")[0]
        if mode != _GITLINK:
            found[prefix + path] = mode == "100755"
            continue
        if not os.path.lexists(os.path.join(root, path, ".git")):
            raise BuildInputError(
                os.path.join(root, path), "is a submodule that is not checked out", "Run git submodule update --init"
            )
        found.update(_tracked(os.path.join(root, path), f"{prefix}{path}/"))
    return found


def _trusts_modes(root: str) -> bool:
    return _git(root, "config", "--bool", "core.fileMode", allow_failure=True).strip() != "false"


def _git_root(folder: str) -> str:
    """Return the top of the checkout that holds *folder*, "" when there is none."""
    above = os.path.realpath(folder)
    while not os.path.lexists(os.path.join(above, ".git")):
        if above == os.path.dirname(above):
            return ""
        above = os.path.dirname(above)
    return _git(above, "rev-parse", "--show-toplevel").rstrip("\n")


def _git(folder: str, *arguments: str, allow_failure: bool = False) -> str:
    # A hook's GIT_DIR or GIT_INDEX_FILE would make git speak of another checkout.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment.update({name: value for name, value in os.environ.items() if name.startswith("GIT_CONFIG")})
    environment.update(LC_ALL="C", GIT_OPTIONAL_LOCKS="0")
    command = ["git", "-C", folder, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
    except OSError as error:
        raise BuildInputError(
            folder, f"is a git checkout, and git cannot be run ({error.strerror})", "Install git, or use --all-files"
        ) from None
    if done.returncode and not allow_failure:
        text = done.stderr.decode("utf-8", "replace").strip()
        if "dubious ownership" in text or "unsafe repository" in text:
            raise BuildInputError(
                folder,
                "is a git checkout of another user, which git refuses to read",
                f"Run git config --global --add safe.directory {folder}, or use --all-files",
            )
        raise BuildInputError(
            folder, f"git {arguments[0]} failed ({(text.splitlines() or ['?'])[-1]})", "Repair the checkout"
        )
    return os.fsdecode(done.stdout)
