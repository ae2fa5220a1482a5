"""Spread independent pieces of work over forked processes, and start threads.

Forked children share the open artifact and every parsed directory without a copy, need no pickling of the work, and
use all cores for inflating and for file creation in the kernel, which threads cannot (both hold the lock in part).
What that gains is the row "one core" in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import select
import signal
import struct
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional, Tuple

from . import errors
from .durable import write_all
from .errors import DeployableZipfileError, TargetError
from .signals import ENDING_SIGNALS, unbroken

if TYPE_CHECKING:
    import threading

MAX_WORKERS = 8  # file creation in one folder tree gains nothing beyond
_NUMBER = struct.Struct("<L")
_PIPE_ROOM = 4096  # bytes that every pipe takes without a reader (POSIX PIPE_BUF)
_NICE = 5  # a third of the time of a core that another process wants too
_ORPHAN_CHECK = 0.25  # seconds between two checks that the parent is still running


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def run(work: Callable[[int], Any], count: int, workers: int = 0, first: int = 0) -> Iterator[Any]:
    """Call ``work(0)`` ... ``work(count - 1)``, each once, in any order, and yield what they return.

    Parameters:
        work: called in a forked process; returns what ``marshal`` can carry. What it raises ends all.
        count: number of calls.
        workers: processes; 0 means one per core, at most 8. With one, everything happens in this process.
        first: that many calls are done before any other begins.

    Raises:
        DeployableZipfileError: the first one that a call raised; OSErrors come back as OSErrors.
        TargetError: a process was killed from outside, for instance because memory ran out.
    """
    with started(work, count, workers, first) as answers:
        yield from answers


def in_thread(work: Callable[..., object], *arguments: object, daemon: bool = True) -> "threading.Thread":
    """Start a thread that calls *work* with *arguments*, and return it.

    Parameters:
        daemon: it does not keep the process from ending.

    Raises:
        BlockingIOError: the system gives no further thread (pthread_create(3), EAGAIN), as it would say of a process.
    """
    import threading

    thread = threading.Thread(target=work, args=arguments, daemon=daemon)
    try:
        thread.start()
    except RuntimeError:  # all that Python tells
        raise BlockingIOError(errno.EAGAIN, "no further thread can be started") from None
    return thread


@contextlib.contextmanager
def started(
    work: Callable[[int], Any], count: int, workers: int = 0, first: int = 0, yielding: bool = False
) -> Iterator[Iterator[Any]]:
    """Begin what :func:`run` does and return; the answers are taken later, and what is left at the end is given up.

    With one process, the work is done when its answers are taken.

    Parameters:
        yielding: the processes leave a core to this one, which has work of its own until it takes the answers.
    """
    workers = min(workers or min(cores(), MAX_WORKERS), count)
    if workers <= 1:
        yield map(work, range(count))
        return
    team = _Team(count, first, _NICE if yielding else 0)
    try:
        team.start(work, workers)
        yield team.results()
    finally:
        team.stop()


class _Team:
    """Processes that take numbers from one pipe until it is empty, each with a pipe of its own for the answers."""

    def __init__(self, count: int, first: int, nice: int) -> None:
        self._nice = nice
        self._next = self._done = 0
        self._count = count
        self._end = first or count  # of the numbers that may begin
        self._numbers, self._feed = os.pipe()
        self._answers: Dict[int, Tuple[int, bytearray]] = {}  # read end -> pid, bytes not yet understood

    def start(self, work: Callable[[int], Any], workers: int) -> None:
        """Start up to *workers* processes; fewer where the system gives no more, at least one."""
        os.set_blocking(self._feed, False)
        for _ in range(workers):
            try:
                self._start(work)
            except OSError:
                # Out of descriptors or processes: those that run already take all of the work.
                if not self._answers:
                    raise
                break
        with unbroken():  # else a signal in between would have stop() close it once more
            os.close(self._numbers)
            self._numbers = -1
        self._hand_out()

    def _start(self, work: Callable[[int], Any]) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()
        with unbroken():
            try:
                pid = os.fork()
            except OSError:
                os.close(reading)
                os.close(writing)
                raise
            if pid:
                os.close(writing)
                self._answers[reading] = (pid, bytearray())
                return
            try:
                os.close(self._feed)
                for other in [reading, *self._answers]:
                    os.close(other)
                _end_with_parent(parent)
                with contextlib.suppress(OSError):  # a sandbox may forbid it
                    os.nice(self._nice)
            except BaseException:
                os._exit(1)
        try:
            _serve(work, self._numbers, writing)
        finally:
            os._exit(1)  # only reached when the answer could not be sent: the parent is gone or reports it

    def _hand_out(self) -> None:
        """Put as many numbers into the pipe as may begin and as it takes; close it after the last one."""
        while self._next < self._end:
            last = min(self._end, self._next + _PIPE_ROOM // _NUMBER.size)
            try:
                os.write(self._feed, b"".join(_NUMBER.pack(number) for number in range(self._next, last)))
            except BlockingIOError:
                return
            self._next = last
        if self._next < self._count:
            return
        with unbroken():
            os.close(self._feed)
            self._feed = -1

    def results(self) -> Iterator[Any]:
        while self._answers:
            writable = [self._feed] if self._feed >= 0 and self._next < self._end else []
            ready, free, _ = select.select(list(self._answers), writable, [])
            if free:
                self._hand_out()
            for descriptor in ready:
                for answer in self._take(descriptor):
                    self._done += 1
                    yield answer
            if self._done == self._end < self._count:
                self._end = self._count
                self._hand_out()

    def _take(self, descriptor: int) -> Iterator[Any]:
        pid, pending = self._answers[descriptor]
        data = os.read(descriptor, 1 << 16)
        pending += data
        while len(pending) >= _NUMBER.size:
            (length,) = _NUMBER.unpack_from(pending)
            if len(pending) < _NUMBER.size + length:
                break
            answer = marshal.loads(pending[_NUMBER.size : _NUMBER.size + length])
            del pending[: _NUMBER.size + length]
            yield _unwrapped(answer)
        if not data:
            with unbroken():
                del self._answers[descriptor]
                os.close(descriptor)
                _, status = os.waitpid(pid, 0)
            if status or pending:
                raise TargetError(
                    f"worker process {pid}",
                    f"ended early ({_ending(status)})",
                    "Run it again, with --workers 1 if memory is short",
                )

    def stop(self) -> None:
        """Leave no process and no descriptor behind, however the work ended."""
        with unbroken():
            for descriptor in (self._numbers, self._feed):
                if descriptor >= 0:
                    os.close(descriptor)
            self._numbers = self._feed = -1
            for descriptor, (pid, _) in self._answers.items():
                os.close(descriptor)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            self._answers.clear()


def _end_with_parent(parent: int) -> None:
    """Let this process end by signals, unless they are ignored (nohup), and soon after its parent is gone.

    A killed parent can tell its workers nothing; one that went on would hold the lock of the installation.
    """

    def look(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, look)
    signal.siginterrupt(signal.SIGALRM, False)  # network file systems let calls fail that were interrupted
    signal.setitimer(signal.ITIMER_REAL, _ORPHAN_CHECK, _ORPHAN_CHECK)


def _serve(work: Callable[[int], Any], numbers: int, answers: int) -> None:
    while True:
        raw = os.read(numbers, _NUMBER.size)
        if not raw:
            os._exit(0)
        answer: Tuple[str, Any]
        try:
            answer = ("done", work(_NUMBER.unpack(raw)[0]))
        except DeployableZipfileError as error:
            answer = ("error", (type(error).__name__, error.what, error.why, error.fix))
        except OSError as error:
            filename = error.filename if isinstance(error.filename, (str, bytes)) else ""
            answer = ("os", (error.errno, error.strerror, os.fsdecode(filename)))
        except MemoryError:
            answer = ("memory", None)
        except Exception:
            import traceback

            answer = ("defect", traceback.format_exc())
        data = marshal.dumps(answer)
        write_all(answers, _NUMBER.pack(len(data)) + data)


def _unwrapped(answer: Tuple[str, Any]) -> Any:
    kind, value = answer
    if kind == "error":
        name, what, why, fix = value
        raise _error_class(name)(what, why, fix)
    if kind == "os":
        number, text, filename = value
        raise OSError(number, text, filename)
    if kind == "memory":
        raise MemoryError
    if kind == "defect":
        raise RuntimeError(value)
    return value


def _error_class(name: str) -> Callable[[str, str, Optional[str]], DeployableZipfileError]:
    return getattr(errors, name, DeployableZipfileError)


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}"
