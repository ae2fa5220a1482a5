from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import struct
import sysconfig
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import pytest

from deployable_zipfile.builder import cache, wheels
from deployable_zipfile.errors import WheelError
from tests.support.helpers import File, make_wheel

MACHINE = platform.machine()
AARCH64 = 183  # System V ABI: e_machine


def proven(path: Path, built_from: str = "") -> wheels.Facts:
    kept = cache.measured(str(path))
    return wheels.prove(str(path), kept.sha256, kept.crc, built_from)


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


def compiled(folder: Path, files: Dict[str, File], tag: str = f"cp311-cp311-manylinux_2_17_{MACHINE}") -> wheels.Facts:
    return proven(make_wheel(folder, "native", "1.0", files, tag=tag, purelib=False))


def test_a_wheel_is_read_for_all_that_the_build_needs(tmp_path: Path) -> None:
    path = make_wheel(
        tmp_path,
        "Some.Thing",
        "1.0",
        {"thing/__init__.py": "", "thing/data.txt": "", "thing.pth": "import x"},
        data={"purelib/more/extra.py": "", "scripts/run.py": "#!python\n", "platlib/x.start": ""},
        metadata=(
            "Metadata-Version: 2.1\nName: Some.Thing\nVersion: 1.0\nRequires-Python: >=3.8\n"
            "License: MIT\nRequires-Dist: foo>=1\nRequires-Dist: bar; extra == 'all'\n\nText\n"
        ),
    )
    facts = proven(path, "Some.Thing-1.0.tar.gz sha256:0")
    assert (facts.name, facts.version, facts.requires_python, facts.licence) == ("some-thing", "1.0", ">=3.8", "MIT")
    assert facts.requires == ("foo>=1", "bar; extra == 'all'")
    assert facts.startup == ("Some_Thing-1.0.data/platlib/x.start", "thing.pth")
    assert facts.python_files == (
        ("Some_Thing-1.0.data/purelib/more/extra.py", "more/extra.py"),
        ("thing/__init__.py", "thing/__init__.py"),
    )
    assert wheels.from_document(wheels.to_document(facts)) == facts


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other\n", "MIT OR Apache-2.0"),
        ("License: BSD-3-Clause\n", "BSD-3-Clause"),
        ("Classifier: License :: OSI Approved :: BSD License\n", "BSD License"),
        ("License: UNKNOWN\n", ""),
        ("License: " + "long " * 40 + "\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
    ],
)
def test_the_licence_is_what_the_metadata_say(tmp_path: Path, lines: str, licence: str) -> None:
    text = f"Metadata-Version: 2.1\nName: x\nVersion: 1\n{lines}"
    assert proven(make_wheel(tmp_path, "x", "1", {}, metadata=text)).licence == licence


def test_metadata_that_cannot_be_understood_are_refused(tmp_path: Path) -> None:
    text = "Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Dist: ???\n"
    with pytest.raises(WheelError, match=r"x-1-py3-none-any.whl/x-1.dist-info/METADATA: cannot be read"):
        proven(make_wheel(tmp_path, "x", "1", {}, metadata=text))


def test_a_wheel_that_differs_from_its_record_is_refused_by_name(tmp_path: Path) -> None:
    path = make_wheel(
        tmp_path, "x", "1", {"x.py": "1"}, record=lambda rows: [(n, d.replace("A", "B"), s) for n, d, s in rows]
    )
    wrong = make_wheel(tmp_path, "y", "1", {"y.py": "1"}, unrecorded={"hidden.py": "2"})
    with pytest.raises(WheelError, match=r"y-1-py3-none-any.whl/hidden.py: is not listed in RECORD"):
        proven(wrong)
    assert path.exists()


def test_compiled_files_say_what_they_need_and_provide(tmp_path: Path) -> None:
    facts = compiled(tmp_path, {"native/core.so": extension("2.9.9"), "native.libs/libfoo-1.so.2": extension()})
    (elf,) = facts.elves
    assert (elf.machine, elf.glibc_file) == (MACHINE, "native/core.so")
    assert elf.glibc >= (2, 9)
    assert "libc.so.6" in elf.needed
    assert {"core.so", "libfoo-1.so.2"} <= set(elf.provided)
    assert wheels.glibc_floor([facts], MACHINE) == "{}.{}".format(*elf.glibc)
    assert "libc.so.6" not in wheels.system_libraries([facts], MACHINE)


def test_libraries_that_another_wheel_brings_are_not_needed_from_the_system() -> None:
    needs = wheels.Elf(
        MACHINE, (2, 17), "a.so", ("libc.so.6", "libssl.so.3", "libmine.so.1", "libmvec.so.1"), ("a.so",)
    )
    brings = wheels.Elf(MACHINE, (2, 5), "b.so", (), ("libmine.so.1",))
    blank = wheels.Facts("f", "n", "1", "", 0, 0, (), (), "", "", (), (), (), "")
    both = [blank._replace(elves=(needs,)), blank._replace(elves=(brings,))]
    assert wheels.system_libraries(both, MACHINE) == ("libssl.so.3",)
    assert wheels.system_libraries(both, "s390x") == ()
    assert wheels.glibc_floor(both, MACHINE) == "2.17"
    assert wheels.glibc_floor([blank], MACHINE) == ""


def test_a_wheel_that_needs_a_newer_glibc_than_the_target_has_is_refused_by_name(tmp_path: Path) -> None:
    facts = compiled(tmp_path, {"native/core.so": extension("9.9.5")})
    wheels.check_fits(facts, "cp311-here", facts.tags, MACHINE, (9, 9))
    with pytest.raises(WheelError) as caught:
        wheels.check_fits(facts, "cp311-here", facts.tags, MACHINE, (2, 17))
    assert str(caught.value).startswith(
        f"native-1.0-cp311-cp311-manylinux_2_17_{MACHINE}.whl: needs glibc 9.9 (native/core.so), cp311-here has 2.17."
    )


def test_a_wheel_whose_files_are_for_another_machine_is_refused_by_name(tmp_path: Path) -> None:
    facts = compiled(tmp_path, {"native/core.so": extension(machine=AARCH64)})
    with pytest.raises(WheelError, match="holds compiled files for aarch64, cp311-here needs x86_64"):
        wheels.check_fits(facts, "cp311-here", facts.tags, "x86_64", (2, 17))
    for_all = compiled(tmp_path, {"native/core.so": extension(machine=AARCH64)}, "py3-none-any")
    wheels.check_fits(for_all, "cp311-here", for_all.tags, "x86_64", (2, 17))


def test_a_wheel_whose_tags_do_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    facts = proven(make_wheel(tmp_path, "x", "1", {}, tag="cp39-cp39-win_amd64"))
    with pytest.raises(WheelError) as caught:
        wheels.check_fits(facts, "cp311-here", ["cp311-cp311-linux_x86_64"], "x86_64", (2, 17))
    assert str(caught.value) == (
        "x-1-cp39-cp39-win_amd64.whl: does not run on cp311-here. Lock a version that has a wheel for it."
    )


@pytest.mark.parametrize("content", [b"\x7fELF nonsense", b"\x7fELF", b"\x7fELF\x02\x01\x01" + b"\xff" * 500])
def test_a_broken_elf_file_is_data_and_named_as_a_doubt(content: bytes, tmp_path: Path) -> None:
    facts = compiled(tmp_path, {"native/tests/broken.so": content})
    assert facts.elves == ()
    (doubt,) = facts.doubts
    assert doubt.startswith("native/tests/broken.so is not a sound ELF file (")
    assert doubt.endswith("), so what it needs is not known")


def test_an_elf_file_that_is_cut_adds_nothing_of_what_was_read_of_it(tmp_path: Path) -> None:
    whole = extension("9.9.5")
    facts = compiled(tmp_path, {"native/core.so": whole, "native/cut.so": whole[: len(whole) // 2]})
    alone = compiled(tmp_path / "alone", {"native/core.so": whole})
    assert facts.elves == alone.elves
    assert len(facts.doubts) == 1


def test_two_builds_of_one_sdist_are_repacked_to_one_file(tmp_path: Path) -> None:
    files: Dict[str, File] = {"x/__init__.py": "", "x/tool": ("#!/bin/sh", 0o775), "x/a.py": "a = 1\n"}
    first = make_wheel(tmp_path / "1", "x", "1", files)
    second = make_wheel(tmp_path / "2", "x", "1", dict(reversed(list(files.items()))), compression=zipfile.ZIP_STORED)
    assert first.read_bytes() != second.read_bytes()
    for path in (first, second):
        wheels.repack(str(path), str(path) + ".new")
    assert Path(f"{first}.new").read_bytes() == Path(f"{second}.new").read_bytes()
    Path(f"{first}.new").replace(first)
    assert proven(first).version == "1"
    with zipfile.ZipFile(str(first)) as archive:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
    assert (modes["x/tool"], modes["x/a.py"]) == (0o755, 0o644)


def test_what_is_no_zip_cannot_be_repacked(tmp_path: Path) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"x")
    with pytest.raises(WheelError, match=r"x-1-py3-none-any.whl: cannot be read"):
        wheels.repack(str(tmp_path / "x-1-py3-none-any.whl"), str(tmp_path / "new"))


@pytest.mark.parametrize(
    ("text", "read", "doubts"),
    [
        (">=3.6.*", ">=3.6", 0),
        (">=2.7,!=3.0.*,<4.*", ">=2.7,!=3.0.*,<4", 0),
        ("==3.*", "==3.*", 0),
        ("> 3.5.*", "> 3.5", 0),
        ("banana", "", 1),
        ("3.6", "", 1),
    ],
)
def test_a_requires_python_of_former_times_is_read(text: str, read: str, doubts: int, tmp_path: Path) -> None:
    metadata = f"Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Python: {text}\n"
    facts = proven(make_wheel(tmp_path, "x", "1", {}, metadata=metadata))
    assert facts.requires_python == read
    assert len(facts.doubts) == doubts


Bend = Callable[[Path], Path]
BROKEN: Dict[str, Bend] = {
    "unlisted": lambda folder: make_wheel(folder, "x", "1", {"x.py": ""}, unrecorded={"y.py": ""}),
    "missing": lambda folder: make_wheel(folder, "x", "1", {"x.py": ""}, record=lambda rows: [*rows, ("y", "", "")]),
    "no-digest": lambda folder: make_wheel(
        folder, "x", "1", {"x.py": ""}, record=lambda rows: [(name, "", size) for name, _, size in rows]
    ),
    "wrong-size": lambda folder: make_wheel(
        folder, "x", "1", {"x.py": ""}, record=lambda rows: [(name, digest, "9") for name, digest, _ in rows]
    ),
    "no-record": lambda folder: make_wheel(folder, "x", "1", {"x.py": ""}, record=False),
    "dotted-member": lambda folder: make_wheel(folder, "x", "1", {"x.py": "", "./y.py": ""}),
    "a-link": lambda folder: make_wheel(folder, "x", "1", {"x.py": ("y", stat.S_IFLNK | 0o777)}),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_wheel_can_be_mended(case: str, tmp_path: Path) -> None:
    path = BROKEN[case](tmp_path)
    with pytest.raises(WheelError, match=r"Lock another version"):
        proven(path)
    mended = tmp_path / "mended" / path.name
    mended.parent.mkdir()
    assert wheels.mend(str(path), str(mended))
    facts = proven(mended)
    assert (facts.name, facts.version) == ("x", "1")


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": "Name: other\nVersion: 1\n"},
        {"data": {"evil/x": ""}},
        {"unrecorded": {"../x": ""}},
        {"entry_points": "[console_scripts]\n../x = a:b\n"},
    ],
)
def test_what_no_new_record_makes_sound_is_not_mended(options: Dict[str, Any], tmp_path: Path) -> None:
    path = make_wheel(tmp_path, "x", "1", {"x.py": ""}, **options)
    assert not wheels.mend(str(path), str(tmp_path / "mended.whl"))
    (tmp_path / path.name).write_bytes(path.read_bytes()[:-30])
    assert not wheels.mend(str(path), str(tmp_path / path.name.replace("x", "y", 1)))


CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "components": [
        {
            "name": "zlib",
            "version": "1.2",
            "purl": "pkg:rpm/almalinux/zlib@1.2",
            "licenses": [{"license": {"id": "Zlib"}}],
        },
        {"name": "outer", "components": [{"name": "inner"}], "licenses": [{"expression": "MIT"}]},
        {"name": "x", "version": "1"},
    ],
}
SPDX = {
    "spdxVersion": "SPDX-2.3",
    "packages": [
        {
            "name": "openssl",
            "versionInfo": "3.0",
            "licenseConcluded": "NOASSERTION",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:generic/openssl@3.0"}],
        }
    ],
}


def test_embedded_libraries_are_found_as_files_and_in_bills_of_materials(tmp_path: Path) -> None:
    files = {"x.libs/libz-0a1b2c3d.so.1.2": "z", "x.libs/note.txt": "", "x/.dylibs/liby.dylib": "y", "x/own.so": ""}
    bills = {"sboms/auditwheel.cdx.json": json.dumps(CYCLONEDX), "sboms/a.spdx.json": json.dumps(SPDX)}
    facts = proven(make_wheel(tmp_path, "x", "1", files, extra=bills))
    assert [tuple(one)[1:] for one in facts.embedded] == [
        ("openssl", "3.0", "", "pkg:generic/openssl@3.0", ""),
        ("inner", "", "", "", ""),
        ("outer", "", "", "", "MIT"),
        ("zlib", "1.2", "", "pkg:rpm/almalinux/zlib@1.2", "Zlib"),
        ("libz.so.1.2", "", hashlib.sha256(b"z").hexdigest(), "", ""),
        ("liby.dylib", "", hashlib.sha256(b"y").hexdigest(), "", ""),
    ]
    assert facts.doubts == ()
    assert wheels.from_document(json.loads(json.dumps(wheels.to_document(facts)))) == facts


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"components": 1}', '{"components": [{}]}', '{"packages": [{"name": 1}]}', "[" * 99_999]
)
def test_a_bill_of_materials_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    facts = proven(make_wheel(tmp_path, "x", "1", {}, extra={"sboms/bad.json": text}))
    assert facts.embedded == ()
    (doubt,) = facts.doubts
    assert doubt.startswith("x-1.dist-info/sboms/bad.json cannot be read (")
