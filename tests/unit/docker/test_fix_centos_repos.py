"""The repository fix, on files laid out as CentOS 7's own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict

import pytest

ROOT = Path(__file__).resolve().parents[3]
LAYOUTS = ROOT / "tests/lookalike/repos"


def fix(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", str(ROOT / "docker/centos7/fix_centos_repos.sh"), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def texts(folder: Path) -> Dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    shutil.copytree(str(LAYOUTS), str(tmp_path / "repos"))
    return tmp_path / "repos"


def test_every_repository_points_at_the_vault_and_at_no_list_of_mirrors(repositories: Path) -> None:
    assert fix(repositories).returncode == 0
    for name, text in texts(repositories).items():
        assert not re.search(r"^\s*mirrorlist", text, re.MULTILINE), name
        assert "//mirror.centos.org" not in re.sub(r"^#.*", "", text, flags=re.MULTILINE), name
    base = texts(repositories)["CentOS-Base.repo"]
    live = re.findall(r"^baseurl=(.*)$", base, re.MULTILINE)
    parts = ("os", "updates", "extras", "centosplus")
    assert live == [f"http://vault.centos.org/centos/$releasever/{part}/$basearch/" for part in parts]
    scl = texts(repositories)["CentOS-SCLo-scl-rh.repo"]
    assert "\nbaseurl=http://vault.centos.org/centos/7/sclo/$basearch/rh/\n" in scl


def test_signatures_stay_checked_and_other_addresses_stay_as_they_are(repositories: Path) -> None:
    before = texts(repositories)
    assert fix(repositories).returncode == 0
    after = texts(repositories)
    for name in before:
        assert after[name].count("gpgcheck=1") == before[name].count("gpgcheck=1")
        assert after[name].count("enabled=0") == before[name].count("enabled=0")
    assert after["CentOS-Vault.repo"] == before["CentOS-Vault.repo"]
    assert "baseurl=http://buildlogs.centos.org/centos/7/sclo/$basearch/sclo/" in after["CentOS-SCLo-scl.repo"]


def test_a_second_run_changes_nothing(repositories: Path) -> None:
    fix(repositories)
    once = texts(repositories)
    assert fix(repositories).returncode == 0
    assert texts(repositories) == once


def test_other_processors_come_from_their_own_part_of_the_vault(repositories: Path) -> None:
    path = repositories / "CentOS-Base.repo"
    text = path.read_text(encoding="utf-8").replace("mirror.centos.org/centos/", "mirror.centos.org/altarch/")
    path.write_text(text, encoding="utf-8")
    fix(repositories)
    assert "\nbaseurl=http://vault.centos.org/altarch/$releasever/os/$basearch/\n" in path.read_text(encoding="utf-8")


def test_files_of_other_owners_are_not_touched(repositories: Path) -> None:
    epel = repositories / "epel.repo"
    epel.write_text("[epel]\nmirrorlist=https://mirrors.example.org/\n", encoding="utf-8")
    fix(repositories)
    assert "mirrorlist=https://mirrors.example.org/" in epel.read_text(encoding="utf-8")


def test_a_folder_without_centos_repositories_is_refused(tmp_path: Path) -> None:
    done = fix(tmp_path)
    assert done.returncode == 4
    assert done.stdout.startswith("error: ")
