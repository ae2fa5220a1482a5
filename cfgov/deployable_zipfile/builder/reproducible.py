"""The proof that an artifact is reproducible: a second build in other surroundings, compared member by member.

A chapter beside ``pack.py``. The second build is a process of its own: another folder, another time of every file,
another umask, locale, time zone, hash seed and temporary folder, one process, and no cache, so every wheel is fetched
and every sdist built again. SOURCE_DATE_EPOCH and the settings of pip stay, since they are part of what is built.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import zipfile
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from .. import durable, process
from ..artifact import layout
from ..definitions import NamedTuple
from ..errors import BuildInputError, DeployableZipfileError, WheelError
from . import checkout, exclusions
from .options import BuildOptions, Context

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from deployable_zipfile import create; create.again()"
# A shell is what can give another umask to a program.
_WITH_UMASK = 'umask 077; exec "$@"'
_PATIENCE = 24 * 3600.0  # seconds for the second build; its runs of pip have the time-out of the settings
# Options that are paths.
_PATHS = ("file", "project", "requirements", "extra_static", "extra_requirements", "build_constraint")
_THEN = 981_173_106  # seconds since 1970 UTC: the time that every copied file gets
_NAMED = 5  # inner members that the error names; all are listed before
# These say what is in the others, so they differ whenever one of those does.
_CONCLUDED = (layout.MANIFEST, layout.SBOM)


class Difference(NamedTuple):
    """One member that two builds made differently."""

    member: str
    why: str  # "has other bytes", "is in one of them only"
    inner: Tuple[str, ...] = ()  # what differs in a wheel, a bytecode archive or a payload

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.member}: {self.why}" + (f": {', '.join(self.inner)}" if self.inner else "")


def check(path: str, context: Context, has_commit: bool, work: str) -> None:
    """Build again from a copy in other surroundings, name what came out differently, and refuse it.

    Parameters:
        path: of the artifact.
        has_commit: whether it is from a git checkout with a commit, all of which is copied.
        work: scratch folder.

    Raises:
        DeployableZipfileError: the second build failed, or made other bytes.
    """
    options = context.options
    root = checkout.find(options.project).root if has_commit else ""
    root = root or os.path.realpath(options.base or options.project)
    paths = {name: getattr(options, name) for name in _PATHS}
    whole = {
        name: (os.path.abspath(value) if value else "") if isinstance(value, str) else [*map(os.path.abspath, value)]
        for name, value in paths.items()
    }
    text = "Building a second time in other surroundings"
    with context.console.phase(text), tempfile.TemporaryDirectory(prefix="reproducible-", dir=work) as folder:
        moved = copied(root, {"cwd": os.getcwd(), **whole}, folder)
        cwd = moved.pop("cwd")
        output = os.path.join(folder, "again")
        further = {"output": output, "cache": False, "cache_dir": "", "workers": 1}
        second({**options._asdict(), **moved, **further}, cwd, folder, _PATIENCE)
        differences = compare(path, f"{output}.zip")
    for difference in differences:
        context.warn(f"two builds differ: {difference}")
    refuse(differences)
    context.console.step("Reproducible: the second build produced the same bytes")


def given(path: str) -> BuildOptions:
    """Return the options that :func:`second` wrote to *path*."""
    with open(path, encoding="utf-8") as file:
        values: Dict[str, Any] = json.load(file)
    for name, value in values.items():
        values[name] = tuple(value) if isinstance(value, list) else value
    return BuildOptions(**values)


def copied(root: str, paths: Mapping[str, Any], folder: str) -> Dict[str, Any]:
    """Copy the tree *root* into *folder*, with other times, and return *paths* as they are there.

    What is never packed is not copied, git's own folder excepted.

    Parameters:
        root: absolute real path.
        paths: absolute paths, or sequences of them; those outside *root* stay, as does an empty one.
    """
    target = os.path.join(folder, "another folder")

    def left_out(where: str, names: List[str]) -> List[str]:
        del where
        return [name for name in names if name != ".git" and exclusions.is_never_packed(name)]

    shutil.copytree(root, target, symlinks=True, ignore=left_out)
    for where, _, names in os.walk(target):
        if ".git" not in where[len(target) :].split(os.sep):
            for name in names:
                os.utime(os.path.join(where, name), (_THEN, _THEN), follow_symlinks=False)

    def moved(path: str) -> str:
        if not path:  # an option that was not given, and no name of the working directory
            return path
        real = os.path.realpath(path)
        return os.path.join(target, os.path.relpath(real, root)) if (real + os.sep).startswith(root + os.sep) else path

    return {
        name: moved(value) if isinstance(value, str) else [moved(path) for path in value]
        for name, value in paths.items()
    }


def second(options: Mapping[str, Any], cwd: str, work: str, timeout: float) -> None:
    """Build again in other surroundings.

    Parameters:
        options: of the build, by the names of its fields.
        cwd: the working directory.
        work: scratch folder.
        timeout: seconds.

    Raises:
        DeployableZipfileError: of the kind that ended the second build.
    """
    path = os.path.join(work, "options.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(dict(options), file)
    temporary = os.path.join(work, "other temporary files")
    os.mkdir(temporary)
    environment = dict(
        os.environ, LC_ALL="C" if os.environ.get("LC_ALL") != "C" else "C.UTF-8", TZ="Asia/Kathmandu",
        PYTHONHASHSEED="4711", TMPDIR=temporary, COLUMNS="60",
    )  # fmt: skip
    command = ["/bin/sh", "-c", _WITH_UMASK, "sh", sys.executable, "-c", _PROGRAM, os.path.dirname(_PACKAGE), path]
    ended = process.run(command, timeout, cwd, environment)
    if ended.status or ended.timed_out:
        raise _failure(ended)


def compare(one: str, other: str) -> List[Difference]:
    """Return how the artifacts at two paths differ: nothing when they are the same bytes."""
    if durable.digest(one, follow=True) == durable.digest(other, follow=True):
        return []
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second_:
        found = list(_differing(first, second_))
        further = [difference for difference in found if difference.member not in _CONCLUDED]
        return further or found or [Difference("the artifact", "has the same members, and other bytes between them")]


def refuse(differences: Sequence[Difference]) -> None:
    """Refuse an artifact that is not reproducible.

    Raises:
        WheelError: a wheel differs, or its bytecode.
        BuildInputError: something else does.
    """
    if not differences:
        return
    first = next((one for one in differences if layout.is_wheel(one.member)), differences[0])
    inner = ", ".join(first.inner[:_NAMED]) + (f" and {len(first.inner) - _NAMED} more" if first.inner[_NAMED:] else "")
    more = f"; {len(differences) - 1} other members differ too" if len(differences) > 1 else ""
    why = f"two builds made it differently ({inner or first.why}){more}"
    if layout.is_wheel(first.member):
        raise WheelError(first.member, why, "Lock a version with a wheel, or make its build depend only on its source")
    raise BuildInputError(first.member, why, "Build when nothing changes the project, and report it")


def _failure(ended: process.Ended) -> DeployableZipfileError:
    """Return the error of the second build as ours, of its kind."""
    lines = [line for line in ended.output.splitlines() if line.startswith("error: ")]
    why = lines[-1][len("error: ") :].rstrip(".") if lines else ended.why()
    kind = WheelError if ended.status == WheelError.exit_code else BuildInputError
    return kind("the second build", f"failed, so nothing can be compared ({why})", "Solve that, and build again")


def _differing(first: zipfile.ZipFile, other: zipfile.ZipFile) -> Iterable[Difference]:
    ours, theirs = ({info.filename: info for info in archive.infolist()} for archive in (first, other))
    for name in sorted(set(ours) | set(theirs)):
        if name not in ours or name not in theirs:
            yield Difference(name, "is in one of them only")
        elif ours[name].external_attr != theirs[name].external_attr:
            yield Difference(name, "has another mode")
        elif first.read(name) != other.read(name):
            yield Difference(name, "has other bytes", _inner(first, other, name))


def _inner(first: zipfile.ZipFile, other: zipfile.ZipFile, name: str) -> Tuple[str, ...]:
    """Return what differs in the member *name* that is an archive itself."""
    if not name.endswith((".whl", ".zip")):
        return ()
    try:
        with first.open(name) as one, other.open(name) as two, zipfile.ZipFile(one) as a, zipfile.ZipFile(two) as b:
            return tuple(difference.member for difference in _differing(a, b)) or ("the same files, packed otherwise",)
    except zipfile.BadZipFile:  # a project's own file of such a name
        return ()
