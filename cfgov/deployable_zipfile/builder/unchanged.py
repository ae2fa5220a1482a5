"""Detects that a build would give the same result as the last one, without loading the modules that build.

A build whose outcome follows from what is recorded here leaves a record: the state of every file that it read or looked
for, what git answered, the artifact, and what it printed. While all of that is as it was, the next build with the same
command line and environment prints the same and ends. Otherwise, and whenever in doubt, it builds.

This module is loaded before all others, so it loads little itself.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
import time

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

    Identity = Tuple[int, ...]  # device, inode, size, time of content and of the inode (nanoseconds)
    Answer = Tuple[str, Tuple[str, ...], int, bytes]  # of git: folder, words, exit code, output

    from hashlib import sha256
else:
    # hashlib loads OpenSSL, which takes long.
    try:
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256  # before Python 3.12
        except ImportError:  # a Python without its own
            from hashlib import sha256

_FORMAT = 2  # of a record
_FOLDER = "unchanged"  # in the cache
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# How far apart two changes of a file must be to get two times: a tick of the kernel where times are that fine, else
# two seconds, as on FAT (git's documentation, "racy-git").
_TICK, _COARSE = 20_000_000, 2_100_000_000  # nanoseconds
_OF_THE_SHELL = ("_", "OLDPWD", "PWD", "SHLVL")  # variables that differ from run to run and that nothing here reads


def identity(status: os.stat_result) -> Identity:
    """Return what changes whenever a file is written, replaced or renamed.

    ``touch`` can restore the time of the content, nothing but a clock can restore that of the inode.
    """
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def settles(own: Identity) -> int:
    """Return from which moment on (nanoseconds since 1970) a change of a file must change its identity *own*.

    Before, a change could come in the same tick of the file system's clock and leave no trace.
    """
    return max(own[3:]) + (_TICK if own[4] % 1_000_000 else _COARSE)


def default_folder() -> Optional[str]:
    """Return the user's cache folder for this tool (XDG Base Directory Specification); None when there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home) or not os.path.isdir(home):
            return None
        base = os.path.join(home, ".cache")
    return os.path.join(base, "deployable-zipfile")


def git_environment() -> Dict[str, str]:
    """Return the environment that git is run with."""
    # A hook's GIT_DIR or GIT_INDEX_FILE would make git look at another checkout.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment.update({name: value for name, value in os.environ.items() if name.startswith("GIT_CONFIG")})
    # "git replace" would show another tree under the commit's name.
    environment.update(LC_ALL="C", GIT_OPTIONAL_LOCKS="0", GIT_NO_REPLACE_OBJECTS="1")
    return environment


class Record:
    """What the outcome of a build follows from.

    Parameters:
        began: when the build began, in nanoseconds since 1970.

    Attributes:
        answers: of git.
        holds: False as soon as something was read whose state cannot be recorded.
    """

    def __init__(self, began: int) -> None:
        self.answers: List[Answer] = []
        self.holds = True
        self._began = began
        self._states: Dict[Tuple[str, bool], Identity] = {}
        self._folders: Dict[str, Identity] = {}
        self._leads: Dict[str, str] = {}

    def files(self, paths: Iterable[str], follow: bool = False) -> None:
        """Record the state of *paths*, that they are missing included.

        A file that changed since the build began, or just before, may have been read before it did.

        Parameters:
            follow: of what a symbolic link leads to, instead of the link.
        """
        for path in paths:
            own = _state(path, follow)
            self._states[path, follow] = own
            if own and settles(own) >= self._began:
                self.holds = False

    def tools(self, paths: Iterable[str]) -> None:
        """Record where each of *paths* leads, and the state of what is there; a tool may act by its name."""
        for path, real, own in traced(paths):
            self.files([path], follow=True)
            if own:
                self.leads(path, real)

    def below(self, folders: Iterable[str]) -> None:
        """Record that *folders* are where they are, and no links to other places."""
        for folder in folders:
            self._folders[folder] = _place(folder)

    def leads(self, path: str, real: str) -> None:
        """Record that *path* leads to *real*."""
        self._leads[path] = real

    def keep(
        self, folder: str, words: Sequence[str], artifact: str, checksum: str, said: Tuple[Sequence[str], str]
    ) -> None:
        """Write the record, if it holds, into the cache in *folder*.

        Parameters:
            words: of the command line.
            artifact, checksum: paths of what was built; their content is known to be right.
            said: lines for stderr, and the text for stdout.

        Raises:
            OSError: it cannot be written.
        """
        first = len(self._states)  # those of the project: what changes most often is looked at first
        self.files(own_files())
        path, key = _record(folder, words)
        own = _state(artifact, False)
        answers = _each_once(self.answers)
        if not self.holds or answers is None or not path or _cache_folder(words) != folder:
            return
        if settles(own) >= time.time_ns():
            return
        states = [(*name, own) for name, own in self._states.items()]
        with open(checksum, "rb") as file:
            beside = checksum, file.read()
        content = marshal.dumps(
            {
                "key": key,
                "first": [(artifact, False, own), *states[:first]],
                "states": states[first:],
                "folders": list(self._folders.items()),
                "leads": list(self._leads.items()),
                "answers": answers,
                "checksum": beside,
                "said": (list(said[0]), said[1]),
            }
        )
        from .. import durable

        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        durable.replace_file(path, sha256(content).digest() + content, 0o600)


def repeated(words: Sequence[str]) -> bool:
    """Print what the last build with the command line *words* printed, if nothing changed since; say whether it did."""
    folder = _cache_folder(words)
    path, key = _record(folder, words) if folder else ("", "")
    record = _read(path) if path else None
    if record is None or record["key"] != key:
        return False
    try:
        if not _are(record["first"]):  # then git is not started in vain
            return False
        with _Asked(record["answers"]) as asked:
            holds = _holds(record) and asked.are_as_before()
    except OSError:
        return False
    return holds and _say(words, *record["said"])


def _holds(record: Dict[str, Any]) -> bool:
    path, content = record["checksum"]
    with open(path, "rb") as file:
        if file.read(len(content) + 1) != content:
            return False
    if any(os.path.realpath(path) != real for path, real in record["leads"]):
        return False
    if any(_place(path) != own for path, own in record["folders"]):
        return False
    return _are(record["states"])


def _are(states: Iterable[Tuple[str, bool, Identity]]) -> bool:
    return all(_state(path, follow) == own for path, follow, own in states)


def _each_once(answers: Sequence[Answer]) -> Optional[List[Answer]]:
    """Return *answers* without repetitions; None when git was asked the same twice and said something else."""
    found: Dict[Tuple[str, Tuple[str, ...]], Answer] = {}
    for answer in answers:
        if found.setdefault(answer[:2], answer) != answer:
            return None
    return list(found.values())


def _say(words: Sequence[str], lines: Sequence[str], text: str) -> bool:
    """Print as the console does; what stdout does not take is left for a build, which can say so."""
    if sys.stdout is None or sys.stderr is None:
        return False
    if not {"--quiet", "-q"} & set(words):
        lines = ["Nothing that the last build read has changed since", *lines]
    try:
        for stream, part in ((sys.stderr, "\n".join(lines)), (sys.stdout, text)):
            if part:
                encoding = stream.encoding or "utf-8"
                stream.write(part.encode(encoding, "backslashreplace").decode(encoding) + "\n")
                stream.flush()
    except OSError:
        return False
    return True


def _state(path: str, follow: bool) -> Identity:
    """Return the identity of what is at *path*, () when there is nothing."""
    try:
        return identity(os.stat(path) if follow else os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _place(folder: str) -> Identity:
    status = os.lstat(folder)
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode)


def own_files() -> Iterator[str]:
    """Yield the files and folders of this package, which is packed and decides how, and the running Python."""
    yield os.path.realpath(sys.executable)
    for folder, folders, names in os.walk(_PACKAGE):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield folder
        yield from (os.path.join(folder, name) for name in names)


def states(paths: Iterable[str]) -> List[Tuple[str, Identity]]:
    """Return each of *paths* with the identity of what it leads to, () when there is nothing."""
    return [(path, _state(path, True)) for path in paths]


def traced(paths: Iterable[str]) -> List[Tuple[str, str, Identity]]:
    """Return each of *paths*, the path that it leads to, and the identity of what is there; "" and () for nothing."""
    return [(path, os.path.realpath(path) if own else "", own) for path, own in states(paths)]


def environment() -> Tuple[Any, ...]:
    """Return what a build depends on beside files: this tool and Python, the machine, the folder, the variables.

    Variables may hold secrets, so only a digest of this may be kept.

    Raises:
        OSError: the working directory is gone.
    """
    variables = sorted((name, value) for name, value in os.environ.items() if name not in _OF_THE_SHELL)
    python = sys.version, sys.executable, sys.path, repr(sys.flags)
    machine = tuple(os.uname())[2:], os.uname().sysname, os.confstr("CS_GNU_LIBC_VERSION"), os.getuid()
    return __version__, _PACKAGE, python, machine, os.getcwd(), variables


def _record(folder: str, words: Sequence[str]) -> Tuple[str, str]:
    """Return path and key of the record of a build with *words* whose cache is in *folder*; "" when there is none."""
    try:
        about = repr((_FORMAT, environment(), list(words)))
    except OSError:
        return "", ""
    key = sha256(about.encode("utf-8", "backslashreplace")).hexdigest()
    return os.path.join(folder, _FOLDER, key[:2], key), key


def _cache_folder(words: Sequence[str]) -> Optional[str]:
    """Return the cache's folder as far as the command line says it."""
    folder = None
    for number, word in enumerate(words):
        if word == "--no-cache":
            return None
        if word == "--cache-dir" and number + 1 < len(words):
            folder = words[number + 1]
        elif word.startswith("--cache-dir="):
            folder = word.partition("=")[2]
    return os.path.abspath(folder) if folder else default_folder()


def _read(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    if sha256(content[32:]).digest() != content[:32]:
        return None
    found: Dict[str, Any] = marshal.loads(content[32:])
    return found


class _Asked:
    """Questions put to git once more, all at the same time."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._running: List[Tuple[int, int]] = []  # process, descriptor of its output

    def __enter__(self) -> _Asked:
        here = os.open(os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder, words, _, _ in self._answers:
                os.chdir(folder)
                self._running.append(_started(["git", *words]))
        except OSError:
            self.__exit__()
            raise
        finally:
            os.fchdir(here)
            os.close(here)
        return self

    def __exit__(self, *_: object) -> None:
        while self._running:
            self._answer()

    def are_as_before(self) -> bool:
        """Say whether git answers as it did."""
        return all(self._answer() == (code, output) for _, _, code, output in self._answers)

    def _answer(self) -> Tuple[int, bytes]:
        process, descriptor = self._running.pop(0)
        with os.fdopen(descriptor, "rb") as file:
            output = file.read()
        status = os.waitpid(process, 0)[1]
        return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1), output


def _started(words: Sequence[str]) -> Tuple[int, int]:
    """Start a program as ``subprocess`` does, whose import takes longer than git; return process and output."""
    import signal

    output, theirs = os.pipe()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        process = os.posix_spawnp(
            words[0],
            list(words),
            git_environment(),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, theirs, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
            ],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError:
        os.close(output)
        raise
    finally:
        os.close(theirs)
        os.close(null)
    return process, output
