"""Signals that ask a build to end, in the moment before it begins: one line and no traceback.

A handler is not replaced when the signal is ignored, as nohup and a shell without job control leave it.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE = "error: build: was interrupted, nothing was written. Build again."
_CODE = 130


def end_quietly() -> None:
    """Let a signal end the process while modules are being imported: there is nothing to tidy up."""
    _replace(_end)


def raise_once() -> Dict[int, Any]:
    """Let a signal raise KeyboardInterrupt, once, and return the handlers that were replaced."""
    return _replace(_raise)


def restore(handlers: Dict[int, Any]) -> None:
    """Put back what :func:`raise_once` replaced."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _replace(handler: Any) -> Dict[int, Any]:
    before: Dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: old for number, old in before.items() if old != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    return before


def _end(number: int, frame: object) -> None:
    del number, frame
    os.write(2, f"{LINE}\n".encode("ascii"))
    os._exit(_CODE)


def _raise(number: int, frame: object) -> None:
    del number, frame
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # one is enough: what follows is the tidying up
    raise KeyboardInterrupt
