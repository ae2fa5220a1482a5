"""The commands of the documentation, run as written in a new clone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List

import pytest

from tests.support.documentation import ROOT, Block, blocks
from tools import assets

# In the order of reading: later blocks use what earlier ones made.
STORIES = ["docs/release.md"]


def runnable(document: str) -> List[Block]:
    """Return the blocks of commands of *document* that need nothing but a checkout, Python and a package index."""
    return [block for block in blocks(document) if block.language == "console" and not block.needs]


@pytest.fixture(name="clone", scope="module")
def _clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assets.clean_clone(ROOT, tmp_path_factory.mktemp("documentation") / "deployable zipfile")


@pytest.mark.parametrize("document", STORIES)
def test_every_command_that_needs_no_engine_and_no_registry_works_as_written(document: str, clone: Path) -> None:
    found = runnable(document)
    assert found, "a document without commands proves nothing"

    for block in found:
        for command in block.commands:
            print(f"+ {command}  ({block.place})", flush=True)
            done = subprocess.run(["bash", "-ec", command], cwd=str(clone), env=environment(clone), check=False)
            assert done.returncode == 0, f"{block.place}: {command}"


def environment(clone: Path) -> Dict[str, str]:
    """Return the surroundings of a newcomer: a home of their own, but not everything downloaded again."""
    home = clone.with_name("home")
    home.mkdir(exist_ok=True)
    shared = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(shared), "PYENV_ROOT": pyenv_root()}


def pyenv_root() -> str:
    """Return where pyenv is: its shims do not start without knowing."""
    return os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv")


def test_the_release_folder_of_another_clone_in_another_place_has_the_same_bytes(clone: Path, tmp_path: Path) -> None:
    first = clone / "release"
    assert first.is_dir(), "made by the commands of docs/release.md"
    other = assets.clean_clone(clone, tmp_path / "somewhere" / "else" / "entirely")
    shutil.copytree(str(clone / ".venv"), str(other / ".venv"), symlinks=True)

    before = os.umask(0o077)
    try:
        surroundings = {**environment(clone), "TZ": "Pacific/Chatham", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
        command = ["tools/nox", "-s", "release", "--", "--dry-run", "--native", "--output", "release"]
        subprocess.run(command, cwd=str(other), env=surroundings, check=True)
    finally:
        os.umask(before)

    assert {path.name: path.read_bytes() for path in (other / "release").iterdir()} == {
        path.name: path.read_bytes() for path in first.iterdir()
    }
