"""Wheels unpacked into a store, each with its bytecode."""

from __future__ import annotations

import os
from typing import List, Sequence, Tuple

from .. import durable
from ..artifact.index import mode_of
from ..artifact.wheel import is_script
from ..artifact.window import Window
from ..definitions import NamedTuple
from ..workers import run
from .entries import Entry, Row, Seen
from .listed import Listed, Part, parts_of, prove
from .plan import OpenedWheel, Source, is_own
from .store import Store
from .writer import Job, make_folders, write_files

_BATCH = 256  # files
WHEEL, BYTECODE = "wheel", "bytecode"  # folders of an entry: a path may be in both


class _File(NamedTuple):
    """One file of an entry."""

    number: int  # of the source
    inner: str  # its path in the entry
    mode: int
    size: int  # bytes
    sha256: str  # "": it is not known yet


def unpacked(store: Store, sources: Sequence[Source], keys: Sequence[str], workers: int) -> List[Entry]:
    """Unpack *sources* into the store, whose lock the caller holds; return their entries, named *keys*.

    Other artifacts rely on what they hold, so the indexes of the wheels are compared with the wheels first.
    """
    if not sources:
        return []
    by_index = [source for source in sources if isinstance(source, Listed)]
    for _ in run(lambda number: prove(by_index[number]), len(by_index), workers):
        pass
    os.makedirs(store.new, mode=0o700, exist_ok=True)
    jobs: List[Job] = []
    parts: List[Part] = []
    files: List[_File] = []
    folders = [str(number) for number in range(len(sources))]
    for number, source in enumerate(sources):
        if isinstance(source, Listed):
            parts += parts_of(source, f"{number}/{WHEEL}", f"{number}/{BYTECODE}")
            continue
        for inner, window, name in _contents(source):
            entry = window.files[name] if window is source.wheel else window.entries[name]  # type: ignore[attr-defined]
            mode = entry.mode if window is source.wheel else 0o644
            jobs.append(Job(f"{number}/{inner}", window, entry, mode, "", ""))
            files.append(_File(number, inner, mode, entry.size, _recorded(jobs[-1])))
    for part in parts:
        owner, _, folder = part.folder.partition("/")
        for name, _, _, size, kind, sha256 in part.archive.files.rows(part.first, part.last):
            files.append(_File(int(owner), f"{folder}/{name}", mode_of(kind), size, sha256.hex()))
    make_folders(store.new, [*folders, *{os.path.dirname(f"{one.number}/{one.inner}") for one in files}], workers)
    write_files(store.new, jobs, workers, parts=parts)
    entries = [
        Entry(key, source.wheel.label.rpartition("/")[2], os.path.join(store.new, str(number)), {}, {})
        for number, (key, source) in enumerate(zip(keys, sources))
    ]
    for index, digest, seen in _looked_at(store.new, files, workers):
        one = files[index]
        entries[one.number].rows[one.inner] = Row(one.mode, one.size, digest)
        entries[one.number].seen[one.inner] = seen
    store.publish(entries)
    return entries


def _looked_at(folder: str, files: List[_File], workers: int) -> List[Tuple[int, str, Seen]]:
    """Return digest and state of each of *files*, which were written into *folder*, by their numbers."""

    def look(number: int) -> List[Tuple[int, str, Tuple[int, int, int]]]:
        rows = []
        for index in range(number * _BATCH, min((number + 1) * _BATCH, len(files))):
            path = f"{folder}/{files[index].number}/{files[index].inner}"
            digest = files[index].sha256 or durable.digest(path)
            status = os.lstat(path)
            rows.append((index, digest, (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)))
        return rows

    return sorted(row for rows in run(look, -(-len(files) // _BATCH), workers) for row in rows)


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
