"""The tool as a package: exactly the files it should have, the dependencies it says, a command that explains itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Dict, List, Set

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deployable_zipfile import __version__
from tests.support.depth import sampled
from tools import interpreters

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(interpreters.__file__).resolve().parent.parent
PACKAGE = "cfgov/deployable_zipfile"
BESIDE = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "pyproject.toml"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def tracked(*folders: str) -> List[str]:
    """Return the names of the files below *folders* that git knows."""
    command = ["git", "ls-files", "-z", "--", *folders]
    done = subprocess.run(command, cwd=str(ROOT), check=True, stdout=subprocess.PIPE)
    found = [name for name in done.stdout.decode("utf-8").split("\0") if name]
    assert found, "a test that looks at nothing proves nothing"
    return [name for name in found if (ROOT / name).is_file()]


@pytest.fixture(name="checkout", scope="module")
def _checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what git knows of the package into a folder of its own, with strays beside it."""
    root = tmp_path_factory.mktemp("checkout")
    for name in [*tracked(PACKAGE), *BESIDE]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(ROOT / name), str(root / name))
    for stray in ("cfgov/cfgov/settings.py", "environment.json", f"{PACKAGE}/__pycache__/create.pyc", "tests/x.py"):
        (root / stray).parent.mkdir(parents=True, exist_ok=True)
        (root / stray).write_bytes(b"")
    shutil.copyfile(str(ROOT / ".gitignore"), str(root / ".gitignore"))
    return root


def build(checkout: Path, kind: str, folder: Path, umask: int = 0o022) -> Path:
    """Build the *kind* of distribution into *folder* and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    before = os.umask(umask)
    try:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(command, cwd=str(checkout), env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        os.umask(before)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(name="built", scope="module")
def _built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """Return both distributions."""
    return {kind: build(checkout, kind, tmp_path_factory.mktemp(kind)) for kind in ("wheel", "sdist")}


def test_the_wheel_holds_the_package_and_nothing_else(built: Dict[str, Path]) -> None:
    with zipfile.ZipFile(str(built["wheel"])) as wheel:
        names = set(wheel.namelist())

    info = f"deployable_zipfile-{__version__}.dist-info"
    described = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    others = ("LICENSE", "LICENSE-d3", "NOTICE")
    described |= {f"{info}/licenses/{PACKAGE}/views/assets/echarts/{name}" for name in others}
    assert names == described | {name.split("/", 1)[1] for name in tracked(PACKAGE)}


def test_the_sdist_holds_the_package_and_what_describes_it(built: Dict[str, Path]) -> None:
    with tarfile.open(str(built["sdist"])) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames()}

    assert names == {*tracked(PACKAGE), *BESIDE, "PKG-INFO", ".gitignore"}


@pytest.mark.parametrize("kind", sampled(["wheel", "sdist"], 1))
def test_the_same_files_give_the_same_distribution(
    kind: str, checkout: Path, built: Dict[str, Path], tmp_path: Path
) -> None:
    two = build(shutil.copytree(str(checkout), str(tmp_path / "copy")), kind, tmp_path / "two", umask=0o077)

    assert built[kind].read_bytes() == two.read_bytes()


def test_what_travels_in_an_artifact_and_is_no_code_is_in_the_wheel() -> None:
    names = {name.rsplit("/", 1)[-1] for name in tracked(PACKAGE)}

    assert {"loadenv-init.pth", "loadenv-init.start", "py.typed", "bootstrap.txt"} <= names


def test_the_dependencies_are_those_that_the_builder_image_installs() -> None:
    wanted = requirements_of(ROOT / "requirements/build.in")
    stated = {canonicalize_name(found.name): found for found in map(Requirement, PROJECT["dependencies"])}

    assert set(stated) == set(wanted)
    assert {name: str(found.marker) for name, found in stated.items()} == {
        name: str(found.marker) for name, found in wanted.items()
    }


def test_the_extra_is_what_the_lock_of_the_report_adds() -> None:
    wanted = set(requirements_of(ROOT / "requirements/report.in"))
    stated = {canonicalize_name(Requirement(one).name) for one in PROJECT["optional-dependencies"]["report"]}

    assert stated == wanted


def test_every_locked_version_is_in_the_stated_range() -> None:
    text = (ROOT / "requirements/build.txt").read_text(encoding="utf-8")
    locked: Dict[str, Set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), set()).add(version)

    for requirement in map(Requirement, PROJECT["dependencies"]):
        versions = locked[canonicalize_name(requirement.name)]
        assert [version for version in versions if version not in requirement.specifier] == [], requirement


def test_every_python_that_is_tested_is_stated() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    tested = re.findall(r'"(3\.\d+)"', next(line for line in noxfile.splitlines() if line.startswith("PYTHONS")))
    stated = [found for line in PROJECT["classifiers"] for found in re.findall(r":: (3\.\d+)$", line)]

    assert stated == tested
    assert PROJECT["requires-python"] == f">={tested[0]}"


def test_the_license_is_the_one_stated() -> None:
    assert PROJECT["license"] == "CC0-1.0 AND Apache-2.0 AND BSD-3-Clause"  # with what the report's page holds
    assert "CC0 1.0 Universal" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "license: CC0-1.0" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_command_explains_itself(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "deployable_zipfile", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "cfgov")}

    assert subprocess.run(command, env=environment, check=False).returncode == 0

    said = capfd.readouterr().out
    assert "create" in said
    assert PROJECT["scripts"] == {"deployable-zipfile": "deployable_zipfile.__main__:main"}


@pytest.mark.parametrize("name", [name for name in tracked("requirements") if name.endswith(".txt")])
def test_a_lock_has_hashes_for_every_file_and_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", text)

    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|file:|/(root|home|work|tmp)/", text)
    pinned = [block for block in blocks if re.match(r"[a-z0-9._-]+(\[[\w,-]+\])?==", block)]
    assert pinned
    assert [block.split("\n")[0] for block in pinned if "--hash=sha256:" not in block] == []


def requirements_of(path: Path) -> Dict[str, Requirement]:
    """Return the requirements in the file *path* by name."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = map(Requirement, (line for line in lines if line and not line.startswith("-r")))
    return {canonicalize_name(one.name): one for one in found}


def test_every_message_of_the_issue_forms_can_be_read() -> None:
    for name in tracked(".github/ISSUE_TEMPLATE"):
        assert yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_every_path_has_an_owner() -> None:
    lines = (ROOT / ".github/CODEOWNERS").read_text(encoding="utf-8").splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]

    assert rules[0][0] == "*"
    assert all(len(rule) > 1 and all(owner.startswith("@") for owner in rule[1:]) for rule in rules)
    for pattern, *_ in rules[1:]:
        assert list(ROOT.glob(pattern.strip("/"))), f"{pattern} names nothing"
