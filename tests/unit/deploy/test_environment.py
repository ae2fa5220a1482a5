"""What a project declares of environment.json is checked before a deployment moves anything, and by ``check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest

from deployable_zipfile import extract
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.environment import declared
from tests.support.artifacts import make_artifact
from tests.support.sites import MANAGE, PROJECT, WSGI, Host, write_environment

CANARY = "canary-of-this-test"
DECLARED: Dict[str, Any] = {
    "SECRET_KEY": {"secret": True, "pattern": "[a-z-]{8,}"},
    "WORKERS": {"type": "integer", "required": False},
    "STAGE": {"choices": ["dev", "live"], "default": "dev"},
}


def make(path: Path, schema: bytes) -> Path:
    project = {f"{PROJECT}/__init__.py": "", "manage.py": MANAGE, f"{PROJECT}/wsgi.py": WSGI, "version.txt": "1"}
    return make_artifact(path, dict(project), name=PROJECT, extra={layout.ENVIRONMENT_SCHEMA: schema})


@pytest.fixture
def strict(host: Host, tmp_path: Path) -> Host:
    """A host with an artifact "strict" that declares variables, and "damaged", whose declaration is."""
    host.artifacts = dict(
        host.artifacts,
        strict=make(tmp_path / "strict.zip", declared(DECLARED).to_json(PROJECT)),
        damaged=make(tmp_path / "damaged.zip", declared(DECLARED).to_json("another")),
    )
    return host


def test_a_good_environment_goes_live(strict: Host) -> None:
    strict.live("strict")


@pytest.mark.usefixtures("without_commands")
def test_an_artifact_without_a_declaration_takes_anything(strict: Host) -> None:
    write_environment(strict.environment, WORKERS="x")
    strict.live("one")


def test_everything_wrong_is_said_at_once_before_anything_is_written(strict: Host) -> None:
    strict.environment.write_text(json.dumps({"WORKERS": CANARY, "STAGE": CANARY, "OTHER": CANARY}))
    for words in ([], ["--dry-run"], ["--json"], ["--debug"]):
        assert strict.deploy("strict", *words) == 8
        for name in ("SECRET_KEY", "WORKERS", "STAGE"):
            assert name in strict.err + strict.out
        assert not strict.root.exists()


def test_no_environment_at_all_lacks_what_is_required(strict: Host) -> None:
    assert strict.verb("strict", "deploy", *strict.health) == 8
    assert "environment.json, SECRET_KEY: is missing" in strict.err
    assert not strict.root.exists()


@pytest.mark.usefixtures("without_commands")
def test_the_live_one_is_taken_over_and_checked_for_the_new_release(strict: Host) -> None:
    strict.given("one")
    assert strict.verb("strict", "deploy") == 0
    write_environment(strict.environment, WORKERS="many")
    before = (strict.root / ".deploy/journal.jsonl").read_bytes()
    live = strict.current()
    assert strict.deploy("strict") == 8
    assert strict.current() == live
    assert (strict.root / ".deploy/journal.jsonl").read_bytes() == before


@pytest.mark.usefixtures("without_commands")
def test_a_name_that_is_one_slip_off_gets_a_hint(strict: Host) -> None:
    write_environment(strict.environment, WORKRS="4", UNRELATED="x")
    strict.live("strict")
    assert "sets WORKRS, which the project does not declare. Did you mean WORKERS?" in strict.err
    assert "UNRELATED" not in strict.err


def test_a_damaged_declaration_is_an_error_of_the_artifact(strict: Host) -> None:
    assert strict.deploy("damaged") == 3
    assert layout.ENVIRONMENT_SCHEMA in strict.err
    assert not strict.root.exists()
    assert extract.main(["verify"], str(strict.artifacts["damaged"])) == 3


class TestCheck:
    def check(self, host: Host, capsys: Any, *words: str, archive: str = "strict") -> Any:
        code = extract.main(["check", *words], str(host.artifacts[archive]))
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        return code, said

    def test_every_problem_of_the_file_is_one_of_the_list(self, strict: Host, capsys: Any) -> None:
        strict.environment.write_text(json.dumps({"WORKERS": CANARY, "STAGE": CANARY}))
        code, said = self.check(strict, capsys, "--env-file", str(strict.environment), "--json")
        document = json.loads(said.out)
        assert code == document["exit_code"] == 8
        assert [one["what"] for one in document["problems"]] == [
            f"environment.json, {name}" for name in ("SECRET_KEY", "STAGE", "WORKERS")
        ]

    def test_a_good_file_is_none(self, strict: Host, capsys: Any) -> None:
        assert self.check(strict, capsys, "--env-file", str(strict.environment))[0] == 0

    @pytest.mark.parametrize(
        "text", ["", "{", '{"A": 5}', '{"SECRET_KEY": ["canary-of-this-test"]}', '{"A": "1", "A": "2"}']
    )
    @pytest.mark.parametrize("archive", ["strict", "one"])
    def test_a_file_that_cannot_be_loaded_is_one(self, strict: Host, capsys: Any, text: str, archive: str) -> None:
        strict.environment.write_text(text)
        assert self.check(strict, capsys, "--env-file", str(strict.environment), archive=archive)[0] == 8

    def test_a_missing_file_is_one(self, strict: Host, capsys: Any, tmp_path: Path) -> None:
        assert self.check(strict, capsys, "--env-file", str(tmp_path / "none.json"))[0] == 8

    def test_what_is_in_the_destination_is_a_warning(self, strict: Host, capsys: Any, tmp_path: Path) -> None:
        assert extract.main(["-d", str(tmp_path / "d"), "--workers", "1"], str(strict.artifacts["strict"])) == 0
        (tmp_path / "d/environment.json").write_text(json.dumps({"STAGE": CANARY}))
        capsys.readouterr()
        code, said = self.check(strict, capsys, "-d", str(tmp_path / "d"))
        assert code == 5  # as without that file: something is installed there
        assert said.err.count("warning: environment.json, ") == 2
        words = ["-d", str(tmp_path / "d"), "--force", "--workers", "1"]
        assert extract.main(words, str(strict.artifacts["strict"])) == 0
        said = capsys.readouterr()
        assert "environment.json, SECRET_KEY: is missing" in said.err
        assert CANARY not in said.err


@pytest.mark.parametrize("form", ["json", "env"])
def test_the_example_is_printed(strict: Host, capsys: Any, form: str) -> None:
    assert extract.main(["info", "--environment-example", form], str(strict.artifacts["strict"])) == 0
    said = capsys.readouterr().out
    assert "CHANGE-ME" in said
    if form == "json":
        assert json.loads(said) == {"SECRET_KEY": "CHANGE-ME"}
    assert extract.main(["info", "--environment-example", form, "--json"], str(strict.artifacts["strict"])) == 0
    assert json.loads(capsys.readouterr().out)["environment_example"].rstrip("\n") == said.rstrip("\n")


def test_there_is_no_example_of_nothing(strict: Host, capsys: Any) -> None:
    assert extract.main(["info", "--environment-example", "env"], str(strict.artifacts["one"])) == 3
    assert "declares no variables" in capsys.readouterr().err


def test_the_journal_holds_no_value(strict: Host) -> None:
    write_environment(strict.environment, WORKERS="4")
    strict.live("strict")
    strict.environment.write_text(json.dumps({"SECRET_KEY": CANARY.upper()}))
    assert strict.deploy("strict") == 8
    assert CANARY.upper() not in (strict.root / ".deploy/journal.jsonl").read_text() + strict.err + strict.log()


def test_no_value_is_on_a_command_line_or_in_a_file_but_the_environments(strict: Host, tmp_path: Path) -> None:
    """MANAGE of these sites writes down the words that it was started with."""
    canary = "canary-of-this-test-alone"
    write_environment(strict.environment, SECRET_KEY=canary, RAN=str(tmp_path / "ran"))
    strict.live("one", "--manage", "createcachetable")
    strict.live("strict")
    write_environment(strict.environment, SECRET_KEY=canary, RAN=str(tmp_path / "ran"), FAIL_AT="migrate")
    assert strict.deploy("two") == 8
    assert strict.verb("two", "rollback") == 0
    ran = (tmp_path / "ran").read_text()
    assert "migrate" in ran
    assert canary not in ran
    holding = [path for path in strict.root.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]
    assert holding
    assert {path.name for path in holding} == {"environment.json"}
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o640}
