"""Calls that change the file system, made to fail or to be the last ones of a process, one after the other."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

# shutil keeps the functions of os that it finds when it is imported: it must be there before they are replaced below.
assert "shutil" in sys.modules

CHANGING = (
    *("mkdir", "open", "write", "pwrite", "ftruncate", "link", "symlink", "rename", "replace"),
    *("unlink", "rmdir", "fsync"),
)


class Ended(NamedTuple):
    """How a forked process ended."""

    code: int  # exit code, negative: killed by that signal
    answer: str
    calls: int  # changing calls it made


def run_with_fault(action: Callable[[], str], at: Optional[int], fault: Callable[[str], None]) -> Ended:
    """Run *action* in a forked process in which changing call number *at* (from 1) does *fault* first.

    Parameters:
        action: returns what to report.
        at: None for no fault.
        fault: gets the name of the function; raises or kills.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 99
        try:
            os.close(reading)
            counter = _Counter(at, fault)
            counter.install()
            try:
                answer, code = action(), 0
            except Exception as error:
                answer, code = f"{type(error).__name__}|{error}", getattr(error, "exit_code", 98)
            finally:
                counter.remove()
            os.write(writing, f"{counter.calls}|{answer}".encode("utf-8", "backslashreplace")[:60_000])
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as file:
        text = file.read().decode("utf-8")
    _, status = os.waitpid(pid, 0)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    calls, _, answer = text.partition("|")
    return Ended(code, answer, int(calls or 0))


def sweep(
    action: Callable[[], str], destination: Path, fault: Callable[[str], None], step: int = 1
) -> Iterator[Tuple[int, Ended]]:
    """Yield how *action* ended whose 1st, 1 + *step*-th, ... changing call met *fault*, each on a fresh *destination*.

    The last call of all is always among them.
    """
    shutil.rmtree(str(destination))
    total = run_with_fault(action, None, dies)
    if total.code or total.answer or total.calls < 100:
        raise AssertionError(f"without a fault it ended so: {total}")
    for at in sorted({*range(1, total.calls + 1, step), *range(total.calls - 2, total.calls + 1)}):
        if destination.exists():
            shutil.rmtree(str(destination))
        yield at, run_with_fault(action, at, fault)


def fails(number: int) -> Callable[[str], None]:
    """Return a fault: the call raises error *number*."""

    def fault(_: str) -> None:
        raise OSError(number, os.strerror(number))

    return fault


def dies(_: str) -> None:
    """Be killed before the call."""
    os.kill(os.getpid(), signal.SIGKILL)


class _Counter:
    def __init__(self, at: Optional[int], fault: Callable[[str], None]) -> None:
        self.calls = 0
        self._at = at
        self._fault = fault
        self._originals: Dict[str, Any] = {name: getattr(os, name) for name in CHANGING}

    def install(self) -> None:
        for name in CHANGING:
            setattr(os, name, self._counted(name, self._originals[name]))

    def remove(self) -> None:
        for name in CHANGING:
            setattr(os, name, self._originals[name])

    def _counted(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name != "open" or arguments[1] & os.O_CREAT:
                self.calls += 1
                if self.calls == self._at:
                    self._fault(name)
            return original(*arguments, **options)

        return call


def leftovers(folder: str, *known: str) -> List[str]:
    """Return what is in *folder* beside the *known* names."""
    return sorted(set(os.listdir(folder)) - set(known))
