"""The self-test: finds in a scratch folder what would not run on this machine."""

from __future__ import annotations

import contextlib
import importlib.machinery
import io
import json
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from deployable_zipfile import extract
from deployable_zipfile.deploy import selftest
from tests.support.artifacts import make_artifact
from tests.support.depth import sampled
from tests.support.helpers import make_wheel
from tests.support.sites import BROKEN_WSGI, MANAGE, PROJECT, WSGI, write_environment

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


def _library() -> bytes:
    """Return a library that every process of Python has loaded, and that is no module."""
    mapped = Path("/proc/self/maps").read_text().splitlines()
    return Path(next(line.split()[-1] for line in mapped if "/libc.so" in line or "/libc-" in line)).read_bytes()


LIBRARY = _library()


def artifact(folder: Path, wheels: Dict[str, Dict[str, Any]], wsgi: str = WSGI, manage: str = MANAGE) -> Path:
    """Write an artifact with one wheel for each name."""
    made = [make_wheel(folder, name, "1.0", dict(files)) for name, files in wheels.items()]
    project = {f"{PROJECT}/__init__.py": "", f"{PROJECT}/wsgi.py": wsgi, "manage.py": manage}
    return make_artifact(folder / "artifact.zip", dict(project), made, name=PROJECT)


class Outcome:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.document: Dict[str, Any] = json.loads(out)
        self.err = err
        self.faults = {one["what"]: one["fault"] for one in self.document["findings"] if one["fault"]}


def run(path: Path, tmp_path: Path, capsys: Any, *words: str) -> Outcome:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    code = extract.main(["selftest", "--json", "-q", "--scratch", str(scratch), *words], str(path))
    out, err = capsys.readouterr()
    if "--keep" not in words:
        assert os.listdir(str(scratch)) == []
    return Outcome(code, out, err)


CRASH = "import os; os.kill(os.getpid(), 11)"
FIRST = "import sys; assert 'before' not in sys.modules"
IMPORTED: Dict[str, Dict[str, Any]] = {
    "alpha": {"alpha/__init__.py": "import missing_thing"},
    "before": {"before/__init__.py": ""},
    "crash": {"crash/__init__.py": CRASH},
    "early": {"early/__init__.py": FIRST},
    "fast": {"fast/__init__.py": "", f"fast/_it{SUFFIX}": "no ELF", "fast.libs/libx-1.so.1": "no ELF"},
    "gamma": {"gamma.py": "import nope"},
    "omega": {"omega/__init__.py": "raise SystemExit(3)"},
    "prints": {"prints/__init__.py": 'print(\'["end", "prints", ""]\'); import nope'},
    "raw": {"raw/__init__.py": "", "raw/_cut.abi3.so": LIBRARY[:4096], "raw/_raw.abi3.so": LIBRARY},
    "ignored": {"ignored.py": "import nope"},
    "settings": {"wants_settings/__init__.py": "import os; assert os.environ['CONFIGURED']"},
    "tests": {"alphatests.py": "raise ModuleNotFoundError('No module named pytest', name='pytest')"},
    "tool": {"tool.py": "raise ModuleNotFoundError('No module named lxml', name='lxml')"},
    "window": {"window.py": "raise ModuleNotFoundError('No module named tkinter', name='tkinter')"},
    "windows": {"windows.py": "import tkinter_is_not_here as tkinter\n"},
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return what a self-test of all these wheels together came to."""
    folder = tmp_path_factory.mktemp("imported")
    scratch = folder / "scratch"
    scratch.mkdir()
    path = artifact(folder, IMPORTED, "import os\nos.environ['CONFIGURED'] = '1'\n" + WSGI)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = extract.main(["selftest", "--json", "-q", "--scratch", str(scratch), "--ignore", "ignored"], str(path))
    return Outcome(code, out.getvalue(), err.getvalue())


def test_what_cannot_be_imported_is_named_and_everything_is_tried(imported: Outcome) -> None:
    assert imported.code == 8
    assert imported.document["tried"] == 19
    assert set(imported.faults) == {
        *("alpha", "crash", "fast._it", "gamma", "omega", "prints", "raw._cut", "tool", "windows"),
        next(name for name in imported.faults if name.endswith("fast.libs/libx-1.so.1")),
    }
    assert imported.faults["alpha"] == "ModuleNotFoundError: No module named 'missing_thing'"
    assert imported.faults["omega"] == "SystemExit: 3"


def test_a_module_that_takes_its_process_down_is_named_and_the_rest_is_tried(imported: Outcome) -> None:
    assert imported.faults["crash"] == "its process ended with status -11"
    assert "gamma" in imported.faults


@pytest.mark.parametrize("module", ["wants_settings", "early"])
def test_a_module_that_wants_the_settings_or_to_come_first_is_no_fault(imported: Outcome, module: str) -> None:
    assert module not in imported.faults


def test_a_module_of_the_systems_python_for_windows_may_be_missing(imported: Outcome) -> None:
    assert "window" not in imported.faults
    assert "windows" in imported.faults


def test_a_module_of_tests_may_lack_its_runner(imported: Outcome) -> None:
    assert "alphatests" not in imported.faults
    assert "tool" in imported.faults


def test_a_library_that_is_named_as_a_module_is_only_loaded(imported: Outcome) -> None:
    assert "raw._raw" not in imported.faults
    assert "raw._cut" in imported.faults


def test_what_a_module_prints_is_no_answer(imported: Outcome) -> None:
    assert "prints" in imported.faults


def test_a_compiled_file_that_is_none_is_found(imported: Outcome) -> None:
    assert "fast._it" in imported.faults


def test_what_is_ignored_among_other_faults_is_none(imported: Outcome) -> None:
    assert "ignored" not in imported.faults


@pytest.mark.deep
def test_what_is_ignored_is_no_fault(tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {name: IMPORTED[name] for name in ("alpha", "omega")})
    assert run(path, tmp_path, capsys, "--ignore", "alpha", "--ignore", "omega").code == 0


@pytest.mark.deep
def test_a_good_artifact_passes_and_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {"alpha": {"alpha/__init__.py": "", "alpha_tool.py": ""}})
    outcome = run(path, tmp_path, capsys)
    assert outcome.code == 0, outcome.faults
    assert outcome.document["tried"] == 2
    assert outcome.faults == {}
    assert [one["what"] for one in outcome.document["findings"]][-1] == "GET /"


@pytest.mark.deep
def test_commands_that_a_site_needs_run_after_migrate(tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {"alpha": {"alpha.py": ""}})
    outcome = run(path, tmp_path, capsys, "--manage", "compress --force", "--manage", "warm")
    assert (outcome.code, outcome.faults) == (0, {})
    names = [finding["what"] for finding in outcome.document["findings"]]
    assert names[-4:] == ["manage.py migrate", "manage.py compress --force", "manage.py warm", "GET /"]


@pytest.mark.deep
def test_a_command_that_a_site_needs_and_that_fails_is_named(tmp_path: Path, capsys: Any) -> None:
    failing = artifact(tmp_path, {"alpha": {"alpha.py": ""}}, manage="import sys\nsys.exit('warm' in sys.argv)\n")
    assert list(run(failing, tmp_path, capsys, "--manage", "compress", "--manage", "warm").faults) == ["manage.py warm"]


@pytest.mark.deep
@pytest.mark.parametrize("runner", ["pytest", "hypothesis", "nose"])
def test_a_module_of_tests_may_lack_any_runner(runner: str, tmp_path: Path, capsys: Any) -> None:
    missing = f"raise ModuleNotFoundError('No module named {runner}', name={runner!r})"
    other = "raise ModuleNotFoundError('No module named lxml', name='lxml')"
    path = artifact(tmp_path, {"alpha": {"alphatests.py": missing}, "beta": {"beta.py": other}})
    assert list(run(path, tmp_path, capsys).faults) == ["beta"]


@pytest.mark.deep
@pytest.mark.parametrize("suffix", [".abi3.so", SUFFIX])
def test_a_library_with_any_suffix_of_a_module_is_only_loaded(suffix: str, tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {"alpha": {"alpha/__init__.py": "", f"alpha/_raw{suffix}": LIBRARY}})
    assert run(path, tmp_path, capsys).faults == {}
    damaged = artifact(tmp_path, {"alpha": {"alpha/__init__.py": "", f"alpha/_raw{suffix}": LIBRARY[:4096]}})
    assert list(run(damaged, tmp_path, capsys).faults) == ["alpha._raw"]


@pytest.mark.parametrize(
    ("wsgi", "what"),
    sampled(
        [
            (BROKEN_WSGI, "WSGI callable"),
            ("application = 7\n", "WSGI callable"),
            ("def application(environ, start): start('500 No', []); return [b'']\n", "GET /"),
            ("def application(environ, start): raise ValueError('no answer')\n", "GET /"),
        ],
        [(BROKEN_WSGI, "WSGI callable")],
    ),
)
def test_an_application_that_does_not_answer_is_found(tmp_path: Path, capsys: Any, wsgi: str, what: str) -> None:
    outcome = run(artifact(tmp_path, {}, wsgi), tmp_path, capsys)
    assert outcome.code == 8
    assert what in outcome.faults


def test_a_server_error_is_shown_with_its_reason(tmp_path: Path, capsys: Any) -> None:
    wsgi = """
import sys, traceback
def application(environ, start):
    try:
        environ["of no server"]
    except KeyError:
        traceback.print_exc(file=environ["wsgi.errors"])
    start("500 No", [])
    return [b""]
"""
    outcome = run(artifact(tmp_path, {}, wsgi), tmp_path, capsys)
    assert outcome.faults == {"GET /": "status 500: KeyError: 'of no server'"}


def test_the_sites_own_database_is_never_used(tmp_path: Path, capsys: Any) -> None:
    manage = "import os; print(os.environ['DATABASE_URL'], os.environ['SECRET_KEY']); raise SystemExit(1)"
    given = write_environment(tmp_path / "environment.json", DATABASE_URL="postgres://production/site")
    path = artifact(tmp_path, {}, manage=manage)
    outcome = run(path, tmp_path, capsys, "--env-file", str(given), "--keep")
    assert "manage.py check" in outcome.faults
    (release,) = (tmp_path / "scratch").glob("*/release")
    used = json.loads((release / "environment.json").read_text())
    assert used["DATABASE_URL"].startswith(f"sqlite:///{tmp_path}/scratch/")
    assert used["SECRET_KEY"] == "canary-of-this-test"
    assert "canary" not in json.dumps(outcome.document) + outcome.err


@pytest.mark.parametrize(
    ("hosts", "host"),
    [('["*"]', "localhost"), ('[".example.org"]', "example.org"), ("", "localhost"), ('["a.b", "c"]', "a.b")],
)
def test_the_request_goes_to_a_host_that_the_site_answers_to(hosts: str, host: str) -> None:
    variables: Dict[str, str] = {"ALLOWED_HOSTS": hosts}
    assert selftest._host(variables) == host


def test_a_scratch_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {})
    words: List[str] = ["selftest", "--scratch", str(tmp_path / "absent")]
    assert extract.main(words, str(path)) == 8
    assert "--scratch" in capsys.readouterr().err
