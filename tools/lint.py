"""Run every checker over the files that git knows, all of them even when one complains.

    python -m tools.lint [--fix]

Exit code 1 when a checker complains or a group of files that must not be empty is empty.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ".github/workflows"
ACTIONS = ".github/actions"

Checker = List[str]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the checkers and return 0 when none complains, else 1."""
    parser = argparse.ArgumentParser(prog="tools.lint", description="Run every checker over the tracked files.")
    parser.add_argument("--fix", action="store_true", help="let ruff repair what it can")
    arguments = parser.parse_args(argv)
    failed = [
        name for name, command in checkers(tracked_files(ROOT), arguments.fix).items() if not _passes(name, command)
    ]
    print(f"lint: {', '.join(failed)} complained" if failed else "lint: no findings", flush=True)
    return 1 if failed else 0


def checkers(files: Sequence[str], fix: bool = False) -> Dict[str, Checker]:
    """Return the command of each checker by its name.

    Raises:
        ValueError: a checker would have nothing to read, so its pattern no longer fits the tree.
    """
    shell = _some("shell scripts", files, _is_shell)
    recipes = _some("image recipes", files, lambda name: Path(name).name.startswith("Dockerfile"))
    documents = _some("YAML files", files, lambda name: name.endswith((".yml", ".yaml")))
    workflows = _some("workflows", files, lambda name: name.startswith(f"{WORKFLOWS}/"))
    actions = _some("actions", files, lambda name: name.startswith(f"{ACTIONS}/") and name.endswith("/action.yml"))
    schema = "vendor.github-workflows"
    return {
        "ruff": ["ruff", "check", *(["--fix"] if fix else []), "."],
        "ruff format": ["ruff", "format", *([] if fix else ["--check"]), "."],
        "mypy": ["mypy", "cfgov/deployable_zipfile", "tools"],
        # The types of pytest itself need a newer Python than the package's oldest.
        "mypy of tests": ["mypy", "--python-version", "3.10", "tests"],
        "shellcheck": ["shellcheck", "--external-sources", *shell],
        "hadolint": ["hadolint", *recipes],
        "yamllint": ["yamllint", "--strict", *documents],
        "workflow schema": ["check-jsonschema", "--builtin-schema", schema, *workflows],
        "action schema": ["check-jsonschema", "--builtin-schema", "vendor.github-actions", *actions],
        "dependabot schema": ["check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml"],
        "actionlint": ["actionlint", "-shellcheck=", "-pyflakes=", *workflows],
        "manifest schema": ["check-jsonschema", "--check-metaschema", "docs/manifest.schema.json"],
        "zizmor": ["zizmor", "--offline", "--no-progress", "--persona", "auditor", ".github"],
        "workflow rules": [sys.executable, "-m", "tools.workflows", "--shellcheck"],
    }


def tracked_files(root: Path) -> List[str]:
    """Return the names of the files that git knows or would take, relative to *root*, sorted."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=str(root), check=True, stdout=subprocess.PIPE).stdout.decode("utf-8")
    return sorted(name for name in listed.split("\0") if name and (root / name).is_file())


def _passes(name: str, command: Checker) -> bool:
    print(f"+ {command[0]} ({name})", flush=True)
    return subprocess.run(command, cwd=str(ROOT), check=False).returncode == 0


def _some(what: str, files: Sequence[str], wanted: Callable[[str], bool]) -> List[str]:
    found = [name for name in files if wanted(name)]
    if not found:
        raise ValueError(f"found no {what}: a checker that reads nothing proves nothing")
    return found


def _is_shell(name: str) -> bool:
    if name.endswith((".sh", ".bash")):
        return True
    if "." in Path(name).name.lstrip("."):
        return False
    first = (ROOT / name).read_bytes()[:64].split(b"\n")[0]
    return first.startswith(b"#!") and first.rstrip().endswith((b"bash", b"/sh", b" sh"))


if __name__ == "__main__":
    sys.exit(main())
