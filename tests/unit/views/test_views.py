"""What ``inspect`` and ``diff`` say, also of artifacts whose names are hostile."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Dict

import pytest

from deployable_zipfile.__main__ import main
from deployable_zipfile.artifact import layout, manifests
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.builder import sbom
from deployable_zipfile.builder.elf import Elf
from deployable_zipfile.views import commands
from tests.support.artifacts import Content, make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import make_wheel
from tests.support.releases import hostile, weaknesses
from tests.support.wheels import collected


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
        ("package", "upgraded", "alpha"),
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


HOSTILE = [
    "<script>alert(1)<",
    "a|b`c`",
    "[bold]@team #12",
    "www.example.com",
    "x" * 200,
    "\u05d0\u0627-rtl",
    "a\ufe0f\u3164b",
]


@pytest.mark.parametrize("form", sampled(["", "--markdown", "--json"], ["--markdown"]))
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, form: str
) -> None:
    old = make_artifact(tmp_path / "old.zip")
    new = make_artifact(tmp_path / "new.zip", {"__init__.py": "", name: "1"})
    assert main(["diff", str(old), str(new), *filter(None, [form])]) == 0
    check(capsys.readouterr().out, form)
    assert main(["inspect", str(new), *filter(None, [form])]) == 0
    check(capsys.readouterr().out, form)


# What a project's files cannot be called, a wheel's metadata, a file in a wheel or a known weakness can.
@pytest.mark.parametrize("form", sampled(["", "--markdown", "--json"], ["--markdown"]))
@pytest.mark.parametrize(
    "text", [*HOSTILE, "\x1b[31mred\x07", "\u202eright\u2066", "zero\u200bwidth\ufeff", "y" * 1000, "a :tada:+1:-1: b"]
)
def test_a_hostile_text_is_shown_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, form: str
) -> None:
    metadata = f"Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\nLicense-Expression: {text}\n"
    inner = text.replace("\x1b", "").replace("\x07", "")[:200].strip("\u202e\u2066\ufeff").replace("\u200b", "")
    wheel = make_wheel(tmp_path, "alpha", "1.0", {f"{inner}.pth": "", f"{inner}.so": ""}, metadata=metadata)
    weak = {"id": text, "summary": text, "affected": [{"package": {"ecosystem": "PyPI", "name": "alpha"}}]}
    weak["affected"][0]["versions"] = ["1.0"]  # type: ignore[index]
    (tmp_path / "osv.json").write_text(json.dumps(weak))
    path = make_artifact(tmp_path / "one.zip", wheels=[wheel])
    words = ["inspect", str(path), "--vulnerabilities", str(tmp_path / "osv.json"), *filter(None, [form])]
    assert main(words) == 0
    out = capsys.readouterr().out
    check(out, form)
    if form == "--json":
        document = json.loads(out)
        assert document["packages"][0]["licence"].startswith(text[:5])
        assert document["vulnerabilities"][0]["id"] == text


@pytest.mark.parametrize("form", ["", "--markdown", "--json"])
def test_a_hostile_artifact_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    old, bad = make_artifact(tmp_path / "old.zip"), hostile(tmp_path / "bad.zip")
    known = str(weaknesses(tmp_path / "osv.json"))
    for words in (["diff", str(old), str(bad)], ["inspect", str(bad), "--vulnerabilities", known]):
        assert main([*words, *filter(None, [form])]) == 0
        out = capsys.readouterr().out
        check(out, form)
        assert "hacked" in out


def check(out: str, form: str) -> None:
    """Prove that no line of *out* acts on a terminal, on GitHub or on its reader."""
    assert all(character.isprintable() or character == "\n" for character in out)
    assert not set("\ufe0f\u3164\x1b\u202e\u200b") & set(out)
    if form == "--markdown":
        assert not set("<`@[") & set(out)
        assert "www.example" not in out
        tables = out.strip().split("\n\n")
        for lines in (table.splitlines() for table in tables):
            assert {line.count("|") for line in lines} == {lines[0].count("|")}
        assert "&#64;team" not in out
        assert "&#35;12" not in out
        assert "&#58;tada" not in out
        assert "\\u200bteam" not in out
    elif form == "--json":
        json.loads(out)
        assert out.isascii()
    else:
        assert max(map(len, out.splitlines())) <= 160


def test_inspect_tells_all_that_is_known_of_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "alpha/_speed.cpython-311-x86_64-linux-gnu.so": "",
        "alpha.libs/libz-0a.so.1": "",
        "alpha.pth": "import alpha",
    }
    metadata = "Metadata-Version: 2.4\nName: alpha\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n"
    wheel = make_wheel(tmp_path, "alpha", "1.0", {"alpha/__init__.py": "", **files}, metadata=metadata)
    member = f"wheels/{wheel.name}"
    needs = Elf(platform.machine(), (2, 28), "alpha/_speed.cpython-311-x86_64-linux-gnu.so", (), ())
    known = collected("alpha", licence="MIT OR Apache-2.0", built_from="alpha-1.0.tar.gz", elves=(needs,))
    part = sbom.Part(member, known, ("x",), ())
    bill = sbom.document("site_one", "", 0, [part])

    def dirty(manifest: manifests.Manifest) -> manifests.Manifest:
        target = manifest.targets[0]._replace(libc_floor="2.28")
        return manifest._replace(source=manifests.Source("c" * 40, True, 0), targets=(target,))

    path = make_artifact(tmp_path / "one.zip", wheels=[wheel], extra={layout.SBOM: bill}, manifest=dirty)
    assert main(["inspect", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (package,) = document["packages"]
    assert document["dirty"] is True
    assert (package["name"], package["version"], package["licence"]) == ("alpha", "1.0", "MIT OR Apache-2.0")
    assert package["origin"] == "built from alpha-1.0.tar.gz"
    assert package["compiled"] == ["alpha/_speed.cpython-311-x86_64-linux-gnu.so"]
    assert package["embedded"] == ["alpha.libs/libz-0a.so.1"]
    assert package["pth"] == ["alpha.pth"]
    sets = {"wheel": member, "file": "alpha/_speed.cpython-311-x86_64-linux-gnu.so"}
    assert document["targets"][0]["libc_set_by"] == sets
    assert document["size"] == path.stat().st_size
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    for text in ("MIT OR Apache-2.0", "alpha.pth", "libz-0a.so.1", "glibc 2.28", "built from alpha-1.0.tar.gz"):
        assert text in out


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"bomFormat": "CycloneDX"}',
        b'{"bomFormat": "CycloneDX", "components": 1}',
        b'{"bomFormat": "CycloneDX", "components": [{"licenses": [{"license": {}}]}]}',
        b'{"bomFormat": "CycloneDX", "components": [], "x": ' + b"[" * 100_000,
        b'{"bomFormat": "CycloneDX", "components": [{}]' + b", []" * 10,
    ],
)
def test_a_bill_of_materials_of_another_form_is_refused(
    text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_artifact(tmp_path / "one.zip", extra={layout.SBOM: text})
    assert main(["inspect", str(path)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: .deploy/sbom.cdx.json: cannot be read")


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

    monkeypatch.setattr(Artifact, "open", fail)
    assert commands.main(["inspect", "a.zip"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line


@pytest.mark.parametrize("payload", [False, True])
def test_files_in_a_nested_payload_are_counted(
    payload: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files: Dict[str, Content] = {"__init__.py": "", **{f"pages/{number}.html": str(number) for number in range(20)}}
    artifact = make_artifact(tmp_path / "a.zip", files, static={"a.css": ""}, payload=payload, bytecode=False)

    assert main(["inspect", str(artifact), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 22
