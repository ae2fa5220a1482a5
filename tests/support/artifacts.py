"""Artifacts for tests, made in code with the standard library's zip writer: a second writer for the same format."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import marshal
import os
import platform
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Union

from deployable_zipfile.artifact import index, layout, manifests
from deployable_zipfile.artifact.container import Container
from deployable_zipfile.artifact.wheel import Wheel
from deployable_zipfile.errors import WheelError
from tests.support.helpers import make_wheel

PACKAGE = Path(layout.__file__).parents[1]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
NOT_SHIPPED = ("create.py", "__main__.py", "builder", "views")

Content = Union[str, bytes]


def make_artifact(
    path: Path,
    project: Optional[Mapping[str, Content]] = None,
    wheels: Sequence[Path] = (),
    *,
    name: str = "site_one",
    static: Optional[Mapping[str, Content]] = None,
    modes: Optional[Mapping[str, int]] = None,
    bytecode: bool = True,
    targets: Optional[List[manifests.Target]] = None,
    payload: bool = False,
    extra: Optional[Mapping[str, bytes]] = None,
    manifest: Optional[Callable[[manifests.Manifest], Union[manifests.Manifest, bytes]]] = None,
    indexes: bool = True,
) -> Path:
    """Write an artifact for the running Python and return its path.

    *indexes*: with the index of every wheel that is in order, and of its bytecode, as a build writes them.

    *manifest* may change the manifest before it is written: for artifacts whose manifest is wrong.
    """
    files = {f"{name}/{inner}": _bytes(content) for inner, content in (project or {"__init__.py": ""}).items()}
    files.update({f"static.in/0/{inner}": _bytes(content) for inner, content in (static or {}).items()})
    members: Dict[str, bytes] = dict(runtime())
    members[f"{name}.pth"] = layout.project_pth_text(name).encode()
    payloads = []
    if payload:
        members[".deploy/payload/000.zip"] = container(files, modes)
        listing = {inner: _member(data, (modes or {}).get(inner, 0o644)) for inner, data in files.items()}
        members[".deploy/payload/000.json"] = manifests.listing_to_json(listing)
        payloads.append(manifests.Payload(".deploy/payload/000.zip", ".deploy/payload/000.json"))
    else:
        members.update(files)
    planned = []
    for wheel_path in wheels:
        member = f"wheels/{wheel_path.name}"
        members[member] = wheel_path.read_bytes()
        overlay = f".deploy/bytecode/{sys.implementation.cache_tag}/{wheel_path.name[:-4]}.zip"
        compiled = _wheel_bytecode(wheel_path) if bytecode else {}
        if compiled:
            members[overlay] = container(compiled)
        with Wheel.open(str(wheel_path)) as wheel:
            planned.append(
                manifests.PlannedWheel(member, wheel.name, wheel.version, True, overlay if compiled else None)
            )
    if bytecode:
        members[layout.runtime_bytecode(str(sys.implementation.cache_tag))] = _runtime_bytecode()
    own = f".deploy/bytecode/{sys.implementation.cache_tag}/project.zip"
    compiled = _bytecode({inner: data for inner, data in files.items() if inner.endswith(".py")}) if bytecode else {}
    if compiled:
        members[own] = container(compiled)
    if indexes:
        archives = {one.file: members[one.file] for one in planned}
        archives.update((one.bytecode, members[one.bytecode]) for one in planned if one.bytecode)
        members.update((layout.index_of(one), index_of(one, data)) for one, data in archives.items())
        members = {inner: data for inner, data in members.items() if data or not layout.is_index(inner)}
    members.update(extra or {})
    good = manifests.Manifest(
        tool_version="1.0.0",
        project=name,
        shebang=layout.DEFAULT_SHEBANG,
        source=manifests.Source("c" * 40, False, 315532800),
        targets=tuple(targets if targets is not None else [make_target(planned, own if compiled else None, bytecode)]),
        members={inner: _member(data, (modes or {}).get(inner, 0o644)) for inner, data in members.items()},
        directories=(),
        payloads=tuple(payloads),
    )
    document = good if manifest is None else manifest(good)
    members[layout.MANIFEST] = document if isinstance(document, bytes) else document.to_json()
    path.write_bytes(container(members, modes, first_line=layout.DEFAULT_SHEBANG + "\n"))
    path.chmod(0o755)
    return path


def index_of(member: str, archive: bytes) -> bytes:
    """Return the index of the bytes of an *archive*, b"" when it has none."""
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.flush()
        sha256 = hashlib.sha256(archive).hexdigest()
        if not layout.is_wheel(member):
            found = index.of_bytecode(Container(file.fileno(), 0, len(archive), member), sha256)
            return found.to_bytes() if found else b""
        try:
            wheel = Wheel(file.fileno(), 0, len(archive), member)
            wheel.check_structure()
            wheel.check_contents()
        except WheelError:
            return b""
        found = index.of_wheel(wheel, sha256)
        return found.to_bytes() if found else b""


def make_target(
    wheels: Sequence[manifests.PlannedWheel] = (),
    project_bytecode: Optional[str] = None,
    bytecode: bool = True,
    **changes: object,
) -> manifests.Target:
    """Return the target that the running Python is."""
    target = manifests.Target(
        python=PYTHON,
        abi=f"cp{PYTHON.replace('.', '')}",
        machine=platform.machine(),
        libc="glibc",
        libc_floor="",
        libraries=(),
        cache_tag=str(sys.implementation.cache_tag) if bytecode else "",
        magic=importlib.util.MAGIC_NUMBER.hex() if bytecode else "",
        wheels=tuple(wheels),
        bootstrap=(),
        project_bytecode=project_bytecode,
    )
    return target._replace(**changes)  # type: ignore[arg-type]


def container(files: Mapping[str, bytes], modes: Optional[Mapping[str, int]] = None, first_line: str = "") -> bytes:
    """Return a zip that obeys the container rules."""
    own = _runtime()
    begins = list(files)[: len(own)] == list(own) and all(files[name] is data for name, data in own.items())
    if begins and not set(own).intersection(modes or ()):  # an artifact's own modules are written once for all
        return _appended(_started(first_line), {name: files[name] for name in list(files)[len(own) :]}, modes)
    return _appended(first_line.encode(), files, modes)


@functools.lru_cache(maxsize=None)
def _started(first_line: str) -> bytes:
    return _appended(first_line.encode(), _runtime(), None)


def _appended(start: bytes, files: Mapping[str, bytes], modes: Optional[Mapping[str, int]]) -> bytes:
    buffer = io.BytesIO(start)
    buffer.seek(0, os.SEEK_END)
    with zipfile.ZipFile(buffer, "a" if start else "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = (0o100000 | (modes or {}).get(name, 0o644)) << 16
            # A Python without zlib must be able to read the member that tells it so. The tool's own modules are most of
            # these artifacts, which are read again and again.
            stored = name.endswith((".whl", ".zip")) or name == layout.MAIN or name.startswith(layout.RUNTIME)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, data, compresslevel=1)  # small files are not what these artifacts are for
    return buffer.getvalue()


def runtime() -> Dict[str, bytes]:
    """Return the members that every artifact has, by name."""
    return dict(_runtime())


@functools.lru_cache(maxsize=None)
def _runtime() -> Dict[str, bytes]:
    members = {layout.MAIN: (PACKAGE / "bootstrap.py").read_bytes()}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name in (layout.INSTALL_WHEELS, layout.LOADENV):
            members[name] = path.read_bytes()
        elif path.relative_to(PACKAGE).parts[0] not in NOT_SHIPPED and name != "bootstrap.py":
            members[f"{layout.RUNTIME}/{name}"] = path.read_bytes()
    members[layout.LOADENV_PTH] = (PACKAGE / layout.LOADENV_PTH).read_bytes()
    members[layout.LOADENV_START] = (PACKAGE / os.path.basename(layout.LOADENV_START)).read_bytes()
    return members


@functools.lru_cache(maxsize=None)
def _runtime_bytecode() -> bytes:
    """Return the tool's own modules compiled: a program that starts from an artifact need not do it each time."""
    sources = {layout.runtime_path(member): data for member, data in _runtime().items()}
    return container(_bytecode({name: data for name, data in sources.items() if name.endswith(".py")}))


def simple_wheel(folder: Path, name: str = "alpha", version: str = "1.0", **options: object) -> Path:
    """Return a wheel with one package and one console script."""
    files = {f"{name}/__init__.py": f"VERSION = {version!r}\n\ndef main():\n    print({name!r}, VERSION)\n"}
    options.setdefault("entry_points", f"[console_scripts]\n{name}-tool = {name}:main\n")
    return make_wheel(folder, name, version, files, **options)  # type: ignore[arg-type]


def _wheel_bytecode(path: Path) -> Dict[str, bytes]:
    with Wheel.open(str(path)) as wheel:
        sources = {
            name: wheel.read(entry)
            for name, entry in wheel.files.items()
            if name.endswith(".py") and not name.split("/")[0].endswith(".data")
        }
    return _bytecode(sources)


def _bytecode(sources: Dict[str, bytes]) -> Dict[str, bytes]:
    compiled = {}
    for name, text in sources.items():
        code = compile(text, name, "exec", dont_inherit=True)
        folder, _, base = name.rpartition("/")
        pyc = f"{base[:-3]}.{sys.implementation.cache_tag}.pyc"
        key = f"{folder}/__pycache__/{pyc}" if folder else f"__pycache__/{pyc}"
        compiled[key] = importlib.util.MAGIC_NUMBER + b"\x01\0\0\0" + bytes(8) + marshal.dumps(code)
    return compiled


def _member(data: bytes, mode: int) -> manifests.Member:
    return manifests.Member(len(data), mode, hashlib.sha256(data).hexdigest())


def _bytes(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else content


def bare_manifest(*targets: manifests.Target, **members: int) -> manifests.Manifest:
    """Return a manifest of *targets* with project files of so many bytes."""
    return manifests.Manifest(
        tool_version="1.0",
        project="shop",
        shebang=layout.DEFAULT_SHEBANG,
        source=manifests.Source("", False, 0),
        targets=targets,
        members={f"shop/{name}": manifests.Member(size, 0o644, "0" * 64) for name, size in members.items()},
        directories=(),
        payloads=(),
    )
