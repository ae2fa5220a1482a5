"""Artifacts for the tests of the report: one that is large, one whose names are hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List

from deployable_zipfile.artifact import layout
from deployable_zipfile.builder import sbom
from tests.support.artifacts import Content, make_artifact
from tests.support.helpers import make_wheel
from tests.support.wheels import collected

MARKUP = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


def hostile(path: Path) -> Path:
    """Write an artifact whose names, licences and metadata are markup, scripts, escapes, and very long."""
    names = [
        "<img src=x onerror=window.hacked=1>",
        "{{7*7}}{% raw %}",
        "]]> <!--<script>",
        "\u05d0\u0627-rtl",
        "x" * 240,
    ]
    files: Dict[str, Content] = {
        "__init__.py": "",
        **{f"{number}/{name}.txt": "x" * 999 for number, name in enumerate(names)},
    }
    files["use.py"] = f"import os\nos.environ[{MARKUP!r}]\n"
    wheels = []
    for number, licence in enumerate([MARKUP, "\x1b[31m\u202e", "y" * 1000, "javascript:window.hacked=1", ""]):
        metadata = f"Metadata-Version: 2.4\nName: p{number}\nVersion: 1.0\nLicense-Expression: {licence}\n"
        inner = {"a/<svg onload=window.hacked=1>.so": "x", f"{'<b>'}.pth": ""}
        wheels.append(make_wheel(path.parent / "hostile", f"p{number}", "1.0", inner, metadata=metadata))
    parts = [
        sbom.Part(
            f"wheels/{one.name}",
            collected(one.name[:2], licence=MARKUP, built_from=f"{MARKUP}.tar.gz"),
            (MARKUP,),
            (),
        )
        for one in wheels[:2]
    ]
    return make_artifact(path, files, wheels, extra={layout.SBOM: sbom.document(MARKUP, "", 0, parts)}, payload=True)


def large(path: Path, packages: int = 120, files: int = 30_000) -> Path:
    """Write an artifact of many packages, which need each other, and many project files, in a nested payload."""
    wheels: List[Path] = []
    parts = []
    for number in range(packages):
        inner = {f"pkg{number}/module{module}.py": "x = 1\n" * (10 + number) for module in range(60)}
        wheels.append(make_wheel(path.parent / "wheels", f"pkg{number}", f"1.{number}", inner))
        member = f"wheels/{wheels[-1].name}"
        needs = tuple(
            f"wheels/{one.name}" for one in wheels[max(0, number // 2 - 1) : number // 2 + 1] if one != wheels[-1]
        )
        licence = ("MIT", "BSD-3-Clause", "Apache-2.0", "")[number % 4]
        parts.append(sbom.Part(member, collected(f"pkg{number}", f"1.{number}", licence=licence), ("x",), needs))
    project: Dict[str, Content] = {"__init__.py": ""}
    for number in range(files):
        project[f"app{number % 97}/templates/part{number % 7}/page_{number:05}.html"] = f"<p>{number}</p>" * (
            number % 40
        )
    bill = sbom.document("site_one", "", 0, parts)
    return make_artifact(path, project, wheels, extra={layout.SBOM: bill}, payload=True, bytecode=False)


def weaknesses(path: Path, package: str = "p0") -> Path:
    """Write known weaknesses of *package*, whose texts are markup."""
    affected = [{"package": {"ecosystem": "PyPI", "name": package}, "versions": ["1.0"]}]
    path.write_text(json.dumps({"id": MARKUP, "summary": MARKUP, "aliases": ["\u202eCVE"], "affected": affected}))
    return path
