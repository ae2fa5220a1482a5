"""Runs pip: fetches what a lock names, and builds sdists to wheels, in an environment that does not vary.

pip resolves and downloads; nothing of it is imported. Which pip: the one pinned in ``bootstrap.txt``, which is fetched
once, so that resolution and messages do not depend on the pip that an interpreter happens to have.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import time
import zipfile
from typing import Callable, Collection, Dict, List, Sequence, Tuple

from packaging.version import Version

from .. import process
from ..definitions import NamedTuple, expression
from ..errors import BuildInputError, Interrupted, conceal, masked
from . import pip_output

BOOTSTRAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap.txt")
_EPOCH = "315532800"  # 1980-01-01: what is built from an sdist depends on the lock, not on the commit
# Settings of pip that would change what is fetched, or where it goes; index, proxy and certificate settings stay.
_UNWANTED = (
    "PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON", "PIP_DRY_RUN", "PIP_REPORT", "PIP_NO_DEPS",
    "PIP_REQUIRE_VIRTUALENV", "PIP_REQUIREMENT", "PIP_REQUIRE_HASHES", "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT",
    "PIP_DEST", "PIP_PLATFORM", "PIP_PYTHON_VERSION", "PIP_ABI",
    "PIP_IMPLEMENTATION", "PIP_WHEEL_DIR", "PIP_QUIET", "PIP_VERBOSE", "PIP_LOG", "PYTHONPATH", "PYTHONHOME",
    "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE",
    # Set inside of git's hooks; they would hold for the repository of a requirement too.
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE",
)  # fmt: skip
# Where a network's own index, or none, is set; what a wheelhouse replaces.
_INDEX = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONFIG_FILE")
_BINARY = expression(r"^--(?:no|only)-binary \S+", re.MULTILINE)
_BINARY_VARIABLES = ("PIP_NO_BINARY", "PIP_ONLY_BINARY")
_NO_INDEX = expression(r"^\s*--no-index\b", re.MULTILINE)
# Set against what a configuration file says: a run of pip here needs no virtual environment, takes no hashes for the
# sdist that it builds, resolves unless it is told not to, and its output says why it failed.
_OWN = {
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_REQUIRE_HASHES": "0",
    "PIP_NO_DEPS": "0",
    "PIP_QUIET": "0",
    "PIP_VERBOSE": "0",
}
_BUILD_CONSTRAINTS_SINCE = Version("25.3")  # of pip; earlier ones obey PIP_CONSTRAINT in build environments
_DOWNLOADS = ("http", "http-v2")  # folders of pip's cache that hold what was downloaded
# Debian keeps these wheels in a place of its own.
_BUNDLED = """
import ensurepip, os, sysconfig
print(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"))
print(sysconfig.get_config_var("WHEEL_PKG_DIR") or "")
"""
_PATIENCE = 300.0  # seconds for an interpreter to answer, or to make a virtual environment


class Runner(NamedTuple):
    """How pip is run for one interpreter.

    Attributes:
        command: interpreter and pip.
        work: scratch folder, also pip's temporary folder.
        cache: folder for pip's own cache, "" for none.
        logs: folder for the output of runs that fail.
        timeout: seconds after which a run is given up.
        version: of pip, "" when it is any.
        constraints: paths of files that constrain what build environments get.
        offline: no index and no setting that names one.
        fetched: called, while a download runs, with how many more files it has.
        no_index: what forbids the package index: an option, a variable or a setting; "" when nothing does.
    """

    command: Tuple[str, ...]
    work: str
    cache: str
    logs: str
    timeout: float
    version: str = ""
    constraints: Tuple[str, ...] = ()
    offline: bool = False
    fetched: Callable[[int], object] = int  # called with how many more files a download has come to
    no_index: str = ""


class NotFound(BuildInputError):
    """No file of the package index fits a requirement."""


def starting_command(interpreters: Sequence[str], work: str) -> Tuple[str, ...]:
    """Return a command that runs any pip at all, to fetch the pinned one.

    Tried in this order: the interpreters' own pips, then a virtual environment with the pip of ``ensurepip``.

    Raises:
        BuildInputError: no interpreter has a pip or can make one.
    """
    for interpreter in interpreters:
        if _runs([interpreter, "-I", "-m", "pip", "--version"]):
            return interpreter, "-I", "-m", "pip"
    for number, interpreter in enumerate(interpreters):
        folder = os.path.join(work, f"venv-{number}")
        if _runs([interpreter, "-I", "-m", "venv", folder]):
            return os.path.join(folder, "bin", "python"), "-I", "-m", "pip"
    raise BuildInputError(
        interpreters[0], "has neither pip nor ensurepip", "Install pip for the Python that builds (python3-pip)"
    )


def bundled(interpreters: Sequence[str]) -> List[str]:
    """Return the folders with the wheels of pip that *interpreters* have for ``ensurepip``."""
    found: List[str] = []
    for interpreter in interpreters:
        try:
            done = process.answer([interpreter, "-I", "-c", _BUNDLED], _PATIENCE, os.curdir, _inherited())
        except (OSError, subprocess.SubprocessError):
            continue
        found += [path for path in done.stdout.decode("utf-8", "replace").splitlines() if os.path.isdir(path)]
    return sorted(set(found))


def unpacked(wheel: str, interpreter: str, folder: str) -> Tuple[str, ...]:
    """Unpack the pip in *wheel* into *folder* and return the command that runs it with *interpreter*."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return interpreter, "-I", os.path.join(folder, "pip")


def download(runner: Runner, arguments: Sequence[str], lines: str) -> List[str]:
    """Fetch what is asked for and return the paths of the files, wheels and sdists, sorted.

    Parameters:
        arguments: further arguments of ``pip download``.
        lines: text of a requirements file.

    Raises:
        NotFound: the package index has no file that fits.
        BuildInputError: pip failed; the message names requirement and cause, the log has the rest.
    """
    folder = _fresh(runner, "download")
    os.mkdir(folder)
    words = ["download", "--dest", folder, *arguments, "--requirement", _file_of(folder, lines)]
    try:
        run(_told(runner, lines), words)
    except NotFound as error:
        limits = ", ".join(_limits(lines))
        raise NotFound(error.what, f"{error.why} (with {limits})" if limits else error.why, error.fix) from None
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def build(runner: Runner, lines: str) -> str:
    """Build one requirement with ``pip wheel`` and return the path of the wheel.

    Parameters:
        lines: text of a requirements file: options, and the line of what is to be built.

    Raises:
        BuildInputError: it cannot be built.
    """
    folder = _fresh(runner, "wheel")
    os.mkdir(folder)
    # An sdist may be for another patch release than the one that builds it.
    arguments = ["--no-deps", "--ignore-requires-python", "--wheel-dir", folder]
    run(_told(runner, lines)._replace(fetched=int), ["wheel", *arguments, "--requirement", _file_of(folder, lines)])
    names = os.listdir(folder)
    if len(names) != 1:
        raise BuildInputError(lines.splitlines()[-1], f"made {len(names)} wheels instead of one", "Report it")
    return os.path.join(folder, names[0])


def _told(runner: Runner, lines: str) -> Runner:
    """Return *runner* with what the requirements *lines* themselves say of the package index."""
    closed = not runner.no_index and _NO_INDEX.search(lines)
    return runner._replace(no_index="--no-index in the requirements") if closed else runner


def _limits(lines: str) -> List[str]:
    """Return what keeps pip from wheels or from sdists: options of the requirements *lines*, and variables."""
    return _BINARY.findall(lines) + [f"{name}={os.environ[name]}" for name in _BINARY_VARIABLES if os.environ.get(name)]


def _file_of(folder: str, lines: str) -> str:
    """Write *lines* beside *folder*. In a file they show in no list of processes, where an argument would."""
    path = folder + ".txt"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(lines)
    return path


def run(runner: Runner, arguments: Sequence[str]) -> None:
    """Run pip with *arguments*.

    Raises:
        BuildInputError: it failed or took too long; its output is in a log whose path is named.
        Interrupted: it was ended by Ctrl-C.
    """
    for name, value in os.environ.items():
        if name.upper().startswith("PIP_"):
            conceal(value)
    log = _fresh(runner, "log") + ".txt"
    with open(log, "w", encoding="utf-8", buffering=1) as file:
        progress = pip_output.Progress(runner.fetched)

        def take(text: str) -> None:
            file.write(text)
            progress.feed(text)

        command = [*runner.command, *arguments]
        ended = process.run(command, runner.timeout, cwd=os.curdir, env=_environment(runner), log=take)
    if ended.timed_out:
        why = f"took longer than {runner.timeout:.0f} seconds"
        raise BuildInputError(f"pip {arguments[0]}", why, "Look at the network, or give --timeout")
    if ended.status:
        with open(log, encoding="utf-8", errors="replace") as file:
            text = masked(file.read())
        kept = _kept_log(runner, text)
        if ended.status == -signal.SIGINT:
            raise Interrupted(f"pip {arguments[0]}", "was interrupted", "Build again")
        failure = pip_output.explained(text, arguments, runner.no_index)
        kind = NotFound if failure.not_found else BuildInputError
        raise kind(failure.what, failure.why, f"{failure.fix}. The output is in {kept}")


def _environment(runner: Runner) -> Dict[str, str]:
    unwanted = (*_UNWANTED, *(_INDEX if runner.offline else ()))
    environment = _inherited(unwanted)
    environment.update(
        _OWN,
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INPUT="1",
        PIP_PROGRESS_BAR="off",
        PIP_NO_COLOR="1",
        PIP_NO_PYTHON_VERSION_WARNING="1",
        PIP_ROOT_USER_ACTION="ignore",
        PIP_RETRIES=os.environ.get("PIP_RETRIES", "3"),
        SOURCE_DATE_EPOCH=_EPOCH,
        PYTHONHASHSEED="0",
        PYTHONUTF8="1",
        TZ="UTC",
        LC_ALL="C",
        LANGUAGE="C",
        COLUMNS="400",  # pip breaks lines at the width of a terminal, in the middle of a URL too
        TMPDIR=runner.work,
        # Debug information names the temporary folder of the build.
        CFLAGS=(os.environ.get("CFLAGS", "") + " -g0").strip(),
        CXXFLAGS=(os.environ.get("CXXFLAGS", "") + " -g0").strip(),
    )
    if runner.offline:
        environment.update(PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    if runner.constraints:
        old = runner.version and Version(runner.version) < _BUILD_CONSTRAINTS_SINCE
        environment["PIP_CONSTRAINT" if old else "PIP_BUILD_CONSTRAINT"] = " ".join(runner.constraints)
    environment.update(_identity(runner, environment))
    environment.update({"PIP_CACHE_DIR": _downloads(runner)} if runner.cache else {"PIP_NO_CACHE_DIR": "1"})
    return environment


def _identity(runner: Runner, environment: Dict[str, str]) -> Dict[str, str]:
    """Return what git and Python need of a user, for a process whose uid has no entry in the passwd file."""
    found = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_COMMITTER_NAME": environment.get("GIT_COMMITTER_NAME") or "deployable-zipfile",
        "GIT_COMMITTER_EMAIL": environment.get("GIT_COMMITTER_EMAIL") or "deployable-zipfile@localhost",
    }
    if not os.path.isdir(environment.get("HOME", "")):
        found["HOME"] = runner.work
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        found["USER"] = environment.get("USER") or "builder"
        found["LOGNAME"] = environment.get("LOGNAME") or found["USER"]
    return found


def _downloads(runner: Runner) -> str:
    """Return a folder for pip's cache that keeps downloads but no wheel that pip built.

    pip finds those only by URL, so it would hand out a wheel that another compiler made, or of another content.
    """
    folder = os.path.join(runner.work, "pip-cache")
    for name in _DOWNLOADS:
        os.makedirs(os.path.join(runner.cache, name), mode=0o700, exist_ok=True)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.symlink(os.path.abspath(os.path.join(runner.cache, name)), os.path.join(folder, name))
    return folder


def _fresh(runner: Runner, stem: str) -> str:
    """Return a path in the scratch folder that nothing uses yet."""
    number = 0
    while any(os.path.lexists(os.path.join(runner.work, f"{stem}-{number}{end}")) for end in ("", ".txt")):
        number += 1
    return os.path.join(runner.work, f"{stem}-{number}")


def _kept_log(runner: Runner, text: str) -> str:
    os.makedirs(runner.logs, mode=0o700, exist_ok=True)
    path = os.path.join(runner.logs, f"pip-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _runs(command: Sequence[str]) -> bool:
    try:
        return process.run(command, _PATIENCE, os.curdir, _inherited()).status == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _inherited(unwanted: Collection[str] = _UNWANTED) -> Dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in unwanted}
