"""Releases share the files of their wheels, and a root keeps no wheel that no release has files of."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Set

import pytest

from deployable_zipfile import durable
from deployable_zipfile.__main__ import main
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.builder import delta
from deployable_zipfile.builder.output import Written
from deployable_zipfile.console import Console
from deployable_zipfile.deploy import shelves
from deployable_zipfile.install import drift, host, installation, sharing
from deployable_zipfile.install.space import Need, Room
from deployable_zipfile.install.store import Store, is_store
from tests.support import faults
from tests.support.artifacts import PYTHON, make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import make_wheel, read_tree
from tests.support.sites import MANAGE, PROJECT, WSGI, Host, Server

pytestmark = pytest.mark.usefixtures("without_commands")

MODULE = f"venv/lib/python{PYTHON}/site-packages/alpha/__init__.py"
VERSIONS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """Return artifacts that have the wheel alpha in common, and a wheel beta of their own."""
    folder = tmp_path_factory.mktemp("sites")
    found = {}
    for number, version in enumerate(VERSIONS):
        place = folder / version
        place.mkdir()
        beta = make_wheel(place, "beta", f"1.{number}", {"beta/__init__.py": f"NUMBER = {number}\n"})
        project: Dict[str, Any] = {f"{PROJECT}/__init__.py": "", "manage.py": MANAGE, f"{PROJECT}/wsgi.py": WSGI}
        project["version.txt"] = version
        found[version] = make_artifact(place / "site.zip", project, [simple_wheel(place), beta], name=PROJECT)
    return found


@pytest.fixture
def shared(quick_disk: None, root: Path, place: Path, sites: Dict[str, Path], server: Server, capsys: Any) -> Host:
    return Host(root, sites, server.url, place / "stock", capsys)


def module(host: Host, build: str) -> Path:
    return host.root / "releases" / build / MODULE


def wheels(store: Path) -> List[str]:
    """Return the names of the wheels in a store."""
    shelf = Store(str(store))
    return sorted(str(getattr(shelf.entry(key), "label", "")).partition("-py3")[0] for key in shelf.names())


def test_releases_share_their_wheels_by_default(shared: Host) -> None:
    one, two = shared.live("one"), shared.live("two")
    assert os.path.samefile(str(module(shared, one)), str(module(shared, two)))
    store = shared.root / ".deploy" / "store"
    assert wheels(store) == ["alpha-1.0", "beta-1.0", "beta-1.1"]
    for build in (one, two):
        assert drift.compare(str(shared.root / "releases" / build)).clean
    assert Store(str(store)).drift().clean


def test_what_no_release_has_files_of_is_removed_with_the_release(shared: Host) -> None:
    for version in ("one", "two", "three"):
        shared.live(version, "--keep", "2")
    store = shared.root / ".deploy" / "store"
    assert wheels(store) == ["alpha-1.0", "beta-1.1", "beta-1.2"]
    assert shared.verb("one", "prune", "--keep", "1") == 0
    assert wheels(store) == ["alpha-1.0", "beta-1.1", "beta-1.2"]  # a rollback needs the release before
    shared.live("four", "--keep", "1")
    assert wheels(store) == ["alpha-1.0", "beta-1.2", "beta-1.3"]
    assert Store(str(store)).drift().clean


def test_a_release_that_was_removed_by_hand_leaves_nothing_behind(shared: Host) -> None:
    one, _ = shared.live("one"), shared.live("two")
    shutil.rmtree(str(shared.root / "releases" / one))
    assert shared.verb("one", "prune") == 0
    assert wheels(shared.root / ".deploy" / "store") == ["alpha-1.0", "beta-1.1"]


def test_a_rollback_needs_no_store(shared: Host) -> None:
    one, _ = shared.live("one"), shared.live("two")
    shutil.rmtree(str(shared.root / ".deploy" / "store"))
    assert shared.verb("one", "rollback") == 0
    assert shared.current() == one
    assert drift.compare(str(shared.root / "current")).clean
    assert shared.live("three")
    assert is_store(str(shared.root / ".deploy" / "store"))


def test_no_store_is_remembered_and_what_was_shared_goes_in_time(shared: Host) -> None:
    shared.live("one")
    two = shared.live("two", "--no-store", "--keep", "1")
    assert os.stat(str(module(shared, two))).st_nlink == 1
    three = shared.live("three")
    assert os.stat(str(module(shared, three))).st_nlink == 1
    store = shared.root / ".deploy" / "store"
    assert wheels(store) == []  # release one, the last that shared, was removed
    shared.live("four", "--store", str(store))
    assert wheels(store) == ["alpha-1.0", "beta-1.3"]


def test_a_store_elsewhere_is_remembered_and_serves_several_roots(
    shared: Host, tmp_path: Path, sites: Dict[str, Path], capsys: Any
) -> None:
    store = tmp_path / "common"
    one = shared.live("one", "--store", str(store))
    two = shared.live("two")
    assert not (shared.root / ".deploy" / "store").exists()
    assert os.path.samefile(str(module(shared, one)), str(module(shared, two)))
    other = Host(tmp_path / "other", sites, "", tmp_path / "stock", capsys)
    other.health = []
    third = other.live("three", "--store", str(store))
    assert os.path.samefile(str(module(shared, one)), str(module(other, third)))
    assert wheels(store) == ["alpha-1.0", "beta-1.0", "beta-1.1", "beta-1.2"]
    other.live("four", "--keep", "1")
    other.live("one", "--keep", "1")
    assert wheels(store) == ["alpha-1.0", "beta-1.0", "beta-1.1", "beta-1.3"]


def test_an_edit_in_a_release_is_not_deployed_again(shared: Host) -> None:
    one = shared.live("one")
    path = module(shared, one)
    before = os.stat(str(path))
    path.write_text("raise SystemExit\n".ljust(before.st_size)[: before.st_size])
    os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns))
    two = shared.live("two")
    assert "alpha-1.0-py3-none-any.whl was changed there" in shared.err
    assert drift.compare(str(shared.root / "releases" / two)).clean
    assert drift.compare(str(shared.root / "releases" / one)).changed == [MODULE]


def test_removing_releases_makes_nothing_be_read_again(shared: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("one", "two", "three"):
        shared.live(version, "--keep", "1")
    monkeypatch.setattr(sharing, "state_of", lambda path, row: pytest.fail(f"{path} was read"))
    shared.live("four")


@pytest.mark.parametrize("words", [["--store", "{root}/releases"], ["--store", "{file}"], ["--store", "{folder}"]])
def test_a_store_that_cannot_be_one_is_refused_before_anything_is_made(
    words: List[str], shared: Host, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder" / "mine").mkdir(parents=True)
    places = {"root": shared.root, "file": tmp_path / "file", "folder": tmp_path / "folder"}
    assert shared.deploy("one", *[word.format(**places) for word in words]) == 5
    assert shared.error()
    assert not shared.root.exists()


def test_a_store_in_use_is_a_warning(shared: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_WAIT", 0.05)
    monkeypatch.setattr("deployable_zipfile.deploy.shelves._WAIT", 0.05)
    shared.live("one")
    with Store(str(shared.root / ".deploy" / "store")).locked(0):
        two = shared.live("two")
    told = [line.split()[0] for line in shared.err.splitlines() if "in use by process" in line]
    assert told.count("warning:") == told.count("Waiting") == 2
    assert os.stat(str(module(shared, two))).st_nlink == 1


@pytest.mark.deep
def test_killed_while_it_prunes_the_releases_that_stay_are_whole(shared: Host) -> None:
    shared.live("one", "--keep", "1")
    shared.live("two", "--keep", "1")
    shared.live("three", "--keep", "5")
    builds = os.listdir(str(shared.root / "releases"))
    shutil.copytree(str(shared.root), str(shared.root.parent / "copy"), symlinks=True)

    def prune() -> str:
        return str(shared.verb("two", "prune", "--keep", "1"))

    calls = faults.run_with_fault(prune, None, faults.dies).calls
    assert calls > 20
    for at in range(1, calls + 1, 7):
        shutil.rmtree(str(shared.root))
        shutil.copytree(str(shared.root.parent / "copy"), str(shared.root), symlinks=True)
        faults.run_with_fault(prune, at, faults.dies)
        assert prune() == "0", at
        assert len(os.listdir(str(shared.root / "releases"))) == len(builds) - 1, at
        for build in os.listdir(str(shared.root / "releases")):
            assert drift.compare(str(shared.root / "releases" / build)).clean, at
        assert Store(str(shared.root / ".deploy" / "store")).drift().clean, at
        assert wheels(shared.root / ".deploy" / "store") == ["alpha-1.0", "beta-1.1", "beta-1.2"], at
    shutil.rmtree(str(shared.root.parent / "copy"))


def test_space_is_asked_for_what_the_store_lacks(
    sites: Dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_file_system", lambda path: None)
    store = str(tmp_path / "store")
    with Artifact.open(str(sites["one"])) as artifact:
        manifest, destination = artifact.manifest, str(tmp_path / "dest")
        target = host.select_target(manifest)

        def room(stored: Optional[Set[str]]) -> Room:
            return Need(artifact, stored).room(target, True, 4096)

        plain = room(None)
        assert sharing.stored_members(store, manifest, destination) == set()
        first = room(set())
        assert first > plain  # the folders of the store
        installation.install(artifact, destination, workers=1, sync=False, store=store)
        stored = sharing.stored_members(store, manifest, str(tmp_path / "other"))
        assert stored is not None
        names = {name for name in stored if name.startswith("wheels/")}
        assert names == {wheel.file for wheel in manifest.targets[0].wheels}
        assert room(stored) < plain
    other = next((path for path in ("/dev/shm", "/run") if os.path.isdir(path)), "/")
    if os.stat(other).st_dev != os.stat(str(tmp_path)).st_dev:
        assert sharing.stored_members(store, manifest, f"{other}/dest") is None


def test_the_plan_and_the_journal_name_the_store(shared: Host, tmp_path: Path) -> None:
    shared.live("one", "--store", str(tmp_path / "common"))
    assert shared.verb("two", "deploy", "--dry-run", "--json") == 0
    assert json.loads(shared.out)["settings"]["store"] == str(tmp_path / "common")


def delta_of(sites: Dict[str, Path], new: str, old: str, folder: Path) -> Path:
    with Artifact.open(str(sites[new])) as artifact:
        whole = Written(str(sites[new]), artifact.size, artifact.sha256)
    with delta.opened_base(str(sites[old])) as against:
        quiet = Console(quiet=True)
        return Path(delta.write(whole, against, str(folder / f"{new}-{old}"), 1, quiet).path)


def test_a_delta_is_deployed_from_what_the_root_has(shared: Host, sites: Dict[str, Path], tmp_path: Path) -> None:
    changes = delta_of(sites, "two", "one", tmp_path)
    shared.artifacts = dict(sites, changes=changes)
    assert shared.deploy("changes") == 4
    assert "is a delta against build" in shared.error()
    assert not shared.root.exists()
    shared.live("one")
    two = shared.live("changes")
    tree = read_tree(shared.root / "releases" / two)
    assert drift.compare(str(shared.root / "releases" / two)).clean
    assert shared.verb("changes", "deploy", "--json") == 0
    assert json.loads(shared.out)["changed"] is False
    shutil.rmtree(str(shared.root))
    assert shared.live("two") == two
    whole = read_tree(shared.root / "releases" / two)
    for name in (".deploy/installed.json", "environment.json"):
        tree.pop(name)
        whole.pop(name)
    assert tree == whole


def test_a_delta_is_deployed_when_its_build_is_not_live_any_more(
    shared: Host, sites: Dict[str, Path], tmp_path: Path
) -> None:
    shared.artifacts = dict(sites, changes=delta_of(sites, "four", "one", tmp_path))
    shared.live("one", "--no-store")
    shared.live("two")
    assert shared.deploy("changes", "--dry-run") == 0
    four = shared.live("changes")
    assert drift.compare(str(shared.root / "releases" / four)).clean
    tool = shared.root / ".deploy" / "tool" / "deployable_zipfile"
    assert (tool / "extract.py").is_file()


def test_a_delta_is_deployed_from_the_store_that_the_root_remembers(
    shared: Host, sites: Dict[str, Path], tmp_path: Path
) -> None:
    shared.artifacts = dict(sites, changes=delta_of(sites, "two", "one", tmp_path))
    one = shared.live("one", "--store", str(tmp_path / "common"))
    module(shared, one).unlink()  # now the store alone has the wheel that the delta leaves out
    assert shared.deploy("changes") == 0, shared.err
    assert drift.compare(str(shared.root / "current")).clean


def test_a_delta_is_deployed_from_an_artifact_that_is_named(
    shared: Host, sites: Dict[str, Path], tmp_path: Path
) -> None:
    shared.artifacts = dict(sites, changes=delta_of(sites, "two", "one", tmp_path))
    assert shared.deploy("changes", "--base", str(sites["one"])) == 0, shared.err
    assert drift.compare(str(shared.root / "current")).clean


class TestPruneOfAStore:
    @pytest.fixture
    def store(self, quick_disk: None, sites: Dict[str, Path], tmp_path: Path) -> Path:
        """Return a store that two installations made by hand share; the first of them is gone."""
        store = tmp_path / "store"
        for version in ("one", "two"):
            with Artifact.open(str(sites[version])) as artifact:
                destination = str(tmp_path / version)
                installation.install(artifact, destination, workers=1, sync=False, store=str(store))
        shutil.rmtree(str(tmp_path / "one"))
        return store

    def prune(self, capsys: Any, *words: str) -> Any:
        code = main(["prune", "--json", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out) if code == 0 else said.err

    def test_only_what_no_installation_has_is_removed(self, store: Path, tmp_path: Path, capsys: Any) -> None:
        before = sorted(wheels(store))
        code, found = self.prune(capsys, "--store", str(store), "--dry-run")
        assert (code, found["pruned"], found["dry_run"]) == (0, ["beta-1.0-py3-none-any.whl"], True)
        assert sorted(wheels(store)) == before
        assert len(os.listdir(str(store / "references"))) == 2
        code, found = self.prune(capsys, "--store", str(store))
        assert (code, found["pruned"], found["changed"]) == (0, ["beta-1.0-py3-none-any.whl"], True)
        assert wheels(store) == ["alpha-1.0", "beta-1.1"]
        assert drift.compare(str(tmp_path / "two")).clean
        assert Store(str(store)).drift().clean
        code, found = self.prune(capsys, "--store", str(store))
        assert (found["pruned"], found["changed"]) == ([], False)

    def test_an_entry_without_a_record_is_kept_while_a_file_of_it_has_another_name(
        self, store: Path, tmp_path: Path, capsys: Any
    ) -> None:
        shutil.rmtree(str(store / "references"))
        assert self.prune(capsys, "--store", str(store))[1]["pruned"] == ["beta-1.0-py3-none-any.whl"]
        os.rename(str(tmp_path / "two"), str(tmp_path / "moved"))
        assert self.prune(capsys, "--store", str(store))[1]["pruned"] == []
        shutil.rmtree(str(tmp_path / "moved"))
        assert len(self.prune(capsys, "--store", str(store))[1]["pruned"]) == 2

    def test_the_releases_of_every_root_that_uses_it_count(
        self, shared: Host, store: Path, tmp_path: Path, capsys: Any
    ) -> None:
        shared.live("one", "--store", str(store))
        assert self.prune(capsys, "--store", str(store))[1]["pruned"] == []
        assert drift.compare(str(shared.root / "current")).clean

    def test_a_store_in_use_is_left(self, store: Path, capsys: Any) -> None:
        with Store(str(store)).locked(0):
            code, said = self.prune(capsys, "--store", str(store))
            assert code == 5
            assert "in use by" in said
        assert len(wheels(store)) == 3

    @pytest.mark.parametrize("kind", sampled(["missing", "folder", "file", "installation", "root"], 2))
    def test_what_is_no_store_is_refused_and_left(
        self, shared: Host, store: Path, tmp_path: Path, capsys: Any, kind: str
    ) -> None:
        place = {"installation": tmp_path / "two", "root": shared.root}.get(kind, tmp_path / kind)
        if kind == "folder":
            (place / "entries" / ("0" * 64)).mkdir(parents=True)
        elif kind == "file":
            place.write_text("{}")
        elif kind == "root":
            shared.live("one")
            capsys.readouterr()
        before = sorted(str(path) for path in tmp_path.rglob("*"))
        code, said = self.prune(capsys, "--store", str(place))
        assert code == 5
        assert "is not a store" in said
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("words", [["--keep", "3"], ["--older-than", "1d"], ["--root", "/srv/site"]])
    def test_what_is_about_releases_is_refused(self, store: Path, capsys: Any, words: List[str]) -> None:
        code, _ = self.prune(capsys, "--store", str(store), *words)
        assert code == 2
        assert len(wheels(store)) == 3

    def test_one_of_the_two_must_be_named(self, capsys: Any) -> None:
        assert self.prune(capsys)[0] == 2


def test_the_list_shows_what_is_shared_and_what_is_not(shared: Host) -> None:
    shared.live("one", "--no-store")
    shared.live("two", "--store", str(shared.root / ".deploy/store"))
    assert shared.verb("two", "releases", "--sizes", "--json") == 0
    alone, sharing_one = json.loads(shared.out)["releases"]
    assert alone["shared_bytes"] == 0
    assert alone["own_bytes"] > 0
    files = sum(os.lstat(path).st_nlink > 1 for path in (shared.root / "current" / "venv").rglob("*") if path.is_file())
    assert files > 0
    assert 0 < sharing_one["shared_bytes"] < alone["own_bytes"]
    assert shared.verb("two", "releases", "--sizes") == 0
    assert " own " in shared.out
    assert " shared " in shared.out
    assert shared.verb("two", "releases", "--json") == 0
    assert "own_bytes" not in json.loads(shared.out)["releases"][0]


def test_a_file_with_several_names_in_one_folder_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"x" * 100_000)
    before = shelves.disk_use(str(tmp_path / "a"))
    os.link(str(tmp_path / "a/one"), str(tmp_path / "a/two"))
    (tmp_path / "a" / "link").symlink_to("/usr")
    after = shelves.disk_use(str(tmp_path / "a"))
    assert 90_000 < after.shared < 150_000
    assert after.own + after.shared <= before.own + before.shared + 8192
