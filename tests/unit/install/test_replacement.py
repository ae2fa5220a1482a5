"""What is complete on paper and cannot run is not "already there", and --force puts a new installation in its place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest

from deployable_zipfile import durable, extract
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import DestinationError, Interrupted
from deployable_zipfile.install import drift, installation, replacement, soundness
from tests.support.artifacts import PYTHON, make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import read_tree

SITE = f"venv/lib/python{PYTHON}/site-packages"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    files = {"__init__.py": "", "settings.py": "x = 1\n"}
    return make_artifact(made / "site.zip", files, [simple_wheel(made)], static={"css/a.css": "a{}"})


@pytest.fixture
def dest(site: Path, tmp_path: Path) -> Path:
    install(site, tmp_path / "dest")
    return tmp_path / "dest"


def install(path: Path, destination: Path, **options: Any) -> installation.Installed:
    with Artifact.open(str(path)) as artifact:
        return installation.install(artifact, str(destination), workers=1, sync=False, **options)


def content(destination: Path) -> Dict[str, Tuple[int, bytes]]:
    return {name: entry for name, entry in read_tree(destination).items() if name != layout.INSTALLED}


def moved(dest: Path) -> None:
    (dest / "venv/bin/python").unlink()
    (dest / "venv/bin/python").symlink_to(dest.parent / "gone/bin/python3")


def removed(dest: Path) -> None:
    (dest / "venv/bin/python3").unlink()


def configuration(dest: Path) -> None:
    path = dest / "venv/pyvenv.cfg"
    path.write_text(path.read_text().replace("home = ", "home = /gone"))


def activation(dest: Path) -> None:
    with (dest / "venv/bin/activate").open("a") as file:
        file.write("echo hello\n")


def loader(dest: Path) -> None:
    (dest / SITE / "loadenv-init.pth").write_text("")


def script(dest: Path) -> None:
    os.chmod(str(dest / "venv/bin/activate"), 0o777)


def another(dest: Path) -> None:
    (dest / "venv/bin/python").unlink()
    (dest / "venv/bin/python").symlink_to("/bin/true")


def listing(dest: Path) -> None:
    (dest / layout.FILES).write_text("#mtree v2.0\n")


def path_file(dest: Path) -> None:
    (dest / SITE / "site_one.pth").unlink()


def edited_path_file(dest: Path) -> None:
    (dest / SITE / "site_one.pth").write_text("/gone\n")


def link(dest: Path) -> None:
    (dest / "venv/lib64").unlink()


def module(dest: Path) -> None:
    (dest / "site_one/settings.py").unlink()


def package(dest: Path) -> None:
    shutil.rmtree(str(dest / SITE / "alpha"))
    shutil.rmtree(str(dest / SITE / "alpha-1.0.dist-info"))


LOSSES = [path_file, edited_path_file, link, module, package]
DAMAGES = [moved, removed, configuration, activation, loader, script, another, listing, *LOSSES]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (path_file, "site_one.pth is missing"),
        (edited_path_file, "site_one.pth is changed"),
        (link, "venv/lib64 is missing"),
        (module, "site_one/settings.py is missing"),
        (package, "other files"),
    ],
)
def test_what_was_removed_is_named(damage: Callable[[Path], None], what: str, dest: Path) -> None:
    damage(dest)
    assert what in soundness.fault(str(dest))


def test_an_installation_without_bytecode_is_sound(site: Path, dest: Path) -> None:
    for path in dest.rglob("*.pyc"):
        path.unlink()
    assert install(site, dest).already is True


@pytest.mark.parametrize("damage", sampled(DAMAGES, 3))
def test_a_dead_installation_is_named_and_mended(damage: Callable[[Path], None], site: Path, dest: Path) -> None:
    before = content(dest)
    damage(dest)
    with pytest.raises(DestinationError) as caught:
        install(site, dest)
    assert "holds build" in str(caught.value)
    assert str(caught.value).endswith("Reinstall it with --force.")
    assert install(site, dest, force=True).already is False
    assert content(dest) == before
    assert install(site, dest).already is True
    assert drift.compare(str(dest)).clean
    assert sorted(os.listdir(str(dest.parent))) == ["dest", "made"]


def test_an_interpreter_that_is_gone_is_found_where_its_link_is_as_it_was(dest: Path) -> None:
    """The link of the virtualenv is as installed; what it leads to is not there any more."""
    folder = dest.parent / "python"
    folder.mkdir()
    shutil.copy(os.path.realpath(sys.executable), str(folder / "python3"))
    (dest / "venv/bin/python").unlink()
    (dest / "venv/bin/python").symlink_to(folder / "python3")
    text = (dest / layout.FILES).read_bytes()
    old = os.fsencode(next(word for word in text.split() if word.startswith(b"link=/")).decode()[5:])
    text = text.replace(b"link=" + old, b"link=" + os.fsencode(str(folder / "python3")))
    (dest / layout.FILES).write_bytes(text)
    record = json.loads((dest / layout.INSTALLED).read_text())
    record["files_sha256"] = hashlib.sha256(text).hexdigest()
    (dest / layout.INSTALLED).write_text(json.dumps(record))
    shutil.rmtree(str(folder))
    assert "its Python is gone (" in soundness.fault(str(dest))
    folder.mkdir()
    (folder / "python3").write_text("#!/bin/sh\necho answer 2.7 True\n")
    (folder / "python3").chmod(0o755)
    assert soundness.fault(str(dest)) == f"its Python is 2.7 now, not {PYTHON}"
    (folder / "python3").write_text(f"#!/bin/sh\necho answer {PYTHON} False\n")
    assert "does not take" in soundness.fault(str(dest))
    (folder / "python3").write_text("#!/bin/sh\necho hello; exit 3\n")
    assert soundness.fault(str(dest)) == "its Python does not start (exit status 3)"


def test_bad_settings_are_no_fault_of_an_installation(site: Path, dest: Path) -> None:
    (dest / "environment.json").write_text("{broken")
    assert install(site, dest).already is True


def test_the_trial_writes_nothing(site: Path, dest: Path) -> None:
    shutil.rmtree(str(dest / SITE / "__pycache__"))  # Python would write it again
    before = read_tree(dest)
    assert install(site, dest).already is True
    assert read_tree(dest) == before


def test_a_tree_that_was_given_to_its_user_is_sound(site: Path, dest: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for folder, folders, names in os.walk(str(dest)):
        for name in [*folders, *names]:
            os.chown(os.path.join(folder, name), 65534, 65534, follow_symlinks=False)
    os.chown(str(dest), 65534, 65534)
    os.chmod(str(dest.parent), 0o755)
    assert install(site, dest).already is True


@pytest.mark.parametrize("exchanges", [True, False])
def test_what_deployments_added_is_kept(
    exchanges: bool, site: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(durable, "exchange", lambda *_: False)
    (dest / "environment.json").write_text("{}")
    (dest / "environment.json").chmod(0o640)
    (dest / "site_one/media").symlink_to("../../shared/media")
    (dest / layout.LINKS).write_text(json.dumps({"site_one/media": "../../shared/media"}))
    (dest / "static-b").mkdir()
    (dest / "static-b/a.0123456789ab.css").write_text("a{}")
    (dest / "static").symlink_to("static-b")
    (dest / layout.STATIC_FILES).write_text(json.dumps({"link": "static", "inner": "", "shared": "", "kept": {}}))
    before = content(dest)
    configuration(dest)
    install(site, dest, force=True)
    assert content(dest) == before
    assert sorted(os.listdir(str(dest.parent))) == ["dest", "made"]


@pytest.mark.parametrize("path", ["site_one/upload.png", "static.in/0/more.css", "db.sqlite3", "media/a/b.txt"])
def test_a_file_that_no_installation_wrote_is_not_lost(path: str, site: Path, dest: Path) -> None:
    (dest / path).parent.mkdir(parents=True, exist_ok=True)
    (dest / path).write_text("mine")
    before = read_tree(dest)
    with pytest.raises(DestinationError) as caught:
        install(site, dest, force=True)
    assert f"is not replaced: the installation did not write {path}." in str(caught.value)
    assert read_tree(dest) == before
    assert sorted(os.listdir(str(dest.parent))) == ["dest", "made"]


def test_force_replaces_nothing_but_the_same_build(site: Path, dest: Path) -> None:
    other = make_artifact(dest.parent / "made/other.zip", {"x.py": ""})
    with pytest.raises(DestinationError, match="--force installs the same build again"):
        install(other, dest, force=True)
    shutil.rmtree(str(dest))
    dest.mkdir()
    (dest / "notes.txt").write_text("mine")
    with pytest.raises(DestinationError, match="contains no installation"):
        install(other, dest, force=True)
    assert os.listdir(str(dest)) == ["notes.txt"]


def test_a_record_that_is_gone_is_mended_by_the_manifest(site: Path, dest: Path) -> None:
    (dest / layout.INSTALLED).unlink()
    install(site, dest, force=True)
    assert install(site, dest).already is True


def test_force_on_nothing_installs(site: Path, tmp_path: Path) -> None:
    assert install(site, tmp_path / "fresh", force=True).already is False
    (tmp_path / "empty").mkdir()
    assert install(site, tmp_path / "empty", force=True).already is False


def test_without_an_exchange_the_next_run_brings_back_what_was_moved_aside(
    site: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the two renames."""
    before = content(dest)
    aside = dest.parent / ".dest.partial"
    aside.mkdir(mode=0o700)
    shutil.copytree(str(dest), str(aside / "tree"), symlinks=True)
    dest.rename(aside / "old")
    assert install(site, dest).already is True
    assert content(dest) == before
    assert not aside.exists()


def test_without_an_exchange_a_second_rename_that_fails_brings_the_first_one_back(
    site: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(dest)
    monkeypatch.setattr(durable, "exchange", lambda *_: False)
    real, calls = os.rename, []

    def rename(source: str, target: str) -> None:
        calls.append(source)
        if source.endswith("/tree"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(DestinationError, match="No space left"):
        install(site, dest, force=True)
    monkeypatch.undo()
    assert len(calls) == 3
    assert content(dest) == before
    assert not (dest.parent / ".dest.partial").exists()


def test_stopped_while_it_prepares_nothing_has_changed(site: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration(dest)
    before = read_tree(dest)

    def stopped(*_: Any) -> None:
        raise Interrupted("this run", "was stopped", "Run it again")

    monkeypatch.setattr(replacement, "carry_over", stopped)
    with pytest.raises(Interrupted):
        install(site, dest, force=True)
    assert read_tree(dest) == before
    assert not (dest.parent / ".dest.partial").exists()


def test_two_folders_change_places(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    if not durable.exchange(str(tmp_path / "one"), str(tmp_path / "two")):
        pytest.skip("this file system cannot")
    assert os.listdir(str(tmp_path / "one")) == ["two"]
    with pytest.raises(FileNotFoundError):
        durable.exchange(str(tmp_path / "one"), str(tmp_path / "three"))


@pytest.mark.parametrize("mode", [0o2750, 0o700, 0o1775])
@pytest.mark.parametrize("owner", sampled([(0, 0), (65534, 65534), (4242, 4243)], [(65534, 65534)], whole=True))
def test_an_empty_folder_keeps_owner_group_and_mode(
    mode: int, owner: Tuple[int, int], site: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0 and owner != (0, 0):
        pytest.skip("only root can give files away")
    dest = tmp_path / "dest"
    dest.mkdir()
    if os.geteuid() == 0:
        os.chown(str(dest), *owner)
    os.chmod(str(dest), mode)
    wanted = os.lstat(str(dest))
    for force in (False, True):
        install(site, dest, force=force)
        found = os.lstat(str(dest))
        assert stat.S_IMODE(found.st_mode) == mode
        assert (found.st_uid, found.st_gid) == (wanted.st_uid, wanted.st_gid)
        inner = os.lstat(str(dest / "site_one/settings.py"))
        assert inner.st_gid == (wanted.st_gid if mode & stat.S_ISGID else os.getegid())
        assert drift.compare(str(dest)).clean


@pytest.mark.parametrize("name", ["installed.json", "links.json", "files.mtree", "static.json"])
def test_a_fifo_among_the_books_does_not_hang(name: str, site: Path, dest: Path, capsys: Any) -> None:
    path = dest / ".deploy" / name
    if path.exists():
        path.unlink()
    os.mkfifo(str(path))
    assert extract.main(["verify", str(dest)], str(site)) == (0 if name == "static.json" else 5)
    code = extract.main(["-d", str(dest), "--workers", "1"], str(site))
    assert code == (0 if name in ("static.json", "links.json") else 5)
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert len(lines) <= 2


def test_the_option_of_the_command_line(site: Path, dest: Path, capsys: Any) -> None:
    configuration(dest)
    command = ["-d", str(dest), "--workers", "1", "--no-sync"]
    assert extract.main(command, str(site)) == 5
    assert capsys.readouterr().err.count("\n") == 1
    assert extract.main([*command, "--force"], str(site)) == 0
    assert extract.main(command, str(site)) == 0
    assert "already holds build" in capsys.readouterr().out
