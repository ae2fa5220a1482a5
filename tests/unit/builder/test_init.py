"""What init finds in a project and what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import pytest
import yaml

from deployable_zipfile import __main__ as command_line
from deployable_zipfile.builder import init, settings
from tests.support.depth import sampled
from tests.support.helpers import write_tree
from tests.unit.builder.conftest import commit_all
from tests.unit.builder.test_project import django


def project(tmp_path: Path, folder: str = "online-judge", **more: Any) -> Path:
    made = write_tree(tmp_path / folder, {**django("judge"), "requirements.txt": "django==4.2\n", **more})
    commit_all(made)
    return made


def run(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert command_line.main(["init", *map(str, words)]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_the_section_is_written_once_and_create_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = project(tmp_path)
    path = made / "pyproject.toml"
    assert run(capsys, made) == f"Wrote {path}\nNext: read it, commit it, and run deployable-zipfile create\n"
    assert settings.read(str(made)).values == {"name": "online_judge", "requirements": f"{made}/requirements.txt"}
    text = path.read_text()
    for line in (
        '# settings-module = "judge.settings"\n',
        '# wsgi = "judge.wsgi:application"\n',
        "# extra-requirements",
    ):
        assert line in text
    assert "not found" not in text
    assert run(capsys, made, code=7).splitlines()[-1] == (
        f"error: {path}: has the section [tool.deployable-zipfile] already. Edit it; init --print shows a new one."
    )
    assert path.read_text() == text


def test_every_line_of_it_is_a_setting_when_its_mark_is_taken_off(tmp_path: Path) -> None:
    text = init.section(init.look(str(project(tmp_path))))
    lines = [line[2:] if line.startswith("# ") and " = " in line else line for line in text.splitlines()]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "pyproject.toml").write_text("\n".join(lines))
    found = settings.read(str(tmp_path / "x")).values
    assert {"settings-module", "wsgi", "asgi", "manage", "skip-steps", "include", "require-clean", "shebang"} < set(
        found
    )


@pytest.mark.parametrize(
    "before", sampled(["[project]\nname = 'x'\n", "[project]\nname = 'x'", "[project]\r\nname = 'x'\r\n"], 1)
)
def test_what_the_file_held_before_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str) -> None:
    made = project(tmp_path)
    (made / "pyproject.toml").write_bytes(before.encode())
    run(capsys, made)
    text = (made / "pyproject.toml").read_bytes().decode()
    assert text.startswith(before)
    assert ("\r\n" in before) == (text.count("\r\n") == text.count("\n"))
    assert settings.read(str(made)).values["name"] == "online_judge"


@pytest.mark.parametrize("words", sampled([[], ["--workflow"], ["--json"]], 2))
def test_print_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Any) -> None:
    made = project(tmp_path)
    said = run(capsys, made, "--print", *words)
    text = json.loads(said)["files"]["pyproject.toml"] if "--json" in words else said
    assert text.startswith("[tool.deployable-zipfile]\n")
    assert ("uses: cfpb/deployable-zipfile/.github/workflows/package.yml@v" in said) == ("--workflow" in words)
    assert not (made / "pyproject.toml").exists()
    assert not (made / ".github").exists()


@pytest.mark.parametrize("below", sampled(["", "backend"], ["backend"]))
def test_the_workflow_is_at_the_top_of_the_checkout_and_names_the_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    top = tmp_path / "repo"
    made = write_tree(top / below, {**django("judge"), "requirements.txt": "django==4.2\n"})
    commit_all(top)
    run(capsys, made, "--workflow")
    document = yaml.safe_load((top / ".github" / "workflows" / "artifact.yml").read_text())
    (job,) = document["jobs"].values()
    requirements = f"{below}/requirements.txt" if below else "requirements.txt"
    assert (job["with"]["project"], job["with"]["requirements"]) == (below or ".", requirements)
    package = Path(__file__).parents[3] / ".github" / "workflows" / "package.yml"
    called = yaml.safe_load(package.read_text())
    inputs = called.get("on", called.get(True))["workflow_call"]["inputs"]
    assert set(job["with"]) <= set(inputs)
    assert {name for name, one in inputs.items() if one.get("required")} <= set(job["with"])
    (made / "pyproject.toml").unlink()
    assert "artifact.yml: exists already" in run(capsys, made, "--workflow", code=7)
    assert not (made / "pyproject.toml").exists()


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["requirements.txt", "requirements/production.txt"], "requirements/production.txt"),
        (["requirements.txt", "requirements-prod.txt"], "requirements-prod.txt"),
        (["requirements.txt", "uv.lock"], "uv.lock"),
        (["pylock.toml", "poetry.lock"], "pylock.toml"),
        (["requirements/base.txt"], "requirements/base.txt"),
        ([], ""),
    ],
)
def test_the_requirements_are_those_of_production(tmp_path: Path, files: Any, name: str) -> None:
    made = write_tree(tmp_path / "shop", {**django("shop"), **dict.fromkeys(files, "gunicorn==22.0\n")})
    found = init.look(str(made))
    assert (found.requirements, found.server) == (name, bool(files))
    text = init.section(found)
    assert ("not found: lock with" in text) == (not name)
    assert "extra-requirements" not in text


def test_a_folder_that_is_missing_or_holds_nothing_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, tmp_path / "lost", code=7).startswith(f"error: {tmp_path}/lost: directory not found. Give")
    (tmp_path / "empty").mkdir()
    assert "empty: contains no file to pack. Correct that first" in run(capsys, tmp_path / "empty", code=7)
    assert run(capsys, "--frob", code=2).startswith("error: the command line: unrecognized arguments: --frob. Run: ")


def test_the_variables_that_the_project_reads_are_proposed_and_nothing_is_run(tmp_path: Path, capsys: Any) -> None:
    code = (
        "import os\n"
        "raise SystemExit('this was run')\n"
        "KEY = os.environ['SHOP_SECRET']\n"
        "URL = os.environ.get('SHOP_URL', '')\n"
        "PORT = os.getenv('SHOP_PORT')\n"
        "HOME = os.environ['HOME']\n"
    )
    made = project(tmp_path, **{"judge/more.py": code})
    text = run(capsys, made, "--print")
    assert "\n# [tool.deployable-zipfile.environment]\n" in text
    lines = text.splitlines()
    assert '# SHOP_PORT = { type = "integer" }' in lines
    assert '# SHOP_SECRET = { type = "string", secret = true }' in lines
    assert '# SHOP_URL = { type = "url" }' in lines
    assert not [line for line in lines if line.startswith("# HOME")]
    run(capsys, made)
    path = made / "pyproject.toml"
    marked = "\n".join(
        line[2:] if line.startswith(("# [", "# SHOP")) else line for line in path.read_text().splitlines()
    )
    path.write_text(marked + "\n")
    contract = settings.environment(str(path))
    assert contract is not None
    assert sorted(contract.variables) == ["SHOP_PORT", "SHOP_SECRET", "SHOP_URL"]


def test_a_project_that_reads_nothing_gets_no_proposal(tmp_path: Path, capsys: Any) -> None:
    assert "environment" not in run(capsys, project(tmp_path), "--print").replace("deployable-zipfile.environment", "x")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["uv.lock"], "../../uv.lock"),
        (["uv.lock", "apps/requirements.txt"], "../requirements.txt"),
        (["uv.lock", "apps/shop/requirements/prod.txt"], "requirements/prod.txt"),
        (["../requirements.txt"], ""),
    ],
)
def test_in_a_folder_of_a_repository_the_lock_may_be_above_it(tmp_path: Path, files: List[str], found: str) -> None:
    top = write_tree(tmp_path / "top", {**{f"apps/shop/{name}": text for name, text in django("shop").items()}})
    write_tree(top, dict.fromkeys(files, ""))
    commit_all(top)
    made = init.look(str(top / "apps" / "shop"))
    assert made.requirements == found
    if found:
        assert f'requirements: "{Path(os.path.normpath(f"apps/shop/{found}")).as_posix()}"' in init.workflow(made)


@pytest.mark.parametrize(("lock", "made"), [("pdm.lock", "pylock.toml"), ("Pipfile.lock", "requirements.txt")])
def test_a_lock_that_must_be_exported_first_is_named_with_the_command(tmp_path: Path, lock: str, made: str) -> None:
    found = init.look(str(write_tree(tmp_path / "shop", {**django("shop"), lock: "{}", "Pipfile": "", "setup.py": ""})))
    text = init.section(found)
    assert f"# Not found. {lock} is a lock of " in text
    assert f'# requirements = "{made}"' in text


@pytest.mark.parametrize("words", [["init", "--print"], ["init", "--print", "--json"], ["environment", "--schema"]])
def test_a_reader_that_has_closed_the_pipe_is_no_error(tmp_path: Path, words: List[str]) -> None:
    made = project(tmp_path)
    section = '[tool.deployable-zipfile]\nname = "x"\n[tool.deployable-zipfile.environment]\nKEY = {}\n'
    if words[0] == "environment":
        (made / "pyproject.toml").write_text(section)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "deployable_zipfile", *words, str(made)],
            env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(command_line.__file__))},
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert "error:" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
