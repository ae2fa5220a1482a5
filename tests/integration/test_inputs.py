"""Builds from every form of requirement with the real pip and git: from folders and from 127.0.0.1.

The build backend is a wheel of the tests' own, so that nothing but the pinned pip comes from the package index.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from deployable_zipfile import create
from tests.support.depth import sampled
from tests.support.helpers import SECRET, make_wheel, run_cli, write_tree
from tests.support.terminal import run_in_terminal

# Makes a wheel of the folder that it is in: the module NAME.py, and what the backend was told.
BACKEND = """
import base64, hashlib, json, os, zipfile
MARK = "one"
def build_wheel(target, config_settings=None, metadata_directory=None):
    name = json.load(open("project.json"))["name"]
    info = name + "-1.dist-info/"
    told = "settings = %r; mark = %r; flags = %r" % (config_settings, MARK, os.environ.get("CFLAGS"))
    files = {
        name + ".py": open("module.txt").read() + "\\n" + told + "\\n",
        info + "METADATA": "Metadata-Version: 2.1\\nName: %s\\nVersion: 1\\n" % name,
        info + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    digest = lambda text: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().strip("=")
    rows = ["%s,sha256=%s,%d\\n" % (path, digest(text), len(text.encode())) for path, text in files.items()]
    files[info + "RECORD"] = "".join(rows) + info + "RECORD,,\\n"
    wheel = name + "-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(target, wheel), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    open("left-behind", "w").close()
    return wheel
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that has the pinned pip already."""
    folder = tmp_path_factory.mktemp("cache")
    write_tree(folder, {"site_one/manage.py": "", "r.txt": ""})
    run([folder / "site_one", folder / "r.txt", folder / "out"], folder / "cache")
    return folder / "cache"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory: a project, and a folder with the backend."""
    write_tree(tmp_path, {"site_one/manage.py": "", "w/.keep": ""})
    make_wheel(tmp_path / "w", "backend", "1", {"backend.py": BACKEND})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(arguments: List[Any], cache: Path, code: int = 0, **environment: str) -> Any:
    command = [sys.executable, create.__file__, *arguments, "--cache-dir", cache, "--json"]
    return run_cli(command, code=code, extra_env=environment, timeout=600)


def built(lock: str, cache: Path, *options: str, **environment: Any) -> Dict[str, Any]:
    """Build from *lock* and return the result."""
    Path("r.txt").write_text(f"--no-index\n--find-links ./w\n{lock}\n")
    found: Dict[str, Any] = json.loads(run(["site_one", "r.txt", "out", *options], cache, **environment).stdout)
    return found


def module(name: str) -> str:
    """Return the module *name* in the artifact."""
    with zipfile.ZipFile("out.zip") as artifact, artifact.open(f"wheels/{name}-1-py3-none-any.whl") as file:
        return zipfile.ZipFile(file).read(f"{name}.py").decode()


def origins() -> List[str]:
    with zipfile.ZipFile("out.zip") as artifact:
        bill = json.loads(artifact.read(".deploy/sbom.cdx.json"))
    properties = [one for part in bill["components"] for one in part["properties"]]
    return [one["value"] for one in properties if one["name"] == "deployable-zipfile:built-from"]


def project(folder: Path, name: str, text: str = "value = 1") -> Path:
    """Write a Python project that the backend builds."""
    table = '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend"\n'
    files = {"pyproject.toml": table, "project.json": json.dumps({"name": name}), "module.txt": text}
    return write_tree(folder, {**files})


def sdist(folder: Path, name: str) -> str:
    """Write an sdist and return the line that locks it."""
    tree = project(folder / f"{name}-1", name)
    (tree / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    path = Path("w") / f"{name}-1.tar.gz"
    with tarfile.open(str(path), "w:gz") as archive:
        archive.add(str(tree), f"{name}-1")
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def wheel(name: str) -> str:
    path = make_wheel(Path("w"), name, "1", {f"{name}.py": "value = 1\n"})
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def commit(folder: Path) -> str:
    """Commit everything in *folder* and return the commit."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=x"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return (
        subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, stdout=subprocess.PIPE)
        .stdout.decode()
        .strip()
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve a folder ``served`` on 127.0.0.1 and return its URL."""
    (tmp_path / "served").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    made = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path / "served"))
    )
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


def test_git_at_a_full_commit_beside_hashed_lines_is_fixed_and_reproducible(here: Path, cache: Path) -> None:
    project(here / "repo" / "sub", "gitted")
    pin = commit(here / "repo")
    lock = f"gitted @ git+file://{here}/repo@{pin}#subdirectory=sub ; python_version > '3'\n{wheel('other')}"
    first = built(lock, cache, "--require-hashes")
    again = built(lock, cache, "--require-hashes")
    assert again["from_cache"]
    fresh = built(lock, here / "another")
    assert first["sha256"] == again["sha256"] == fresh["sha256"]
    assert "value = 1" in module("gitted")
    assert origins() == [f"git+file:repo@{pin}#subdirectory=sub"]


def test_a_user_without_a_name_can_build_from_git(here: Path, cache: Path) -> None:
    project(here / "repo", "gitted")
    pin = commit(here / "repo")
    environment = {"HOME": "", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "USER": ""}
    built(f"gitted @ git+file://{here}/repo@{pin}", cache, **environment)
    assert "value = 1" in module("gitted")


def test_archives_of_one_file_name_are_two_projects_whose_names_are_found(here: Path, cache: Path, server: str) -> None:
    def serve(name: str, text: str) -> None:
        project(here / "trees" / name / f"{name}-main", name, text)
        shutil.make_archive(str(here / "served" / name / "main"), "zip", here / "trees" / name, f"{name}-main")

    serve("one", "value = 1")
    serve("two", "value = 2")
    lock = f"{server}/one/main.zip?token={SECRET}\ntwo @ {server.replace('//', f'//u:{SECRET}@')}/two/main.zip"
    built(lock, cache)
    assert ("value = 1" in module("one"), "value = 2" in module("two")) == (True, True)
    assert origins() == [f"{server}/one/main.zip", f"{server}/two/main.zip"]
    assert SECRET.encode() not in Path("out.zip").read_bytes()
    serve("one", "value = 3")
    built(lock, cache)
    assert "value = 3" in module("one")
    digest = hashlib.sha256((here / "served" / "two" / "main.zip").read_bytes()).hexdigest()
    lock = f"two @ {server}/two/main.zip#sha256={digest}\n{wheel('other')}"
    assert not built(lock, cache)["from_cache"]
    shutil.rmtree(here / "served" / "two")
    assert built(lock, cache)["from_cache"]


def test_local_projects_are_built_from_a_copy_at_every_build(here: Path, cache: Path) -> None:
    project(here / "libs" / "x", "localx")
    project(here, "itself")
    lock = f"-e ./libs/x\n.\n{wheel('other')}"
    first = built(lock, cache)
    assert sorted(first["from_sdists"]) == ["itself-1-py3-none-any.whl", "localx-1-py3-none-any.whl"]
    assert not (here / "libs" / "x" / "left-behind").exists()
    (here / "libs" / "x" / "module.txt").write_text("value = 2")
    built(lock, cache)
    assert "value = 2" in module("localx")
    assert origins() == ["folder itself", "folder localx"]


def test_settings_reach_the_backend_and_are_part_of_what_is_kept(here: Path, cache: Path) -> None:
    line = sdist(here, "told")
    built(f'{line} --config-settings="ssl=on"', cache)
    assert "settings = {'ssl': 'on'}" in module("told")
    built(f'{line} --config-settings="ssl=off" --config-settings="x=--a --b"', cache)
    assert "settings = {'ssl': 'off', 'x': '--a --b'}" in module("told")
    built(f"{wheel('plain')} --config-settings=a=b", cache)


def test_another_backend_or_compiler_setting_builds_a_locked_sdist_again(here: Path, cache: Path) -> None:
    line = sdist(here, "told")
    built(line, cache)
    assert built(line, cache)["from_cache"]
    assert not built(line, cache, CFLAGS="-O1")["from_cache"]
    assert "-O1" in module("told")
    make_wheel(here / "w", "backend", "1", {"backend.py": BACKEND.replace('"one"', '"two"')})
    assert not built(line, cache)["from_cache"]
    assert "mark = 'two'" in module("told")


def test_an_unhashed_wheel_that_was_rebuilt_under_one_version_is_packed(here: Path, cache: Path, server: str) -> None:
    for number in (1, 2):
        make_wheel(here / "w", "found", "1", {"found.py": f"value = {number}\n"})
        make_wheel(here / "served", "linked", "1", {"linked.py": f"value = {number}\n"})
        built(f"found==1\nlinked @ {server}/linked-1-py3-none-any.whl", cache)
        assert (module("found"), module("linked")) == (f"value = {number}\n", f"value = {number}\n")


def test_links_in_a_requirements_file_elsewhere_hold_for_targets_and_backends(here: Path, cache: Path) -> None:
    line = sdist(here, "told")
    write_tree(here, {"req/p.txt": f"--no-index\n--find-links ./w\n{line}\n", "req/q.txt": ""})
    shutil.move(str(here / "w"), str(here / "req" / "w"))
    run(["site_one", "req/p.txt", "out"], cache)
    assert "value = 1" in module("told")
    make_wheel(here / "req" / "w", "plain", "1", {"plain.py": "value = 1\n"})
    (here / "req" / "q.txt").write_text("--no-index\n-f w\nplain==1\n")
    run(["site_one", "req/q.txt", "out", "--target", "cp38-manylinux_2_17_x86_64"], cache)
    assert "value = 1" in module("plain")


def test_constraints_from_a_url_hold(here: Path, cache: Path, server: str) -> None:
    make_wheel(here / "w", "found", "1", {"found.py": ""})
    make_wheel(here / "w", "found", "2", {"found.py": ""})
    (here / "served" / "c.txt").write_text("found<2\n")
    (here / "served" / "r.txt").write_text("found\n")
    built(f"-c {server}/c.txt\n-r {server}/r.txt", cache)
    assert module("found") == ""


def test_a_wheelhouse_needs_no_index_and_brings_pip_or_takes_pythons_own(here: Path, tmp_path: Path) -> None:
    lock = f"{sdist(here, 'told')}\n{wheel('other')}"
    Path("r.txt").write_text(f"--index-url http://127.0.0.1:9/simple\n{lock}\n")
    unreachable: Dict[str, Any] = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    run(["site_one", "r.txt", "out", "--wheelhouse", "w"], tmp_path / "empty", **unreachable)
    assert "value = 1" in module("told")
    with zipfile.ZipFile("out.zip") as artifact:
        assert [name for name in artifact.namelist() if name.startswith("bootstrap_wheels/pip-")]


def test_a_pylock_is_fetched_from_its_urls_or_else_from_the_index_by_its_hashes(
    here: Path, cache: Path, server: str
) -> None:
    path = make_wheel(here / "served", "named", "1", {"named.py": "value = 1\n"})
    shutil.move(str(path), str(here / "served" / "download"))
    gone = make_wheel(here / "w", "gone", "1", {"gone.py": "value = 2\n"})
    project(here / "libs" / "x", "localx")

    def digest(one: Path) -> str:
        return hashlib.sha256(one.read_bytes()).hexdigest()

    (here / "pylock.toml").write_text(f"""lock-version = "1.0"
created-by = "test"
requires-python = ">=3.8"
dependency-groups = ["deploy"]
[[packages]]
name = "named"
version = "1"
[[packages.wheels]]
name = "{path.name}"
url = "{server}/download"
hashes = {{ sha256 = "{digest(here / "served" / "download")}", md5 = "0" }}
[[packages]]
name = "localx"
directory = {{ path = "libs/x", editable = true }}
[[packages]]
name = "gone"
version = "1"
marker = "'deploy' in dependency_groups"
[[packages.wheels]]
url = "{server}/elsewhere/{gone.name}"
hashes = {{ sha256 = "{digest(gone)}" }}
""")
    environment: Dict[str, Any] = {"PIP_FIND_LINKS": str(here / "w"), "PIP_NO_INDEX": "1"}
    run(["site_one", "pylock.toml", "out"], cache, **environment)
    assert (module("named"), "value = 1" in module("localx")) == ("value = 1\n", True)
    run(["site_one", "pylock.toml", "out", "--group", "deploy"], cache, **environment)
    assert module("gone") == "value = 2\n"


@pytest.mark.parametrize(
    "lock",
    [
        f"x @ http://127.0.0.1:9/x-1-py3-none-any.whl?sig={SECRET}",
        f"--index-url http://127.0.0.1:9/simple?token={SECRET}\nx==1",
        f"--extra-index-url http://u:{SECRET}@127.0.0.1:9/simple\nx==1",
        f"x @ git+http://u:{SECRET}@127.0.0.1:9/x.git@{'a' * 40}",
        f"http://127.0.0.1:9/{'a' * 5}/main.zip?x=1&sig={SECRET}",
        f"-r http://u:{SECRET}@127.0.0.1:9/r.txt",
    ],
)
def test_a_failed_build_shows_no_token(here: Path, cache: Path, tmp_path: Path, lock: str) -> None:
    Path("r.txt").write_text(lock + "\n")
    done = run(["site_one", "r.txt", "out"], cache, code=7, PIP_RETRIES="0", PIP_TIMEOUT="3")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert SECRET not in done.stdout + done.stderr
    for path in cache.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("columns", sampled([40, 100], 1))
def test_a_terminal_shows_what_is_fetched_built_and_compiled(here: Path, cache: Path, columns: int) -> None:
    slow = BACKEND.replace("MARK = ", "import time; time.sleep(1.2)\nMARK = ")
    make_wheel(here / "w", "backend", "1", {"backend.py": slow})
    one, two, three = (f"{name}{columns}" for name in ("one", "two", "three"))  # so that nothing is in the cache yet
    lines = [sdist(here, one), wheel(two), sdist(here, three)]
    (here / "r.txt").write_text("--no-index\n--find-links ./w\n" + "\n".join(lines) + "\n")
    command = [sys.executable, create.__file__, "site_one", "r.txt", "out", "--cache-dir", cache]
    found = run_in_terminal(command, columns, {"NO_COLOR": "1"})
    assert found.code == 0, found.text
    assert max(map(len, found.drawn)) < columns
    assert {line.split()[-2] for line in found.drawn if line.startswith("Fetching")} >= {"0/3"}
    built_ = [line for line in found.drawn if line.startswith("Checking 3")]
    assert any("1/3" in line or "2/3" in line for line in built_)
    assert any(line.startswith("Compiling") and "%" in line for line in found.drawn)
    assert "\x1b[3" not in found.text
    assert [line for line in found.lines if line.startswith("  building ")] == [
        f"  building {one}-1.tar.gz",
        f"  building {three}-1.tar.gz",
    ]
