"""What happened to the releases of one root, one JSON object a line, oldest first.

A record is one ``write`` of one line followed by ``fsync``, so a crash can tear the last line and no other.
Order is the order of the lines: a clock that jumps changes no decision.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Set

from .. import durable
from ..definitions import NamedTuple
from ..errors import DeploymentError

STARTED = "started"  # a deployment or rollback began; details: verb, from; of a rollback also bad: it will mark `from`
INSTALLED = "installed"  # the release's folder is complete; details: commit, project, already, signed_by, key
SIGNED = "signed"  # the signature of an installed release's artifact was checked; details: signed_by, key
SWITCHED = "switched"  # `current` points to the release; details: from
LIVE = "live"  # the release proved that it answers; details: verb, from, options, steps
BAD = "bad"  # the release failed, or was rolled back; details: step, why
RETURNED = "returned"  # `current` points to the release again after another one failed; details: from
INTERRUPTED = "interrupted"  # the operator stopped the verb; details: step
PRUNED = "pruned"  # the release's folder is gone
SIGNATURE = "signature"  # what artifacts must be signed with changed; details: of signing.Policy

EVENTS = frozenset([STARTED, INSTALLED, SIGNED, SWITCHED, LIVE, BAD, RETURNED, INTERRUPTED, PRUNED, SIGNATURE])

_MODE = 0o640  # it holds options, and why deployments failed
_REGULAR = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO in its place is opened without a wait, and refused


class Record(NamedTuple):
    """One line of the journal."""

    time: str  # UTC, ISO 8601 with seconds: "2026-01-31T12:00:00Z"
    event: str  # one of EVENTS
    release: str  # what `current` points to or would: "releases/<build id>", or a folder not made by us
    by: str  # user@host
    details: Mapping[str, Any]


class Journal:
    """The journal in the file *path*; an absent file is an empty journal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> List[Record]:
        """Return all records, oldest first, without a torn tail.

        Raises:
            DeploymentError: a line that others follow is not a record, or the file cannot be read.
        """
        records, _ = self._scan()
        return records

    def append(self, event: str, release: str, **details: Any) -> Record:
        """Add one record and return when it is on the disk. The caller holds the root's lock.

        Raises:
            DeploymentError: the journal is damaged or cannot be written.
        """
        if event not in EVENTS:
            raise ValueError(event)
        record = Record(_now(), event, release, whoami(), details)
        line = json.dumps(dict(record._asdict(), details=dict(details)), sort_keys=True, ensure_ascii=True) + "\n"
        _, good = self._scan()
        created = not self.path.exists()
        try:
            descriptor = os.open(str(self.path), os.O_WRONLY | os.O_CREAT | _REGULAR, _MODE)
            try:
                self._check(descriptor)
                os.fchmod(descriptor, _MODE)
                os.ftruncate(descriptor, good)
                durable.write_at(descriptor, line.encode("ascii"), good)
                durable.sync_file(descriptor)
            finally:
                os.close(descriptor)
            if created:
                durable.sync_folder(str(self.path.parent))
        except OSError as error:
            raise DeploymentError(
                self.path, f"cannot be written ({error.strerror})", "Free disk space or correct permissions"
            ) from error
        return record

    def _content(self) -> bytes:
        descriptor = os.open(str(self.path), os.O_RDONLY | _REGULAR)
        with os.fdopen(descriptor, "rb") as file:
            self._check(file.fileno())
            return file.read()

    def _check(self, descriptor: int) -> None:
        """Refuse a FIFO or a device in its place."""
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DeploymentError(self.path, "is not a regular file", "Move it away")

    def _scan(self) -> "tuple[List[Record], int]":
        """Return the records and the size in bytes of the part that holds them."""
        try:
            text = self._content()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise DeploymentError(self.path, f"cannot be read ({error.strerror})", "Run it as its owner") from error
        records: List[Record] = []
        good = position = 0
        torn: Optional[int] = None
        for number, line in enumerate(text.splitlines(keepends=True), start=1):
            position += len(line)
            record = _record(line) if line.endswith(b"\n") else None
            if record is None:
                torn = torn or number
            elif torn:
                raise DeploymentError(
                    self.path, f"line {torn} is not a record, but others follow it", f"Remove line {torn} of the file"
                )
            else:
                records.append(record)
                good = position
        return records, good


class History(NamedTuple):
    """What the journal's records amount to."""

    proven: List[str]  # releases that were live, in the order they last became so; the newest is last
    bad: Dict[str, str]  # release -> why
    last: Dict[str, Record]  # release -> its newest record
    commits: Dict[str, str]  # release -> git commit, "" when unknown
    dirty: Set[str]  # releases that hold more than their commit
    options: Mapping[str, Any]  # how the last proven release was restarted and checked
    unfinished: Optional[Record]  # the beginning of a rollback that a crash cut short, if that was the last command
    signers: Dict[str, str]  # release -> who signed it, where that was checked
    signature: Mapping[str, Any]  # what artifacts must be signed with

    def previous(self, release: Optional[str]) -> List[str]:
        """Return the releases that may be gone back to from *release*, best first."""
        return [one for one in reversed(self.proven) if one != release and one not in self.bad]


def history(records: List[Record]) -> History:
    """Fold *records* into what is known of each release."""
    proven: List[str] = []
    bad: Dict[str, str] = {}
    last: Dict[str, Record] = {}
    commits: Dict[str, str] = {}
    dirty: Set[str] = set()
    options: Mapping[str, Any] = {}
    unfinished: Optional[Record] = None
    signature: Mapping[str, Any] = {}
    for record in records:
        release = record.release
        last[release] = record
        unfinished = _unfinished(unfinished, record)
        if record.event == INSTALLED:
            commits[release] = str(record.details.get("commit", ""))
            (dirty.add if record.details.get("dirty") else dirty.discard)(release)
        elif record.event in (LIVE, RETURNED):
            left = record.details.get("from")
            if isinstance(left, str) and left not in last and left not in proven:
                proven.append(left)  # live before there was a journal: made by hand
            proven = [one for one in proven if one != release] + [release]
            if record.event == LIVE:
                bad.pop(release, None)
                options = _mapping(record.details.get("options"), options)
        elif record.event == BAD:
            bad[release] = str(record.details.get("why", ""))
        elif record.event == SIGNATURE:
            signature = record.details
        elif record.event == PRUNED:
            proven = [one for one in proven if one != release]
            bad.pop(release, None)
    return History(proven, bad, last, commits, dirty, options, unfinished, _signers(records), signature)


def whoami() -> str:
    """Return ``user@host`` of the person at work: the one behind ``sudo`` when there is one."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError, ImportError):  # a uid without a passwd entry
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _signers(records: List[Record]) -> Dict[str, str]:
    signers: Dict[str, str] = {}
    for record in records:
        # What is installed already has the files that were signed before.
        if record.event == PRUNED or (record.event == INSTALLED and not record.details.get("already")):
            signers.pop(record.release, None)
        who = record.details.get("signed_by")
        if record.event in (INSTALLED, SIGNED) and isinstance(who, str) and who:
            signers[record.release] = who
    return signers


def _mapping(value: Any, otherwise: Mapping[str, Any]) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else otherwise


def _unfinished(before: Optional[Record], record: Record) -> Optional[Record]:
    """Return the rollback that is under way after *record*, when *before* was until then."""
    if record.event == STARTED:
        return record if record.details.get("verb") == "rollback" else None
    marks = before is not None and bool(before.details.get("bad"))
    if record.event in (BAD, RETURNED, INTERRUPTED) or (record.event == LIVE and not marks):
        return None
    return before


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _record(line: bytes) -> Optional[Record]:
    """Return the record in *line*, None when the line holds none."""
    try:
        document = json.loads(line.decode("ascii"))
        record = Record(**document)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (record.time, record.event, record.release, record.by)
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.details, dict):
        return None
    return record
