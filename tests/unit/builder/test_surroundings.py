from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deployable_zipfile import errors
from deployable_zipfile.builder import surroundings
from tests.support.helpers import SECRET, write_tree


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PIP_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))


def test_settings_of_pip_that_decide_what_it_takes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = surroundings.pip_settings("/v/bin/python")
    monkeypatch.setenv("PIP_TIMEOUT", "3")
    monkeypatch.setenv("PIP_CERT", "/x.pem")
    assert surroundings.pip_settings("/v/bin/python") == before
    monkeypatch.setenv("PIP_INDEX_URL", f"https://u:{SECRET}@h/simple")
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    assert {f"PIP_INDEX_URL=https://u:{SECRET}@h/simple", "PIP_NO_BINARY=:all:"} <= set(
        surroundings.pip_settings("/v/bin/python")
    )
    assert SECRET not in errors.masked(f"the index refused {SECRET}")


@pytest.mark.parametrize("place", ["home/.pip/pip.conf", "home/.config/pip/pip.conf", "etc/pip/pip.conf", "v/pip.conf"])
def test_configuration_files_of_pip_are_found(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    python = str(tmp_path / "v" / "bin" / "python")
    before = surroundings.pip_settings(python)
    write_tree(tmp_path, {place: "[global]\nno-binary = :all:\n"})
    assert surroundings.pip_settings(python) != before
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert [text for text in surroundings.pip_settings(python) if "no-binary" in text] == []


@pytest.mark.parametrize(
    "name", ["CC", "CFLAGS", "LDFLAGS", "PKG_CONFIG_PATH", "PYCURL_SSL_LIBRARY", "RUSTFLAGS", "BUILD_EXT"]
)
def test_variables_that_reach_a_compiler_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name, raising=False)
    before = surroundings.compiling("/v/bin/python", ())
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    monkeypatch.setenv("TERM", "another")
    assert surroundings.compiling("/v/bin/python", ()) == before
    monkeypatch.setenv(name, "other")
    assert surroundings.compiling("/v/bin/python", ()) != before


def test_another_compiler_of_one_name_is_noticed_without_starting_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = write_tree(tmp_path, {"bin/gcc": ("#!/bin/sh\nexit 1\n", 0o755)}) / "bin" / "gcc"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    before = surroundings.compiling("/v/bin/python", ())
    times = os.stat(tool)
    tool.write_text("#!/bin/sh\nexit 2\n")
    os.utime(tool, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert surroundings.compiling("/v/bin/python", ()) != before


@pytest.mark.parametrize("way", ["option", "variable", "configuration", "url"])
def test_a_build_backend_in_a_local_folder_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    links = write_tree(tmp_path / "links", {"backend-1-py3-none-any.whl": "one"})
    options = {"option": ("--pre", "--find-links", str(links)), "url": ("--find-links", f"file://{links}")}.get(way, ())
    if way == "variable":
        monkeypatch.setenv("PIP_FIND_LINKS", f"https://h/x {links}")
    if way == "configuration":
        write_tree(tmp_path, {"home/.pip/pip.conf": f"[wheel]\nfind-links =\n    {links}\n"})
    before = surroundings.compiling("/v/bin/python", options)
    (links / "backend-1-py3-none-any.whl").write_text("two")
    assert surroundings.compiling("/v/bin/python", options) != before


@pytest.mark.parametrize(
    ("variable", "text", "found"),
    [
        ("1", "", "PIP_NO_INDEX"),
        ("YES", "[global]\nno-index = false\n", "PIP_NO_INDEX"),
        ("0", "[global]\nno-index = true\n", ""),
        ("", "[global]\nno-index = true\n", "no-index in {}"),
        ("", "[global]\nno_index = on\n[list]\nformat = json\n", "no-index in {}"),
        ("", "[download]\nno-index = 1\n", "no-index in {}"),
        ("", "[global]\nno-index = yes\n[download]\nno-index = no\n", ""),
        ("", "[install]\nno-index = yes\n", ""),
        ("", "no section\n", ""),
        ("", "", ""),
    ],
)
def test_what_forbids_the_package_index_is_named(
    variable: str, text: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tree(tmp_path, {"pip.conf": text}) / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
    monkeypatch.setenv("PIP_NO_INDEX", variable)
    assert surroundings.demanded(sys.executable, "no-index") == found.format(path)
