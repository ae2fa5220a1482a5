"""The verbs of a deployed site on the command line: what the documentation shows can be typed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Dict, List

import pytest

from deployable_zipfile import extract
from deployable_zipfile.deploy.options import Options, Settings
from tests.support.documentation import blocks

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
