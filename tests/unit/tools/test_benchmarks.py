"""What the benchmark makes of its measurements; the measuring itself is a session of its own."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List, Tuple

import pytest

from benchmarks import __main__ as main
from benchmarks import disk, growth, large, material, report
from benchmarks.__main__ import GROUPS, _apart, _is_wanted, _locks, _parser
from benchmarks.flows import DEPLOY, FLOWS
from benchmarks.material import FLOOR
from benchmarks.measure import Run, measured
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.install.installation import install
from tests.support.artifacts import make_artifact, simple_wheel
from tests.support.helpers import write_tree


def run(wall: float, cpu: float = 1.0, peak: float = 30.0) -> Run:
    return Run(wall, cpu, 0.0, peak, 0.0, 1)


def points(power: float, sizes: "tuple[int, ...]" = (10, 100, 1000)) -> List[growth.Point]:
    return [growth.Point(size, run(1, size**power), run(1, 3 * size**power)) for size in sizes]


@pytest.mark.parametrize("power", [0.5, 1.0, 1.3])
def test_the_exponent_is_that_of_the_growth(power: float) -> None:
    assert math.isclose(growth.exponent(points(power), "build"), power)
    assert math.isclose(growth.linear(points(power), "deploy"), power)


def test_a_ratio_is_the_median_of_those_in_one_round() -> None:
    results = {"a": [run(1), run(10), run(3)], "b": [run(2), run(10), run(3)]}

    assert report.ratio(results, "a", "b") == 1.0
    assert report.ratio(results, "a", "missing") is None


@pytest.mark.parametrize(
    ("found", "end"), [(0.5, "0.5 x | met |"), (0.7, "0.7 x | **not met** |"), (None, "not measured | |")]
)
def test_a_goal_says_whether_it_was_met(found: float, end: str) -> None:
    assert report.Goal("row", "≤ 0.65", found, 0.65).row.endswith(f"| {end}")


def test_growth_above_linear_and_memory_above_the_bound_are_not_met() -> None:
    grown = report.Growth(points(1.0), points(1.2))
    rows = [goal.row for goal in report.goals([], grown)]

    assert [row for row in rows if "wheels" in row and "not met" in row] == []
    assert len([row for row in rows if "files" in row and "not met" in row]) == 2
    assert len([row for row in rows if "memory" in row and "| met |" in row]) == 2
    large = report.Growth([growth.Point(1, run(1, peak=65), run(1))])
    assert [goal.row for goal in report.goals([], large)][-1].endswith("| 65 MiB | **not met** |")


def test_the_report_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    for text in ("first", "second"):
        report.write(text, page)

    assert page.read_text(encoding="utf-8") == f"before\n{report.BEGIN}\n\nsecond\n{report.END}\nafter\n"


def test_a_page_without_the_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("text", encoding="utf-8")
    with pytest.raises(ValueError, match="has no lines"):
        report.write("text", tmp_path / "page.md")


def test_the_documentation_has_the_place_for_the_report() -> None:
    text = Path(report.__file__).parent.parent.joinpath("docs", "benchmarks.md").read_text(encoding="utf-8")

    assert text.index(report.BEGIN) < text.index(report.END)


def test_every_row_has_a_name_of_its_own_and_a_known_group() -> None:
    names = [flow.name for flow in FLOWS]

    assert len(set(names)) == len(names)
    assert {flow.group for flow in FLOWS} == {*GROUPS} - {"growth"} == {*report._GROUPS} == {*report._GOALS}
    assert [flow.name for flow in DEPLOY if flow.bytecode]


def wanted(words: List[str], first: bool = True) -> List[str]:
    arguments = _parser().parse_args(words)
    return [flow.name for flow in FLOWS if _is_wanted(flow, arguments, first)]


def test_a_goal_is_of_rows_that_every_round_measures() -> None:
    every = {flow.name for flow in FLOWS if not flow.once}

    assert {"deployable-zipfile", "unzip", "uv with bytecode", "zip -6", "inspect, large", "diff"} <= every
    assert set(wanted(["--quick"])) == every
    assert set(wanted([])) == {flow.name for flow in FLOWS}


def test_the_other_workloads_are_only_deployed() -> None:
    assert set(wanted([], first=False)) == {flow.name for flow in DEPLOY if not flow.once}
    assert wanted(["--only", "look"], first=False) == []
    assert wanted(["--only", "unzip"]) == ["unzip"]


def test_the_workloads_are_pinned_with_hashes() -> None:
    found = _locks(_parser().parse_args([]))

    assert len(found) == 3
    for path in found:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "==" in line and line[0].isalnum()]
        assert len(lines) > 20
        assert all(line.endswith("\\") for line in lines), f"{path}: a package without hashes"
    assert [path.name for path in _locks(_parser().parse_args(["--quick"]))] == ["deployment.txt"]
    assert _locks(_parser().parse_args(["--lock", "x.txt", "--lock", "y.txt"])) == [Path("x.txt"), Path("y.txt")]


def fails(why: str) -> None:
    raise RuntimeError(why)


def test_what_takes_memory_is_made_in_other_processes() -> None:
    found = _apart([(os.getpid,), (pow, 2, 3), (pow, 2, 5)])

    assert found[0] != os.getpid()
    assert found[1:] == [8, 32]
    with pytest.raises(RuntimeError, match="why"):
        _apart([(os.getpid,), (fails, "why")])


def test_everything_is_prepared_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: List[Any] = []

    def answered(given: List[Any]) -> List[Any]:
        calls.extend(given)
        return [material.Material(*[call[1]] * 17) for call in given[:2]] + [(Path("one"), Path("two"))]

    monkeypatch.setattr(main, "_apart", answered)
    wanted = {Path("a.txt"): list(FLOWS), Path("b.txt"): list(DEPLOY)}
    first, second = main._materials(wanted, tmp_path)

    assert [call[0] for call in calls] == [material.prepare, material.prepare, large.releases]
    assert [call[3:] for call in calls[:2]] == [(True, True), (False, False)]  # pex and shiv, and further releases
    assert (first.artifact.name, first.large, second.artifact.name) == ("a.txt", (Path("one"), Path("two")), "b.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_rows_without_a_goal_are_measured_in_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_once", lambda flow, material, volume: run(1))
    flows = [flow for flow in FLOWS if flow.name in ("uv", "floor of a deployment", "unzip")]
    nothing: Any = None
    results = main._rounds(flows, nothing, nothing, 3, [])

    assert {name: len(runs) for name, runs in results.items()} == {"uv": 1, "floor of a deployment": 1, "unzip": 3}


def test_goals_are_of_the_groups_that_were_measured() -> None:
    packed: Any = SimpleNamespace(delta=None)
    results = {"inspect, large": [run(3)], "sha256sum of one, large": [run(2.5)]}
    rows = [goal.row for goal in report.goals([report.Workload("w", packed, results, ("look",))], report.Growth())]

    assert "| w: inspect, large / sha256sum of one | ≤ 1.50 | 1.2 x | met |" in rows
    assert "| w: diff / sha256sum of both | ≤ 1.50 | not measured | |" in rows
    assert [row for row in rows if "unzip" in row] == []


def test_a_command_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with pytest.raises(RuntimeError, match="no such thing"):
        measured("echo no such thing; exit 3", tmp_path / "work")
    assert measured("exit 0", tmp_path / "work").divided(2).wall >= 0


@pytest.mark.parametrize(("payload", "further"), [(False, ()), (True, ()), (False, ("sync",))])
def test_the_floor_writes_the_files_of_an_installation(tmp_path: Path, payload: bool, further: Tuple[str, ...]) -> None:
    artifact = make_artifact(
        tmp_path / "site.zip", {"__init__.py": "x = 1\n"}, [simple_wheel(tmp_path)], payload=payload
    )
    with Artifact.open(str(artifact)) as opened:
        install(opened, str(tmp_path / "installed"))
    run_script(FLOOR, "plan", artifact, tmp_path / "rows")
    run_script(FLOOR, "run", artifact, tmp_path / "rows", tmp_path / "floor", *further)

    written = [path.relative_to(tmp_path / "floor") for path in (tmp_path / "floor").rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"METADATA", "__init__.py"}
    assert len([path for path in written if path.suffix == ".pyc"]) == 2  # the project's and the wheel's
    for path in written:
        assert (tmp_path / "floor" / path).read_bytes() == (tmp_path / "installed" / path).read_bytes()


def test_the_floor_compares_as_an_installation_does(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip", wheels=[simple_wheel(tmp_path)])
    run_script(FLOOR, "plan", artifact, tmp_path / "rows")
    run_script(FLOOR, "run", artifact, tmp_path / "rows")
    damaged = bytearray(artifact.read_bytes())
    with Artifact.open(str(artifact)) as opened:
        [wheel] = [entry for name, entry in opened.members.items() if layout.is_wheel(name)]
        damaged[opened.container.data_start(wheel) + wheel.size // 2] ^= 1
    artifact.write_bytes(damaged)

    with pytest.raises(subprocess.CalledProcessError):
        run_script(FLOOR, "run", artifact, tmp_path / "rows")


def test_the_floor_of_a_build_is_a_copy_and_its_digest(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip", wheels=[simple_wheel(tmp_path)])
    digest = run_script(FLOOR, "copy", artifact, tmp_path / "out.zip").strip()

    assert (tmp_path / "out.zip").read_bytes() == artifact.read_bytes()
    assert digest == hashlib.sha256(artifact.read_bytes()).hexdigest()


def run_script(script: Path, *words: object) -> str:
    words = (sys.executable, script, *words)
    done = subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode()


def test_a_ratio_without_a_goal_is_neither_met_nor_missed() -> None:
    results = {"floor of verify": [run(3)], "sha256sum": [run(1)], "verify": [run(4)]}
    rows = [goal.row for goal in report._prove(report.Workload("w", SimpleNamespace(), results, ("prove",)))]  # type: ignore[arg-type]

    assert rows[:2] == [
        "| w: verify / sha256sum | ≤ 1.50 | 4 x | **not met** |",
        "| w: floor of verify / sha256sum | | 3 x | |",
    ]


SITE = "venv/lib/python3.11/site-packages"
BOTH = {
    "site/same.py": b"x" * 9000,
    f"{SITE}/a/same.py": b"y" * 9000,
    f"{SITE}/a-1.dist-info/RECORD": b"r" * 5000,
    ".deploy/runtime/tool.py": b"t" * 5000,
}


def blocks(*paths: Path) -> int:
    return sum(os.lstat(path).st_blocks * 512 for path in paths)


def test_what_a_second_release_needs_is_what_changed_and_its_metadata(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_tree(first, {**BOTH, "site/changed.py": b"1" * 9000, "site/kind": b"k", "gone/too.py": b"g"})
    write_tree(second, {**BOTH, "site/changed.py": b"2" * 9000, f"{SITE}/new/module.py": b"n" * 9000})
    (second / "site/kind").symlink_to("same.py")
    (first / "site/link").symlink_to("same.py")
    (second / "site/link").symlink_to("same.py")
    changed = ["site/changed.py", f"{SITE}/new/module.py", "site/kind"]
    metadata = [f"{SITE}/a-1.dist-info/RECORD", ".deploy/runtime/tool.py"]
    folders = [path for path in second.rglob("*") if path.is_dir()]
    expected = blocks(second, *folders, *[second / path for path in changed + metadata])

    assert disk.needed(first, second) == expected > 3 * 9000
    # Whether what is the same takes space once or twice is the question, not a part of the answer.
    (second / SITE / "a/same.py").unlink()
    os.link(first / SITE / "a/same.py", second / SITE / "a/same.py")
    assert disk.needed(first, second) == expected


def test_a_link_to_a_folder_is_not_followed_into_it(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_tree(tmp_path / name, {"lib/large.bin": b"l" * 100_000})
        (tmp_path / name / "lib64").symlink_to("lib")

    assert disk.needed(tmp_path / "first", tmp_path / "second") == blocks(tmp_path / "second", tmp_path / "second/lib")


@pytest.mark.parametrize(("added", "end"), [(109, "1.09 x | met |"), (112, "1.12 x | **not met** |")])
def test_the_disk_that_a_second_release_adds_is_compared_with_what_it_needs(added: int, end: str) -> None:
    runs = [run(1)._replace(disk=value, needed=100) for value in (added, 90, 300)]
    load = report.Workload("w", SimpleNamespace(delta=None), {"second release, store": runs}, ("second",))  # type: ignore[arg-type]
    [row] = [goal.row for goal in report._second(load) if "disk added" in goal.what]

    assert row.endswith(end)


def test_releases_that_share_files_are_compared_with_the_one_before() -> None:
    assert [flow.name for flow in FLOWS if flow.first] == ["second release, store"]


def test_growth_that_fails_leaves_the_other_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("create failed")

    monkeypatch.setattr(main, "_growth", fail)
    failed: List[str] = []
    nothing: Any = None

    assert main._grown(_parser().parse_args([]), tmp_path, nothing, nothing, failed) == report.Growth()
    assert failed == ["growth"]
