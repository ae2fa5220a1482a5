"""``create --against OLD.zip`` writes the whole artifact and, beside it, what OLD.zip lacks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Callable, List

import pytest

from deployable_zipfile.artifact import delta, layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.views import commands
from tests.support.depth import sampled
from tests.unit.builder.conftest import Index, commit_all
from tests.unit.builder.test_create import failed, lock, pinned, run


def test_the_delta_is_written_beside_the_whole_artifact(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = lock(site, pinned(index.add("foo", "1.0")))
    run(capsys, site, locked, tmp_path / "out")
    with Artifact.open(str(tmp_path / "out.zip")) as artifact:
        old = artifact.manifest.build_id
    (site / "added.py").write_text("ADDED = 1\n")
    commit_all(site.parent)
    document, _ = run(capsys, site, locked, tmp_path / "out", "--against", str(tmp_path / "out.zip"))
    made = tmp_path / "out.delta.zip"
    assert document["delta"]["path"] == str(made)
    assert document["delta"]["sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert (tmp_path / "out.delta.zip.sha256").read_text().split()[0] == document["delta"]["sha256"]
    assert made.stat().st_mode & 0o777 == 0o755
    with Artifact.open(str(made)) as artifact:
        artifact.verify()
        stated = delta.read(artifact)
        assert stated is not None
        assert (stated.base, stated.sha256) == (old, document["sha256"])
        assert stated.manifest.build_id == document["build_id"]
        assert [name for name in artifact.members if name.startswith(f"{site.name}/")] == [f"{site.name}/added.py"]
        # Archives that are made anew have other bytes, so their indexes would be of no use.
        assert [name for name in artifact.members if layout.is_index(name)] == []
        assert [name for name in stated.manifest.members if layout.is_index(name)]
    first = made.read_bytes()
    run(capsys, site, locked, tmp_path / "again", "--no-cache")
    document, _ = run(capsys, site, locked, tmp_path / "out", "--against", str(tmp_path / "again.zip"))
    assert made.read_bytes() != first  # nothing differs any more
    with Artifact.open(str(made)) as artifact:
        assert not [name for name in artifact.members if name.startswith(("wheels/", f"{site.name}/"))]


def none(path: Path) -> None:
    del path


def text(path: Path) -> None:
    path.write_text("no artifact")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [none, text, folder])
def test_an_old_artifact_that_is_none_is_refused_before_anything_is_built(
    make: Callable[[Path], None], site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = lock(site, pinned(index.add("foo", "1.0")))
    make(tmp_path / "old.zip")
    assert "--against" in failed(capsys, 7, site, locked, tmp_path / "out", "--against", str(tmp_path / "old.zip"))
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize("words", sampled([["inspect", "out.delta.zip"], ["diff", "out.zip", "out.delta.zip"]], 1))
def test_what_shows_whole_artifacts_names_the_build_of_a_delta(
    words: List[Any], site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    locked = lock(site, pinned(index.add("foo", "1.0")))
    run(capsys, site, locked, tmp_path / "out")
    document, _ = run(capsys, site, locked, tmp_path / "out", "--against", str(tmp_path / "out.zip"))
    capsys.readouterr()
    code = commands.main([words[0], *(str(tmp_path / name) for name in words[1:])])
    said = capsys.readouterr()
    assert code == 3
    assert f"is a delta of build {document['build_id']}" in said.err
