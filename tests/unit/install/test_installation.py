"""A destination is absent (or empty, as it was) or complete, whatever happens, and complete means complete."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from deployable_zipfile import durable, install_wheels
from deployable_zipfile.artifact import layout, manifest_reader, manifests
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.console import Console
from deployable_zipfile.errors import DeployableZipfileError, Interrupted
from deployable_zipfile.install import drift, installation, installed, inventory, staging, tree, virtualenv, writer
from tests.support import faults
from tests.support.artifacts import PYTHON, make_artifact, make_target, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import make_wheel, read_tree, run_cli, write_tree

SITE = f"venv/lib/python{PYTHON}/site-packages"
FILES = {"__init__.py": "", "settings.py": "NAME = 'é'\n", "a b=ü.txt": "x", "bin/run.sh": "#!/bin/sh\n"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path)


def make_site(folder: Path, **options: Any) -> Path:
    """Return an artifact in a folder of its own, which leaves *folder* to the destination."""
    made = folder / "made"
    made.mkdir(exist_ok=True)
    options.setdefault("static", {"css/site.css": "a{}"})
    options.setdefault("modes", {"site_one/bin/run.sh": 0o755})
    return make_artifact(made / "site.zip", dict(FILES), [simple_wheel(made)], **options)


def install(path: Path, destination: Any, **options: Any) -> installation.Installed:
    options.setdefault("workers", 1)
    options.setdefault("sync", False)
    with Artifact.open(str(path)) as artifact:
        return installation.install(artifact, str(destination), **options)


def refusal(path: Path, destination: Any, **options: Any) -> DeployableZipfileError:
    with pytest.raises(DeployableZipfileError) as caught:
        install(path, destination, **options)
    return caught.value


def content(destination: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return a tree without what differs between two installations: the time, and who wrote it."""
    return {name: entry for name, entry in read_tree(destination).items() if name != layout.INSTALLED}


def test_a_site_comes_out_as_it_went_in(site: Path, tmp_path: Path) -> None:
    done = install(site, tmp_path / "dest")
    written = read_tree(tmp_path / "dest")
    assert (done.already, done.destination, done.python) == (False, str(tmp_path / "dest"), PYTHON)
    assert {name.split("/")[0] for name in written} == {"site_one", "static.in", "venv", ".deploy"}
    for name, text in FILES.items():
        assert written[f"site_one/{name}"] == (0o755 if name.endswith(".sh") else 0o644, text.encode())
    assert written["static.in/0/css/site.css"] == (0o644, b"a{}")
    assert written[f"{SITE}/site_one.pth"] == (0o644, b"../../../../site_one\n")
    assert {f"{SITE}/{name}" for name in ("loadenv.py", "loadenv-init.pth", "loadenv-init.start")} < set(written)
    for name, (mode, data) in written.items():
        if not data.startswith(b"-> "):
            assert mode in ((0o755,) if data == b"/" else (0o644, 0o755)), name
    assert not [name for name in os.listdir(str(tmp_path)) if name.startswith(".")]


def test_what_is_recorded_is_what_was_installed(site: Path, tmp_path: Path) -> None:
    done = install(site, tmp_path / "dest")
    record = json.loads((tmp_path / "dest" / layout.INSTALLED).read_text())
    assert record["build_id"] == done.build_id
    assert record["destination"] == str(tmp_path / "dest")
    assert record["python"] == PYTHON
    manifest = manifest_reader.read((tmp_path / "dest" / layout.MANIFEST).read_bytes())
    assert manifest.build_id == done.build_id


@pytest.mark.parametrize("mode", sampled([0o755, 0o2755], 1), ids=oct)
@pytest.mark.parametrize("bytecode", [True, False])
@pytest.mark.parametrize("payload", [True, False])
def test_the_list_of_what_was_installed_is_that_of_the_tree_itself(
    tmp_path: Path, payload: bool, bytecode: bool, mode: int
) -> None:
    def add(manifest: manifests.Manifest) -> manifests.Manifest:
        return manifest._replace(directories=("site_one/bin/empty", "site_one/media/cache", "static.in/1"))

    data = "alpha-1.0.data"
    wheel = make_wheel(
        tmp_path,
        "alpha",
        "1.0",
        {
            "alpha/__init__.py": b"",
            "alpha/deep/er/tool.py": b"",
            "alpha/__pycache__/other.cpython-38.pyc": b"",
            "top.py": b"",
            f"{data}/data/lib/python{PYTHON}/beside.txt": b"",
            f"{data}/data/top.txt": b"",
            f"{data}/data/bin/program": b"",
            f"{data}/scripts/tool": b"#!python\n",
            f"{data}/headers/one.h": b"",
        },
    )
    options: Dict[str, Any] = {"manifest": add, "modes": {"site_one/bin/run.sh": 0o755}}
    made = make_artifact(tmp_path / "site.zip", dict(FILES), [wheel], payload=payload, bytecode=bytecode, **options)
    tmp_path.chmod(mode)  # new folders inherit the bit
    install(made, tmp_path / "dest")
    listed = (tmp_path / "dest" / layout.FILES).read_bytes().splitlines()
    read = b"".join(inventory.lines(str(tmp_path / "dest"))).splitlines()  # with no digest known before
    assert listed == [line for line in read if not line.startswith(f"./{layout.INSTALLED} ".encode())]
    assert len(set(listed)) == len(listed) > 50


@pytest.mark.parametrize("workers", sampled([1, 3], 1))
@pytest.mark.parametrize("sync", [True, False])
def test_every_way_to_install_gives_the_same_tree(
    workers: int, sync: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path)
    install(site, tmp_path / "dest")
    expected = content(tmp_path / "dest")
    for module in (install_wheels, tree, writer):
        monkeypatch.setattr(module, "_FEW", 0)
    shutil.rmtree(str(tmp_path / "dest"))
    install(site, tmp_path / "dest", workers=workers, sync=sync)
    assert content(tmp_path / "dest") == expected


def test_the_path_of_the_staging_folder_is_in_no_file(tmp_path: Path) -> None:
    install(make_site(tmp_path, bytecode=False), tmp_path / "dest")
    for name, (_, data) in read_tree(tmp_path / "dest").items():
        assert b".partial" not in data or name.startswith(".deploy/runtime/"), name


@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("payload", [False, True])
def test_nothing_is_compiled_on_request(tmp_path: Path, payload: bool, store: bool) -> None:
    artifact, dest = make_site(tmp_path, bytecode=False, payload=payload), tmp_path / "dest"
    install(artifact, dest)
    compiled = content(dest)
    shutil.rmtree(str(dest))
    install(artifact, dest, compiles=False, store=str(tmp_path / "store") if store else "")
    found = content(dest)
    loader = f"{SITE}/__pycache__"  # every start imports it, maybe as a user who cannot write there
    caches = {name for name in compiled if "__pycache__" in name and not name.startswith(loader)}
    assert caches & {f"site_one/__pycache__/settings.{sys.implementation.cache_tag}.pyc"}
    assert found.keys() == compiled.keys() - caches
    assert not [name for name, (_, data) in found.items() if name.endswith("/RECORD") and b".pyc" in data]
    assert drift.compare(str(dest)).clean


def test_bytecode_that_was_shipped_is_installed_when_nothing_is_compiled(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "dest")
    expected = content(tmp_path / "dest")
    shutil.rmtree(str(tmp_path / "dest"))
    install(site, tmp_path / "dest", compiles=False)
    assert content(tmp_path / "dest") == expected
    assert any("site_one/__pycache__/" in name for name in expected)


def test_files_have_the_time_of_the_installation(site: Path, tmp_path: Path) -> None:
    before = time.time() - 2
    install(site, tmp_path / "dest")
    for folder, _, names in os.walk(str(tmp_path / "dest")):
        assert all(os.lstat(os.path.join(folder, name)).st_mtime >= before for name in names)


def test_a_payload_and_empty_folders_are_installed(tmp_path: Path) -> None:
    def add(manifest: manifests.Manifest) -> manifests.Manifest:
        return manifest._replace(directories=("site_one/media/cache", "static.in/1"))

    for number, payload in enumerate((True, False)):
        folder = tmp_path / str(number)
        folder.mkdir()
        install(make_site(folder, payload=payload, manifest=add), folder / "dest")
        written = read_tree(folder / "dest")
        assert written["site_one/media/cache"] == written["static.in/1"] == (0o755, b"/")
        assert written["site_one/bin/run.sh"] == (0o755, b"#!/bin/sh\n")
        assert (".deploy/payload/000.json" in written) is payload


def test_the_virtualenv_works(tmp_path: Path) -> None:
    made = tmp_path / "made"
    pip = make_wheel(
        made,
        "pip",
        "1",
        {
            "pip/__init__.py": "def main():\n    print('pip of', __file__)\n",
            "pip/__main__.py": "import pip; pip.main()",
        },
        entry_points="[console_scripts]\npip = pip:main\n",
    )

    def boot(manifest: manifests.Manifest) -> manifests.Manifest:
        target = manifest.targets[0]
        return manifest._replace(targets=(target._replace(wheels=target.wheels[:1], bootstrap=target.wheels[1:]),))

    site = make_artifact(made / "site.zip", {"settings.py": "NAME = 'one'\n"}, [simple_wheel(made), pip], manifest=boot)
    destination = tmp_path / "dest"
    install(site, destination)
    (destination / "environment.json").write_text('{"GREETING": "hello"}')
    python = destination / "venv/bin/python"
    program = (
        "import alpha, json, os, settings, site, sys;"
        "print(json.dumps([settings.NAME, os.environ['GREETING'], sys.prefix, alpha.VERSION]))"
    )
    for arguments in ([], ["-I"], ["-B", "-E"]):
        found = json.loads(run_cli([python, *arguments, "-c", program], env={}).stdout)
        assert found == ["one", "hello", str(destination / "venv"), "1.0"]
    assert run_cli([destination / "venv/bin/alpha-tool"], env={"PATH": "/usr/bin:/bin"}).stdout == "alpha 1.0\n"
    assert f"pip of {destination}/" in run_cli([python, "-m", "pip"], env={}).stdout
    assert f"pip of {destination}/" in run_cli([destination / "venv/bin/pip"], env={}).stdout
    activated = run_cli(["sh", "-c", f". {destination}/venv/bin/activate && command -v python"], env={"PATH": "/bin"})
    assert activated.stdout == f"{python}\n"


def test_nothing_has_to_be_compiled_at_the_first_start(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "dest")
    before = read_tree(tmp_path / "dest")
    run_cli([tmp_path / "dest/venv/bin/python", "-c", "import alpha, loadenv, settings"], env={})
    assert read_tree(tmp_path / "dest") == before


@pytest.mark.parametrize("name", sampled(["PYTHONPYCACHEPREFIX", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE"], 1))
def test_variables_of_the_caller_change_nothing(name: str, site: Path, tmp_path: Path) -> None:
    value = str(tmp_path / "cache") if name == "PYTHONPYCACHEPREFIX" else "1"
    install(site, tmp_path / "one")
    run_cli([sys.executable, site, "-q", "-d", tmp_path / "two"], extra_env={name: value})
    assert list(content(tmp_path / "one"))
    assert set(content(tmp_path / "one")) == set(content(tmp_path / "two"))
    cache = read_tree(tmp_path / "cache") if (tmp_path / "cache").exists() else {}
    assert not [path for path in cache if ".partial" in path]


def test_a_second_run_says_so_and_writes_nothing(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "dest")
    before = {name: os.lstat(str(tmp_path / "dest" / name)) for name in read_tree(tmp_path / "dest")}
    done = install(site, tmp_path / "dest")
    assert (done.already, done.files) == (True, 0)
    assert {name: os.lstat(str(tmp_path / "dest" / name)) for name in read_tree(tmp_path / "dest")} == before
    assert faults.leftovers(str(tmp_path), "made", "dest") == []


def test_a_complete_destination_of_another_build_is_refused(site: Path, tmp_path: Path) -> None:
    done = install(site, tmp_path / "dest")
    before = read_tree(tmp_path / "dest")
    (tmp_path / "made" / "other").mkdir()
    other = make_artifact(tmp_path / "made" / "other.zip", {"x.py": ""})
    line = str(refusal(other, tmp_path / "dest"))
    assert f"already holds build {done.build_id} for Python {PYTHON}. Install into a new folder." in line
    assert read_tree(tmp_path / "dest") == before


def test_a_tree_that_was_copied_is_not_taken_for_complete(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "dest")
    os.rename(str(tmp_path / "dest"), str(tmp_path / "moved"))
    assert f"installed as {tmp_path}/dest" in str(refusal(site, tmp_path / "moved"))


def test_the_same_build_for_another_python_is_refused(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "dest")
    record = tmp_path / "dest" / layout.INSTALLED
    record.write_text(record.read_text().replace(f'"python": "{PYTHON}"', '"python": "3.7"'))
    assert "for Python 3.7" in str(refusal(site, tmp_path / "dest"))


@pytest.mark.parametrize("held", [{"mine": "x"}, {".hidden": "x"}, {"folder/": None}, {".deploy/installed.json": "{}"}])
def test_a_filled_destination_is_refused_untouched(held: Dict[str, Any], site: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "dest", {name.rstrip("/"): text for name, text in held.items()})
    before = read_tree(tmp_path)
    error = refusal(site, tmp_path / "dest")
    assert error.exit_code == 5
    assert f"is not empty (it holds {next(iter(held)).split('/')[0]})" in str(error)
    assert read_tree(tmp_path) == before


@pytest.mark.parametrize(
    "form",
    sampled(
        [
            "dest",
            "./dest",
            "dest/",
            "dest//",
            "sub/../dest",
            "{tmp}/dest",
            "/{tmp}/dest",
            "with blank",
            "-dash",
            "ünï",
            "per%cent",
            "quote'd",
        ],
        5,
    ),
)
def test_a_destination_may_be_written_in_many_ways(
    form: str, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    done = install(site, form.format(tmp=tmp_path))
    name = form if form[0] in "w-üpq" else "dest"
    assert done.destination == str(tmp_path / name)
    assert run_cli([tmp_path / name / "venv/bin/alpha-tool"], env={"PATH": "/bin"}).stdout == "alpha 1.0\n"


def test_an_empty_destination_is_filled_and_keeps_its_mode(site: Path, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir(mode=0o700)
    install(site, tmp_path / "dest")
    assert stat.S_IMODE(os.stat(str(tmp_path / "dest")).st_mode) == 0o700


def test_a_link_to_a_folder_is_followed_once(site: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "dest").symlink_to("real")
    assert install(site, tmp_path / "dest").destination == str(tmp_path / "real")
    assert (tmp_path / "dest").is_symlink()
    assert install(site, tmp_path / "dest").already


def test_a_link_above_the_destination_is_no_problem(site: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert install(site, tmp_path / "link" / "dest").destination == str(tmp_path / "link" / "dest")
    assert install(site, tmp_path / "link" / "dest").already
    assert install(site, tmp_path / "real" / "dest").already


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("", "the destination: is empty"),
        ("/", "is the root of the file system"),
        ("//", "is the root of the file system"),
        ("a\nb", "characters that cannot be printed"),
        ("a\x1bb", "characters that cannot be printed"),
        ("a\0b", "characters that cannot be printed"),
        ("a\u202eb", "characters that cannot be printed"),
        ("a\\b", "contains a backslash"),
        ("a\udcffb", "is not UTF-8"),
        ("x" * 300, "is too long for a path"),
        ("x" * 241, "is too long for a path"),
        ("/".join(["x" * 100] * 40), "is too long for a path"),
        ("file", "is not a folder"),
        ("dangling", "is a link that leads to no folder"),
        ("loop", "is a link that leads to no folder"),
        ("to-file", "is a link that leads to no folder"),
        ("file/dest", "is not a folder"),
        ("y" * 300 + "/dest", "is too long for a path"),
    ],
)
def test_a_destination_that_cannot_be_is_refused_at_once(
    form: str, why: str, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "to-file").symlink_to("file")
    monkeypatch.chdir(tmp_path)
    before = read_tree(tmp_path)
    error = refusal(site, form)
    assert (error.exit_code, why in str(error)) == (5, True), str(error)
    assert len(str(error).splitlines()) == 1
    assert read_tree(tmp_path) == before


@pytest.mark.parametrize("place", sampled(["/proc/dest", "/proc/self/fd/dest", "/proc/a/b"], 1))
def test_where_no_folder_can_be_made_is_refused_and_not_waited_for(
    place: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_MOST_LOST", 5)
    error = refusal(site, place)
    assert (error.exit_code, len(str(error).splitlines())) == (5, 1)
    assert str(error).startswith(f"{place}: ")


def test_missing_folders_above_are_made(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "a" / "b" / "dest")
    assert stat.S_IMODE(os.stat(str(tmp_path / "a" / "b")).st_mode) == 0o755
    assert faults.leftovers(str(tmp_path / "a" / "b")) == ["dest"]


def test_missing_folders_above_go_away_after_a_failure(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tree, "make_virtualenv", fail)
    error = refusal(site, tmp_path / "a" / "b" / "c" / "dest")
    assert str(error) == (
        f"{tmp_path}/a/b/c/dest: cannot be written (No space left on device). Free space or inodes on that file system."
    )
    assert faults.leftovers(str(tmp_path), "made") == ["a"]
    assert os.listdir(str(tmp_path / "a")) == []


def test_what_a_killed_run_left_is_removed_by_the_next(site: Path, tmp_path: Path) -> None:
    write_tree(
        tmp_path / ".dest.partial", {"lock": "process 1 on elsewhere\n", "tree/venv/bin/old": "x", "tree/link": "x"}
    )
    (tmp_path / ".dest.partial/tree/out").symlink_to(tmp_path / "made")
    before = read_tree(tmp_path / "made")
    install(site, tmp_path / "dest")
    assert faults.leftovers(str(tmp_path)) == ["dest", "made"]
    assert not (tmp_path / "dest/venv/bin/old").exists()
    assert read_tree(tmp_path / "made") == before


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_staging_folder_that_is_none_is_refused(kind: str, site: Path, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / ".dest.partial").touch()
    else:
        (tmp_path / ".dest.partial").symlink_to("made")
    before = read_tree(tmp_path)
    assert "/.dest.partial: is not a folder of this user. Remove it" in str(refusal(site, tmp_path / "dest"))
    assert read_tree(tmp_path) == before


def test_a_lock_that_is_a_link_is_not_followed(site: Path, tmp_path: Path) -> None:
    (tmp_path / ".dest.partial").mkdir()
    (tmp_path / ".dest.partial" / "lock").symlink_to(tmp_path / "made" / "site.zip")
    size = site.stat().st_size
    assert refusal(site, tmp_path / "dest").exit_code == 5
    assert site.stat().st_size == size


class Holder:
    """Holds the lock of a destination as another process would: flock knows descriptors, not processes."""

    def __init__(self, destination: Path, text: str) -> None:
        self.folder = destination.parent / f".{destination.name}.partial"
        self.folder.mkdir()
        self.descriptor = os.open(str(self.folder / "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        os.write(self.descriptor, text.encode())

    def release(self) -> None:
        os.unlink(str(self.folder / "lock"))
        os.rmdir(str(self.folder))
        os.close(self.descriptor)


def test_an_installation_under_way_is_named(site: Path, tmp_path: Path) -> None:
    holder = Holder(tmp_path / "dest", f"process {os.getpid()} on {socket.gethostname()}\n")
    before = read_tree(tmp_path)
    error = refusal(site, tmp_path / "dest")
    assert error.exit_code == 5
    assert str(error) == (
        f"{tmp_path}/dest: is being installed by process {os.getpid()} on {socket.gethostname()}. "
        "Wait for it, or use --wait SECONDS."
    )
    assert read_tree(tmp_path) == before
    holder.release()
    assert not install(site, tmp_path / "dest").already


def test_who_waits_goes_on_when_the_lock_is_free(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_NAMING", 0.0)
    holder = Holder(tmp_path / "dest", "")
    naps: List[float] = []

    said = io.StringIO()
    real = time.sleep

    def nap(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            real(seconds)  # of the test runner, or left by another test
            return
        naps.append(seconds)
        if len(naps) == 3:
            holder.release()

    monkeypatch.setattr(time, "sleep", nap)
    console = Console(out=io.StringIO(), err=said)
    assert not install(site, tmp_path / "dest", wait=60.0, console=console).already
    assert len(naps) >= 3
    told = f"Waiting up to 60 s: {tmp_path}/dest is being installed by another process"
    assert said.getvalue().splitlines().count(told) == 1


def test_workers_of_a_dead_installation_are_waited_for(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    holder = Holder(tmp_path / "dest", f"process {dead.pid} on {socket.gethostname()}\n")
    monkeypatch.setattr(time, "sleep", lambda _: holder.release() if holder.folder.exists() else None)
    assert not install(site, tmp_path / "dest").already


def test_the_name_of_a_dead_installation_is_not_given_to_another_one(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file still names it when the lock has another holder, or its workers."""
    monkeypatch.setattr(durable, "_NAMING", 0.1)
    monkeypatch.setattr(staging, "_DYING", 0.1)
    dead = subprocess.Popen(["true"])
    dead.wait()
    holder = Holder(tmp_path / "dest", f"process {dead.pid} on {socket.gethostname()}\n")
    assert f"{tmp_path}/dest: is being installed by another process. " in str(refusal(site, tmp_path / "dest"))
    holder.release()


def test_an_installation_that_writes_its_name_late_is_named(site: Path, tmp_path: Path) -> None:
    name = f"process {os.getpid()} on {socket.gethostname()}"
    holder = Holder(tmp_path / "dest", name[:9])  # half of the number
    writing = threading.Timer(0.2, durable.write_holder, (holder.descriptor, f"{name}\n"))
    writing.start()
    assert f"{tmp_path}/dest: is being installed by {name}. " in str(refusal(site, tmp_path / "dest"))
    writing.join()
    holder.release()


def test_a_file_system_without_locks_is_named(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    assert "is on a file system that cannot lock files (No locks available)" in str(refusal(site, tmp_path / "dest"))
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize("rounds", sampled([1, 3], 1))
def test_of_eight_at_once_one_installs_and_none_harms_it(site: Path, tmp_path: Path, rounds: int) -> None:
    destination = tmp_path / "new" / "dest"
    for _ in range(rounds):
        racers = [faults_start(lambda: str(install(site, destination, wait=30.0).already)) for _ in range(8)]
        assert sorted(faults_end(racer) for racer in racers) == ["False", *["True"] * 7]
        assert faults.leftovers(str(destination.parent)) == ["dest"]
        expected = content(destination)
        assert f"{SITE}/alpha/__init__.py" in expected
        shutil.rmtree(str(destination.parent))


def test_of_two_builds_at_once_one_wins_and_the_other_is_told(site: Path, tmp_path: Path) -> None:
    other = make_artifact(tmp_path / "made" / "other.zip", {"x.py": ""})
    racers = [
        faults_start(lambda path=path: install(path, tmp_path / "dest", wait=30.0).build_id) for path in (site, other)
    ]
    answers = sorted(faults_end(racer) for racer in racers)
    assert [answer.startswith("DestinationError|") for answer in answers].count(True) == 1
    assert installed.read(str(tmp_path / "dest"))["build_id"] in answers


def faults_start(action: Any) -> Tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                answer = action()
            except Exception as error:
                answer = f"{type(error).__name__}|{error}"
            os.write(writing, answer.encode())
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


def faults_end(racer: Tuple[int, int]) -> str:
    with open(racer[1], "rb") as file:
        text = file.read().decode()
    os.waitpid(racer[0], 0)
    return text


def test_a_destination_filled_meanwhile_is_not_mixed(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = virtualenv.make_virtualenv

    def fill(place: Any) -> None:
        make(place)
        write_tree(tmp_path / "dest", {"mine": "x"})

    monkeypatch.setattr(tree, "make_virtualenv", fill)
    assert "was filled in the meantime" in str(refusal(site, tmp_path / "dest"))
    assert read_tree(tmp_path / "dest") == {"mine": (0o644, b"x")}
    assert faults.leftovers(str(tmp_path)) == ["dest", "made"]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV])
def test_a_mount_point_is_refused(number: int, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, "busy")

    monkeypatch.setattr(os, "rename", fail)
    assert "is a mount point and cannot be replaced. Install into a folder inside it." in str(
        refusal(site, tmp_path / "dest")
    )
    assert faults.leftovers(str(tmp_path)) == ["made"]


def attempt(site: Path, destination: Path) -> str:
    import io

    err = io.StringIO()
    install(site, destination, console=Console(quiet=True, err=err, out=io.StringIO()))
    return err.getvalue()


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (errno.ENOSPC, 53),
        pytest.param(errno.ENOSPC, 5, marks=pytest.mark.deep),
        pytest.param(errno.EIO, 17, marks=pytest.mark.deep),
        pytest.param(errno.EACCES, 31, marks=pytest.mark.deep),
        pytest.param(errno.EROFS, 31, marks=pytest.mark.deep),
        pytest.param(errno.EDQUOT, 31, marks=pytest.mark.deep),
        pytest.param(errno.EMFILE, 31, marks=pytest.mark.deep),
    ],
)
def test_whichever_call_fails_the_destination_is_absent_and_one_line_says_why(
    number: int, step: int, site: Path, tmp_path: Path
) -> None:
    (tmp_path / "parent").mkdir()
    destination = tmp_path / "parent" / "new" / "dest"
    install(site, destination)
    complete = content(destination)
    for at, ended in faults.sweep(lambda: attempt(site, destination), destination, faults.fails(number), step):
        if ended.code == 0:
            # The installation was complete by then: only its own remains could not be removed.
            assert content(destination) == complete, at
            assert "warning: " in ended.answer, at
        else:
            assert ended.code == 5, (at, ended)
            assert ended.answer.startswith("DestinationError|"), (at, ended)
            assert os.strerror(number) in ended.answer, (at, ended)
            assert not destination.exists(), at
        if faults.leftovers(str(tmp_path / "parent")) not in ([], ["new"]):
            raise AssertionError(at)
        if destination.parent.exists():
            assert faults.leftovers(str(destination.parent), "dest") in ([], [".dest.partial"]), at
    # Whatever the last fault left does not hinder the next run.
    install(site, destination)
    assert content(destination) == complete
    assert os.listdir(str(destination.parent)) == ["dest"]


@pytest.mark.parametrize("step", sampled([7, 61], [61]))
def test_killed_before_any_call_the_destination_is_absent_or_complete_and_a_rerun_succeeds(
    step: int, site: Path, tmp_path: Path
) -> None:
    (tmp_path / "parent").mkdir()
    destination = tmp_path / "parent" / "dest"
    install(site, destination)
    complete = content(destination)
    finished = 0
    for at, ended in faults.sweep(lambda: attempt(site, destination), destination, faults.dies, step):
        assert ended.code == -signal.SIGKILL, at
        if destination.exists():
            assert content(destination) == complete, at
            finished += 1
        assert faults.leftovers(str(destination.parent), "dest") in ([], [".dest.partial"]), at
        install(site, destination)
        assert content(destination) == complete, at
        assert os.listdir(str(destination.parent)) == ["dest"], at
    assert finished == 2  # before the lock and its folder are removed


def test_what_was_left_by_a_kill_after_the_commit_is_removed_by_the_next_run(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "_NAMING", 0.1)
    install(site, tmp_path / "dest")
    write_tree(tmp_path / ".dest.partial", {"lock": "process 1 on elsewhere\n"})
    assert install(site, tmp_path / "dest").already
    assert faults.leftovers(str(tmp_path)) == ["dest", "made"]
    holder = Holder(tmp_path / "dest", "")
    assert install(site, tmp_path / "dest").already
    holder.release()


def test_an_interruption_leaves_nothing(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted("this run", "was stopped by SIGTERM", "Run it again")

    for module, name in ((tree, "make_virtualenv"), (tree, "_compile_loadenv"), (installation, "open_wheel")):
        monkeypatch.setattr(module, name, interrupt)
        assert refusal(site, tmp_path / "new" / "dest").exit_code == 130
        assert faults.leftovers(str(tmp_path)) == ["made"], name


def test_a_signal_during_the_cleaning_up_is_held_back(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Interrupted("this run", "was stopped by SIGTERM", "Run it again")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def hit(tree: str) -> None:
        # To this thread: one that another test has left behind would take what is held back here.
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        remove(tree)

    remove = staging._remove
    monkeypatch.setattr(tree, "make_virtualenv", fail)
    monkeypatch.setattr(staging, "_remove", hit)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        assert refusal(site, tmp_path / "dest").exit_code == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert faults.leftovers(str(tmp_path)) == ["made"]


def test_what_cannot_be_removed_is_a_warning_and_hides_nothing(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def stuck(_: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(tree, "make_virtualenv", fail)
    monkeypatch.setattr(staging, "_remove", stuck)
    error = refusal(site, tmp_path / "dest", console=Console(quiet=True))
    assert "No space left on device" in str(error)
    assert ".dest.partial could not be removed (Input/output error); the next installation there tries again" in (
        capsys.readouterr().err
    )
    monkeypatch.undo()
    install(site, tmp_path / "dest")
    assert faults.leftovers(str(tmp_path)) == ["dest", "made"]


def test_a_failed_write_back_is_noticed_by_whichever_process_asks(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    monkeypatch.setattr(durable, "sync_file_system", fail)
    error = refusal(site, tmp_path / "dest", sync=True)
    assert (error.exit_code, "Input/output error" in str(error)) == (5, True)
    assert faults.leftovers(str(tmp_path)) == ["made"]
    parent = os.getpid()
    monkeypatch.setattr(durable, "sync_file_system", lambda path: fail(path) if os.getpid() != parent else None)
    make = virtualenv.make_virtualenv

    def slowly(place: Any) -> None:
        time.sleep(0.2)
        make(place)

    monkeypatch.setattr(tree, "make_virtualenv", slowly)
    assert "Input/output error" in str(refusal(site, tmp_path / "dest", sync=True))


def test_a_destination_that_could_be_lost_with_the_power_is_a_warning(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(durable, "sync_file_system", lambda _: None)
    monkeypatch.setattr(os, "fsync", fail)
    assert not install(site, tmp_path / "dest", console=Console(quiet=True), sync=True).already
    assert "is complete, but a power failure could undo it (Input/output error)" in capsys.readouterr().err


@pytest.mark.parametrize("force", [False, True])
def test_without_sync_nothing_waits_for_the_disk(
    force: bool, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    install(site, tmp_path / "dest")
    for module, name in ((durable, "sync_file_system"), (os, "fsync"), (os, "fdatasync"), (os, "sync")):
        monkeypatch.setattr(module, name, fail)
    done = install(site, tmp_path / ("dest" if force else "new"), console=Console(quiet=True), sync=False, force=force)
    assert not done.already
    assert capsys.readouterr().err == ""


def test_a_system_that_forks_no_more_installs_all_the_same(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", never)
    assert not install(site, tmp_path / "dest", sync=True).already


def test_files_that_come_twice_are_the_artifacts_fault(tmp_path: Path) -> None:
    def twice(manifest: manifests.Manifest) -> manifests.Manifest:
        return manifest._replace(payloads=manifest.payloads * 2)

    error = refusal(make_site(tmp_path, payload=True, manifest=twice), tmp_path / "dest")
    assert error.exit_code == 3
    assert "appears twice, or both as a file and as a folder. Build the artifact again." in str(error)
    assert faults.leftovers(str(tmp_path)) == ["made"]


def test_a_loader_that_does_not_compile_is_refused(tmp_path: Path) -> None:
    error = refusal(make_site(tmp_path, extra={layout.LOADENV: b"print 'two'\n"}), tmp_path / "dest")
    assert (error.exit_code, error.what) == (3, "loadenv.py")
    assert faults.leftovers(str(tmp_path)) == ["made"]


def test_bytecode_of_no_project_file_is_refused(tmp_path: Path) -> None:
    from tests.support.artifacts import container

    name = f".deploy/bytecode/{sys.implementation.cache_tag}/project.zip"
    error = refusal(make_site(tmp_path, extra={name: container({"venv/bin/evil": b"x"})}), tmp_path / "dest")
    assert (error.exit_code, error.what) == (3, f"{name}/venv/bin/evil")
    assert faults.leftovers(str(tmp_path)) == ["made"]


def test_a_problem_of_the_host_is_found_before_anything_is_written(tmp_path: Path) -> None:
    site = make_site(tmp_path, targets=[make_target(python="3.7")])
    assert refusal(site, tmp_path / "new" / "dest").exit_code == 4
    assert faults.leftovers(str(tmp_path)) == ["made"]


def test_further_problems_are_warnings_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(tmp_path, targets=[make_target(libc_floor="99.0", libraries=("libnothing.so.1",))])
    error = refusal(site, tmp_path / "dest", console=Console(quiet=True))
    assert "the artifact needs 99.0 or newer" in str(error)
    assert "warning: libnothing.so.1: shared libraries" in capsys.readouterr().err


def test_a_python_that_does_not_know_its_path_is_refused(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_base_executable", "", raising=False)
    monkeypatch.setattr(sys, "executable", "")
    error = refusal(site, tmp_path / "dest")
    assert (error.exit_code, "does not know its own path" in str(error)) == (4, True)
    assert faults.leftovers(str(tmp_path)) == ["made"]
