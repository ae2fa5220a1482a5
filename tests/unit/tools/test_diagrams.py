"""The diagrams of docs/architecture.md are those of the code."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree
from pathlib import Path
from typing import Dict

import pytest

from tests.support.documentation import ROOT
from tools import diagrams


@pytest.fixture(scope="module")
def drawn() -> Dict[str, str]:
    """Return the diagrams of the package."""
    return diagrams.diagrams(diagrams.PACKAGE)


def test_the_diagrams_are_up_to_date(drawn: Dict[str, str]) -> None:
    for name, text in drawn.items():
        path = diagrams.FOLDER / name
        assert path.read_text(encoding="utf-8") == text, f"{name} is out of date. Run: python -m tools.diagrams"
        assert f"images/{name}" in (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_they_need_no_other_host_and_no_script(drawn: Dict[str, str]) -> None:
    for name, text in drawn.items():
        root = xml.etree.ElementTree.fromstring(text)
        assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
            "svg", "title", "style", "defs", "marker", "path", "rect", "text",
        }, name  # fmt: skip
        assert text.count("http") == 1, "only the name space"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(str(diagrams.PACKAGE), str(tmp_path / "deployable_zipfile")))


@pytest.mark.deep
def test_an_import_the_wrong_way_round_is_refused(package: Path) -> None:
    with (package / "artifact" / "layout.py").open("a") as file:
        file.write("\nfrom ..deploy import rollout\n")
    assert ("artifact/", "deploy/") in diagrams.imports(package)
    with pytest.raises(ValueError, match="imports in a circle"):
        diagrams.modules_diagram(package)


@pytest.mark.deep
def test_a_new_module_and_a_new_step_change_them(package: Path, drawn: Dict[str, str]) -> None:
    (package / "deploy" / "fresh.py").write_text('"""A module."""\n')
    path = package / "deploy" / "steps.py"
    path.write_text(path.read_text().replace('("labels", ', '("polish", lambda: ""),\n        ("labels", '))
    after = diagrams.diagrams(package)
    assert "fresh" in after["modules.svg"]
    assert ">polish<" in after["data.svg"]
    assert ">polish<" not in drawn["data.svg"]


def test_a_story_that_is_told_elsewhere_is_named(package: Path) -> None:
    path = package / "deploy" / "steps.py"
    path.write_text(path.read_text().replace("def preparation(", "def told("))
    with pytest.raises(ValueError, match=r"steps\.py has no function preparation"):
        diagrams.data_diagram(package)


def test_check_says_what_is_out_of_date(
    tmp_path: Path, drawn: Dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(diagrams, "FOLDER", tmp_path)
    monkeypatch.setattr(diagrams, "diagrams", lambda package: drawn if package == diagrams.PACKAGE else {})
    assert diagrams.main(["--check"]) == 1
    assert "docs/images/data.svg is out of date. Run: python -m tools.diagrams" in capsys.readouterr().out
    assert diagrams.main([]) == 0
    assert diagrams.main(["--check"]) == 0
