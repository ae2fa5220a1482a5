"""A signature, and the files that say who may sign: each is read once, and nobody else may be able to change it."""

from __future__ import annotations

import errno
import os
import stat
from typing import NoReturn, Tuple

from ..errors import ArtifactError, DestinationError
from . import ownership

_LARGEST_SIGNATURE = 64 * 1024  # bytes: one of RSA with 16384 bits and a certificate has 12 KiB
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def read_signature(path: str) -> bytes:
    """Return the signature's bytes; nothing but a regular file of a plausible size is opened."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            refuse(path, "is a link, not a signature", "Copy the signature itself")
        return _content(path, _LARGEST_SIGNATURE, os.O_NOFOLLOW)[0]
    except OSError as error:
        if error.errno == errno.ENOENT:
            refuse(path, "is missing, and a signature is required", "Copy it beside the artifact, or give --signature")
        refuse(path, f"cannot be read ({error.strerror})", "Copy the signature again")


def read(path: str, limit: int) -> bytes:
    """Return the content of a file that decides who is trusted: nobody else may be able to change it."""
    try:
        _check_way(path)
        content, status = _content(path, limit, 0)
    except OSError as error:
        refuse(path, f"cannot be read ({error.strerror})", "Name the allowed signers that this host trusts")
    _check_trusted(path, status)
    return content


def check_folder(path: str) -> None:
    """Refuse a folder of such files that somebody else can change."""
    _check_way(path)
    _check_trusted(path, os.stat(path))


def _check_way(path: str) -> None:
    """Refuse a path that somebody else can change, if this is root."""
    try:
        ownership.check_folder(path)
    except DestinationError as error:
        raise ArtifactError(error.what, error.why, error.fix) from None


def _check_trusted(path: str, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        refuse(path, f"belongs to uid {status.st_uid}, who could allow another signer", f"Run: chown root {path}")
    if status.st_mode & OTHERS:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        refuse(path, f"others may write to it (mode {mode}), and could allow another signer", f"Run: chmod go-w {path}")


def _content(path: str, limit: int, flags: int) -> Tuple[bytes, os.stat_result]:
    """Return content and status of the regular file *path*, of 1 to *limit* bytes."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        refuse(path, "is not a regular file", "Give the path of a file")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            refuse(path, "is not a regular file", "Give the path of a file")
        if status.st_size > limit:
            refuse(path, f"has {status.st_size} bytes, more than {limit}", "Give the right file")
        content = file.read(limit + 1)
    if not content or len(content) > limit:
        refuse(path, "is empty" if not content else f"has more than {limit} bytes", "Copy it again")
    return content, status


def refuse(path: str, why: str, fix: str) -> NoReturn:
    """Raise ArtifactError."""
    raise ArtifactError(path, why, fix)
