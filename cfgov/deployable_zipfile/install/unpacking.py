"""Wheels unpacked into a store, each with its bytecode."""

from __future__ import annotations

import os
from typing import Dict, List, Sequence, Tuple

from .. import durable
from ..artifact.wheel import is_script
from ..artifact.window import Window
from ..workers import run
from .entries import Entry, Row, Seen
from .plan import OpenedWheel, is_own
from .store import Store
from .writer import Job, make_folders, write_files

_BATCH = 256  # files
WHEEL, BYTECODE = "wheel", "bytecode"  # folders of an entry: a path may be in both


def unpacked(store: Store, sources: Sequence[OpenedWheel], keys: Sequence[str], workers: int) -> List[Entry]:
    """Unpack *sources* into the store, whose lock the caller holds; return their entries, named *keys*."""
    if not sources:
        return []
    os.makedirs(store.new, mode=0o700, exist_ok=True)
    jobs: List[Job] = []
    owners: List[Tuple[int, str]] = []
    for number, source in enumerate(sources):
        for inner, window, name in _contents(source):
            entry = window.files[name] if window is source.wheel else window.entries[name]  # type: ignore[attr-defined]
            mode = entry.mode if window is source.wheel else 0o644
            jobs.append(Job(f"{number}/{inner}", window, entry, mode, "", ""))
            owners.append((number, inner))
    folders = [str(number) for number in range(len(sources))] + [os.path.dirname(job.path) for job in jobs]
    make_folders(store.new, folders, workers)
    write_files(store.new, jobs, workers)
    entries = [
        Entry(key, source.wheel.filename, os.path.join(store.new, str(number)), {}, {})
        for number, (key, source) in enumerate(zip(keys, sources))
    ]
    for index, row, seen in _looked_at(store.new, jobs, workers):
        number, inner = owners[index]
        entries[number].rows[inner], entries[number].seen[inner] = row, seen
    store.publish(entries)
    return entries


def _looked_at(folder: str, jobs: List[Job], workers: int) -> List[Tuple[int, Row, Seen]]:
    """Return what was written into *folder* for each of *jobs*."""

    def look(number: int) -> List[Tuple[int, str, Tuple[int, int, int]]]:
        rows = []
        for index in range(number * _BATCH, min((number + 1) * _BATCH, len(jobs))):
            job = jobs[index]
            path = f"{folder}/{job.path}"
            digest = _recorded(job) or durable.digest(path)
            status = os.lstat(path)
            rows.append((index, digest, (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)))
        return rows

    found: Dict[int, Tuple[str, Seen]] = {}
    for rows in run(look, -(-len(jobs) // _BATCH), workers):
        found.update((index, (digest, seen)) for index, digest, seen in rows)
    return [(index, Row(job.mode, job.entry.size, found[index][0]), found[index][1]) for index, job in enumerate(jobs)]


def _contents(source: OpenedWheel) -> List[Tuple[str, Window, str]]:
    """Return what an entry of *source* holds: path in it, window, name there. Scripts and RECORD are each release's."""
    wheel = source.wheel
    found: List[Tuple[str, Window, str]] = [
        (f"{WHEEL}/{name}", wheel, name) for name in wheel.files if not is_own(wheel, name) and not is_script(name)
    ]
    if source.bytecode is not None:
        found += [(f"{BYTECODE}/{name}", source.bytecode, name) for name in source.bytecode.entries]
    return found


def _recorded(job: Job) -> str:
    """Return the SHA-256 that the content of *job* was proven against, "" when it was against none."""
    record = getattr(job.window, "record", {})
    row = record.get(job.entry.name)
    return row.sha256 if row is not None else ""
