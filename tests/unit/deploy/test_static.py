"""Which names of static files are kept, and what two folders are compared by."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any, Dict, List

import pytest

from deployable_zipfile.deploy import collect, links, releases, static
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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}{}",
        '{"kept": []}',
        '{"kept": {"a.0123456789ab.css": "soon"}}',
        '{"kept": {"a": true}}',
        '{"link": 5}',
        "\udcff",
        "[" * 100_000,
    ],
)
def test_a_damaged_record_of_the_live_release_stops_no_deployment(tmp_path: Path, text: str) -> None:
    site = releases.Root(tmp_path / "root")
    write_tree(site.path, {"releases/old/static/a.0123456789ab.css": ("", 0o644), "releases/new/static-a": None})
    write_tree(site.releases / "old", {static.RECORD: (text.encode("utf-8", "surrogateescape"), 0o644)})
    write_tree(site.releases / "new" / ".deploy", {"x": ("", 0o644)})
    said: List[str] = []
    context: Any = types.SimpleNamespace(
        root=site,
        release=site.releases / "new",
        fallback="releases/old",
        settings=types.SimpleNamespace(keep_static=1),
        console=types.SimpleNamespace(warn=said.append),
        commands=lambda: types.SimpleNamespace(python=lambda *_: ""),
    )
    found = static.Collection(context.release / "static", "static-a", "", "", "", {})
    kept = static._keep(context, found, context.release / "static-a")
    assert list(kept) == ["a.0123456789ab.css"]
    assert len(said) == 1


def settled(root: Path, static_root: str) -> Dict[str, Any]:
    """Return what becomes of *static_root* in a root with the live release "old" and the new one "new"."""
    site = releases.Root(root)
    context: Any = types.SimpleNamespace(root=site, release=site.releases / "new")
    found = static.Collection(context.release / "static", "static-a", "", "", "", {})
    report = {"static_root": static_root, "manifest": "", "local": True}
    done = static._settled(context, found, report)
    return {"inner": done.record["inner"], "outer": done.outer, "shared": done.shared}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    write_tree(folder, {f"releases/{name}/static-a": None for name in ("new", "old")})
    (folder / ".deploy").mkdir()
    (folder / "current").symlink_to("releases/old")
    (tmp_path / "alias").symlink_to("root")
    return folder


@pytest.mark.parametrize("start", ["root", "alias", "root/../alias"])
@pytest.mark.parametrize("below", ["", "current", "releases", "releases/new", "releases/old/static", ".deploy/static"])
def test_collected_files_never_become_part_of_a_release_or_of_the_records(root: Path, start: str, below: str) -> None:
    with pytest.raises(DeploymentError, match=r"Let the settings name another folder, .*/root/static for instance"):
        settled(root, f"{root.parent}/{start}/{below}")


def test_a_way_into_another_release_through_a_link_is_refused(root: Path) -> None:
    (root.parent / "www").symlink_to(root / "releases" / "old")
    (root / "files").symlink_to("current/static-a")
    for path in (root.parent / "www" / "static", root / "files" / "more"):
        with pytest.raises(DeploymentError, match="leads to another release"):
            settled(root, str(path))


@pytest.mark.parametrize("start", ["root/current", "alias/current", "root/releases/new", "alias/releases/new"])
def test_a_path_in_the_release_is_known_however_the_root_is_reached(root: Path, start: str) -> None:
    nothing = {"inner": "", "outer": "", "shared": ""}
    assert settled(root, f"{root.parent}/{start}/static") == nothing
    assert settled(root, f"{root.parent}/{start}/site/files") == dict(nothing, inner="site/files")


def test_a_link_or_a_link_to_a_link_to_the_collection_is_left_alone(root: Path) -> None:
    (root / "assets").symlink_to("../alias/current/static")
    (root.parent / "www").symlink_to("root/assets")
    for path in (root / "assets", root.parent / "alias" / "assets", root.parent / "www"):
        assert settled(root, str(path)) == {"inner": "", "outer": "", "shared": ""}


def test_a_free_name_in_the_root_becomes_a_link_and_any_other_folder_is_shared(root: Path) -> None:
    free, full, outside = root.parent / "alias" / "assets", root / "full", root.parent / "www"
    write_tree(full, {"x": ("", 0o644)})
    assert settled(root, str(free)) == {"inner": "", "outer": str(free), "shared": ""}
    for path in (full, outside, root / "shared", root / "shared" / "assets", root / "currently"):
        found = settled(root, str(path))
        assert (found["shared"] or found["outer"]) == str(path), path
