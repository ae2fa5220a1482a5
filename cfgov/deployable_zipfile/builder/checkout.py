"""The git checkout around a project: its commit, what it tracks, and which packed bytes are not the commit's.

Every command and option exists in git 1.8.3.1, which CentOS 7 has. What is packed is compared with the commit's blobs,
not with what ``git status`` says: that trusts the index (assume-unchanged, skip-worktree) and looks through filters.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from ..definitions import NamedTuple, expression
from ..errors import BuildInputError
from . import commit, git
from .commit import EXECUTABLE, GITLINK, About, Blob, Packed, Recall

_OBJECT = expression(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


def _made(kind: str, commit: str, make: Callable[[], bytes]) -> bytes:
    del kind, commit
    return make()


def _read_now(path: str, own: Tuple[int, ...], kind: str, find: Callable[[], Any]) -> Any:
    del path, own, kind
    return find()


class Checkout(NamedTuple):
    """A git checkout; all empty outside git."""

    root: str = ""  # absolute path
    commit: str = ""  # hexadecimal digits, "" before the first commit
    epoch: int = 0  # seconds since 1970 UTC of the commit, 0 without one

    @property
    def short(self) -> str:
        """Return what messages call the commit."""
        return f"commit {self.commit[:10]}" if self.commit else "a commit (there is none yet)"


class Differences(NamedTuple):
    """Why what is packed is not the commit; paths relative to the checkout's root, or absolute outside it."""

    changed: Tuple[str, ...] = ()  # other bytes or another mode than the commit's, or missing
    added: Tuple[str, ...] = ()  # packed, and not in the commit

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self.changed or self.added)

    def and_(self, other: "Differences") -> "Differences":
        """Return these and *other*, each path once."""
        changed, added = {*self.changed, *other.changed}, {*self.added, *other.added}
        return Differences(tuple(sorted(changed)), tuple(sorted(added)))


def looked_for(checkout: Checkout, folder: str) -> List[str]:
    """Return the files that are read without git, or looked for, to find the checkout of *folder* and its settings."""
    found = [os.path.join(git.folders(checkout.root)[1], "config")]
    above = os.path.realpath(folder)
    while above != checkout.root and above != os.path.dirname(above):
        found.append(os.path.join(above, ".git"))
        above = os.path.dirname(above)
    return found


def decided(checkout: Checkout, answers: Sequence[git.Answered]) -> Tuple[List[git.Answered], List[str]]:
    """Return those of *answers* that only git can give, and the files that decide the others.

    Which commit is checked out and what is tracked stays the same while a few files of git's do; looking at those takes
    less than running git.
    """
    files = git.deciding(checkout.root)
    return [one for one in answers if not files or not _is_decided(one[1])], files


def _is_decided(words: Sequence[str]) -> bool:
    return words[0] == "rev-parse" or (words[0] == "ls-files" and "--others" not in words)


def find(folder: str, recall: Recall = _made) -> Checkout:
    """Return the checkout that holds *folder*.

    Parameters:
        recall: knows what was read of a commit before.

    Raises:
        BuildInputError: there is one, and git is missing or refuses to read it.
    """
    above = git.top(folder)
    if not os.path.lexists(os.path.join(above, ".git")):
        return Checkout()
    answer = git.run(above, "rev-parse", "--show-toplevel", "HEAD", allow_failure=True)
    root, _, head = answer.rstrip("\n").rpartition("\n")
    if not _OBJECT.match(head):  # no commit yet, or no checkout that git reads
        root, head = git.run(above, "rev-parse", "--show-toplevel").rstrip("\n"), ""
    epoch = int(recall("epoch", head, lambda: b"%d" % commit.epoch(root, head))) if head else 0
    return Checkout(root, head, epoch)


def tracked(checkout: Checkout, folder: str) -> Dict[str, Optional[bool]]:
    """Return every path that git tracks below *folder*, relative to it, submodules included.

    The value is git's executable bit, or None where the file system's own is to be trusted (``core.fileMode``).

    Raises:
        BuildInputError: a submodule is not checked out.
    """
    below = os.path.relpath(os.path.realpath(folder), checkout.root)
    prefix = "" if below == os.curdir else f"{below}/"
    found: Dict[str, Optional[bool]] = {}
    for root, path, index in _checkouts(checkout.root, prefix):
        trusted = _trusts_modes(root)
        for mode, name in _entries(index):
            if mode != GITLINK and (path + name).startswith(prefix):
                found[(path + name)[len(prefix) :]] = None if trusted else mode == EXECUTABLE
    return found


def untracked(checkout: Checkout, paths: Sequence[str]) -> List[str]:
    """Return what git neither tracks nor ignores below *paths*, relative to the root; a folder ends with "/".

    Submodules included: git itself names only those that hold something.
    """
    inside = [
        os.path.relpath(path, checkout.root) for path in map(os.path.realpath, paths) if _is_below(path, checkout)
    ]
    if not inside:
        return []
    found = set(_untracked(checkout.root, inside))
    if os.path.lexists(os.path.join(checkout.root, ".gitmodules")):
        for way in inside:
            below = "" if way == os.curdir else f"{way}/"
            for root, prefix, _ in _checkouts(checkout.root, below)[1:]:
                within = below[len(prefix) :] or os.curdir if below.startswith(prefix) else os.curdir
                found.update(prefix + name for name in _untracked(root, [within]))
    return sorted(found)


def _untracked(root: str, paths: Sequence[str]) -> List[str]:
    """Return the same of one repository, below *paths* relative to it."""
    # "status" would say the same, and read every file of which the index does not know whether it was changed.
    words = ("--others", "--exclude-standard", "--directory", "--no-empty-directory")
    return [name for name in git.run(root, "ls-files", "-z", *words, "--", *paths).split("\0") if name]


def differences(
    checkout: Checkout,
    packed: Iterable[Packed],
    folders: Sequence[str],
    left_out: Callable[[str], bool],
    recall: Recall = _made,
    about: About = _read_now,
) -> Differences:
    """Compare what is packed with the commit.

    Parameters:
        packed: the files.
        folders: absolute paths that are packed completely: a file of the commit that is missing there is a change.
        left_out: says of an absolute path whether the build leaves it out by its rules; that is not a change.
        recall: knows what was read of a commit before.
        about: knows files that were read before.
    """
    if not checkout.root:
        return Differences()
    committed = commit.Committed(checkout.root, checkout.commit, recall)
    changed: List[str] = []
    added: List[str] = []
    doubtful: List[Tuple[str, str, Blob]] = []  # other bytes than the blob's: the content that a pointer names?
    named = _Names(checkout)
    for file in packed:
        name = named.of(file.place)
        blob = committed.take(name)
        if blob is None:
            added.append(name)
        elif not commit.same_kind(blob, file):
            changed.append(name)
        elif not commit.same_bytes(blob, file, about):
            doubtful.append((name, file.place, blob))
    changed += commit.not_what_pointers_name(doubtful)
    changed += _missing(checkout, committed.left(), folders, left_out) if folders else ()
    return Differences(tuple(sorted(set(changed))), tuple(sorted(set(added))))


def _missing(
    checkout: Checkout, names: Iterable[str], folders: Sequence[str], left_out: Callable[[str], bool]
) -> Iterator[str]:
    """Yield those of *names* that are below *folders* and that no rule leaves out."""
    root, below = os.path.join(checkout.root, ""), tuple(folder + os.sep for folder in folders)
    for name in names:
        if (root + name).startswith(below) and not left_out(root + name):
            yield name


def input_differences(checkout: Checkout, paths: Sequence[str], recall: Recall = _made) -> Differences:
    """Compare files that decide what is packed, such as the lock, with the commit, if they are in the checkout."""
    inside = [Packed(path, os.access(path, os.X_OK)) for path in paths if _is_below(path, checkout)]
    return differences(checkout, inside, (), bool, recall)


def folder_differences(checkout: Checkout, folder: str) -> Differences:
    """Compare the folder of a local Python project, whose wheel is built here, with the commit."""
    if not checkout.root:
        return Differences()
    if not _is_below(folder, checkout):
        return Differences(added=(folder,))
    places = [os.path.join(folder, name) for name in tracked(checkout, folder)]
    packed = [Packed(place, os.access(place, os.X_OK)) for place in places if os.path.lexists(place)]
    found = differences(checkout, packed, [folder], lambda _: False)
    return found.and_(Differences(added=tuple(untracked(checkout, [folder]))))


class _Names:
    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._folders: Dict[str, str] = {}  # path -> that of its files up to their last part

    def of(self, place: str) -> str:
        """Return the path of *place* relative to the root, or absolute when it is outside."""
        folder, name = os.path.split(place)
        if folder not in self._folders:
            inside = os.path.relpath(folder, self._checkout.root) if _is_below(place, self._checkout) else folder
            self._folders[folder] = "" if inside == os.curdir else f"{inside.rstrip(os.sep)}/"
        return self._folders[folder] + name


def _is_below(path: str, checkout: Checkout) -> bool:
    folder, name = os.path.split(path)
    return (os.path.join(os.path.realpath(folder), name) + os.sep).startswith(checkout.root + os.sep)


def _checkouts(root: str, below: str, prefix: str = "") -> List[Tuple[str, str, str]]:
    """Return the checkout at *root* and its submodules that reach into *below*, with path from the first, and index."""
    index = git.run(root, "ls-files", "-z", "--stage")
    found = [(root, prefix, index)]
    for mode, name in _entries(index) if GITLINK in index else ():
        path = f"{prefix}{name}/"
        if mode != GITLINK or not (path.startswith(below) or below.startswith(path)):
            continue
        place = os.path.join(root, name)
        if not os.path.lexists(os.path.join(place, ".git")):
            raise BuildInputError(
                place, "is a submodule that is not checked out", "Run git submodule update --init --recursive"
            )
        found += _checkouts(place, below, path)
    return found


def _trusts_modes(root: str) -> bool:
    """Say whether the file system's executable bits count (``core.fileMode``).

    ``git init`` writes that into the checkout's own configuration, which is read here; git itself is asked when it is
    not there or something may override it.
    """
    overridden = [name for name in os.environ if name.startswith("GIT_CONFIG")]
    own = git.settings(git.text(os.path.join(git.folders(root)[1], "config")))
    if own.get("filemode") in ("true", "false") and not overridden and not {"path", "worktreeconfig"} & set(own):
        return own["filemode"] == "true"
    return git.run(root, "config", "--bool", "core.fileMode", allow_failure=True).strip() != "false"


def _entries(index: str) -> Iterator[Tuple[str, str]]:
    """Yield mode and path of every entry of what git says of an index; there may be many."""
    begin = 0
    while begin < len(index):
        end = index.find("\0", begin)
        yield index[begin : begin + 6], index[index.find("\t", begin) + 1 : end]
        begin = end + 1
