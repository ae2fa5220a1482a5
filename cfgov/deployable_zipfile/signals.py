"""Signals that ask a process to end: one line and no traceback; delayed during steps that must be completed.

A handler is not replaced when the signal is ignored, as nohup and a shell without job control leave it. This is loaded
before anything else of a build, so it loads little itself.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, Callable, Collection, Dict, List
else:
    import _signal as signal  # all that is needed of signal, whose import takes longer than the rest of a start

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CODE = 130
OF_A_BUILD = "error: build: was interrupted, nothing was written. Build again."
OF_A_RUN = "error: this run: was interrupted. Run it again."


def end_quietly(line: str) -> None:
    """Let a signal end the process, with this *line*, while modules are being imported: there is nothing to tidy up."""

    def end(_number: int, _frame: object) -> None:
        os.write(2, f"{line}\n".encode("ascii"))
        os._exit(_CODE)

    replace(end)


def replace(handler: Callable[[int, Any], None]) -> Dict[int, Any]:
    """Set the handler of each signal that is not ignored; return those that were replaced."""
    before: Dict[int, Any] = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    before = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    return before


def restore(handlers: Dict[int, Any]) -> None:
    """Put back what :func:`replace` replaced."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def is_main_thread() -> bool:
    """Tell whether this is the thread that may have signals: the only one where nothing has loaded ``threading``."""
    threading = sys.modules.get("threading")
    return threading is None or threading.current_thread() is threading.main_thread()


def ignore() -> None:
    """Ignore every one from now on: one is enough, and what follows it is the tidying up."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class unbroken:  # noqa: N801 - used as contextlib.suppress is
    """Hold back :data:`ENDING_SIGNALS` in the ``with`` block; the first one that came takes effect after it.

    A mask belongs to one thread. While another thread runs, the kernel gives it what this one blocks, and Python calls
    the handler in the main thread nevertheless (``signal`` module, "Signals and threads"). So the handlers are replaced
    as well. A forked child that leaves the block keeps the handlers that it has set itself.

    Parameters:
        blocked: what the mask of this thread holds back: these, or more.
    """

    def __init__(self, blocked: Collection[int] = ENDING_SIGNALS) -> None:
        self._blocked = blocked
        self._came: List[int] = []
        self._before: Dict[int, Any] = {}

    def __enter__(self) -> None:
        try:
            if is_main_thread():
                for number in ENDING_SIGNALS:
                    handler = signal.getsignal(number)
                    if handler not in (signal.SIG_IGN, None):
                        self._before[number] = handler
                        signal.signal(number, self._note)
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._blocked)
        except BaseException:
            self._restore()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        finally:
            self._restore()

    def _note(self, number: int, _: object) -> None:
        self._came.append(number)

    def _restore(self) -> None:
        for held, handler in self._before.items():
            if signal.getsignal(held) == self._note:
                signal.signal(held, handler)
        if self._came:
            signal.raise_signal(self._came[0])
