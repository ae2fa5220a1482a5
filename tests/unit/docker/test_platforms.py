"""The table of platforms reads the same for scripts and for Python, and platform.sh finds the right row of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from tests.support.depth import sampled
from tools import platforms

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "docker/centos7/platform.sh"
TABLE = platforms.read()


def ask(tmp_path: Path, release: str, *words: str) -> "subprocess.CompletedProcess[str]":
    (tmp_path / "os-release").write_text(release, encoding="utf-8")
    return subprocess.run(
        ["bash", str(SCRIPT), *words],
        env={"PATH": "/usr/bin:/bin", "OS_RELEASE": str(tmp_path / "os-release")},
        capture_output=True,
        text=True,
        check=False,
    )


def os_release(identity: str, version: str) -> str:
    return f'NAME="Some System"\nID="{identity}"\nVERSION_ID="{version}"\n'


def test_the_five_platforms_are_there_and_centos7_is_the_default() -> None:
    assert list(TABLE) == ["centos7", "el8", "el9", "el10", "debian12"]
    assert platforms.DEFAULT == "centos7"
    assert TABLE["centos7"].base_image == "centos:7"


@pytest.mark.parametrize("name", sampled(list(TABLE), 2))
def test_scripts_read_the_same_values_as_python(tmp_path: Path, name: str) -> None:
    row = TABLE[name]
    release = os_release(row.os_ids[0], row.os_version + ".9")
    assert ask(tmp_path, release, "name").stdout.strip() == name
    keys = [key for key in row._fields if key != "name"]
    read_all = f". {SCRIPT}; for key in {' '.join(keys)}; do platform_get $key || exit; done"
    environ = {"PATH": "/usr/bin:/bin", "OS_RELEASE": str(tmp_path / "os-release")}
    lines = subprocess.check_output(["bash", "-c", read_all], env=environ).decode("utf-8").split("\n")[:-1]
    values = [getattr(row, key) for key in keys]
    assert lines == [" ".join(value) if isinstance(value, list) else value for value in values]


@pytest.mark.parametrize(
    ("identity", "version", "name"),
    [
        ("centos", "7", "centos7"),
        ("rhel", "7.9", "centos7"),
        ("rocky", "8.10", "el8"),
        ("almalinux", "9.4", "el9"),
        ("rhel", "10.0", "el10"),
        ("debian", "12", "debian12"),
    ],
)
def test_a_system_is_known_by_its_identity_and_first_number(
    tmp_path: Path, identity: str, version: str, name: str
) -> None:
    assert ask(tmp_path, os_release(identity, version), "name").stdout.strip() == name


@pytest.mark.parametrize(("identity", "version"), [("debian", "11"), ("ubuntu", "22.04"), ("cent", "7"), ("", "7")])
def test_an_unknown_system_is_refused_in_one_line(tmp_path: Path, identity: str, version: str) -> None:
    answer = ask(tmp_path, os_release(identity, version), "get", "python")
    assert answer.returncode == 4
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert answer.stderr.startswith("error: ")


def test_an_unknown_key_or_verb_is_refused(tmp_path: Path) -> None:
    assert ask(tmp_path, os_release("debian", "12"), "get", "colour").returncode == 4
    assert ask(tmp_path, os_release("debian", "12"), "dance").returncode == 2


@pytest.mark.parametrize("change", ["colour = red\n", ""])
def test_a_row_with_a_missing_or_unknown_field_is_refused(tmp_path: Path, change: str) -> None:
    table = tmp_path / "platforms.ini"
    text = platforms.TABLE.read_text(encoding="utf-8")
    table.write_text(text + change if change else text.replace("glibc = 2.36\n", ""), encoding="utf-8")
    with pytest.raises(ValueError, match="colour" if change else "glibc"):
        platforms.read(table)


def test_each_platform_names_what_its_python_needs() -> None:
    facts: Dict[str, List[str]] = {
        "centos7": ["rh-python38", "rh-python38-python-devel", "httpd24", "rh-python38-mod_wsgi", "gcc", "git"],
        "el8": ["python3.11", "python3.11-devel", "httpd", "python3.11-mod_wsgi", "glibc-langpack-en"],
        "el9": ["python3.11", "python3.11-devel", "httpd", "python3.11-mod_wsgi", "glibc-langpack-en"],
        "el10": ["python3", "python3-devel", "httpd", "python3-mod_wsgi", "glibc-langpack-en"],
        "debian12": ["python3", "python3-dev", "apache2", "libapache2-mod-wsgi-py3", "locales", "curl"],
    }
    for name, packages in facts.items():
        row = TABLE[name]
        assert set(packages) <= {*row.base_packages, *row.builder_packages, *row.tester_packages}, name
        assert row.python.startswith("/")
        assert row.httpd.startswith("/"), "a relative name would cut the daemons' display name"


def test_artifacts_for_systems_without_python_start_with_python3() -> None:
    first_lines = {name: row.shebang for name, row in TABLE.items()}
    assert first_lines.pop("centos7") == "#!/usr/bin/env python"
    assert set(first_lines.values()) == {"#!/usr/bin/env python3"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (os_release("debian", "12"), "debian12"),
        ("ID=rocky\nVERSION_ID=9.4\n# a comment\n\n", "el9"),
        (os_release("centos", "7"), "centos7"),
        (os_release("ubuntu", "22.04"), None),
        ("NAME=Nothing\n", None),
    ],
)
def test_the_row_of_a_system_is_found_from_its_description(tmp_path: Path, text: str, name: Optional[str]) -> None:
    (tmp_path / "os-release").write_text(text, encoding="utf-8")
    found = platforms.of_system(tmp_path / "os-release")
    assert (found.name if found else None) == name
    assert platforms.of_system(tmp_path / "missing") is None
