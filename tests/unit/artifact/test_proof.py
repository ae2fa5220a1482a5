"""Every byte of an artifact proven by several processes: what is damaged is found, wherever it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Dict, List

import pytest

from deployable_zipfile.artifact import proof
from deployable_zipfile.artifact.window import WHOLE
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import ArtifactError, DeployableZipfileError, WheelError
from deployable_zipfile.install import installation
from tests.support.artifacts import make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import File, make_wheel

WHEELS = ["wheels/alpha-1.0-py3-none-any.whl", "wheels/large-1.0-py3-none-any.whl"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    files: Dict[str, File] = {
        "large/data.bin": bytes(range(256)) * (WHOLE // 128),
        "large/a.py": "x = 1\n",
        "large/b.py": "x = 2\n",
    }
    wheels = [simple_wheel(tmp_path / "wheels"), make_wheel(tmp_path / "wheels", "large", "1.0", files)]
    return make_artifact(tmp_path / "site.zip", {f"folder{n}/file.txt": f"text {n}" for n in range(200)}, wheels)


def damaged(path: Path, name: str, share: float) -> None:
    with Artifact.open(str(path)) as artifact:
        entry = artifact.members[name]
        at = artifact.container.data_start(entry) + int(share * (entry.compressed - 1))
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_a_sound_artifact_is_proven_and_its_digest_is_told(workers: int, path: Path) -> None:
    with Artifact.open(str(path)) as artifact:
        assert proof.prove(artifact, workers) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("workers", sampled([1, 3], 1))
@pytest.mark.parametrize("share", sampled([0, 0.3, 0.6, 0.97], [0.97]))
@pytest.mark.parametrize("name", [*WHEELS, "site_one/folder7/file.txt", "install_wheels.py"])
def test_one_bit_is_found_by_the_digest_of_its_member(name: str, share: float, workers: int, path: Path) -> None:
    damaged(path, name, share)
    with Artifact.open(str(path)) as artifact, pytest.raises(ArtifactError) as caught:
        proof.prove(artifact, workers)
    assert caught.value.what == name
    with Artifact.open(str(path)) as artifact, pytest.raises(ArtifactError) as caught:
        installation.install(artifact, str(path.parent / "dest"), workers=workers)
    assert caught.value.what == name
    assert not (path.parent / "dest").exists()


@pytest.mark.parametrize("workers", sampled([1, 3], 1))
@pytest.mark.parametrize("file", ["data.bin", "a.py", "b.py"])
def test_a_file_that_its_record_does_not_know_is_found(file: str, workers: int, tmp_path: Path) -> None:
    files: Dict[str, File] = {"large/data.bin": bytes(3 * WHOLE), "large/a.py": "x = 1\n", "large/b.py": "x = 2\n"}

    def lie(rows: "List[tuple[str, str, str]]") -> "List[tuple[str, str, str]]":
        other = "sha256=" + "A" * 43
        return [(name, other if name == f"large/{file}" else digest, size) for name, digest, size in rows]

    wheel = make_wheel(tmp_path / "wheels", "large", "1.0", files, record=lie)
    path = make_artifact(tmp_path / "site.zip", wheels=[wheel])
    with Artifact.open(str(path)) as artifact, pytest.raises(WheelError, match=rf"{file}: its sha256 is not the one"):
        proof.prove(artifact, workers)
    with Artifact.open(str(path)) as artifact, pytest.raises(DeployableZipfileError, match="its sha256 is not the one"):
        installation.install(artifact, str(tmp_path / "dest"), workers=workers)
    assert not (tmp_path / "dest").exists()
