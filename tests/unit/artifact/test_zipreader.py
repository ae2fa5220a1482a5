"""The strict reader, on artifacts of an honest builder; for hostile ones see test_zipreader_*.py beside this file."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
import zipfile
from pathlib import Path
from typing import Dict, List

import pytest

from deployable_zipfile.artifact import layout, manifests, names, window, zipreader
from deployable_zipfile.artifact.container import Container, quick_entries
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import ArtifactError
from tests.support.artifacts import Content, container, make_artifact, simple_wheel

PROJECT: Dict[str, Content] = {
    "__init__.py": "",
    "a b=ü.txt": "x" * 5000,
    "empty": "",
    "deep/" * 30 + "file.bin": bytes(range(256)),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "site.zip", dict(PROJECT), [simple_wheel(tmp_path / "wheels")])


def test_every_member_is_read_as_the_standard_library_reads_it(path: Path) -> None:
    with Artifact.open(str(path)) as artifact, zipfile.ZipFile(path) as other:
        assert list(artifact.members) == other.namelist()
        for name in artifact.members:
            if name != layout.MANIFEST:
                assert artifact.read(name) == other.read(name), name
        artifact.verify()
        artifact.verify(workers=1)


def test_the_artifact_knows_its_size_digest_and_first_line(path: Path) -> None:
    with Artifact.open(str(path)) as artifact:
        assert artifact.size == path.stat().st_size
        assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert artifact.container.first_line == layout.DEFAULT_SHEBANG
        assert artifact.path == str(path)


def test_progress_counts_every_byte_between_first_line_and_directory(path: Path) -> None:
    seen: List[int] = []
    with Artifact.open(str(path)) as artifact:
        artifact.verify(1, seen.append)
        directory = artifact.container.directory(layout.MAX_MEMBERS)[0]
    assert sum(seen) == directory - len(layout.DEFAULT_SHEBANG) - 1


def test_a_small_artifact_is_proven_without_other_processes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", None)
    with Artifact.open(str(path)) as artifact:
        artifact.verify(2)


@pytest.mark.parametrize("workers", [1, 2])
def test_other_processes_prove_what_is_not_small(
    workers: int, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipreader, "_LITTLE", 0)
    seen: List[int] = []
    with Artifact.open(str(path)) as artifact:
        artifact.verify(workers, seen.append)
        directory = artifact.container.directory(layout.MAX_MEMBERS)[0]
    assert sum(seen) == directory - len(layout.DEFAULT_SHEBANG) - 1
    lying = make_artifact(
        tmp_path / "lie.zip",
        dict(PROJECT),
        manifest=lambda manifest: manifest._replace(
            members={
                name: member._replace(sha256="1" * 64) if name.endswith("__init__.py") else member
                for name, member in manifest.members.items()
            }
        ),
    )
    with Artifact.open(str(lying)) as artifact, pytest.raises(ArtifactError, match="the manifest says 111111111111"):
        artifact.verify(workers)


def test_it_opens_by_a_relative_path_and_through_a_link(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "link zip").symlink_to(path.name)
    monkeypatch.chdir(path.parent)
    with Artifact.open("link zip") as artifact:
        artifact.verify(1)


def test_nothing_stays_open(path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with Artifact.open(str(path)):
        pass
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError):
        Artifact.open(str(path))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(str(tmp_path / "pipe"))
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    for name in ("device", "socket"):
        with pytest.raises(ArtifactError, match="Give the path of an artifact"):
            Artifact.open(str(tmp_path / name))
    for name, why in [("pipe", "is not a regular file"), ("absent", "No such file"), (".", "is a folder")]:
        with pytest.raises(ArtifactError, match=why) as caught:
            Artifact.open(str(tmp_path / name))
        assert "Give the path of an artifact" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.zip", b"", "is empty"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "is a zip file, not an artifact"),
        ("a-1-py3-none-any.whl", b"PK\x03\x04" + bytes(99), "is a wheel, not an artifact"),
        ("a.tar.gz", b"\x1f\x8b\x08", "is a gzip file, not an artifact"),
        ("a.tar.xz", b"\xfd7zXZ\0", "is an xz file, not an artifact"),
        ("a.txt", b"hello\n", "is not an artifact"),
        ("run.sh", b"#!/bin/sh\n", "is not an artifact"),
    ],
)
def test_another_kind_of_file_is_called_what_it_is(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(str(tmp_path / name))
    assert caught.value.why.startswith(why)


def test_a_folder_is_called_what_it_is(tmp_path: Path) -> None:
    for name, inner, why, fix in [
        ("plain", "", "is a folder, not an artifact", "Give the path of an artifact"),
        (
            "installed",
            layout.INSTALLED,
            "is a folder that an artifact was installed into",
            f"verify {tmp_path}/installed",
        ),
        ("root", layout.JOURNAL, "is the root of a site", "a release in releases/"),
    ]:
        (tmp_path / name / ".deploy").mkdir(parents=True)
        if inner:
            (tmp_path / name / inner).touch()
        with pytest.raises(ArtifactError) as caught:
            Artifact.open(str(tmp_path / name))
        assert caught.value.why.startswith(why)
        assert fix in caught.value.fix


def test_a_relative_path_in_a_folder_that_is_gone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ArtifactError, match=r"site\.zip: cannot be read \(No such file or directory\)"):
        Artifact.open("site.zip")


def test_a_disk_that_fails_is_the_artifacts_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Artifact.open(str(path)) as artifact:

        def fail(*_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "pread", fail)
        with pytest.raises(ArtifactError, match=r"site\.zip: cannot be read at offset \d+ \(Input/output error\)"):
            artifact.verify(1)


def test_short_reads_are_put_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, at: pread(descriptor, max(1, size // 3), at))
    with Artifact.open(str(path)) as artifact:
        artifact.verify(1)


def test_a_file_that_is_cut_while_it_is_read_is_refused(path: Path) -> None:
    with Artifact.open(str(path)) as artifact:
        os.truncate(str(path), 1000)
        with pytest.raises(ArtifactError, match="became shorter while it was read"):
            artifact.verify(1)


def test_a_file_that_is_replaced_while_it_is_read_does_not_matter(path: Path) -> None:
    with Artifact.open(str(path)) as artifact:
        (path.parent / "new").write_bytes(b"other")
        os.replace(str(path.parent / "new"), str(path))
        artifact.verify(1)


@pytest.mark.parametrize("size", [0, 1, window.BLOCK, window.WHOLE, window.WHOLE + 1, 5 * window.BLOCK + 17])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("suffix", ["bin", "zip"])  # deflated, stored
def test_members_of_every_size_come_back_whole_in_small_pieces(
    size: int, dense: bool, suffix: str, tmp_path: Path
) -> None:
    data = random.Random(size).getrandbits(8 * size + 8).to_bytes(size + 1, "big")[1:] if dense else bytes(size)
    path = tmp_path / "one.zip"
    path.write_bytes(container({f"a.{suffix}": data}))
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        one = Container(descriptor, 0, path.stat().st_size, "one.zip")
        pieces = list(one.blocks(one.entries[f"a.{suffix}"]))
        assert b"".join(pieces) == data
        assert max(map(len, pieces), default=0) <= window.WHOLE
        assert one.digest(one.entries[f"a.{suffix}"]) == hashlib.sha256(data).hexdigest()
    finally:
        os.close(descriptor)


def test_the_place_of_a_stored_member_is_its_content(path: Path) -> None:
    with Artifact.open(str(path)) as artifact:
        name = "wheels/alpha-1.0-py3-none-any.whl"
        at = artifact.container.data_start(artifact.members[name])
        assert path.read_bytes()[at : at + artifact.members[name].size] == artifact.read(name)


def test_a_payload_is_read_with_its_listing(tmp_path: Path) -> None:
    path = make_artifact(tmp_path / "site.zip", dict(PROJECT), payload=True)
    with Artifact.open(str(path)) as artifact:
        artifact.verify()
        nested, listing = artifact.payload_members(artifact.manifest.payloads[0])
        assert {f"site_one/{name}" for name in PROJECT} == set(nested.entries) == set(listing)


def test_a_payload_whose_content_is_not_its_listing_is_refused(tmp_path: Path) -> None:
    lie = manifests.listing_to_json({"site_one/__init__.py": manifests.Member(0, 0o644, "1" * 64)})
    digest = hashlib.sha256(lie).hexdigest()

    def forge(manifest: manifests.Manifest) -> manifests.Manifest:
        members = dict(manifest.members, **{".deploy/payload/001.json": manifests.Member(len(lie), 0o644, digest)})
        payload = manifests.Payload(".deploy/payload/000.zip", ".deploy/payload/001.json")
        return manifest._replace(members=members, payloads=(payload,))

    path = make_artifact(tmp_path / "site.zip", payload=True, extra={".deploy/payload/001.json": lie}, manifest=forge)
    with Artifact.open(str(path)) as artifact, pytest.raises(ArtifactError) as caught:
        artifact.verify(1)
    assert "site_one/__init__.py: its content is not what its listing says" in str(caught.value)


@pytest.mark.parametrize("name", ["site_one/__init__.py", layout.LOADENV, layout.INSTALL_WHEELS])
def test_a_payload_or_bytecode_that_is_no_archive_is_refused(name: str, tmp_path: Path) -> None:
    def forge(manifest: manifests.Manifest) -> manifests.Manifest:
        return manifest._replace(payloads=(manifests.Payload(name, name),))

    path = make_artifact(tmp_path / "site.zip", {"__init__.py": "x = 1\n" * 50}, manifest=forge)
    with Artifact.open(str(path)) as artifact:
        with pytest.raises(ArtifactError, match="is compressed, a nested archive must be stored"):
            artifact.verify(1)
        with pytest.raises(ArtifactError, match="is compressed, a nested archive must be stored"):
            artifact.nested(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a", ""),
        ("a/b.py", ""),
        ("a b/=+~.txt", ""),
        ("é/日本.txt", ""),
        ("a" * 255, ""),
        ("/".join("a" * 64), ""),
        ("..a/b..", ""),
        ("...", ""),
        ("", "leaves its folder or has an empty part"),
        ("a//b", "leaves its folder or has an empty part"),
        ("a/", "leaves its folder or has an empty part"),
        ("/a", "leaves its folder or has an empty part"),
        ("a/../b", "leaves its folder or has an empty part"),
        ("./a", "leaves its folder or has an empty part"),
        ("a\\b", "backslash or a colon"),
        ("c:a", "backslash or a colon"),
        ("a\nb", "control or format"),
        ("a\x7fb", "control or format"),
        ("a\u202eb", "control or format"),
        ("a\u2028b", "control or format"),
        ("e\u0301", "normal form NFC"),
        ("a" * 256, "is longer than"),
        ("é" * 128, "is longer than"),
        ("/".join("a" * 65), "is longer than"),
        ("/".join(["a" * 100] * 11), "is longer than"),
        ("\udc80", "not UTF-8"),
    ],
)
def test_names_are_plain_paths_below_a_folder(name: str, why: str) -> None:
    problem = names.name_problem(name)
    assert problem == "" if not why else why in problem


@pytest.mark.parametrize("name", ["shop", "_x1", "cfgov"])
def test_an_identifier_can_name_a_project(name: str) -> None:
    assert names.project_name_problem(name) == ""


@pytest.mark.parametrize("name", ["", "a-b", "1a", "é", "a/b", "venv", "wheels", "static.in", "zlib", "runpy"])
def test_other_names_of_projects_are_refused(name: str) -> None:
    assert names.project_name_problem(name)


def test_folders_are_all_that_lie_above_files() -> None:
    assert names.folders_of(["a/b/c/d", "a/x", "y"]) == {"a", "a/b", "a/b/c"}


def test_the_quick_reader_reads_what_the_strict_one_reads_or_leaves_it_to_it(tmp_path: Path) -> None:
    content = container({"a/b.py": b"x", "a/\u00e9.txt": b"y" * 3000, "c/d.zip": b"z", "e.txt": b""})
    with open(tmp_path / "nested.zip", "wb+") as file:
        file.write(content)
        file.flush()
        reader = Container(file.fileno(), 0, len(content), "nested.zip")
        _, directory, total = reader.directory(layout.MAX_MEMBERS)
        assert quick_entries(directory, total, 0) == reader._strict_entries(directory, total, 0)
        taken = 0
        for offset in range(len(directory)):
            for value in (0, 1, directory[offset] ^ 0x20, directory[offset] ^ 0x80, 0x2E, 0x2F, 0xFF):
                changed = directory[:offset] + bytes([value]) + directory[offset + 1 :]
                found = quick_entries(changed, total, 0)
                if found is not None:
                    taken += 1
                    assert found == reader._strict_entries(changed, total, 0), (offset, value)
    assert taken > 100


@pytest.mark.parametrize(
    "name",
    [
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/.",
        "a/..",
        "./a",
        "../a",
        "a/./b",
        "a/../b",
        "a:b",
        "a\\b",
        "a\nb",
        "a\tb",
        "\x7f",
        "\u00e9",
        "",
        "a" * 256,
        "a/" * 64 + "a",
        "\n",
        "a/\n",
        "\n/a",
    ],
)
def test_a_name_that_is_not_allowed_is_not_plain(name: str) -> None:
    assert names.name_problem(name) or not name.isascii()
    assert not names.are_plain([name])
    assert not names.are_plain(["a/b.py", name])
    assert not names.are_plain([name, "a/b.py", "c"])


def test_names_as_they_are_everywhere_are_plain() -> None:
    assert names.are_plain(["a", "a b/.c", "..d/e..", "a" * 255, "a/" * 63 + "b", "[x]~{y}.z-1+2"])
