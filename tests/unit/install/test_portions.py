"""Wheels in portions: the same tree and the same refusals as with all of them at once, in less memory."""

from __future__ import annotations

import contextlib
import sys
import tracemalloc
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from deployable_zipfile.artifact import layout, manifests
from deployable_zipfile.artifact.wheel import Wheel
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import ArtifactError, DeployableZipfileError
from deployable_zipfile.install import host, installation, portions
from deployable_zipfile.install.plan import OpenedWheel, Place
from deployable_zipfile.install.portions import Portions
from deployable_zipfile.install.store import Store
from deployable_zipfile.install_wheels import open_wheel
from tests.support.artifacts import PYTHON, make_artifact
from tests.support.helpers import make_wheel, read_tree

TAG = sys.implementation.cache_tag


def in_portions(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(portions, "ALL", most)
    monkeypatch.setattr(portions, "BY_INDEX", most)
    monkeypatch.setattr(portions, "_PORTION", most)


def opened(artifact: Artifact, tree: Path) -> Portions:
    target = artifact.manifest.targets[0]
    wheels = target.wheels + target.bootstrap
    place = Place(str(tree), "/srv/dest", PYTHON, "site_one")
    fits = host.bytecode_fits(target)
    return Portions(lambda number: open_wheel(artifact, wheels[number], fits), len(wheels), place)


def names(plans: Portions) -> List[List[str]]:
    return [[source.plan.name for source in plan.sources] for plan in plans]


def install(path: Path, destination: Path, **options: Any) -> Dict[str, Any]:
    with Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(destination), sync=False, **options)
    return {name: entry for name, entry in read_tree(destination).items() if name != layout.INSTALLED}


def various(folder: Path, bytecode: bool) -> List[Path]:
    """Return wheels with files in common and with their own, in every place that a wheel can write to.

    Parameters:
        bytecode: for an artifact with bytecode, whose modules can all be compiled.
    """
    points = "[console_scripts]\ntool = {0}:main\n{0}-tool = {0}:main\n"
    return [
        make_wheel(folder, "one", "1", {"space/__init__.py": "of = 'one'\n", "space/one.py": ""}),
        make_wheel(folder, "two", "1", {"two.py": "def main(): pass\n"}, entry_points=points.format("two")),
        make_wheel(folder, "three", "1", {"space/__init__.py": "of = 'three'\n", "space/three/x.py": ""}),
        make_wheel(folder, "four", "1", {"four.py": ""}, data={"scripts/tool": "#!python\n", "scripts/four": "#!/x\n"}),
        make_wheel(
            folder, "five", "1", {"bare/five.py": ""}, data={"data/share/x/five.txt": "5", "headers/five.h": "5"}
        ),
        make_wheel(folder, "six", "1", {"bare/six.py": ""}, data={"data/share/x/six.txt": "6", "headers/six.h": "6"}),
        make_wheel(folder, "seven", "1", {"seven/broken.py": "" if bytecode else "def (:\n", "seven/data.bin": "\0"}),
        make_wheel(folder, "eight", "1", {f"__pycache__/two.{TAG}.pyc": "of eight", "__pycache__/x.txt": ""}),
    ]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("most", [0, 9, 18])
@pytest.mark.parametrize("bytecode", [True, False])
@pytest.mark.parametrize("store", [True, False])
def test_portions_make_the_same_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: bool, bytecode: bool, most: int, workers: int
) -> None:
    artifact = make_artifact(tmp_path / "site.zip", wheels=various(tmp_path, bytecode), bytecode=bytecode)
    destination = tmp_path / "dest"
    whole = install(artifact, destination)
    destination.rename(tmp_path / "before")
    in_portions(monkeypatch, most)
    with Artifact.open(str(artifact)) as found:
        assert len(names(opened(found, tmp_path))) > 1
    shelf = Store(str(tmp_path / "store"))
    assert install(artifact, destination, workers=workers, store=shelf.path if store else "") == whole
    if store:
        assert shelf.names()
        assert shelf._wanted(tidy=False) == set(shelf.names())


def test_wheels_are_planned_together_only_where_they_write_to_one_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make_artifact(tmp_path / "site.zip", wheels=various(tmp_path, False), bytecode=False)
    in_portions(monkeypatch, 0)
    with Artifact.open(str(artifact)) as found:
        apart = names(opened(found, tmp_path))
    assert apart == [["one", "three"], ["two", "four", "eight"], ["five"], ["six"], ["seven"]]


def test_small_wheels_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{letter}.py": "" for letter in "xyz"}  # and METADATA, WHEEL, RECORD
    wheels = [make_wheel(tmp_path, f"w{n}", "1", {f"w{n}/{name}": "" for name in files}) for n in range(5)]
    artifact = make_artifact(tmp_path / "site.zip", wheels=wheels, bytecode=False)
    in_portions(monkeypatch, 12)
    with Artifact.open(str(artifact)) as found:
        plans = opened(found, tmp_path)
        assert (plans.files, len(plans)) == (30, 3)
        assert names(plans) == [["w0", "w1"], ["w2", "w3"], ["w4"]]


def two(first: Dict[str, str], second: Dict[str, str], **options: Any) -> Callable[[Path], List[Path]]:
    return lambda folder: [
        make_wheel(folder, "one", "1", first),
        make_wheel(folder, "between", "1", {"between.py": ""}),
        make_wheel(folder, "two", "1", second, **options),
    ]


@pytest.mark.parametrize(
    "wheels",
    [
        two({"shared": "a file"}, {"shared/x.py": ""}),
        two({"shared/deep/x.py": ""}, {"shared": "a file"}),
        two({"shared/x.py": ""}, {}, data={"purelib/shared": "a file"}),
        two({}, {}, data={"purelib/one-1.dist-info/INSTALLER": "pip\n"}),
        two({}, {}, data={"purelib/one-1.dist-info/RECORD/x": ""}),
        two({}, {}, data={"scripts/python3": ""}),
        two({"x.py": ""}, {"loadenv.py": ""}),
        two({"x.py": ""}, {}, entry_points="[console_scripts]\nactivate = x:main\n"),
    ],
)
def test_what_is_refused_of_all_at_once_is_refused_in_portions_before_anything_is_written(
    wheels: Callable[[Path], List[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make_artifact(tmp_path / "site.zip", wheels=wheels(tmp_path), bytecode=False)
    lines = []
    for most in (portions.ALL, 0):
        in_portions(monkeypatch, most)
        with Artifact.open(str(artifact)) as found, pytest.raises(DeployableZipfileError) as caught:
            opened(found, tmp_path)
        lines.append(str(caught.value))
    assert lines[0] == lines[1]


@pytest.mark.parametrize("text", ["x = 2\n", "x = 11\n"])
def test_a_wheel_that_is_another_one_when_it_is_opened_again_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make_wheel(tmp_path, name, "1", {f"{name}.py": "x = 1\n"}) for name in ("one", "two")]
    in_portions(monkeypatch, 0)
    with contextlib.ExitStack() as stack:

        def opened(number: int) -> OpenedWheel:
            wheel = stack.enter_context(Wheel.open(str(paths[number])))
            return OpenedWheel(manifests.PlannedWheel(wheel.filename, wheel.name, "1", False, None), wheel, None)

        plans = Portions(opened, 2, Place(str(tmp_path), "/srv/dest", PYTHON, "site_one"))
        assert len(names(plans)) == 2
        make_wheel(tmp_path, "two", "1", {"two.py": text})
        with pytest.raises(ArtifactError) as caught:
            names(plans)
    assert str(caught.value).startswith("two-1-py3-none-any.whl: changed since it was verified")


def test_a_wheel_is_gone_when_the_next_portion_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: List[int] = []
    wheels: "List[weakref.ref[Wheel]]" = []

    def counted(*arguments: Any) -> OpenedWheel:
        alive.append(sum(wheel() is not None for wheel in wheels))
        found = open_wheel(*arguments)
        wheels.append(weakref.ref(found.wheel))
        return found

    files = [make_wheel(tmp_path, f"w{n}", "1", {f"w{n}.py": ""}) for n in range(4)]
    artifact = make_artifact(tmp_path / "site.zip", wheels=files)
    monkeypatch.setattr(installation, "open_wheel", counted)
    in_portions(monkeypatch, 0)
    install(artifact, tmp_path / "dest", workers=1)
    assert alive == [0] * 8


def test_memory_grows_with_the_files_of_a_portion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = [
        make_wheel(tmp_path, f"w{n}", "1", {f"w{n}/module_{number}.txt": "" for number in range(300)})
        for n in range(20)
    ]
    artifact = make_artifact(tmp_path / "site.zip", wheels=wheels, bytecode=False)
    peaks = []
    for most in (portions.ALL, 600):
        in_portions(monkeypatch, most)
        with Artifact.open(str(artifact)) as found:
            tracemalloc.start()
            try:
                for plan in opened(found, tmp_path):
                    assert plan.jobs
                    del plan
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert peaks[1] < peaks[0] / 3
