"""Real projects, made by Django's own ``startproject`` or by hand, packed by the real builder with real wheels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Sequence

from tests.support.artifacts import PACKAGE
from tests.support.helpers import run_cli

LOCK = Path(__file__).resolve().parents[1] / "integration" / "projects.txt"
CANARY = "canary-0123456789-abcdefghijklmnopqrstuvwxyz-of-a-project"


class Workshop:
    """Makes projects and artifacts below one folder, with the wheels of ``projects.txt``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._wheels = folder / "wheels"
        self._tools = folder / "tools"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        run_cli([*pip, "download", "--no-deps", "--require-hashes", "-r", LOCK, "-d", self._wheels], timeout=600)
        self._install = [*pip, "install", "--no-index", "--find-links", str(self._wheels), "--target"]

    def startproject(self, folder: str, name: str, *words: str) -> Path:
        """Return a new project in the folder *folder*, as ``django-admin startproject NAME [WORDS]`` makes it."""
        if not self._tools.is_dir():
            run_cli([*self._install, self._tools, "django"], timeout=300)
        project = self.folder / folder
        project.mkdir()
        command = [sys.executable, "-m", "django", "startproject", name, str(project), *words]
        run_cli(command, extra_env={"PYTHONPATH": str(self._tools)})
        return project

    def pack(self, project: Path, packages: Sequence[str], *options: str) -> Path:
        """Return the artifact of *project* with *packages* and what they need."""
        lock = self.folder / f"{project.name}.txt"
        lines = self._closure(packages)
        lock.write_text(f"--no-index\n--find-links {self._wheels}\n" + "\n".join(lines) + "\n")
        artifact = self.folder / f"{project.name}-artifact"
        words: List[object] = [sys.executable, PACKAGE / "create.py", project, lock, artifact, "--all-files"]
        words += ["--cache-dir", self.folder / "cache", "--quiet", *options]
        run_cli([str(word) for word in words], timeout=900)
        return artifact.with_name(f"{project.name}-artifact.zip")

    def _closure(self, packages: Sequence[str]) -> List[str]:
        """Return *packages* and what they need, pinned as the lock pins them."""
        pinned: Dict[str, List[str]] = {}
        for line in LOCK.read_text().splitlines():
            if "==" in line and not line.startswith(" "):
                pinned.setdefault(line.partition("==")[0], []).append(line.rstrip("\\ "))
        command = [*self._install[:-1], "--dry-run", "--ignore-installed", "--report", "-", *packages]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        names = [one["metadata"]["name"].lower().replace("_", "-") for one in json.loads(done.stdout)["install"]]
        return [line for name in sorted(names) for line in pinned[name]]


def edit(path: Path, *replacements: Sequence[str]) -> None:
    """Replace each first text by the second, which must be there."""
    text = path.read_text()
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


def append(path: Path, text: str) -> None:
    """Add *text* at the end of a file."""
    with path.open("a") as file:
        file.write(text)


def environment(path: Path, **variables: str) -> Path:
    """Write an environment.json."""
    path.write_text(json.dumps(dict({"SECRET_KEY": CANARY}, **variables)))
    path.chmod(0o640)
    return path
