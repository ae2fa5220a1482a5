"""The activation scripts are those of ``venv``, which is imported only where a path may need quotes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import venv
from pathlib import Path
from typing import Dict, Tuple

import pytest

from deployable_zipfile.errors import TargetError
from deployable_zipfile.install import virtualenv
from deployable_zipfile.install.plan import Place
from tests.support.artifacts import PYTHON

SOURCE = os.path.join(os.path.dirname(venv.__file__), "scripts")


def values_of(destination: str) -> Dict[str, str]:
    return {
        "env_dir": f"{destination}/venv",
        "env_name": "venv",
        "prompt": os.path.basename(destination),
        "bin_name": "bin",
        "env_exe": f"{destination}/venv/bin/python",
    }


def read(folder: Path) -> Dict[str, Tuple[int, bytes]]:
    return {
        path.name: (path.stat().st_mode & 0o7777, path.read_bytes())
        for path in folder.iterdir()
        if not path.is_symlink()
    }


@pytest.mark.parametrize("destination", ["/srv/site", "/a.b/c+d/e_f-1@2", "/x"])
def test_scripts_for_a_plain_path_are_those_of_venv(destination: str, tmp_path: Path) -> None:
    virtualenv.scripts_by_venv(str(tmp_path), SOURCE, values_of(destination))
    assert virtualenv.plain_scripts(SOURCE, values_of(destination)) == read(tmp_path)
    assert {"activate", "activate.csh", "activate.fish", "Activate.ps1"} <= set(read(tmp_path))


@pytest.mark.parametrize("name", ["a b", "a'b", "a$b", 'a"b', "a`b", "a;b", "\u00e4", "a\\b", "a(b)", "~a"])
def test_a_path_that_may_need_quotes_is_left_to_venv(name: str, tmp_path: Path) -> None:
    assert virtualenv.plain_scripts(SOURCE, values_of(f"/srv/{name}")) is None
    folder, expected = tmp_path / name / "venv" / "bin", tmp_path / "expected"
    folder.mkdir(parents=True)
    expected.mkdir()
    place = Place(str(tmp_path / name), str(tmp_path / name), PYTHON, "site")
    virtualenv.make_virtualenv(place)
    virtualenv.scripts_by_venv(str(expected), SOURCE, values_of(str(tmp_path / name)))
    assert read(folder) == read(expected)


@pytest.mark.parametrize(
    ("path", "text"), [("common/Activate.ps1", b"__VENV_DIR__"), ("posix/activate", b"x"), ("posix/x", b"\xff")]
)
def test_templates_of_another_kind_are_left_to_venv(path: str, text: bytes, tmp_path: Path) -> None:
    for name, content in {"common/activate": b"__VENV_DIR__", "posix/activate.csh": b"", path: text}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert virtualenv.plain_scripts(str(tmp_path), values_of("/srv/site")) is None


def test_the_virtualenv_is_activated_by_its_script(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    virtualenv.make_virtualenv(Place(str(tmp_path), str(tmp_path), PYTHON, "site"))
    command = '. "$0"/venv/bin/activate && command -v python'
    done = subprocess.run(["sh", "-c", command, str(tmp_path)], stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode().strip() == f"{tmp_path}/venv/bin/python"


def test_a_python_without_venv_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TargetError, match="venv module"):
        virtualenv.make_virtualenv(Place(str(tmp_path), str(tmp_path), PYTHON, "site"))
