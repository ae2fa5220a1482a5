"""Known vulnerabilities in the form of OSV: which versions a record affects, and every form that its file may have."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Dict, List

import pytest

from deployable_zipfile.__main__ import main
from deployable_zipfile.views import weaknesses
from tests.support.artifacts import make_artifact, simple_wheel

BAD = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def record(number: int = 1, *events: Dict[str, str], **changes: Any) -> Dict[str, Any]:
    part = {
        "package": {"ecosystem": "PyPI", "name": "Alpha"},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events) or [{"introduced": "0"}, {"fixed": "2.0"}]}],
    }
    return {"id": f"PYSEC-{number}", "affected": [part], **changes}


def found(tmp_path: Path, document: Any, version: str = "1.0") -> List[weaknesses.Weakness]:
    path = tmp_path / "osv.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return weaknesses.find(str(path), [weaknesses.Versions("alpha", version)])


@pytest.mark.parametrize(
    ("version", "events", "affected"),
    [
        ("1.0", [{"introduced": "0"}, {"fixed": "1.0"}], False),
        ("1.0rc1", [{"introduced": "0"}, {"fixed": "1.0"}], True),
        ("1.10", [{"introduced": "1.9"}, {"fixed": "1.11"}], True),
        ("1.0", [{"introduced": "0"}, {"last_affected": "1.0"}], True),
        ("1.0.post1", [{"introduced": "0"}, {"last_affected": "1.0"}], False),
        ("1.5", [{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2.0"}], False),
        ("2.0", [{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2.0"}], True),
        ("2.0", [{"introduced": "2.0"}, {"introduced": "0"}, {"fixed": "1.0"}], True),
        ("0.dev0", [{"introduced": "0"}], True),
        ("3.0", [{"introduced": "0"}, {"limit": "2.0"}], False),
        ("3.0", [{"introduced": "0"}, {"limit": "*"}], True),
        ("1!0.1", [{"introduced": "0"}, {"fixed": "9"}], False),
    ],
)
def test_ranges_are_read_as_the_schema_says(
    version: str, events: List[Dict[str, str]], affected: bool, tmp_path: Path
) -> None:
    assert bool(found(tmp_path, record(1, *events), version)) is affected


@pytest.mark.parametrize(
    ("changes", "affected"),
    [
        ({}, True),
        ({"withdrawn": "2024-01-01T00:00:00Z"}, False),
        ({"affected": [{"package": {"ecosystem": "PyPI", "name": "al_pha"}, "versions": ["1.0"]}]}, False),
        ({"affected": [{"package": {"ecosystem": "PyPI", "name": "alpha"}, "versions": ["1"]}]}, True),
        ({"affected": [{"package": {"ecosystem": "npm", "name": "alpha"}, "versions": ["1.0"]}]}, False),
        ({"affected": [{"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}]}, False),
        ({"affected": None}, False),
    ],
)
def test_only_what_affects_a_package_counts(changes: Dict[str, Any], affected: bool, tmp_path: Path) -> None:
    assert bool(found(tmp_path, record(**changes))) is affected


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, ""),
        ({"severity": [{"type": "CVSS_V3", "score": BAD}]}, "critical"),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.0/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]}, "low"),
        ({"database_specific": {"severity": "MODERATE"}}, "medium"),
        (
            {
                "severity": [
                    {
                        "type": "CVSS_V4",
                        "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                    }
                ]
            },
            "critical",
        ),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:C/I:C/A:C"}]}, "high"),  # the highest of CVSS 2
        (
            {"severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}], "database_specific": {"severity": "HIGH"}},
            "high",
        ),
    ],
)
def test_the_severity_is_shown(changes: Dict[str, Any], severity: str, tmp_path: Path) -> None:
    assert [one.severity for one in found(tmp_path, record(**changes))] == [severity]


@pytest.mark.parametrize(
    ("vector", "score"),
    [  # of the examples that FIRST gives, and of both scopes
        (BAD, 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10.0),
        ("CVSS:4.0/AV:L/AC:L/AT:P/PR:N/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N/E:U", 0.5),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N", 0.0),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0),
        ("AV:L/AC:H/Au:M/C:N/I:N/A:P", 0.8),
        ("CVSS:4.0/AV:N", None),
        ("CVSS:4.0/AV:N/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("CVSS:5.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
        ("CVSS:3.1/" + "AV:N/" * 1000, None),
        ("CVSS:4.0/" + ":" * 300, None),
        ("CVSS:3.1/AV:X", None),
        ("7.5", 7.5),
        ("nan", None),
    ],
)
def test_base_scores_are_those_of_the_specification(vector: str, score: object) -> None:
    assert weaknesses.base_score(vector) == score


def test_every_form_of_a_database_is_read(tmp_path: Path) -> None:
    one, two = record(1), record(2, aliases=["CVE-2024-1"], summary="Bad")
    folder = tmp_path / "folder/inner"
    folder.mkdir(parents=True)
    (folder / "one.json").write_text(json.dumps(one))
    (folder / "two.json").write_text(json.dumps(two))
    (folder / "note.txt").write_text("no record")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("one.json", json.dumps(one))
        archive.writestr("two.json", json.dumps(two))
    (tmp_path / "list.json").write_text(json.dumps([one, two]))
    (tmp_path / "answer.json").write_text(json.dumps({"vulns": [one, two]}))
    packages = [weaknesses.Versions("alpha", "1.0"), weaknesses.Versions("beta", "1.0")]
    results = [
        weaknesses.find(str(tmp_path / name), packages) for name in ("folder", "all.zip", "list.json", "answer.json")
    ]
    assert results[0] == results[1] == results[2] == results[3]
    assert [(found.id, found.aliases, found.summary, found.fixed) for found in results[0]] == [
        ("PYSEC-1", (), "", ("2.0",)),
        ("PYSEC-2", ("CVE-2024-1",), "Bad", ("2.0",)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "{}",
        '{"id": 1}',
        "[" * 100_000,
        '{"id": "A", "affected": 1}',
        '{"id": "A", "affected": [{"package": {"ecosystem": "PyPI"}}]}',
        json.dumps(record(1, {"introduced": "not a version"})),
        json.dumps(record(1, {"introduced": 1})),  # type: ignore[dict-item]
        json.dumps(record(aliases=[1])),
    ],
)
def test_what_is_no_database_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "osv.json"
    path.write_text(text)
    artifact = make_artifact(tmp_path / "one.zip", wheels=[simple_wheel(tmp_path)])
    assert main(["inspect", str(artifact), "--vulnerabilities", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "zip", "bomb"])
def test_a_database_of_another_kind_is_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    path = tmp_path / "osv"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind in ("zip", "bomb"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.json" if kind == "bomb" else "a.txt", b" " * (weaknesses.MAX_RECORD + 1))
    artifact = make_artifact(tmp_path / "one.zip")
    assert main(["inspect", str(artifact), "--vulnerabilities", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("level", "changes", "code"),
    [
        ("any", {"database_specific": {"severity": "LOW"}}, 3),
        ("high", {"database_specific": {"severity": "LOW"}}, 0),
        ("high", {"database_specific": {"severity": "CRITICAL"}}, 3),
        ("high", {}, 3),
        ("critical", {"withdrawn": "2024-01-01T00:00:00Z"}, 0),
        (None, {"database_specific": {"severity": "CRITICAL"}}, 0),
    ],
)
def test_a_build_can_be_ended_by_what_is_known(
    level: str, changes: Dict[str, Any], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "osv.json"
    path.write_text(json.dumps(record(**changes)))
    artifact = make_artifact(tmp_path / "one.zip", wheels=[simple_wheel(tmp_path)])
    words = ["inspect", str(artifact), "--json", "--vulnerabilities", str(path)]
    assert main(words + (["--fail-on", level] if level else [])) == code
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert len(document["vulnerabilities"]) == (0 if "withdrawn" in changes else 1)
    assert bool(output.err) is bool(code)


def test_a_level_without_a_database_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(make_artifact(tmp_path / "one.zip")), "--fail-on", "any"]) == 2
    assert "--vulnerabilities" in capsys.readouterr().err
