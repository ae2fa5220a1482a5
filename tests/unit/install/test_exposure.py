"""What `verify` says of an installation that is as installed, but that others can change."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.install import drift, exposure, installation
from tests.support.artifacts import make_artifact, simple_wheel
from tests.support.helpers import error_line, run_python
from tests.support.machine import lacking

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(name="site")
def site_(tmp_path: Path) -> Path:
    project = {"__init__.py": "", "sub/a.txt": "x"}
    return make_artifact(tmp_path / "site.zip", project, [simple_wheel(tmp_path)], static={"a.css": "a{}"})


@pytest.fixture(name="tree")
def tree_(site: Path, tmp_path: Path) -> Path:
    with Artifact.open(str(site)) as artifact:
        installation.install(artifact, str(tmp_path / "dest"), workers=1, sync=False)
    (tmp_path / "dest/environment.json").write_text("{}")
    assert drift.compare(str(tmp_path / "dest")).clean
    assert exposure.notes(str(tmp_path / "dest"), "site_one") == []
    return tmp_path / "dest"


@pytest.mark.parametrize("name", [".", layout.INSTALLED, layout.FILES, "environment.json"])
def test_what_everybody_may_write_to_is_a_finding(name: str, tree: Path) -> None:
    mode = (tree / name).stat().st_mode
    (tree / name).chmod(mode | 0o002)
    found = drift.compare(str(tree))
    assert (found.changed, found.missing, found.added, list(found.open), found.clean) == ([], [], [], [name], False)
    (tree / name).chmod(mode)
    assert drift.compare(str(tree)).clean


@ROOT_ONLY
def test_a_group_that_may_write_to_roots_folder_is_a_finding(tree: Path) -> None:
    tree.chmod(0o775)
    assert drift.compare(str(tree)).open == []  # root's own group
    os.chown(str(tree), 0, 1234)
    assert drift.compare(str(tree)).open == ["."]


def test_a_users_group_is_told_and_no_finding(tree: Path) -> None:
    if os.geteuid() == 0:
        os.chown(str(tree), 1234, 1234)
    tree.chmod(0o2775)
    assert drift.compare(str(tree)).clean
    assert "its group can replace what is in it (mode 2775)" in exposure.notes(str(tree), "site_one")


@ROOT_ONLY
def test_another_owner_of_the_destination_is_told(tree: Path) -> None:
    os.chown(str(tree), 1234, -1)
    assert drift.compare(str(tree)).clean
    assert exposure.notes(str(tree), "site_one") == [
        "it belongs to uid 1234, who can replace what uid 0 installed in it"
    ]


@pytest.mark.parametrize("name", ["site_one/sub/a.txt", "static.in/0/a.css", "environment.json", layout.INSTALLED])
def test_another_name_of_a_file_is_told(name: str, tree: Path, tmp_path: Path) -> None:
    os.link(str(tree / name), str(tmp_path / "other"))
    assert drift.compare(str(tree)).clean
    told = exposure.notes(str(tree), "site_one")
    assert told == [f"{name} can be changed through another name of the same file (a hard link)"]


def test_the_wheels_files_that_a_store_shares_are_not_told(site: Path, tmp_path: Path) -> None:
    with Artifact.open(str(site)) as artifact:
        for name in ("one", "two"):
            store = str(tmp_path / "store")
            installation.install(artifact, str(tmp_path / name), workers=1, sync=False, store=store)
    shared = [path for path in (tmp_path / "two").rglob("*") if path.is_file() and path.stat().st_nlink > 1]
    assert shared
    assert exposure.notes(str(tmp_path / "two"), "site_one") == []


@pytest.mark.parametrize("names", [["site_one/new"], ["venv/lib/a/b"], [".deploy/x", "static.in/1", "site_one/sub/é"]])
def test_an_empty_folder_that_was_added_is_named(names: List[str], tree: Path) -> None:
    for name in names:
        (tree / name).mkdir(parents=True)
    assert sorted(drift.compare(str(tree)).added) == sorted(f"{name}/" for name in names)


def test_a_folder_that_lost_its_files_is_not_added(tree: Path) -> None:
    (tree / "site_one/sub/a.txt").unlink()
    found = drift.compare(str(tree))
    assert (found.missing, found.added) == (["site_one/sub/a.txt"], [])


def test_verify_names_the_folder_and_the_command(site: Path, tree: Path) -> None:
    tree.chmod(0o777)
    done = run_python(site, "verify", tree, code=5)
    assert done.stdout == "open: .\n"
    assert error_line(done) == (
        f"error: {tree}: 0 files changed, 0 missing, 0 added, 1 open to others. Run: chmod go-w {tree}."
    )


@pytest.mark.parametrize(("group", "others"), [(7, 7), (7, 0), (0, 7)])
def test_a_default_acl_makes_nothing_that_others_may_write_to(
    group: int, others: int, site: Path, tmp_path: Path
) -> None:
    entries = [(1, 7, -1), (2, 7, 65534), (4, group, -1), (16, 7, -1), (32, others, -1)]  # acl(5): owner, a user, ...
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    (tmp_path / "srv").mkdir()
    try:
        os.setxattr(str(tmp_path / "srv"), "system.posix_acl_default", acl)
    except OSError as error:
        lacking(f"no ACLs on this file system ({error.strerror})", "REQUIRE_ACL")
    with Artifact.open(str(site)) as artifact:
        installation.install(artifact, str(tmp_path / "srv/dest"), workers=1, sync=False)
    made = [path for path in (tmp_path / "srv").rglob("*") if not path.is_symlink()]
    assert len(made) > 30
    assert [path for path in made if path.stat().st_mode & 0o022] == []
    assert drift.compare(str(tmp_path / "srv/dest")).clean
    assert exposure.notes(str(tmp_path / "srv/dest"), "site_one") == []


def test_verify_says_what_to_do_about_a_folder_that_the_site_makes(site: Path, tree: Path) -> None:
    (tree / "site_one/instance").mkdir()
    done = run_python(site, "verify", tree, code=5)
    assert done.stdout == "added: site_one/instance/\n"
    assert "1 added. Remove what was added; if the site writes it, let it write outside" in error_line(done)
