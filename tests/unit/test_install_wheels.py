"""Wheels into a virtualenv: what PEP 376 and PEP 427 ask, and what pip does beyond."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

import pytest

from deployable_zipfile import install_wheels
from deployable_zipfile.artifact import layout, manifests
from deployable_zipfile.artifact.record import RecordRow, parse_record
from deployable_zipfile.artifact.wheel import EntryPoint, Wheel
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import ArtifactError, DeployableZipfileError, WheelError
from deployable_zipfile.install import finish, host, plan
from deployable_zipfile.install.plan import Place, planned
from tests.support.artifacts import PYTHON, container, make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import File, make_wheel, read_tree
from tests.support.wheels import open_wheels

SITE = f"venv/lib/python{PYTHON}/site-packages"
TAG = sys.implementation.cache_tag


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


class Installed:
    """The wheels of one artifact, installed into a tree."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.files = {name: data for name, (_, data) in read_tree(tree).items() if data != b"/"}

    def record(self, info: str) -> Dict[str, RecordRow]:
        return parse_record((self.tree / SITE / info / "RECORD").read_text(encoding="utf-8"))

    def inner(self, name: str) -> bytes:
        return self.files[f"{SITE}/{name}"]


def install(
    tmp_path: Path,
    wheels: Sequence[Path],
    *,
    workers: int = 1,
    destination: str = "/srv/dest",
    options: Optional[Dict[str, Any]] = None,
) -> Installed:
    tree = tmp_path / "tree"
    tree.mkdir()
    with Artifact.open(str(make_artifact(tmp_path / "site.zip", wheels=wheels, **(options or {})))) as artifact:
        target = artifact.manifest.targets[0]
        sources = open_wheels(artifact, target, host.bytecode_fits(target))
        place = Place(str(tree), destination, PYTHON, "site_one")
        count = install_wheels.install(planned(sources, place), workers)
    done = Installed(tree)
    assert count == len(done.files)
    return done


def refusal(tmp_path: Path, wheels: Sequence[Path], **options: Any) -> str:
    with pytest.raises(DeployableZipfileError) as caught:
        install(tmp_path, wheels, **options)
    assert isinstance(caught.value, (WheelError, ArtifactError))
    return str(caught.value)


def assert_record_is_right(done: Installed, *infos: str) -> None:
    """Hold each RECORD against the files: all there, digests and sizes right, nothing left over."""
    listed: List[str] = []
    for info in infos:
        for name, row in done.record(info).items():
            path = os.path.normpath(f"{SITE}/{name}")
            assert path in done.files, name
            listed.append(path)
            if name.endswith((".pyc", "/RECORD")):
                assert (row.algorithm, row.size) == ("", None)
            else:
                assert row.sha256 == hashlib.sha256(done.files[path]).hexdigest(), name
                assert row.size == len(done.files[path])
    assert sorted(listed) == sorted(set(listed))
    assert sorted(listed) == sorted(done.files)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("bytecode", [True, False])
def test_a_wheel_comes_out_as_pep_376_asks(bytecode: bool, workers: int, tmp_path: Path) -> None:
    wheels = [simple_wheel(tmp_path), simple_wheel(tmp_path, "beta", "2.0")]
    done = install(tmp_path, wheels, workers=workers, options={"bytecode": bytecode})
    for name, version in [("alpha", "1.0"), ("beta", "2.0")]:
        info = f"{name}-{version}.dist-info"
        assert done.inner(f"{info}/INSTALLER") == b"deployable-zipfile\n"
        assert done.inner(f"{info}/REQUESTED") == b""
        assert set(done.record(info)) == {
            f"{name}/__init__.py",
            f"{name}/__pycache__/__init__.{TAG}.pyc",
            f"{info}/METADATA",
            f"{info}/WHEEL",
            f"{info}/entry_points.txt",
            f"{info}/INSTALLER",
            f"{info}/REQUESTED",
            f"{info}/RECORD",
            f"../../../bin/{name}-tool",
        }
    assert_record_is_right(done, "alpha-1.0.dist-info", "beta-2.0.dist-info")


def test_every_byte_and_mode_is_the_wheels(tmp_path: Path) -> None:
    files: Dict[str, Any] = {
        "pkg/__init__.py": "é = 1\n",
        "pkg/data/a b,'\"c.bin": bytes(range(256)) * 100,
        "pkg/tool.sh": ("#!/bin/sh\n", 0o755),
        "pkg/odd": ("x", 0o600),
        "pkg/日本.txt": "",
        "single.py": "x = 1\n",
    }
    done = install(tmp_path, [make_wheel(tmp_path, "pkg", "1", files)])
    tree = read_tree(tmp_path / "tree")
    for name, file in files.items():
        content, mode = file if isinstance(file, tuple) else (file, 0o644)
        data = content if isinstance(content, bytes) else content.encode()
        assert tree[f"{SITE}/{name}"] == (0o755 if mode & 0o111 else 0o644, data)
    assert f"{SITE}/__pycache__/single.{TAG}.pyc" in done.files
    assert_record_is_right(done, "pkg-1.dist-info")


def test_what_was_not_asked_for_has_no_requested_file(tmp_path: Path) -> None:
    def forge(manifest: manifests.Manifest) -> manifests.Manifest:
        target = manifest.targets[0]
        return manifest._replace(targets=(target._replace(wheels=(target.wheels[0]._replace(requested=False),)),))

    done = install(tmp_path, [simple_wheel(tmp_path)], options={"manifest": forge})
    assert f"{SITE}/alpha-1.0.dist-info/REQUESTED" not in done.files
    assert_record_is_right(done, "alpha-1.0.dist-info")


def test_files_of_our_name_in_a_wheel_give_way_to_ours(tmp_path: Path) -> None:
    wheel = simple_wheel(tmp_path, extra={"INSTALLER": "pip\n", "REQUESTED": "x"})
    done = install(tmp_path, [wheel])
    assert done.inner("alpha-1.0.dist-info/INSTALLER") == b"deployable-zipfile\n"
    assert_record_is_right(done, "alpha-1.0.dist-info")


def test_each_data_scheme_has_its_place(tmp_path: Path) -> None:
    data: Dict[str, Any] = {
        "purelib/pure.py": "x = 1\n",
        "platlib/plat/__init__.py": "",
        "headers/some.h": "int x;",
        "data/share/man/man1/x.1": "man",
        "scripts/plain": "#!/bin/sh\necho plain\n",
        "scripts/python-one": ("#!python\nprint('hello')\n", 0o644),
        "scripts/pythonw-one": "#!pythonw -E\nprint('hello')\n",
    }
    done = install(tmp_path, [make_wheel(tmp_path, "some.pkg", "1", {}, data=data)])
    assert done.inner("pure.py") == b"x = 1\n"
    assert done.inner("plat/__init__.py") == b""
    assert done.files[f"venv/include/site/python{PYTHON}/some-pkg/some.h"] == b"int x;"
    assert done.files["venv/share/man/man1/x.1"] == b"man"
    assert done.files["venv/bin/plain"] == b"#!/bin/sh\necho plain\n"
    assert done.files["venv/bin/python-one"] == b"#!/srv/dest/venv/bin/python\nprint('hello')\n"
    assert done.files["venv/bin/pythonw-one"] == b"#!/srv/dest/venv/bin/python\nprint('hello')\n"
    for name in ("plain", "python-one", "pythonw-one"):
        assert stat.S_IMODE(os.stat(str(tmp_path / "tree/venv/bin" / name)).st_mode) == 0o755
    assert_record_is_right(done, "some_pkg-1.dist-info")


def test_shipped_bytecode_is_installed_as_it_is(tmp_path: Path) -> None:
    wheel = simple_wheel(tmp_path)
    done = install(tmp_path, [wheel])
    with Artifact.open(str(tmp_path / "site.zip")) as artifact:
        overlay = artifact.nested(f".deploy/bytecode/{TAG}/alpha-1.0-py3-none-any.zip")
        name = f"alpha/__pycache__/__init__.{TAG}.pyc"
        assert done.inner(name) == overlay.read(overlay.entries[name])


def test_without_bytecode_it_is_compiled_for_the_final_path(tmp_path: Path) -> None:
    done = install(tmp_path, [simple_wheel(tmp_path)], options={"bytecode": False})
    data = done.inner(f"alpha/__pycache__/__init__.{TAG}.pyc")
    assert data[:8] == importlib.util.MAGIC_NUMBER + b"\x01\0\0\0"
    assert f"/srv/dest/{SITE}/alpha/__init__.py".encode() in data
    assert str(tmp_path).encode() not in data


def test_a_source_that_does_not_compile_is_installed_without_bytecode(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "pkg", "1", {"pkg/__init__.py": "", "pkg/two.py": "print 'two'\n"})
    done = install(tmp_path, [wheel], options={"bytecode": False})
    assert f"pkg/__pycache__/two.{TAG}.pyc" not in done.record("pkg-1.dist-info")
    assert_record_is_right(done, "pkg-1.dist-info")


def test_bytecode_that_a_wheel_brings_gives_way_to_ours(tmp_path: Path) -> None:
    files: Dict[str, File] = {"pkg/__init__.py": "x = 1\n", f"pkg/__pycache__/__init__.{TAG}.pyc": b"stale"}
    for number, bytecode in enumerate((True, False)):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = install(folder, [make_wheel(folder, "pkg", "1", files)], options={"bytecode": bytecode})
        assert done.inner(f"pkg/__pycache__/__init__.{TAG}.pyc")[:4] == importlib.util.MAGIC_NUMBER
        assert_record_is_right(done, "pkg-1.dist-info")


@pytest.mark.parametrize("bytecode", [True, False])
@pytest.mark.parametrize("workers", [1, 4])
def test_of_two_wheels_with_one_path_the_later_in_the_plan_wins(bytecode: bool, workers: int, tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path, name, "1", {"shared/__init__.py": f"of = {name!r}\n", f"shared/{name}.py": ""})
        for name in ("zeta", "alpha")
    ]
    done = install(tmp_path, wheels, workers=workers, options={"bytecode": bytecode})
    assert done.inner("shared/__init__.py") == b"of = 'alpha'\n"
    code = done.inner(f"shared/__pycache__/__init__.{TAG}.pyc")
    assert b"alpha" in code
    assert b"zeta" not in code


@pytest.mark.parametrize("workers", [1, 4])
def test_of_two_wheels_with_one_script_the_later_in_the_plan_wins(workers: int, tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path, name, "1", {f"{name}.py": ""}, entry_points=f"[console_scripts]\ntool = {name}:main\n")
        for name in ("zeta", "beta", "alpha")
    ]
    wheels.insert(1, make_wheel(tmp_path, "plain", "1", {}, data={"scripts/tool": "#!/bin/sh\n"}))
    done = install(tmp_path, wheels, workers=workers)
    assert b"from alpha import main" in done.files["venv/bin/tool"]
    assert_record_is_right(done, *[f"{name}-1.dist-info" for name in ("zeta", "beta", "alpha", "plain")])


def test_of_one_wheels_script_and_entry_point_the_entry_point_wins(tmp_path: Path) -> None:
    data = {"scripts/tool": "#!python\nold\n", "data/bin/other": "old"}
    points = "[console_scripts]\ntool = a:main\nother = a:main\n"
    done = install(tmp_path, [make_wheel(tmp_path, "a", "1", {"a.py": ""}, data=data, entry_points=points)])
    assert b"from a import main" in done.files["venv/bin/tool"]
    assert b"from a import main" in done.files["venv/bin/other"]
    assert_record_is_right(done, "a-1.dist-info")


@pytest.mark.parametrize(
    "other",
    [{"shared/sub/deep.py": ""}, {"shared/x.py": ""}],
)
def test_a_file_where_another_wheel_needs_a_folder_is_refused(other: Dict[str, str], tmp_path: Path) -> None:
    wheels = [make_wheel(tmp_path, "one", "1", {"shared": "file"}), make_wheel(tmp_path, "two", "1", other)]
    line = refusal(tmp_path, wheels)
    assert line.startswith("wheels/one-1-py3-none-any.whl/shared: is a file, and other files need a folder there")
    assert list((tmp_path / "tree").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "data/pyvenv.cfg",
        "data/bin",
        "data/lib",
        "data/lib64",
        "data/include",
        f"data/lib64/python{PYTHON}/site-packages/loadenv.py",
        f"purelib/__pycache__/loadenv.{TAG}.pyc",
        "data/bin/python",
        "data/bin/activate",
        "data/bin/Activate.ps1",
        "scripts/activate",
        "scripts/python",
        f"scripts/python{PYTHON}",
        "scripts/activate.csh",
        "purelib/loadenv.py",
        "platlib/loadenv-init.pth",
        "purelib/loadenv-init.start",
        "purelib/site_one.pth",
        "purelib/loadenv/__init__.py",
        "platlib/loadenv.abi3.so",
        "platlib/loadenv.pyc",
        f"data/lib/python{PYTHON}/site-packages/loadenv.py",
    ],
)
def test_no_wheel_replaces_a_part_of_the_virtualenv(name: str, tmp_path: Path) -> None:
    line = refusal(tmp_path, [make_wheel(tmp_path, "bad", "1", {}, data={name: "x"})])
    assert line.startswith(f"wheels/bad-1-py3-none-any.whl/bad-1.data/{name}: would replace a part of the virtualenv")
    assert list((tmp_path / "tree").iterdir()) == []


def test_no_entry_point_replaces_the_interpreter(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "bad", "1", {}, entry_points="[console_scripts]\npython3 = bad:main\n")
    assert "bad-1.dist-info/entry_points.txt: would replace a part" in refusal(tmp_path, [wheel])


def test_other_packages_with_a_similar_name_are_fine(tmp_path: Path) -> None:
    files = {"loadenv_more.py": "", "loadenv2/__init__.py": "", "load/env.py": ""}
    install(tmp_path, [make_wheel(tmp_path, "loadenv-more", "1", files)])


def test_bytecode_of_no_file_is_refused(tmp_path: Path) -> None:
    wheel = simple_wheel(tmp_path)
    overlay = f".deploy/bytecode/{TAG}/alpha-1.0-py3-none-any.zip"
    evil = {overlay: container({f"other/__pycache__/x.{TAG}.pyc": b"x"})}
    line = refusal(tmp_path, [wheel], options={"extra": evil})
    assert line.startswith(f"{overlay}/other/__pycache__/x.{TAG}.pyc: is bytecode without a source file")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "beta"}, "wheels/alpha-1.0-py3-none-any.whl: is planned as beta"),
        ({"file": layout.LOADENV}, f"{layout.LOADENV}: is "),
        ({"file": "site_one.pth"}, "site_one.pth: is "),
        ({"file": f".deploy/bytecode/{TAG}/project.zip"}, "project.zip: does not have the name of a wheel"),
        ({"bytecode": layout.LOADENV}, "loadenv.py: is compressed, a nested archive must be stored"),
        ({"bytecode": "wheels/alpha-1.0-py3-none-any.whl"}, "alpha-1.0-py3-none-any.whl/alpha/__init__.py: "),
    ],
)
def test_a_plan_that_lies_is_refused_by_name(change: Dict[str, Any], why: str, tmp_path: Path) -> None:
    def forge(manifest: manifests.Manifest) -> manifests.Manifest:
        target = manifest.targets[0]
        return manifest._replace(targets=(target._replace(wheels=(target.wheels[0]._replace(**change),)),))

    line = refusal(tmp_path, [simple_wheel(tmp_path)], options={"manifest": forge})
    assert why in line
    assert list((tmp_path / "tree").iterdir()) == []


def test_scripts_of_pip_have_the_names_that_people_type(tmp_path: Path) -> None:
    points = "[console_scripts]\npip = pip:main\npip3 = pip:main\n"
    done = install(tmp_path, [make_wheel(tmp_path, "pip", "1", {"pip/__init__.py": ""}, entry_points=points)])
    names = {name.rpartition("/")[2] for name in done.files if name.startswith("venv/bin/")}
    assert names == {"pip", "pip3", f"pip{PYTHON}"}
    assert_record_is_right(done, "pip-1.dist-info")


@pytest.mark.parametrize(
    "folder",
    sampled(
        [
            "short",
            "with blank",
            "long" * 60,
            "quote'd",
            '"double"',
            "dollar$HOME",
            "back`tick`",
            "ünïcödé",
            "per%cent",
            "a;b&c",
        ],
        4,
    ),
)
def test_a_script_starts_wherever_its_interpreter_lies(folder: str, tmp_path: Path) -> None:
    place = tmp_path / folder
    (place / "venv/bin").mkdir(parents=True)
    (place / "venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "tool_module.py").write_text("import sys\n\ndef main():\n    print(sys.argv[1:])\n    return 7\n")
    point = EntryPoint("tool", "tool_module", "main", False)
    script = place / "tool"
    script.write_bytes(finish.script_text(f"{place}/venv/bin/python", point))
    script.chmod(0o755)
    done = subprocess.run(
        [str(script), "a b", "$x"],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, b"['a b', '$x']\n")


def test_the_first_line_is_plain_as_long_as_old_kernels_read_it() -> None:
    longest = "/" + "x" * 124
    assert finish.shebang(longest) == f"#!{longest}\n".encode()
    assert finish.shebang(longest + "x").startswith(b"#!/bin/sh\n'''exec' ")
    assert finish.shebang("/a b").startswith(b"#!/bin/sh\n")


def test_attributes_of_attributes_are_called(tmp_path: Path) -> None:
    text = finish.script_text("/p", EntryPoint("x", "a.b", "C.main", False)).decode()
    assert "from a.b import C\n" in text
    assert "sys.exit(C.main())" in text


def refusals(path: str) -> Set[str]:
    """Return the words of every refusal in the source file *path*; an f-string's values are "{}"."""
    found = set()
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        call = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(call, ast.Call) or len(call.args) < 2:
            continue
        if isinstance(node, ast.Raise) or (isinstance(call.func, ast.Attribute) and call.func.attr == "refuse"):
            why = call.args[1]
            parts = why.values if isinstance(why, ast.JoinedStr) else [why]
            found.add("".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts))
    return found


def _one(**options: Any) -> Callable[[Path], List[Path]]:
    return lambda folder: [make_wheel(folder, "bad", "1", **{"files": {}, **options})]


def _two(first: Dict[str, Any], second: Dict[str, Any]) -> Callable[[Path], List[Path]]:
    return lambda folder: [make_wheel(folder, "one", "1", **first), make_wheel(folder, "two", "1", **second)]


PART = "would replace a part of the virtualenv"
FOLDER = "is a file, and other files need a folder there"
SCRIPT = "is a script, and other files need a folder there"
WRITTEN = "would replace what the installer writes"
PLACE = "is a folder, and the installer writes a file there"
SITE_FOLDER = f"data/lib/python{PYTHON}/site-packages"
REFUSED: Dict[str, Tuple[str, Callable[[Path], List[Path]]]] = {
    "loadenv": (PART, _one(files={"loadenv.py": ""})),
    "loadenv-pth": (PART, _one(files={"loadenv-init.pth": ""})),
    "loadenv-start": (PART, _one(files={"loadenv-init.start": ""})),
    "loadenv-bytecode": (PART, _one(files={f"__pycache__/loadenv.{TAG}.pyc": ""})),
    "loadenv-by-lib64": (PART, _one(data={f"data/lib64/python{PYTHON}/site-packages/loadenv.py": ""})),
    "project-pth": (PART, _one(files={"site_one.pth": ""})),
    "project-pth-by-platlib": (PART, _one(data={"platlib/site_one.pth": ""})),
    "entry-point-python": (PART, _one(entry_points=f"[console_scripts]\npython{PYTHON} = bad:main\n")),
    "gui-script-activate": (PART, _one(entry_points="[gui_scripts]\nactivate = bad:main\n")),
    "script-activate": (PART, _one(data={"scripts/activate.fish": "x"})),
    "script-by-data": (PART, _one(data={"data/bin/python": "x"})),
    "lib-a-file": (PART, _one(data={"data/lib64": "x"})),
    "file-over-folder": (FOLDER, _two({"files": {"a": ""}}, {"files": {"a/b": ""}})),
    "file-over-site-packages": (FOLDER, _one(data={SITE_FOLDER: "x"})),
    "file-over-python": (FOLDER, _one(data={f"data/lib/python{PYTHON}": "x"})),
    "file-over-bytecode-folder": (FOLDER, _one(files={"a/__pycache__": "", "a/b.py": ""})),
    "file-over-dist-info": (FOLDER, _two({"files": {}}, {"files": {}, "data": {"purelib/one-1.dist-info": "x"}})),
    "script-over-folder": (
        SCRIPT,
        _two({"files": {}, "data": {"scripts/a": ""}}, {"files": {}, "data": {"data/bin/a/b": ""}}),
    ),
    "point-over-folder": (
        SCRIPT,
        _two({"files": {}, "entry_points": "[console_scripts]\na = b:c\n"}, {"files": {}, "data": {"scripts/a/b": ""}}),
    ),
    "own-record": (WRITTEN, _one(data={"purelib/bad-1.dist-info/RECORD": "x"})),
    "record-of-another": (
        WRITTEN,
        _two({"files": {}}, {"files": {}, "data": {"purelib/one-1.dist-info/INSTALLER": "x"}}),
    ),
    "requested-a-folder": (PLACE, _one(extra={"REQUESTED/x": "x"})),
    "installer-a-folder": (PLACE, _one(extra={"INSTALLER/x/y": "x"})),
}
# Not by a wheel: the artifact's own parts do not fit together.
OF_ARTIFACTS = {"is compressed a second time", "is planned as {}", "is bytecode without a source file"}


def test_every_refusal_of_the_installer_is_tried_at_build_too() -> None:
    found = {why for module in (install_wheels, plan, finish) for why in refusals(str(module.__file__))}
    assert found == {why for why, _ in REFUSED.values()} | OF_ARTIFACTS


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_the_target_refuses_is_refused_at_build_in_the_same_words(case: str, tmp_path: Path) -> None:
    why, make = REFUSED[case]
    wheels = make(tmp_path)
    line = refusal(tmp_path, wheels, options={"bytecode": False})
    assert f": {why}. " in line
    with pytest.raises(WheelError) as caught:
        replaced(*wheels)
    assert line.startswith(f"wheels/{caught.value.what}: {caught.value.why}.")
    assert caught.value.fix == "Lock another version"


def replaced(*wheels: Path) -> List[install_wheels.Replaced]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(Wheel.open(str(path), path.name)) for path in wheels]
        return install_wheels.examine(opened, PYTHON, "site_one")


def test_files_that_two_wheels_hold_with_other_content_are_named_with_both(tmp_path: Path) -> None:
    shared = {"tests/__init__.py": "", "tests/a.py": "one"}
    one = make_wheel(
        tmp_path, "one", "1", shared, data={"data/etc/x": "1"}, entry_points="[console_scripts]\nt = a:b\n"
    )
    two = make_wheel(
        tmp_path, "two", "1", {**shared, "tests/a.py": "two"}, data={"data/etc/x": "2"},
        entry_points="[console_scripts]\nt = a:c\n",
    )  # fmt: skip
    assert replaced(one, two) == [(path, one.name, two.name) for path in ("tests/a.py", "etc/x", "bin/t")]
    assert replaced(one, make_wheel(tmp_path, "same", "1", shared, entry_points="[console_scripts]\nt = a:b\n")) == []


def test_of_a_file_that_two_wheels_hold_the_later_ones_is_installed(tmp_path: Path) -> None:
    one = make_wheel(tmp_path, "one", "1", {"tests.py": "1"})
    two = make_wheel(tmp_path, "two", "1", {"tests.py": "2"})
    assert install(tmp_path, [one, two]).inner("tests.py") == b"2"


def test_what_pip_installs_harmlessly_is_installed(tmp_path: Path) -> None:
    long = f"pkg/{'a' * 250}.py"
    files = {"pkg/__init__.py": "", long: "", "pkg/A.py": "", "pkg/a.py": "", "pkg/\U0001fae9\ue000.txt": "x"}
    data = {"scripts/sub/tool": "#!python\n", "scripts/.hidden": "x", "data/lib64/more/x.txt": "x", "data/lib64/y": "y"}
    points = (
        "[console_scripts]\na = pkg:f ; comment\nb = pkg:f  # comment\ncafé = pkg:f [x]\n[gui_scripts]\na = pkg:g\n"
    )
    wheel = make_wheel(
        tmp_path, "pkg", "1", files, data=data, entry_points=points, unrecorded={"pkg-1.dist-info/RECORD.jws": "{}"},
        record=lambda rows: [("pkg/", "", ""), ("pkg", "", ""), *rows, rows[0]],
    )  # fmt: skip
    done = install(tmp_path, [wheel], options={"bytecode": False})
    assert done.files["venv/bin/sub/tool"].startswith(b"#!/srv/dest/venv/bin/python")
    assert done.files["venv/lib/more/x.txt"] == b"x"
    assert b"from pkg import g" in done.files["venv/bin/a"]
    assert {"venv/bin/b", "venv/bin/café", "venv/bin/.hidden", "venv/lib/y"} <= set(done.files)
    assert f"{SITE}/pkg/__pycache__/{'a' * 250}.{TAG}.pyc" not in done.files
    record = done.record("pkg-1.dist-info")
    assert "pkg/" not in record
    assert record["pkg-1.dist-info/RECORD.jws"] == RecordRow("", "", 2)
