"""What the documentation names exists, and its commands can be typed as written."""

from __future__ import annotations

import re
import shlex
from typing import Iterator, List, Tuple

import pytest

from deployable_zipfile import extract
from tests.support.documentation import NEEDS, ROOT, Block, blocks, documents

DOCUMENTED = [
    "docker build docker/centos7 --target=cfgov-artifact-builder -t ghcr.io/cfpb/cfgov-artifact-builder:latest",
    "docker build docker/centos7 --target=cfgov-artifact-tester -t ghcr.io/cfpb/cfgov-artifact-tester:latest",
    "docker run -v $(pwd):/cfgov ghcr.io/cfpb/cfgov-artifact-builder:latest",
    "docker run -it -v $(pwd):/cfgov:ro -p 8000:80 --env-file docker/centos7/test.env cfgov-artifact-tester:latest",
]


def command_blocks() -> List[Block]:
    return [block for document in documents() for block in blocks(document) if block.language == "console"]


def calls(program: str) -> Iterator[Tuple[str, List[str]]]:
    """Yield place and words of each documented call of *program*, without what a shell would add."""
    for block in command_blocks():
        for command in block.commands:
            for part in re.split(r"&&|\|\||;|\|", command):
                words = shlex.split(part, comments=True)
                if words and words[0] == program:
                    yield block.place, words[1:]


def nox_calls() -> Iterator[Tuple[str, List[str]]]:
    yield from calls("nox")
    yield from calls("tools/nox")


@pytest.mark.parametrize("document", documents())
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")

    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), f"{document} links to {target}"


@pytest.mark.parametrize("document", documents())
def test_every_block_has_a_language_and_known_needs(document: str) -> None:
    for block in blocks(document):
        assert block.language, f"{block.place}: a block without a language"
        if block.language == "console":
            assert block.needs <= NEEDS, f"{block.place}: {sorted(block.needs - NEEDS)}"


@pytest.mark.parametrize("document", documents())
def test_no_mark_of_a_merge_is_left(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"(<{7}|={7}|>{7}|\|{7})(\s|\Z)", line)] == []


@pytest.mark.parametrize("language", ["sh", "bash", "shell"])
def test_commands_have_one_language(language: str) -> None:
    assert [b.place for name in documents() for b in blocks(name) if b.language == language] == []


def test_every_session_that_a_command_names_exists() -> None:
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    sessions = set(re.findall(r"^@nox\.session.*\ndef (\w+)\(", noxfile, re.MULTILINE))
    named = [(place, words[words.index("-s") + 1]) for place, words in nox_calls() if "-s" in words]

    assert len(named) > 5
    assert [(place, session) for place, session in named if session.split("-3.")[0] not in sessions] == []


@pytest.mark.parametrize("command", DOCUMENTED)
def test_the_documented_docker_commands_are_written_word_for_word(command: str) -> None:
    written = {command for block in blocks("docs/release.md") for command in block.commands}

    assert command in written


def test_commands_that_need_an_engine_or_the_network_say_so() -> None:
    for block in command_blocks():
        for command in block.commands:
            if command.startswith("docker "):
                assert block.needs & {"engine", "network"}, f"{block.place}: {command}"
            if re.match(r"(gh|git push|docker (pull|login)) ", command):
                assert "network" in block.needs, f"{block.place}: {command}"


def test_every_verb_of_an_artifact_that_a_command_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    named = [*calls("./cfgov_current_build.zip"), *calls("./artifact.zip")]
    python = [(place, [word for word in words if word != "-I"]) for place, words in calls("python3")]
    named += [(place, words[1:]) for place, words in python if words and words[0].endswith(".zip")]

    assert named
    for place, words in named:
        if words and not words[0].startswith("-"):
            with pytest.raises(SystemExit) as stopped:
                extract.main([words[0], "--help"])
            assert stopped.value.code == 0, place
            assert f" {words[0]} " in capsys.readouterr().out.splitlines()[0], place


def test_the_readme_names_one_command_to_build_and_one_to_test() -> None:
    first = next(block for block in blocks("README.md") if any("nox" in command for command in block.commands))

    assert first.commands == ("nox -s build", "nox")
    assert not first.needs


def test_every_tag_of_nox_that_a_text_names_exists() -> None:
    known = set(re.findall(r'tags=\["(\w+)"\]', (ROOT / "noxfile.py").read_text("utf-8")))
    texts = [*documents(), ".github/pull_request_template.md"]
    named = {(name, tag) for name in texts for tag in re.findall(r"nox -t (\w+)", (ROOT / name).read_text("utf-8"))}
    assert named, "no text names a tag"
    assert [name for name in named if name[1] not in known] == []


def test_no_page_of_the_site_requests_another_host() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "\nrepo_url:" not in configuration, "Material requests the repository's figures from api.github.com"
    assert "  font: false" in configuration, "Material loads fonts from Google"
    assert not re.search(r"(?m)^extra_(javascript|css):.*https?:", configuration)
