"""The same artifact on every bare Python that this machine has: nothing else may be needed.

Bare: no pip, no virtualenv (``-I -S`` hides them), an empty environment, no network, no temporary folder, any umask.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import pytest

from deployable_zipfile.artifact import layout
from tests.support.artifacts import runtime
from tests.support.drafts import PROJECT, draft
from tests.support.helpers import error_line, read_tree, run_cli
from tools import interpreters

SUPPORTED = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
OLD = ("2.7", "3.6", "3.7")

Tree = Dict[str, Tuple[int, bytes]]


def _find(version: str) -> Optional[str]:
    """Return the real path of CPython *version*, None where there is none."""
    if version == "2.7":
        root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
        found = next((str(path) for path in root.glob("versions/2.7.*/bin/python2.7")), shutil.which("python2.7"))
    else:
        found = interpreters.find(version, os.environ)
    return found and os.path.realpath(found)


# Found once, so that each test runs on every Python of this machine, and none waits for one that is not here.
FOUND = {version: Path(path) for version in SUPPORTED for path in [_find(version)] if path}
FOUND_OLD = {version: Path(path) for version in OLD for path in [_find(version)] if path}


@pytest.fixture(scope="module", params=FOUND)
def python(request: pytest.FixtureRequest) -> Path:
    return FOUND[request.param]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one artifact for all supported Pythons."""
    made = draft(runtime=runtime(), pythons=SUPPORTED)
    return made.write(tmp_path_factory.mktemp("artifact") / "artifact.zip")


@pytest.fixture
def umask() -> Iterator[None]:
    """Keep the umask of the test run."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def install(python: Path, artifact: Path, destination: Path, umask: int = 0o022, **options: object) -> Tree:
    """Install with nothing at hand and return the tree without what differs from run to run."""
    nothing = {"TMPDIR": "/proc/nowhere"}
    command = [*without_network(), python, "-I", "-S", artifact, "-d", destination]
    run_cli(command, env=nothing, preexec_fn=lambda: os.umask(umask), **options)  # type: ignore[arg-type]
    return {
        name: entry
        for name, entry in read_tree(destination).items()
        if name not in (".deploy/installed.json", layout.FILES) and not name.endswith(".pyc")
    }


def without_network() -> List[str]:
    """Return what runs a command in a network namespace with no interface; nothing where the kernel refuses it."""
    unshare = shutil.which("unshare")
    if unshare and subprocess.run([unshare, "-rn", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return [unshare, "-rn"]
    return []


def test_a_bare_python_installs_a_working_site(python: Path, artifact: Path, tmp_path: Path) -> None:
    destination = tmp_path / "site"
    install(python, artifact, destination)
    (destination / "environment.json").write_text('{"FROM_FILE": "yes"}')
    program = (
        "import os, sys, demo, settings;"
        "print(os.environ['FROM_FILE'], settings.DEBUG, sys.prefix, '%d.%d' % sys.version_info[:2])"
    )
    done = run_cli([destination / "venv" / "bin" / "python", "-c", program], env={}, cwd=Path("/"))
    assert done.stdout == f"yes False {destination}/venv {python_version(python)}\n"
    assert done.stderr == ""


def test_scripts_and_entry_points_start(python: Path, artifact: Path, tmp_path: Path) -> None:
    install(python, artifact, tmp_path / "site")
    scripts = tmp_path / "site" / "venv" / "bin"
    assert run_cli([scripts / "demo"], env={}).stdout == "demo\n"
    assert run_cli([scripts / "demo-script"], env={}).stdout == "script\n"
    assert run_cli([scripts / "pip"], env={}).stdout == "pip\n"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077], ids=oct)
def test_modes_do_not_depend_on_the_umask(python: Path, artifact: Path, tmp_path: Path, mask: int, umask: None) -> None:
    tree = install(python, artifact, tmp_path / "site", mask)
    modes = {stat.S_IMODE(mode) for name, (mode, content) in tree.items() if not content.startswith(b"-> ")}
    assert modes <= {0o644, 0o755}
    assert tree[f"{PROJECT}/run.sh"][0] == 0o755
    assert tree[f"{PROJECT}/settings.py"][0] == 0o644
    assert {mode for mode, content in tree.values() if content == b"/"} == {0o755}
    assert stat.S_IMODE((tmp_path / "site").stat().st_mode) == 0o755


def test_nothing_is_left_beside_the_destination(python: Path, artifact: Path, tmp_path: Path) -> None:
    install(python, artifact, tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    names = sorted(path.name for path in (tmp_path / "site").iterdir())
    assert names == sorted([".deploy", PROJECT, "static.in", "venv"])


def test_a_second_run_says_that_it_is_there(python: Path, artifact: Path, tmp_path: Path) -> None:
    before = install(python, artifact, tmp_path / "site")
    assert install(python, artifact, tmp_path / "site") == before


def test_verify_finds_the_tree_as_installed_and_then_what_changed(python: Path, artifact: Path, tmp_path: Path) -> None:
    install(python, artifact, tmp_path / "site")
    run_cli([python, "-I", artifact, "verify", tmp_path / "site"])
    (tmp_path / "site" / PROJECT / "settings.py").write_text("DEBUG = True\n")
    done = run_cli([python, "-I", artifact, "verify", tmp_path / "site"], code=5)
    assert f"changed: {PROJECT}/settings.py" in done.stdout


def test_all_pythons_make_the_same_project_tree(artifact: Path, tmp_path: Path) -> None:
    trees = []
    for version, python in FOUND.items():
        tree = install(python, artifact, tmp_path / version)
        trees.append({name: entry for name, entry in tree.items() if not name.startswith("venv")})
    assert len(trees) >= 1
    assert all(tree == trees[0] for tree in trees)


@pytest.mark.parametrize("version", FOUND_OLD)
def test_an_old_python_is_refused_in_one_line(version: str, artifact: Path, tmp_path: Path) -> None:
    python = FOUND_OLD[version]
    done = run_cli([python, artifact, "-d", tmp_path / "site"], code=4)
    assert error_line(done).startswith(f"error: this artifact: needs Python 3.8 or newer, found {version}.")
    assert str(python.parent) in done.stderr
    assert not (tmp_path / "site").exists()


def test_a_python_that_the_artifact_is_not_for_is_refused_in_one_line_that_names_both(
    python: Path, tmp_path: Path
) -> None:
    version = python_version(python)
    others = [other for other in SUPPORTED if other != version][:2]
    artifact = draft(runtime=runtime(), pythons=others).write(tmp_path / "artifact.zip")
    done = run_cli([python, "-I", artifact, "-d", tmp_path / "site", "--quiet"], code=4)
    line = error_line(done)
    assert f"needs CPython {others[0]} or CPython {others[1]}, found CPython {version}." in line
    assert "Run it with python" in line
    assert not (tmp_path / "site").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["artifact.zip"]


def python_version(python: Path) -> str:
    """Return "3.11" for an interpreter."""
    return run_cli([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()


def test_debian_s_python_without_ensurepip_is_enough(artifact: Path, tmp_path: Path) -> None:
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("no /usr/bin/python3 on this machine")
    if python_version(python) not in SUPPORTED:
        pytest.skip(f"/usr/bin/python3 is {python_version(python)}")
    tree = install(python, artifact, tmp_path / "site")
    assert f"{PROJECT}/settings.py" in tree
    assert run_cli([tmp_path / "site" / "venv" / "bin" / "demo"], env={}).stdout == "demo\n"


def test_a_virtualenv_s_python_installs_for_the_python_behind_it(artifact: Path, tmp_path: Path) -> None:
    run_cli([sys.executable, "-m", "venv", "--without-pip", tmp_path / "around"])
    install(tmp_path / "around" / "bin" / "python", artifact, tmp_path / "site")
    shutil.rmtree(str(tmp_path / "around"))
    assert run_cli([tmp_path / "site" / "venv" / "bin" / "demo"], env={}).stdout == "demo\n"
