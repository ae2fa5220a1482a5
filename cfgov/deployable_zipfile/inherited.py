"""What this process inherited from what started it, and how a command line makes it its own.

A process inherits more than its arguments: ignored and blocked signals, timers, closed descriptors, a umask. With
SIGCHLD ignored the kernel forgets how children ended, and a failed command counts as done.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import signal
import stat
from typing import Sequence

from .signals import is_main_thread

# Ignored on purpose by what started us: by nohup, and by a shell that starts a command in the background.
_KEPT = (signal.SIGHUP, signal.SIGINT)
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by Python itself: writes fail with an error instead


def claim() -> None:
    """Make the state of this process its own, whatever it was started with. The first thing a command line does.

    SIGHUP and SIGINT stay ignored when they were: ``nohup`` and ``&`` in a script ask for that. Every other signal
    has its default effect again, none is blocked, no timer runs, the umask is 022, and descriptors 0 to 2 are open
    and wait for their other end.
    """
    os.umask(0o022)
    for number in range(3):
        _open_stream(number)
    if not is_main_thread():
        return
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    for number in changeable_signals():
        if number not in (*_KEPT, *_PYTHONS) and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    for number in _PYTHONS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@functools.lru_cache(maxsize=None)
def changeable_signals() -> Sequence[int]:
    """Return the signals whose effect can be changed; the first real-time ones belong to the C library."""
    fixed = {signal.SIGKILL, signal.SIGSTOP}
    return sorted(int(one) for one in signal.valid_signals() if one not in fixed and not 31 < one < signal.SIGRTMIN)


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
