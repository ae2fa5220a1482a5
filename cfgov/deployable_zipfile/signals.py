"""Hold back the signals that ask a process to end, for steps that must not be left half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any, Collection, Dict, Iterator, List

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def unbroken(blocked: Collection[int] = ENDING_SIGNALS) -> Iterator[None]:
    """Hold back :data:`ENDING_SIGNALS` in the ``with`` block; the first one that came takes effect after it.

    A mask belongs to one thread. While another thread runs, the kernel gives it what this one blocks, and Python calls
    the handler in the main thread nevertheless (``signal`` module, "Signals and threads"). So the handlers are replaced
    as well. A forked child that leaves the block keeps the handlers that it has set itself.

    Parameters:
        blocked: what the mask of this thread holds back: these, or more.
    """
    came: List[int] = []
    before: Dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        came.append(number)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING_SIGNALS:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):
                    before[number] = handler
                    signal.signal(number, note)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        for held, handler in before.items():
            if signal.getsignal(held) is note:
                signal.signal(held, handler)
        if came:
            signal.raise_signal(came[0])
