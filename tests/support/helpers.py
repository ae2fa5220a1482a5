"""What tests of every tier share: trees and wheels made from dicts, trees read back, commands run."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

Content = Union[str, bytes]
File = Union[Content, Tuple[Content, int]]  # with a mode, or 0644
RecordRows = List[Tuple[str, str, str]]  # name, "sha256=..." or "", size or ""
Record = Union[bool, str, Callable[[RecordRows], RecordRows]]

SECRET = "canary-6f1c2b7e-do-not-print"  # a value that must be found in no output


def write_tree(root: Path, files: Mapping[str, Optional[File]]) -> Path:
    """Write *files* under *root* with exactly their modes, whatever the umask; None makes an empty folder."""
    for name, file in files.items():
        path = root / name
        if file is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        content, mode = _content_and_mode(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    return root


def read_tree(root: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return mode and content of everything under *root*, by POSIX path relative to it.

    A folder's content is ``b"/"``, a symbolic link's ``b"-> TARGET"`` (mode 0), so that one comparison of two
    dicts compares two trees. Sockets, FIFOs and devices come back as ``b"special"``.
    """
    tree: Dict[str, Tuple[int, bytes]] = {}
    for folder, folders, files in os.walk(str(root)):
        for name in folders + files:
            path = os.path.join(folder, name)
            tree[os.path.relpath(path, str(root)).replace(os.sep, "/")] = _read_entry(path)
    return tree


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, File],
    *,
    tag: str = "py3-none-any",
    entry_points: Optional[str] = None,
    data: Optional[Mapping[str, File]] = None,
    record: Record = True,
    metadata: Optional[Content] = None,
    requires: Sequence[str] = (),
    wheel_metadata: Optional[Content] = None,
    purelib: bool = True,
    extra: Optional[Mapping[str, File]] = None,
    unrecorded: Optional[Mapping[str, File]] = None,
    filename: Optional[str] = None,
    dist_info: Optional[str] = None,
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """Write one wheel into *folder* and return its path: a correct one, unless an argument breaks it.

    Parameters:
        files: members by name in the wheel, with content or (content, mode).
        data: members below ``NAME-VERSION.data/``, e.g. ``scripts/tool``.
        entry_points: text of ``entry_points.txt``, None: no such file.
        record: True for the right RECORD, False for none, text for this text, or a function that changes the rows.
        metadata: text of METADATA in place of the right one; *requires* adds Requires-Dist lines to the right one.
        wheel_metadata: text of WHEEL in place of the right one; *purelib* is its Root-Is-Purelib.
        extra: more members of the .dist-info folder, e.g. ``licenses/LICENSE``; recorded.
        unrecorded: members that RECORD does not list.
        filename, dist_info: names in place of the right ones.
    """
    escaped = re.sub(r"[-_.]+", "_", name)
    info = dist_info if dist_info is not None else f"{escaped}-{version}.dist-info"
    members: Dict[str, File] = dict(files)
    for path, file in (data or {}).items():
        members[f"{escaped}-{version}.data/{path}"] = file
    members[f"{info}/METADATA"] = metadata if metadata is not None else _metadata(name, version, requires)
    members[f"{info}/WHEEL"] = wheel_metadata if wheel_metadata is not None else _wheel_metadata(tag, purelib)
    if entry_points is not None:
        members[f"{info}/entry_points.txt"] = entry_points
    for path, file in (extra or {}).items():
        members[f"{info}/{path}"] = file
    text = record_text(members, f"{info}/RECORD", record)
    members.update(unrecorded or {})
    if text is not None:
        members[f"{info}/RECORD"] = text
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / (filename or f"{escaped}-{version}-{tag}.whl")
    wheel.write_bytes(zip_bytes(members, compression))
    return wheel


def make_sdist(folder: Path, name: str, files: Mapping[str, str]) -> Path:
    """Write an sdist of version 1.0 with *files* and its PKG-INFO, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0.tar.gz"
    everything = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", **files}
    with tarfile.open(str(path), "w:gz") as archive:
        for inner, text in everything.items():
            information = tarfile.TarInfo(f"{name}-1.0/{inner}")
            information.size = len(text.encode())
            archive.addfile(information, io.BytesIO(text.encode()))
    return path


def record_text(members: Mapping[str, File], record_name: str, record: Record = True) -> Optional[str]:
    """Return the RECORD text of *members* (PEP 376 as amended by PEP 427), itself listed without a digest."""
    if record is False:
        return None
    if isinstance(record, str):
        return record
    rows: RecordRows = []
    for name, file in members.items():
        content, _ = _content_and_mode(file)
        rows.append((name, "sha256=" + urlsafe_digest(content), str(len(content))))
    rows.append((record_name, "", ""))
    if callable(record):
        rows = record(rows)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def urlsafe_digest(content: bytes) -> str:
    """Return the SHA-256 of *content* as RECORD writes it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")


def zip_bytes(members: Mapping[str, File], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an ordinary zip of regular files, as wheel builders write them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, file in members.items():
            content, mode = _content_and_mode(file)
            info = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
            info.external_attr = (stat.S_IFREG | mode) << 16
            info.create_system = 3
            archive.writestr(info, content, compression)
    return buffer.getvalue()


def run_cli(
    command: Sequence[object],
    *,
    code: Optional[int] = 0,
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
    extra_env: Optional[Mapping[str, str]] = None,
    timeout: float = 120,
    text: str = "",
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    """Run *command*, each part as text, and return what came of it; fail the test if the exit code is not *code*.

    Parameters:
        code: the exit code to expect, None for any.
        env: the whole environment, None for this process's; *extra_env* is added to it.
        timeout: seconds until it counts as hanging and the test fails.
        text: its standard input.
    """
    environment = dict(os.environ if env is None else env)
    environment.update(extra_env or {})
    # No descriptor of ours is inheritable. Where none has to be closed, even Python 3.8 starts a process without first
    # copying this large one.
    options.setdefault("close_fds", False)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=str(cwd) if cwd is not None else None,
        env=environment,
        input=text,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=timeout,
        check=False,
        **options,
    )
    if code is not None and done.returncode != code:
        raise AssertionError(
            f"exit code {done.returncode}, expected {code}: {' '.join(map(str, command))}\n"
            f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
    return done


MEASURE = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(1 if status else 0)
"""


def peak_memory(command: Sequence[object]) -> int:
    """Run *command* and return the KiB of memory of the largest of its processes.

    A small process starts it: a child begins with the memory of what forked it, and pytest's own can be large.
    """
    done = run_cli([sys.executable, "-I", "-S", "-c", MEASURE, *command], timeout=300)
    return int(done.stderr.splitlines()[-1])


def run_python(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the running interpreter with *arguments*, as :func:`run_cli` does."""
    return run_cli([sys.executable, *arguments], **options)


def error_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the one ``error: ...`` line of a failed command, which must be all that it wrote to stderr."""
    lines = done.stderr.splitlines()
    if len(lines) != 1 or not lines[0].startswith("error: ") or len(lines[0]) > 507:
        raise AssertionError(f"not one short error line:\n{done.stderr}")
    return lines[0]


def _content_and_mode(file: File) -> Tuple[bytes, int]:
    content, mode = file if isinstance(file, tuple) else (file, 0o644)
    return (content.encode("utf-8") if isinstance(content, str) else content), mode


def _read_entry(path: str) -> Tuple[int, bytes]:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return 0, b"-> " + os.fsencode(os.readlink(path))
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return mode, b"/"
    if not stat.S_ISREG(status.st_mode):
        return mode, b"special"
    with open(path, "rb") as file:
        return mode, file.read()


def _metadata(name: str, version: str, requires: Sequence[str]) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join(lines + [f"Requires-Dist: {requirement}" for requirement in requires]) + "\n"


def _wheel_metadata(tag: str, purelib: bool) -> str:
    pythons, abis, platforms = tag.split("-")
    tags = [f"{p}-{a}-{m}" for p in pythons.split(".") for a in abis.split(".") for m in platforms.split(".")]
    lines = ["Wheel-Version: 1.0", "Generator: tests", f"Root-Is-Purelib: {str(purelib).lower()}"]
    return "\n".join(lines + [f"Tag: {one}" for one in tags]) + "\n"
