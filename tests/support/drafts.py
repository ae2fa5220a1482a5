"""Small artifacts made in code byte for byte, so that a test can break any field of them.

Written by the format's definition (docs/artifact.md, APPNOTE 6.3.10), by no zip writer at all: one that writes only
what is right cannot test a reader. ``tests/support/artifacts.py`` makes good artifacts to install.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from deployable_zipfile.artifact import layout, manifests
from tests.support.helpers import make_wheel

PROJECT = "shop"
FIRST_LINE = b"#!/usr/bin/env python\n"
STORED, DEFLATED = 0, 8

Field = Union[int, bytes]
Fields = Dict[str, Field]


class Raw:
    """One member as bytes: right unless a field is overridden.

    Attributes:
        central, local: fields in place of the right ones, by the names in :func:`central_header` and
            :func:`local_header`; ``name``, ``extra`` and ``comment`` are bytes.
        data: compressed form in place of the right one.
        before, after: bytes that belong to no member.
        listed, present: whether the directory, and the body, hold it.
    """

    def __init__(
        self,
        name: Union[str, bytes],
        content: bytes = b"",
        mode: int = 0o644,
        method: int = DEFLATED,
        *,
        data: Optional[bytes] = None,
        central: Optional[Mapping[str, Field]] = None,
        local: Optional[Mapping[str, Field]] = None,
        before: bytes = b"",
        after: bytes = b"",
        listed: bool = True,
        present: bool = True,
    ) -> None:
        self.name = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        self.content = content
        self.mode = mode
        self.method = method
        self.data = data
        self.central: Fields = dict(central or {})
        self.local: Fields = dict(local or {})
        self.before = before
        self.after = after
        self.listed = listed
        self.present = present

    @property
    def text(self) -> str:
        """The name as the manifest lists it."""
        return self.name.decode("utf-8", "surrogateescape")

    @property
    def packed(self) -> bytes:
        """The data as they lie in the file."""
        if self.data is not None:
            return self.data
        return deflated(self.content) if self.method == DEFLATED else self.content

    def fields(self) -> Fields:
        """Return what both headers say when nothing is overridden."""
        return {
            "needed": 20,
            "flags": 0 if self.name.isascii() else 0x800,
            "method": self.method,
            "time": 0,
            "date": 0x21,
            "crc": zlib.crc32(self.content),
            "compressed": len(self.packed),
            "size": len(self.content),
            "name": self.name,
            "extra": b"",
        }


def deflated(content: bytes) -> bytes:
    """Return *content* as one raw deflate stream."""
    return _deflated_once(content) if len(content) <= _SMALL else _deflated(content)


def _deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


# Headers and body each ask for it, and nearly all members of a draft are those of the draft before.
_SMALL = 1 << 16  # bytes; larger ones are few, and would only fill the memory
_deflated_once = functools.lru_cache(maxsize=1024)(_deflated)


def local_header(raw: Raw) -> bytes:
    """Return the local header of *raw*."""
    fields: Fields = {"signature": b"PK\x03\x04", **raw.fields(), **raw.local}
    name, extra = bytes(fields["name"]), bytes(fields["extra"])
    numbers = [fields[key] for key in ("needed", "flags", "method", "time", "date", "crc", "compressed", "size")]
    lengths = [fields.get("name_length", len(name)), fields.get("extra_length", len(extra))]
    return struct.pack("<4s5H3L2H", fields["signature"], *numbers, *lengths) + name + extra


def central_header(raw: Raw, offset: int) -> bytes:
    """Return the directory's header of *raw*, whose local header is at *offset*."""
    fields: Fields = {
        "signature": b"PK\x01\x02",
        "version": 20,
        "system": 3,
        **raw.fields(),
        "comment": b"",
        "disk": 0,
        "internal": 0,
        "external": (0o100000 | raw.mode) << 16,
        "offset": offset,
        **raw.central,
    }
    name, extra, comment = bytes(fields["name"]), bytes(fields["extra"]), bytes(fields["comment"])
    keys = ("version", "system", "needed", "flags", "method", "time", "date", "crc", "compressed", "size")
    head = struct.pack("<4s2B5H3L", fields["signature"], *[fields[key] for key in keys])
    lengths = (fields.get("name_length", len(name)), fields.get("extra_length", len(extra)), len(comment))
    tail = struct.pack("<5H2L", *lengths, *[fields[key] for key in ("disk", "internal", "external", "offset")])
    return head + tail + name + extra + comment


def zip_of(
    members: Iterable[Raw], prefix: bytes = b"", end: Optional[Mapping[str, Field]] = None, trailer: bytes = b""
) -> bytes:
    """Return a zip of exactly these members; *end* overrides fields of the end record.

    Its fields are ``signature disk first_disk here total length offset comment comment_length``, and ``gap``: bytes
    between directory and end record.
    """
    body, directory, count = bytearray(prefix), b"", 0
    for raw in members:
        body += raw.before
        if raw.listed:
            directory += central_header(raw, len(body))
            count += 1
        if raw.present:
            body += local_header(raw) + raw.packed + raw.after
    fields: Fields = {
        "signature": b"PK\x05\x06",
        "disk": 0,
        "first_disk": 0,
        "here": count,
        "total": count,
        "length": len(directory),
        "offset": len(body),
        "comment": b"",
        "gap": b"",
    }
    fields.update(end or {})
    comment = bytes(fields["comment"])
    numbers = [fields[key] for key in ("disk", "first_disk", "here", "total", "length", "offset")]
    length = fields.get("comment_length", len(comment))
    record = struct.pack("<4s4H2LH", fields["signature"], *numbers, length) + comment
    return bytes(body) + directory + bytes(fields["gap"]) + record + trailer


class Draft:
    """A good artifact that a test can change before it is written.

    Attributes:
        members: all members but the manifest, in order.
        edit, document: change the manifest, and its text, before it is written.
        manifest_member: replaces the manifest's member.
        last: members after the manifest; not in it.
        prefix, end, trailer: as for :func:`zip_of`.
    """

    def __init__(self, members: List[Raw], targets: Tuple[manifests.Target, ...]) -> None:
        self.members = members
        self.targets = targets
        self.directories: Tuple[str, ...] = ()
        self.payloads: Tuple[manifests.Payload, ...] = ()
        self.prefix = FIRST_LINE
        self.shebang = FIRST_LINE[:-1].decode()
        self.end: Fields = {}
        self.trailer = b""
        self.last: List[Raw] = []
        self.edit: Callable[[manifests.Manifest], manifests.Manifest] = lambda manifest: manifest
        self.document: Callable[[bytes], bytes] = lambda text: text
        self.manifest_member: Callable[[Raw], List[Raw]] = lambda raw: [raw]
        self._frozen: Optional[manifests.Manifest] = None

    def member(self, name: str) -> Raw:
        """Return the member *name*."""
        [found] = [raw for raw in self.members if raw.text == name]
        return found

    def freeze(self) -> None:
        """Keep the manifest of this moment: members that change afterwards no longer agree with it."""
        self._frozen = self.manifest

    @property
    def manifest(self) -> manifests.Manifest:
        """What a good manifest says of the members."""
        if self._frozen is not None:
            return self._frozen
        return manifests.Manifest(
            tool_version="1.0.0",
            project=PROJECT,
            shebang=self.shebang,
            source=manifests.Source("", False, 0),
            targets=self.targets,
            members={
                raw.text: manifests.Member(len(raw.content), raw.mode, hashlib.sha256(raw.content).hexdigest())
                for raw in self.members
            },
            directories=self.directories,
            payloads=self.payloads,
        )

    def bytes(self) -> bytes:
        """Return the file."""
        text = self.document(self.edit(self.manifest).to_json())
        manifest = self.manifest_member(Raw(layout.MANIFEST, text))
        return zip_of(self.members + manifest + self.last, self.prefix, self.end, self.trailer)

    def write(self, path: Path) -> Path:
        """Write the file to *path*, executable."""
        path.write_bytes(self.bytes())
        path.chmod(0o755)
        return path


class WheelFile(NamedTuple):
    """One wheel of a draft."""

    file: str  # file name
    content: bytes
    name: str  # normalised
    version: str
    requested: bool = True


THIS_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def target(
    wheels: Iterable[WheelFile] = (), bootstrap: Iterable[WheelFile] = (), python: str = THIS_PYTHON
) -> manifests.Target:
    """Return a target on this machine, without bytecode."""
    return manifests.Target(
        python=python,
        abi="cp" + python.replace(".", ""),
        machine=platform.machine(),
        libc="glibc",
        libc_floor="",
        libraries=(),
        cache_tag="",
        magic="",
        wheels=tuple(_planned(layout.WHEELS, wheel) for wheel in wheels),
        bootstrap=tuple(_planned(layout.BOOTSTRAP_WHEELS, wheel) for wheel in bootstrap),
        project_bytecode=None,
    )


def demo_wheel(**changes: Any) -> WheelFile:
    """Return a small wheel with a package, a script and an entry point; *changes* go to ``make_wheel``."""
    return _demo_wheel(**changes) if changes else _default_demo_wheel()


def _demo_wheel(**changes: Any) -> WheelFile:
    options: Dict[str, Any] = {
        "files": {"demo/__init__.py": "def main():\n    print('demo')\n", "demo/data.bin": bytes(range(256))},
        "data": {"scripts/demo-script": ("#!python\nprint('script')\n", 0o755)},
        "entry_points": "[console_scripts]\ndemo = demo:main\n",
    }
    options.update(changes)
    return _wheel_file("demo", "1.0", True, options)


_default_demo_wheel = functools.lru_cache(maxsize=None)(_demo_wheel)


@functools.lru_cache(maxsize=None)
def pip_wheel() -> WheelFile:
    """Return a stand-in for pip: a wheel of its name."""
    files = {"pip/__init__.py": "def main():\n    print('pip')\n"}
    return _wheel_file("pip", "26.3", False, {"files": files, "entry_points": "[console_scripts]\npip = pip:main\n"})


PROJECT_FILES: Mapping[str, Tuple[bytes, int]] = {
    f"{PROJECT}/__init__.py": (b"", 0o644),
    f"{PROJECT}/settings.py": (b"DEBUG = False\n" * 20, 0o644),
    f"{PROJECT}/run.sh": (b"#!/bin/sh\necho run\n", 0o755),
    f"{PROJECT}/données = 1.txt": (b"text", 0o644),
    "static.in/0/site.css": (b"body { color: black }\n" * 8, 0o644),
}


def draft(
    *,
    runtime: Optional[Mapping[str, bytes]] = None,
    wheels: Optional[List[WheelFile]] = None,
    bootstrap: Optional[List[WheelFile]] = None,
    project: Mapping[str, Tuple[bytes, int]] = PROJECT_FILES,
    pythons: Sequence[str] = (THIS_PYTHON,),
) -> Draft:
    """Return a good artifact.

    Parameters:
        runtime: members that make it executable (``artifacts.runtime()``); default: stand-ins that keep it small.
        wheels: of each target; default :func:`demo_wheel`.
        bootstrap: likewise; default a stand-in for pip.
        project: files by member name, content and mode.
        pythons: versions of the targets, default the running one.
    """
    wheels = [demo_wheel()] if wheels is None else wheels
    bootstrap = [pip_wheel()] if bootstrap is None else bootstrap
    members = [Raw(name, content) for name, content in (runtime or _STAND_INS).items()]
    members += [Raw(layout.project_pth_name(PROJECT), layout.project_pth_text(PROJECT).encode())]
    members += [Raw(name, content, mode) for name, (content, mode) in project.items()]
    members += [Raw(f"{layout.WHEELS}/{wheel.file}", wheel.content, 0o644, STORED) for wheel in wheels]
    members += [Raw(f"{layout.BOOTSTRAP_WHEELS}/{wheel.file}", wheel.content, 0o644, STORED) for wheel in bootstrap]
    members += [Raw(layout.SBOM, b'{"bomFormat": "CycloneDX"}\n')]
    return Draft(members, tuple(target(wheels, bootstrap, python) for python in pythons))


_STAND_INS = {
    layout.MAIN: b'"""Stands for the real one."""\n',
    layout.INSTALL_WHEELS: b'"""Stands for the real installer."""\n',
    layout.LOADENV: b'"""Stands for the real loader."""\n',
    layout.LOADENV_PTH: b"import loadenv; loadenv.main()\n",
    layout.LOADENV_START: b"loadenv:main\n",
    f"{layout.RUNTIME}/__init__.py": b"",
}


def _planned(folder: str, wheel: WheelFile) -> manifests.PlannedWheel:
    return manifests.PlannedWheel(f"{folder}/{wheel.file}", wheel.name, wheel.version, wheel.requested, None)


def _wheel_file(name: str, version: str, requested: bool, options: Dict[str, Any]) -> WheelFile:
    with tempfile.TemporaryDirectory() as folder:
        path = make_wheel(Path(folder), name, version, **options)
        return WheelFile(path.name, path.read_bytes(), name, version, requested)
