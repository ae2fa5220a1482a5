from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.builder import exporters, inputs
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import SECRET, write_tree

A = "a" * 64
SAYS = f"""#!{sys.executable}
import os, sys
open(os.environ["SEEN"], "w").write(repr((os.getcwd(), sys.argv[1:])))
sys.stdout.write(open(os.environ["SAYS"]).read())
sys.stderr.write(os.environ.get("WARNS", ""))
raise SystemExit(int(os.environ.get("ENDS", "0")))
"""
PYLOCK = f"""lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "foo"
version = "1.2"
index = "https://index.example.org/simple"
wheels = [{{ url = "https://example.org/foo-1.2-py3-none-any.whl", hashes = {{ sha256 = "{A}" }} }}]
[[packages]]
name = "tree"
directory = {{ path = "libs/tree" }}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with both locks, where the tools only write down what they are asked."""
    write_tree(
        tmp_path,
        {
            "bin/uv": (SAYS, 0o755),
            "bin/poetry": (SAYS, 0o755),
            "p/uv.lock": "",
            "p/poetry.lock": "",
            "p/libs/tree/setup.py": "",
        },
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("SAYS", str(tmp_path / "says"))
    return tmp_path / "p"


def test_uv_exports_its_lock_with_the_named_groups_only(project: Path, tmp_path: Path) -> None:
    (tmp_path / "says").write_text(PYLOCK)
    read = inputs.read(str(project / "uv.lock"), inputs.Selection(("deploy",), ("pg", "redis")))
    assert [str(line.requirement) for line in read.lines] == ["foo==1.2", f"tree @ file://{project}/libs/tree"]
    assert read.fixed
    folder, arguments = eval((tmp_path / "seen").read_text())
    assert folder == str(project)
    assert arguments[:3] == ["export", "--frozen", "--format"]
    assert "--no-default-groups" in arguments
    assert arguments[-6:] == ["--group", "deploy", "--extra", "pg", "--extra", "redis"]


def test_poetry_exports_its_lock_with_the_named_groups_only(project: Path, tmp_path: Path) -> None:
    (tmp_path / "says").write_text(
        f'foo==1.2 ; python_version >= "3.8" \\\n    --hash=sha256:{A}\ntree @ file://{project}/libs/tree\n'
    )
    read = inputs.read(str(project / "poetry.lock"), inputs.Selection(("deploy",), ("pg",)))
    assert [line.kind for line in read.lines] == ["index", "folder"]
    assert read.fixed
    assert eval((tmp_path / "seen").read_text())[1][-4:] == ["--with", "deploy", "--extras", "pg"]


def test_another_selection_is_another_lock(project: Path, tmp_path: Path) -> None:
    (tmp_path / "says").write_text(PYLOCK)
    before = inputs.read(str(project / "uv.lock")).digest
    (tmp_path / "says").write_text(PYLOCK.replace("1.2", "1.3"))
    assert inputs.read(str(project / "uv.lock")).digest != before


def test_what_the_tool_says_is_one_line_without_a_secret(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "says").write_text("")
    monkeypatch.setenv("ENDS", "2")
    monkeypatch.setenv("WARNS", f"error: no group `x`\n  at https://u:{SECRET}@h/simple\n")
    with pytest.raises(BuildInputError) as caught:
        inputs.read(str(project / "uv.lock"))
    assert "uv.lock: uv cannot export it (error: no group `x` at https://****@h/simple). Correct" in str(caught.value)


@pytest.mark.parametrize("name", ["uv", "poetry"])
def test_a_tool_that_is_not_installed_is_named_with_the_way_around(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(BuildInputError) as caught:
        inputs.read(str(project / f"{name}.lock"))
    assert f"{name}.lock: is read by {name}, which is not installed. Install {name}, or export" in str(caught.value)


def test_a_lock_that_is_missing_is_refused_before_its_tool_is_looked_for(project: Path) -> None:
    os.unlink(project / "uv.lock")
    with pytest.raises(BuildInputError, match=r"uv\.lock: does not exist"):
        inputs.read(str(project / "uv.lock"))


def test_other_files_are_no_locks_of_a_tool() -> None:
    assert [exporters.tool(path) for path in ("a/uv.lock", "poetry.lock", "requirements.txt")] == ["uv", "poetry", ""]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("pdm.lock", "pdm export --format pylock --production -o pylock.toml"),
        ("Pipfile.lock", "pipenv requirements --hash > requirements.txt"),
        ("Pipfile", "pipenv lock, then pipenv requirements --hash"),
        ("pyproject.toml", "uv pip compile --generate-hashes pyproject.toml -o requirements.txt"),
        ("setup.py", "uv pip compile --generate-hashes setup.py -o requirements.txt"),
        ("environment.yml", "list the packages that are wheels in a requirements file"),
    ],
)
def test_a_file_of_another_tool_is_named_with_the_way_to_export_it(project: Path, name: str, command: str) -> None:
    path = project / name
    path.write_text("[project]\nname = 'x'\n")
    with pytest.raises(BuildInputError) as caught:
        inputs.read(str(path))
    assert f"{name}: is a" in str(caught.value)
    assert f"which is not read. Export it: {command}" in str(caught.value)


def test_a_group_means_nothing_in_a_requirements_file(project: Path) -> None:
    path = write_tree(project, {"r.txt": "foo==1\n"}) / "r.txt"
    for selection, option in ((inputs.Selection(("dev",)), "--group"), (inputs.Selection((), ("pg",)), "--extra")):
        with pytest.raises(BuildInputError, match=f"is a requirements file, so {option} "):
            inputs.read(str(path), selection)


def test_constraints_and_hashes_that_the_environment_asks_for_hold(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_tree(project, {"r.txt": "foo==1\n", "c.txt": ""}) / "r.txt")
    monkeypatch.chdir(project)
    for value in (str(project / "c.txt"), "c.txt", f"file://{project}/c.txt"):
        monkeypatch.setenv("PIP_CONSTRAINT", f"https://example.org/c.txt {value}")
        assert inputs.read(path).constraints == ("https://example.org/c.txt", str(project / "c.txt"))
    first = inputs.read(path).digest
    write_tree(project, {"c.txt": "foo<2"})
    assert inputs.read(path).digest != first
    for value in ("true", "maybe"):
        monkeypatch.setenv("PIP_REQUIRE_HASHES", value)
        with pytest.raises(BuildInputError, match=r"has no hashes, which are required \(PIP_REQUIRE_HASHES\)"):
            inputs.read(path)


def test_constraints_and_hashes_that_a_configuration_file_asks_for_hold(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    settings = "[global]\nconstraint = c.txt\n  d.txt\n[download]\nrequire-hashes = yes\n"
    write_tree(project, {"r.txt": "foo==1\n", "c.txt": "", "pip.conf": settings})
    monkeypatch.setenv("PIP_CONFIG_FILE", "pip.conf")
    with pytest.raises(BuildInputError, match=r"constraint of pip's settings: names d.txt, which cannot be read"):
        inputs.read("r.txt")
    write_tree(project, {"d.txt": "bar==1\n"})
    with pytest.raises(BuildInputError, match=r"has no hashes, which are required \(require-hashes in pip.conf\)"):
        inputs.read("r.txt")
    monkeypatch.setenv("PIP_REQUIRE_HASHES", "no")
    assert inputs.read("r.txt").constraints == (str(project / "c.txt"), str(project / "d.txt"))


def of_member(name: str) -> str:
    return f'[project]\nname = "{name}"\nversion = "1"\n'


@pytest.mark.parametrize(
    ("packed", "asked"),
    [
        ("site", ["--package", "web-site"]),
        ("site/web", ["--package", "web-site"]),
        ("apps/shop", ["--package", "shop"]),
        ("", []),
        ("apps", []),
        ("docs", []),
        ("outsider", []),
        ("broken", []),
        ("../elsewhere", []),
    ],
)
def test_of_a_workspace_the_member_that_is_packed_is_exported(
    project: Path, tmp_path: Path, packed: str, asked: List[str]
) -> None:
    write_tree(
        project,
        {
            "uv.lock": 'version = 1\n[manifest]\nmembers = ["shop", "web-site"]\n[[package]]\nname = "shop"\nwrong\n',
            "pyproject.toml": of_member("root"),
            "site/pyproject.toml": of_member("Web_Site"),
            "site/web/wsgi.py": "",
            "apps/shop/pyproject.toml": of_member("shop"),
            "docs/pyproject.toml": "[tool.black]\n",
            "outsider/pyproject.toml": of_member("outsider"),
            "broken/pyproject.toml": "[project\n",
            "../elsewhere/pyproject.toml": of_member("shop"),
        },
    )
    (tmp_path / "says").write_text(PYLOCK)
    inputs.read(str(project / "uv.lock"), inputs.Selection(project=str(project / packed)))
    _, arguments = eval((tmp_path / "seen").read_text())
    assert arguments[arguments.index("--quiet") + 1 :] == asked
