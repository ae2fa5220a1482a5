"""One command at a time on one root.

The lock is an ``flock``, which the kernel frees when its holder dies, however it dies. Commands of a release do not
inherit it, because one of them could free it; which command runs is written into the lock's file instead, by the new
process itself, so that a migration that outlives a killed deployment still keeps the next one out.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional

from .. import durable
from ..errors import DeploymentError, DestinationError
from .journal import whoami

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MODE = 0o640


class Lock:
    """The lock of a root, held."""

    def __init__(self, descriptor: int, purpose: str) -> None:
        self._descriptor = descriptor
        self._owner: Dict[str, Any] = {
            "by": whoami(),
            "pid": os.getpid(),
            "verb": purpose,
            "since": int(time.time()),
            "boot": _boot(),
        }

    def note(self, pid: Optional[int]) -> None:
        """Write down that the command *pid* runs; None: that none does."""
        command = {} if pid is None else {"command": pid, "started": _started(pid)}
        durable.write_holder(self._descriptor, f"{json.dumps({**self._owner, **command}, sort_keys=True)}\n")

    def forget(self) -> None:
        """Write down that nobody holds it."""
        durable.write_holder(self._descriptor, "")


@contextlib.contextmanager
def locked(path: Path, purpose: str, wait: float, tell: Callable[[str], None] = lambda _: None) -> Iterator[Lock]:
    """Hold the lock in the file *path*.

    Parameters:
        purpose: the verb, shown to those who wait.
        wait: seconds to wait for another holder, 0 for none.
        tell: called with one line when it has to wait: for whom, and how long.

    Raises:
        DeploymentError: another process holds it; the message names it.
        DestinationError: its file cannot be used.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(str(path), flags, _MODE)
    except OSError as error:
        raise DestinationError(path, f"cannot be opened ({error.strerror})", "Run it as its owner") from error

    def waits() -> None:
        tell(durable.waiting(wait, f"{path} {_held(_owner(descriptor))}"))

    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DestinationError(path, "is not a regular file", "Remove it")
        try:
            free = durable.take_lock(descriptor, wait, lambda: _runs(_owner(descriptor)), waits)
        except OSError as error:
            raise DestinationError(path, f"cannot be locked ({error.strerror})") from error
        if not free:
            raise DeploymentError(path, _held(_owner(descriptor)), "Wait for it, or give --lock-wait SECONDS")
        lock = Lock(descriptor, purpose)
        lock.note(None)
        try:
            yield lock
        finally:
            lock.forget()
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> Dict[str, Any]:
    """Return what the file says, nothing when that is not what we write."""
    try:
        owner = json.loads(durable.holder(descriptor))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _runs(owner: Dict[str, Any]) -> bool:
    """Tell whether the command of a holder that is gone still runs, or anything that it started in its session."""
    pid = owner.get("command")
    if not isinstance(pid, int) or owner.get("boot") != _boot():
        return False
    fields = _stat(pid)
    if fields and fields[19] != owner.get("started"):
        return False  # another process has its number now
    return any(fields and fields[3] == str(pid) for fields in map(_stat, _processes()))


def _held(owner: Dict[str, Any]) -> str:
    try:
        age = max(0, int(time.time()) - int(owner["since"]))
        held = f"is held by {owner['verb']} of {owner['by']} (process {owner['pid']}, for {age} s)"
    except (ValueError, KeyError, TypeError):
        return "is held by another process"
    return f"{held}, which is gone, but its command {owner['command']} still runs" if _runs(owner) else held


def _boot() -> str:
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else ""


def _processes() -> Iterator[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return iter(())
    return (int(name) for name in names if name.isdigit())


def _stat(pid: int) -> "list[str]":
    """Return the fields of proc(5) stat from the state on, none when the process has ended or is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return []
    return [] if len(fields) < 20 or fields[0] in ("Z", "X") else fields
