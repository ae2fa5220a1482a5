"""Wheels as the build knows them, proven or without files."""

from __future__ import annotations

import os
import platform
import struct
import sysconfig
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from deployable_zipfile.artifact import manifests
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.builder import cache, proving
from deployable_zipfile.builder.collected import CollectedWheel
from deployable_zipfile.install import installation
from deployable_zipfile.install.plan import OpenedWheel
from deployable_zipfile.install_wheels import open_wheel
from tests.support.helpers import File, make_wheel

MACHINE = platform.machine()
AARCH64 = 183  # System V ABI: e_machine


def collected(name: str, version: str = "1.0", **fields: Any) -> CollectedWheel:
    """Return what the build would know of a wheel that holds nothing; *fields* say otherwise."""
    blank = CollectedWheel(
        file=f"{name}-{version}-py3-none-any.whl",
        path="",
        name=name,
        version=version,
        sha256="a" * 64,
        size=0,
        crc=0,
        tags=("py3-none-any",),
        requires=(),
        requires_python="",
        licence="",
        startup=(),
        elves=(),
        python_files=(),
        built_from="",
    )
    return blank._replace(**fields)


def proven(path: Path, built_from: str = "") -> CollectedWheel:
    """Return what is known of the wheel at *path* once it is proven."""
    kept = cache.measured(str(path))
    return proving.prove(str(path), kept.sha256, kept.crc, built_from)


def extension(glibc: Optional[str] = None, machine: int = 0) -> bytes:
    """Return a real compiled file: an extension module of the running Python, with other fields if wanted."""
    folder = sysconfig.get_config_var("DESTSHARED")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            content = file.read()
        if b"GLIBC_2.2.5\0" in content and b"libc.so.6" in content and len(content) < 500_000:
            if glibc:
                assert len(glibc) == len("2.2.5")
                content = content.replace(b"GLIBC_2.2.5\0", b"GLIBC_" + glibc.encode() + b"\0")
            if machine:
                content = content[:18] + struct.pack("<H", machine) + content[20:]
            return content
    raise AssertionError(f"no extension module in {folder}")


def compiled(
    folder: Path, files: Dict[str, File], tag: str = f"cp311-cp311-manylinux_2_17_{MACHINE}"
) -> CollectedWheel:
    """Return what is known of a wheel with *files*, which are compiled, once it is proven."""
    return proven(make_wheel(folder, "native", "1.0", files, tag=tag, purelib=False))


def wheels_opened(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Return a list that gets the name of each wheel that an installation opens."""
    found: List[str] = []

    def noting(artifact: Artifact, plan: manifests.PlannedWheel, bytecode: bool) -> OpenedWheel:
        found.append(plan.name)
        return open_wheel(artifact, plan, bytecode)

    monkeypatch.setattr(installation, "open_wheel", noting)
    return found


def open_wheels(artifact: Artifact, target: manifests.Target, bytecode: bool) -> List[OpenedWheel]:
    """Open every wheel of *target*, as :func:`install_wheels.open_wheel` does."""
    return [open_wheel(artifact, plan, bytecode) for plan in target.wheels + target.bootstrap]
