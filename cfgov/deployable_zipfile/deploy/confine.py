"""Start a program that cannot use the network or write outside one folder. Runs as a file of its own.

    python -I -S confine.py FOLDER PROGRAM [ARGUMENT]...

Both limits are the kernel's, need no privileges, and hold for every process that the program starts: seccomp(2) for
the network, which also covers drivers written in C, and landlock(7), where the kernel has it, for files. What was set
up is written to ``FOLDER/confined``: ``network`` or ``network files``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from typing import Dict, List, NoReturn, Sequence, Tuple

NOT_CONFINED = 77  # exit status: the program was not started

# linux/audit.h and the system call tables of the kernel: AUDIT_ARCH, then the numbers of the calls.
_CALLS = ("socket", "connect", "sendto", "sendmsg", "sendmmsg", "io_uring_setup")
_MACHINES: Dict[str, Tuple[int, Tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 42, 44, 46, 307, 425)),
    "aarch64": (0xC00000B7, (198, 203, 206, 211, 269, 425)),
}
_X32 = 0x40000000  # marks the calls of the x32 ABI

# linux/bpf_common.h, linux/seccomp.h, linux/prctl.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EACCES
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_MSG_FASTOPEN = 0x20000000  # sends to an address without connect(2)

# linux/landlock.h: the rights to write, and from which version of the interface on there is each of the late ones.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_WRITE_FILE, _TRUNCATE, _REFER = 1 << 1, 1 << 14, 1 << 13
_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # remove and make each kind of file
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_SEMAPHORES = "/dev/shm"  # where multiprocessing's locks are

_Code = Tuple[int, int, int, int]


def main(argv: Sequence[str]) -> NoReturn:
    """Confine this process and become the program."""
    folder = argv[0]
    try:
        _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        done = ["network"]
        if _close_files(folder):
            done.append("files")
        _close_network()
        with open(os.path.join(folder, "confined"), "w", encoding="ascii") as file:
            file.write(" ".join(done))
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}\n")
        sys.stderr.flush()
        os._exit(NOT_CONFINED)
    os.execv(argv[1], list(argv[1:]))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _close_network() -> None:
    """Let every attempt to reach an address fail with EACCES, and prove it with one."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"network access cannot be blocked on {machine}")
    program = _program(*_MACHINES[machine])
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
    # struct sock_fprog: a short, and a pointer on its own alignment
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    if _libc().prctl(_PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), f"the kernel has no seccomp filter ({os.strerror(ctypes.get_errno())})")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 9)) != errno.EACCES:
            raise OSError(errno.ENOSYS, "the kernel's seccomp filter does not work")


def _program(architecture: int, numbers: Sequence[int]) -> List[_Code]:
    """Return the filter in BPF, as seccomp(2) takes it."""
    deny, allow = (_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)
    flags = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}  # which argument they are
    no_fast_open = {name: [_argument(at), (_ANY_BIT, 0, 1, _MSG_FASTOPEN), deny, allow] for name, at in flags.items()}
    bodies: Dict[str, List[_Code]] = {
        # Streams of AF_UNIX, AF_INET and AF_INET6 may be made, so that the attempt to connect names its address.
        "socket": [
            _argument(0),
            *[(_EQUAL, 3 - at, 0, family) for at, family in enumerate((1, 2, 10))],
            deny,
            _argument(1),
            (_AND, 0, 0, 0xF),
            (_EQUAL, 1, 0, 1),
            deny,
            allow,
        ],
        "connect": [deny],
        "sendto": [
            *[code for half in (0, 4) for code in (_argument(4, half), (_EQUAL, 1, 0, 0), deny)],
            *no_fast_open["sendto"],
        ],
        "sendmsg": no_fast_open["sendmsg"],
        "sendmmsg": no_fast_open["sendmmsg"],
        "io_uring_setup": [deny],
    }
    program: List[_Code] = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), deny, (_LOAD, 0, 0, _NUMBER)]
    program += [(_AT_LEAST, 0, 1, _X32), deny]
    for name, number in zip(_CALLS, numbers):
        program += [(_EQUAL, 0, len(bodies[name]), number), *bodies[name]]
    return [*program, allow]


def _argument(number: int, half: int = 0) -> _Code:
    """Return the code that loads 32 bits of an argument; both machines store the low half first."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * number + half)


def _close_files(folder: str) -> bool:
    """Let writing outside *folder* fail, and return whether this kernel can."""
    libc = _libc()
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = _WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rules = libc.syscall(_LANDLOCK_CREATE, struct.pack("=Q", rights), 8, 0)
    if rules < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    allowed = [(folder, rights), (_SEMAPHORES, rights)]
    allowed += [(device, rights & (_WRITE_FILE | _TRUNCATE)) for device in _DEVICES]
    for path, what in allowed:
        if os.path.exists(path):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            done = libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", what, place), 0)
            os.close(place)
            if done:
                raise OSError(ctypes.get_errno(), f"{path}: {os.strerror(ctypes.get_errno())}")
    if libc.syscall(_LANDLOCK_RESTRICT, rules, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(rules)
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
