"""Runs git, and says what a checkout uses that an old git cannot read."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Iterator, List, Mapping, NoReturn, Tuple

from .. import durable, process
from ..definitions import expression
from ..errors import BuildInputError
from . import unchanged

_PATIENCE = 3600.0  # seconds for one call of git: a status of a large checkout reads every file
_OF_OBJECTS = ("cat-file", "ls-tree")  # what these commands say of an object cannot change
Answered = Tuple[str, Tuple[str, ...], int, bytes]  # folder, words, exit code and output
_LISTENING: List[List[Answered]] = []  # see listened
_BRANCH = expression(r"ref: (refs/heads/[\x21-\x7e]+)\n\Z")
_OBJECT = expression(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\n\Z")
# Settings that let git look for commit, index or working tree elsewhere (git-config), sections left aside.
_ELSEWHERE = {"path", "refstorage", "worktree", "worktreeconfig"}
# What a checkout can use and the first git that reads it (its release notes).
_LINKED = ("is a linked worktree", (2, 5), "Use a clone")
_FORMAT = ("has repository format 1", (2, 7), "Use a clone")
_SPLIT = ("has a split index", (2, 3), "Run git update-index --no-split-index with the newer git")
_SPARSE = ("has a sparse index", (2, 32), "Run git sparse-checkout disable with the newer git")
_REFTABLE = ("keeps its references in a reftable", (2, 45), "Use a clone")
_SHA256 = ("uses SHA-256 object names", (2, 29), "Use a clone with SHA-1")


@contextlib.contextmanager
def listened(answers: List[Answered]) -> Iterator[None]:
    """Add what git says of the checkout, not of an object, to *answers*: folder, words, exit code and output."""
    _LISTENING.append(answers)
    try:
        yield
    finally:
        _LISTENING.remove(answers)


def run(folder: str, *arguments: str, allow_failure: bool = False) -> str:
    """Return what git says in *folder* as text; otherwise as :func:`output`."""
    return os.fsdecode(output(folder, *arguments, allow_failure=allow_failure))


def output(folder: str, *arguments: str, allow_failure: bool = False) -> bytes:
    """Return what git says in *folder*.

    Raises:
        BuildInputError: git is missing, or failed and that is not allowed.
    """
    try:
        done = process.answer(["git", *arguments], _PATIENCE, folder, unchanged.git_environment())
    except OSError as error:
        raise BuildInputError(
            folder, f"is a git checkout, and git cannot be run ({error.strerror})", "Install git, or use --all-files"
        ) from None
    if arguments[0] not in _OF_OBJECTS:
        for answers in _LISTENING:
            answers.append((folder, arguments, done.status, done.stdout))
    if done.status and not allow_failure:
        _refuse(folder, arguments[0], done.stderr.strip())
    return done.stdout


def _refuse(folder: str, command: str, text: str) -> NoReturn:
    if "dubious ownership" in text or "unsafe repository" in text:
        raise BuildInputError(
            folder,
            "is a git checkout of another user, which git refuses to read",
            f"Run git config --global --add safe.directory {folder}, or use --all-files",
        )
    version = _version(folder)
    for what, needed, fix in _features(folder):
        if version and version < needed:
            raise BuildInputError(
                folder,
                f"{what}, which git reads since {'.'.join(map(str, needed))}; this is {'.'.join(map(str, version))}",
                f"{fix}, or install a newer git (CentOS 7: rh-git227-git), or use --all-files",
            )
    raise BuildInputError(
        folder,
        f"git {command} failed ({(text.splitlines() or ['no output'])[-1]})",
        "Repair the checkout, or use --all-files",
    )


def top(folder: str) -> str:
    """Return the folder, *folder* or one above it, that has a ``.git``; the file system's root when none has."""
    above = os.path.realpath(folder)
    return next((one for one in durable.upwards(above) if os.path.lexists(os.path.join(one, ".git"))), os.sep)


def folders(folder: str) -> Tuple[str, str]:
    """Return git's own folder of the checkout that holds *folder*, and the one that its worktrees share."""
    above = top(folder)
    place = os.path.join(above, ".git")
    if os.path.isfile(place):
        place = os.path.join(above, text(place).partition("gitdir: ")[2].strip())
    shared = text(os.path.join(place, "commondir")).strip()
    return place, os.path.join(place, shared) if shared else place


def deciding(root: str) -> List[str]:
    """Return the files that decide which commit is checked out at *root* and what is tracked, those missing included.

    Empty for a checkout of an unusual form, where only git knows.
    """
    place, shared = folders(root)
    head, configuration = os.path.join(place, "HEAD"), os.path.join(place, "config")
    branch = _BRANCH.match(text(head))
    if place != shared or os.path.isfile(os.path.join(root, ".git")) or _ELSEWHERE & set(settings(text(configuration))):
        return []
    found = [head, configuration, *(os.path.join(place, name) for name in ("commondir", "packed-refs", "index"))]
    if branch is None:
        return found if _OBJECT.match(text(head)) else []
    found.append(os.path.join(place, branch.group(1)))
    return found if not os.path.lexists(found[-1]) or _OBJECT.match(text(found[-1])) else []


def _version(folder: str) -> Tuple[int, ...]:
    done = process.answer(["git", "--version"], _PATIENCE, folder, dict(os.environ))
    match = re.match(rb"git version (\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in match.group(1).split(b".")) if match else ()


def _features(folder: str) -> List[Tuple[str, Tuple[int, int], str]]:
    """Return what the checkout of *folder* uses that an old git cannot read, read without git."""
    place, common = folders(folder)
    found = [_LINKED] if common != place else []
    configuration = settings(text(os.path.join(common, "config")))
    index = text(os.path.join(place, "index"))
    tests: List[Tuple[bool, Tuple[str, Tuple[int, int], str]]] = [
        (configuration.get("objectformat") == "sha256", _SHA256),
        (configuration.get("refstorage") == "reftable", _REFTABLE),
        (configuration.get("repositoryformatversion", "0") != "0", _FORMAT),
        (any(name.startswith("sharedindex.") for name in os.listdir(place)) and "link\0" in index, _SPLIT),
        (configuration.get("sparse") == "true" and "sdir\0" in index, _SPARSE),
    ]
    return found + [feature for present, feature in tests if present]


def settings(text: str) -> Mapping[str, str]:
    """Return the last value of each key of a git configuration, sections left aside, in lower case."""
    pairs = re.findall(r"^\s*([A-Za-z][A-Za-z0-9-]*)\s*=\s*(.*?)\s*$", text, re.MULTILINE)
    return {key.lower(): value.strip('"').lower() for key, value in pairs}


def text(path: str) -> str:
    """Return the content of a file of git's, "" when there is none."""
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError:
        return ""
