"""The verbs of a deployed site on the command line: what the documentation shows can be typed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Dict, List

import pytest

from deployable_zipfile import __main__, extract
from deployable_zipfile.deploy.options import Options, Settings
from deployable_zipfile.errors import UsageError
from tests.support.documentation import blocks
from tests.support.sites import Host

VERBS = ("deploy", "rollback", "releases", "prune", "selftest", "check")


def documented() -> List[List[str]]:
    """Return the words behind the artifact in each command of the guide that calls a verb."""
    found = []
    for block in blocks("docs/deploy.md"):
        for command in block.commands if block.language == "console" else ():
            words = shlex.split(command)
            verbs = [number for number, word in enumerate(words) if word in VERBS]
            if verbs and any(word.endswith((".zip", "/.deploy/tool")) for word in words[: verbs[0]]):
                found.append(words[verbs[0] :])
    return found


def test_the_guide_shows_every_verb() -> None:
    assert {words[0] for words in documented()} == set(VERBS)


@pytest.mark.parametrize("words", documented(), ids=" ".join)
def test_every_command_of_the_guide_can_be_typed(words: List[str], tmp_path: Path) -> None:
    arguments, _ = extract._parsed(words, str(tmp_path))  # a folder, as the tool beside the releases
    assert arguments.verb == words[0]


@pytest.mark.parametrize(
    "words",
    [
        ["deploy", "new.zip", "--root", "r", "--base", "b"],
        ["deploy", "--root", "r", "new.zip", "--base", "b"],
        ["deploy", "--base", "b", "--root=r", "--json", "new.zip"],
    ],
    ids=" ".join,
)
def test_the_tool_takes_the_artifact_before_and_after_options(words: List[str], tmp_path: Path) -> None:
    arguments, archive = extract._parsed(words, str(tmp_path))
    assert archive == "new.zip"
    assert (str(arguments.root), arguments.base) == ("r", ["b"])


@pytest.mark.parametrize("words", [["verify", "--json"], ["info", "--signature", "s"], ["deploy", "--root", "r"]])
def test_the_tool_without_an_artifact_is_what_it_looks_at(words: List[str], tmp_path: Path) -> None:
    assert extract._parsed(words, str(tmp_path))[1] == str(tmp_path)


def test_every_setting_has_an_option() -> None:
    arguments = vars(extract._parser("artifact.zip", "deploy").parse_args(["deploy", "--root", "x"]))
    assert set(Settings._fields) <= set(arguments)
    assert all(arguments[name] is None for name in Settings._fields)  # None: as last time


@pytest.mark.parametrize(
    ("age", "seconds"), [("30d", 2_592_000.0), ("12h", 43_200.0), ("90m", 5400.0), ("7s", 7.0), ("2", 172_800.0)]
)
def test_an_age_is_read(age: str, seconds: float) -> None:
    words = ["prune", "--root", "x", "--older-than", age]
    assert extract._parser("artifact.zip", "prune").parse_args(words).older_than == seconds


def test_settings_of_a_newer_tool_are_left_out_and_lists_come_back_whole() -> None:
    written: Dict[str, object] = dict(Settings(keep=3, shared=("a=b",)).document(), of_the_future=1)
    assert Settings.remembered(written) == Settings(keep=3, shared=("a=b",))
    assert Options().settings == Settings()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["deploy", "--root", ""], "argument --root: must not be empty. Run: tool.zip deploy --help."),
        (["prune", "--root", "r", "--keep", "0"], "argument --keep: '0' must be an integer from 1 to 1000000"),
        (["prune", "--root", "r", "--keep", "many"], "argument --keep: 'many' must be an integer from 1 to 1000000"),
        (["deploy", "--root", "r", "--health-count", "²"], "argument --health-count: '²' must be an integer from 1"),
        (["deploy", "--root", "r", "--env-file", ""], "argument --env-file: must not be empty"),
        (["deploy", "--root", "r", "--store", ""], "argument --store: must not be empty"),
        (["rollback", "--root", "r", ""], "argument ID: must not be empty"),
        (["selftest", "--scratch", ""], "argument --scratch: must not be empty"),
        (["serve", "--env-file", ""], "argument --env-file: must not be empty"),
        (
            ["serve", "--port", "65536"],
            "argument --port: '65536' must be an integer from 0 to 65535. Run: tool.zip serve",
        ),
        (["serve", "--port", "1" * 5000], "argument --port: '111"),
        (["prune", "--root", "r", "--keep", "1" * 5000], "argument --keep: '111"),
        (["verify", ""], "argument DEST: must not be empty. Run: tool.zip verify --help."),
        (["verify", "--allowed-signers", ""], "argument --allowed-signers: must not be empty"),
        (["check", "-d", ""], "argument -d/--destination: must not be empty"),
        (["check", "--env-file", ""], "argument --env-file: must not be empty"),
        (["-d", "x", "--store", ""], "argument --store: must not be empty. Run: tool.zip --help."),
        (["deploy", "--root", "r", "--bogus"], "unrecognized arguments: --bogus. Run: tool.zip deploy --help."),
        (
            ["deploy", "--root", "r", "--helth-url=http://x/"],
            "unrecognized arguments: --helth-url=http://x/. Did you mean --health-url? Run: tool.zip deploy --help.",
        ),
        (["rollback", "--root", "r", "--to", "x"], "unrecognized arguments: --to. Run: tool.zip rollback --help."),
        (["prune", "--root", "r", "--older", "3d"], "unrecognized arguments: --older 3d. Run: tool.zip prune --help."),
        (["-d", "x", "--forse"], "unrecognized arguments: --forse. Did you mean --force? Run: tool.zip --help."),
    ],
)
def test_what_a_verb_does_not_take_is_said_by_that_verb(
    words: List[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as raised:
        extract._parsed(words, "tool.zip")
    assert f"error: {raised.value}".startswith(f"error: the command line: {why}")
    assert "invalid" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["before", "after", "none"])
def test_the_verbs_of_a_root_need_no_artifact(where: str, host: Host, root: Path, capsys: Any) -> None:
    first, second = host.given("one", "two")
    artifact = {"none": []}.get(where, [str(host.artifacts["one"])])
    words = ["--root", str(root)]
    words = [*artifact, *words] if where == "before" else [*words, *artifact]
    assert __main__.main(["releases", "--json", *words]) == 0
    assert {row["release"] for row in json.loads(capsys.readouterr().out)["releases"]} == {first, second}
    assert __main__.main(["prune", "--json", *words, "--dry-run", "--keep", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["pruned"] == []
    assert __main__.main(["rollback", "--json", *words, first[:8], "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["release"] == first


def test_a_verb_of_an_artifact_needs_one(capsys: Any) -> None:
    assert __main__.main(["verify", "--allowed-signers", "x"]) == 2
    assert capsys.readouterr().err.startswith("error: deployable-zipfile verify: an artifact is missing. Run: ")
