from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict

import pytest

from deployable_zipfile.builder import pip
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import SECRET, make_wheel, write_tree


def runner(folder: Path, script: str, timeout: float = 30) -> pip.Runner:
    """Return a runner whose pip is a script."""
    path = write_tree(folder, {"pip.py": script}) / "pip.py"
    (folder / "work").mkdir()
    return pip.Runner((sys.executable, str(path)), str(folder / "work"), "", str(folder / "logs"), timeout)


def test_a_failed_runs_output_is_kept_without_tokens(tmp_path: Path) -> None:
    script = f"print('Looking in https://u:{SECRET}@index.example.org/simple'); raise SystemExit(1)"
    with pytest.raises(BuildInputError) as caught:
        pip.run(runner(tmp_path, script), ["download"])
    (log,) = (tmp_path / "logs").iterdir()
    assert str(caught.value).endswith(f"The output is in {log}.")
    assert log.read_text() == "Looking in https://****@index.example.org/simple\n"
    assert SECRET not in str(caught.value)


@pytest.mark.deep
def test_a_run_that_takes_too_long_is_given_up_with_all_it_started(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(BuildInputError, match=r"pip download: took longer than 1 seconds. Look at the network"):
        pip.run(runner(tmp_path, script, timeout=1), ["download"])
    child = Path("/proc") / (tmp_path / "child").read_text() / "stat"
    for _ in range(100):
        if not child.exists() or child.read_text().split()[2] in "ZX":
            return
        time.sleep(0.05)
    pytest.fail("the process that pip started is still running")


def test_pip_runs_in_an_environment_that_does_not_vary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_TARGET", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_DEPS", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.org/simple")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("CFLAGS", "-O2")
    script = f"import json, os; json.dump(dict(os.environ), open({str(tmp_path / 'seen')!r}, 'w'))"
    pip.run(runner(tmp_path, script), ["download"])
    seen = json.loads((tmp_path / "seen").read_text())
    assert not {"PIP_TARGET", "PYTHONPATH"} & set(seen)
    # A configuration file may say otherwise, and gives way to a variable only.
    assert (seen["PIP_REQUIRE_VIRTUALENV"], seen["PIP_NO_DEPS"], seen["PIP_REQUIRE_HASHES"]) == ("0", "0", "0")
    assert seen["PIP_INDEX_URL"] == "https://index.example.org/simple"
    assert (seen["SOURCE_DATE_EPOCH"], seen["PYTHONHASHSEED"], seen["TZ"]) == ("315532800", "0", "UTC")
    assert (seen["CFLAGS"], seen["PIP_NO_CACHE_DIR"]) == ("-O2 -g0", "1")


def test_files_come_back_sorted_and_lines_are_given_as_a_file(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "folder = sys.argv[sys.argv.index('--dest') + 1]\n"
        "open(os.path.join(folder, 'b.whl'), 'w').write(open(sys.argv[-1]).read())\n"
        "open(os.path.join(folder, 'a.whl'), 'w').write(' '.join(sys.argv))\n"
    )
    made = runner(tmp_path, script)
    files = pip.download(made, ["--no-deps"], "foo==1\n")
    assert [os.path.basename(path) for path in files] == ["a.whl", "b.whl"]
    assert Path(files[1]).read_text() == "foo==1\n"
    assert " --no-deps --requirement " in Path(files[0]).read_text()
    assert files != pip.download(made, [], "bar==1\n")


def test_what_makes_no_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildInputError, match=r"x @ file:///x-1.tar.gz: made 0 wheels instead of one"):
        pip.build(runner(tmp_path, ""), "--pre\nx @ file:///x-1.tar.gz\n")


def test_a_python_without_pip_gets_one_from_ensurepip_or_is_refused(tmp_path: Path) -> None:
    fakes = write_tree(
        tmp_path,
        {
            "with": ("#!/bin/sh\nexit 0\n", 0o755),
            "without": ('#!/bin/sh\ncase "$3" in venv) exit 0;; esac\nexit 1\n', 0o755),
            "bare": ("#!/bin/sh\nexit 1\n", 0o755),
        },
    )
    names = {name: str(fakes / name) for name in ("with", "without", "bare")}
    assert pip.starting_command([names["bare"], names["with"]], "w") == (names["with"], "-I", "-m", "pip")
    assert pip.starting_command([names["without"]], "w") == ("w/venv-0/bin/python", "-I", "-m", "pip")
    with pytest.raises(BuildInputError, match=r"bare: has neither pip nor ensurepip\. Install pip for the Python"):
        pip.starting_command([names["bare"]], "w")


def test_the_pinned_pip_is_unpacked_and_run_from_its_folder(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "pip", "1.0", {"pip/__main__.py": "print('pip itself')\n"})
    command = pip.unpacked(str(wheel), "/usr/bin/python3", str(tmp_path / "pip-1.0"))
    assert command == ("/usr/bin/python3", "-I", f"{tmp_path}/pip-1.0/pip")
    assert (tmp_path / "pip-1.0" / "pip" / "__main__.py").exists()


SEEN = "import json, os; json.dump(dict(os.environ), open(os.environ['SEEN'], 'w'))"


def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Dict[str, str]:
    """Return the environment that pip is run in."""
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    pip.run(runner(tmp_path, SEEN)._replace(**changes), ["wheel"])
    found: Dict[str, str] = json.loads((tmp_path / "seen").read_text())
    return found


def test_constraints_of_the_user_reach_no_build_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONSTRAINT", "a.txt https://example.org/b.txt")
    assert "PIP_CONSTRAINT" not in environment(tmp_path, monkeypatch)


@pytest.mark.parametrize(("version", "name"), [("25.0.1", "PIP_CONSTRAINT"), ("26.3", "PIP_BUILD_CONSTRAINT")])
def test_constraints_of_builds_are_given_in_the_way_that_each_pip_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, name: str
) -> None:
    seen = environment(tmp_path, monkeypatch, version=version, constraints=("/c.txt",))
    assert {key: value for key, value in seen.items() if key.endswith("CONSTRAINT")} == {name: "/c.txt"}


def test_git_has_a_name_and_a_home_where_the_user_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USER", "LOGNAME", "GIT_COMMITTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "me@example.org")
    monkeypatch.setenv("GIT_DIR", "/somewhere/.git")
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    seen = environment(tmp_path, monkeypatch)
    assert seen["HOME"] == str(tmp_path / "work")
    assert (seen["USER"], seen["LOGNAME"]) == ("builder", "builder")
    assert (seen["GIT_COMMITTER_NAME"], seen["GIT_COMMITTER_EMAIL"]) == ("deployable-zipfile", "me@example.org")
    assert "GIT_DIR" not in seen


def test_a_wheelhouse_leaves_no_index_and_no_setting_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://index.example.org/simple")
    seen = environment(tmp_path, monkeypatch, offline=True)
    assert (seen["PIP_NO_INDEX"], seen["PIP_CONFIG_FILE"]) == ("1", os.devnull)
    assert "PIP_EXTRA_INDEX_URL" not in seen


def test_pips_cache_keeps_downloads_and_no_wheel_that_pip_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(environment(tmp_path, monkeypatch, cache=str(tmp_path / "kept"))["PIP_CACHE_DIR"])
    (folder / "http-v2" / "x").write_text("downloaded")
    (folder / "wheels").mkdir()
    assert sorted(str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*")) == [
        "http",
        "http-v2",
        "http-v2/x",
    ]


def test_no_list_of_processes_shows_a_line_or_an_option(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        f"assert {SECRET!r} not in open('/proc/self/cmdline').read()\n"
        "assert os.stat(sys.argv[-1]).st_mode & 0o777 == 0o600\n"
    )
    assert pip.download(runner(tmp_path, script), [], f"--index-url https://u:{SECRET}@h/simple\nfoo==1\n") == []


def test_requirements_that_forbid_the_index_are_named_as_the_reason(tmp_path: Path) -> None:
    absent = "print('ERROR: No matching distribution found for a==1'); raise SystemExit(1)"
    for number, (no_index, lines, reason) in enumerate(
        (
            (
                "",
                "--find-links /w\n--no-index\na==1\n",
                "the package index is not used (--no-index in the requirements)",
            ),
            ("PIP_NO_INDEX", "--no-index\na==1\n", "the package index is not used (PIP_NO_INDEX)"),
            ("", "a==1\n", "on the package index"),
        )
    ):
        with pytest.raises(pip.NotFound, match="a==1: ") as caught:
            pip.download(runner(tmp_path / str(number), absent)._replace(no_index=no_index), [], lines)
        assert reason in str(caught.value)


def test_what_keeps_pip_from_wheels_or_sdists_is_named_where_nothing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = "print('ERROR: No matching distribution found for a==1'); raise SystemExit(1)"
    monkeypatch.setenv("PIP_ONLY_BINARY", "a")
    with pytest.raises(pip.NotFound) as caught:
        pip.download(runner(tmp_path, absent), [], "--no-binary :all:\n--no-index\na==1\n")
    assert "(with --no-binary :all:, PIP_ONLY_BINARY=a). " in str(caught.value)
    assert str(caught.value).count("The output is in ") == 1
