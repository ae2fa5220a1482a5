"""One command at a time on one root.

The lock is an ``flock``, which the kernel frees when its holder dies, however it dies. Commands of a release do not
inherit it, because one of them could free it; which command runs is written into the lock's file instead, by the new
process itself, so that a migration that outlives a killed deployment still keeps the next one out.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
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
    """The lock of a root, once it is held."""

    def __init__(self, descriptor: int, purpose: str) -> None:
        self._descriptor = descriptor
        self._owner: Dict[str, Any] = {
            "by": whoami(),
            "pid": os.getpid(),
            "began": _started(os.getpid()),
            "verb": purpose,
            "boot": _boot(),
        }

    def begin(self) -> None:
        """Write down who holds it, now that it was taken."""
        self._owner["since"] = int(time.time())
        self.note(None)

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

    holder = _Holder(descriptor)

    def waits() -> None:
        tell(durable.waiting(wait, f"{path} {holder.held}"))

    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DestinationError(path, "is not a regular file", "Remove it")
        lock = Lock(descriptor, purpose)  # finds out who we are before others see that the lock is taken
        try:
            free = durable.take_lock(descriptor, wait, lambda: _runs(_owner(descriptor)), waits, holder.is_named)
        except OSError as error:
            raise DestinationError(path, f"cannot be locked ({error.strerror})") from error
        if not free:
            raise DeploymentError(path, holder.held, "Wait for it, or give --lock-wait SECONDS")
        lock.begin()
        try:
            yield lock
        finally:
            lock.forget()
    finally:
        os.close(descriptor)


class _Holder:
    """Who has the lock, as its file says: ``held`` tells it after each :meth:`is_named`.

    The file can be behind: who takes the lock writes to it a moment later, and a killed holder leaves its note there.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.held = ""

    def is_named(self) -> bool:
        """Look at the file; return whether what it says is true for certain.

        What a process of this host wrote that is no longer there is not even repeated; what another host wrote can
        only be repeated.
        """
        owner = _owner(self._descriptor)
        self.held = f"is held by {durable.SOMEBODY}"
        try:
            age = max(0, int(time.time()) - int(owner["since"]))
            held = f"is held by {owner['verb']} of {owner['by']} (process {owner['pid']}, for {age} s)"
            lives = _lives(owner)
        except (ValueError, KeyError, TypeError):
            return False
        if lives is False:
            if not _runs(owner):
                return False
            held = f"{held}, which is gone, but its command {owner['command']} still runs"
        self.held = held
        return lives is not None


def _owner(descriptor: int) -> Dict[str, Any]:
    """Return what the file says, nothing when that is not what we write."""
    try:
        owner = json.loads(durable.holder(descriptor))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _lives(owner: Dict[str, Any]) -> Optional[bool]:
    """Tell whether the process that wrote the note is still there; None: that cannot be seen from here."""
    if str(owner["by"]).rpartition("@")[2] != socket.gethostname() or not owner.get("began", True):
        return None
    if owner.get("boot") != _boot():
        return False
    fields = _stat(int(owner["pid"]))
    return bool(fields) and owner.get("began", fields[19]) == fields[19]


def _runs(owner: Dict[str, Any]) -> bool:
    """Tell whether the command of a holder that is gone still runs, or anything that it started in its session."""
    pid = owner.get("command")
    if not isinstance(pid, int) or owner.get("boot") != _boot():
        return False
    fields = _stat(pid)
    if fields and fields[19] != owner.get("started"):
        return False  # another process has its number now
    return any(fields and fields[3] == str(pid) for fields in map(_stat, _processes()))


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
