"""What the workflows tell GitHub through ``gh``, against a ``gh`` that records what it is given."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tools import github, report_failure, summary

RECORDER = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    body = sys.stdin.read() if "--input" in sys.argv else ""
    file.write(json.dumps([sys.argv[1:], body, os.environ.get("GH_REPO")]) + "\\n")
answers = json.load(open(os.environ["ANSWERS"]))
for words, answer in answers.items():
    if words in " ".join(sys.argv[1:]):
        if answer.startswith("error "):
            sys.exit(answer[6:])
        print(answer)
"""


class Recorder:
    """A ``gh`` on PATH: its answers by words of the call, and the calls that it got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer({})

    def answer(self, answers: Dict[str, str]) -> None:
        (self.folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")

    def calls(self) -> List[Any]:
        return [json.loads(line) for line in (self.folder / "calls").read_text("utf-8").splitlines()]


@pytest.fixture(name="gh")
def _gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    program = tmp_path / "bin/gh"
    program.parent.mkdir()
    program.write_text(RECORDER.format(python=sys.executable).replace("\\\\n", "\\n"), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("ANSWERS", str(tmp_path / "answers.json"))
    monkeypatch.setenv("GITHUB_REPOSITORY", "cfpb/deployable-zipfile")
    monkeypatch.delenv("GH_REPO", raising=False)
    return Recorder(tmp_path)


def test_the_repository_is_that_of_the_runner(gh: Recorder) -> None:
    gh.answer({"release view": "{}"})

    assert github.gh("release", "view", "v1.0.0") == "{}\n"
    assert gh.calls() == [[["release", "view", "v1.0.0"], "", "cfpb/deployable-zipfile"]]


@pytest.mark.parametrize("text", ["HTTP 502: Bad Gateway", "release not found", "none of the git remotes"])
def test_a_refusal_is_one_line_with_the_reason(text: str, gh: Recorder) -> None:
    gh.answer({"release": f"error {text}\nand more"})

    with pytest.raises(github.GitHubError, match=rf"\Agh release view: {text}\. ") as caught:
        github.gh("release", "view", "v1.0.0")
    assert "\n" not in str(caught.value)


def test_a_machine_without_gh_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(github.GitHubError, match="command not found"):
        github.gh("release", "view", "v1.0.0")


def test_a_failure_opens_an_issue(gh: Recorder) -> None:
    gh.answer({"--method POST": '{"html_url": "https://github.com/i/1"}'})

    assert report_failure.report("It failed", "Look there") == "https://github.com/i/1"
    assert json.loads(gh.calls()[-1][1]) == {"title": "It failed", "body": "Look there"}


def test_the_same_failure_again_is_a_comment_on_the_oldest_open_issue(gh: Recorder) -> None:
    known = [
        {"number": 9, "title": "It failed"},
        {"number": 4, "title": "It failed"},
        {"number": 3, "title": "It failed", "pull_request": {}},
        {"number": 2, "title": "It failed too"},
    ]
    gh.answer({"state=open": "\n".join(map(json.dumps, known)), "--method POST": '{"html_url": "there"}'})

    report_failure.report("It failed", "Look there")

    assert "repos/{owner}/{repo}/issues/4/comments" in gh.calls()[-1][0]


def test_a_failure_to_report_is_a_failure(gh: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    gh.answer({"api": "error HTTP 403"})

    assert report_failure.main(["It failed"], {}) == 1
    assert capsys.readouterr().err.startswith("error: gh api")


@pytest.mark.parametrize("author", ["Bot", "User"])
def test_a_pull_request_has_one_comment_of_the_tool(author: str, gh: Recorder) -> None:
    comment = {"id": 7, "body": f"{summary.MARK}\nold", "user": {"type": author}}
    gh.answer({"issues/12/comments?": json.dumps(comment)})

    summary.comment("12", f"{summary.MARK}\nnew")

    words, body, _ = gh.calls()[-1]
    assert json.loads(body) == {"body": f"{summary.MARK}\nnew"}
    assert ("PATCH" in words) == (author == "Bot"), "a comment of someone else is left alone"
    assert words[3].endswith("issues/comments/7" if author == "Bot" else "issues/12/comments")
