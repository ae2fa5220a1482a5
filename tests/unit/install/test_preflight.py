"""What a host must have is found out before a byte is written, all of it in one run."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

from deployable_zipfile.artifact import manifests
from deployable_zipfile.install import host, preflight
from tests.support.artifacts import PYTHON, bare_manifest, make_target

SIZE = 10**6


def compiled(**changes: Any) -> manifests.Target:
    given: Dict[str, Any] = {"libc": "glibc", "libc_floor": "2.17", **changes}
    return make_target(**given)


def lines(found: "List[Any]") -> List[str]:
    return [str(problem) for problem in found]


@pytest.fixture
def glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "libc", lambda: ("glibc", "2.17"))


def test_a_host_that_has_everything_has_no_problem(tmp_path: Path) -> None:
    assert lines(preflight.problems(bare_manifest(make_target(), a=SIZE), str(tmp_path / "x" / "dest"))) == []


def test_all_problems_come_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").touch()
    monkeypatch.setattr(host, "machine", lambda: "riscv64")
    monkeypatch.setattr(host, "libc", lambda: ("glibc", "2.12"))
    found = preflight.problems(
        bare_manifest(compiled(machine="x86_64", libraries=("libnone.so.7", "libnever.so.1"))), str(tmp_path / "dest")
    )
    assert [problem.exit_code for problem in found] == [4, 4, 4, 5]
    assert lines(found) == [
        "this machine: is riscv64, the artifact contains files for x86_64. Build it for this machine.",
        (
            "the C library: is glibc 2.12, the artifact needs 2.17 or newer. "
            f"Build it with --target cp{PYTHON.replace('.', '')}-manylinux_2_12_riscv64."
        ),
        "libnone.so.7, libnever.so.1: shared libraries that compiled files need are missing. Install their packages.",
        f"{tmp_path}/dest: is not empty (it holds mine). Install into a new folder.",
    ]


def test_a_wrong_python_does_not_hide_a_wrong_destination(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    found = preflight.problems(bare_manifest(make_target(python="3.7")), str(tmp_path))
    assert [problem.exit_code for problem in found] == [4, 5]


def test_what_holds_nothing_compiled_runs_on_any_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "machine", lambda: "riscv64")
    monkeypatch.setattr(host, "libc", lambda: ("musl", ""))
    assert lines(preflight.problems(bare_manifest(make_target(libc_floor="")), str(tmp_path / "dest"))) == []


@pytest.mark.parametrize(("name", "shown"), [("musl", "musl"), ("", "unknown")])
def test_another_c_library_is_named(name: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "libc", lambda: (name, ""))
    found = lines(preflight.problems(bare_manifest(compiled()), str(tmp_path / "dest")))
    assert found == [f"the C library: is {shown}, the artifact needs glibc. Build it for this system."]


@pytest.mark.parametrize("version", ["2.17", "2.28", "3.0"])
def test_versions_are_compared_as_numbers(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "libc", lambda: ("glibc", version))
    assert lines(preflight.problems(bare_manifest(compiled(libc_floor="2.5")), str(tmp_path / "dest"))) == []


@pytest.mark.usefixtures("glibc")
def test_a_32_bit_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    monkeypatch.setattr(host, "machine", lambda: "x86_64")
    found = lines(preflight.problems(bare_manifest(compiled(machine="x86_64")), str(tmp_path / "dest")))
    assert found == ["this Python: is a 32-bit program. Use a 64-bit Python."]


@pytest.mark.usefixtures("glibc")
def test_libraries_are_looked_for_where_the_loader_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more.d").mkdir()
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "libshop.so.1").touch()
    (tmp_path / "ld.so.conf").write_text("include more.d/*.conf\n# /never\n")
    (tmp_path / "more.d" / "a.conf").write_text(f"{tmp_path}/libs # ours\ninclude {tmp_path}/ld.so.conf\n")
    assert str(tmp_path / "libs") in list(preflight._configured(str(tmp_path / "ld.so.conf"), 0))
    assert list(preflight._configured(str(tmp_path / "absent"), 0)) == []
    monkeypatch.setattr(preflight, "_folders", [str(tmp_path / "libs")])
    found = preflight.problems(bare_manifest(compiled(libraries=("libshop.so.1",))), str(tmp_path / "dest"))
    assert lines(found) == []


def test_the_own_c_library_is_found() -> None:
    assert preflight._library_found("libc.so.6")
    assert not preflight._library_found("libnothing.so.9")


@pytest.mark.parametrize("module", ["zlib", "venv"])
def test_a_missing_module_names_the_package(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    found = lines(preflight.problems(bare_manifest(make_target()), str(tmp_path / "dest")))
    assert len(found) == 1
    assert found[0].startswith(f"Python's {module} module: is missing in {sys.executable}. Install")
    assert f"pythonX.Y-{module}" in found[0]


def test_a_python_that_writes_other_file_names_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    found = lines(preflight.problems(bare_manifest(make_target()), str(tmp_path / "dest")))
    assert found == [
        (
            "this Python: uses iso8859-1 for file names, the artifact uses UTF-8. "
            "Set PYTHONUTF8=1, or run it with -X utf8."
        )
    ]


def statvfs(monkeypatch: pytest.MonkeyPatch, **changes: int) -> None:
    real = os.statvfs("/")
    fields = ("f_flag", "f_bavail", "f_blocks", "f_frsize", "f_files", "f_favail")
    volume = SimpleNamespace(**dict({name: getattr(real, name) for name in fields}, **changes))
    monkeypatch.setattr(os, "statvfs", lambda _: volume)


def test_a_place_where_nothing_can_be_executed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statvfs(monkeypatch, f_flag=os.ST_NOEXEC)
    found = lines(preflight.problems(bare_manifest(make_target()), str(tmp_path / "dest")))
    assert found == [f"{tmp_path}/dest: is on a file system mounted noexec. Choose another destination."]


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = lines(preflight.problems(bare_manifest(make_target()), str(tmp_path / "file" / "a" / "dest")))
    assert found == [f"{tmp_path}/file: is not a folder. Choose another destination."]


def test_a_parent_that_is_a_dangling_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    found = lines(preflight.problems(bare_manifest(make_target()), str(tmp_path / "link" / "dest")))
    assert found == [f"{tmp_path}/link: is not a folder. Choose another destination."]


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (str(path) == str(tmp_path) and mode & os.W_OK))
    found = lines(preflight.problems(bare_manifest(make_target()), str(tmp_path / "dest")))
    assert found == [
        (
            f"{tmp_path}/dest: cannot be written ({tmp_path} is not writable for uid {os.geteuid()}). "
            "Run it as a user who may write there: the tree is prepared beside the destination."
        )
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="the trap is set for root")
@pytest.mark.parametrize(("mode", "refused"), [(0o777, True), (0o775, True), (0o1777, False), (0o755, False)])
def test_root_writes_nowhere_that_others_can_redirect(mode: int, refused: bool, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    found = lines(preflight.problems(bare_manifest(make_target()), str(folder / "dest")))
    expected = f"{folder}: others may write to it (mode {mode:04o}) and this is root. Run: chmod go-w {folder}."
    assert found == ([expected] if refused else [])


def test_a_user_may_install_where_the_group_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    tmp_path.chmod(0o775)
    assert lines(preflight.problems(bare_manifest(make_target()), str(tmp_path / "dest"))) == []
