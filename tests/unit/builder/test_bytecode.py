from __future__ import annotations

import hashlib
import importlib.util
import json
import marshal
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Dict, List

import pytest

from deployable_zipfile.builder import bytecode, bytecode_worker
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import File, make_wheel, write_tree
from tests.support.processes import no_thread_after

TAG = str(sys.implementation.cache_tag)
MODULES: Dict[str, File] = {
    "pkg/__init__.py": "from pkg.core import answer\n",
    "pkg/core.py": "def answer(x):\n    return x in {None, 'b', ..., 2} and 'pkg' or [k for k in x]\n",
    "pkg/latin.py": b"# -*- coding: latin-1 -*-\nname = '\xe4'\n",
    "pkg/template.py": "{{ cookiecutter.name }} = \n",
    "pkg/nul.py": b"x = '\x00'\n",
}


def compiled(unit: bytecode.Unit, work: Path, workers: int = 1) -> bytecode.Result:
    work.mkdir(exist_ok=True)
    return bytecode.compile_units([unit], sys.executable, TAG, str(work), workers)[unit.key]


def of_project(folder: Path, files: Dict[str, File]) -> bytecode.Unit:
    write_tree(folder, files)
    return bytecode.Unit("project", None, tuple((str(folder / name), name) for name in sorted(files)))


def contents(result: bytecode.Result) -> Dict[str, bytes]:
    found = {}
    for one in result.compiled:
        with open(one.path, "rb") as file:
            file.seek(one.offset)
            found[one.name] = file.read(one.size)
    return found


def test_every_file_is_compiled_for_pep_552_and_what_is_no_python_is_skipped(tmp_path: Path) -> None:
    result = compiled(of_project(tmp_path / "p", MODULES), tmp_path / "w")
    assert [one.name for one in result.compiled] == [
        f"pkg/__pycache__/{name}.{TAG}.pyc" for name in ("__init__", "core", "latin")
    ]
    assert set(result.skipped) >= {"pkg/template.py"}
    data = contents(result)[f"pkg/__pycache__/core.{TAG}.pyc"]
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:8] == b"\x01\0\0\0"
    source = (tmp_path / "p" / "pkg" / "core.py").read_bytes()
    assert data[8:16] == importlib.util.source_hash(source)
    code = marshal.loads(data[16:])
    assert isinstance(code, types.CodeType)
    assert code.co_filename == "pkg/core.py"


def test_python_imports_what_was_compiled_and_shows_the_real_path(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    result = compiled(of_project(folder, MODULES), tmp_path / "w")
    write_tree(folder, dict(contents(result)))
    (folder / "pkg" / "core.py").write_text("raise SystemExit('the source was used')\n")
    code = "import pkg, sys; sys.stdout.write(pkg.answer.__code__.co_filename + repr(pkg.answer(None)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=str(folder), stdout=subprocess.PIPE, check=True)
    assert done.stdout.decode() == f"{folder}/pkg/core.py'pkg'"


def test_the_same_sources_give_the_same_bytes_in_any_process_order_and_folder(tmp_path: Path) -> None:
    many = dict(MODULES)
    for number in range(bytecode._BATCH + 20):
        many[f"pkg/m{number:03}.py"] = (
            f"import os\nNAMES = frozenset(['os', None, {number}])\ndef f{number}(): return 'os'\n"
        )
    one = contents(compiled(of_project(tmp_path / "one", many), tmp_path / "w1", workers=1))
    two = contents(compiled(of_project(tmp_path / "two ü", many), tmp_path / "w2", workers=2))
    assert len(one) == len(many) - 2
    assert one == two


def test_sets_are_written_in_one_order_whatever_the_hash_seed() -> None:
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import bytecode_worker as w;"
        "s = b'def f(x): return x in {None, 1, ..., (None, 2)}\\n';"
        "print(hashlib.sha256(w.compiled(s, 'x.py')).hexdigest())"
    )
    folder = str(Path(bytecode_worker.__file__).parent)
    digests: List[bytes] = [
        subprocess.run(
            [sys.executable, "-c", code, folder], stdout=subprocess.PIPE, check=True, env={"PYTHONHASHSEED": "0"}
        ).stdout
        for _ in range(6)
    ]
    assert len(set(digests)) == 1


def test_references_of_the_compiling_process_leave_no_trace() -> None:
    source = b"def f():\n    return ('shared', 'shared', 1234567, 1234567)\n"
    held = [compile(source, "x.py", "exec").co_consts, sys.intern("shared")]
    assert bytecode_worker.compiled(source, "x.py") == bytecode_worker.compiled(source, "x.py")
    assert held


def test_a_wheels_files_are_compiled_under_their_installed_names(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1", {"x.py": "a = 1\n"}, data={"purelib/y/z.py": "b = 2\n"})
    files = (("x-1.data/purelib/y/z.py", "y/z.py"), ("x.py", "x.py"))
    result = compiled(bytecode.Unit("x", str(wheel), files), tmp_path / "w")
    assert sorted(contents(result)) == [f"__pycache__/x.{TAG}.pyc", f"y/__pycache__/z.{TAG}.pyc"]


def test_the_sources_digests_are_reported(tmp_path: Path) -> None:
    result = compiled(of_project(tmp_path / "p", {"a.py": "x = 1\n"}), tmp_path / "w")
    assert result.digests == {"a.py": hashlib.sha256(b"x = 1\n").hexdigest()}


def test_an_interpreter_that_ends_is_named(tmp_path: Path) -> None:
    unit = of_project(tmp_path / "p", {"a.py": "x = 1\n"})
    (tmp_path / "p" / "a.py").unlink()
    with pytest.raises(BuildInputError) as caught:
        compiled(unit, tmp_path / "w")
    assert str(caught.value).startswith(f"{sys.executable}: cannot compile project (FileNotFoundError")


def here(unit: bytecode.Unit, work: Path, interpreter: str = sys.executable) -> bytecode.Result:
    work.mkdir(exist_ok=True)
    return bytecode.compiled_here(unit, interpreter, TAG, str(work))


STATEMENTS: Dict[str, File] = {
    "numbers.py": "def f(x): return x in {1, 2, 3, True}\n",
    "one.py": "def f(x): return x in {'a'}\n",
    "async.py": "async def f(x):\n    async with x as y: return [z async for z in y]\n",
    "classes.py": "class A:\n    def f(self): return super().f, __class__\n    x: int = 1\n",
    "escape.py": "x = '\\d'\n",
    "warned.py": "assert (1, 'always true')\n",
    "latin.py": b"# -*- coding: latin-1 -*-\nname = '\xe4'\n",
    "empty.py": "",
}


def test_what_this_process_compiles_is_what_another_would(tmp_path: Path) -> None:
    unit = of_project(tmp_path / "p", STATEMENTS)
    own = here(unit, tmp_path / "w1")
    assert sorted(own.digests) == sorted(STATEMENTS)
    other = compiled(unit, tmp_path / "w2")
    assert contents(own) == contents(other)
    assert own.digests == other.digests


@pytest.mark.deep
def test_that_holds_for_the_standard_library(tmp_path: Path) -> None:
    folder = Path(json.__file__).parents[1]
    for number, path in enumerate(sorted(folder.glob("*.py"))):
        unit = bytecode.Unit("x", None, ((str(path), path.name),))
        own = contents(here(unit, tmp_path / f"w{number}"))
        assert not own or own == contents(compiled(unit, tmp_path / f"w{number}"))


@pytest.mark.parametrize(
    "text",
    [
        "def f(x): return x in {'a', 'b'}\n",
        "def f(x): return x in {b'a', 1}\n",
        "class A:\n    def f(x): return [y for y in x if y in {('a', 1), None}]\n",
        "(\n",
        "x = '\x00'\n",
        "x = " + "(" * 5000 + ")" * 5000 + "\n",
    ],
)
def test_what_might_be_another_in_another_process_is_left_to_one(text: str, tmp_path: Path) -> None:
    unit = of_project(tmp_path / "p", {"a.py": text, "b.py": "b = 1\n"})
    assert list(here(unit, tmp_path / "w").digests) == ["b.py"]


def test_much_is_left_to_other_processes(tmp_path: Path) -> None:
    unit = of_project(tmp_path / "p", {"a.py": "# much\n" * 60_000})
    assert here(unit, tmp_path / "w") == bytecode.Result((), (), {})


def test_another_interpreter_compiles_by_itself(tmp_path: Path) -> None:
    unit = of_project(tmp_path / "p", {"a.py": "a = 1\n"})
    assert not here(unit, tmp_path / "w", "/usr/bin/env").digests


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        ([], {}, True),
        (["-O"], {"PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1"}, True),
        (["-X", "no_debug_ranges"], {}, False),
        (["-W", "error"], {}, False),
        (["-bb"], {}, False),
        (["-X", "dev"], {}, False),
        ([], {"PYTHONNODEBUGRANGES": "1"}, False),
        ([], {"PYTHONINTMAXSTRDIGITS": "0"}, False),
    ],
)
def test_options_that_change_what_is_compiled_leave_it_to_another_process(
    words: List[str], variables: Dict[str, str], expected: bool
) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from deployable_zipfile.builder import bytecode;"
        "print(bytecode._is_this(sys.executable))"
    )
    package = str(Path(bytecode.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, *words, "-c", code, package], stdout=subprocess.PIPE, check=True, env=variables
    )
    assert done.stdout.decode() == f"{expected}\n"


def test_optimization_of_this_process_leaves_no_trace(tmp_path: Path) -> None:
    unit = of_project(tmp_path / "p", {"a.py": "assert f(1), 'said'\n"})
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from deployable_zipfile.builder import bytecode;"
        "u = bytecode.Unit('x', None, ((sys.argv[2], 'a.py'),));"
        "bytecode.compiled_here(u, sys.executable, 'x', sys.argv[3])"
    )
    words = [str(Path(bytecode.__file__).parents[2]), unit.files[0][0], str(tmp_path)]
    subprocess.run([sys.executable, "-OO", "-c", code, *words], check=True)
    [expected] = contents(compiled(unit, tmp_path / "w")).values()
    assert (tmp_path / "bytecode-here").read_bytes() == expected


@pytest.mark.parametrize("given", [0, 1])
def test_without_threads_everything_is_compiled_all_the_same(
    given: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = of_project(tmp_path / "p", MODULES)
    expected = contents(compiled(unit, tmp_path / "w1", workers=2))
    monkeypatch.setattr(bytecode, "_BATCH", 1)
    monkeypatch.setattr(threading.Thread, "start", no_thread_after(given))
    assert contents(compiled(unit, tmp_path / "w2", workers=2)) == expected
