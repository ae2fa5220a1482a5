"""An installed tree compared with what was installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Callable, List

import pytest

from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.deploy import links
from deployable_zipfile.errors import DestinationError
from deployable_zipfile.install import drift, installation, soundness
from deployable_zipfile.install.inventory import Drift
from tests.support.artifacts import PYTHON, make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import make_wheel, run_cli, write_tree

SITE = f"venv/lib/python{PYTHON}/site-packages"


def installed(tmp_path: Path, *wheels: Path, payload: bool = False) -> Path:
    project = {"__init__.py": "", "a b=ü.txt": "x", "sub/settings.py": "x = 1\n"}
    wheels = wheels or (simple_wheel(tmp_path),)
    path = make_artifact(tmp_path / "site.zip", dict(project), wheels, static={"a.css": "a{}"}, payload=payload)
    with Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(tmp_path / "dest"), workers=1, sync=False)
    return tmp_path / "dest"


def found(tree: Path) -> "tuple[List[str], List[str], List[str]]":
    result: Drift = drift.compare(str(tree))
    assert result.clean is (not result.changed and not result.missing and not result.added)
    return result.changed, result.missing, result.added


@pytest.mark.parametrize("payload", [True, False])
def test_a_fresh_installation_is_clean(payload: bool, tmp_path: Path) -> None:
    result = drift.compare(str(installed(tmp_path, payload=payload)))
    assert result.clean
    assert result.checked > 30


def test_use_does_not_make_it_dirty(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    run_cli([tree / "venv/bin/alpha-tool"], env={"PATH": "/bin"})
    (tree / "environment.json").write_text("{}")
    assert drift.compare(str(tree)).clean


@pytest.mark.parametrize("second", ["alpha", "zeta"])
def test_two_wheels_with_one_path_are_clean_whichever_won(second: str, tmp_path: Path) -> None:
    names = ["beta", second]
    wheels = [make_wheel(tmp_path, name, "1", {"shared/__init__.py": f"of = {name!r}\n"}) for name in names]
    assert drift.compare(str(installed(tmp_path, *wheels))).clean


@pytest.mark.parametrize(
    "path",
    [
        "site_one/__init__.py",
        "site_one/a b=ü.txt",
        "static.in/0/a.css",
        f"{SITE}/alpha/__init__.py",
        f"{SITE}/alpha-1.0.dist-info/METADATA",
        f"{SITE}/loadenv.py",
        f"{SITE}/loadenv-init.pth",
        f"{SITE}/loadenv-init.start",
        f"{SITE}/site_one.pth",
        "venv/bin/alpha-tool",
        ".deploy/runtime/artifact/zipreader.py",
        ".deploy/runtime/install_wheels.py",
    ],
)
@pytest.mark.parametrize("payload", sampled([True, False], [False]))
def test_each_kind_of_file_is_missed_and_seen_to_change(path: str, payload: bool, tmp_path: Path) -> None:
    tree = installed(tmp_path, payload=payload)
    (tree / path).write_text("changed")
    assert found(tree) == ([path], [], [])
    (tree / path).unlink()
    assert found(tree) == ([], [path], [])
    (tree / path).mkdir()
    assert path in found(tree)[0]
    (tree / path).rmdir()
    (tree / path).symlink_to("/etc/passwd")
    assert found(tree)[0] == [path]


@pytest.mark.parametrize(
    "path", ["site_one/new.py", f"{SITE}/evil.pth", "static.in/0/x", ".deploy/runtime/x.py", "venv/bin/x"]
)
def test_what_was_added_is_named(path: str, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / path).write_text("x")
    assert found(tree) == ([], [], [path])


def test_static_files_that_a_deployment_added_to_those_of_the_project_are_its_own(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    project = next(path for path in tree.iterdir() if (path / "sub").is_dir()).name
    files = {"css/a.css": "a{}", "b.js": "1", "evil.py": "x = 1", "admin/index.html": "<p>", "templates/a.html": ""}
    for folder in ("static-a", f"{project}/sub/collected"):
        write_tree(tree / folder, files)
    (tree / "static").symlink_to("static-a")
    names = [f"{project}/sub/collected/{name}" for name in sorted(files)]
    assert found(tree)[2] == sorted(names)

    def recorded(inner: str, link: str = "static") -> List[str]:
        (tree / layout.STATIC_FILES).write_text(json.dumps({"inner": inner, "link": link}))
        return found(tree)[2]

    run = [name for name in names if name.endswith((".py", "templates/a.html"))]
    assert recorded(f"{project}/sub/collected") == run
    for inner, link in (
        (project, "static"), ("", "static"), ("venv/lib", "static"), (f"{project}/sub/collected", project),
        (f"{project}/sub/../sub/collected", "static"), (f"{project}/sub/collected", "../static"), ("..", "static"),
    ):  # fmt: skip
        assert recorded(inner, link) == sorted(names)
    (tree / project / "sub/collected/b.js").write_text("2")
    (tree / project / "sub/collected/new.css").write_text("b{}")
    changed = [f"{project}/sub/collected/{name}" for name in ("b.js", "new.css")]
    assert recorded(f"{project}/sub/collected") == sorted([*run, *changed])


def test_links_that_a_deployment_made_are_its_own_until_they_lead_elsewhere(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    link = tree / "site_one/modules"
    link.symlink_to("/etc/passwd")
    links.record_links(tree, ["site_one/modules"])
    assert found(tree) == ([], [], [])
    link.unlink()
    link.symlink_to("/etc/group")
    assert found(tree) == ([], [], ["site_one/modules"])


def test_a_wheel_that_is_gone_whole_is_missed(tmp_path: Path) -> None:
    tree = installed(tmp_path, simple_wheel(tmp_path), simple_wheel(tmp_path, "Beta.Two", "2.0"))
    shutil.rmtree(str(tree / SITE / "Beta.Two"))
    shutil.rmtree(str(tree / SITE / "Beta_Two-2.0.dist-info"))
    assert f"{SITE}/Beta_Two-2.0.dist-info/INSTALLER" in found(tree)[1]


def test_a_virtualenv_that_is_gone_is_missed(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    shutil.rmtree(str(tree / "venv"))
    changed, missing, _ = found(tree)
    assert changed == ["venv/bin/python"]
    assert f"{SITE}/alpha-1.0.dist-info/INSTALLER" in missing


@pytest.mark.parametrize("text", ["", "a,b\n", "\x00"])
def test_a_broken_record_is_seen(text: str, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / SITE / "alpha-1.0.dist-info/RECORD").write_text(text)
    assert any("alpha" in path for path in found(tree)[0] + found(tree)[1] + found(tree)[2])


def test_another_interpreter_below_is_seen(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / "venv/bin/python").unlink()
    (tree / "venv/bin/python").symlink_to("/bin/true")
    assert found(tree) == (["venv/bin/python"], [], [])
    (tree / "venv/bin/python").unlink()
    (tree / "venv/bin/python").symlink_to("/nowhere")
    assert found(tree) == (["venv/bin/python"], [], [])


def spoil(name: str, content: str) -> Callable[[Path], None]:
    def change(tree: Path) -> None:
        (tree / name).write_text(content)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / layout.INSTALLED).unlink(),
        lambda tree: (tree / layout.MANIFEST).unlink(),
        spoil(layout.INSTALLED, ""),
        spoil(layout.INSTALLED, "[]"),
        spoil(layout.INSTALLED, json.dumps({"python": 3})),
    ],
)
def test_what_is_no_complete_installation_is_refused(change: Callable[[Path], None], tmp_path: Path) -> None:
    tree = installed(tmp_path)
    change(tree)
    with pytest.raises(DestinationError, match="contains no complete installation") as caught:
        drift.compare(str(tree))
    assert len(str(caught.value).splitlines()) == 1


def test_what_does_not_exist_is_refused_by_another_line(tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match=r"/nothing: does not exist. Give the folder of an installation"):
        drift.compare(str(tmp_path / "nothing"))


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    manifest = tree / layout.MANIFEST
    manifest.write_text(manifest.read_text().replace('"size":1}', '"size":2}', 1))
    with pytest.raises(DestinationError, match="contains no complete installation"):
        drift.compare(str(tree))
    manifest.write_text("{}")
    with pytest.raises(DestinationError, match="contains no complete installation"):
        drift.compare(str(tree))


def test_a_changed_or_lost_listing_is_refused(tmp_path: Path) -> None:
    tree = installed(tmp_path, payload=True)
    listing = tree / ".deploy/payload/000.json"
    listing.write_text(listing.read_text() + " ")
    with pytest.raises(DestinationError, match=r"000\.json: was changed"):
        drift.compare(str(tree))
    listing.unlink()
    with pytest.raises(DestinationError, match=r"000\.json: cannot be read"):
        drift.compare(str(tree))


def test_bytecode_that_is_gone_is_missed(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    path = f"{SITE}/alpha/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    (tree / path).unlink()
    assert found(tree) == ([], [path], [])


def test_replaced_bytecode_is_seen(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    [path] = [one for one in (tree / SITE / "alpha/__pycache__").iterdir() if one.name.startswith("__init__")]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert found(tree) == ([str(path.relative_to(tree))], [], [])


@pytest.mark.parametrize("folder", ["site_one", "site_one/sub", SITE, f"{SITE}/alpha"])
def test_added_bytecode_is_seen(folder: str, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    path = f"{folder}/__pycache__/more.{sys.implementation.cache_tag}.pyc"
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).write_text("x")
    assert found(tree) == ([], [], [path])


def test_a_file_that_is_changed_together_with_its_record_is_seen(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    record = tree / SITE / "alpha-1.0.dist-info/RECORD"
    (tree / SITE / "alpha/__init__.py").write_text("evil = True\n")
    lines = [line for line in record.read_text().splitlines() if not line.startswith("alpha/__init__.py,")]
    record.write_text("\n".join(lines) + "\n")
    assert found(tree) == ([f"{SITE}/alpha-1.0.dist-info/RECORD", f"{SITE}/alpha/__init__.py"], [], [])


@pytest.mark.parametrize("path", [f"{SITE}/evil.pth", "venv/bin/evil", ".deploy/runtime/evil.py", "x/../venv/evil.pth"])
def test_links_that_change_what_runs_are_seen_although_they_are_recorded(path: str, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / "x").mkdir()
    (tree / path).symlink_to("/etc/passwd")
    (tree / layout.LINKS).write_text(json.dumps({path: "/etc/passwd"}))
    assert found(tree) == ([], [], [os.path.normpath(path)])


@pytest.mark.parametrize("path", ["site_one/more", f"{SITE}/more", "venv/more", "static.in/0/more"])
def test_a_link_to_a_folder_is_seen(path: str, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / path).symlink_to("/etc")
    assert found(tree) == ([], [], [path])


@pytest.mark.parametrize("mode", sampled([0o4777, 0o777, 0o600, 0o2755], 1))
@pytest.mark.parametrize("path", ["site_one/__init__.py", f"{SITE}/alpha", "venv/bin/alpha-tool", "venv/pyvenv.cfg"])
def test_another_mode_is_seen(path: str, mode: int, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / path).chmod(mode)
    assert path in found(tree)[0]


@pytest.mark.parametrize("name", ["loadenv-init.pth", "loadenv-init.start", "loadenv.py"])
def test_a_loader_that_only_its_owner_can_read_is_seen(name: str, tmp_path: Path) -> None:
    """``site`` skips a .pth file that it cannot read, and the site would start without its settings."""
    tree = installed(tmp_path)
    (tree / SITE / name).chmod(0o600)
    assert found(tree)[0] == [f"{SITE}/{name}"]
    assert soundness.fault(str(tree)).startswith(f"{SITE}/{name} is ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("path", ["site_one/__init__.py", "venv", "venv/bin/python3", "static.in/0/a.css"])
def test_another_owner_is_seen(path: str, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    os.lchown(str(tree / path), 65534, 65534)
    assert found(tree) == ([path], [], [])


@pytest.mark.parametrize("path", ["venv/pyvenv.cfg", "venv/bin/activate", "venv/bin/activate.csh"])
def test_what_makes_the_virtualenv_is_seen_to_change(path: str, tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / path).write_text((tree / path).read_text() + "# edited\n")
    assert found(tree) == ([path], [], [])


def test_a_list_that_was_edited_or_removed_is_seen(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    path = tree / layout.FILES
    path.write_bytes(path.read_bytes().replace(b"mode=0644", b"mode=0666", 1))
    assert found(tree)[0] == [layout.FILES]
    path.unlink()
    assert found(tree)[1] == [layout.FILES]


def test_a_project_file_that_is_changed_together_with_the_list_is_seen(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / "site_one/__init__.py").write_text("evil = True\n")
    path, record = tree / layout.FILES, tree / layout.INSTALLED
    before = path.read_bytes()
    digest = hashlib.sha256(b"").hexdigest().encode()
    path.write_bytes(before.replace(digest, hashlib.sha256(b"evil = True\n").hexdigest().encode()))
    document = json.loads(record.read_text())
    document["files_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    record.write_text(json.dumps(document))
    assert "site_one/__init__.py" in found(tree)[0]


def test_an_installation_of_an_older_version_has_no_list_and_is_clean(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree / layout.FILES).unlink()
    document = json.loads((tree / layout.INSTALLED).read_text())
    del document["files_sha256"]
    (tree / layout.INSTALLED).write_text(json.dumps(document))
    (tree / "site_one/sub/__pycache__/more.pyc").write_text("x")
    assert found(tree) == ([], [], [])
