"""Wheels that are installed by their index: the same tree as without one, and no harm by an index that is wrong."""

from __future__ import annotations

import contextlib
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from deployable_zipfile.artifact import index, layout, manifests
from deployable_zipfile.artifact.index import Index
from deployable_zipfile.artifact.wheel import EntryPoint
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import DeployableZipfileError
from deployable_zipfile.install import installation
from deployable_zipfile.install.store import Store
from tests.support.artifacts import PYTHON, make_artifact
from tests.support.depth import sampled
from tests.support.helpers import make_wheel, read_tree
from tests.support.wheels import wheels_opened
from tests.unit.install.test_portions import various

TAG = sys.implementation.cache_tag
SITE = f"venv/lib/python{PYTHON}/site-packages"
LARGE = bytes(range(256)) * 5000


def install(path: Path, destination: Path, **options: Any) -> Dict[str, Any]:
    with Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(destination), sync=False, **options)
    # The manifest, and what has its digest, differ by the indexes that it lists.
    others = (layout.INSTALLED, layout.MANIFEST, layout.FILES)
    return {name: entry for name, entry in read_tree(destination).items() if name not in others}


def listed(destination: Path) -> List[str]:
    text = (destination / layout.FILES).read_text(encoding="ascii")
    return [line for line in text.splitlines() if layout.MANIFEST not in line]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    return wheels_opened(monkeypatch)


def shapes(folder: Path) -> List[Path]:
    points = "[console_scripts]\ntool = {0}:main\n{0}-tool = {0}.x:main.run\n[gui_scripts]\nwin = {0}:main\n"
    large: Dict[str, Any] = {
        "large/a.bin": LARGE,
        "large/b.bin": LARGE * 3,
        "large/c.txt": "c",
        "large/run.sh": ("#!/bin/sh\n", 0o755),
    }
    return [
        make_wheel(
            folder, "plain", "1", {"plain/__init__.py": "A = 1\n", "plain/deep/er/x.py": "", "plain/no.txt": ""}
        ),
        make_wheel(folder, "single", "1", {"single.py": "def main(): pass\n"}, entry_points=points.format("single")),
        make_wheel(folder, "space-one", "1", {"space/one/__init__.py": "", "space/one/data": "\0"}),
        make_wheel(folder, "space-two", "1", {"space/two/__init__.py": ""}, entry_points=points.format("space.two")),
        make_wheel(folder, "large", "1", large),
        make_wheel(
            folder, "stored", "1", {"stored/x.py": "X = 1\n", **large_of("stored")}, compression=zipfile.ZIP_STORED
        ),
        make_wheel(folder, "scripts", "1", {"s.py": ""}, data={"scripts/s1": "#!python\nx\n", "scripts/s2": "#!/x\n"}),
        make_wheel(folder, "pip", "1", {"pip/__init__.py": ""}, entry_points="[console_scripts]\npip = pip:main\n"),
        make_wheel(folder, "hook", "1", {"hook.pth": "import os\n", "none.py": ""}),
        make_wheel(folder, "nothing", "1", {}),
    ]


NAMES = ["plain", "single", "space-one", "space-two", "large", "stored", "scripts", "pip", "hook", "nothing"]


def large_of(name: str) -> Dict[str, Any]:
    return {f"{name}/a.bin": LARGE, f"{name}/empty": b""}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("bytecode", [True, False])
def test_the_tree_is_the_same_and_no_wheel_is_opened(
    tmp_path: Path, opened: List[str], bytecode: bool, workers: int
) -> None:
    wheels = shapes(tmp_path)
    first = make_artifact(tmp_path / "a.zip", wheels=wheels, bytecode=bytecode, indexes=False)
    second = make_artifact(tmp_path / "b.zip", wheels=wheels, bytecode=bytecode)
    dest = tmp_path / "dest"
    expected = install(first, dest, workers=workers, compiles=bytecode)
    assert len(opened) == len(wheels)
    lines = listed(dest)
    dest.rename(tmp_path / "other")
    opened.clear()
    assert install(second, dest, workers=workers, compiles=bytecode) == expected
    assert listed(dest) == lines
    assert opened == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("store", [True, False])
def test_wheels_that_are_in_each_others_way_are_opened(
    tmp_path: Path, opened: List[str], store: bool, workers: int
) -> None:
    wheels = [*various(tmp_path, bytecode=True), *shapes(tmp_path)]
    first = make_artifact(tmp_path / "a.zip", wheels=wheels, indexes=False)
    second = make_artifact(tmp_path / "b.zip", wheels=wheels)
    dest = tmp_path / "dest"
    expected = install(first, dest, workers=workers)
    dest.rename(tmp_path / "other")
    opened.clear()
    assert install(second, dest, workers=workers, store=str(tmp_path / "store") if store else "") == expected
    assert len(set(opened)) == len(wheels)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_is_filled_and_used_without_opening_a_wheel(tmp_path: Path, opened: List[str], workers: int) -> None:
    wheels = shapes(tmp_path)
    first = make_artifact(tmp_path / "a.zip", wheels=wheels, indexes=False)
    second = make_artifact(tmp_path / "b.zip", wheels=wheels)
    dest, old, new = (tmp_path / name for name in ("dest", "old", "new"))
    expected = install(first, dest, workers=workers, store=str(old))
    lines = listed(dest)
    dest.rename(tmp_path / "first")
    opened.clear()
    for name in ("second", "third"):  # unpacks, then shares
        assert install(second, dest, workers=workers, store=str(new)) == expected
        assert listed(dest) == lines
        dest.rename(tmp_path / name)
    assert opened == []
    entries = [Store(str(path)).entry(key) for path in (old, new) for key in Store(str(old)).names()]
    half = len(entries) // 2
    assert [one.rows for one in entries[:half] if one] == [one.rows for one in entries[half:] if one]
    assert half == len(wheels)
    linked = (tmp_path / "third" / SITE / "plain" / "no.txt").stat()
    assert linked.st_ino == (tmp_path / "second" / SITE / "plain" / "no.txt").stat().st_ino


@pytest.mark.parametrize("bytecode", [False, True])
@pytest.mark.parametrize("change", ["twice", "starts backwards", "more names", "swapped"])
def test_no_store_is_filled_by_an_index_that_is_not_its_wheels(change: str, bytecode: bool, tmp_path: Path) -> None:
    def swapped(found: Index) -> Index:  # sound in itself, and would be installed
        return found._replace(names=[found.names[1], found.names[0], *found.names[2:]])

    def more(found: Index) -> Index:
        return found._replace(names=[f"one/__pycache__/{'x' if bytecode else 'y.txt'}", *found.names[1:]])

    (tmp_path / "in").mkdir()
    changes = {**HOSTILE, "more names": more, "swapped": swapped}
    artifact, store = hostile(tmp_path, changes[change], bytecode), tmp_path / "store"
    right = make_artifact(tmp_path / "in" / "right.zip", wheels=[tmp_path / "one-1-py3-none-any.whl"])
    expected = install(right, tmp_path / "dest", workers=1)
    (tmp_path / "dest").rename(tmp_path / "was")
    try:
        assert install(artifact, tmp_path / "dest", workers=1, store=str(store)) == expected  # the wheel was opened
        (tmp_path / "dest").rename(tmp_path / "bad")
    except DeployableZipfileError:
        assert Store(str(store)).names() == []
    assert install(right, tmp_path / "dest", workers=1, store=str(store)) == expected


@pytest.mark.parametrize("damage", ["changed", "gone", "index", "no store"])
def test_what_the_store_cannot_give_is_written_by_index(damage: str, tmp_path: Path, opened: List[str]) -> None:
    artifact = make_artifact(tmp_path / "b.zip", wheels=shapes(tmp_path))
    dest, store = tmp_path / "dest", tmp_path / "store"
    expected = install(artifact, dest, workers=1, store=str(store))
    lines = listed(dest)
    dest.rename(tmp_path / "first")
    if damage == "no store":
        shutil.rmtree(store)
        store.mkdir()
        (store / "lock").mkdir()  # cannot be opened
    else:
        (file,) = store.glob("entries/*/wheel/plain/no.txt")
        if damage == "changed":
            file.chmod(0o644)
            file.write_text("edited")
        elif damage == "gone":
            file.unlink()
        else:
            (file.parents[2] / "index").write_text("x")
    (tmp_path / "first" / SITE / "plain" / "no.txt").unlink()
    assert install(artifact, dest, workers=1, store=str(store)) == expected
    assert listed(dest) == lines
    assert opened == []


def test_a_wheel_without_an_index_is_installed_beside_others(tmp_path: Path, opened: List[str]) -> None:
    odd = [
        make_wheel(tmp_path, "odd", "1", {"odd/ünicode.txt": "", "odd/a.py": ""}),
        make_wheel(tmp_path, "data", "1", {"data.py": ""}, data={"data/share/x": "1", "headers/x.h": ""}),
        make_wheel(tmp_path, "cached", "1", {f"__pycache__/x.{TAG}.pyc": "x", "loadenvironment.py": ""}),
    ]
    wheels = [*shapes(tmp_path), *odd]
    first = make_artifact(tmp_path / "a.zip", wheels=wheels, indexes=False)
    second = make_artifact(tmp_path / "b.zip", wheels=wheels)
    dest = tmp_path / "dest"
    expected = install(first, dest, workers=1)
    dest.rename(tmp_path / "other")
    opened.clear()
    assert install(second, dest, workers=1) == expected
    assert opened == ["odd", "data", "cached"]


@pytest.mark.parametrize(
    "second",
    [
        {"one/b.py": "of = 'two'\n"},
        {"one/a.py/c.py": ""},
        {"one": "a file"},
        {"ONE/A.PY": ""},
        {f"one/__pycache__/a.{TAG}.pyc": "mine"},
    ],
    ids=["same file", "file and folder", "folder and file", "other case", "bytecode"],
)
def test_two_wheels_come_out_as_without_indexes(second: Dict[str, str], tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path, "one", "1", {"one/a.py": "", "one/b.py": "of = 'one'\n"}),
        make_wheel(tmp_path, "two", "1", second),
    ]
    outcomes = []
    for indexes in (False, True):
        artifact = make_artifact(tmp_path / "a.zip", wheels=wheels, indexes=indexes)
        try:
            outcomes.append(install(artifact, tmp_path / "dest", workers=1))
            (tmp_path / "dest").rename(tmp_path / f"was-{indexes}")
        except DeployableZipfileError as error:
            outcomes.append({"refused": str(error)})
            assert not (tmp_path / "dest").exists()
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_bytecode_of_another_python_is_not_installed_by_index(tmp_path: Path, opened: List[str], workers: int) -> None:
    def other(manifest: manifests.Manifest) -> manifests.Manifest:
        return manifest._replace(targets=tuple(one._replace(magic="00000000") for one in manifest.targets))

    wheels = shapes(tmp_path)
    first = make_artifact(tmp_path / "a.zip", wheels=wheels, manifest=other, indexes=False)
    second = make_artifact(tmp_path / "b.zip", wheels=wheels, manifest=other)
    dest = tmp_path / "dest"
    expected = install(first, dest, workers=workers)
    assert f"{SITE}/plain/__pycache__/__init__.{TAG}.pyc" in expected  # compiled here
    lines = listed(dest)
    dest.rename(tmp_path / "other")
    opened.clear()
    assert install(second, dest, workers=workers) == expected
    assert listed(dest) == lines
    assert opened == [name for name in NAMES if name not in ("large", "nothing")]  # these have nothing to compile
    dest.rename(tmp_path / "compiled")
    opened.clear()
    bare = install(second, dest, workers=workers, compiles=False)
    assert opened == []
    assert not [name for name in bare if name.startswith(f"{SITE}/plain/") and "__pycache__" in name]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("name", "files", "data"),
    [
        ("pure", {"pure.py": ""}, {"purelib/more.py": "M = 1\n"}),
        ("plat", {"plat.py": ""}, {"platlib/plat_more/x.py": "M = 1\n"}),
        ("data", {"data.py": ""}, {"data/share/x/y.txt": "y", "scripts/data-script": "#!python\n"}),
        ("headers", {"headers.py": ""}, {"headers/x.h": "int x;\n"}),
        ("cached", {"cached.py": "", f"__pycache__/old.{TAG}.pyc": "x"}, {}),
        ("deep", {"deep/__init__.py": "", f"deep/a/__pycache__/b.{TAG}.pyc": "x"}, {}),
    ],
)
def test_what_needs_a_closer_look_is_opened_and_the_others_are_not(
    name: str, files: Dict[str, Any], data: Dict[str, Any], workers: int, tmp_path: Path, opened: List[str]
) -> None:
    wheels = [*shapes(tmp_path), make_wheel(tmp_path, name, "1", files, data=data)]
    first = make_artifact(tmp_path / "a.zip", wheels=wheels, indexes=False)
    second = make_artifact(tmp_path / "b.zip", wheels=wheels)
    dest = tmp_path / "dest"
    expected = install(first, dest, workers=workers)
    lines = listed(dest)
    dest.rename(tmp_path / "other")
    opened.clear()
    assert install(second, dest, workers=workers) == expected
    assert listed(dest) == lines
    assert opened == [name]


def test_pip_gets_its_usual_scripts_by_index(tmp_path: Path, opened: List[str]) -> None:
    points = "[console_scripts]\npip = pip:main\npip9.9 = pip:main\n"
    wheels = [make_wheel(tmp_path, "pip", "1", {"pip/__init__.py": "def main(): pass\n"}, entry_points=points)]
    tree = install(make_artifact(tmp_path / "a.zip", wheels=wheels), tmp_path / "dest", workers=1)
    found = {name[len("venv/bin/") :] for name in tree if name.startswith("venv/bin/pip")}
    assert found == {"pip", f"pip{PYTHON.split('.')[0]}", f"pip{PYTHON}"}
    assert opened == []


def names_of(*names: str) -> Callable[[Index], Index]:
    return lambda found: found._replace(names=[*names, *found.names[len(names) :]])


HOSTILE: Dict[str, Callable[[Index], Index]] = {
    "above": names_of("../../../../../out.txt"),
    "absolute": names_of("/tmp/out.txt"),
    "dots inside": names_of("one/../../out.txt"),
    "empty name": names_of(""),
    "loader": names_of("loadenv.py"),
    "loader package": names_of("loadenv/__init__.py"),
    "loader bytecode": names_of(f"__pycache__/loadenv.{TAG}.pyc"),
    "own pth": names_of("loadenv-init.pth"),
    "project pth": names_of("site_one.pth"),
    "own record": names_of("one-1.dist-info/RECORD"),
    "own requested": names_of("one-1.dist-info/REQUESTED"),
    "twice": lambda found: found._replace(names=[found.names[1], *found.names[1:]]),
    "file and folder": names_of("one"),
    "no folder": names_of("nowhere/x.py"),
    "data": names_of("one-1.data/data/bin/python"),
    "script above": names_of("one-1.data/scripts/../../../../out.txt"),
    "script python": names_of("one-1.data/scripts/python3"),
    "script activate": names_of("one-1.data/scripts/activate"),
    "start outside": lambda found: found._replace(starts=[2**32 - 1, *found.starts[1:]]),
    "starts backwards": lambda found: found._replace(starts=found.starts[::-1]),
    "no bytes": lambda found: found._replace(packed=[0] * len(found.names)),
    "huge bytes": lambda found: found._replace(packed=[2**32 - 1] * len(found.names)),
    "no size": lambda found: found._replace(sizes=[0] * len(found.names)),
    "huge size": lambda found: found._replace(sizes=[2**32 - 1] * len(found.names)),
    "digest": lambda found: found._replace(digests=bytes(len(found.digests))),
    "stored": lambda found: found._replace(kinds=bytes(len(found.kinds))),
    "deflated": lambda found: found._replace(kinds=b"\1" * len(found.kinds)),
    "other dist-info": lambda found: found._replace(dist_info="two-1.dist-info"),
    "no dist-info": lambda found: found._replace(dist_info=""),
    "dist-info above": lambda found: found._replace(dist_info="one-1/../../x.dist-info"),
    "script name": lambda found: found._replace(points=[EntryPoint("../../../out", "m", "a", False)]),
    "script of python": lambda found: found._replace(points=[EntryPoint("python", "m", "a", False)]),
    "script code": lambda found: found._replace(points=[EntryPoint("x", "m;print()", "a", False)]),
    "name more": lambda found: found._replace(names=[*found.names[:-1], found.names[-1] + "\none/more.py"]),
    "script more": lambda found: found._replace(
        names=[*found.names[:-1], found.names[-1] + "\none-1.data/scripts/tool"]
    ),
    "NUL": names_of("one/\0.py"),
    "backslash": names_of("one\\b.txt"),
    "long name": names_of("x" * 256),
    "deep": names_of("/".join("d" * 70)),
    "folder at the end": names_of("one/"),
    "one huge": lambda found: found._replace(
        packed=[found.packed[0], 2**32 - 1, *found.packed[2:]], sizes=[found.sizes[0], 2**32 - 1, *found.sizes[2:]]
    ),
    "bytes of one huge": lambda found: found._replace(
        packed=[found.packed[0], 2**32 - 1, *found.packed[2:]], sizes=[found.sizes[0], 1000000, *found.sizes[2:]]
    ),
    "start before": lambda found: found._replace(starts=[found.starts[0], 0, *found.starts[2:]]),
    "size one less": lambda found: found._replace(sizes=[max(size - 1, 0) for size in found.sizes]),
    "size one more": lambda found: found._replace(sizes=[size + 1 for size in found.sizes]),
    "bytes one less": lambda found: found._replace(packed=[max(size - 1, 0) for size in found.packed]),
    "nothing": lambda found: found._replace(names=[], starts=[], packed=[], sizes=[], kinds=b"", digests=b""),
    "dist-info of another version": lambda found: found._replace(dist_info="one-2.dist-info"),
    "dist-info of another case": lambda found: found._replace(dist_info="ONE-1.dist-info"),
    "dist-info of two lines": lambda found: found._replace(dist_info="one-1\n.dist-info"),
    "script of activate": lambda found: found._replace(points=[EntryPoint("activate.fish", "m", "a", False)]),
    "script python3": lambda found: found._replace(points=[EntryPoint("python3", "m", "a", False)]),
    "script too long": lambda found: found._replace(points=[EntryPoint("x" * 300, "m", "a", False)]),
    "script of two lines": lambda found: found._replace(points=[EntryPoint("x\ny", "m", "a", False)]),
    "other archive": lambda found: found._replace(sha256="0" * 64, names=["../x", *found.names[1:]]),
    "other size": lambda found: found._replace(size=1),
}
FILES = {"one/__init__.py": "A = 1\n", "one/b.py": "B = 2\n" * 50, "one/c.txt": "c"}


def hostile(folder: Path, change: Callable[[Index], Index], bytecode: bool) -> Path:
    """Return an artifact with one wheel whose index, or that of its bytecode, is changed; all digests are right."""
    wheels = [make_wheel(folder, "one", "1", FILES)]
    path = make_artifact(folder / "in" / "site.zip", wheels=wheels)
    member = f"{layout.BYTECODE}/{TAG}/one-1-py3-none-any.zip" if bytecode else "wheels/one-1-py3-none-any.whl"
    name = layout.index_of(member)
    with Artifact.open(str(path)) as artifact:
        found = index.read(artifact.read(name))
    assert found is not None
    return make_artifact(path, wheels=wheels, extra={name: change(found.as_tuples()).to_bytes()})


@pytest.mark.parametrize("workers", sampled([1, 2], 1))
@pytest.mark.parametrize("bytecode", [False, True])
@pytest.mark.parametrize("change", HOSTILE)
def test_a_wrong_index_changes_nothing_elsewhere(change: str, bytecode: bool, workers: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    artifact = hostile(tmp_path, HOSTILE[change], bytecode)
    right = make_artifact(tmp_path / "in" / "right.zip", wheels=[tmp_path / "one-1-py3-none-any.whl"], indexes=False)
    place = tmp_path / "place" / "of" / "it"
    place.mkdir(parents=True)
    expected = install(right, place / "dest", workers=workers)
    (place / "dest").rename(tmp_path / "in" / "right")
    before = read_tree(tmp_path)
    found, refused = {}, ""
    try:
        found = install(artifact, place / "dest", workers=workers)
    except DeployableZipfileError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
    else:
        (place / "dest").rename(tmp_path / "in" / "dest")
        assert found == expected
    after = read_tree(tmp_path)
    assert {name: entry for name, entry in after.items() if not name.startswith("in/dest")} == before


@pytest.mark.parametrize("name", ["loadenv/__init__.py", f"__pycache__/loadenv.{TAG}.opt-1.pyc"])
def test_the_loader_is_not_replaced_by_way_of_a_folder(name: str, tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path, "one", "1", {**FILES, "top.py": "T = 1\n"})]
    path = make_artifact(tmp_path / "site.zip", wheels=wheels)
    member = layout.index_of("wheels/one-1-py3-none-any.whl")
    with Artifact.open(str(path)) as artifact:
        files = index.read(artifact.read(member))
    assert files is not None
    changed = files.as_tuples()._replace(names=[name if one == "one/c.txt" else one for one in files.names])
    path = make_artifact(path, wheels=wheels, extra={member: changed.to_bytes()})
    tree = install(path, tmp_path / "dest", workers=1)
    assert f"{SITE}/{name}" not in tree
    assert f"{SITE}/one/c.txt" in tree


def test_a_file_that_changed_after_it_was_verified_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_artifact(tmp_path / "site.zip", wheels=[make_wheel(tmp_path, "one", "1", FILES)])
    verified = installation._verified

    def changing(*arguments: Any, **options: Any) -> Any:
        portions = verified(*arguments, **options)
        data = bytearray(path.read_bytes())
        at = data.index(b"one/c.txt") + len(b"one/c.txt")
        data[at] ^= 1
        path.write_bytes(data)
        return portions

    monkeypatch.setattr(installation, "_verified", changing)
    with pytest.raises(DeployableZipfileError, match=r"one/c.txt.*(changed since it was verified|cannot be inflated)"):
        install(path, tmp_path / "dest", workers=1)
    assert not (tmp_path / "dest").exists()


def test_a_damaged_index_is_told_before_anything_is_written(tmp_path: Path) -> None:
    path = make_artifact(
        tmp_path / "site.zip",
        wheels=[make_wheel(tmp_path, "one", "1", FILES)],
        extra={layout.index_of("wheels/one-1-py3-none-any.whl"): b"index 1 " + b"0" * 64 + b" 1 1 1\nx"},
    )
    with pytest.raises(DeployableZipfileError, match="index/wheels/one-1"):
        install(path, tmp_path / "dest", workers=1)
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize("indexes", [True, False])
def test_a_wrong_index_does_not_change_what_a_store_gives_to_other_artifacts(indexes: bool, tmp_path: Path) -> None:
    """An entry of a store is named by the SHA-256 of the wheel, which is the same in both artifacts."""
    files = {"one/strict.txt": "strict\n", "one/loose.txt": "loose\n"}
    wheels = [make_wheel(tmp_path, "one", "1", files)]
    name = layout.index_of("wheels/one-1-py3-none-any.whl")
    wrong = make_artifact(tmp_path / "wrong.zip", wheels=wheels)
    with Artifact.open(str(wrong)) as artifact:
        found = index.read(artifact.read(name))
    assert found is not None
    swapped = {"one/strict.txt": "one/loose.txt", "one/loose.txt": "one/strict.txt"}
    changed = found.as_tuples()._replace(names=[swapped.get(one, one) for one in found.names])
    make_artifact(wrong, wheels=wheels, extra={name: changed.to_bytes()})
    right = make_artifact(tmp_path / "right.zip", wheels=wheels, indexes=indexes)
    expected = install(right, tmp_path / "dest", workers=1)
    (tmp_path / "dest").rename(tmp_path / "expected")
    store = str(tmp_path / "store")
    with contextlib.suppress(DeployableZipfileError):
        install(wrong, tmp_path / "first", workers=1, store=store)
    assert install(right, tmp_path / "dest", workers=1, store=store) == expected
