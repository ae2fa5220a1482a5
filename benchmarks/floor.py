"""The least that an installation with all its checks can cost, in Python: what no planning or parsing can take away.

    python benchmarks/floor.py plan ARTIFACT ROWS
    python benchmarks/floor.py run ARTIFACT ROWS [DEST [sync]]
    python benchmarks/floor.py copy ARTIFACT OUT

``plan`` notes where each file of the artifact is and where it is installed. ``run`` starts from that: one process per
core compares CRC-32 and SHA-256 of every member that is stored, then inflates every file, compares its SHA-256, and
writes it into DEST, where the folders are made first. Without DEST nothing is written, CRC-32 of every file is compared
too, and the shipped bytecode is not inflated: that is the least of ``verify``. With "sync", a further process lets the
kernel write to the disk meanwhile, and the end waits for the rest. No directory is read, nothing is planned, and there
is no virtualenv, no RECORD and no list of what was installed.

``copy`` is the least of a build that writes an artifact: every byte is read and hashed once by one thread, copied by
the kernel in another, and put on the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import marshal
import os
import signal
import struct
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import Any, Callable, Iterator, Tuple

File = Tuple[str, int, int, int, int, int, str]  # path, offset, bytes there, bytes inflated, CRC-32, mode, SHA-256
_BATCH = 48  # files
_BLOCK = 1024 * 1024  # bytes
_PAUSE = 0.05  # seconds between two times that the kernel is asked to write to the disk
_NUMBER = struct.Struct("<L")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def plan(artifact: str, rows: str) -> None:
    """Write to *rows* what :func:`run` needs to know of *artifact*: its members, the folders and the files."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cfgov"))
    from deployable_zipfile.artifact.wheel import Wheel
    from deployable_zipfile.artifact.zipreader import Artifact
    from deployable_zipfile.install import host
    from deployable_zipfile.install.plan import Place, planned
    from deployable_zipfile.install.tree import project_jobs
    from deployable_zipfile.install_wheels import open_wheel

    with Artifact.open(artifact) as opened:
        manifest = opened.manifest
        target = host.select_target(manifest)
        place = Place("", "/", target.python, manifest.project, compiles=False)
        fits = host.bytecode_fits(target)
        wheels = [open_wheel(opened, wheel, fits) for wheel in target.wheels + target.bootstrap]
        jobs = [*planned(wheels, place).jobs.values()]
        jobs += [job for some, _ in project_jobs(opened, target, place) for job in some]
        # The shipped bytecode is all that has no digest to be compared with.
        files = [_file(job) for job in jobs if job.sha256 or isinstance(job.window, Wheel)]
        shipped = [_file(job) for job in jobs if not (job.sha256 or isinstance(job.window, Wheel))]
        members = [
            (opened.container.data_start(entry), entry.size, entry.crc, manifest.members[name].sha256)
            for name, entry in opened.members.items()
            if entry.method == 0 and name in manifest.members
        ]
    members.sort(key=lambda member: -member[1])
    for some in (files, shipped):
        some.sort(key=lambda file: -file[2] if file[2] > _BLOCK else 0)  # the largest first
    folders = {parent for path, *_ in [*files, *shipped] for parent in map(str, Path(path).parents)} - {"."}
    with open(rows, "wb") as file:
        marshal.dump((members, sorted(folders), files, shipped), file)


def _file(job: Any) -> File:
    window, entry = job.window, job.entry
    size = entry.size if entry.method else -1  # -1: not compressed
    digest = hashlib.sha256(window.read(entry)).hexdigest()
    return job.path, window.data_start(entry), entry.compressed, size, entry.crc, job.mode, digest


def run(artifact: str, rows: str, destination: str, sync: bool = False) -> None:
    """Do what ``plan`` noted, one process per core; write into the new folder *destination*, "": nowhere.

    Parameters:
        sync: put it on the disk.

    Raises:
        RuntimeError: something differs, or cannot be written.
    """
    with open(rows, "rb") as file:
        members, folders, files, shipped = marshal.load(file)
    files += shipped if destination else []
    descriptor = os.open(artifact, os.O_RDONLY)

    def compare(number: int) -> None:
        start, size, *expected = members[number]
        digest, crc = hashlib.sha256(), 0
        for at in range(start, start + size, _BLOCK):
            data = os.pread(descriptor, min(_BLOCK, start + size - at), at)
            digest.update(data)
            crc = zlib.crc32(data, crc)
        _same([crc, digest.hexdigest()], expected)

    def write(number: int) -> None:
        for path, start, packed, size, crc, mode, expected in files[number * _BATCH : number * _BATCH + _BATCH]:
            data = os.pread(descriptor, packed, start)
            if size >= 0:
                data = zlib.decompress(data, -zlib.MAX_WBITS, size or 1)
            _same(hashlib.sha256(data).hexdigest(), expected)
            if not destination:
                _same(zlib.crc32(data), crc)
            else:
                target = os.open(f"{destination}/{path}", _CREATE, mode)
                os.write(target, data)
                os.close(target)

    _spread(compare, len(members))
    if destination:
        for folder in ("", *folders):
            os.mkdir(f"{destination}/{folder}", 0o755)
    with _written_behind(destination) if sync else contextlib.nullcontext():
        _spread(write, -(-len(files) // _BATCH))


def copy(artifact: str, output: str) -> None:
    """Copy *artifact* to *output*, on the disk, and print its SHA-256."""
    source, digest = os.open(artifact, os.O_RDONLY), hashlib.sha256()
    size = os.fstat(source).st_size
    target = os.open(output, _CREATE, 0o755)

    def write() -> None:
        done, copied = 0, 1
        while copied:
            copied = os.copy_file_range(source, target, _BLOCK, done)
            done += copied
        os.fsync(target)

    thread = threading.Thread(target=write)
    thread.start()
    block = memoryview(bytearray(_BLOCK))
    for at in range(0, size, _BLOCK):
        digest.update(block[: os.preadv(source, [block], at)])
    thread.join()
    _same(os.fstat(target).st_size, size)
    print(digest.hexdigest())


@contextlib.contextmanager
def _written_behind(folder: str) -> Iterator[None]:
    """Let a process write the file system of *folder* to its disk again and again, and wait for it at the end."""
    descriptor = os.open(folder, os.O_RDONLY)
    syncfs = ctypes.CDLL(None).syncfs
    parent, process = os.getpid(), os.fork()
    if not process:
        while os.getppid() == parent:
            syncfs(descriptor)
            time.sleep(_PAUSE)
        os._exit(1)
    try:
        yield
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    _same(syncfs(descriptor), 0)


def _same(found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"{found} is not {expected}")


def _spread(work: Callable[[int], None], count: int) -> None:
    """Call ``work(0)`` ... ``work(count - 1)``, each in one of as many processes as there are cores."""
    numbers, feed = os.pipe()
    processes = []
    for _ in range(len(os.sched_getaffinity(0))):
        process = os.fork()
        if not process:
            os.close(feed)
            try:
                for raw in iter(lambda: os.read(numbers, _NUMBER.size), b""):
                    work(_NUMBER.unpack(raw)[0])
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        processes.append(process)
    os.close(numbers)
    os.write(feed, b"".join(map(_NUMBER.pack, range(count))))
    os.close(feed)
    if any(os.waitpid(process, 0)[1] for process in processes):
        raise RuntimeError("a process failed")


if __name__ == "__main__":
    if sys.argv[1] == "plan":
        plan(*sys.argv[2:4])
    elif sys.argv[1] == "copy":
        copy(*sys.argv[2:4])
    else:
        run(sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "", sys.argv[5:] == ["sync"])
