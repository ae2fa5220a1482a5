"""Installing packages on CentOS 7, against stubs of yum and rpm that have EL7's traps."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOOKALIKE = ROOT / "tests/lookalike"
SCRIPTS = ROOT / "docker/centos7"


class System:
    """A folder in the place of the root of a CentOS 7 system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "var/lib/lookalike"
        self.repositories = root / "etc/yum.repos.d"
        self.scripts = root / "scripts"
        self.state.mkdir(parents=True)
        self.repositories.mkdir(parents=True)
        shutil.copytree(str(SCRIPTS), str(self.scripts))
        shutil.copytree(str(LOOKALIKE / "repos"), str(self.state / "repos"))
        shutil.copy(str(LOOKALIKE / "packages.txt"), str(self.state))
        for name in ("CentOS-Base.repo", "CentOS-Vault.repo"):
            shutil.copy(str(LOOKALIKE / "repos" / name), str(self.repositories))
        (root / "os-release").write_text('ID="centos"\nVERSION_ID="7"\n', encoding="utf-8")

    def run(self, *words: str, limit: str = "ulimit -n 1024") -> "subprocess.CompletedProcess[str]":
        environ = {
            "PATH": f"{LOOKALIKE / 'bin'}:/usr/bin:/bin",
            "LOOKALIKE_ROOT": str(self.root),
            "YUM_REPOS_DIR": str(self.repositories),
            "OS_RELEASE": str(self.root / "os-release"),
        }
        return subprocess.run(
            ["bash", "-c", f'{limit}; exec "$@"', "-", *words],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def install(self, part: str) -> "subprocess.CompletedProcess[str]":
        return self.run("bash", str(self.scripts / "platform.sh"), "install", part, limit="true")

    def calls(self) -> List[str]:
        return (self.state / "calls").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_the_packages_of_all_three_parts_are_installed_and_asked_for_afterwards(system: System) -> None:
    for part in ("base", "tester", "builder"):
        done = system.install(part)
        assert done.returncode == 0, done.stdout
    option = "--setopt=skip_missing_names_on_install=False"
    assert system.calls() == [
        f"yum -y {option} update",
        f"yum -y {option} install centos-release-scl",
        f"yum -y {option} install rh-python38",
        "yum clean all",
        "rpm -q rh-python38",
        f"yum -y {option} install httpd24 rh-python38-mod_wsgi",
        "yum clean all",
        "rpm -q httpd24 rh-python38-mod_wsgi",
        f"yum -y {option} install gcc git rh-python38-python-devel",
        "yum clean all",
        "rpm -q gcc git rh-python38-python-devel",
    ]


def test_a_package_that_does_not_exist_stops_the_installation(system: System) -> None:
    table = system.scripts / "platforms.ini"
    table.write_text(table.read_text(encoding="utf-8").replace("gcc git rh-", "gcc gti rh-"), encoding="utf-8")
    assert system.install("base").returncode == 0
    done = system.install("builder")
    assert done.returncode != 0
    assert "gti" in done.stdout


def test_the_stub_has_the_trap_that_the_option_avoids(system: System) -> None:
    assert system.install("base").returncode == 0
    silent = system.run("yum", "-y", "install", "gcc", "gti")
    assert silent.returncode == 0
    assert "No package gti available." in silent.stdout
    assert system.run("rpm", "-q", "gti").returncode == 1


def test_the_stub_cannot_reach_the_mirrors_as_they_were(system: System) -> None:
    assert system.run("yum", "-y", "update").returncode == 1
    assert system.run("bash", str(system.scripts / "fix_centos_repos.sh")).returncode == 0
    assert system.run("yum", "-y", "update").returncode == 0


def test_the_repositories_that_a_package_brings_need_the_fix_again(system: System) -> None:
    fix = ("bash", str(system.scripts / "fix_centos_repos.sh"))
    assert system.run(*fix).returncode == 0
    assert system.run("yum", "-y", "install", "centos-release-scl").returncode == 0
    assert system.run("yum", "-y", "install", "rh-python38").returncode == 1
    assert system.run(*fix).returncode == 0
    assert system.run("yum", "-y", "install", "rh-python38").returncode == 0


def test_the_limit_of_open_files_is_lowered_before_yum_runs(system: System) -> None:
    raised = system.run("yum", "clean", "all", limit="ulimit -n 4096")
    assert "would run for hours" in raised.stdout
    assert (
        system.run("bash", str(system.scripts / "platform.sh"), "install", "base", limit="ulimit -n 4096").returncode
        == 0
    )
