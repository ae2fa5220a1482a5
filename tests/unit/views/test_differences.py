"""``diff`` names what differs, each thing once, whichever of the two is installed already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from deployable_zipfile.__main__ import main
from deployable_zipfile.artifact import layout, manifests
from deployable_zipfile.artifact.environment import declared
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.install import installation
from tests.support.artifacts import Content, make_artifact, simple_wheel

SETTINGS = "import os\nKEPT = os.environ['KEPT']\nSAME = 1\n"
Named = Tuple[str, str, str]


def site(module: str) -> Any:
    return lambda manifest: manifest._replace(site=manifests.Site(module, "", "", "", "", ()))


def diff(capsys: pytest.CaptureFixture[str], old: Path, new: Path) -> Dict[str, Any]:
    assert main(["diff", str(old), str(new), "--json"]) == 0
    document: Dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def named(document: Dict[str, Any]) -> List[Named]:
    return [(one["kind"], one["change"], one["name"]) for one in document["differences"]]


def make_pair(tmp_path: Path) -> Tuple[Path, Path]:
    """Make two artifacts that differ in the twelve ways of TWELVE."""
    one, two = tmp_path / "1", tmp_path / "2"
    old_files: Dict[str, Content] = {
        "__init__.py": "",
        "settings.py": SETTINGS,
        "blog/migrations/0001_initial.py": "",
        "blog/migrations/0002_wrong.py": "",
        "gone.txt": "1",
    }
    new_files: Dict[str, Content] = {
        "__init__.py": "",
        "settings.py": SETTINGS + "FRESH = os.getenv('FRESH_KEY')\n",
        "blog/migrations/0001_initial.py": "",
        "blog/migrations/0002_right.py": "",
    }
    old = make_artifact(
        tmp_path / "old.zip",
        old_files,
        [simple_wheel(one, "up"), simple_wheel(one, "down", "1.10"), simple_wheel(one, "out"), simple_wheel(one, "s")],
        static={"a.css": "1"},
    )
    new = make_artifact(
        tmp_path / "new.zip",
        new_files,
        [
            *(simple_wheel(two, name, version) for name, version in (("up", "1.10"), ("down", "1.9"), ("in", "1.0"))),
            simple_wheel(two, "s", entry_points="[console_scripts]\ns-other = s:main\n"),
        ],
        static={"a.css": "2"},
    )
    return old, new


TWELVE = [
    ("package", "downgraded", "down"),
    ("package", "added", "in"),
    ("package", "removed", "out"),
    ("package", "rebuilt", "s"),
    ("package", "upgraded", "up"),
    ("entry point", "added", "s-other of s"),
    ("entry point", "removed", "s-tool of s"),
    ("migration", "added", "site_one/blog/migrations/0002_right.py"),
    ("migration", "removed", "site_one/blog/migrations/0002_wrong.py"),
    ("project file", "removed", "site_one/gone.txt"),
    ("project file", "changed", "site_one/settings.py"),
    ("static file", "changed", "static.in/0/a.css"),
    ("environment key", "added", "FRESH_KEY"),
    ("setting", "added", "FRESH"),
]


def test_what_differs_is_named_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = make_pair(tmp_path)
    document = diff(capsys, old, new)
    assert named(document) == TWELVE
    assert document["size"] == {"old": old.stat().st_size, "new": new.stat().st_size}
    where = {one["name"]: (one["old"], one["new"]) for one in document["differences"]}
    assert where["FRESH_KEY"] == ("", "read in site_one/settings.py")
    assert where["FRESH"] == ("", "assigned in site_one/settings.py")
    assert where["down"] == ("1.10", "1.9")
    assert named(diff(capsys, new, new)) == []


def test_the_way_back_is_the_opposite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = make_pair(tmp_path)
    opposite = {"added": "removed", "removed": "added", "upgraded": "downgraded", "downgraded": "upgraded"}
    back = [(kind, opposite.get(change, change), name) for kind, change, name in TWELVE]
    assert named(diff(capsys, new, old)) == back


def test_an_artifact_is_compared_with_an_installation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = make_pair(tmp_path)
    with Artifact.open(str(old)) as artifact:
        installation.install(artifact, str(tmp_path / "dest"), workers=1, sync=False)
    assert named(diff(capsys, tmp_path / "dest", old)) == []
    scripts = [one for one in TWELVE if one[0] != "entry point"]  # the wheels are not kept
    document = diff(capsys, tmp_path / "dest", new)
    assert named(document) == scripts
    assert document["size"]["old"] is None
    (tmp_path / "dest/site_one/gone.txt").write_text("2")
    (tmp_path / "dest/site_one/settings.py").unlink()
    (tmp_path / "dest/site_one/left.txt").write_text("")
    drifted = [one for one in named(diff(capsys, old, tmp_path / "dest")) if one[0] == "drift"]
    assert drifted == [
        ("drift", "changed", "site_one/gone.txt"),
        ("drift", "removed", "site_one/settings.py"),
        ("drift", "added", "site_one/left.txt"),
    ]


@pytest.mark.parametrize("kind", ["empty", "manifest", "listing"])
def test_a_folder_without_an_installation_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = make_artifact(tmp_path / "one.zip", payload=True)
    (tmp_path / "dest").mkdir()
    if kind != "empty":
        (tmp_path / "dest").rmdir()
        with Artifact.open(str(artifact)) as opened:
            installation.install(opened, str(tmp_path / "dest"), workers=1, sync=False)
        name = layout.MANIFEST if kind == "manifest" else ".deploy/payload/000.json"
        (tmp_path / "dest" / name).write_text("{}")
    assert main(["diff", str(artifact), str(tmp_path / "dest")]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "contains no complete installation" in line


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("1.9", "1.10", "upgraded"),
        ("1.0", "1.0.post1", "upgraded"),
        ("2.0rc1", "2.0", "upgraded"),
        ("1!1.0", "2.0", "downgraded"),
        ("1.0", "1.0.dev3", "downgraded"),
        ("1.0", "1.0.0", "changed"),
    ],
)
def test_versions_are_ordered_as_pip_orders_them(
    old: str, new: str, change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = [
        make_artifact(tmp_path / f"{name}.zip", wheels=[simple_wheel(tmp_path / name, version=version)])
        for name, version in (("old", old), ("new", new))
    ]
    assert named(diff(capsys, *artifacts)) == [("package", change, "alpha")]


def test_how_a_site_is_run_and_what_it_is_for_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def changed(manifest: manifests.Manifest) -> manifests.Manifest:
        target = manifest.targets[0]._replace(libc_floor="2.28")
        return manifest._replace(
            site=manifests.Site("b.settings", "b:app", "", "", "", ()),
            targets=(target,),
            directories=("site_one/media",),
        )

    old = make_artifact(tmp_path / "old.zip", manifest=site("a.settings"))
    document = diff(capsys, old, make_artifact(tmp_path / "new.zip", manifest=changed))
    (target,) = [one for one in document["differences"] if one["kind"] == "target"]
    assert (target["old"], target["new"]) == ("glibc", "glibc 2.28")
    assert [one for one in named(document) if one[0] != "target"] == [
        ("entry point", "changed", "settings-module"),
        ("entry point", "added", "wsgi"),
        ("empty folder", "added", "site_one/media"),
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("import os\nos.environ['A']; os.environ.get('B'); os.getenv('C', '')", "ABC"),
        ("import os as o\no.environ.setdefault('A', 'x'); o.environ.pop('B')", "AB"),
        ("from os import environ as e, getenv as g\ne['A']; g('B'); 'C' in e", "ABC"),
        ("import os\nget = os.environ.get\nE = os.environ\nget('A'); E['B']", "AB"),
        ("import os\nKEY = 'A'\nos.environ[KEY]\nfor name in ('B', 'C'):\n    os.getenv(name)", "ABC"),
        ("import os\n[os.environ[name] for name in ['A', 'B']]", "AB"),
        (
            "import os\ndef env(name, other=None):\n    return os.environ.get(name, other)\nenv('A'); env(name='B')",
            "AB",
        ),
        ("import os\nenv = lambda key: os.environ[key]\nenv('A')", "A"),
        ("import os\ndef one(x):\n    return two(1, x)\ndef two(_, key):\n    return os.environ[key]\none('A')", "A"),
        ("import environ\nenv = environ.Env()\nenv('A'); env.str('B'); env.read_env('.env')", "AB"),
        ("from decouple import config\nconfig('A', default=1)", "A"),
        ("from .helpers import text\ntext('A')", "A"),
        ("from . import helpers\nhelpers.text('A', 'B')", "A"),
        ("import helpers as h\nh.text('A')\nh.env('B'); h.env.bool('C')", "ABC"),
        ("from again import text\ntext('A')", "A"),
        ("import os\nos.environ['A'] = 'set'\ndel os.environ['B']", ""),
        ("import other\nother.environ['A']; getenv('B')", ""),
        ("# os.environ['A']\nTEXT = \"os.environ['B']\"", ""),
    ],
)
def test_keys_that_the_sources_newly_read_are_named(
    text: str, keys: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    helpers = "import os, environ\nenv = environ.Env()\ndef text(name, default=''):\n    return os.environ.get(name)\n"
    files: Dict[str, Content] = {"__init__.py": "", "helpers.py": helpers, "again.py": "from helpers import text\n"}
    old = make_artifact(tmp_path / "old.zip", {**files, "use.py": ""})
    new = make_artifact(tmp_path / "new.zip", {**files, "use.py": text})
    found = [one[2] for one in named(diff(capsys, old, new)) if one[0] == "environment key"]
    assert found == list(keys)


def test_a_key_that_another_file_reads_already_is_not_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files: Dict[str, Content] = {"__init__.py": "", "a.py": "import os\nos.environ['KEY']\n", "b.py": ""}
    old = make_artifact(tmp_path / "old.zip", dict(files))
    new = make_artifact(tmp_path / "new.zip", {**files, "b.py": "import os\nos.environ['KEY']; os.environ['NEW']\n"})
    assert named(diff(capsys, old, new))[1:] == [("environment key", "added", "NEW")]


def test_settings_are_those_of_settings_modules_and_those_that_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old_files: Dict[str, Content] = {"__init__.py": "", "conf.py": "from base import *\n", "base.py": "OLD = 1\n"}
    new_files: Dict[str, Content] = {
        "__init__.py": "",
        "conf.py": "from base import *\nif True:\n    NEW, (OTHER, lower) = 1, (2, 3)\n",
        "base.py": "def f():\n    LOCAL = 1\nclass Configuration:\n    INNER: int = 3\n",
        "view.py": "from django.conf import settings as s\nprint(s.READ, getattr(s, 'ASKED', 0), s.lower)\nNOT = 1\n",
    }
    old = make_artifact(tmp_path / "old.zip", old_files, manifest=site("conf"))
    new = make_artifact(tmp_path / "new.zip", new_files, manifest=site("conf"))
    found = {one["name"]: one for one in diff(capsys, old, new)["differences"] if one["kind"] == "setting"}
    assert {name: one["change"] for name, one in found.items()} == {
        "ASKED": "added",
        "INNER": "added",
        "NEW": "added",
        "OLD": "removed",
        "OTHER": "added",
        "READ": "added",
    }
    assert found["READ"]["new"] == "read in site_one/view.py"


NO_PYTHON: Dict[str, Content] = {
    "syntax": "def (",
    "nul": "\0",
    "brackets": "(" * 5000,
    "signs": "-" * 100_000 + "1",
    "bytes": b"\xff\xfe",
    "attributes": "x" + ".a" * 50_000,
}


@pytest.mark.parametrize("kind", NO_PYTHON)
def test_a_source_that_is_no_python_ends_nothing(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = make_artifact(tmp_path / "old.zip")
    new = make_artifact(tmp_path / "new.zip", {"__init__.py": "", "bad.py": NO_PYTHON[kind]}, bytecode=False)
    assert main(["diff", str(old), str(new)]) == 0
    output = capsys.readouterr()
    assert "site_one/bad.py" in output.out
    if kind != "attributes":  # which newer parsers take
        assert "site_one/bad.py cannot be parsed" in output.err


def declaring(path: Path, table: Dict[str, Any]) -> Path:
    text = declared(table).to_json("site_one")
    return make_artifact(path, {"__init__.py": ""}, extra={layout.ENVIRONMENT_SCHEMA: text}, bytecode=False)


def test_declared_variables_are_compared_and_no_description_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table: Dict[str, Any] = {"GONE": {}, "SAME": {"secret": True}, "WORKERS": {"type": "integer", "minimum": 1}}
    old = declaring(tmp_path / "old.zip", table)
    table = {**table, "WORKERS": {"type": "integer", "minimum": 1, "maximum": 64}, "NEW": {"choices": ["a"]}}
    del table["GONE"]
    table["SAME"] = {"secret": True, "description": "Other words."}
    new = declaring(tmp_path / "new.zip", table)

    found = [one for one in diff(capsys, old, new)["differences"] if one["kind"] == "declared variable"]
    assert [(one["change"], one["name"], one["old"], one["new"]) for one in found] == [
        ("removed", "GONE", "string; required", ""),
        ("added", "NEW", "", "string; required; one of a"),
        ("changed", "WORKERS", "integer; required; at least 1", "integer; required; from 1 to 64"),
    ]
    assert main(["inspect", str(new)]) == 0
    assert "from 1 to 64" in capsys.readouterr().out


def test_an_artifact_that_declares_nothing_lacks_every_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = make_artifact(tmp_path / "old.zip", {"__init__.py": ""}, bytecode=False)
    new = declaring(tmp_path / "new.zip", {"KEY": {}})
    assert named(diff(capsys, old, new)) == [("declared variable", "added", "KEY")]
    assert named(diff(capsys, new, old)) == [("declared variable", "removed", "KEY")]
    with Artifact.open(str(new)) as opened:
        installation.install(opened, str(tmp_path / "dest"), workers=1, sync=False)
    assert named(diff(capsys, tmp_path / "dest", new)) == []
