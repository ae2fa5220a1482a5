"""The artifact's first lines: they run on any Python, shadow nothing, and say what is wrong."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from deployable_zipfile import bootstrap
from deployable_zipfile.artifact import layout
from deployable_zipfile.builder import bytecode_worker
from tests.support.artifacts import PACKAGE, PYTHON, container, make_artifact, runtime
from tests.support.depth import sampled
from tests.support.helpers import error_line, run_cli, run_python
from tests.support.machine import lacking, mounted
from tools import interpreters


def older(version: str) -> str:
    """Return a Python that is too old to run artifacts; the test is skipped where there is none."""
    found: Optional[str] = interpreters.find(version, os.environ)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in sorted(root.glob(f"versions/{version}.*/bin/python")):
        found = found or str(path)
    if not found:
        pytest.skip(f"no Python {version} on this machine")
    return found


@pytest.mark.parametrize("version", sampled(["2.7", "3.6", "3.7"], 1))
def test_an_old_python_is_told_what_is_needed(version: str, tmp_path: Path) -> None:
    python = older(version)
    site = make_artifact(tmp_path / "site.zip")
    done = run_cli([python, site, "-d", tmp_path / "dest"], code=4)
    assert error_line(done).startswith(f"error: this artifact: needs Python 3.8 or newer, found {version}.")
    assert error_line(done).endswith(". Run it with the Python that will run the site.")
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize("flags", sampled([[], ["-I"], ["-I", "-S"], ["-E", "-s", "-B"]], [["-I"]]))
def test_it_runs_with_any_flags(flags: List[str], tmp_path: Path) -> None:
    site = make_artifact(tmp_path / "site.zip")
    run_python(*flags, site, "-q", "-d", tmp_path / "dest", env={})
    assert (tmp_path / "dest/venv/bin/python").exists()


@pytest.mark.parametrize(
    "name",
    sampled(["json", "email", "calendar", "platform", "argparse", "struct", "errors", "extract"], ["json"]),
)
def test_a_project_named_like_a_module_shadows_nothing(name: str, tmp_path: Path) -> None:
    site = make_artifact(tmp_path / "site.zip", {"__init__.py": "raise SystemExit('shadowed')\n"}, name=name)
    run_python("-I", site, "-q", "-d", tmp_path / "dest")
    assert (tmp_path / "dest" / name / "__init__.py").exists()


def test_it_runs_by_itself_through_a_link_and_from_another_folder(tmp_path: Path) -> None:
    site = make_artifact(tmp_path / "site.zip")
    (tmp_path / "folder with blank").mkdir()
    (tmp_path / "folder with blank" / "lïnk").symlink_to(site)
    path = f"{os.path.dirname(sys.executable)}:/usr/bin:/bin"
    for number, command in enumerate([["./site.zip"], ["folder with blank/lïnk"], [sys.executable, "site.zip"]]):
        run_cli([*command, "-q", "-d", f"dest {number}"], cwd=tmp_path, env={"PATH": path})
        assert (tmp_path / f"dest {number}" / "venv/bin/python").exists()


def rewritten(tmp_path: Path, change: Dict[str, bytes]) -> Path:
    members = {name: change.get(name, data) for name, data in runtime().items()}
    path = tmp_path / "site.zip"
    path.write_bytes(container({name: data for name, data in members.items() if data}, first_line="#!python\n"))
    return path


DAMAGED = [b"", b"(", b"\0", b"1 / 0", b"import nothing_of_that_name", b"\xff\xfe"]


@pytest.mark.parametrize("content", sampled(DAMAGED, [b"", b"1 / 0"]))
@pytest.mark.parametrize("name", sampled(["extract.py", "errors.py", "cli.py"], ["errors.py"]))
def test_damaged_code_of_its_own_is_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    done = run_python(rewritten(tmp_path, {f".deploy/runtime/{name}": content}), "-d", "x", code=3)
    assert error_line(done).startswith("error: this artifact: cannot load its own code (")
    assert error_line(done).endswith("). Copy it again.")
    done = run_python(tmp_path / "site.zip", "-d", "x", "--debug", code=1)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("content", sampled(DAMAGED[1:], [b"\0", b"1 / 0"]))
@pytest.mark.parametrize(
    "name",
    sampled(["artifact/zipreader.py", "verbs/install.py", "install/installation.py"], ["install/installation.py"]),
)
def test_damaged_code_that_is_loaded_later_is_one_line(name: str, content: bytes, tmp_path: Path) -> None:
    done = run_python(rewritten(tmp_path, {f".deploy/runtime/{name}": content}), "-d", tmp_path / "x", code=3)
    assert error_line(done).startswith("error: this artifact: cannot load its own code (")
    assert error_line(done).endswith("). Copy it again.")
    assert not (tmp_path / "x").exists()


def test_a_damaged_deflate_stream_is_one_line(tmp_path: Path) -> None:
    path = rewritten(tmp_path, {})
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(".deploy/runtime/artifact/layout.py")
    data = bytearray(path.read_bytes())
    at = info.header_offset + 30 + len(info.filename) + 50
    data[at : at + 200] = bytes(200)
    path.write_bytes(data)
    assert "cannot load its own code" in error_line(run_python(path, "-d", "x", code=3))


def test_the_line_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.refused("a\nb é " + "x" * 900, "Copy\nit", 3) == 3
    line = capsys.readouterr().err
    assert line.startswith("error: this artifact: a b ? x")
    assert len(line) == 501
    assert line.count("\n") == 1


def test_a_closed_stderr_is_no_second_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert bootstrap.refused("is not run as a zip") == 4


def test_outside_an_artifact_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main() == 4
    assert "error: this artifact: is not run as a zip." in capsys.readouterr().err


def test_a_python_without_zlib_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "zlib", None)
    assert bootstrap.main() == 4
    line = capsys.readouterr().err
    assert f"needs Python's zlib module, which {PYTHON}." in line
    assert sys.executable in line


def test_a_python_without_zlib_can_read_the_line_that_tells_it_so(tmp_path: Path) -> None:
    site = make_artifact(tmp_path / "site.zip")
    program = (
        "import sys, runpy; sys.modules['zlib'] = None; sys.argv = sys.argv[1:];"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = run_python("-I", "-c", program, site, "-d", tmp_path / "dest", code=4)
    assert "needs Python's zlib module, which " in error_line(done)


def test_the_end_leaves_nothing_unwritten_and_frees_nothing() -> None:
    lines = "import atexit, sys\natexit.register(print, 'freed')\nsys.stdout.write('x' * 99)\nbootstrap.leave(3)\n"
    program = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\nfrom deployable_zipfile import bootstrap\n"
    done = run_cli([sys.executable, "-c", program + lines], code=3)
    assert done.stdout == "x" * 99


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_end_does_not_hide_that_output_was_lost(tmp_path: Path) -> None:
    site = make_artifact(tmp_path / "site.zip")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, str(site), "list"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode != 0


def test_an_old_version_is_refused_in_process_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version: Any = (3, 7, 9, "final", 0)
    monkeypatch.setattr(sys, "version_info", version)
    assert bootstrap.main() == 4
    assert "needs Python 3.8 or newer, found 3.7.9 at" in capsys.readouterr().err


def test_it_imports_nothing_but_sys_before_the_archive_is_off_the_path() -> None:
    lines = (PACKAGE / "bootstrap.py").read_text(encoding="ascii").splitlines()
    before = lines[: next(number for number, line in enumerate(lines) if line.startswith("sys.path[:] ="))]
    assert [line for line in before if line.startswith(("import ", "from "))] == ["import sys"]


def test_an_interrupt_before_the_command_line_runs_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "site.zip"
    members = {**runtime(), ".deploy/runtime/extract.py": b"raise KeyboardInterrupt\n"}
    path.write_bytes(container(members))
    done = run_python(path, "info", code=130)
    assert done.stderr == "error: this artifact: was interrupted. Run it again.\n"


def test_what_a_damaged_module_says_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "site.zip"
    members = {**runtime(), ".deploy/runtime/extract.py": b"raise ValueError('\\x1b[2J\\x7f')\n"}
    path.write_bytes(container(members))
    done = run_python(path, "info", code=3)
    assert error_line(done).isprintable()


def by_shell(tmp_path: Path, *words: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run *words* in a shell that reads binary files, as sh of Debian does; `python` is this Python there."""
    shell = shutil.which("dash")
    if shell is None:
        lacking("no dash, and bash since 5.1 refuses files with NUL bytes in their second line", "REQUIRE_DASH")
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    if not (programs / "python").exists():
        (programs / "python").symlink_to(os.path.realpath(sys.executable))
    return run_cli([shell, *words], code=code, env={"PATH": f"{programs}:/usr/bin:/bin"})


@pytest.mark.parametrize("name", sampled(["site.zip", "the site's $HOME.zip", "-x.zip"], 1))
def test_a_shell_starts_the_interpreter_of_the_first_line(name: str, tmp_path: Path) -> None:
    site = make_artifact(tmp_path / name)
    site.chmod(0o644)
    done = by_shell(tmp_path, site, "-q", "-d", tmp_path / "a destination")
    assert done.stderr == ""
    assert (tmp_path / "a destination/venv/bin/python").exists()


def test_a_shell_returns_the_exit_code_and_the_error_of_the_artifact(tmp_path: Path) -> None:
    site = make_artifact(tmp_path / "site.zip")
    done = by_shell(tmp_path, site, code=2)
    assert error_line(done).startswith("error: the command line: says nothing to do.")


def test_a_shell_that_does_not_know_the_file_runs_nothing_of_it(tmp_path: Path) -> None:
    site = make_artifact(tmp_path / "site.zip")
    with open(site, "rb") as file:
        done = subprocess.run(
            [shutil.which("dash") or lacking("no dash", "REQUIRE_DASH"), "-s"],
            stdin=file,
            cwd=str(tmp_path),
            env={"PATH": "/usr/bin:/bin"},
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == b"Run python3 FILE\n"
    assert sorted(os.listdir(str(tmp_path))) == ["site.zip"]


def test_the_header_of_the_entry_point_means_nothing_to_a_shell(tmp_path: Path) -> None:
    header = make_artifact(tmp_path / "site.zip").read_bytes().partition(b"\n")[2].partition(b'"""')[0]
    assert header.endswith(layout.MAIN.encode())
    # It holds the checksum of bootstrap.py: another word in a comment of that file gives another.
    assert not set(header).intersection(b"\n\"'`\\$&|;<>()#"), f"change a comment in bootstrap.py: {header!r}"


def test_it_installs_from_a_file_system_mounted_noexec(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "noexec,size=16m", "none"):
        site = make_artifact(disk / "site.zip")
        site.chmod(0o644)
        run_python("-I", site, "-q", "-d", tmp_path / "one")
        by_shell(tmp_path, site, "-q", "-d", tmp_path / "two")
    for name in ("one", "two"):
        assert (tmp_path / name / "venv/bin/python").exists()


def with_bytecode(tmp_path: Path, sources: Dict[str, bytes], change: Callable[[bytes], bytes] = bytes) -> Path:
    """Return an artifact's runtime with the bytecode of it that the build makes, and other *sources* beside it."""
    tag = sys.implementation.cache_tag
    compiled = {}
    for member, source in runtime().items():
        module = layout.runtime_path(member)
        if module.endswith(".py"):
            folder, slash, name = module.rpartition("/")
            data = bytecode_worker.compiled(source, module)
            assert data is not None
            compiled[f"{folder}{slash}__pycache__/{name[:-3]}.{tag}.pyc"] = data
    nested = change(container(compiled))
    path = tmp_path / "site.zip"
    members = {**runtime(), **sources, layout.runtime_bytecode(tag): nested}
    path.write_bytes(container(members, first_line="#!python\n"))
    return path


MODULES = ("extract.py", "errors.py", "cli.py", "artifact/__init__.py", "artifact/zipreader.py")
BROKEN = {f"{layout.RUNTIME}/{name}": b"raise SystemExit('compiled once more')\n" for name in MODULES}


@pytest.mark.parametrize(
    "flags", sampled([["-I"], ["-I", "-S"], ["-I", "-B", "-O"], ["-E", "-s"]], [["-I", "-B", "-O"]])
)
def test_the_tools_own_modules_come_from_bytecode(flags: List[str], tmp_path: Path) -> None:
    done = run_python(*flags, with_bytecode(tmp_path, BROKEN), "--help")
    assert "Install this artifact" in done.stdout
    done = run_python(*flags, tmp_path / "site.zip", "info", code=3)
    assert error_line(done).startswith("error: .deploy/manifest.json: is missing.")


def test_a_traceback_names_the_modules_by_their_place_in_the_artifact(tmp_path: Path) -> None:
    done = run_python("-I", with_bytecode(tmp_path, BROKEN), "info", "--debug", code=3)
    assert f'File "{tmp_path}/site.zip/.deploy/runtime/artifact/zipreader.py", line ' in done.stderr


def test_bytecode_for_another_magic_number_is_left_and_the_sources_are_taken(tmp_path: Path) -> None:
    magic = importlib.util.MAGIC_NUMBER

    def other(nested: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(nested)) as archive:
            return container({name: b"\1\2\3\4" + archive.read(name)[len(magic) :] for name in archive.namelist()})

    done = run_python("-I", with_bytecode(tmp_path, {}, other), "--help")
    assert "Install this artifact" in done.stdout
    done = run_python("-I", with_bytecode(tmp_path, BROKEN, other), "--help", code=1)
    assert "compiled once more" in done.stderr


@pytest.mark.parametrize("share", sampled([0.1, 0.5, 0.9], [0.5]))
@pytest.mark.parametrize("damage", sampled([b"\0" * 64, b"\xff" * 3, b"N"], 1))
def test_damaged_bytecode_is_one_line(share: float, damage: bytes, tmp_path: Path) -> None:
    def damaged(nested: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(nested)) as archive:
            info = archive.getinfo(f"__pycache__/extract.{sys.implementation.cache_tag}.pyc")
        at = info.header_offset + 30 + len(info.filename) + int(share * info.compress_size)
        return nested[:at] + damage + nested[at + len(damage) :]

    done = run_python(with_bytecode(tmp_path, {}, damaged), "-d", "x", code=3)
    assert error_line(done).startswith("error: this artifact: cannot load its own code (")
    assert error_line(done).endswith("). Copy it again.")


@pytest.mark.parametrize(
    "name", sampled(["probe", "confine", "collect", "overlay", "guard", "scratch", "show"], ["probe"])
)
def test_the_release_is_given_the_source_of_what_it_runs(name: str, tmp_path: Path) -> None:
    path = with_bytecode(tmp_path, {})
    code = """
import importlib.machinery, sys, zipimport
loader = zipimport.zipimporter(sys.argv[1])
main = {"__loader__": loader, "__name__": "started"}
exec(loader.get_code("__main__"), main)
main["load_package"](sys.argv[1])
from deployable_zipfile.deploy import site
print(site.program(sys.argv[2]), end="")
assert not hasattr(site.__spec__.loader, "archive"), "it was not imported from bytecode"
"""
    source = Path(bootstrap.__file__).parent / "deploy" / f"{name}.py"
    assert run_python("-I", "-c", code, path, name).stdout == source.read_text("utf-8")


def test_garbage_is_collected_again_when_the_runtime_is_loaded(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")
    program = (
        "import gc, runpy, sys; started = runpy.run_path(sys.argv[1], run_name='started'); "
        "print(started['load_package'](sys.argv[1]).__name__, gc.isenabled())"
    )
    assert run_python("-c", program, artifact).stdout.split() == ["deployable_zipfile.extract", "True"]


def test_of_very_many_members_only_those_of_the_package_stay_known_to_the_import_system(tmp_path: Path) -> None:
    project = {f"folder/file_{number}.txt": "" for number in range(6000)}
    path = make_artifact(tmp_path / "site.zip", project, bytecode=False)
    code = """
import sys, zipimport
loader = zipimport.zipimporter(sys.argv[1])
before = len(zipimport._zip_directory_cache[sys.argv[1]])
main = {"__loader__": loader, "__name__": "started"}
exec(loader.get_code("__main__"), main)
main["load_package"](sys.argv[1]).main(["info", "--quiet"], sys.argv[1])
from deployable_zipfile.deploy import site
from deployable_zipfile import loadenv
assert site.__spec__.loader.archive == loadenv.__spec__.loader.archive == sys.argv[1]
known = zipimport._zip_directory_cache[sys.argv[1]]
print("known:", before - len(known), any("file_" in name for name in known))
"""
    assert run_python("-I", "-c", code, path).stdout.endswith("known: 6000 False\n")
