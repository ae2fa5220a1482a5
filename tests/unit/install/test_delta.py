"""A delta gives the same tree as the whole artifact, from whatever has the build that it is against, or nothing."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from deployable_zipfile import durable, extract
from deployable_zipfile.artifact import delta as deltas
from deployable_zipfile.artifact import layout, manifests
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.builder import delta
from deployable_zipfile.builder.output import Written
from deployable_zipfile.console import Console
from deployable_zipfile.errors import ArtifactError, BuildInputError, DeployableZipfileError, TargetError
from deployable_zipfile.install import base, drift, installation
from tests.support import faults
from tests.support.artifacts import PYTHON, make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.drafts import STORED, Raw, zip_of
from tests.support.helpers import make_wheel, read_tree, run_cli, write_tree

QUIET = Console(quiet=True, err=io.StringIO(), out=io.StringIO())


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "sync_file_system", lambda path: None)


def make_site(folder: Path, number: int, **options: Any) -> Path:
    """Return the artifact of one version: beta and some files of the project change."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        "scripts/alpha-script": ("#!python\nprint('script')\n", 0o755),
        "scripts/alpha.sh": ("#!/bin/sh\n", 0o755),
        'data/share/a,b "c".txt': "shared",
        "data/bin/alpha-data": "overlaid by nothing",
        "purelib/alpha_more.py": "MORE = 1\n",
        "headers/alpha.h": "int a;\n",
    }
    wheels = [
        simple_wheel(folder, data=data),
        make_wheel(
            folder, "beta", "1.0", {"beta/__init__.py": f"NUMBER = {number}\n", "common/__init__.py": "B = 1\n"}
        ),
        make_wheel(
            folder, "gamma", "2.0", {"gamma/é.py": "G = 1\n", "common/__init__.py": "G = 2\n", "gamma/x": b"\0" * 70000}
        ),
    ]
    project: Dict[str, Any] = {f"pages/page{count}.py": f"PAGE = {count}\n" for count in range(40)}
    project.update({"__init__.py": "", "release.py": f"N = {number}\n", "run.sh": "#!/bin/sh\n", "é b.txt": "text"})
    project[f"only{number}.py"] = "ONLY = 1\n"
    options.setdefault("modes", {"site_one/run.sh": 0o755})
    return make_artifact(
        folder / "site.zip", project, wheels, static={"a.css": "a{}", "b.css": f"b{number}"}, **options
    )


def make_delta(new: Path, old: Path, name: str = "out") -> Path:
    with Artifact.open(str(new)) as artifact:
        written = Written(str(new), artifact.size, artifact.sha256)
    with delta.opened_base(str(old)) as against:
        return Path(delta.write(written, against, str(new.parent / name), 1, QUIET).path)


@functools.lru_cache(maxsize=None)
def made(payload: bool, bytecode: bool) -> Dict[str, Tuple[bytes, int]]:
    """Return the files of two builds and the delta between them, made once: content and mode by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old, new = (
            make_site(folder / kind, n, payload=payload, bytecode=bytecode) for n, kind in ((1, "old"), (2, "new"))
        )
        make_delta(new, old)
        return {path: (data, mode) for path, (mode, data) in read_tree(folder).items() if (folder / path).is_file()}


class Builds:
    """Two builds and the delta between them."""

    def __init__(self, folder: Path, payload: bool = False, bytecode: bool = True) -> None:
        self.folder = write_tree(folder, made(payload, bytecode))
        self.old, self.new = folder / "old" / "site.zip", folder / "new" / "site.zip"
        self.delta = folder / "new" / "out.delta.zip"


@pytest.fixture(params=["plain", "payload", "compiled here"])
def builds(request: Any, tmp_path: Path) -> Builds:
    options = {"plain": {}, "payload": {"payload": True}, "compiled here": {"bytecode": False}}[request.param]
    return Builds(tmp_path / "builds", **options)


def install(path: Path, destination: Path, bases: List[Path], store: str = "", workers: int = 1) -> None:
    with Artifact.open(str(path)) as given:
        paths = [*map(str, bases), store]
        with base.completed(given, paths, str(destination.parent), workers, QUIET) as artifact:
            installation.install(artifact, str(destination), workers=workers, sync=False, store=store, console=QUIET)


def content(destination: Path) -> Dict[str, Tuple[int, bytes]]:
    return {name: entry for name, entry in read_tree(destination).items() if name != layout.INSTALLED}


def whole(path: Path, destination: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return what the whole artifact installs into *destination*; it is removed again."""
    install(path, destination, [])
    expected = content(destination)
    shutil.rmtree(str(destination))
    return expected


@pytest.mark.parametrize("workers", sampled([1, 2], 1))
def test_with_an_installation_the_tree_is_the_same_to_the_last_byte(
    builds: Builds, workers: int, tmp_path: Path
) -> None:
    expected = whole(builds.new, tmp_path / "dest")
    install(builds.old, tmp_path / "before", [])
    install(builds.delta, tmp_path / "dest", [tmp_path / "before"], workers=workers)
    assert content(tmp_path / "dest") == expected
    assert drift.compare(str(tmp_path / "dest")).clean
    record = json.loads((tmp_path / "dest" / layout.INSTALLED).read_text())
    with Artifact.open(str(builds.new)) as artifact:
        assert record["build_id"] == artifact.manifest.build_id
    assert not [name for name in os.listdir(str(tmp_path)) if name.startswith(".")]


def test_with_the_artifact_the_tree_is_the_same(builds: Builds, tmp_path: Path) -> None:
    expected = whole(builds.new, tmp_path / "dest")
    install(builds.delta, tmp_path / "dest", [builds.old])
    assert content(tmp_path / "dest") == expected


def test_with_a_store_and_the_projects_files_the_tree_is_the_same(builds: Builds, tmp_path: Path) -> None:
    expected = whole(builds.new, tmp_path / "dest")
    store = str(tmp_path / "store")
    install(builds.old, tmp_path / "before", [], store)
    shutil.rmtree(str(tmp_path / "before" / "venv"))
    install(builds.delta, tmp_path / "dest", [tmp_path / "before"], store)
    assert content(tmp_path / "dest") == expected
    assert drift.compare(str(tmp_path / "dest")).clean


@pytest.mark.deep
def test_the_installation_itself_is_enough_the_second_time(builds: Builds, tmp_path: Path) -> None:
    install(builds.new, tmp_path / "dest", [])
    install(builds.delta, tmp_path / "dest", [tmp_path / "dest"])


def refusal(path: Path, destination: Path, bases: List[Path]) -> DeployableZipfileError:
    with pytest.raises(DeployableZipfileError) as caught:
        install(path, destination, bases)
    return caught.value


def test_without_the_build_one_line_says_what_to_do(builds: Builds, tmp_path: Path) -> None:
    error = refusal(builds.delta, tmp_path / "dest", [])
    assert isinstance(error, TargetError)
    with Artifact.open(str(builds.old)) as artifact:
        assert f"is a delta against build {artifact.manifest.build_id}" in error.why
    assert "--base" in error.fix
    assert not (tmp_path / "dest").exists()


def test_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds(tmp_path / "builds")
    monkeypatch.chdir(str(tmp_path))
    with Artifact.open(str(builds.delta)) as given, base.completed(
        given, [os.path.relpath(str(builds.old))], "not/there/yet", 1, QUIET
    ) as artifact:
        assert artifact.manifest.members
        artifact.verify(1)


def edited(tree: Path) -> None:
    path = tree / f"venv/lib/python{PYTHON}/site-packages/alpha/__init__.py"
    path.write_text(path.read_text().replace("alpha", "ALPHA"))


def shortened(tree: Path) -> None:
    (tree / f"venv/lib/python{PYTHON}/site-packages/gamma/x").write_bytes(b"\0")


def without_a_page(tree: Path) -> None:
    (tree / "site_one" / "pages" / "page7.py").unlink()


def with_a_link(tree: Path) -> None:
    page = tree / "site_one" / "pages" / "page7.py"
    page.rename(tree / "elsewhere")
    page.symlink_to(tree / "elsewhere")


def with_a_pipe(tree: Path) -> None:
    page = tree / "site_one" / "pages" / "page7.py"
    page.unlink()
    os.mkfifo(str(page))


@pytest.mark.parametrize("damage", sampled([edited, shortened, without_a_page, with_a_link, with_a_pipe], 2))
def test_an_installation_that_was_changed_is_not_taken_for_the_build(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    builds = Builds(tmp_path / "builds")
    install(builds.old, tmp_path / "before", [])
    damage(tmp_path / "before")
    error = refusal(builds.delta, tmp_path / "dest", [tmp_path / "before"])
    assert isinstance(error, TargetError)
    assert not (tmp_path / "dest").exists()
    # Another one that is as it should be makes up for it.
    expected = whole(builds.new, tmp_path / "dest")
    install(builds.delta, tmp_path / "dest", [tmp_path / "before", builds.old])
    assert content(tmp_path / "dest") == expected


def test_another_build_gives_what_it_has_in_common(tmp_path: Path) -> None:
    builds = Builds(tmp_path / "builds")
    third = make_site(tmp_path / "third", 3)
    install(third, tmp_path / "before", [])
    expected = whole(builds.new, tmp_path / "dest")
    install(builds.delta, tmp_path / "dest", [tmp_path / "before"])
    assert content(tmp_path / "dest") == expected


def test_a_delta_is_small_and_always_the_same(tmp_path: Path) -> None:
    builds = Builds(tmp_path / "builds")
    again = make_delta(builds.new, builds.old, "again")
    assert again.read_bytes() == builds.delta.read_bytes()
    same = make_delta(builds.new, builds.new, "same")
    assert same.stat().st_size < builds.new.stat().st_size
    with Artifact.open(str(same)) as artifact:
        assert not [name for name in artifact.members if name.startswith(("wheels/", "site_one/", "static.in/"))]
    with Artifact.open(str(builds.delta)) as artifact:
        artifact.verify()
        held = {name for name in artifact.members if name.startswith(("wheels/", "site_one/", "static.in/"))}
        assert held == {
            "wheels/beta-1.0-py3-none-any.whl", "site_one/release.py", "site_one/only2.py", "static.in/0/b.css"
        }  # fmt: skip


def test_what_is_no_artifact_or_a_delta_itself_is_refused_as_old_build(tmp_path: Path) -> None:
    builds = Builds(tmp_path / "builds")
    (tmp_path / "text").write_text("no artifact")
    for path in (tmp_path / "text", tmp_path / "missing", builds.delta):
        with pytest.raises(BuildInputError, match="--against"):
            make_delta(builds.new, path)


@pytest.mark.deep
def test_verbs_say_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builds = Builds(tmp_path / "builds")
    with Artifact.open(str(builds.old)) as artifact:
        against = artifact.manifest.build_id
    with Artifact.open(str(builds.new)) as artifact:
        build, sha256 = artifact.manifest.build_id, artifact.sha256

    def verb(*words: Any, code: int = 0) -> Any:
        assert extract.main([str(word) for word in words], str(builds.delta)) == code
        return capsys.readouterr()

    document = json.loads(run_cli([sys.executable, builds.delta, "info", "--json"]).stdout)
    assert (document["build_id"], document["against"], document["whole"]["sha256"]) == (build, against, sha256)
    assert document["targets"][0]["packages"] == {"alpha": "1.0", "beta": "1.0", "gamma": "2.0"}
    assert f"delta      against build {against}" in verb("info").out
    assert "wheels/beta-1.0-py3-none-any.whl" in verb("list").out
    assert f"a delta of build {build} against {against}" in verb("verify").out
    assert f"is a delta against build {against}" in verb("check", code=4).err
    verb("check", "--base", builds.old)
    said = verb("-d", tmp_path / "dest", code=4).err.splitlines()
    assert [line.partition(":")[0] for line in said if ": " in line] == ["error"]
    assert "is a delta" in verb("selftest", code=4).err
    install(builds.old, tmp_path / "before", [])
    verb("-d", tmp_path / "dest", "--base", tmp_path / "before")
    assert "already holds build" in verb("-d", tmp_path / "dest").out


def changed_in(path: Path, change: Callable[[Dict[str, Any]], None]) -> Path:
    """Return a delta whose book is changed, its manifest put right: what a forger would make."""
    with Artifact.open(str(path)) as artifact:
        files = {name: artifact.container.read(entry) for name, entry in artifact.members.items()}
        modes = {name: entry.mode for name, entry in artifact.members.items()}
        manifest = artifact.manifest
    document = json.loads(files[deltas.PLAN])
    change(document)
    files[deltas.PLAN] = json.dumps(document).encode()
    del files[layout.MANIFEST]
    raws = [Raw(name, data, modes[name], STORED) for name, data in files.items()]
    members = dict(manifest.members)
    members[deltas.PLAN] = manifests.Member(
        len(files[deltas.PLAN]), 0o644, hashlib.sha256(files[deltas.PLAN]).hexdigest()
    )
    raws.append(Raw(layout.MANIFEST, manifest._replace(members=members).to_json(), 0o644, STORED))
    other = path.parent / "forged.zip"
    other.write_bytes(zip_of(raws, manifest.shebang.encode() + b"\n"))
    return other


ALPHA = "wheels/alpha-1.0-py3-none-any.whl"


def set_key(key: str, value: Any) -> Callable[[Dict[str, Any]], None]:
    return lambda document: document.__setitem__(key, value)


def rename(name: str) -> Callable[[Dict[str, Any]], None]:
    def change(document: Dict[str, Any]) -> None:
        document["archives"][ALPHA][0][0] = name

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_key("schema", 2),
        set_key("more", 1),
        set_key("base", "x"),
        set_key("sha256", "0" * 63),
        set_key("size", -1),
        set_key("archives", []),
        set_key("archives", {}),
        set_key("archives", {"wheels/other-1-py3-none-any.whl": []}),
        set_key("archives", {ALPHA: [["a", 420, 1]]}),
        set_key("archives", {ALPHA: [["a", 0o4755, 1, "0" * 64]]}),
        rename("../../outside"),
        rename("/etc/passwd"),
        rename("alpha/./x"),
    ],
)
def test_a_forged_delta_is_refused(change: Callable[[Dict[str, Any]], None], tmp_path: Path) -> None:
    builds = Builds(tmp_path / "builds")
    error = refusal(changed_in(builds.delta, change), tmp_path / "dest", [builds.old])
    assert isinstance(error, ArtifactError)
    assert not (tmp_path / "dest").exists()


def test_a_forged_digest_is_found_missing(tmp_path: Path) -> None:
    def change(document: Dict[str, Any]) -> None:
        document["archives"][ALPHA][0][3] = "0" * 64

    builds = Builds(tmp_path / "builds")
    install(builds.old, tmp_path / "before", [])
    assert isinstance(refusal(changed_in(builds.delta, change), tmp_path / "dest", [tmp_path / "before"]), TargetError)


def attempt(builds: Builds, destination: Path, before: Path) -> str:
    install(builds.delta, destination, [before])
    return ""


@pytest.mark.deep
def test_killed_or_refused_at_any_call_nothing_is_left_and_a_rerun_succeeds(tmp_path: Path) -> None:
    builds = Builds(tmp_path / "builds")
    install(builds.old, tmp_path / "before", [])
    place = tmp_path / "place"
    place.mkdir()
    expected = whole(builds.new, place / "dest")
    place.rmdir()
    for fault in (faults.dies, faults.fails(28)):
        place.mkdir()
        for at, ended in faults.sweep(lambda: attempt(builds, place / "dest", tmp_path / "before"), place, fault, 61):
            if (place / "dest").exists():
                assert content(place / "dest") == expected, at
            elif ended.code > 0:
                assert ended.code == 5, (at, ended)
            attempt(builds, place / "dest", tmp_path / "before")
            assert content(place / "dest") == expected, at
        shutil.rmtree(str(place), ignore_errors=True)
