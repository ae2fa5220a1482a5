"""The state of this process, and of every program that it starts.

A process inherits more than its arguments: ignored and blocked signals, timers, closed descriptors, a umask. With
SIGCHLD ignored the kernel forgets how children ended, and a failed command counts as done. So a command line begins by
:func:`claim`, and a program is started by :func:`run`, which gives it none of what we inherited or changed.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pwd
import selectors
import signal
import stat
import threading
import time
from typing import TYPE_CHECKING, Callable, Dict, Mapping, NamedTuple, Optional, Sequence

from .signals import unbroken

if TYPE_CHECKING:  # :func:`run` imports it: most commands start no program
    import subprocess

# The environment that a program starts with unless it is told more. LD_LIBRARY_PATH and X_SCLS: the Python of a
# software collection does not start without them.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "X_SCLS")
_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

# Ignored on purpose by what started us: by nohup, and by a shell that starts a command in the background.
_KEPT = (signal.SIGHUP, signal.SIGINT)
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by Python itself: writes fail with an error instead

_MOST_OUTPUT = 1024 * 1024  # characters of a program's output that are kept for its caller, the last ones
_POLL = 0.05  # seconds between two looks whether a program that says nothing has ended
_LAST_WORDS = 0.2  # seconds for the rest of the output of a program that has ended
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
        return f"exit status {self.status}" if self.status >= 0 else f"ended by {_signal_name(-self.status)}"


class Sink:
    """Takes the output of one program, piece by piece, and gives back what may be shown and kept.

    This one lets everything through.
    """

    def feed(self, text: str) -> str:
        """Take *text*; return what is certain to be shown by now."""
        return text

    def end(self) -> str:
        """Return the rest."""
        return ""


def person(name: str) -> Person:
    """Return the user *name*.

    Raises:
        KeyError: there is no such user.
    """
    entry = pwd.getpwnam(name)
    return Person(name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)


def claim() -> None:
    """Make the state of this process its own, whatever it was started with. The first thing a command line does.

    SIGHUP and SIGINT stay ignored when they were: ``nohup`` and ``&`` in a script ask for that. Every other signal
    has its default effect again, none is blocked, no timer runs, the umask is 022, and descriptors 0 to 2 are open
    and wait for their other end.
    """
    os.umask(0o022)
    for number in range(3):
        _open_stream(number)
    if threading.current_thread() is not threading.main_thread():
        return
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    for number in _signals():
        if number not in (*_KEPT, *_PYTHONS) and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in _PYTHONS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


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

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started.
    """
    began = time.monotonic()
    prepare = _preparation(user, started)
    reader: Optional[_Reader] = None
    try:
        # Signals wait until it is one that is stopped: our handlers must neither run in it nor leave it behind.
        with unbroken(signal.valid_signals()):
            process = _popen(words, cwd, environment(user) if env is None else env, prepare, stdin=stdin, shared=shared)
            reader = _Reader(process, sink or Sink(), log)
        timed_out = not reader.follow(began + timeout)
    finally:
        if reader is not None:
            reader.end()
    return Ended(process.returncode, reader.kept, time.monotonic() - began, timed_out)


class Server:
    """A program that runs beside this process, with the same start as that of :func:`run`.

    Leaving the ``with`` block stops everything in its session: SIGTERM, then SIGKILL.
    """

    def __init__(self, words: Sequence[str], output: int, cwd: str, env: Mapping[str, str]) -> None:
        """Start *words* in the folder *cwd*; *output*: the open file that takes stdout and stderr."""
        self._command = (words, cwd, env, _preparation(None, lambda _: None))
        self._output = output
        self._process: Optional["subprocess.Popen[bytes]"] = None

    def __enter__(self) -> "Server":
        try:
            with unbroken(signal.valid_signals()):
                self._process = _popen(*self._command, output=self._output)
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
        import subprocess

        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None


def _popen(
    words: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    prepare: Callable[[], None],
    output: Optional[int] = None,
    stdin: Optional[int] = None,
    shared: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    import subprocess

    return subprocess.Popen(
        list(words),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        pass_fds=tuple(shared),
        stdout=subprocess.PIPE if output is None else output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=prepare,
    )


class _Reader:
    """Reads what a program says for as long as it runs, no longer."""

    def __init__(self, process: "subprocess.Popen[bytes]", sink: Sink, log: Callable[[str], object]) -> None:
        assert process.stdout is not None
        self._process = process
        self._pipe = process.stdout
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sink = sink
        self._log = log
        self.kept = ""
        os.set_blocking(self._pipe.fileno(), False)

    def follow(self, deadline: float) -> bool:
        """Read until the program ends; return whether it did before *deadline* (monotonic seconds)."""
        open_still = True
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while self._process.poll() is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if not open_still:
                    time.sleep(min(_POLL, left))
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


def _stop(process: "subprocess.Popen[bytes]", ended: Callable[[float], bool]) -> None:
    """Stop the program and everything in its session; *ended* waits up to so many seconds and tells whether it is."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        if ended(_PATIENCE):
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what of its session is still there


def _preparation(user: Optional[Person], started: Callable[[int], object]) -> Callable[[], None]:
    """Return what the new process does before it becomes the program."""
    signals = _signals()

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


def _signals() -> Sequence[int]:
    """Return the signals whose effect can be changed; the first real-time ones belong to the C library."""
    fixed = {signal.SIGKILL, signal.SIGSTOP}
    return sorted(int(one) for one in signal.valid_signals() if one not in fixed and not 31 < one < signal.SIGRTMIN)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _open_stream(number: int) -> None:
    """Let descriptor *number* (0 to 2) be open, and wait for its other end."""
    try:
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
    except OSError:  # closed: the next file to be opened would get its number
        _put(os.open(os.devnull, os.O_RDWR), number)
        return
    if flags & os.O_NONBLOCK and not stat.S_ISSOCK(os.fstat(number).st_mode):
        # The flag is shared with every process that has the file open; a new opening has flags of its own.
        with contextlib.suppress(OSError):
            _put(os.open(f"/proc/self/fd/{number}", (flags & os.O_ACCMODE) | (flags & os.O_APPEND)), number)


def _put(descriptor: int, number: int) -> None:
    if descriptor == number:
        os.set_inheritable(number, True)
        return
    os.dup2(descriptor, number)
    os.close(descriptor)
