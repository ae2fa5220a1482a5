"""environment.json from a container's variables: what the site gets, and that every value survives."""

from __future__ import annotations

import importlib.util
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPT = Path(__file__).resolve().parents[3] / "docker/centos7/write_environment.py"
_specification = importlib.util.spec_from_file_location("write_environment", str(SCRIPT))
assert _specification is not None
assert _specification.loader is not None
write_environment = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(write_environment)
VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)


def run(tmp_path: Path, block: bytes) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "environment.json")],
        input=block,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def written(tmp_path: Path) -> Dict[str, str]:
    text = (tmp_path / "environment.json").read_text(encoding="ascii")
    return dict(json.loads(text))


def test_awkward_values_survive(tmp_path: Path) -> None:
    values = {
        "DATABASE_URL": "postgres://user:pass@host/db?sslmode=require&a=b",
        "QUOTED": 'it\'s "quoted" and \\ slashed \\n',
        "LINES": "first\nsecond\n",
        "UNICODE": "Größe 大きさ",
        "EMPTY": "",
    }
    block = b"".join(f"{name}={value}".encode() + b"\0" for name, value in values.items())
    assert run(tmp_path, block).returncode == 0
    assert written(tmp_path) == values


@given(VALUES)
def test_a_value_without_escaped_quotes_is_never_changed(value: str) -> None:
    if '\\"' not in value:
        assert write_environment.unescaped(value) == value


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        ('[\\"*\\"]', '["*"]'),
        ('[\\"a.example\\", \\"b.example\\"]', '["a.example", "b.example"]'),
        ('{\\"a\\": 1}', '{"a": 1}'),
        ('["*"]', '["*"]'),
        ('["a\\"b"]', '["a\\"b"]'),
        ('pass\\"word', 'pass\\"word'),
        ('\\"text\\"', '\\"text\\"'),
        ("C:\\new", "C:\\new"),
    ],
)
def test_escaped_quotes_are_undone_in_lists_and_objects_alone(given_value: str, expected: str) -> None:
    assert write_environment.unescaped(given_value) == expected


def test_the_allowed_hosts_of_test_env_are_a_list_with_one_star() -> None:
    lines = (SCRIPT.parent / "test.env").read_text(encoding="utf-8").splitlines()
    variables = write_environment.parse("\0".join(line for line in lines if not line.startswith("#")))
    assert json.loads(write_environment.selected(variables)["ALLOWED_HOSTS"]) == ["*"]


def test_what_the_system_sets_is_left_out() -> None:
    system = "PATH HOME HOSTNAME PWD OLDPWD SHLVL _ TERM LANG LC_ALL container BASH_ENV"
    collections = "LD_LIBRARY_PATH MANPATH PKG_CONFIG_PATH XDG_DATA_DIRS X_SCLS"
    network = "PIP_INDEX_URL PIP_CERT PYTHONPATH HTTP_PROXY https_proxy NO_PROXY SSL_CERT_FILE"
    names = " ".join([system, collections, network]).split()
    assert write_environment.selected(dict.fromkeys(names, "x")) == {}


def test_what_only_looks_alike_is_kept() -> None:
    names = ["DATABASE_PATH", "PATHS", "HOME_PAGE", "LANGUAGES", "MY_PROXY", "STATIC_PATH", "SECRET_KEY"]
    assert sorted(write_environment.selected(dict.fromkeys(names, "x"))) == sorted(names)


def test_only_owner_and_group_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    run(tmp_path, b"A=1\0")
    assert stat.S_IMODE((tmp_path / "environment.json").stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["environment.json"]


def test_bytes_that_are_no_text_are_refused_without_showing_them(tmp_path: Path) -> None:
    done = run(tmp_path, b"SECRET_KEY=\xff\xfecanary\0")
    assert done.returncode != 0
    assert done.stdout.startswith(b"error: environment: ")
    assert b"canary" not in done.stdout
    assert list(tmp_path.iterdir()) == []
