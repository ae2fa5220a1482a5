"""A build whose outcome is known is not run again; whatever it followed from, and in doubt, it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Tuple

import pytest

from deployable_zipfile import create
from deployable_zipfile.builder import unchanged
from tests.support.depth import sampled
from tests.support.helpers import make_wheel, write_tree
from tests.unit.builder.conftest import Index, commit_all, git
from tests.unit.builder.test_create import lock, pinned
from tests.unit.builder.test_last import _copy, _cut, _flipped, _gone, _link, settle


class Build:
    """Builds one project with one command line."""

    def __init__(self, site: Path, index: Index, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.artifact = folder / "out.zip"
        self.locked = lock(site, pinned(index.add("foo", "1.0")))
        self.words = [str(site), str(self.locked), str(folder / "out"), "--json", "--workers", "1"]

    def run(self) -> None:
        assert create.main(self.words) == 0

    def repeats(self) -> bool:
        return unchanged.repeated(self.words)


@pytest.fixture
def build(site: Path, index: Index, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Build:
    """Return a project whose second build wrote nothing and left a record."""
    (site / "data").mkdir()
    (site / "data" / "module.py").write_text("VALUE = 1\n" * 50, encoding="utf-8")
    (site / "notes.txt").write_text("value 1\n" * 50, encoding="utf-8")
    commit_all(site.parent)
    made = Build(site, index, tmp_path)
    for _ in range(2):
        settle()
        made.run()
    return made


def test_the_same_is_said_again_and_nothing_is_written(build: Build, capfd: pytest.CaptureFixture[str]) -> None:
    build.run()
    said = capfd.readouterr().out.splitlines()[-1]
    before = build.artifact.stat()

    assert build.repeats()
    again = capfd.readouterr()
    assert json.loads(again.out) == json.loads(said)
    assert again.err == "Nothing that the last build read has changed since\n"
    assert unchanged.identity(build.artifact.stat()) == unchanged.identity(before)


def test_the_program_repeats_without_loading_the_build(build: Build) -> None:
    script = str(Path(create.__file__))
    command = [sys.executable, "-v", script, *build.words]
    runs = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, check=True)
        runs.append((json.loads(done.stdout.decode()), b"deployable_zipfile.builder.pack" in done.stderr))
        settle()

    assert [loaded for _, loaded in runs[-1:]] == [False]
    assert runs[0][1]
    assert runs[0][0] == runs[-1][0]


def _touched_back(path: Path, text: str) -> None:
    status = path.stat()
    path.write_text(text, encoding="utf-8")
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def _same_size_and_time(build: Build) -> None:
    _touched_back(build.site / "notes.txt", "value 2\n" * 50)


def _hidden_from_git(build: Build) -> None:
    git(build.site, "update-index", "--assume-unchanged", "notes.txt")
    _touched_back(build.site / "notes.txt", "value 3\n" * 50)


def _executable(build: Build) -> None:
    (build.site / "notes.txt").chmod(0o755)


def _removed(build: Build) -> None:
    (build.site / "notes.txt").unlink()


def _a_link_in_place_of_a_folder(build: Build) -> None:
    git(build.site, "update-index", "--skip-worktree", "data/module.py")
    os.rename(str(build.site / "data"), str(build.folder / "moved"))
    (build.site / "data").symlink_to(build.folder / "moved")


def _untracked(build: Build) -> None:
    (build.site / "new.py").write_text("VALUE = 2\n", encoding="utf-8")


def _staged(build: Build) -> None:
    git(build.site, "rm", "--quiet", "--cached", "notes.txt")


def _committed(build: Build) -> None:
    git(build.site, "commit", "--quiet", "--allow-empty", "--message=Another one")


def _another_branch(build: Build) -> None:
    git(build.site, "commit", "--quiet", "--allow-empty", "--message=Another one")
    git(build.site, "checkout", "--quiet", "-b", "side", "HEAD~1")
    git(build.site, "commit", "--quiet", "--allow-empty", "--message=A third one")


def _branch_moved_by_hand(build: Build) -> None:
    other = git(build.site, "commit-tree", "-m", "Another one", "HEAD^{tree}").strip()
    git(build.site, "update-ref", "refs/heads/main", other)


def _packed_branch_moved(build: Build) -> None:
    other = git(build.site, "commit-tree", "-m", "Another one", "HEAD^{tree}").strip()
    git(build.site, "update-ref", "refs/heads/main", other)
    git(build.site, "pack-refs", "--all")


def _detached(build: Build) -> None:
    git(build.site, "checkout", "--quiet", "--detach")
    git(build.site, "commit", "--quiet", "--allow-empty", "--message=Another one")


def _worktree_elsewhere(build: Build) -> None:
    git(build.site, "config", "core.worktree", str(build.folder / "elsewhere"))
    (build.folder / "elsewhere").mkdir()


def _setting(build: Build) -> None:
    (build.site.parent / "pyproject.toml").write_text(
        '[tool.deployable-zipfile]\nskip-steps = ["migrate"]\n', encoding="utf-8"
    )


def _setting_that_git_ignores(build: Build) -> None:
    (build.site.parent / ".git" / "info").mkdir(exist_ok=True)
    (build.site.parent / ".git" / "info" / "exclude").write_text("pyproject.toml\n", encoding="utf-8")
    (build.site / "pyproject.toml").write_text('[tool.deployable-zipfile]\nexclude = ["notes.txt"]\n', encoding="utf-8")


def _a_secret_that_is_packed_as_a_copy(build: Build) -> None:
    (build.site.parent / ".git" / "info").mkdir(exist_ok=True)
    (build.site.parent / ".git" / "info" / "exclude").write_text("environment.json\n", encoding="utf-8")
    (build.site.parent / "environment.json").write_bytes((build.site / "notes.txt").read_bytes())


def _lock(build: Build) -> None:
    with open(str(build.locked), "a", encoding="utf-8") as file:
        file.write("# other\n")


def _file_modes(build: Build) -> None:
    git(build.site, "config", "core.fileMode", "false")


CHANGES: List[Callable[[Build], None]] = [
    _same_size_and_time, _hidden_from_git, _executable, _removed, _a_link_in_place_of_a_folder, _untracked, _staged,
    _committed, _another_branch, _branch_moved_by_hand, _packed_branch_moved, _detached,
    _worktree_elsewhere, _setting, _setting_that_git_ignores, _a_secret_that_is_packed_as_a_copy, _lock,
    _file_modes,
]  # fmt: skip


def _dirty(build: Build) -> None:
    (build.site / "notes.txt").write_text("value 4\n" * 50, encoding="utf-8")


def _not_in_the_commit(build: Build) -> None:
    _untracked(build)
    git(build.site, "add", "new.py")


def _deleted(build: Build) -> None:
    (build.site / "data" / "module.py").unlink()


def _many_that_are_untracked(build: Build) -> None:
    write_tree(build.site, {"new.py": "VALUE = 2\n", "more/a.py": "", "more/b.py": "", "\u00fc b.txt": ""})


STATES: List[Callable[[Build], None]] = [_dirty, _not_in_the_commit, _deleted, _untracked, _many_that_are_untracked]


@pytest.mark.parametrize("state", sampled(STATES, [_dirty, _untracked]))
def test_a_checkout_that_is_not_the_commit_is_known_too(
    build: Build, state: Callable[[Build], None], capfd: pytest.CaptureFixture[str]
) -> None:
    state(build)
    for _ in range(2):
        settle()
        build.run()
    said = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert said["dirty"] == (state not in (_untracked, _many_that_are_untracked))

    assert build.repeats()
    assert json.loads(capfd.readouterr().out) == said


def _dirty_again(build: Build) -> None:
    _touched_back(build.site / "notes.txt", "value 5\n" * 50)


def _as_in_the_commit(build: Build) -> None:
    git(build.site, "checkout", "--quiet", "notes.txt")


def _untracked_is_a_secret(build: Build) -> None:
    _touched_back(build.site / "other.py", "-----BEGIN PRIVATE KEY-----\n")


def _untracked_is_gone(build: Build) -> None:
    (build.site / "other.py").unlink()


def _ignored(build: Build) -> None:
    (build.site.parent / ".gitignore").write_text("other.py\n", encoding="utf-8")


def _added(build: Build) -> None:
    git(build.site, "add", "other.py")


AGAIN: List[Callable[[Build], None]] = [
    _dirty_again, _as_in_the_commit, _untracked_is_a_secret, _untracked_is_gone, _ignored, _added,
]  # fmt: skip


@pytest.mark.parametrize("change", sampled([*CHANGES, *AGAIN], [_dirty_again, _untracked_is_a_secret]))
def test_after_any_change_of_a_checkout_that_is_not_the_commit_the_build_is_run(
    build: Build, change: Callable[[Build], None]
) -> None:
    (build.site / "other.py").write_text("VALUE = 3\n", encoding="utf-8")
    _dirty(build)
    for _ in range(2):
        settle()
        build.run()
    assert build.repeats()
    change(build)
    assert not build.repeats()


@pytest.mark.parametrize("change", sampled(CHANGES, [_hidden_from_git]))
def test_after_any_change_the_build_is_run(build: Build, change: Callable[[Build], None]) -> None:
    assert build.repeats()
    change(build)
    assert not build.repeats()


@pytest.fixture
def asked_of_git(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Return the commands that git gets from now on."""
    words: List[str] = []
    start = unchanged._started

    def started(command: List[str]) -> Tuple[int, int]:
        words.append(command[1])
        return start(command)

    monkeypatch.setattr(unchanged, "_started", started)
    return words


def test_git_is_asked_once_and_only_what_files_do_not_tell(build: Build, asked_of_git: List[str]) -> None:
    assert build.repeats()
    assert asked_of_git == ["ls-files"]


def test_after_a_change_of_the_project_git_is_not_started_in_vain(build: Build, asked_of_git: List[str]) -> None:
    _same_size_and_time(build)
    assert not build.repeats()
    assert asked_of_git == []


def test_where_the_branch_is_another_name_git_is_asked(build: Build, asked_of_git: List[str]) -> None:
    git(build.site, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(build.site, "symbolic-ref", "HEAD", "refs/heads/alias")
    for _ in range(2):
        settle()
        build.run()
    assert build.repeats()
    assert sorted(asked_of_git) == ["ls-files", "ls-files", "rev-parse"]
    _branch_moved_by_hand(build)
    assert not build.repeats()


def test_git_that_said_two_things_in_one_build_proves_nothing() -> None:
    answer = ("/site", ("rev-parse", "HEAD"), 0, b"1")
    assert unchanged._each_once([answer, answer]) == [answer]
    assert unchanged._each_once([answer, (*answer[:3], b"2")]) is None


@pytest.mark.parametrize("damage", sampled([_cut, _flipped, _gone, _link, _copy], [_flipped]))
@pytest.mark.parametrize("name", sampled(["out.zip", "out.zip.sha256"], 1))
def test_a_result_that_is_not_as_it_was_is_built_again(build: Build, name: str, damage: Callable[[Path], None]) -> None:
    assert build.repeats()
    damage(build.folder / name)
    if (name, damage) in [("out.zip.sha256", _copy), ("out.zip.sha256", _link)]:
        return  # the same content
    assert not build.repeats()


@pytest.mark.parametrize(
    "name", sampled(["PIP_INDEX_URL", "SOURCE_DATE_EPOCH", "GIT_CONFIG_GLOBAL", "ANYTHING"], ["ANYTHING"])
)
def test_another_environment_is_another_build(build: Build, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build.repeats()
    monkeypatch.setenv(name, "1600000000")
    assert not build.repeats()


def test_another_configuration_of_pip_is_another_build(
    site: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    build = Build(site, index, tmp_path)
    for _ in range(2):
        settle()
        build.run()
    assert build.repeats()
    path = tmp_path / "home" / ".pip" / "pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[global]\nno-index = true\n", encoding="utf-8")
    assert not build.repeats()


@pytest.mark.parametrize("further", sampled([["--no-cache"], ["--require-clean"], ["--check"]], 1))
def test_another_command_line_is_another_build(build: Build, further: List[str]) -> None:
    assert not unchanged.repeated([*build.words, *further])


def _checked(build: Build) -> None:
    build.words.append("--check")


def _all_files(build: Build) -> None:
    build.words.append("--all-files")


def _include(build: Build) -> None:
    _untracked(build)
    build.words += ["--include", f"{build.site.name}/new.py"]


@pytest.mark.parametrize("change", sampled([_checked, _all_files, _include], 1))
def test_what_cannot_be_recorded_is_built_each_time(build: Build, change: Callable[[Build], None]) -> None:
    change(build)
    for _ in range(2):
        settle()
        build.run()
    assert not build.repeats()


def test_a_file_that_the_lock_includes_is_looked_at(build: Build, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("", encoding="utf-8")
    with open(str(build.locked), "a", encoding="utf-8") as file:
        file.write(f"-r {tmp_path}/more.txt\n")
    commit_all(build.site.parent)
    for _ in range(2):
        settle()
        build.run()
    assert build.repeats()
    (tmp_path / "more.txt").write_text("# other\n", encoding="utf-8")
    assert not build.repeats()


@pytest.mark.deep
def test_a_damaged_record_is_none(build: Build) -> None:
    [path] = [path for path in build.folder.rglob("unchanged/*/*") if path.is_file()]
    assert build.repeats()
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert not build.repeats()
    path.write_bytes(b"")
    assert not build.repeats()


def test_the_record_holds_no_value_of_the_environment(
    site: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://user:hunter2@localhost/site")
    made = Build(site, index, tmp_path)
    for _ in range(2):
        settle()
        made.run()
    [path] = [path for path in tmp_path.rglob("unchanged/*/*") if path.is_file()]
    assert b"hunter2" not in path.read_bytes()
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.fixture
def with_sdist(build: Build, index: Index, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return the same with a wheel that was built here, by a compiler of the test's own."""
    sdist = write_tree(index.folder, {"baz-1.0.tar.gz": "an sdist"}) / "baz-1.0.tar.gz"
    index.sdists[sdist.name] = make_wheel(build.folder / "made", "baz", "1.0", {"baz.py": "VALUE = 1\n"})
    write_tree(build.folder / "bin", {"gcc": ("#!/bin/sh\n", 0o755), "other": ("#!/bin/sh\n", 0o755)})
    (build.folder / "bin" / "cc").symlink_to("gcc")
    monkeypatch.setenv("PATH", f"{build.folder}/bin{os.pathsep}{os.environ['PATH']}")
    lock(build.site, pinned(sdist))
    for _ in range(3):
        settle()
        build.run()
    return build


def _compiler(build: Build) -> None:
    _touched_back(build.folder / "bin" / "gcc", "#!/bin/ks\n")


def _new_tool(build: Build) -> None:
    (build.folder / "bin" / "swig").symlink_to("other")


def _other_name(build: Build) -> None:
    os.link(str(build.folder / "bin" / "gcc"), str(build.folder / "bin" / "ccache"))
    (build.folder / "bin" / "cc").unlink()
    (build.folder / "bin" / "cc").symlink_to("ccache")


def _other_sdist(build: Build) -> None:
    lock(build.site, f"baz==1.0 --hash=sha256:{'0' * 64}")


@pytest.mark.parametrize("change", sampled([_compiler, _new_tool, _other_name, _other_sdist], 1))
def test_with_a_wheel_that_was_built_here_its_tools_are_looked_at(
    with_sdist: Build, change: Callable[[Build], None]
) -> None:
    assert with_sdist.repeats()
    change(with_sdist)
    assert not with_sdist.repeats()
