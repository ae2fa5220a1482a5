"""Compiles wheels and project to ``.pyc`` files, in several processes of the interpreter that is to run them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
from typing import IO, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from .. import durable, process
from ..artifact.names import name_problem
from ..definitions import NamedTuple
from ..errors import BuildInputError
from ..workers import in_thread

FORMAT = 2  # of the compiled files, for caches
_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bytecode_worker.py")
_BATCH = 100  # files per job: keeps all processes busy to the end, whatever the wheels' sizes
_LITTLE = 256 * 1024  # bytes of source that compile sooner than another process starts
_PAUSE = 0.2  # seconds


class Unit(NamedTuple):
    """Files that are compiled into one archive: a wheel's, or the project's."""

    key: str  # the caller's name for it
    wheel: Optional[str]  # path of the wheel, None when the files are on disk
    files: Tuple[Tuple[str, str], ...]  # (member or path, name in site-packages or in the destination)


class Compiled(NamedTuple):
    """One ``.pyc`` file, lying in a file of the scratch folder."""

    name: str  # x/__pycache__/y.cpython-311.pyc
    path: str
    offset: int
    size: int  # bytes


class Result(NamedTuple):
    """What became of one unit."""

    compiled: Tuple[Compiled, ...]  # sorted by name
    skipped: Tuple[str, ...]  # files that are no Python of this version
    digests: Dict[str, str]  # SHA-256 of every source, by its name


def compile_units(
    units: Sequence[Unit],
    interpreter: str,
    cache_tag: str,
    work: str,
    workers: int,
    progress: Callable[[int], object] = int,
) -> Dict[str, Result]:
    """Compile all *units* with *interpreter* and return what came out, by key.

    Parameters:
        cache_tag: of the interpreter (PEP 3147).
        work: scratch folder for the compiled files.
        workers: processes.
        progress: called with how many more files are compiled, by any thread.

    Raises:
        BuildInputError: the interpreter failed.
    """
    jobs = [
        (unit, unit.files[first : first + _BATCH])
        for unit in sorted(units, key=lambda unit: -len(unit.files))
        for first in range(0, len(unit.files), _BATCH)
    ]
    answers = _Team(jobs, interpreter, work, progress).run(min(workers, len(jobs)) or 1)
    results: Dict[str, Result] = {}
    for unit in units:
        own = [answer for (other, _), answer in zip(jobs, answers) if other is unit]
        results[unit.key] = _result(own, cache_tag)
    return results


def compiled_here(unit: Unit, interpreter: str, cache_tag: str, work: str) -> Result:
    """Compile in this process what *interpreter* would compile to the same bytes.

    Another process takes longer to start than a few files take to compile.

    Parameters:
        unit: files on disk.
        interpreter, cache_tag, work: as for :func:`compile_units`.

    Returns what it compiled, with the digests of those sources; nothing when this is another interpreter, when it was
    started with options that change what is compiled, or when there is much to do.
    """
    compiled: List[Compiled] = []
    digests: Dict[str, str] = {}
    if not _is_this(interpreter):
        return Result((), (), {})
    import warnings

    from . import bytecode_worker

    output, room = os.path.join(work, "bytecode-here"), _LITTLE
    with open(output, "wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path, name in unit.files:
            try:
                with open(path, "rb") as opened:
                    source = opened.read(room + 1)
            except OSError:
                continue  # the other process says what is wrong
            room -= len(source)
            if room < 0:
                return Result((), (), {})
            data = bytecode_worker.compiled_anywhere(source, name)
            target = target_name(name, cache_tag)
            if data is not None and not name_problem(target):
                compiled.append(Compiled(target, output, file.tell(), len(data)))
                digests[name] = hashlib.sha256(source).hexdigest()
                file.write(data)
    return Result(tuple(compiled), (), digests)


def _is_this(interpreter: str) -> bool:
    """Say whether this process compiles as one that is started with *interpreter* and no option."""
    changed = any(name in os.environ for name in ("PYTHONNODEBUGRANGES", "PYTHONINTMAXSTRDIGITS"))
    options = sys._xoptions or sys.warnoptions or sys.flags.bytes_warning or sys.flags.debug or sys.flags.dev_mode
    return not (changed or options) and os.path.realpath(interpreter) == os.path.realpath(sys.executable)


_Answer = Tuple[str, List[Tuple[str, int, str]]]  # output path; name, size (-1: skipped), source digest


class _Team:
    """Threads that each feed one process; they hold no lock while it works."""

    def __init__(
        self,
        jobs: Sequence[Tuple[Unit, Sequence[Tuple[str, str]]]],
        interpreter: str,
        work: str,
        progress: Callable[[int], object],
    ) -> None:
        self._jobs = jobs
        self._progress = progress
        self._interpreter = interpreter
        self._work = work
        self._numbers: Iterator[int] = iter(range(len(jobs)))
        self._lock = threading.Lock()
        self._answers: Dict[int, _Answer] = {}
        self._errors: List[BaseException] = []

    def run(self, workers: int) -> List[_Answer]:
        with contextlib.ExitStack() as stack:
            compilers = [stack.enter_context(_Compiler(self._interpreter)) for _ in range(workers)]
            threads = []
            with contextlib.suppress(BlockingIOError):
                for compiler in compilers:
                    threads.append(in_thread(self._serve, compiler, daemon=False))
            if not threads:  # the system gives none
                self._serve(compilers[0])
            try:
                for thread in threads:
                    while thread.is_alive():
                        thread.join(_PAUSE)  # CPython 3.13 handles no signal, so no timer either, during a join
            except BaseException as error:
                self._errors.append(error)  # the threads end when their compilers do
                raise
        if self._errors:
            raise self._errors[0]
        return [self._answers[number] for number in range(len(self._jobs))]

    def _serve(self, compiler: "_Compiler") -> None:
        try:
            for number in self._claims():
                self._answers[number] = self._ask(compiler, number)
                with self._lock:
                    self._progress(len(self._jobs[number][1]))
        except BaseException as error:  # handed to the thread that waits
            self._errors.append(error)

    def _claims(self) -> Iterator[int]:
        while not self._errors:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            yield number

    def _ask(self, compiler: "_Compiler", number: int) -> _Answer:
        unit, files = self._jobs[number]
        output = os.path.join(self._work, f"bytecode-{number}")
        job = {"output": output, "wheel": unit.wheel, "files": [list(pair) for pair in files]}
        line = compiler.ask(json.dumps(job).encode("ascii") + b"\n")
        if not line:
            why = f"cannot compile {unit.key} ({compiler.last_words()[:200]})"
            raise BuildInputError(self._interpreter, why, "Build again")
        return output, [(name, size, digest) for name, size, digest in json.loads(line.decode("utf-8"))]


class _Compiler:
    """One process of *interpreter* that answers each line with a line."""

    def __init__(self, interpreter: str) -> None:
        # The seed fixes the order of sets; without -S and -I a site's own hooks would run in here. A Python of a
        # software collection finds its own library only by LD_LIBRARY_PATH.
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        self._environment = dict(kept, PYTHONHASHSEED="0", PYTHONNOUSERSITE="1", LC_ALL="C")
        self._words = [interpreter, "-S", "-s", "-B", "-X", "utf8", _WORKER]
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "_Compiler":
        with contextlib.ExitStack() as stack, contextlib.ExitStack() as theirs:
            stdin, jobs = os.pipe()
            answers, stdout = os.pipe()
            self._jobs: IO[bytes] = stack.enter_context(os.fdopen(jobs, "wb", buffering=0))
            self._answers: IO[bytes] = stack.enter_context(os.fdopen(answers, "rb"))
            for end in (stdin, stdout):
                theirs.callback(os.close, end)
            self._errors: IO[bytes] = stack.enter_context(durable.nameless_file())
            server = process.Server(
                self._words, self._errors.fileno(), os.curdir, self._environment, stdin=stdin, stdout=stdout
            )
            stack.enter_context(server)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, line: bytes) -> bytes:
        """Return the answer to *line*, b"" when the process has ended."""
        try:
            durable.write_all(self._jobs.fileno(), line)
            return self._answers.readline()
        except BrokenPipeError:
            return b""

    def last_words(self) -> str:
        """Return the last line that it wrote to stderr."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it ended"


def _result(answers: Sequence[_Answer], cache_tag: str) -> Result:
    compiled, skipped, digests = [], [], {}
    taken: Set[str] = set()  # a container holds no two names that differ only by case
    for path, files in answers:
        offset = 0
        for name, size, digest in files:
            digests[name] = digest
            target = target_name(name, cache_tag)
            if size < 0 or name_problem(target) or target.casefold() in taken:
                skipped.append(name)
            else:
                taken.add(target.casefold())
                compiled.append(Compiled(target, path, offset, size))
            offset += max(size, 0)
    return Result(tuple(sorted(compiled)), tuple(sorted(skipped)), digests)


def target_name(name: str, cache_tag: str) -> str:
    """Return where the bytecode of *name* belongs (PEP 3147)."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}__pycache__/{last[: -len('.py')]}.{cache_tag}.pyc"
