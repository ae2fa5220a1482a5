"""Write many files into a new tree: folders first, from a set computed once, then files, by worker processes.

Making files and folders is most of an installation, and of the kernel's work in it, so nothing is asked twice: no
``makedirs``, no existence tests, no rename of single files. The tree is new and private until it is committed as a
whole, which is why files are created exclusively and never fsynced one by one.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import marshal
import os
import sys
import warnings
from typing import Callable, Collection, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union

from ..artifact.wheel import Wheel
from ..artifact.window import Entry, Window
from ..definitions import NamedTuple
from ..durable import write_all
from ..errors import ArtifactError
from ..workers import run, started
from .inventory import Notes, notes_of
from .listed import CREATE, Part, alone, ranges, write_part

_FEW = 1000  # folders that one process makes before another one has begun

Chunk = Union[Tuple[int, int], Part]  # of jobs the first, and the one after the last; or files by their index
Noted = Callable[[Notes], None]
Beside = Callable[[], Optional[Notes]]


class Job(NamedTuple):
    """One file to write."""

    path: str  # relative to the tree, "/" between parts
    window: Window
    entry: Entry
    mode: int
    sha256: str  # expected, hexadecimal; "" for wheels, which are proven against their RECORD
    compile_as: str  # final absolute path to compile a .py for; "" when bytecode is shipped or not wanted


class Taken(NamedTuple):
    """What came of putting files of a store into a tree."""

    left: List[Job]  # whose files the store does not have
    parts: Sequence[Part]  # the same of wheels that are installed by their indexes
    compiled: Set[str]  # paths of bytecode that was compiled here
    notes: Optional[List[Notes]]  # what is to be known of the others; None: they have to be looked at


def make_folders(tree: str, paths: Iterable[str], workers: int = 0) -> None:
    """Make every folder in *paths* and all above them, inside the existing folder *tree*.

    Parameters:
        tree: absolute path.
        paths: relative folder paths.
        workers: processes, as in :func:`workers.run`.
    """
    with making_folders(tree, paths, workers):
        pass


@contextlib.contextmanager
def making_folders(
    tree: str, paths: Iterable[str], workers: int = 0, made: Collection[str] = ()
) -> Iterator[Callable[[], None]]:
    """Begin :func:`make_folders` and return; yield what waits until all folders are there, as the end does.

    Parameters:
        made: folders that exist, with all above them.
    """
    batches = _folder_batches(tree, paths, made)

    def make(number: int) -> None:
        _make(tree, batches[number])

    with started(make, len(batches), workers if sum(map(len, batches)) > _FEW else 1) as answers:

        def wait() -> None:
            for _ in answers:
                pass

        yield wait
        wait()


def _make(tree: str, paths: List[str]) -> None:
    for path in paths:
        os.mkdir(f"{tree}/{path}", 0o755)


def _folder_batches(tree: str, paths: Iterable[str], made: Collection[str]) -> List[List[str]]:
    """Make the topmost of the folders in *paths* and above them; return the others, in batches that are independent.

    Those in *made* exist.
    """
    wanted: Set[str] = set()
    for path in paths:
        while path and path not in wanted and path not in made:
            wanted.add(path)
            path = path.rpartition("/")[0]
    groups: Dict[str, List[str]] = {}
    for path in sorted(wanted):
        # venv/lib/pythonX.Y/site-packages/PACKAGE: below the fifth part, groups do not depend on each other.
        parts = path.split("/", 5)
        if len(parts) <= 5:
            os.mkdir(f"{tree}/{path}", 0o755)
        else:
            groups.setdefault("/".join(parts[:5]), []).append(path)
    return _balanced(list(groups.values()))


def write_files(
    tree: str,
    jobs: List[Job],
    workers: int = 0,
    progress: Optional[Callable[[int], None]] = None,
    noted: Optional[Noted] = None,
    folders: Iterable[str] = (),
    beside: Sequence[Beside] = (),
    meanwhile: Sequence[Callable[[], None]] = (),
    made: Collection[str] = (),
    parts: Sequence[Part] = (),
) -> Set[str]:
    """Write every file of *jobs* and *parts*; return the paths (relative) of bytecode files that were compiled here.

    Parameters:
        tree: absolute path of a tree.
        jobs: in any order; those of one folder are best kept together, and those of one archive in its order.
        workers: processes, as in :func:`workers.run`.
        progress: called with a number of files as they are written.
        noted: called with what is to be known of files of *jobs* that were written (:func:`inventory.notes_of`).
        folders: made first, with those above them, by the same processes; the others that the files need exist,
            ``__pycache__`` folders included.
        beside: other work that needs no more than the folders, done by the same processes; it returns what is to be
            known of the files that it wrote, or nothing.
        meanwhile: other work that needs no more than the folders, done by this process while it waits for them.
        made: folders that exist, with all above them.
        parts: files of wheels that are installed by their indexes.

    Raises:
        ArtifactError, WheelError: content that is not what it should be.
        OSError: the file system refused.
    """
    batches = _folder_batches(tree, folders, made)
    work = _Work(tree, jobs, batches, _largest_first(jobs, parts), beside, noted is not None)
    waiting = iter(meanwhile)
    everything: Set[str] = set()
    for number, notes, compiled_here in run(work.do, work.size, workers, len(work.batches)):
        if number >= len(work.batches):
            next(waiting, _nothing)()
        everything.update(compiled_here)
        if noted and notes:
            noted(notes)
        written = work.files_of(number)
        if progress and written:
            progress(written)
    for late in waiting:
        late()
    return everything


class _Work(NamedTuple):
    """What the processes of one team do, by number: they make folders, write files and do other work, in this order."""

    tree: str
    jobs: List[Job]
    batches: List[List[str]]  # of folders
    chunks: List[Chunk]
    beside: Sequence[Beside]
    notes: bool  # whether it is told what was written

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self.batches) + len(self.chunks) + len(self.beside)

    def files_of(self, number: int) -> int:
        """Return how many files are written by this number."""
        chunk = self._chunk(number)
        return 0 if chunk is None else chunk[-1] - chunk[-2]

    def _chunk(self, number: int) -> Optional[Chunk]:
        number -= len(self.batches)
        return self.chunks[number] if 0 <= number < len(self.chunks) else None

    def do(self, number: int) -> Tuple[int, Optional[Notes], List[str]]:
        """Return *number*, what is to be known of the files that were written, and the paths of compiled ones."""
        chunk = self._chunk(number)
        if isinstance(chunk, Part):
            write_part(self.tree, chunk)
            return number, None, []
        if chunk is not None:
            jobs = self.jobs[chunk[0] : chunk[1]]
            digests, made = _write_range(self.tree, jobs)
            return number, notes_of([(job.path, job.mode) for job in jobs], digests) if self.notes else None, made
        if number < len(self.batches):
            _make(self.tree, self.batches[number])
            return number, None, []
        return number, self.beside[number - len(self.batches) - len(self.chunks)](), []


def _nothing() -> None:
    """Do nothing."""


def write_bytes(path: str, data: bytes, mode: int = 0o644) -> None:
    """Create the file *path* with *data*; it must not exist."""
    descriptor = os.open(path, CREATE, mode)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def bytecode_path(path: str, cache_tag: str) -> str:
    """Return where the bytecode of the source file *path* is (PEP 3147)."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name[:-3]}.{cache_tag}.pyc"


def _write_range(tree: str, jobs: List[Job]) -> Tuple[List[str], List[str]]:
    """Write some files; return the SHA-256 of each, and the paths of bytecode files that were compiled."""
    digests: List[str] = []
    made: List[str] = []
    for _, group in itertools.groupby(jobs, lambda job: id(job.window)):
        neighbours = list(group)
        window = neighbours[0].window
        for job, (entry, raw, base) in zip(neighbours, window.neighbours([job.entry for job in neighbours])):
            if not raw:
                digests.append(_write_large(tree, job, made))
                continue
            data = window.content(entry, raw, base)
            digests.append(_checked(job, data))
            write_bytes(f"{tree}/{job.path}", data, job.mode)
            if job.compile_as:
                made += compiled(tree, job, data)
    return digests, made


def _checked(job: Job, content: bytes) -> str:
    """Compare the whole *content* with the digest that the job expects; return its SHA-256, in hexadecimal."""
    if isinstance(job.window, Wheel):
        return job.window.check_digest(job.entry, content)
    digest = hashlib.sha256(content).hexdigest()
    if job.sha256 and digest != job.sha256:
        raise _changed(job)
    return digest


def _changed(job: Job) -> ArtifactError:
    return ArtifactError(job.entry.name, "changed since it was verified", "Copy the artifact again")


def _write_large(tree: str, job: Job, made: List[str]) -> str:
    """Write one file piece by piece; keep its text only when it must be compiled. Return its SHA-256."""
    kept: List[bytes] = []
    digest = hashlib.sha256()
    descriptor = os.open(f"{tree}/{job.path}", CREATE, job.mode)
    try:
        blocks = job.window.proven_blocks(job.entry) if isinstance(job.window, Wheel) else job.window.blocks(job.entry)
        for block in blocks:
            digest.update(block)
            write_all(descriptor, block)
            if job.compile_as:
                kept.append(block)
    finally:
        os.close(descriptor)
    if job.sha256 and digest.hexdigest() != job.sha256:
        raise _changed(job)
    if job.compile_as:
        made += compiled(tree, job, b"".join(kept))
    return digest.hexdigest()


def compiled(tree: str, job: Job, source: bytes) -> List[str]:
    """Compile one source file as ``compileall`` would; what does not compile is left as it is, as pip does.

    Parameters:
        source: text of the file of *job*, which wants to be compiled.

    Returns the path of the bytecode file, relative to *tree*, or nothing.
    """
    data = bytecode(source, job.compile_as)
    if data is None:
        return []
    path = bytecode_path(job.path, sys.implementation.cache_tag or "")
    write_bytes(f"{tree}/{path}", data)
    return [path]


def bytecode(source: bytes, path: str) -> Optional[bytes]:
    """Return the bytecode file of *source*, None when it does not compile.

    It is of PEP 552's unchecked kind: a release is never edited in place, and no start has to stat sources.

    Parameters:
        source: text of a module.
        path: final absolute path of the module: what tracebacks will show.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code, of no use to the person who installs it
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError):
            return None  # the parser of Python 3.8 gives up on deep nesting with a MemoryError
    return importlib.util.MAGIC_NUMBER + b"\x01\0\0\0" + importlib.util.source_hash(source) + marshal.dumps(code)


def _chunks(jobs: List[Job]) -> Iterable[Tuple[int, int]]:
    """Cut the jobs into ranges of about one megabyte or 64 files, blind to the borders of wheels."""
    return ranges([job.entry.size for job in jobs])


def _largest_first(jobs: List[Job], parts: Sequence[Part]) -> List[Chunk]:
    """Return all chunks, those of one large file first, so that none of them is the last."""
    chunks: List[Chunk] = [*_chunks(jobs), *parts]
    return sorted(chunks, key=lambda chunk: -(chunk.alone if isinstance(chunk, Part) else _alone(jobs, chunk)))


def _alone(jobs: List[Job], chunk: Tuple[int, int]) -> int:
    """Return the bytes of a chunk that is one large file, else 0."""
    first, last = chunk
    return alone(jobs[first].entry.size, last - first)


def _balanced(groups: List[List[str]]) -> List[List[str]]:
    """Join small groups into batches of about 64 folders."""
    batches: List[List[str]] = []
    for group in groups:
        if batches and len(batches[-1]) < 64:
            batches[-1].extend(group)
        else:
            batches.append(list(group))
    return batches
