"""The checkers of others find a damaged workflow too, so that ours is not the only one that looks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_workflow_mutations import MUTATIONS, Mutation, mutated
from tests.unit.test_workflows import TEXTS


@pytest.mark.skipif(sys.version_info < (3, 11), reason="zizmor and check-jsonschema need Python 3.11")
@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.zizmor], ids=lambda mutation: mutation.name)
def test_zizmor_finds_it_too(mutation: Mutation, tmp_path: Path) -> None:
    assert zizmor(tmp_path, mutation.file, TEXTS[mutation.file]) == 0
    assert zizmor(tmp_path, mutation.file, mutated(mutation)) != 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="zizmor and check-jsonschema need Python 3.11")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs-on: ubuntu-24.04", "run-on: ubuntu-24.04"),
        ("timeout-minutes: 15", "timeout-minutes: soon"),
        ("contents: read", "content: read"),
        ("    steps:", "    step:"),
    ],
)
def test_the_schema_of_workflows_refuses_what_github_would_refuse(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "ci.yml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]

    path.write_text(TEXTS["ci.yml"], encoding="utf-8")
    assert subprocess.run(command, stdout=subprocess.PIPE, check=False).returncode == 0
    path.write_text(TEXTS["ci.yml"].replace(old, new, 1), encoding="utf-8")
    assert subprocess.run(command, stdout=subprocess.PIPE, check=False).returncode == 1


def zizmor(folder: Path, name: str, text: str) -> int:
    """Return the exit code of zizmor over one workflow: 0 without findings."""
    path = folder / ".github/workflows" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("zizmor")),
        "--offline",
        "--quiet",
        "--persona",
        "auditor",
        str(path),
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode
