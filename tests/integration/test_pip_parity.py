"""Popular wheels, installed by the artifact and by the newest pip: the same virtualenv, file for file.

Left out: INSTALLER's text, the order of RECORD, bytecode, and the text of the scripts' wrappers. ``parity.in`` names
the wheels; ``uv pip compile --universal --generate-hashes --python-version 3.10`` made ``parity.txt`` of it.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Set, Tuple

import pytest

from deployable_zipfile.artifact.wheel import Wheel
from tests.support.artifacts import runtime
from tests.support.drafts import PROJECT, WheelFile, draft
from tests.support.helpers import read_tree, run_cli

LOCK = Path(__file__).with_name("parity.txt")
SITE = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
OWN = ("loadenv.py", "loadenv-init.pth", "loadenv-init.start", f"{PROJECT}.pth")

pytestmark = pytest.mark.skipif(sys.version_info < (3, 10), reason="parity.txt is resolved for Python 3.10 and newer")


class Pair(NamedTuple):
    """Two virtualenvs with the same wheels."""

    wheels: List[Path]
    ours: Dict[str, Tuple[int, bytes]]
    pips: Dict[str, Tuple[int, bytes]]
    our_root: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("parity")
    wheelhouse = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run_cli(
        [*pip, "download", "--only-binary=:all:", "--require-hashes", "--no-deps", "-r", LOCK, "-d", wheelhouse],
        timeout=1200,
    )
    wheels = sorted(wheelhouse.glob("*.whl"))
    return Pair(wheels, _installed_by_us(folder, wheels), _installed_by_pip(folder, wheels), folder / "ours")


def _installed_by_us(folder: Path, wheels: List[Path]) -> Dict[str, Tuple[int, bytes]]:
    files = []
    for path in wheels:
        with Wheel.open(str(path)) as wheel:
            files.append(WheelFile(path.name, path.read_bytes(), wheel.name, wheel.version))
    plain = [file for file in files if file.name != "pip"]
    made = draft(runtime=runtime(), wheels=plain, bootstrap=[file for file in files if file.name == "pip"])
    artifact = made.write(folder / "artifact.zip")
    run_cli([sys.executable, "-I", artifact, "-d", folder / "ours"], timeout=600)
    return _virtualenv(folder / "ours" / "venv")


def _installed_by_pip(folder: Path, wheels: List[Path]) -> Dict[str, Tuple[int, bytes]]:
    """Let the newest pip, which is one of the wheels, install all of them, itself included."""
    python = folder / "pips" / "bin" / "python"
    run_cli([sys.executable, "-m", "venv", "--without-pip", folder / "pips"])
    [newest] = [path for path in wheels if path.name.startswith("pip-")]
    options = ["--isolated", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check", "--quiet"]
    run_cli([python, f"{newest}/pip", "install", *options, *_named(wheels, folder)], timeout=600)
    return _virtualenv(folder / "pips")


def _named(wheels: List[Path], folder: Path) -> List[str]:
    """Return arguments that name each wheel by version: by its path pip would add a direct_url.json."""
    names = ["{}=={}".format(*path.name.split("-")[:2]) for path in wheels]
    requirements = folder / "all.txt"
    requirements.write_text("\n".join(names) + "\n")
    return ["--find-links", str(wheels[0].parent), "-r", str(requirements)]


def _virtualenv(root: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return everything in a virtualenv but bytecode and what the virtualenv's maker put there."""
    makers = ("pyvenv.cfg", f"include/python{sys.version_info[0]}.{sys.version_info[1]}")
    return {
        name: entry
        for name, entry in read_tree(root).items()
        if "__pycache__" not in name.split("/") and name not in makers
    }


def test_at_least_sixty_wheels_are_compared(pair: Pair) -> None:
    names = {path.name.split("-")[0].lower() for path in pair.wheels}
    assert len(names) >= 60
    assert {"lxml", "numpy", "cryptography", "pip", "awscli", "widgetsnbextension", "greenlet"} <= names


def test_the_wheels_hold_scripts_data_and_headers_in_data_folders(pair: Pair) -> None:
    kinds: Set[str] = set()
    for path in pair.wheels:
        with Wheel.open(str(path)) as wheel:
            for name in wheel.files:
                top, _, rest = name.partition("/")
                if top.endswith(".data"):
                    kinds.add(rest.split("/")[0])
    assert {"scripts", "data", "headers"} <= kinds


def test_site_packages_hold_the_same_files_with_the_same_modes_and_content(pair: Pair) -> None:
    ours = {name: entry for name, entry in pair.ours.items() if _is_compared(name)}
    pips = {name: entry for name, entry in pair.pips.items() if _is_compared(name)}
    assert sorted(set(ours) - set(pips)) == []
    assert sorted(set(pips) - set(ours)) == []
    assert [name for name in ours if ours[name] != pips[name]] == []


def _is_compared(name: str) -> bool:
    folder, _, base = name.rpartition("/")
    if folder == SITE and base in OWN:
        return False
    if folder.endswith(".dist-info") and base in ("INSTALLER", "RECORD"):
        return False
    return not name.startswith("bin/")


def test_installer_and_record_exist_for_each(pair: Pair) -> None:
    own = [name for name in pair.ours if re.match(SITE + r"/[^/]+\.dist-info/(INSTALLER|RECORD)\Z", name)]
    assert own == [name for name in own if name in pair.pips]
    assert len(own) == 2 * len(pair.wheels)


def test_records_hold_the_same_rows(pair: Pair) -> None:
    for name in pair.ours:
        if name.endswith(".dist-info/RECORD"):
            assert _rows(pair.ours[name][1]) == _rows(pair.pips[name][1]), name


def _rows(record: bytes) -> Set[Tuple[str, str, str]]:
    """Return RECORD's rows without bytecode; of INSTALLER and the scripts' wrappers only the names."""
    rows = set()
    for path, digest, size in csv.reader(record.decode().splitlines()):
        if "__pycache__" in path:
            continue
        if path.endswith("/INSTALLER") or path.startswith("../../../bin/"):
            digest = size = ""
        rows.add((path, digest, size))
    return rows


def test_bin_holds_the_same_names_and_modes(pair: Pair) -> None:
    ours = {name: mode for name, (mode, _) in pair.ours.items() if name.startswith("bin/")}
    pips = {name: mode for name, (mode, _) in pair.pips.items() if name.startswith("bin/")}
    assert ours == pips


def test_scripts_that_are_no_wrappers_have_the_same_text_below_their_first_line(pair: Pair) -> None:
    compared = 0
    for path in pair.wheels:
        with Wheel.open(str(path)) as wheel:
            for name in wheel.files:
                if ".data/scripts/" not in name:
                    continue
                script = "bin/" + name.rpartition("/")[2]
                ours, pips = pair.ours[script][1], pair.pips[script][1]
                if ours.startswith(b"#!"):
                    ours, pips = ours.partition(b"\n")[2], pips.partition(b"\n")[2]
                assert ours == pips, script
                compared += 1
    assert compared >= 10


def test_every_script_starts(pair: Pair) -> None:
    """Wrappers and plain scripts alike find their interpreter and import what they need."""
    venv = pair.our_root / "venv"
    for command, word in {
        "django-admin": ".",
        "pip": "pip",
        "ruff": "ruff",
        "pytest": "pytest",
        "rst2html.py": "rst2html",
        "sphinx-build": "sphinx-build",
        "gunicorn": "gunicorn",
        "aws": "aws-cli",
        "black": "black",
        "mypy": "mypy",
        "celery": "",
    }.items():
        done = run_cli([venv / "bin" / command, "--version"], env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
        assert word in (done.stdout + done.stderr).lower()


def test_pip_agrees_that_everything_is_installed(pair: Pair) -> None:
    python = pair.our_root / "venv" / "bin" / "python"
    listed = run_cli([python, "-m", "pip", "--isolated", "list", "--format=freeze", "--disable-pip-version-check"])
    assert len(listed.stdout.splitlines()) == len(pair.wheels)
    run_cli([python, "-m", "pip", "--isolated", "check", "--disable-pip-version-check"])


def test_pip_can_uninstall_what_we_installed(pair: Pair) -> None:
    python = pair.our_root / "venv" / "bin" / "python"
    run_cli([python, "-m", "pip", "--isolated", "uninstall", "--yes", "bottle", "awscli", "black"])
    left = read_tree(pair.our_root / "venv")
    gone = re.compile(SITE + r"/(bottle|awscli|black)(-[^/]*)?(/|\.py|\Z)")
    assert not [name for name in left if gone.match(name) and "__pycache__" not in name]
    assert "bin/aws" not in left
