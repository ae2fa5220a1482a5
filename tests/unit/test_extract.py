"""The artifact's command line: every verb, as text and as JSON, with its exit code, in any surroundings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from deployable_zipfile import __main__, extract
from deployable_zipfile.artifact import manifests
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.cli import failure
from deployable_zipfile.errors import ArtifactError, DeploymentError, Interrupted
from deployable_zipfile.extract import main
from deployable_zipfile.install import host, installation
from deployable_zipfile.install.space import Need
from tests.support import drafts, faults
from tests.support.artifacts import PACKAGE, PYTHON, make_artifact, make_target, runtime, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import error_line, make_wheel, read_tree, run_cli, run_python


@pytest.fixture(autouse=True)
def surroundings() -> Iterator[None]:
    """Put back what a command line changes in its process."""
    umask = os.umask(0o022)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    os.umask(umask)
    for number, handler in zip(numbers, handlers):
        signal.signal(number, handler)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    return make_artifact(made_folder(made) / "site.zip", {"a é.py": "x = 1\n"}, [simple_wheel(made)])


def made_folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


class Said:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Dict[str, Any]:
        found: Dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def run(site: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object, archive: Path = site) -> Said:
        capsys.readouterr()
        code = extract.main([str(argument) for argument in arguments], str(archive))
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


def test_an_installation_says_each_step_and_its_result(run: Any, site: Path, tmp_path: Path) -> None:
    said = run("-d", tmp_path / "dest")
    assert said.code == 0
    assert said.err.splitlines() == [f"Verifying {site}", f"Installing site_one for Python {PYTHON}"]
    assert said.out.startswith("Installed build ")
    assert f" into {tmp_path}/dest: " in said.out.splitlines()[0]
    command = f"{tmp_path}/dest/venv/bin/python"
    assert said.out.splitlines()[1:] == [f"Next: put environment.json into {tmp_path}/dest, then run {command}"]
    said = run("-d", tmp_path / "dest")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{tmp_path}/dest already holds build ")


def test_quiet_says_the_result_alone(run: Any, tmp_path: Path) -> None:
    said = run("--quiet", "--no-sync", "--workers", "2", "-d", tmp_path / "dest")
    assert (said.code, said.err, len(said.out.splitlines())) == (0, "", 1)


def test_json_is_one_object(run: Any, tmp_path: Path) -> None:
    for already in (False, True):
        said = run("--json", "-d", tmp_path / "dest")
        assert said.code == 0
        assert (said.document["ok"], said.document["already"]) == (True, already)
        assert said.document["destination"] == str(tmp_path / "dest")
        assert set(said.document) == {"ok", "destination", "build_id", "python", "already", "files", "seconds"}


def test_an_error_in_json_is_an_object_too(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = run("--json", "-d", tmp_path / "file")
    assert (said.code, said.document["ok"], said.document["exit_code"]) == (5, False, 5)
    assert said.document["error"]["kind"] == "DestinationError"
    assert said.err == f"error: {tmp_path}/file: is not a folder. Remove it or choose another folder.\n"


def test_check_names_every_problem(run: Any, tmp_path: Path) -> None:
    made = tmp_path / "made"
    said = run("check", "-d", tmp_path / "dest")
    assert said.code == 0
    assert said.out.endswith("This artifact can be installed here\n")
    assert f"needs: CPython {PYTHON}" in said.out
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/mine").touch()
    bad = make_artifact(made / "bad.zip", targets=[make_target(libc_floor="99.0", libraries=("libnothing.so.1",))])
    said = run("check", "-d", tmp_path / "dest", archive=bad)
    assert said.code == 4
    assert [line.split(": ")[1] for line in said.err.splitlines()] == [
        "the C library",
        "libnothing.so.1",
        f"{tmp_path}/dest",
    ]
    said = run("check", "--json", "-d", tmp_path / "dest", archive=bad)
    assert (said.code, said.document["ok"], said.document["exit_code"], said.err) == (4, False, 4, "")
    assert [problem["kind"] for problem in said.document["problems"]] == [
        "TargetError",
        "TargetError",
        "DestinationError",
    ]


def test_check_without_a_destination_looks_at_the_host_alone(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_folder(tmp_path / "gone")
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run("check").code == 0
    other = make_artifact(tmp_path / "made" / "other.zip", targets=[make_target(python="3.7")])
    said = run("check", archive=other)
    assert said.code == 4
    assert "the artifact needs CPython 3.7, found CPython" in said.err


def test_verify_proves_the_file(run: Any, site: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(site.read_bytes()).hexdigest()
    said = run("verify")
    assert said.code == 0
    assert said.out.endswith(f"SHA-256 {digest}\n")
    said = run("verify", "--json")
    assert (said.document["sha256"], said.document["wheels"]) == (digest, 1)
    lie = make_wheel(
        tmp_path / "made",
        "lie",
        "1",
        {"a.py": "x"},
        record=lambda rows: [(name, "sha256=" + "A" * 43 if name == "a.py" else one, size) for name, one, size in rows],
    )
    said = run("verify", archive=make_artifact(tmp_path / "made" / "lie.zip", wheels=[lie]))
    assert said.code == 6
    assert "wheels/lie-1-py3-none-any.whl/a.py: its sha256 is not the one in RECORD" in said.err


@pytest.mark.deep
def test_what_comes_next_is_named_for_django_and_not_in_quiet_results(run: Any, tmp_path: Path) -> None:
    admin = make_wheel(tmp_path, "django", "4.2", {"django_x.py": "x = 1\n"}, entry_points=_ADMIN)

    def made(name: str, path: str) -> Path:
        site = manifests.Site("site_one.settings", "", "", "manage.py", path, ())
        files = {"__init__.py": "", "manage.py": ""}
        return make_artifact(tmp_path / name, files, [admin], manifest=lambda one: one._replace(site=site))

    (tmp_path / "a").mkdir()
    for name, path, command in [
        ("a.zip", "", "django-admin check --settings site_one.settings"),
        ("b.zip", "src", f"python {tmp_path}/b.zip.d/site_one/manage.py check"),
    ]:
        dest = tmp_path / f"{name}.d"
        archive = made(name, path)
        said = run("-d", dest, archive=archive)
        assert said.out.splitlines()[1] == f"Next: put environment.json into {dest}, then run {dest}/venv/bin/{command}"
        (dest / "environment.json").write_text("{}")
        said = run("-d", dest, "--force", archive=archive)
        assert said.out.splitlines()[1] == f"Next: run {dest}/venv/bin/{command}"
        assert len(run("-d", dest, "--force", "-q", archive=archive).out.splitlines()) == 1
        assert len(run("-d", dest, "--force", "--json", archive=archive).out.splitlines()) == 1


_ADMIN = "[console_scripts]\ndjango-admin = django_x:x\n"


def test_a_project_may_hold_files_that_are_called_like_wheels_and_zips(run: Any, tmp_path: Path) -> None:
    files = {"data/fake-1.0-py3-none-any.whl": "no wheel", "data/wheels/b.whl": "x", "data/a.zip": "no zip" * 999}
    archive = make_artifact(tmp_path / "own.zip", files, [simple_wheel(tmp_path)])
    said = run("verify", "--json", archive=archive)
    assert (said.code, said.document["wheels"]) == (0, 1)
    with Artifact.open(str(archive)) as artifact:
        target = host.select_target(artifact.manifest)
        assert Need(artifact).room(target, True, 4096).size < 2 * 2**20
    assert run("-d", tmp_path / "dest", archive=archive).code == 0
    assert (tmp_path / "dest/site_one/data/wheels/b.whl").read_text() == "x"


@pytest.mark.parametrize("commit", ["ab" * 20, ""])
def test_an_artifact_that_is_not_its_commit_is_installed_with_a_warning(run: Any, tmp_path: Path, commit: str) -> None:
    dirty = manifests.Source(commit, True, 1)
    archive = make_artifact(tmp_path / "d.zip", manifest=lambda manifest: manifest._replace(source=dirty))
    said = run("-d", tmp_path / "dest", archive=archive)
    assert said.code == 0
    built = f"commit {commit}" if commit else "no commit"
    expected = f"warning: {archive}: built from {built} with changes that are not committed; deploy refuses it"
    assert said.err.splitlines()[0] == expected


def test_a_clean_artifact_is_installed_without_a_warning(run: Any, tmp_path: Path) -> None:
    assert "warning" not in run("-d", tmp_path / "dest").err


def test_it_is_a_program_of_its_own(site: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (tmp_path / "python3").symlink_to(sys.executable)
    run_cli([extract.__file__, site, "-d", tmp_path / "dest"], extra_env={"PATH": f"{tmp_path}:{path}"})
    assert (tmp_path / "dest" / "venv").is_dir()


INTERRUPTED_WHILE_LOADING = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
sys.meta_path.insert(0, Finder())
runpy.run_path(sys.argv[3], run_name="__main__")
"""


@pytest.mark.parametrize("number", sampled(["SIGINT", "SIGTERM", "SIGHUP"], ["SIGINT"]))
@pytest.mark.parametrize("module", ["deployable_zipfile.extract", "deployable_zipfile.signals"])
def test_an_interrupt_before_the_runtime_is_loaded_leaves_no_traceback(
    tmp_path: Path, module: str, number: str
) -> None:
    site = make_artifact(tmp_path / "site.zip", bytecode=False)  # bytecode has a finder of its own
    done = run_python("-c", INTERRUPTED_WHILE_LOADING, module, number, site, code=130)
    assert error_line(done) == "error: this run: was interrupted. Run it again."


INTERRUPTED_AT_THE_START = """
import os, runpy, signal, sys
def trace(frame, event, argument):
    if frame.f_code.co_name == "CompiledModules":
        os.kill(os.getpid(), signal.SIGINT)
sys.settrace(trace)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_an_interrupt_while_the_first_module_is_executed_leaves_no_traceback(site: Path) -> None:
    done = run_python("-c", INTERRUPTED_AT_THE_START, site, code=130)
    assert done.stderr == "error: this run: was interrupted. Run it again.\n"


def test_verify_names_the_place_that_a_moved_tree_was_installed_as(run: Any, tmp_path: Path) -> None:
    dest, moved = tmp_path / "dest", tmp_path / "moved"
    run("-d", dest)
    dest.rename(moved)
    said = run("verify", moved)
    assert said.code == 0
    assert f"was installed as {dest}, and its scripts and programs still name that path" in said.err
    dest.symlink_to(moved)
    for path in (dest, moved):
        assert "was installed as" not in run("verify", path).err


def test_verify_of_a_tree_names_what_drifted(run: Any, tmp_path: Path) -> None:
    run("-d", tmp_path / "dest")
    said = run("verify", tmp_path / "dest")
    assert said.code == 0
    assert "as installed" in said.out
    (tmp_path / "dest/site_one/a é.py").write_text("x = 2\n")
    (tmp_path / "dest/site_one/new\nfile").touch()
    said = run("verify", tmp_path / "dest")
    assert said.code == 5
    assert said.out == "changed: site_one/a é.py\nadded: site_one/new\\nfile\n"
    assert said.err == (
        f"error: {tmp_path}/dest: 1 files changed, 0 missing, 1 added. "
        "Install the artifact into a new folder, or in its place with --force.\n"
    )
    said = run("verify", "--json", tmp_path / "dest")
    assert (said.code, said.document["ok"], said.document["exit_code"]) == (5, False, 5)
    assert said.document["changed"] == ["site_one/a é.py"]
    said = run("verify", tmp_path / "made")
    assert said.code == 5
    assert "contains no complete installation" in said.err


def test_the_tool_verifies_a_tree_without_an_artifact(run: Any, tmp_path: Path, capsys: Any) -> None:
    run("-d", tmp_path / "dest")
    capsys.readouterr()
    assert __main__.main(["verify", str(tmp_path / "dest")]) == 0
    assert "as installed" in capsys.readouterr().out
    (tmp_path / "dest/site_one/more.py").touch()
    assert __main__.main(["verify", str(tmp_path / "dest"), "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["added"] == ["site_one/more.py"]
    assert __main__.main(["verify", str(tmp_path)]) == 5
    line = capsys.readouterr().err
    assert line.startswith(
        f"error: {tmp_path}: contains no complete installation (there is no .deploy/installed.json). "
    )
    (tmp_path / ".deploy").mkdir()
    (tmp_path / ".deploy" / "journal.jsonl").touch()
    assert __main__.main(["verify", str(tmp_path)]) == 5
    assert f"is the root of a site, not an installation. Give {tmp_path}/current or" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["verify", "info", "list", "check", "selftest", "serve"])
def test_a_fifo_in_place_of_an_artifact_is_refused_at_once(tmp_path: Path, capsys: Any, verb: str) -> None:
    os.mkfifo(str(tmp_path / "pipe"))
    assert __main__.main([verb, str(tmp_path / "pipe")]) == 3
    assert capsys.readouterr().err == f"error: {tmp_path}/pipe: is not a regular file. Give the path of an artifact.\n"


def test_info_says_what_the_artifact_is(run: Any, site: Path) -> None:
    said = run("info")
    assert said.code == 0
    for part in (str(site), f"{site.stat().st_size} bytes", "site_one", "c" * 40, "alpha 1.0", f"CPython {PYTHON}"):
        assert part in said.out
    document = run("info", "--json").document
    assert document["sha256"] == hashlib.sha256(site.read_bytes()).hexdigest()
    assert document["targets"][0]["packages"] == {"alpha": "1.0"}
    assert document["build_id"] in said.out


def test_list_names_every_member_and_those_of_payloads(run: Any, site: Path, tmp_path: Path) -> None:
    said = run("list")
    assert said.code == 0
    with Artifact.open(str(site)) as artifact:
        assert [line.split(None, 2)[2] for line in said.out.splitlines()] == list(artifact.members)
    assert "644           6 site_one/a é.py" in said.out
    nested = make_artifact(tmp_path / "made" / "nested.zip", {"deep.py": "x"}, payload=True)
    names = [row["name"] for row in run("list", "--json", archive=nested).document["members"]]
    assert {".deploy/payload/000.zip", "site_one/deep.py"} < set(names)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "says nothing to do"),
        (["--json"], "-d"),
        (["-d"], "expected one argument"),
        (["-d", "x", "more"], "unrecognized arguments: more"),
        (["-d", "x", "--workers", "65"], "'65' must be an integer from 0 to 64"),
        (["-d", "x", "--workers", "-1"], "--workers"),
        (["-d", "x", "--workers", "²"], "'²' must be an integer from 0 to 64"),
        (["-d", "x", "--wait", "nan"], "'nan' must be a number of seconds"),
        (["-d", "x", "--wait", "-1"], "--wait"),
        (["-d", "x", "--wa", "1"], "unrecognized arguments"),
        (["verify", "a", "b"], "unrecognized arguments: b"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(arguments: List[str], why: str, run: Any, tmp_path: Path) -> None:
    before = read_tree(tmp_path)
    said = run(*arguments)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("error: the command line: ")
    assert why in said.err
    assert read_tree(tmp_path) == before


def test_each_kind_of_error_ends_with_its_code(run: Any, site: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    cut = made / "cut.zip"
    cut.write_bytes(site.read_bytes()[:-10])
    assert run("-d", tmp_path / "dest", archive=cut).code == 3
    assert run("-d", tmp_path / "dest", archive=made / "absent.zip").code == 3
    other = make_artifact(made / "other.zip", targets=[make_target(python="3.7")])
    assert run("-d", tmp_path / "dest", archive=other).code == 4
    bad = make_wheel(made, "bad", "1", {}, data={"scripts/python": "x"})
    assert run("-d", tmp_path / "dest", archive=make_artifact(made / "bad.zip", wheels=[bad])).code == 6
    assert faults.leftovers(str(tmp_path)) == ["made"]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "error: this run: was interrupted. Run it again."),
        (Interrupted("this run", "was stopped by SIGTERM", "Run it again"), 130, "was stopped by SIGTERM"),
        (DeploymentError("a", "b"), 8, "error: a: b."),
        (MemoryError(), 1, "error: this run: there is not enough memory. Use --workers 1."),
        (ZeroDivisionError("x"), 1, "met a defect (ZeroDivisionError: x). Run it with --debug and report it."),
        (OSError(24, "Too many open files"), 1, "too many files are open. Raise the limit (ulimit -n)."),
        (OSError(28, "No space left", "/x"), 1, "/x: No space left. Free space or inodes, or raise the quota."),
        (OSError(122, "Disk quota exceeded"), 1, "Disk quota exceeded. Free space or inodes, or raise the quota."),
        (OSError(5, "Input/output error", "/x"), 3, "error: /x: the disk could not be read. Check the disk."),
        (OSError(1, "Operation not permitted", "/x"), 1, "error: /x: Operation not permitted."),
        (OSError("odd"), 1, "error: the system: odd."),
    ],
)
def test_whatever_happens_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(installation, "install", fail)
    said = run("-d", "x")
    assert (said.code, len(said.err.splitlines())) == (code, 1)
    assert line in said.err


def test_debug_shows_where_it_happened(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run("--debug", "-d", tmp_path / "made" / "site.zip")
    assert said.code == 5
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1].startswith("error: ")
    monkeypatch.setattr(installation, "install", lambda *_, **__: 1 // 0)
    said = run("--debug", "-d", tmp_path / "dest")
    assert said.code == 1
    assert "\nZeroDivisionError: " in said.err
    assert said.err.splitlines()[-1].startswith("error: this run: met a defect (ZeroDivisionError: ")


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"], ["deploy", "--help"], ["info", "-h"]])
def test_help_is_no_error(arguments: List[str], run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 0
    assert "usage: site.zip" in capsys.readouterr().out


def test_help_names_every_verb(run: Any) -> None:
    shown = run().out
    assert all(verb in shown for verb in extract.VERBS)


@pytest.mark.parametrize(
    "order",
    sampled(
        [
            "{site} -d {dest}",
            "-d {dest} {site}",
            "--wait 1 --workers 1 {site} -d {dest}",
            "--quiet -d {dest} --json {site}",
            "{site} --destination={dest}",
        ],
        ["{site} -d {dest}", "--wait 1 --workers 1 {site} -d {dest}"],
    ),
)
def test_beside_its_sources_it_takes_the_artifact_anywhere(order: str, site: Path, tmp_path: Path) -> None:
    arguments = order.format(site=site, dest=tmp_path / "dest").split()
    run_python(PACKAGE / "extract.py", *arguments, cwd=tmp_path)
    assert (tmp_path / "dest/venv/bin/python").exists()


def test_beside_its_sources_it_wants_an_artifact(tmp_path: Path) -> None:
    done = run_python(PACKAGE / "extract.py", "-d", tmp_path / "dest", code=2)
    assert error_line(done) == "error: the command line: an artifact is missing. Run: extract.py ARTIFACT -d DEST."
    assert "usage: ARTIFACT" in run_python(PACKAGE / "extract.py", "--help").stdout


@pytest.mark.parametrize("umask", sampled([0, 0o027, 0o077, 0o777], [0o077]))
def test_modes_are_the_same_for_every_umask(umask: int, site: Path, tmp_path: Path) -> None:
    def modes(number: int) -> Dict[str, int]:
        destination = tmp_path / f"dest{number}"
        run_python(site, "-q", "-d", destination, preexec_fn=lambda: os.umask(number))
        return {name: mode for name, (mode, _) in read_tree(destination).items()}

    assert modes(umask) == modes(0o022)


POOR: Dict[str, Dict[str, Any]] = {
    "an empty environment": {"env": {}},
    "no home": {"env": {"HOME": "/nowhere", "PATH": ""}},
    "a C locale": {"env": {"LC_ALL": "C"}},
    "a POSIX locale": {"env": {"LANG": "POSIX", "PYTHONCOERCECLOCALE": "0"}},
    "an unwritable temporary folder": {"env": {"TMPDIR": "/proc"}},
    "variables of Python": {"env": {"PYTHONPATH": "/nowhere", "PYTHONWARNINGS": "ignore", "PYTHONSAFEPATH": "1"}},
    "variables of pip": {"env": {"PIP_INDEX_URL": "http://127.0.0.1:1", "PIP_REQUIRE_VIRTUALENV": "1"}},
    "twenty open files": {"shell": "ulimit -n 20"},
    "a closed stdin": {"shell": "exec <&-"},
    "a closed stderr": {"shell": "exec 2>&-"},
    "a full stderr": {"shell": "exec 2>/dev/full"},
}


@pytest.mark.parametrize("name", sampled(POOR, ["an empty environment"]))
def test_it_installs_with(name: str, site: Path, tmp_path: Path) -> None:
    poor = POOR[name]
    command = f"{poor.get('shell', 'true')}; exec {sys.executable} {site} --workers 8 -d '{tmp_path}/dest é'"
    done = run_cli(["/bin/sh", "-c", command], env=poor.get("env", {"PATH": "/usr/bin:/bin"}))
    assert "Installed build" in done.stdout
    assert (tmp_path / "dest é/site_one/a é.py").read_text() == "x = 1\n"
    assert faults.leftovers(str(tmp_path), "made") == ["dest é"]


def test_a_python_that_would_misname_files_is_refused(site: Path, tmp_path: Path) -> None:
    surroundings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_python(site, "-d", tmp_path / "dest", env=surroundings, code=None)
    if done.returncode:
        assert done.returncode == 4
        assert "the artifact uses UTF-8. Set PYTHONUTF8=1, or run it with -X utf8." in error_line(done)
        assert faults.leftovers(str(tmp_path)) == ["made"]
    else:
        assert (tmp_path / "dest/site_one/a é.py").exists()


def test_a_result_that_cannot_be_written_is_no_success(site: Path, tmp_path: Path) -> None:
    full = run_cli(["/bin/sh", "-c", f"exec {sys.executable} {site} -q -d {tmp_path}/full >/dev/full"], code=1)
    assert error_line(full).startswith("error: the result: cannot be written to stdout (No space left on device).")
    closed = run_cli(["/bin/sh", "-c", f"exec {sys.executable} {site} info >&-"], code=1)
    assert error_line(closed).startswith("error: the result: cannot be written to stdout (it is closed).")
    assert (tmp_path / "full/venv/bin/python").exists()


@pytest.mark.parametrize("closed", sampled([">&-", "<&- >&-", "<&- >&- 2>&-"], ["<&- >&- 2>&-"]))
def test_an_installation_whose_parent_closed_its_streams_is_a_success(site: Path, tmp_path: Path, closed: str) -> None:
    run_cli(["/bin/sh", "-c", f"exec {sys.executable} {site} -q -d {tmp_path}/dest {closed}"])
    run_cli(["/bin/sh", "-c", f"exec {sys.executable} {site} --json -d {tmp_path}/dest {closed}"])
    run_cli([sys.executable, site, "verify", tmp_path / "dest"])


def test_a_reader_that_goes_away_is_no_traceback(site: Path) -> None:
    command = f"{sys.executable} {site} list | head -1; {sys.executable} {site} --help | head -1"
    done = run_cli(["/bin/bash", "-c", command])
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 2


def signalled(site: Path, tmp_path: Path, number: int) -> "subprocess.Popen[str]":
    """Return an installation that got signal *number* while its workers wrote."""
    command = [sys.executable, str(site), "-d", str(tmp_path / "new" / "dest"), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Installing"):
            break
    process.send_signal(number)
    return process


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    files: Dict[str, Any] = {f"d{number % 50}/f{number}.txt": f"{number}" * 40 for number in range(4000)}
    return make_artifact(folder / "site.zip", files, bytecode=False)


@pytest.mark.parametrize("number", sampled([signal.SIGTERM, signal.SIGINT, signal.SIGHUP], [signal.SIGTERM]))
def test_a_signal_leaves_nothing(number: signal.Signals, large: Path, tmp_path: Path) -> None:
    process = signalled(large, tmp_path, number)
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail("it was installed before the signal came: make the artifact larger")
    assert process.returncode == 130
    assert err.splitlines() == [f"error: this run: was stopped by {number.name}. Run it again."]
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.deep
def test_after_a_kill_the_next_run_waits_for_the_last_workers_and_succeeds(large: Path, tmp_path: Path) -> None:
    signalled(large, tmp_path, signal.SIGKILL).communicate(timeout=60)
    assert not (tmp_path / "new" / "dest").exists()
    assert os.listdir(str(tmp_path / "new")) == [".dest.partial"]
    run_python(large, "-q", "-d", tmp_path / "new" / "dest")
    assert os.listdir(str(tmp_path / "new")) == ["dest"]
    assert len(list((tmp_path / "new/dest/site_one").rglob("*.txt"))) == 4000


@pytest.mark.deep
def test_a_signal_that_the_caller_ignores_is_ignored_by_all(large: Path, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = [sys.executable, str(large), "-q", "-d", str(tmp_path / "dest"), "--workers", "2"]
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGHUP, before)
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(0.02)
    assert process.communicate()[0].startswith(b"Installed build")
    assert process.returncode == 0


ACTING = "\x1b]0;forged\x07\x1b[2J\nforged: line\x9b1m\x7f\u202e"


@pytest.mark.parametrize("verb", ["info", "list", "check", "verify"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_what_a_foreign_manifest_says_cannot_act_on_a_terminal(
    verb: str, options: List[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edited(manifest: manifests.Manifest) -> manifests.Manifest:
        target = manifest.targets[0]._replace(machine=ACTING, libc=f"glibc {ACTING}", libraries=(ACTING,))
        source = manifest.source._replace(commit=ACTING)
        return manifest._replace(source=source, tool_version=ACTING, targets=(target,))

    draft = drafts.draft(runtime=runtime())
    draft.edit = edited
    path = draft.write(tmp_path / "site.zip")
    main([verb, *options], str(path))
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "forged: line" not in [line.strip() for line in text.splitlines()]
        assert not [character for character in text if character != "\n" and not character.isprintable()]
    assert "forged" in said.out + said.err or verb in ("list", "verify")


def test_the_name_of_the_artifact_cannot_act_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--nothing"], [], ["-h"]):
        with contextlib.suppress(SystemExit):
            main(arguments, str(tmp_path / "a\x1b[2J.zip"))
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize(("argument", "advice"), [("/tmp/x", "site.zip -d /tmp/x"), ("./x", "site.zip -d ./x")])
def test_a_folder_in_place_of_a_verb_gets_the_option_to_use(argument: str, advice: str, run: Any) -> None:
    said = run(argument)
    assert said.code == 2
    assert f"is not a verb. To install, run: {advice}." in said.err


def test_an_unknown_verb_gets_the_list_of_verbs(run: Any) -> None:
    said = run("instal")
    assert (said.code, said.err[:29]) == (2, "error: instal: is not a verb.")
    assert "check, verify, info" in said.err


def test_a_verb_of_the_tool_that_builds_is_explained(run: Any) -> None:
    for verb in (*__main__._BUILD_VERBS, *__main__._VIEWS):
        said = run(verb, "other.zip")
        assert (said.code, said.out) == (2, "")
        assert f"Run it where deployable-zipfile is installed: deployable-zipfile {verb} --help." in said.err


def test_info_names_no_version_of_the_c_library_that_nothing_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["info"], str(drafts.draft(runtime=runtime()).write(tmp_path / "site.zip")))
    assert "or newer" not in capsys.readouterr().out


@pytest.mark.parametrize("error", [ImportError("zip"), EOFError("short"), zlib.error("bad"), SyntaxError("null bytes")])
def test_an_artifact_that_changes_while_it_runs_is_a_damaged_artifact(error: Exception) -> None:
    assert failure(error).exit_code == ArtifactError.exit_code


@pytest.mark.parametrize("words", [["-d", "dest", "--no-sync", "--quiet"], ["info"], ["--help"]])
def test_nothing_is_imported_that_takes_long_and_is_not_needed(words: List[str], site: Path) -> None:
    imported = _imported(site, *words, cwd=site.parent)
    assert "deployable_zipfile.cli" in imported
    needless = {"venv", "logging", "subprocess", "shutil", "pathlib", "platform", "difflib", "urllib.parse", "shlex"}
    needless |= {f"deployable_zipfile.install.{name}" for name in ("base", "store", "sharing", "replacement", "drift")}
    # A .pth file may import anything at every start, and argparse of Python 3.8 imports shutil.
    assert imported & needless <= _imported("-c", "import argparse, runpy")


def _imported(*arguments: object, **options: Any) -> "set[str]":
    """Return the modules that a program imports."""
    done = run_python("-X", "importtime", *arguments, **options)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
