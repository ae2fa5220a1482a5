"""``create --against OLD.zip`` writes the whole artifact and, beside it, what OLD.zip lacks."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from deployable_zipfile.artifact import delta, layout
from deployable_zipfile.artifact.proof import prove
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.console import Console
from deployable_zipfile.install import base, installation
from deployable_zipfile.views import commands
from tests.support.depth import sampled
from tests.support.helpers import read_tree
from tests.support.wheels import wheels_opened
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


@pytest.mark.parametrize("base_kind", ["artifact", "installation"])
def test_a_delta_has_the_index_of_a_changed_wheel_only_and_installs_the_same_tree(
    base_kind: str,
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same, before = index.add("bar", "1.0"), index.add("foo", "1.0")
    after = index.add("foo", "2.0", {"foo/__init__.py": "", "foo/new.py": "NEW = 1\n"})
    run(capsys, site, lock(site, pinned(same), pinned(before)), tmp_path / "old")
    locked = lock(site, pinned(same), pinned(after))
    run(capsys, site, locked, tmp_path / "new", "--against", str(tmp_path / "old.zip"))
    delta_path = tmp_path / "new.delta.zip"
    with Artifact.open(str(delta_path)) as artifact:
        archives = {name for name in artifact.members if layout.is_wheel(name)}
        archives |= {name for name in artifact.members if name.startswith(f"{layout.BYTECODE}/")}
        found = {name for name in artifact.members if layout.is_index(name)}
        prove(artifact, 1)
    wheel = f"wheels/{after.name}"
    compiled = f"{layout.BYTECODE}/{sys.implementation.cache_tag}/{after.name[:-4]}.zip"
    assert archives - {layout.runtime_bytecode(str(sys.implementation.cache_tag))} == {wheel, compiled}
    assert found == {layout.index_of(wheel), layout.index_of(compiled)}
    dest = tmp_path / "dest"
    install(tmp_path / "old.zip", tmp_path / "before")
    expected = install(tmp_path / "new.zip", dest)
    shutil.rmtree(str(dest))
    opened = wheels_opened(monkeypatch)
    there = {"artifact": tmp_path / "old.zip", "installation": tmp_path / "before"}
    assert install(delta_path, dest, there[base_kind]) == expected
    assert "bar" in opened  # made anew, so that no index fits
    assert "foo" not in opened


def install(path: Path, destination: Path, *bases: Path) -> Dict[str, Any]:
    console = Console(quiet=True, err=io.StringIO(), out=io.StringIO())
    places = [*map(str, bases)]
    with Artifact.open(str(path)) as given, base.completed(given, places, str(destination.parent), 1, console) as whole:
        installation.install(whole, str(destination), workers=1, sync=False, console=console)
    return {name: entry for name, entry in read_tree(destination).items() if name != layout.INSTALLED}


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
