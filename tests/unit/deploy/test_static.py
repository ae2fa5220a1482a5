"""Which names of static files are kept, and what two folders are compared by."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

from deployable_zipfile.deploy import collect, links, static
from deployable_zipfile.errors import DeploymentError
from tests.support.helpers import run_cli, write_tree


@pytest.mark.parametrize(
    "name",
    [
        "css/site.0123456789ab.css",
        "css/site.0123456789ab.css.gz",
        "js/main.3f2a1b4c.chunk.js",
        "js/vendor-0123456789abcdef0123.js.br",
        "assets/index-DiwrgTda.js",
    ],
)
def test_a_name_with_a_hash_is_kept(name: str) -> None:
    assert static._is_hashed(name)


@pytest.mark.parametrize(
    "name",
    [
        "robots.txt",
        "css/site.css",
        "js/jquery.min.js",
        "js/date-formats.js",
        "staticfiles-0123456789abcdef.json",
        "a.gz",
    ],
)
def test_a_name_without_one_goes_with_its_release(name: str) -> None:
    assert not static._is_hashed(name)


def share(mode: str, source: Path, target: Path, manifest: str = "") -> Dict[str, Any]:
    done = run_cli([sys.executable, "-I", collect.__file__, mode, source, target, manifest])
    found: Dict[str, Any] = json.loads(done.stdout)
    return found


def test_folders_are_compared_and_filled_by_content_and_not_by_time(tmp_path: Path) -> None:
    write_tree(tmp_path / "from", {"same": ("1", 0o644), "new/one": ("2", 0o644), "other": ("3", 0o644)})
    write_tree(tmp_path / "to", {"same": ("1", 0o644), "other": ("4", 0o644), "own": ("5", 0o644)})
    os.utime(str(tmp_path / "to" / "other"), (4e9, 4e9))
    assert share("look", tmp_path / "from", tmp_path / "to", "other") == {"missing": 1, "different": 1, "manifest": 1}
    assert not (tmp_path / "to" / "new").exists()
    share("add", tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "new" / "one").read_text() == "2"
    assert (tmp_path / "to" / "other").read_text() == "4"
    share("replace", tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "other").read_text() == "3"
    assert (tmp_path / "to" / "own").read_text() == "5"


def test_names_are_kept_by_links_and_nothing_is_replaced(tmp_path: Path) -> None:
    write_tree(tmp_path / "old", {"a/x.0123456789ab.css": ("1", 0o644), "y": ("2", 0o644)})
    write_tree(tmp_path / "new", {"y": ("3", 0o644)})
    (tmp_path / "old" / "z").symlink_to("/etc/hostname")
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"kept": {"a/x.0123456789ab.css": 1, "y": 1, "z": 1, "gone": 1}}))
    run_cli([sys.executable, "-I", collect.__file__, "keep", plan, tmp_path / "old", tmp_path / "new"])
    assert sorted(os.listdir(str(tmp_path / "new"))) == ["a", "y"]
    assert os.stat(str(tmp_path / "new" / "a" / "x.0123456789ab.css")).st_nlink == 2
    assert (tmp_path / "new" / "y").read_text() == "3"


@pytest.mark.parametrize("what", ["a file", "another link", "a folder with files", "a way out"])
def test_a_link_to_the_collection_replaces_nothing_of_the_release(tmp_path: Path, what: str) -> None:
    release = tmp_path / "release"
    place = release / "portal" / "static"
    place.parent.mkdir(parents=True)
    if what == "a file":
        place.write_text("")
    elif what == "another link":
        place.symlink_to("/etc")
    elif what == "a folder with files":
        write_tree(place, {"x": ("", 0o644)})
    else:
        place.parent.rmdir()
        place.parent.symlink_to(tmp_path)
    with pytest.raises(DeploymentError):
        links.place_inner_link(release, "portal/static", "static")
    assert not (tmp_path / "static").exists()


def test_a_link_to_the_collection_takes_the_place_of_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "portal" / "static").mkdir(parents=True)
    for _ in range(2):
        links.place_inner_link(tmp_path, "portal/static", "static")
    assert os.readlink(str(tmp_path / "portal" / "static")) == "../static"
    for path in ("venv/static", "venv/lib/python3.11/site-packages/shop/static.dist", ".deploy/static"):
        with pytest.raises(
            DeploymentError, match=r"belongs to the release\. Let the settings name .* /srv/shop/static"
        ):
            links.check_inner("STATIC_ROOT", path, "/srv/shop/static")
