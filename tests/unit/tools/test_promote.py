"""Only the tested digest gets the names that users pull, and no name goes back in time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Dict, List

import pytest

from tests.unit.tools.test_release import git_environment
from tools import assets, promote

NAME = "ghcr.io/cfpb/cfgov-artifact-builder"
TESTED = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


class Registry:
    """A registry as skopeo shows it: digest and revision by name."""

    def __init__(self) -> None:
        self.digests: Dict[str, str] = {f"docker://{NAME}@{TESTED}": TESTED}
        self.revisions: Dict[str, str] = {}
        self.corrupts = False

    def __call__(self, verb: str, *words: str) -> str:
        if verb == "copy":
            assert {"--all", "--preserve-digests"} <= set(words), "a copy of the index, byte for byte"
            self.digests[words[-1]] = OTHER if self.corrupts else self.digests[words[-2]]
            return ""
        digest = self.digests.get(words[-1])
        if digest is None:
            raise promote.RegistryError("skopeo inspect: manifest unknown")
        if "--format" in words:
            return f"{digest}\n"
        return json.dumps({"Digest": digest, "Labels": {promote.REVISION: self.revisions.get(words[-1], "")}})


def commit(root: Path) -> str:
    command = ["git", "commit", "--quiet", "--allow-empty", "--message", "Next"]
    subprocess.run(command, cwd=str(root), check=True, env=git_environment())
    return assets.git(root, "rev-parse", "HEAD")


@pytest.fixture(name="registry")
def _registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    subprocess.run(["git", "init", "--quiet"], cwd=str(tmp_path), check=True)
    commit(tmp_path)
    registry = Registry()
    monkeypatch.setattr(promote, "skopeo", registry)
    monkeypatch.setattr(promote, "ROOT", tmp_path)
    return registry


def names(registry: Registry) -> List[str]:
    tagged = [name for name, digest in registry.digests.items() if "@" not in name and digest == TESTED]
    return sorted(name.rsplit(":", 1)[1] for name in tagged)


def test_the_tested_digest_gets_commit_date_and_latest(registry: Registry, tmp_path: Path) -> None:
    assert promote.main(["--prefix", "el9-", f"{NAME}@{TESTED}"]) == 0

    dated, latest, by_commit = names(registry)
    assert latest == "el9-latest"
    assert by_commit == f"el9-sha-{assets.git(tmp_path, 'rev-parse', '--short=7', 'HEAD')}"
    assert dated.startswith("el9-20")


def test_an_image_without_a_digest_is_refused(registry: Registry) -> None:
    assert promote.main([f"{NAME}:latest"]) == 1
    assert names(registry) == []


def test_a_registry_that_keeps_other_bytes_is_refused(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.corrupts = True

    assert promote.main([f"{NAME}@{TESTED}"]) == 1
    assert "not the tested" in capsys.readouterr().err


def test_latest_of_an_older_commit_is_replaced_and_named(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.digests[f"docker://{NAME}:latest"] = OTHER
    registry.revisions[f"docker://{NAME}:latest"] = assets.git(tmp_path, "rev-parse", "HEAD")
    commit(tmp_path)

    assert promote.main([f"{NAME}@{TESTED}"]) == 0

    assert "latest" in names(registry)
    assert f"{NAME}:latest was {OTHER}" in capsys.readouterr().out


@pytest.mark.parametrize("revision", ["", "f" * 40])
def test_latest_of_another_repository_is_replaced(revision: str, registry: Registry) -> None:
    registry.digests[f"docker://{NAME}:latest"] = OTHER
    registry.revisions[f"docker://{NAME}:latest"] = revision

    assert promote.main([f"{NAME}@{TESTED}"]) == 0
    assert "latest" in names(registry)


def test_latest_of_a_later_commit_stays(registry: Registry, tmp_path: Path) -> None:
    first = assets.git(tmp_path, "rev-parse", "HEAD")
    registry.digests[f"docker://{NAME}:latest"] = OTHER
    registry.revisions[f"docker://{NAME}:latest"] = commit(tmp_path)
    subprocess.run(["git", "checkout", "--quiet", first], cwd=str(tmp_path), check=True)

    assert promote.main([f"{NAME}@{TESTED}"]) == 0

    assert "latest" not in names(registry)
    assert len(names(registry)) == 2, "the names that do not move are given"
