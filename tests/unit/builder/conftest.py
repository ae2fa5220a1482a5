"""What the tests of the build side share: projects, checkouts, and a package index without a network."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from deployable_zipfile import create
from deployable_zipfile.builder import pip, requirements_file, targets, unchanged
from tests.support.helpers import File, make_wheel, write_tree

SITE: Dict[str, File] = {
    "manage.py": ("#!/usr/bin/env python\nprint('manage')\n", 0o755),
    "site_one/__init__.py": "",
    "site_one/wsgi.py": "application = None\n",
}


GIT = shutil.which("git") or "git"


def git(folder: Path, *arguments: str) -> str:
    """Run git in *folder* as a fixed author at a fixed time, whatever the machine's settings say."""
    environment = dict(
        {name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_SYSTEM=os.devnull,
        GIT_AUTHOR_DATE="2024-05-06T07:08:09Z",
        GIT_COMMITTER_DATE="2024-05-06T07:08:09Z",
    )
    settings = {
        "user.name": "Test",
        "user.email": "test@example.org",
        "protocol.file.allow": "always",
        "maintenance.auto": "false",  # a commit would start two more processes to see that there is nothing to tidy
        "gc.auto": "0",
    }
    who = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    done = subprocess.run(
        [GIT, "-C", str(folder), *who, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=environment,
        close_fds=False,  # as in tests.support.helpers.run_cli
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def commit_all(folder: Path) -> None:
    """Make *folder* a checkout with everything committed."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=All of it")


class Index:
    """A package index in a folder, and how often it was asked.

    Attributes:
        folder: put wheels and sdists here.
        asked: texts of the requirements that were downloaded, one per run of pip.
        sdists: wheel to hand out for each sdist, by its file name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: List[str] = []
        self.sdists: Dict[str, Path] = {}
        self.versions: Dict[str, Sequence[str]] = {}

    def add(
        self, name: str, version: str = "1.0", files: Optional[Mapping[str, File]] = None, **options: object
    ) -> Path:
        """Add a wheel."""
        content = {f"{name.replace('-', '_')}/__init__.py": f"version = {version!r}\n"} if files is None else files
        return make_wheel(self.folder, name, version, content, **options)  # type: ignore[arg-type]

    def download(self, runner: pip.Runner, arguments: Sequence[str], lines: str) -> List[str]:
        """Stand in for ``pip download``: the file's own pins, and no more, as a complete lock gives them."""
        self.asked.append(lines)
        target = Path(runner.work) / f"index-{len(self.asked)}"
        target.mkdir()
        python = next((word.split("=")[1] for word in arguments if word.startswith("--python-version=")), "")
        found = []
        for name, version in _pins(lines, Path(runner.work), python or _python_of(runner)):
            found.append(str(shutil.copy(self._file(name, version, python or _python_of(runner)), target)))
        return sorted(found)

    def build(self, runner: pip.Runner, lines: str) -> str:
        """Stand in for ``pip wheel``."""
        folder = Path(runner.work) / f"built-{len(os.listdir(runner.work))}"
        folder.mkdir()
        sdist = os.path.basename(lines.splitlines()[-1].split(" ")[0])
        return str(shutil.copy(self.sdists[sdist], folder))

    def _file(self, name: str, version: str, python: str) -> Path:
        fitting = []
        for path in sorted(self.folder.iterdir()):
            if path.name in self.sdists and path.name.startswith(f"{name}-{version}"):
                return path
            if path.suffix == ".whl" and path.name not in {sdist.name for sdist in self.sdists.values()}:
                found, number, _, _ = parse_wheel_filename(path.name)
                if found == canonicalize_name(name) and str(number) == version:
                    fitting.append(path)
        assert fitting, f"the test's index has no {name} {version}"
        return next((path for path in fitting if f"cp{python.replace('.', '')}" in path.name), fitting[0])


def _pins(text: str, work: Path, python: str) -> List[Sequence[str]]:
    path = work / "pins.txt"
    path.write_text(text, encoding="utf-8")
    minor = ".".join(python.split(".")[:2])
    own = platform.python_version() if platform.python_version().startswith(f"{minor}.") else f"{minor}.0"
    environment = {"python_version": minor, "python_full_version": own if python == minor else python}
    return [
        (line.requirement.name, next(iter(line.requirement.specifier)).version)
        for line in requirements_file.read(str(path)).lines
        if line.requirement.marker is None or line.requirement.marker.evaluate(environment)
    ]


def _python_of(runner: pip.Runner) -> str:
    match = re.search(r"python(3\.[0-9]+)", runner.command[0])
    return match.group(1) if match else "{}.{}".format(*sys.version_info[:2])


@pytest.fixture(scope="session")
def asked_once() -> Callable[[str], Any]:
    """Return what stands in for asking an interpreter what it is: each is asked once, and answers all the tests."""
    return functools.lru_cache(maxsize=None)(targets._asked)


@pytest.fixture(autouse=True)
def _no_variable_of_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the one that pytest changes between the parts of a test."""
    monkeypatch.setattr(unchanged, "_OF_THE_SHELL", (*unchanged._OF_THE_SHELL, "PYTEST_CURRENT_TEST"))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path, asked_once: Callable[[str], Any]) -> Index:
    """Return an index with the pip and setuptools that artifacts start with, and put it in pip's place."""
    return _in_place_of_pip(tmp_path / "index", monkeypatch, asked_once)


def _in_place_of_pip(folder: Path, monkeypatch: pytest.MonkeyPatch, asked_once: Callable[[str], Any]) -> Index:
    made = Index(folder)
    for line in requirements_file.read(pip.BOOTSTRAP).lines:
        made.add(line.requirement.name, next(iter(line.requirement.specifier)).version)
    monkeypatch.setattr(pip, "download", made.download)
    monkeypatch.setattr(pip, "build", made.build)
    monkeypatch.setattr(pip, "starting_command", lambda interpreters, work: (interpreters[0],))
    monkeypatch.setattr(pip, "unpacked", lambda wheel, interpreter, folder: (interpreter,))
    monkeypatch.setattr(targets, "_asked", asked_once)
    return made


@pytest.fixture(scope="session")
def _compiled(
    tmp_path_factory: pytest.TempPathFactory, _repository: Path, asked_once: Callable[[str], Any]
) -> Dict[str, bytes]:
    """Return what the cache holds after a build that is only bytecode, by path: mostly that of the tool itself."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "requirements.txt").write_text("foo==1.0\n", encoding="utf-8")
    words = [str(_repository / "site_one"), str(folder / "requirements.txt"), str(folder / "out")]
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.redirect_stdout(
        io.StringIO()
    ), contextlib.redirect_stderr(io.StringIO()):
        _in_place_of_pip(folder / "index", monkeypatch, asked_once).add("foo")  # which most tests require
        assert create.main([*words, "--quiet", "--workers", "1", "--cache-dir", str(folder / "cache")]) == 0
    kept = folder / "cache"
    found = [*kept.glob("bytecode/**/*.json"), *kept.glob("files/**/*.zip")]
    assert len(found) > 3
    return {str(path.relative_to(kept)): path.read_bytes() for path in found}


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _compiled: Dict[str, bytes]) -> Path:
    """Give builds a cache of the test's own, in which the tool itself is compiled: that takes longer than the rest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return with_bytecode(tmp_path / "cache" / "deployable-zipfile", _compiled)


def with_bytecode(cache: Path, compiled: Mapping[str, bytes]) -> Path:
    """Put into the folder *cache* what was *compiled*, and return it."""
    for name, content in compiled.items():
        (cache / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (cache / name).write_bytes(content)
    return cache


@pytest.fixture(scope="session")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkout that each test has a copy of."""
    made = tmp_path_factory.mktemp("repository") / "repo"
    write_tree(made / "site_one", SITE)
    (made / "requirements.txt").write_text("")
    commit_all(made)
    return made


@pytest.fixture
def site(tmp_path: Path, _repository: Path) -> Path:
    """Return a project in a clean git checkout: tmp_path/repo/site_one."""
    shutil.copytree(str(_repository), str(tmp_path / "repo"), symlinks=True)
    git(tmp_path / "repo", "update-index", "-q", "--refresh")
    return tmp_path / "repo" / "site_one"
