"""What is written for one wheel beside its files: scripts, INSTALLER, REQUESTED and RECORD (PEP 376, PEP 427)."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Dict, Iterable, Iterator, List, Set

from ..artifact.container import Container
from ..artifact.record import RecordRow
from ..artifact.wheel import EntryPoint, Wheel, is_script
from ..definitions import NamedTuple
from .inventory import Notes, notes_of
from .listed import Listed, blocks
from .plan import Place, Plan, Source, dist_info_of, own_names, path_in, relative
from .writer import bytecode_path, write_bytes

INSTALLER = b"deployable-zipfile\n"  # PEP 376: the tool that installed
MAX_SHEBANG = 127  # bytes: what kernels before 5.1 read, newline not counted

_UNSIGNED = RecordRow("", "", None)  # RECORD.jws and RECORD.p7s are not in RECORD (PEP 427)


class _Written(NamedTuple):
    """A file that was written for a wheel beside its own."""

    path: str  # below the destination
    mode: int
    digest: bytes  # SHA-256
    size: int  # bytes


def shebang(interpreter: str) -> bytes:
    """Return the first line or lines of a Python script for *interpreter*, an absolute path.

    The kernel reads at most 127 bytes before 5.1 and splits at the first blank; where that does not do, the script is
    started by ``sh``, to which the lines are an ``exec`` and to Python a string.
    """
    line = f"#!{interpreter}"
    if len(os.fsencode(line)) <= MAX_SHEBANG and " " not in line and "\t" not in line:
        return os.fsencode(line) + b"\n"
    import shlex

    return os.fsencode(f"#!/bin/sh\n'''exec' {shlex.quote(interpreter)} \"$0\" \"$@\"\n' '''\n")


def script_text(interpreter: str, point: EntryPoint) -> bytes:
    """Return the text of a console or GUI script."""
    first = point.attributes.partition(".")[0]
    return (
        shebang(interpreter)
        + (
            f"import sys\n\n"
            f"from {point.module} import {first}\n\n"
            f'if __name__ == "__main__":\n'
            f"    sys.exit({point.attributes}())\n"
        ).encode()
    )


def finish(plan: Plan, number: int, compiled: Set[str]) -> Notes:
    """Write scripts, INSTALLER, REQUESTED and at last RECORD of one wheel; return what is to be known of these files.

    Parameters:
        number: of the wheel among the sources of *plan*.
        compiled: paths of the bytecode files that were compiled here.

    Raises:
        WheelError: a script that is not what RECORD says.
        OSError: the file system refused.
    """
    source, place = plan.sources[number], plan.place
    if isinstance(source, Listed):
        rows = _listed_rows(source)
    else:
        rows = list(_file_rows(source.wheel, plan, compiled).values())
    written: List[_Written] = []
    for path, (owner, name) in plan.scripts.items():
        if owner != number:
            continue
        written.append(_write_script(_script(source, name), path, place))
    for path, (owner, point) in plan.points.items():
        if owner == number:
            written.append(_write_own(path, script_text(place.interpreter, point), 0o755, place))
    dist_info = dist_info_of(source)
    folder = f"{place.site}/{dist_info}"
    written.append(_write_own(f"{folder}/INSTALLER", INSTALLER, 0o644, place))
    if source.plan.requested:
        written.append(_write_own(f"{folder}/REQUESTED", b"", 0o644, place))
    rows += [_row(relative(one.path, place), _record_digest(one.digest), str(one.size)) for one in written]
    rows.append(_row(f"{dist_info}/RECORD", "", ""))
    written.append(_write_own(f"{folder}/RECORD", "".join(sorted(rows)).encode("utf-8"), 0o644, place))
    return notes_of([(one.path, one.mode) for one in written], [one.digest.hex() for one in written])


def _file_rows(wheel: Wheel, plan: Plan, compiled: Set[str]) -> Dict[str, str]:
    """Return RECORD's rows of the files that were written for *wheel* and of their bytecode, by destination path."""
    rows: Dict[str, str] = {}
    place, jobs = plan.place, plan.jobs
    tag = sys.implementation.cache_tag or ""
    site, above = place.site + "/", len(place.site) + 1
    spread = any(top.endswith(".data") for top in wheel.tops)
    own = set(own_names(wheel))
    signatures = {name: _UNSIGNED for name in wheel.files if name not in wheel.record}
    for name, row in {**wheel.record, **signatures}.items():
        path = path_in(wheel.name, name, place) if spread else site + name
        job = jobs.get(path)
        if job is None or name in own or (spread and is_script(name)) or isinstance(job.window, Container):
            continue  # not written, written below, or replaced by bytecode
        digest = f"{row.algorithm}={row.digest}" if row.algorithm else ""
        inside = path.startswith(site)
        rows[path] = _row(path[above:] if inside else relative(path, place), digest, str(wheel.files[name].size))
        if inside and path.endswith(".py"):
            pyc = bytecode_path(path, tag)
            if pyc in jobs or pyc in compiled:
                rows.setdefault(pyc, _row(pyc[above:], "", ""))
    return rows


def _listed_rows(source: Listed) -> List[str]:
    """Return RECORD's rows of the files that were written for a wheel by its index, and of their bytecode."""
    index, encoded, scripts = source.files, RecordRow.encoded, set(source.scripts)
    rows = [
        f"{name},sha256={encoded(digest)},{size}\n"
        for number, (name, _, _, size, _, digest) in enumerate(index.rows(0, len(index.names)))
        if number not in scripts
    ]
    return rows + [f"{name},,\n" for archive in source.archives[1:] for name in archive.files.names]


def _script(source: Source, name: str) -> Iterator[bytes]:
    """Yield the content of a ``.data`` script; after the last piece its digest has been compared."""
    if isinstance(source, Listed):
        return blocks(source.archives[0], source.files.names.index(name))
    return source.wheel.proven_blocks(source.wheel.files[name])


def _write_script(content: Iterable[bytes], path: str, place: Place) -> _Written:
    """Write a ``.data`` script; a first line ``#!python`` becomes the virtualenv's (PEP 427)."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(f"{place.tree}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    with open(descriptor, "wb") as file:
        for number, block in enumerate(content):
            if number == 0 and block.startswith(b"#!python"):
                block = shebang(place.interpreter) + block.partition(b"\n")[2]
            digest.update(block)
            size += len(block)
            file.write(block)
    return _Written(path, 0o755, digest.digest(), size)


def _write_own(path: str, data: bytes, mode: int, place: Place) -> _Written:
    write_bytes(f"{place.tree}/{path}", data, mode)
    return _Written(path, mode, hashlib.sha256(data).digest(), len(data))


def _record_digest(digest: bytes) -> str:
    return f"sha256={RecordRow.encoded(digest)}"


def _row(path: str, digest: str, size: str) -> str:
    if "," in path or '"' in path:
        path = '"' + path.replace('"', '""') + '"'
    return f"{path},{digest},{size}\n"
