"""Projects as they are, packed by the real builder and extracted: odd names and modes, very many files, two Pythons."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from tests.integration.test_target_pythons import FOUND
from tests.support.artifacts import PACKAGE
from tests.support.helpers import error_line, peak_memory, read_tree, run_cli, write_tree

pytestmark = pytest.mark.core

FILES = 70_000

Tree = Dict[str, Tuple[int, bytes]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that the builds of this module share: pip is downloaded once."""
    return tmp_path_factory.mktemp("cache")


def pack(project: Path, requirements: str, cache: Path, *options: str) -> Path:
    """Build an artifact beside *project* and return its path."""
    lock = project.parent / "requirements.txt"
    lock.write_text(requirements)
    artifact = project.parent / "artifact"
    command = [sys.executable, PACKAGE / "create.py", project, lock, artifact, "--cache-dir", cache, "--all-files"]
    run_cli([*command, *options, "--quiet"], timeout=900)
    return artifact.with_name("artifact.zip")


def without_bytecode(root: Path) -> Tree:
    """Return the tree without the bytecode that an installation adds."""
    return {name: entry for name, entry in read_tree(root).items() if "__pycache__" not in name.split("/")}


ODD: Dict[str, Tuple[str, int]] = {
    "__init__.py": ("", 0o644),
    "json/__init__.py": ("WHOSE = 'the project'\n", 0o644),
    "email/__init__.py": ("WHOSE = 'the project'\n", 0o644),
    "email/mime/text.py": ("WHOSE = 'the project'\n", 0o644),
    "platform/__init__.py": ("WHOSE = 'the project'\n", 0o644),
    "struct.py": ("WHOSE = 'the project'\n", 0o644),
    "zlib.py": ("WHOSE = 'the project'\n", 0o644),
    "argparse.py": ("WHOSE = 'the project'\n", 0o644),
    "venv/__init__.py": ("WHOSE = 'the project'\n", 0o644),
    "with blank/a b.txt": ("blank", 0o644),
    "a=b/c=d.txt": ("equals", 0o644),
    "größe/日本語 😀.txt": ("not ASCII", 0o644),
    'it\'s "quoted" $HOME `x`;&|.txt': ("shell", 0o644),
    "-rf": ("option", 0o644),
    ".hidden/.file": ("hidden", 0o644),
    "empty.txt": ("", 0o644),
    "no-newline.txt": ("text without its newline", 0o644),
    "run.sh": ("#!/bin/sh\necho it runs\n", 0o755),
    "data/blob.bin": ("\x00\x01\x02" * 1000, 0o644),
    "deep/" + "/".join("abcdefghijklmnopqrstuvwxyz") + "/end.txt": ("deep", 0o644),
    "long/" + "x" * 200: ("long", 0o644),
    "broken_syntax.py": ("def (:\n", 0o644),
    "latin1.py": ("# -*- coding: latin-1 -*-\n", 0o644),
}


def test_an_odd_project_comes_out_as_it_went_in(cache: Path, tmp_path: Path) -> None:
    project = write_tree(tmp_path / "oddities", ODD)
    artifact = pack(project, "", cache)
    run_cli([sys.executable, artifact, "-d", tmp_path / "site"], env={})
    assert without_bytecode(tmp_path / "site" / "oddities") == without_bytecode(project)
    assert run_cli([tmp_path / "site" / "oddities" / "run.sh"]).stdout == "it runs\n"


def test_a_project_s_packages_do_not_replace_the_standard_library_s(cache: Path, tmp_path: Path) -> None:
    project = write_tree(tmp_path / "oddities", ODD)
    run_cli([sys.executable, pack(project, "", cache), "-d", tmp_path / "site"], env={})
    show = "import json, email, platform, sys; print(json.__file__, email.__file__, platform.__file__)"
    done = run_cli([tmp_path / "site" / "venv" / "bin" / "python", "-c", show])
    assert "oddities" not in done.stdout


def test_very_many_files_are_packed_and_extracted_identically_in_little_memory(cache: Path, tmp_path: Path) -> None:
    project = write_tree(tmp_path / "many", {"manage.py": ""})
    for number in range(FILES):
        folder = project / f"{number // 500:03}"
        if number % 500 == 0:
            folder.mkdir()
        (folder / f"{number}.txt").write_bytes(b"%d\n" % number)
    artifact = pack(project, "", cache)
    assert peak_memory([sys.executable, "-I", artifact, "-d", tmp_path / "site", "--quiet"]) <= 128 * 1024
    assert _digest(tmp_path / "site" / "many") == _digest(project)
    run_cli([sys.executable, artifact, "verify", tmp_path / "site", "--quiet"], timeout=300)


def _digest(root: Path) -> Tuple[int, str]:
    """Return number and digest of all names, modes and contents, so that a difference does not print 70 000 lines."""
    tree = without_bytecode(root)
    digest = hashlib.sha256()
    for name in sorted(tree):
        digest.update(repr((name, tree[name])).encode())
    return len(tree), digest.hexdigest()


# Two Pythons that resolve two versions

SIX = """\
six==1.15.0 ; python_version == "{old}" \\
    --hash=sha256:8b74bedcbbbaca38ff6d7491d76f2b06b3592611af620f8426e82dddb04a5ced
six==1.16.0 ; python_version != "{old}" \\
    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
"""


@pytest.fixture(scope="module")
def pythons() -> List[Tuple[str, str]]:
    """Return version and path of three Pythons, the running one first."""
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    others = [(version, str(path)) for version, path in FOUND.items() if version != running]
    found = [(running, sys.executable), *others][:3]
    if len(found) < 3:
        pytest.skip(f"needs three Pythons, found {', '.join(version for version, _ in found)}")
    return found


@pytest.fixture(scope="module")
def for_two(pythons: List[Tuple[str, str]], cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    project = write_tree(folder / "shop", {"__init__.py": "", "settings.py": "import six\n"})
    (_, __), (old, other), ___ = pythons
    return pack(project, SIX.format(old=old), cache, "--extra-python", other)


@pytest.mark.parametrize("which", [0, 1])
def test_each_python_gets_the_version_that_it_resolved(
    which: int, pythons: List[Tuple[str, str]], for_two: Path, tmp_path: Path
) -> None:
    run_cli([pythons[which][1], "-I", for_two, "-d", tmp_path / "site"], env={})
    show = "import six, sys; print(six.__version__, '%d.%d' % sys.version_info[:2])"
    done = run_cli([tmp_path / "site" / "venv" / "bin" / "python", "-c", show], env={})
    assert done.stdout == f"{['1.16.0', '1.15.0'][which]} {pythons[which][0]}\n"
    packages = (tmp_path / "site" / "venv" / "lib" / f"python{pythons[which][0]}" / "site-packages").iterdir()
    assert [path.name for path in packages if path.name.startswith("six-")] == [
        f"six-{['1.16.0', '1.15.0'][which]}.dist-info"
    ]


def test_a_third_python_is_refused_in_one_line_that_names_both(
    pythons: List[Tuple[str, str]], for_two: Path, tmp_path: Path
) -> None:
    (first, _), (second, __), (third, path) = pythons
    done = run_cli([path, "-I", for_two, "-d", tmp_path / "site", "--quiet"], env={}, code=4)
    line = error_line(done)
    assert f"CPython {first}" in line
    assert f"CPython {second}" in line
    assert f"found CPython {third}." in line
    assert list(tmp_path.iterdir()) == []
