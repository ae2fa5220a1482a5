"""Static files of real Django projects: a failed deployment and a rollback leave those of the live site as they are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from tests.support.depth import sampled
from tests.support.helpers import run_cli
from tests.support.projects import Workshop, append, environment

SETTINGS = """
import os
KIND = os.environ.get("STORAGE", "Manifest")
ALLOWED_HOSTS = ["*"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage." + KIND + "StaticFilesStorage"},
}
STATICFILES_DIRS = [BASE_DIR / "assets"]
if os.environ.get("LOCATION"):
    STORAGES["staticfiles"]["OPTIONS"] = {"location": os.environ["LOCATION"]}
if os.environ.get("OWN"):
    from config import own

    own.PLACE = os.environ["OWN"]
    STORAGES["staticfiles"]["BACKEND"] = "config.own.Own"
if os.environ.get("WHERE") == "inside":
    STATIC_ROOT = BASE_DIR / "staticfiles"
elif os.environ.get("WHERE"):
    STATIC_ROOT = os.environ["WHERE"]
INSTALLED_APPS += ["failing"]
DATABASES["default"]["NAME"] = os.environ["DATABASE"]
"""
OWN = """
from django.contrib.staticfiles.storage import StaticFilesStorage

PLACE = ""


class Own(StaticFilesStorage):
    def __init__(self):
        super().__init__(location=PLACE)
"""
MIGRATION = """
import os
from django.db import migrations


def fail(*_):
    if os.environ.get("FAIL"):
        raise RuntimeError("as asked")


class Migration(migrations.Migration):
    operations = [migrations.RunPython(fail)]
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def artifacts(workshop: Workshop) -> Dict[str, Path]:
    """Return two versions of a site; the second has another style sheet, an older one, and a migration more."""
    project = workshop.startproject("portal", "config")
    append(project / "config" / "settings.py", SETTINGS)
    (project / "config" / "own.py").write_text(OWN)
    for name, text in {"__init__": "", "migrations/__init__": "", "migrations/0001_first": MIGRATION}.items():
        (project / "failing" / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (project / "failing" / f"{name}.py").write_text(text)
    (project / "assets").mkdir()
    (project / "assets" / "site.css").write_text("body { color: red }\n")
    (project / "assets" / "robots.txt").write_text("one\n")
    made = {"one": workshop.pack(project, ["django"])}
    os.rename(str(made["one"]), str(workshop.folder / "one.zip"))
    second = MIGRATION.replace(
        "class Migration(migrations.Migration):",
        'class Migration(migrations.Migration):\n    dependencies = [("failing", "0001_first")]',
    )
    (project / "failing" / "migrations" / "0002_second.py").write_text(second)
    (project / "assets" / "site.css").write_text("body { color: green }\n")
    (project / "assets" / "robots.txt").write_text("two\n")
    os.utime(str(project / "assets" / "site.css"), (1_000_000_000, 1_000_000_000))
    return {"one": workshop.folder / "one.zip", "two": workshop.pack(project, ["django"])}


class Site:
    """A root to deploy to, and its environment."""

    def __init__(self, artifacts: Dict[str, Path], folder: Path) -> None:
        self.root = folder / "srv"
        self.static = self.root / "current" / "static"
        self._artifacts = artifacts
        self._given = folder / "environment.json"
        self._database = str(folder / "site.sqlite3")
        self.said = ""

    def deploy(self, which: str, *words: str, code: int = 0, **variables: str) -> Dict[str, Any]:
        environment(self._given, DATABASE=self._database, **variables)
        return self.verb(which, "deploy", "--env-file", str(self._given), "--allow-dirty", *words, code=code)

    def verb(self, which: str, verb: str, *words: str, code: int = 0) -> Dict[str, Any]:
        command = [sys.executable, "-I", self._artifacts[which], verb, "--root", self.root, "--json", "-q", *words]
        done = run_cli(command, code=code, timeout=300)
        self.said = done.stderr
        document: Dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture
def site(artifacts: Dict[str, Path], tmp_path: Path) -> Iterator[Site]:
    yield Site(artifacts, tmp_path)
    shutil.rmtree(str(tmp_path / "srv"), ignore_errors=True)


def looked_at(folder: Path) -> Dict[str, Any]:
    """Return everything about the files that a web server would serve from *folder*."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(Path(folder.resolve()).rglob("*"), key=str)
        for path in [folder / path.relative_to(folder.resolve())]
        if path.is_file()
    }


def style(folder: Path) -> str:
    """Return the hashed name of the style sheet in the manifest."""
    return str(json.loads((folder / "staticfiles.json").read_text())["paths"]["site.css"])


WHERE = {"not set": {}, "inside": {"WHERE": "inside"}, "in the root": {"WHERE": "ROOT/static"}}


@pytest.mark.parametrize("where", sampled(WHERE, ["not set"]))
def test_a_failure_and_a_rollback_leave_the_live_ones_exactly_as_they_were(site: Site, where: str) -> None:
    variables: Dict[str, Any] = {key: value.replace("ROOT", str(site.root)) for key, value in WHERE[where].items()}
    served = {"not set": site.static, "inside": site.root / "current" / "portal" / "staticfiles"}.get(
        where, site.root / "static"
    )
    site.deploy("one", **variables)
    first, red = looked_at(served), style(served)
    assert first == looked_at(site.static)
    site.deploy("two", code=8, FAIL="1", **variables)
    assert looked_at(served) == first
    site.deploy("two", "--health-url", "http://127.0.0.1:1/", "--health-timeout", "0.2", code=8, **variables)
    assert looked_at(served) == first
    site.deploy("two", "--force", "--health-url", "", **variables)
    assert style(served) != red
    assert (served / "site.css").read_text() == "body { color: green }\n"
    assert (served / red).read_text() == "body { color: red }\n", "pages loaded before the switch ask for it"
    site.verb("two", "rollback")
    assert looked_at(served) == first
    run_cli([sys.executable, "-I", site._artifacts["one"], "verify", os.path.realpath(str(site.root / "current"))])


def test_kept_names_go_after_their_days_and_stay_while_they_last(site: Site) -> None:
    site.deploy("one")
    red = style(site.static)
    site.deploy("two")
    assert (site.static / red).is_file()
    assert red in _kept(site)
    site.deploy("two", "--force")
    assert (site.static / red).is_file()
    record = Path(os.path.realpath(str(site.root / "current"))) / ".deploy" / "static.json"
    document = json.loads(record.read_text())
    document["kept"][red] = time.time() - 31 * 86_400
    record.write_text(json.dumps(document))
    site.deploy("two", "--force")
    assert not (site.static / red).exists()
    assert red not in _kept(site)
    site.deploy("one", "--keep-static", "0")
    assert len([name for name in looked_at(site.static) if name.startswith("site.")]) == 2


def _kept(site: Site) -> Dict[str, float]:
    path = site.root / "current" / ".deploy" / "static.json"
    kept: Dict[str, float] = json.loads(path.read_text())["kept"]
    return kept


def test_a_failed_deployment_of_the_live_release_again_leaves_them(site: Site) -> None:
    site.deploy("one")
    first = looked_at(site.static)
    site.deploy("one", "--force", "--health-url", "http://127.0.0.1:1/", "--health-timeout", "0.2", code=8, STORAGE="")
    assert looked_at(site.static) == first
    assert [path.name for path in (site.root / "current").resolve().glob("static-*")] != []


def test_a_folder_that_is_shared_is_refused_where_one_manifest_would_be(site: Site) -> None:
    shared = site.root / "static"
    shared.mkdir(parents=True)
    (shared / "before.txt").write_text("here before")
    site.deploy("one", WHERE=str(shared))
    first = looked_at(shared)
    assert "staticfiles.json" in first
    site.deploy("two", code=8, WHERE=str(shared))
    assert "is shared by releases, and its staticfiles.json would change under the live one" in site.said
    assert f"Put a link to {site.root}/current/static in its place" in site.said
    assert looked_at(shared) == first


def test_a_folder_that_is_shared_without_a_manifest_is_changed_once_the_release_is_proven(site: Site) -> None:
    shared = site.root / "static"
    shared.mkdir(parents=True)
    (shared / "before.txt").write_text("here before")
    site.deploy("one", WHERE=str(shared), STORAGE="")
    first = looked_at(shared)
    bad = ("--health-url", "http://127.0.0.1:1/", "--health-timeout", "0.2")
    site.deploy("two", *bad, code=8, WHERE=str(shared), STORAGE="")
    assert {name: looked_at(shared)[name] for name in first} == first
    site.deploy("two", "--health-url", "", WHERE=str(shared), STORAGE="")
    assert (shared / "site.css").read_text() == "body { color: green }\n"
    site.verb("two", "rollback")
    assert (shared / "site.css").read_text() == "body { color: red }\n"
    assert (shared / "before.txt").is_file()


def test_a_location_among_the_storages_options_is_what_static_root_would_be(site: Site) -> None:
    served = site.root / "static"
    site.deploy("one", LOCATION=str(served))
    first = looked_at(served)
    assert first == looked_at(site.static)
    site.deploy("two", code=8, FAIL="1", LOCATION=str(served))
    assert looked_at(served) == first


def test_a_storage_with_a_fixed_folder_is_named(site: Site) -> None:
    served = site.root.parent / "www"
    site.deploy("one", OWN=str(served))
    assert f"the project's own storage writes to {served}, whatever STATIC_ROOT is" in site.said
    site.deploy("two", "--force")
    assert "own storage" not in site.said


@pytest.mark.parametrize("below", sampled(["", "releases", ".deploy/static", "current"], ["releases"]))
def test_a_static_root_among_what_the_root_keeps_is_refused(site: Site, below: str) -> None:
    site.deploy("one")
    first = sorted(os.listdir(str(site.root))), sorted(os.listdir(str(site.root / "current")))
    site.deploy("two", code=8, WHERE=str(site.root / below), STORAGE="")
    assert f"Let the settings name another folder, {site.root}/static for instance" in site.said
    assert (sorted(os.listdir(str(site.root))), sorted(os.listdir(str(site.root / "current")))) == first
    assert not (site.root / ".deploy" / "static").exists()


def test_what_a_power_cut_left_empty_is_collected_again(site: Site) -> None:
    site.deploy("one")
    site.deploy("two", code=8, FAIL="1")
    (release,) = [path for path in (site.root / "releases").iterdir() if path != (site.root / "current").resolve()]
    for path in release.rglob("static-*/*"):
        if path.is_file() and path.stat().st_nlink == 1:  # the others are those of the live release
            path.write_text("")
    site.deploy("two")
    assert (site.static / "site.css").read_text() == "body { color: green }\n"
    assert all(path.stat().st_size for path in site.static.resolve().rglob("*.css"))
