"""The self-test: finds in a scratch folder what would not run on this machine."""

from __future__ import annotations

import importlib.machinery
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


def test_a_good_artifact_passes_and_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {"alpha": {"alpha/__init__.py": "", "alpha_tool.py": ""}})
    outcome = run(path, tmp_path, capsys)
    assert outcome.code == 0, outcome.faults
    assert outcome.document["tried"] == 2
    assert outcome.faults == {}
    assert [one["what"] for one in outcome.document["findings"]][-1] == "GET /"


def test_a_module_that_cannot_be_imported_is_named_and_the_rest_is_tried(tmp_path: Path, capsys: Any) -> None:
    path = artifact(
        tmp_path,
        {"alpha": {"alpha/__init__.py": "import missing_thing"}, "omega": {"omega/__init__.py": "raise SystemExit(3)"}},
    )
    outcome = run(path, tmp_path, capsys)
    assert outcome.code == 8
    assert outcome.faults["alpha"] == "ModuleNotFoundError: No module named 'missing_thing'"
    assert outcome.faults["omega"] == "SystemExit: 3"
    assert outcome.document["tried"] == 2
    assert run(path, tmp_path, capsys, "--ignore", "alpha", "--ignore", "omega").code == 0


def test_a_module_that_takes_its_process_down_is_named_and_the_rest_is_tried(tmp_path: Path, capsys: Any) -> None:
    crash = "import os; os.kill(os.getpid(), 11)"
    path = artifact(
        tmp_path,
        {"alpha": {"alpha/__init__.py": crash}, "beta": {"beta/__init__.py": ""}, "gamma": {"gamma.py": "import nope"}},
    )
    outcome = run(path, tmp_path, capsys)
    assert outcome.faults["alpha"] == "its process ended with status -11"
    assert "gamma" in outcome.faults
    assert "beta" not in outcome.faults


def test_modules_that_want_the_settings_or_to_come_first_are_no_faults(tmp_path: Path, capsys: Any) -> None:
    wsgi = "import os\nos.environ['CONFIGURED'] = '1'\n" + WSGI
    first = "import sys; assert 'alpha' not in sys.modules"
    settings = "import os; assert os.environ['CONFIGURED']"
    screen = "import tkinter_is_not_here as tkinter"
    path = artifact(
        tmp_path,
        {
            "alpha": {"alpha/__init__.py": settings},
            "omega": {"omega/__init__.py": first},
            "window": {"window.py": screen + "\n"},
        },
        wsgi,
    )
    outcome = run(path, tmp_path, capsys)
    assert list(outcome.faults) == ["window"]


def test_a_module_of_the_systems_python_for_windows_may_be_missing(tmp_path: Path, capsys: Any) -> None:
    missing = "raise ModuleNotFoundError('No module named tkinter', name='tkinter')"
    assert run(artifact(tmp_path, {"alpha": {"alpha.py": missing}}), tmp_path, capsys).code == 0


def test_commands_that_a_site_needs_run_after_migrate(tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {"alpha": {"alpha.py": ""}})
    outcome = run(path, tmp_path, capsys, "--manage", "compress --force", "--manage", "warm")
    names = [finding["what"] for finding in outcome.document["findings"]]
    assert names[-4:] == ["manage.py migrate", "manage.py compress --force", "manage.py warm", "GET /"]
    failing = artifact(tmp_path, {"alpha": {"alpha.py": ""}}, manage="import sys\nsys.exit('warm' in sys.argv)\n")
    assert list(run(failing, tmp_path, capsys, "--manage", "compress", "--manage", "warm").faults) == ["manage.py warm"]


@pytest.mark.parametrize("runner", sampled(["pytest", "hypothesis", "nose"], ["pytest"]))
def test_a_module_of_tests_may_lack_its_runner(runner: str, tmp_path: Path, capsys: Any) -> None:
    missing = f"raise ModuleNotFoundError('No module named {runner}', name={runner!r})"
    other = "raise ModuleNotFoundError('No module named lxml', name='lxml')"
    path = artifact(tmp_path, {"alpha": {"alphatests.py": missing}, "beta": {"beta.py": other}})
    assert list(run(path, tmp_path, capsys).faults) == ["beta"]


@pytest.mark.parametrize("suffix", sampled([".abi3.so", importlib.machinery.EXTENSION_SUFFIXES[0]], [".abi3.so"]))
def test_a_library_that_is_named_as_a_module_is_only_loaded(suffix: str, tmp_path: Path, capsys: Any) -> None:
    mapped = Path("/proc/self/maps").read_text().splitlines()
    library = next(line.split()[-1] for line in mapped if "/libc.so" in line or "/libc-" in line)
    content = Path(library).read_bytes()
    path = artifact(tmp_path, {"alpha": {"alpha/__init__.py": "", f"alpha/_raw{suffix}": content}})
    assert run(path, tmp_path, capsys).faults == {}
    damaged = artifact(tmp_path, {"alpha": {"alpha/__init__.py": "", f"alpha/_raw{suffix}": content[:4096]}})
    assert list(run(damaged, tmp_path, capsys).faults) == ["alpha._raw"]


def test_what_a_module_prints_is_no_answer(tmp_path: Path, capsys: Any) -> None:
    path = artifact(tmp_path, {"alpha": {"alpha/__init__.py": 'print(\'["end", "alpha", ""]\'); import nope'}})
    assert "alpha" in run(path, tmp_path, capsys).faults


def test_a_compiled_file_that_is_none_is_found(tmp_path: Path, capsys: Any) -> None:

    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    path = artifact(
        tmp_path,
        {"alpha": {"alpha/__init__.py": "", f"alpha/fast{suffix}": "no ELF", "alpha.libs/libx-1.so.1": "no ELF"}},
    )
    outcome = run(path, tmp_path, capsys)
    assert any("alpha.fast" in what for what in outcome.faults)
    assert any(what.endswith("libx-1.so.1") for what in outcome.faults)


@pytest.mark.parametrize(
    ("wsgi", "what"),
    [
        (BROKEN_WSGI, "WSGI callable"),
        ("application = 7\n", "WSGI callable"),
        ("def application(environ, start): start('500 No', []); return [b'']\n", "GET /"),
        ("def application(environ, start): raise ValueError('no answer')\n", "GET /"),
    ],
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
