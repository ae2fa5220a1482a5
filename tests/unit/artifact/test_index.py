"""The index of an archive: what it says, which archives have one, and what becomes of a damaged one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import pytest

from deployable_zipfile.artifact import index, layout
from deployable_zipfile.artifact.container import Container
from deployable_zipfile.artifact.index import Index
from deployable_zipfile.artifact.proof import prove
from deployable_zipfile.artifact.wheel import EntryPoint, Wheel
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import ArtifactError
from tests.support.artifacts import container, make_artifact
from tests.support.depth import sampled
from tests.support.helpers import make_wheel

POINTS = "[console_scripts]\ntool = pkg.cli:main\nÜber = pkg:app.run [extra]\n[gui_scripts]\nwin-dow = pkg:show\n"
LARGE = bytes(range(256)) * 5000  # more than is read at once


def of(path: Path) -> Optional[Index]:
    with Wheel.open(str(path)) as wheel:
        return index.of_wheel(wheel, hashlib.sha256(path.read_bytes()).hexdigest())


def rich_wheel(folder: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    files: Dict[str, Union[bytes, Tuple[bytes, int]]] = {
        "z.py": b"", "pkg/__init__.py": b"A = 1\n", "pkg/run": (b"#!/bin/sh\n", 0o755), "pkg/deep/er/data.bin": LARGE,
    }  # fmt: skip
    return make_wheel(
        folder, "rich", "1", files, entry_points=POINTS, data={"scripts/x": "#!python\n"}, compression=compression
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_an_index_says_where_every_file_is(compression: int, tmp_path: Path) -> None:
    path = rich_wheel(tmp_path, compression)
    found = of(path)
    assert found is not None
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    read: Dict[str, bytes] = {}
    for name, start, packed, size, kind, digest in found.rows(0, len(found.names)):
        raw = data[start : start + packed]
        read[name] = zlib.decompress(raw, -zlib.MAX_WBITS) if kind & index.IS_DEFLATED else raw
        assert (len(read[name]), hashlib.sha256(read[name]).digest()) == (size, digest)
        assert index.mode_of(kind) == (0o755 if name == "pkg/run" else 0o644)
    del content["rich-1.dist-info/RECORD"]  # the installer writes its own
    assert read == content
    assert list(found.starts) == sorted(found.starts)
    assert found.folders == ["pkg", "pkg/deep", "pkg/deep/er", "rich-1.data", "rich-1.data/scripts", "rich-1.dist-info"]
    assert (found.size, found.dist_info) == (len(data), "rich-1.dist-info")
    assert found.points == [
        EntryPoint("tool", "pkg.cli", "main", False),
        EntryPoint("Über", "pkg", "app.run", False),
        EntryPoint("win-dow", "pkg", "show", True),
    ]


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_what_is_written_is_read_again(compression: int, tmp_path: Path) -> None:
    found = of(rich_wheel(tmp_path, compression))
    assert found is not None
    read = index.read(found.to_bytes())
    assert read is not None
    assert read.as_tuples() == found
    assert read.to_bytes() == found.to_bytes()


def test_bytecode_has_an_index_too(tmp_path: Path) -> None:
    files = {"pkg/__pycache__/a.cpython-311.pyc": b"a" * 1000, "__pycache__/b.cpython-311.pyc": LARGE}
    path = tmp_path / "code.zip"
    path.write_bytes(container(files))
    with open(path, "rb") as file:
        archive = Container(file.fileno(), 0, path.stat().st_size, "code.zip")
        found = index.of_bytecode(archive, "0" * 64)
        bare = index.of_bytecode(archive, "0" * 64, digests=False)
    assert found is not None
    assert found.names == list(files)
    assert found.digests == b"".join(hashlib.sha256(data).digest() for data in files.values())
    assert bare == found._replace(digests=b"")
    read = index.read(found.to_bytes())
    assert read is not None
    assert read.as_tuples() == found


def foreign(path: Path) -> Path:
    """Write the wheel at *path* anew as other tools may: folders as members, sizes after the data, a shuffled list."""
    with zipfile.ZipFile(path) as archive:
        content = [(info, archive.read(info)) for info in archive.infolist()]
    data = Unseekable()
    with zipfile.ZipFile(data, "w") as archive:
        for folder in ("rich-1.dist-info/", "pkg/", "pkg/empty/"):
            archive.writestr(zipfile.ZipInfo(folder, (2020, 2, 2, 0, 0, 0)), b"")
        for info, one in content:
            info.extra = b"\xfe\xca\x04\0more"
            archive.writestr(info, one)
        archive.filelist.reverse()
    path.write_bytes(data.getvalue())
    return path


class Unseekable(io.BytesIO):
    """A pipe: zipfile writes data descriptors into it."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_wheel_of_another_tool_has_the_same_files_in_its_index(compression: int, tmp_path: Path) -> None:
    usual = of(rich_wheel(tmp_path, compression))
    path = foreign(rich_wheel(tmp_path, compression))
    found = of(path)
    assert usual is not None
    assert found is not None
    assert found.names == usual.names  # in the order of their data, not of the directory
    assert (found.kinds, found.digests, found.points) == (usual.kinds, usual.digests, usual.points)
    assert found.folders == usual.folders  # an empty folder is not installed
    data = path.read_bytes()
    assert b"PK\x07\x08" in data
    for name, start, packed, size, kind, digest in found.rows(0, len(found.names)):
        raw = data[start : start + packed]
        content = zlib.decompress(raw, -zlib.MAX_WBITS) if kind & index.IS_DEFLATED else raw
        assert (name, len(content), hashlib.sha256(content).digest()) == (name, size, digest)


def test_empty_and_executable_files_of_bytecode_are_in_its_index(tmp_path: Path) -> None:
    files = {"a.pyc": b"", "b.pyc": LARGE, "c.pyc": b"", "d.pyc": b"d"}
    path = tmp_path / "code.zip"
    path.write_bytes(container(files, {"c.pyc": 0o755}))
    with open(path, "rb") as file:
        found = index.of_bytecode(Container(file.fileno(), 0, path.stat().st_size, "code.zip"), "0" * 64)
    assert found is not None
    assert list(found.sizes) == [0, len(LARGE), 0, 1]
    assert [index.mode_of(kind) for kind in found.kinds] == [0o644, 0o644, 0o755, 0o644]
    assert found.folders == []
    read = index.read(found.to_bytes())
    assert read is not None
    assert read.as_tuples() == found


def test_an_archive_of_nothing_has_an_index_of_nothing() -> None:
    none = Index("0" * 64, 22, [], (), (), (), b"", b"", [], "", [])
    read = index.read(none.to_bytes())
    assert read is not None
    assert read.as_tuples() == none


@pytest.mark.parametrize("signature", ["RECORD.jws", "RECORD.p7s"])
def test_a_wheel_with_a_signature_that_its_record_does_not_list_has_none(signature: str, tmp_path: Path) -> None:
    path = make_wheel(tmp_path, "odd", "1", {"a.py": ""}, unrecorded={f"odd-1.dist-info/{signature}": "{}"})
    assert of(path) is None


@pytest.mark.parametrize("own", ["INSTALLER", "REQUESTED"])
def test_what_the_installer_writes_itself_is_not_in_an_index(own: str, tmp_path: Path) -> None:
    found = of(make_wheel(tmp_path, "odd", "1", {"a.py": ""}, extra={own: "pip\n", f"licenses/{own}": "text"}))
    assert found is not None
    assert f"odd-1.dist-info/{own}" not in found.names
    assert f"odd-1.dist-info/licenses/{own}" in found.names


@pytest.mark.parametrize("name", ["ünicode.py", "com,ma.py", 'quo"te.py', "col:on.py"])
def test_a_wheel_with_an_unusual_name_has_none(name: str, tmp_path: Path) -> None:
    assert of(make_wheel(tmp_path, "odd", "1", {name: ""})) is None


def test_a_wheel_with_another_digest_in_its_record_has_none(tmp_path: Path) -> None:
    def stronger(rows: List[Tuple[str, str, str]]) -> List[Tuple[str, str, str]]:
        digest = base64.urlsafe_b64encode(hashlib.sha512(b"A = 1").digest()).decode().rstrip("=")
        return [(name, f"sha512={digest}" if name == "a.py" else one, size) for name, one, size in rows]

    assert of(make_wheel(tmp_path, "odd", "1", {"a.py": "A = 1"}, record=stronger)) is None


def test_a_form_of_the_future_is_no_index(tmp_path: Path) -> None:
    found = of(rich_wheel(tmp_path))
    assert found is not None
    assert index.read(found.to_bytes().replace(b"index 1 ", b"index 2 ", 1)) is None
    assert index.read(b"") is None


def damaged(data: bytes, number: int) -> List[bytes]:
    at = number % len(data)
    return [data[:at], data[:at] + bytes([data[at] ^ (1 << number % 8)]) + data[at + 1 :], data[:at] + b"x" + data[at:]]


@pytest.mark.parametrize("share", sampled(range(1000), 20))
def test_a_damaged_index_is_refused_or_another_one(share: int, tmp_path: Path) -> None:
    found = of(rich_wheel(tmp_path))
    assert found is not None
    data = found.to_bytes()
    for number in range(share * len(data) // 1000, (share + 1) * len(data) // 1000 + 1):
        for changed in damaged(data, number):
            with contextlib.suppress(ValueError):  # nothing else may be raised
                read = index.read(changed)
                assert read is None or read.as_tuples() != found


def test_an_index_that_would_fill_the_memory_is_refused() -> None:
    bomb = zlib.compress(bytes(300 * 1024 * 1024), 9)
    data = b"index 1 %s 10 1 %d\n" % (b"0" * 64, len(bomb)) + bomb + bytes(32)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="does not end"):
            index.read(data)
        assert tracemalloc.get_traced_memory()[1] < 3 * layout.MAX_MANIFEST
    finally:
        tracemalloc.stop()


DEEP = 20_000  # files, each in 50 folders of its own
LINES = {
    "names": (0, b"ab\n" * 5_000_000 + b"\0\0", "another number of names"),
    "scripts": (0, b"\0\0" + b"a\tb\tc\t\n" * 2_000_000, "another number of names"),
    "folders": (DEEP, b"\n".join(b"%d/" % n + b"a/" * 49 + b"x" for n in range(DEEP)) + b"\0\0", "folders"),
}


@pytest.mark.parametrize("what", LINES)
def test_an_index_of_millions_of_names_is_refused_before_each_is_an_object(what: str) -> None:
    count, text, why = LINES[what]
    stream = zlib.compress(text + b"\0" + bytes(13 * count), 9)
    data = b"index 1 %s 10 %d %d\n" % (b"0" * 64, count, len(stream)) + stream + bytes(index.DIGEST * count)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=why):
            index.read(data)
        assert tracemalloc.get_traced_memory()[1] < 5 * layout.MAX_MANIFEST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("names", [["a.py\nb.py"], ["a.py", "b.py\nc.py"], [""], ["\n", "a.py"]])
def test_an_index_with_another_number_of_names_than_of_files_is_refused(names: List[str]) -> None:
    count = len(names)
    numbers = tuple(range(count))
    found = Index("0" * 64, 99, names, numbers, numbers, numbers, bytes(count), bytes(32 * count), [], "x", [])
    with pytest.raises(ValueError, match="another number of names"):
        index.read(found.to_bytes())


@pytest.mark.parametrize("point", [("../x", "m", "a"), ("x", "m;import os", "a"), ("x", "m", "a b"), ("", "m", "a")])
def test_an_index_with_a_script_that_no_wheel_may_have_is_refused(point: Tuple[str, str, str], tmp_path: Path) -> None:
    found = of(rich_wheel(tmp_path))
    assert found is not None
    with pytest.raises(ValueError, match="another form"):
        index.read(found._replace(points=[EntryPoint(*point, False)]).to_bytes())


CHANGES: Dict[str, Callable[[Index], Index]] = {
    "names": lambda found: found._replace(names=["other.py", *found.names[1:]]),
    "order": lambda found: found._replace(names=found.names[::-1]),
    "starts": lambda found: found._replace(starts=[found.starts[0] + 1, *found.starts[1:]]),
    "packed": lambda found: found._replace(packed=[found.packed[0] + 1, *found.packed[1:]]),
    "sizes": lambda found: found._replace(sizes=[found.sizes[0] + 1, *found.sizes[1:]]),
    "kinds": lambda found: found._replace(kinds=bytes([found.kinds[0] ^ 2]) + found.kinds[1:]),
    "digests": lambda found: found._replace(digests=bytes([found.digests[0] ^ 1]) + found.digests[1:]),
    "dist_info": lambda found: found._replace(dist_info="other-1.dist-info"),
    "points": lambda found: found._replace(points=[EntryPoint("more", "m", "a", False)]),
    "file": lambda found: found._replace(
        names=found.names[1:], starts=found.starts[1:], packed=found.packed[1:], sizes=found.sizes[1:],
        kinds=found.kinds[1:], digests=found.digests[32:],
    ),
}  # fmt: skip


def with_index(tmp_path: Path, member: str, change: Callable[[Index], Index]) -> Path:
    """Return an artifact whose index of *member* is changed, and all digests right."""
    wheels = [make_wheel(tmp_path, "one", "1", {"one/__init__.py": "A = 1\n", "one/b.py": "B = 2\n"})]
    path = make_artifact(tmp_path / "site.zip", wheels=wheels)
    name = layout.index_of(member)
    with Artifact.open(str(path)) as artifact:
        found = index.read(artifact.read(name))
    assert found is not None
    return make_artifact(path, wheels=wheels, extra={name: change(found.as_tuples()).to_bytes()})


WHEEL = "wheels/one-1-py3-none-any.whl"
BYTECODE = f"{layout.BYTECODE}/{sys.implementation.cache_tag}/one-1-py3-none-any.zip"


@pytest.mark.parametrize("member", [WHEEL, BYTECODE])
@pytest.mark.parametrize("change", CHANGES)
def test_verification_finds_an_index_that_is_not_that_of_its_archive(change: str, member: str, tmp_path: Path) -> None:
    path = with_index(tmp_path, member, CHANGES[change])
    with Artifact.open(str(path)) as artifact:
        if (member, change) == (BYTECODE, "digests"):  # compared when it is installed
            prove(artifact, 1)
            return
        with pytest.raises(ArtifactError, match="is not what") as caught:
            prove(artifact, 1)
    assert caught.value.what == layout.index_of(member)


@pytest.mark.parametrize("member", [WHEEL, BYTECODE])
def test_an_index_of_another_archive_does_not_matter(member: str, tmp_path: Path) -> None:
    path = with_index(tmp_path, member, lambda found: CHANGES["names"](found)._replace(sha256="0" * 64))
    with Artifact.open(str(path)) as artifact:
        prove(artifact, 1)


def test_an_index_of_no_archive_does_not_matter(tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path, "one", "1", {"one.py": "A = 1\n"})]
    extra = {layout.index_of("wheels/none-1-py3-none-any.whl"): b"x", f"{layout.INDEX}/other": b"index 1 x"}
    with Artifact.open(str(make_artifact(tmp_path / "site.zip", wheels=wheels, extra=extra))) as artifact:
        prove(artifact, 1)


@pytest.mark.parametrize("member", [WHEEL, BYTECODE])
def test_verification_finds_an_index_with_the_wrong_size_of_its_archive(member: str, tmp_path: Path) -> None:
    path = with_index(tmp_path, member, lambda found: found._replace(size=found.size + 1))
    with Artifact.open(str(path)) as artifact, pytest.raises(ArtifactError, match="is not what"):
        prove(artifact, 1)


@pytest.mark.parametrize("column", ["starts", "packed", "sizes"])
@pytest.mark.parametrize("member", [WHEEL, BYTECODE])
@pytest.mark.parametrize("by", [-1, 1, 2**31])
def test_verification_finds_a_wrong_number_of_any_file(by: int, member: str, column: str, tmp_path: Path) -> None:
    def last(found: Index) -> Index:
        *others, number = getattr(found, column)
        changed: Dict[str, Any] = {column: [*others, number + by]}
        return found._replace(**changed)

    path = with_index(tmp_path, member, last)
    with Artifact.open(str(path)) as artifact, pytest.raises(ArtifactError, match="is not what"):
        prove(artifact, 1)


@pytest.mark.parametrize("member", [WHEEL, BYTECODE])
def test_verification_finds_an_index_that_cannot_be_read(member: str, tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path, "one", "1", {"one/__init__.py": "A = 1\n"})]
    extra = {layout.index_of(member): b"index 1 %s 1 1 1\nx" % (b"0" * 64)}
    path = make_artifact(tmp_path / "site.zip", wheels=wheels, extra=extra)
    with Artifact.open(str(path)) as artifact, pytest.raises(ArtifactError, match="does not end where its data end"):
        prove(artifact, 1)
