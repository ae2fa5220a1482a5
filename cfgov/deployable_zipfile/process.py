"""Runs other programs, for every module but ``builder/unchanged.py``, which loads too early for it.

A program gets none of what this process inherited or changed: see :mod:`inherited` for what that is. Its output is
read while it runs, it is stopped with everything that it started when its time is over, and nothing of it is left.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import pwd
import signal
import sys
import time
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Optional, Sequence

from . import durable, inherited
from .definitions import NamedTuple
from .signals import unbroken

if TYPE_CHECKING:  # :func:`run` imports it: most commands start no program
    import subprocess

# The environment that a program starts with unless it is told more. LD_LIBRARY_PATH and X_SCLS: the Python of a
# software collection does not start without them.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "X_SCLS")
_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_MOST_OUTPUT = 1024 * 1024  # characters of a program's output that are kept for its caller, the last ones
_POLL = 0.05  # seconds between two looks whether a program that says nothing has ended
_SHORTEST, _GROWTH = 0.0005, 1.25  # seconds between the first two looks after a short one, and from look to look
_LAST_WORDS = 0.2  # seconds for the rest of the output of a program that has ended
_ID_DIGITS = 10  # of the largest number of a user
_PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


class Person(NamedTuple):
    """A user that a program runs as."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


class Ended(NamedTuple):
    """How a program ended."""

    status: int  # exit status; negative: ended by that signal
    output: str  # its end, as the sink was given it
    seconds: float
    timed_out: bool = False  # it was stopped

    def why(self) -> str:
        """Return the ending in a few words."""
        if self.timed_out:
            return f"did not end within {self.seconds:.0f} s and was stopped"
        return described(self.status)


class Answer(NamedTuple):
    """How a program ended, with what it wrote to stdout kept apart."""

    status: int  # exit status; negative: ended by that signal
    stdout: bytes  # all of it
    stderr: str  # its end
    timed_out: bool = False  # it was stopped


class Sink:
    """Takes the output of one program, piece by piece, and gives back what may be shown and kept: here, all of it."""

    def feed(self, text: str) -> str:
        """Take *text*; return what is certain to be shown by now."""
        return text

    def end(self) -> str:
        """Return the rest."""
        return ""


def described(status: int) -> str:
    """Return an exit status in a few words; negative: ended by that signal."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"


def person(name: str) -> Person:
    """Return the user *name*, or of that number.

    Raises:
        KeyError: there is no such user.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        if not (name.isascii() and name.isdigit() and len(name) <= _ID_DIGITS):
            raise
        entry = pwd.getpwuid(int(name))
    return Person(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


def environment(user: Optional[Person] = None, inherited: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return the environment that programs start with: the same from a terminal, from cron and with an empty one.

    Parameters:
        user: HOME, USER, LOGNAME and SHELL are this user's; None: those of the caller, else of this process's user.
        inherited: the caller's environment; None: that of this process.
    """
    inherited = os.environ if inherited is None else inherited
    kept = {key: value for key, value in inherited.items() if key in _PASSED_ON or key.startswith("LC_")}
    kept["PATH"] = search_path(kept.get("PATH", ""))
    found = user
    if found is None:
        with contextlib.suppress(KeyError):  # a uid without an entry has no home
            entry = pwd.getpwuid(os.geteuid())
            found = Person(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)
    if found is not None:
        own = {"HOME": found.home, "USER": found.name, "LOGNAME": found.name, "SHELL": found.shell or "/bin/sh"}
        kept = {**kept, **own} if user is not None else {**own, **kept}
    return kept


def search_path(path: Optional[str] = None) -> str:
    """Return *path*, else PATH, with the folders of system commands at its end where they are missing: cron has few."""
    folders = [one for one in (os.environ.get("PATH", "") if path is None else path).split(":") if one]
    return ":".join(folders + [one for one in _FOLDERS if one not in folders])


def run(
    words: Sequence[str],
    timeout: float,
    cwd: str = "/",
    env: Optional[Mapping[str, str]] = None,
    user: Optional[Person] = None,
    sink: Optional[Sink] = None,
    log: Callable[[str], object] = lambda _: None,
    started: Callable[[int], object] = lambda _: None,
    stdin: Optional[int] = None,
    shared: Sequence[int] = (),
    stdout: Optional[int] = None,
) -> Ended:
    """Run a program to its end, or to its time-out, and return how it ended.

    It starts in a session of its own with every signal at its default, nothing blocked, umask 022, an empty stdin and
    no other descriptor of this process, unless told. It has ended when its process has: helpers that it leaves behind
    may keep its output open. At the time-out, and when this process is interrupted, everything in its session gets
    SIGTERM, then SIGKILL.

    Parameters:
        words: the program and its arguments; no shell is involved.
        timeout: seconds.
        cwd: the folder it starts in.
        env: its environment; None: :func:`environment`.
        user: whom to become; None stays.
        sink: takes stdout and stderr, and gives back what may be shown.
        log: called with what the sink gives back.
        started: called with the process id, by the new process before it becomes the program.
        stdin: an open file that it reads, from where that file is read next; None: nothing.
        shared: descriptors that it gets under the same numbers; it opens them as ``/proc/self/fd/NUMBER``.
        stdout: an open file that takes its stdout; its output is what it writes to stderr then.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started.
    """
    began = time.monotonic()
    prepare = _preparation(user, started)
    reader: Optional[_Reader] = None
    try:
        # Signals wait until it is one that is stopped: our handlers must neither run in it nor leave it behind.
        with unbroken(signal.valid_signals()):
            process = _popen(
                words, cwd, environment(user) if env is None else env, prepare, stdout, None, stdin, shared
            )
            reader = _Reader(process, sink or Sink(), log)
        timed_out = not reader.follow(began + timeout)
    finally:
        if reader is not None:
            reader.end()
    return Ended(process.returncode, reader.kept, time.monotonic() - began, timed_out)


def answer(words: Sequence[str], timeout: float, cwd: str = "/", env: Optional[Mapping[str, str]] = None) -> Answer:
    """Run a program as :func:`run` does, and return everything that it wrote to stdout.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started.
    """
    with durable.nameless_file() as file:
        ended = _spawned(words, timeout, cwd, environment() if env is None else env, file.fileno())
        if ended is None:
            ended = run(words, timeout, cwd, env, stdout=file.fileno())
        file.seek(0)
        return Answer(ended.status, file.read(), ended.output, ended.timed_out)


def _spawned(words: Sequence[str], timeout: float, cwd: str, env: Mapping[str, str], stdout: int) -> Optional[Ended]:
    """Run a program as :func:`run` does without a copy of this process, which costs more than a short program.

    None: it was not started, as this system cannot start it so, another thread runs (the folder is changed for a
    moment), or it is looked for elsewhere than here.
    """
    if len(sys._current_frames()) > 1 or env.get("PATH") != os.environ.get("PATH"):
        return None
    began = time.monotonic()
    with durable.nameless_file() as errors:
        child = _Child()
        try:
            with unbroken(inherited.changeable_signals()):
                child.pid = _start(words, cwd, env, stdout, errors.fileno())
            if not child.pid:
                return None
            timed_out = not child.has_ended(timeout)
        finally:
            if child.pid and not child.is_over:
                _stop_session(child.pid, child.has_ended)
        errors.seek(0, os.SEEK_END)
        errors.seek(max(errors.tell() - _MOST_OUTPUT, 0))
        text = errors.read().decode("utf-8", "replace")
    return Ended(child.status, text, time.monotonic() - began, timed_out)


class _Child:
    """A program that was started without ``subprocess``, whose import takes long."""

    def __init__(self) -> None:
        self.pid = 0  # until it was started
        self.is_over = False
        self.status = 0  # as in Ended

    def has_ended(self, seconds: float) -> bool:
        """Wait up to *seconds* for its end; return whether it has ended."""
        deadline, pause = time.monotonic() + seconds, _SHORTEST
        while not self.is_over:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.is_over = True
                self.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            elif time.monotonic() >= deadline:
                return False
            else:
                time.sleep(pause)
                pause = min(pause * _GROWTH, _POLL)
        return True


def _start(words: Sequence[str], cwd: str, env: Mapping[str, str], stdout: int, stderr: int) -> int:
    """Start a program with ``posix_spawn`` in a session of its own; return its id, 0 where that has no sessions."""
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
        here = os.open(os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # no /proc, or the working directory is gone
        return 0
    inherited_too = [number for number in descriptors if number > 2 and _is_inherited(number)]
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    mask = os.umask(0o022)
    try:
        os.chdir(cwd)
        return os.posix_spawnp(
            words[0],
            list(words),
            dict(env),
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate((null, stdout, stderr))),
                *((os.POSIX_SPAWN_CLOSE, number) for number in inherited_too),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=inherited.changeable_signals(),
        )
    except NotImplementedError:  # glibc before 2.26
        return 0
    finally:
        os.umask(mask)
        os.fchdir(here)
        os.close(here)
        os.close(null)


def _is_inherited(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:  # that of the listing itself
        return False


class Server:
    """A program that runs beside this process, with the same start as that of :func:`run`.

    Leaving the ``with`` block stops everything in its session: SIGTERM, then SIGKILL.
    """

    def __init__(
        self,
        words: Sequence[str],
        output: int,
        cwd: str,
        env: Mapping[str, str],
        stdin: Optional[int] = None,
        stdout: Optional[int] = None,
    ) -> None:
        """Start *words* in the folder *cwd* on entering the ``with`` block.

        Parameters:
            output: the open file that takes stderr, and stdout unless that is given.
            stdin, stdout: open files, such as the ends of two pipes; stdin None: nothing.
        """
        out = output if stdout is None else stdout
        self._command = (words, cwd, env, _preparation(None, lambda _: None), out, output, stdin)
        self._process: Optional["subprocess.Popen[bytes]"] = None

    def __enter__(self) -> "Server":
        try:
            with unbroken(signal.valid_signals()):
                self._process = _popen(*self._command)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            _stop(self._process, self.has_ended)

    def has_ended(self, seconds: float = 0) -> bool:
        """Wait up to *seconds* for its end; return whether it has ended."""
        assert self._process is not None
        _wait(self._process, seconds)
        return self._process.returncode is not None


def _popen(
    words: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    prepare: Callable[[], None],
    stdout: Optional[int],
    stderr: Optional[int],
    stdin: Optional[int],
    shared: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a program; a pipe takes stdout and stderr when neither is given, and stderr when only *stdout* is."""
    import subprocess

    return subprocess.Popen(
        list(words),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        pass_fds=tuple(shared),
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=stderr if stderr is not None else subprocess.STDOUT if stdout is None else subprocess.PIPE,
        start_new_session=True,
        preexec_fn=prepare,
    )


class _Reader:
    """Reads what a program says for as long as it runs, no longer."""

    def __init__(self, process: "subprocess.Popen[bytes]", sink: Sink, log: Callable[[str], object]) -> None:
        pipe = process.stdout or process.stderr
        assert pipe is not None
        self._process = process
        self._pipe = pipe
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sink = sink
        self._log = log
        self.kept = ""
        os.set_blocking(self._pipe.fileno(), False)

    def follow(self, deadline: float) -> bool:
        """Read until the program ends; return whether it did before *deadline* (monotonic seconds)."""
        import selectors  # needed when a program is read from while it runs

        open_still = True
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while self._process.poll() is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if not open_still:
                    _wait(self._process, min(_POLL, left))
                elif selector.select(min(_POLL, left)):
                    open_still = self._read()
            last = time.monotonic() + _LAST_WORDS
            while open_still and time.monotonic() < last and selector.select(0):
                open_still = self._read()
        return True

    def end(self) -> None:
        """Stop the program if it still runs, and hand out the rest of what it said."""
        if self._process.returncode is None:
            _stop(self._process, lambda seconds: self.follow(time.monotonic() + seconds))
        self._pipe.close()
        self._take(self._sink.feed(self._decoder.decode(b"", True)) + self._sink.end())

    def _read(self) -> bool:
        """Read one piece; return whether more may come."""
        try:
            piece = os.read(self._pipe.fileno(), 65_536)
        except BlockingIOError:
            return True
        self._take(self._sink.feed(self._decoder.decode(piece)))
        return bool(piece)

    def _take(self, text: str) -> None:
        if text:
            self.kept = (self.kept + text)[-_MOST_OUTPUT:]
            self._log(text)


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    import subprocess

    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _stop(process: "subprocess.Popen[bytes]", ended: Callable[[float], bool]) -> None:
    _stop_session(process.pid, ended)


def _stop_session(leader: int, ended: Callable[[float], bool]) -> None:
    """Stop the program and everything in its session; *ended* waits up to so many seconds and tells whether it is."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, number)
        if ended(_PATIENCE):
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)  # what of its session is still there


def _preparation(user: Optional[Person], started: Callable[[int], object]) -> Callable[[], None]:
    """Return what the new process does before it becomes the program."""
    signals = inherited.changeable_signals()

    def prepare() -> None:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        started(os.getpid())
        if user is not None and os.geteuid() != user.uid:
            os.initgroups(user.name, user.gid)
            os.setgid(user.gid)
            os.setuid(user.uid)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare
