"""Refuse, and name, what a self-test's Python tries outside its scratch folder. Runs in the release.

Imported by a ``.pth`` file at every start of the scratch virtualenv's Python, before code of the project runs. The
limits that hold in any case are the kernel's (``confine``); the audit hook here (PEP 578) tells which address, file or
program was tried and by which line, and keeps Python from writing files on kernels that cannot. Each attempt becomes a
line of ``FOLDER/refused``; what became of the settings is in ``FOLDER/settings``.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import sysconfig
from types import FrameType
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import overlay, scratch

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/shm/")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Read the machine and write nothing; ctypes.util.find_library starts the first ones.
_READERS = ("ldconfig", "gcc", "cc", "ld", "objdump", "uname", "getconf", "lsb_release", "git")


class Refused(PermissionError):
    """What the project tried is not allowed in a self-test."""


def install(folder: str) -> None:
    """Put the hook and the change of settings in place, for a scratch folder *folder*."""
    sys.dont_write_bytecode = True  # beside modules of the system's Python
    folder = os.path.realpath(folder)
    with open(os.path.join(folder, "confined"), encoding="ascii") as file:
        limits = file.read().split()
    hook = _Hook(folder, "files" in limits)
    sys.addaudithook(hook.audit)

    def change(values: Dict[str, Any]) -> Dict[str, Any]:
        after = scratch.replaced(values, folder)
        engines = {
            alias: str(entry.get("ENGINE", "")) if isinstance(entry, dict) else ""
            for alias, entry in values.get("DATABASES", {}).items()
        }
        _append(os.path.join(folder, "settings"), {"replaced": scratch.described(values, after), "engines": engines})
        return after

    overlay.install(change)


class _Hook:
    def __init__(self, folder: str, files_closed: bool) -> None:
        self._folder = folder
        self._below = (folder + os.sep, *_DEVICES)
        # Where the kernel closes files, what another program does is confined too.
        self._programs = not files_closed
        self._checks: Dict[str, Callable[[Tuple[Any, ...]], Optional[str]]] = {
            "open": self._open,
            "os.mkdir": lambda args: self._write(args[0], args[2]),
            "os.rmdir": lambda args: self._write(args[0], args[1]),
            "os.remove": lambda args: self._write(args[0], args[1]),
            "os.rename": lambda args: self._write(args[0], args[2]) or self._write(args[1], args[3]),
            "os.link": lambda args: self._write(args[1], args[3]),
            "os.symlink": lambda args: self._write(args[1], args[2]),
            "os.truncate": lambda args: self._write(args[0]),
            "os.chmod": lambda args: self._write(args[0], args[2]),
            "os.chown": lambda args: self._write(args[0], args[3]),
            "os.utime": lambda args: self._write(args[0], args[3]),
            "os.setxattr": lambda args: self._write(args[0]),
            "os.removexattr": lambda args: self._write(args[0]),
            "sqlite3.connect": lambda args: self._sqlite(args[0]),
            "socket.connect": lambda args: f"to connect to {_address(args[1])}",
            "socket.sendto": lambda args: f"to send to {_address(args[1])}",
            "socket.sendmsg": lambda args: None if args[1] is None else f"to send to {_address(args[1])}",
            "socket.getaddrinfo": lambda args: self._host(args[0], args[1]),
            "socket.gethostbyname": lambda args: self._host(args[0], None),
            "os.system": lambda args: self._program(args[0]),
            "os.exec": lambda args: self._program(args[0]),
            "os.posix_spawn": lambda args: self._program(args[0]),
            "subprocess.Popen": lambda args: self._program(args[0]),
        }

    def audit(self, event: str, args: Tuple[Any, ...]) -> None:
        """Refuse *event* if it would touch anything outside the folder."""
        check = self._checks.get(event)
        tried = check(args) if check else None
        if tried:
            place = _place()
            _append(os.path.join(self._folder, "refused"), {"tried": tried, "place": place})
            raise Refused(errno.EACCES, f"selftest refused: {place} tried {tried}")

    def _open(self, args: Tuple[Any, ...]) -> Optional[str]:
        path, _, flags = args
        return self._write(path) if isinstance(flags, int) and flags & _WRITES else None

    def _write(self, path: Any, folder: Any = -1) -> Optional[str]:
        if isinstance(path, int) or path is None:
            return None  # was opened, and looked at, before
        text = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0 and not os.path.isabs(text):
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
        # The last part itself is what is written; a link there counts by what it leads to.
        real = os.path.realpath(text)
        allowed = real == self._folder or real.startswith(self._below) or real in _DEVICES
        return None if allowed else f"to write {text}"

    def _sqlite(self, database: Any) -> Optional[str]:
        text = os.fsdecode(database)
        if text in ("", ":memory:") or text.startswith("file::memory:") or "mode=memory" in text:
            return None
        path = text[len("file:") :].partition("?")[0] if text.startswith("file:") else text
        return None if self._write(path) is None else f"to open the SQLite database {path}"

    def _host(self, host: Any, port: Any) -> Optional[str]:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if name in (None, "", "localhost", os.uname().nodename) or _is_number(str(name)):
            return None
        return f"to look up {name}" + (f", port {port}" if port else "")

    def _program(self, program: Any) -> Optional[str]:
        text = os.fsdecode(program if not isinstance(program, (list, tuple)) else program[0])
        own = os.path.abspath(text).startswith(self._folder + os.sep)
        allowed = not self._programs or own or os.path.basename(text.split(" ")[0]) in _READERS
        return None if allowed else f"to start {text}"


def _is_number(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        return ":".join(str(part) for part in address[:2])
    return os.fsdecode(address) if isinstance(address, (str, bytes)) else repr(address)


def _place() -> str:
    """Return file and line of the innermost code that is not the standard library's nor this module's."""
    standard = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
    frame: Optional[FrameType] = sys._getframe(2)
    last = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and not name.startswith("<"):
            last = f"{name}:{frame.f_lineno}"
            if not name.startswith(standard) or "site-packages" in name:
                return last
        frame = frame.f_back
    return last or "code without a file"


def _append(path: str, document: Dict[str, Any]) -> None:
    line = json.dumps(document) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode("utf-8", "backslashreplace"))
    finally:
        os.close(descriptor)


def read(path: str) -> List[Dict[str, Any]]:
    """Return the documents that were appended to the file *path*, none when there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []
