"""What ``inspect`` and ``diff`` say, also of artifacts whose names are hostile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployable_zipfile.__main__ import main
from deployable_zipfile.views import commands
from tests.support.artifacts import make_artifact, simple_wheel


def test_diff_names_exactly_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = {"__init__.py": "", "gone.py": "1", "edited.py": "1"}
    old = make_artifact(
        tmp_path / "old.zip",
        same,
        [simple_wheel(tmp_path / "1"), simple_wheel(tmp_path / "1", "left")],
        static={"a.css": "1"},
    )
    new_files = {"__init__.py": "", "edited.py": "2", "fresh.py": "", "blog/migrations/0002_more.py": ""}
    wheels = [simple_wheel(tmp_path / "2", version="2.0"), simple_wheel(tmp_path / "2", "beta")]
    new = make_artifact(tmp_path / "new.zip", new_files, wheels, static={"a.css": "2"}, payload=True)
    assert main(["diff", str(old), str(new), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["differences"]
    assert [(one["kind"], one["change"], one["name"]) for one in found] == [
        ("package", "changed", "alpha"),
        ("package", "added", "beta"),
        ("package", "removed", "left"),
        ("migration", "added", "site_one/blog/migrations/0002_more.py"),
        ("project file", "changed", "site_one/edited.py"),
        ("project file", "added", "site_one/fresh.py"),
        ("project file", "removed", "site_one/gone.py"),
        ("static file", "changed", "static.in/0/a.css"),
    ]
    assert main(["diff", str(new), str(new), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []


@pytest.mark.parametrize("form", ["", "--markdown", "--json"])
@pytest.mark.parametrize("name", ["<script>alert(1)<", "a|b`c`", "[bold]@team", "www.example.com", "x" * 200])
def test_a_hostile_name_is_shown_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, form: str
) -> None:
    old = make_artifact(tmp_path / "old.zip")
    new = make_artifact(tmp_path / "new.zip", {"__init__.py": "", name: "1"})
    assert main(["diff", str(old), str(new), *filter(None, [form])]) == 0
    out = capsys.readouterr().out
    if form == "--markdown":
        assert not set("<`@[") & set(out)
        assert "www.example" not in out
        assert all(line.count("|") == 6 for line in out.splitlines())
    elif form == "--json":
        assert json.loads(out)["differences"][0]["name"] == f"site_one/{name}"
    else:
        assert name[:20] in out


def test_inspect_tells_packages_and_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_artifact(tmp_path / "one.zip", wheels=[simple_wheel(tmp_path)])
    assert main(["inspect", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["version"]) for one in document["packages"]] == [("alpha", "1.0")]
    assert document["size"] == path.stat().st_size
    assert main(["inspect", str(path)]) == 0
    assert "alpha" in capsys.readouterr().out


def test_a_damaged_artifact_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_artifact(tmp_path / "one.zip")
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["inspect", str(path)]) == 3
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "was interrupted"),
        (OSError(5, "Input/output error", "a.zip"), 3, "a.zip: the disk could not be read"),
        (MemoryError(), 1, "not enough memory"),
        (RuntimeError("x"), 1, "RuntimeError: x"),
    ],
)
def test_whatever_happens_ends_in_one_line(
    error: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(commands.Artifact, "open", fail)
    assert commands.main(["inspect", "a.zip"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line
