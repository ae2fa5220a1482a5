"""The pages about command lines say what the parsers say."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployable_zipfile import extract
from tools import reference


def test_the_pages_are_up_to_date() -> None:
    assert reference.outdated(reference.FOLDER) == [], "run: PYTHONPATH=cfgov python -m tools.reference"


def test_every_verb_of_an_artifact_has_a_section() -> None:
    page = reference.pages()["artifact.md"]

    for verb in extract.VERBS:
        assert f"\n## artifact.zip {verb}\n" in page


@pytest.mark.parametrize(
    ("page", "argument"),
    [
        ("build.md", "| `--require-clean` |"),
        ("artifact.md", "| `-d DEST`, `--destination DEST` (required) |"),
        ("artifact.md", "| `--root DIR` (required) |"),
    ],
)
def test_arguments_are_spelled_as_they_are_typed(page: str, argument: str) -> None:
    assert argument in reference.pages()[page]


def test_a_changed_a_missing_and_a_surplus_page_are_out_of_date(tmp_path: Path) -> None:
    text = reference.pages()["build.md"]
    (tmp_path / "build.md").write_text(text.replace("--quiet", "--silent"), encoding="utf-8")
    (tmp_path / "gone.md").write_text("# Gone\n", encoding="utf-8")

    assert reference.outdated(tmp_path) == ["artifact.md", "build.md", "gone.md"]
