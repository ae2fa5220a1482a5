"""``create --verify-reproducible``: what a second build makes differently is named, and the artifact refused."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import pytest

from deployable_zipfile import create, process
from deployable_zipfile.artifact import layout
from deployable_zipfile.builder import parsers, pip, reproducible
from deployable_zipfile.errors import BuildInputError, WheelError
from tests.support.helpers import make_sdist, make_wheel
from tests.unit.builder.conftest import Index, commit_all
from tests.unit.builder.test_create import failed, lock, pinned, run

# A build backend that needs nothing, and writes what an expression gives into the wheel.
BACKEND = """
import base64, glob, hashlib, os, secrets, time, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(folder, config_settings=None, metadata_directory=None):
    files = {
        "leaky/__init__.py": "",
        "leaky/built.py": "VALUE = %%r\\n" %% (%s,),
        "leaky-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: leaky\\nVersion: 1.0\\n",
        "leaky-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    def digest(text):
        return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().strip("=")
    rows = "".join("%%s,sha256=%%s,%%d\\n" %% (n, digest(t), len(t.encode())) for n, t in files.items())
    files["leaky-1.0.dist-info/RECORD"] = rows + "leaky-1.0.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, "leaky-1.0-py3-none-any.whl"), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return "leaky-1.0-py3-none-any.whl"
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def sdist(folder: Path, expression: str) -> Path:
    return make_sdist(folder, "leaky", {"pyproject.toml": PROJECT, "backend.py": BACKEND % expression})


def arguments(site: Path, tmp_path: Path, *lines: str) -> Tuple[object, ...]:
    (site.parent / "requirements.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    commit_all(site.parent)
    return site, site.parent / "requirements.txt", tmp_path / "out", "--wheelhouse", tmp_path / "house"


@pytest.fixture
def house(tmp_path: Path, own_cache: Path) -> Path:
    """Return an empty folder of wheels for the real pip, which takes seconds: only with --deep."""
    (tmp_path / "house").mkdir()
    return tmp_path / "house"


@pytest.mark.deep
def test_an_artifact_that_depends_on_its_source_alone_passes(
    site: Path, tmp_path: Path, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_wheel(house, "foo", "1.0", {"foo/__init__.py": "NAMES = {'a', None}\n"})
    given = arguments(site, tmp_path, pinned(made), pinned(sdist(house, "os.environ.get('TZ')")))
    done, text = run(capsys, *given, "--verify-reproducible")

    assert "Reproducible: the second build produced the same bytes" in text
    assert done["sha256"] == hashlib.sha256((tmp_path / "out.zip").read_bytes()).hexdigest()
    assert not list((tmp_path / "cache" / "deployable-zipfile").glob("work-*"))


@pytest.mark.deep
@pytest.mark.parametrize("leak", ["time.time_ns()", "os.getcwd()"])
def test_a_wheel_that_is_built_differently_is_refused_by_name_with_its_file(
    site: Path, tmp_path: Path, house: Path, capsys: pytest.CaptureFixture[str], leak: str
) -> None:
    (tmp_path / "out.zip").write_bytes(b"the one before")
    given = arguments(site, tmp_path, pinned(sdist(house, leak)))
    found, text = run(capsys, *given, "--verify-reproducible", code=6)

    assert found["error"]["what"] == "wheels/leaky-1.0-py3-none-any.whl"
    assert found["error"]["why"].startswith("two builds made it differently (leaky")
    assert "leaky/built.py" in found["error"]["why"]
    assert "warning: two builds differ: wheels/leaky-1.0-py3-none-any.whl: has other bytes" in text
    assert "/leaky-1.0-py3-none-any.zip: has other bytes: leaky/__pycache__/built." in text
    assert (tmp_path / "out.zip").read_bytes() == b"the one before"


@pytest.mark.deep
def test_a_local_project_whose_wheel_holds_a_files_time_is_refused(
    site: Path, tmp_path: Path, house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = site.parent / "libs" / "leaky"
    local.mkdir(parents=True)
    (local / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (local / "backend.py").write_text(BACKEND % "int(os.stat('backend.py').st_mtime)", encoding="utf-8")
    given = arguments(site, tmp_path, "./libs/leaky")

    line = failed(capsys, 6, *given, "--verify-reproducible")
    assert line.startswith("error: wheels/leaky-1.0-py3-none-any.whl: two builds made it differently (leaky")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> List[Mapping[str, str]]:
    """Let the second build run here, with the index of the test; return the environments that it was given."""
    environments: List[Mapping[str, str]] = []

    real = process.run

    def second(
        words: Sequence[str], timeout: float, cwd: str, environment: Mapping[str, str], **further: Any
    ) -> process.Ended:
        if words[0] == "git":
            return real(words, timeout, cwd, environment, **further)
        assert "/another folder/" in cwd
        environments.append(environment)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["-c", words[-1]])
            patch.chdir(cwd)
            patch.setenv("TZ", environment["TZ"])
            with pytest.raises(SystemExit) as ended:
                create.again()
        return process.Ended(int(str(ended.value.code)), "", 1.0)

    monkeypatch.setattr(process, "run", second)
    return environments


def test_a_second_build_that_makes_the_same_bytes_passes(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_this_process: List[Mapping[str, str]],
) -> None:
    monkeypatch.chdir(site.parent)
    locked = lock(site, pinned(index.add("foo", "1.0", {"foo/__init__.py": "NAMES = {'a', None}\n"})))
    done, text = run(capsys, site, locked, tmp_path / "out", "--verify-reproducible")

    (environment,) = in_this_process
    assert (environment["PYTHONHASHSEED"], environment["TZ"]) == ("4711", "Asia/Kathmandu")
    assert "Reproducible: the second build produced the same bytes" in text
    assert done["sha256"] == hashlib.sha256((tmp_path / "out.zip").read_bytes()).hexdigest()


@pytest.mark.deep
def test_a_wheel_that_an_sdist_does_not_give_twice_is_refused_by_name_with_its_file(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_this_process: List[Mapping[str, str]],
) -> None:
    monkeypatch.chdir(site.parent)
    locked = lock(site, pinned(sdist(index.folder, "unused")))
    index.sdists["leaky-1.0.tar.gz"] = Path()
    real = index.build

    def build(runner: pip.Runner, lines: str) -> str:
        number = len(in_this_process)
        made = make_wheel(tmp_path / str(number), "leaky", "1.0", {"leaky/built.py": f"VALUE = {number}\n"})
        index.sdists["leaky-1.0.tar.gz"] = made
        return real(runner, lines)

    monkeypatch.setattr(pip, "build", build)
    (tmp_path / "out.zip").write_bytes(b"the one before")
    line = failed(capsys, 6, site, locked, tmp_path / "out", "--verify-reproducible")
    assert line.startswith("error: wheels/leaky-1.0-py3-none-any.whl: two builds made it differently (leaky")
    assert "leaky/built.py" in line
    assert (tmp_path / "out.zip").read_bytes() == b"the one before"


@pytest.mark.parametrize("folder", ["", "root"])
def test_the_copy_has_other_times_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.chdir(tmp_path / folder)
    (root / ".git").mkdir(parents=True)
    for name in ("app.py", ".env", ".git/HEAD", "id_rsa"):
        (root / name).write_text("x", encoding="utf-8")
    (tmp_path / "work").mkdir()
    paths: Dict[str, Any] = {"project": str(root), "more": [str(root / "app.py"), "/elsewhere"], "none": ""}
    moved = reproducible.copied(str(root), paths, str(tmp_path / "work"))
    copy = Path(moved["project"])

    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*")) == [".git", ".git/HEAD", "app.py"]
    assert (copy / "app.py").stat().st_mtime != (root / "app.py").stat().st_mtime
    assert moved["more"] == [str(copy / "app.py"), "/elsewhere"]
    assert moved["none"] == ""


def zipped(path: Path, files: Dict[str, bytes], mode: int = 0o644) -> str:
    with zipfile.ZipFile(str(path), "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return str(path)


def differing(tmp_path: Path, one: Dict[str, bytes], other: Dict[str, bytes], mode: int = 0o644) -> "list[str]":
    found = reproducible.compare(zipped(tmp_path / "1.zip", one), zipped(tmp_path / "2.zip", other, mode))
    return [str(difference) for difference in found]


def test_members_are_compared_by_presence_mode_and_bytes(tmp_path: Path) -> None:
    ours = {"a.py": b"1", "b.py": b"2", "c.zip": b"no archive", layout.MANIFEST: b"x"}

    assert differing(tmp_path, ours, ours) == []
    assert differing(tmp_path, ours, {**ours, "b.py": b"3", layout.MANIFEST: b"y"}) == ["b.py: has other bytes"]
    assert differing(tmp_path, ours, {**ours, "c.zip": b"another"}) == ["c.zip: has other bytes"]
    assert differing(tmp_path, ours, {**ours, "d.py": b""}) == ["d.py: is in one of them only"]
    assert differing(tmp_path, {"a.py": b"1"}, {"a.py": b"1"}, 0o755) == ["a.py: has another mode"]
    assert differing(tmp_path, ours, {**ours, layout.MANIFEST: b"y"}) == [f"{layout.MANIFEST}: has other bytes"]
    assert "the artifact: has the same members" in differing(tmp_path, {"a": b"", "b": b""}, {"b": b"", "a": b""})[0]


@pytest.mark.parametrize(
    ("member", "kind"), [("site/a.py", BuildInputError), ("wheels/a-1-py3-none-any.whl", WheelError)]
)
def test_the_error_is_of_the_kind_of_what_differs(member: str, kind: type) -> None:
    many = tuple(f"file_{number}.py" for number in range(9))
    found = [reproducible.Difference("site/other.py", "has other bytes"), reproducible.Difference(member, "w", many)]
    with pytest.raises(kind, match="differently" if kind is WheelError else "1 other members differ too"):
        reproducible.refuse(found)


@pytest.mark.parametrize(("status", "kind"), [(6, WheelError), (7, BuildInputError), (-9, BuildInputError)])
def test_a_second_build_that_fails_is_an_error_of_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, kind: type
) -> None:
    monkeypatch.setattr(process, "run", lambda *_: process.Ended(status, "error: foo.whl: it is broken.\n", 1.0))
    with pytest.raises(kind, match=r"the second build: failed, so nothing can be compared \(foo.whl: it is broken\)"):
        reproducible.second({}, str(tmp_path), str(tmp_path), 1)


def test_without_the_option_nothing_is_built_twice() -> None:
    assert not parsers.create().parse_args(["a", "b", "c"]).verify_reproducible
