"""Wheels written again: those that were built here in one form, and broken ones with a RECORD that fits.

Members are sorted and dated alike, so that two builds of one sdist give one file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import posixpath
import stat
import zipfile
import zlib
from typing import Dict, Mapping, Tuple

from ..artifact.record import RecordRow
from ..errors import WheelError

_MOST = 2 * 1024**3  # bytes in a wheel that is written again, which is held in memory
_EPOCH = (1980, 1, 1, 0, 0, 0)


def repack(path: str, output: str) -> None:
    """Write the wheel *path* again as *output*: the same files, in one order, with one date and plain modes.

    RECORD's lines are sorted too; what they say is unchanged.

    Raises:
        WheelError: it cannot be read as a zip.
    """
    try:
        files = _zipped(path)
    except _UNREADABLE as error:
        raise WheelError(os.path.basename(path), f"cannot be read ({error})", "Build it again") from None
    _write_wheel(
        output,
        {name: (_sorted_record(data) if _is_record(name) else data, mode) for name, (data, mode) in files.items()},
    )


def mend(path: str, output: str) -> bool:
    """Write the wheel *path* again as *output* with a RECORD that fits its files; say whether it could be read at all.

    What comes out is what pip installs of it: of two members of one name the later, a link as a file, and no
    signatures, which would not fit. Whether that is a sound wheel is not checked.
    """
    try:
        files = _zipped(path)
    except _UNREADABLE:
        return False
    signatures = (".dist-info/RECORD.jws", ".dist-info/RECORD.p7s")
    sound = {name: file for name, file in files.items() if not _is_record(name) and not name.endswith(signatures)}
    info = next((name.partition("/")[0] for name in sorted(sound) if name.endswith(".dist-info/METADATA")), "")
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for name in sorted(sound):
        data = sound[name][0]
        writer.writerow([name, f"sha256={RecordRow.encoded(hashlib.sha256(data).digest())}", len(data)])
    writer.writerow([f"{info}/RECORD", "", ""])
    sound[f"{info}/RECORD"] = (record.getvalue().encode("utf-8"), 0o644)
    _write_wheel(output, sound)
    return True


# What zipfile raises for a broken, encrypted or otherwise compressed file.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError)


def _zipped(path: str) -> Dict[str, Tuple[bytes, int]]:
    """Return content and mode of every file in the zip *path*, read as pip reads it."""
    with zipfile.ZipFile(path) as source:
        names = {info.filename: info for info in source.infolist() if not info.is_dir()}
        if sum(info.file_size for info in names.values()) > _MOST:
            raise ValueError(f"holds more than {_MOST} bytes")
        return {
            posixpath.normpath(name) if name.startswith("./") else name: (
                source.read(info), 0o755 if info.external_attr >> 16 & stat.S_IXUSR else 0o644
            )
            for name, info in names.items()
        }  # fmt: skip


def _write_wheel(output: str, files: Mapping[str, Tuple[bytes, int]]) -> None:
    with zipfile.ZipFile(output, "w") as target:
        for name in sorted(files, key=lambda name: (".dist-info/" in name, name)):
            data, mode = files[name]
            fresh = zipfile.ZipInfo(name, _EPOCH)
            fresh.create_system = 3
            fresh.external_attr = (stat.S_IFREG | mode) << 16
            target.writestr(fresh, data, zipfile.ZIP_DEFLATED, 6)


def _is_record(name: str) -> bool:
    return name.count("/") == 1 and name.endswith(".dist-info/RECORD")


def _sorted_record(content: bytes) -> bytes:
    rows = sorted(row for row in csv.reader(io.StringIO(content.decode("utf-8"))) if row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8")
