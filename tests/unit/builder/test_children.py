"""Every program that a build starts has the same start, and the same result, whatever started the build."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.depth import sampled
from tests.support.helpers import write_tree
from tests.support.hostile_parent import CLEAN, STATE, spoiled
from tests.unit.builder.conftest import git as run_git

# Writes down the state that it was started with, then becomes Python.
INTERPRETER = """#!{python}
import io, os, sys
said = io.StringIO()
print_ = print
print = lambda text: said.write(text)
{state}
with open({file!r}, "a") as file:
    file.write(said.getvalue() + "\\n")
os.umask(0o022)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
BEGIN = """
        import os, sys
        from deployable_zipfile import errors, inherited
        from deployable_zipfile.builder import bytecode, checkout, exporters, pip, targets
        os.close(0)
        inherited.claim()
        python, work = sys.argv[1:]
"""
COMPILE = """
        files = (os.path.join(work, "one.py"), "one.py"), (os.path.join(work, "bad.py"), "bad.py")
        unit = bytecode.Unit("project", None, files)
        found = bytecode.compile_units([unit], python, "cpython-0", work, 2)["project"]
        print([one.name for one in found.compiled], found.skipped)
"""
FAILING_PIP = """
        command = (python, "-c", "import sys; sys.exit('ERROR: no')")
        try:
            pip.run(pip.Runner(command, work, "", work, 30), ["download"])
        except errors.BuildInputError as error:
            print(error.what, error.why)
"""
SLOW_PIP = """
        command = (python, "-c", "import time; time.sleep(60)")
        try:
            pip.run(pip.Runner(command, work, "", work, 0.5), ["download"])
        except errors.BuildInputError as error:
            print(error.what, error.why)
"""
ASK = """
        print(targets.of_interpreter(python).python)
"""
FAILING_UV = """
        os.environ["PATH"] = work
        try:
            exporters.exported(os.path.join(work, "uv.lock"), (), ())
        except errors.BuildInputError as error:
            print(error.why)
"""
ASK_GIT = """
        os.environ["PATH"] = work + ":" + os.environ["PATH"]
        try:
            checkout.find(os.path.join(work, "damaged"))
        except errors.BuildInputError as error:
            print(error.why.partition("(")[0])
        found = checkout.find(os.path.join(work, "site"))
        print(checkout.tracked(found, found.root))
"""


@pytest.mark.parametrize(
    ("program", "said"),
    sampled(
        [
            (COMPILE, "['__pycache__/one.cpython-0.pyc'] ('bad.py',)\n"),
            (FAILING_PIP, "pip download no\n"),
            (SLOW_PIP, "pip download took longer than 0 seconds\n"),
            (ASK, "{}.{}\n".format(*sys.version_info[:2])),
            (FAILING_UV, "uv cannot export it (can't open)\n"),
            (ASK_GIT, "git rev-parse failed \n{'manage.py': None}\n"),
        ],
        1,
    ),
    ids=["compile", "pip fails", "pip is slow", "ask a Python", "uv fails", "ask git"],
)
def test_a_program_of_a_build_starts_clean_and_its_end_is_known(tmp_path: Path, program: str, said: str) -> None:
    file, python, uv = tmp_path / "states", tmp_path / "python", tmp_path / "uv"
    python.write_text(INTERPRETER.format(python=sys.executable, state=STATE.strip(), file=str(file)))
    uv.write_text(python.read_text().rpartition("os.execv")[0] + 'sys.exit("can\'t open")\n')
    git = tmp_path / "git"
    git.write_text(python.read_text().rpartition("os.execv")[0] + f"os.execv({shutil.which('git')!r}, sys.argv)\n")
    for script in (python, uv, git):
        script.chmod(0o755)
    (tmp_path / "one.py").write_text("x = 1\n")
    (tmp_path / "bad.py").write_text("x = (\n")
    (tmp_path / "uv.lock").touch()
    (tmp_path / "damaged" / ".git").mkdir(parents=True)
    run_git(write_tree(tmp_path / "site", {"manage.py": ""}), "init", "-q")
    run_git(tmp_path / "site", "add", ".")

    assert spoiled(BEGIN + program, str(python), str(tmp_path)) == said

    states = [json.loads(line) for line in file.read_text().splitlines()]
    assert states
    assert all(state == CLEAN for state in states)
