"""What a build takes from its lock is kept for the next one, and taken over only while nothing of it can differ."""

from __future__ import annotations

import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from deployable_zipfile import create
from deployable_zipfile.artifact import layout
from deployable_zipfile.builder import project, stocking, surroundings, unchanged
from tests.support.depth import sampled
from tests.support.helpers import make_wheel, write_tree
from tests.unit.builder.conftest import Index, commit_all
from tests.unit.builder.test_create import lock, manifest, pinned
from tests.unit.builder.test_last import settle


class Builds:
    """Builds one project, and tells whether the lock was read for it."""

    def __init__(
        self, site: Path, index: Index, folder: Path, cache: Path, said: pytest.CaptureFixture[str], reads: List[str]
    ) -> None:
        self.site = site
        self.index = index
        self.folder = folder
        self.cache = cache
        self.words: List[str] = []
        self.more: List[str] = []
        self._said = said
        self._reads = reads

    def lock(self, *wheels: Path) -> None:
        """Lock *wheels* and build twice: once with pip, once from the cache."""
        self.words = [str(self.site), lock(self.site, *map(pinned, wheels)), str(self.folder / "out")]
        for _ in range(2):
            self.run()

    def run(self) -> Tuple[Dict[str, Any], str, bool]:
        """Return the result, what was said on stderr, and whether the lock was read."""
        self._reads.clear()
        status = create.main([*self.words, *self.more, "--json", "--workers", "1"])
        said = self._said.readouterr()
        assert status == 0, said.err
        return json.loads(said.out), said.err, bool(self._reads)

    def anew(self) -> Dict[str, Any]:
        """Return the result, without warnings, of a build that reads the lock and writes all of the artifact."""
        (self.folder / "out.zip").unlink()
        for path in self.kept("stock"):
            path.unlink()
        made, _, read = self.run()
        assert read
        return {**made, "warnings": []}

    def change(self, text: str = "VALUE = 2\n") -> None:
        """Change the project, so that there is something to build."""
        (self.site / "site_one" / "changed.py").write_text(text, encoding="utf-8")
        commit_all(self.site.parent)

    def kept(self, kind: str) -> List[Path]:
        """Return the files of *kind* in the cache."""
        return [path for path in (self.cache / kind).rglob("*") if path.is_file()]


@pytest.fixture
def builds(
    site: Path,
    index: Index,
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Builds:
    reads: List[str] = []
    real = stocking.lock

    def counted(context: Any) -> Any:
        reads.append(context.options.requirements)
        return real(context)

    monkeypatch.setattr(stocking, "lock", counted)
    made = Builds(site, index, tmp_path, own_cache, capsys, reads)
    made.lock(index.add("foo", "1.0"))
    return made


def test_a_lock_that_is_unchanged_is_not_read_again_and_the_artifact_is_the_same(builds: Builds) -> None:
    builds.change()
    again, said, read = builds.run()

    assert not read
    assert len(again["from_cache"]) == 1
    assert "the lock is unchanged" in said
    assert builds.anew() == {**again, "warnings": []}


@pytest.mark.deep
def test_its_warnings_are_given_again(builds: Builds) -> None:
    builds.lock(builds.index.add("bar", "1.0", {"bar.py": "", "bar.pth": "import bar\n"}))
    builds.change()
    done, said, read = builds.run()

    assert not read
    assert done["warnings"] == ["bar-1.0-py3-none-any.whl: runs code at every start of Python (bar.pth)"]
    assert f"warning: {done['warnings'][0]}\n" in said


def _lock(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del patch
    path = Path(builds.words[1])
    path.write_text(path.read_text(encoding="utf-8") + "# other\n", encoding="utf-8")
    commit_all(builds.site.parent)


def _variable(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del builds
    patch.setenv("PIP_EXTRA_INDEX_URL", "https://other.example.org/simple")


def _option(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del patch
    builds.more = ["--strict"]


def _no_bytecode(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del patch
    builds.more = ["--no-bytecode"]


def _project_name(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del patch
    builds.more = ["--name", "another"]


def _configuration_of_pip(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    path = builds.folder / "pip.conf"
    path.write_text("[global]\ntimeout = 7\n", encoding="utf-8")
    patch.setattr("deployable_zipfile.builder.surroundings.configuration_paths", lambda interpreter: [str(path)])


def _module(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del patch
    (builds.site / "another.py").write_text("VALUE = 1\n", encoding="utf-8")
    commit_all(builds.site.parent)


def _wheel_is_gone(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del patch
    [path] = [path for path in builds.kept("files") if path.name.startswith("foo-")][:1]
    path.unlink()


def _damaged(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del patch
    for path in builds.kept("stock"):
        path.write_bytes(path.read_bytes()[:-2])


def _a_month_later(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    del builds
    later = time.time() + 31 * 24 * 3600
    patch.setattr(time, "time", lambda: later)


def _another_tool(builds: Builds, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(unchanged, "own_files", lambda: [builds.words[1], str(builds.folder)])


@pytest.mark.parametrize(
    "change",
    sampled([
        _lock, _variable, _option, _no_bytecode, _project_name, _configuration_of_pip, _module, _wheel_is_gone,
        _damaged, _a_month_later, _another_tool,
    ], 1),
)  # fmt: skip
def test_after_a_change_of_what_it_follows_from_the_lock_is_read(
    builds: Builds, change: Callable[[Builds, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    builds.change()
    assert not builds.run()[2]
    change(builds, monkeypatch)
    builds.change("VALUE = 3\n")
    assert builds.run()[2]


@pytest.mark.deep
def test_what_is_not_pinned_is_never_taken_over(builds: Builds) -> None:
    builds.words[1] = lock(builds.site, "foo==1.0")
    for number in range(3):
        builds.change(f"VALUE = {number}\n")
        assert builds.run()[2]


def _rewritten(path: Path) -> None:
    """As an edit that keeps size and time of the content."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("spoil", sampled([_rewritten, Path.unlink], [_rewritten]))
@pytest.mark.parametrize("way", sampled(["-r", "-c", "PIP_CONSTRAINT", "pip.conf"], ["-r", "pip.conf"]))
def test_files_that_the_lock_or_pip_names_are_looked_at(
    builds: Builds, way: str, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    foo = next(path for path in builds.index.folder.iterdir() if path.name.startswith("foo-"))
    other = builds.site.parent / "other.txt"
    other.write_text(f"{pinned(foo)}\n" if way == "-r" else "foo<2\n", encoding="utf-8")
    builds.words[1] = lock(
        builds.site, *([f"{way} other.txt"] if way[:1] == "-" else []), *[pinned(foo)][way == "-r" :]
    )
    if way == "PIP_CONSTRAINT":
        monkeypatch.setenv(way, str(other))
    if way == "pip.conf":
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        (tmp_path / "pip.conf").write_text(f"[global]\nconstraint = {other}\n", encoding="utf-8")
    read = []
    for number in range(3):
        time.sleep(0.05)  # until a change of the file shows in its times
        builds.change(f"VALUE = {number}\n")
        read.append(builds.run()[2])
    assert read == [True, True, False] or read == [True, False, False]

    spoil(other)
    builds.change("VALUE = 9\n")
    if spoil is _rewritten:
        assert builds.run()[2]
    else:
        assert create.main(builds.words) == 7


def test_a_damaged_wheel_is_not_taken_over(builds: Builds) -> None:
    [path] = [path for path in builds.kept("files") if path.name.startswith("foo-")][:1]
    content = path.read_bytes()
    path.write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
    builds.change()
    done, _, read = builds.run()

    assert read
    assert done["sha256"]
    assert path.read_bytes() == content


@pytest.mark.deep
def test_how_the_project_is_run_is_looked_at_again_after_a_change(builds: Builds) -> None:
    builds.change()
    assert builds.run()[2] is False
    wsgi = builds.site / "site_one" / "wsgi.py"
    for name in ("app", "application"):
        wsgi.write_text(f"{name} = None\n", encoding="utf-8")
        builds.change(f"VALUE = {name!r}\n")
        done, _, read = builds.run()
        site = manifest(done["path"]).site
        assert (read, site and site.wsgi) == (False, f"site_one.wsgi:{name}")


def test_how_the_project_is_run_is_looked_at_only_when_a_file_that_says_so_changed(
    builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: List[Any] = []
    real = project.describe

    def counted(files: Any, wanted: Any) -> Any:
        looked.append(wanted)
        return real(files, wanted)

    monkeypatch.setattr(project, "describe", counted)
    wsgi = builds.site / "site_one" / "wsgi.py"
    wsgi.write_text("application = None\n", encoding="utf-8")
    for number in range(3):
        time.sleep(0.05)  # until a change of the file shows in its times
        builds.change(f"VALUE = {number}\n")
        builds.run()
    looked.clear()
    builds.change("VALUE = 9\n")
    builds.run()
    assert looked == []

    status = wsgi.stat()
    wsgi.write_text("app         = None\n", encoding="utf-8")  # of the same size and time
    os.utime(str(wsgi), ns=(status.st_atime_ns, status.st_mtime_ns))
    done, _, _ = builds.run()
    site = manifest(done["path"]).site
    assert (len(looked), site and site.wsgi) == (1, "site_one.wsgi:app")

    (builds.site / "site_one" / "asgi.py").write_text("application = None\n", encoding="utf-8")
    builds.change("VALUE = 4\n")
    builds.run()
    assert len(looked) == 2  # a name that was not there


@pytest.mark.deep
def test_the_schema_follows_what_the_project_declares(builds: Builds) -> None:
    for name in ("FIRST", "SECOND"):
        text = f'[tool.deployable-zipfile.environment]\n{name} = {{ type = "integer" }}\n'
        (builds.site.parent / "pyproject.toml").write_text(text, encoding="utf-8")
        for number in range(2):
            builds.change(f"VALUE = {number}\n")
            done, _, read = builds.run()
            with zipfile.ZipFile(done["path"]) as archive:
                schema = json.loads(archive.read(layout.ENVIRONMENT_SCHEMA))
            assert (read, list(schema["properties"])) == (False, [name])


@pytest.mark.deep
def test_variables_that_make_no_sense_are_refused_after_a_build_too(builds: Builds) -> None:
    text = '[tool.deployable-zipfile.environment]\nKEY = { type = "no type" }\n'
    (builds.site.parent / "pyproject.toml").write_text(text, encoding="utf-8")
    builds.change()
    for _ in range(2):
        assert create.main([*builds.words, "--json", "--workers", "1"]) == 7


class FromSdist:
    """A project whose lock has an sdist, built here with what is in two folders of the test's own."""

    def __init__(self, builds: Builds, patch: pytest.MonkeyPatch) -> None:
        self.builds = builds
        self.sdist = builds.index.folder / "baz-1.0.tar.gz"
        self.tools = write_tree(
            builds.folder / "tools",
            {"first/other": "", "second/gcc": ("#!/bin/sh\n", 0o755), "compiler": ("#!/bin/sh\n", 0o755)},
        )
        (self.tools / "second" / "cc").symlink_to("gcc")
        self.links = write_tree(builds.folder / "links", {"backend-1-py3-none-any.whl": "one"})
        self.constraints = write_tree(builds.folder, {"build.txt": "backend<2\n"}) / "build.txt"
        self.packages = write_tree(builds.folder, {"status": "Package: libxml2-dev\n"}) / "status"
        patch.setattr(surroundings, "_PACKAGE_LISTS", (str(self.packages), *surroundings._PACKAGE_LISTS))
        patch.setenv(
            "PATH", os.pathsep.join([str(self.tools / "first"), str(self.tools / "second"), os.environ["PATH"]])
        )
        patch.setenv("CC", f"{self.tools}/compiler -O2")
        patch.setenv("PIP_BUILD_CONSTRAINT", str(self.constraints))
        self.source("an sdist", 1)
        settle()
        for _ in range(2):
            builds.run()

    def source(self, text: str, value: int) -> None:
        """Lock an sdist with *text*, from which a wheel with *value* is built."""
        self.sdist.write_text(text, encoding="utf-8")
        self.gives(value)
        self.builds.words[1] = lock(self.builds.site, f"--find-links {self.links}", pinned(self.sdist))

    def gives(self, value: int) -> None:
        """Let the next build from the sdist give a wheel with *value*."""
        folder = self.builds.folder / f"made-{value}"
        self.builds.index.sdists[self.sdist.name] = make_wheel(folder, "baz", "1.0", {"baz.py": f"VALUE = {value}\n"})

    def packed(self, done: Dict[str, Any]) -> bytes:
        """Return the module of the wheel in the artifact."""
        with zipfile.ZipFile(done["path"]) as artifact, artifact.open("wheels/baz-1.0-py3-none-any.whl") as wheel:
            return zipfile.ZipFile(io.BytesIO(wheel.read())).read("baz.py")


@pytest.fixture
def from_sdist(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> FromSdist:
    return FromSdist(builds, monkeypatch)


def test_wheels_that_were_built_here_are_taken_over_and_the_artifact_is_the_same(from_sdist: FromSdist) -> None:
    builds = from_sdist.builds
    from_sdist.gives(2)  # nothing is built
    builds.change()
    again, _, read = builds.run()

    assert not read
    assert (again["from_sdists"], len(again["from_cache"])) == ([], 1)
    assert from_sdist.packed(again) == b"VALUE = 1\n"
    assert builds.anew() == {**again, "warnings": []}


def _other_sdist(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    at.source("another sdist", 2)


def _edited_tool(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    _rewritten(at.tools / "second" / "gcc")


def _edited_compiler(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    _rewritten(at.tools / "compiler")


def _tool_that_is_found_earlier(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    write_tree(at.tools, {"first/gcc": ("#!/bin/sh\n", 0o755)})


def _tool_that_was_not_found(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    write_tree(at.tools, {"first/swig": ("#!/bin/sh\n", 0o755)})


def _removed_tool(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    (at.tools / "second" / "gcc").unlink()


def _other_name_of_the_same_tool(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    link = at.tools / "second" / "cc"
    os.link(str(at.tools / "second" / "gcc"), str(at.tools / "second" / "ccache"))
    link.unlink()
    link.symlink_to("ccache")


def _installed_package(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    _rewritten(at.packages)


def _other_backend(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    (at.links / "backend-1-py3-none-any.whl").write_text("two", encoding="utf-8")


def _further_backend(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    (at.links / "backend-2-py3-none-any.whl").write_text("two", encoding="utf-8")


def _constraint(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del patch
    _rewritten(at.constraints)


def _flags(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del at
    patch.setenv("CFLAGS", "-O3")


def _setting_of_pip(at: FromSdist, patch: pytest.MonkeyPatch) -> None:
    del at
    patch.setenv("PIP_NO_BINARY", ":all:")


_OF_SDISTS = [
    _other_sdist, _edited_tool, _edited_compiler, _tool_that_is_found_earlier, _tool_that_was_not_found, _removed_tool,
    _other_name_of_the_same_tool, _installed_package, _other_backend, _further_backend, _constraint, _flags,
    _setting_of_pip,
]  # fmt: skip


@pytest.mark.parametrize("change", sampled(_OF_SDISTS, [_other_sdist, _other_name_of_the_same_tool]))
def test_after_a_change_of_what_an_sdist_is_built_with_it_is_built_again(
    from_sdist: FromSdist, change: Callable[[FromSdist, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = from_sdist.builds
    builds.change()
    assert not builds.run()[2]

    from_sdist.gives(2)
    change(from_sdist, monkeypatch)
    builds.change("VALUE = 3\n")
    done, _, read = builds.run()
    assert (read, done["from_sdists"]) == (True, ["baz-1.0-py3-none-any.whl"])
    assert from_sdist.packed(done) == b"VALUE = 2\n"


@pytest.mark.parametrize("spoil", sampled([_rewritten, Path.unlink], [_rewritten]))
def test_a_wheel_that_was_built_here_and_is_damaged_or_gone_is_built_again(
    from_sdist: FromSdist, spoil: Callable[[Path], None]
) -> None:
    builds = from_sdist.builds
    builds.change()
    assert not builds.run()[2]

    [path] = [path for path in builds.kept("files") if path.name.startswith("baz-") and path.suffix == ".whl"]
    spoil(path)
    from_sdist.gives(2)
    builds.change("VALUE = 3\n")
    done, _, read = builds.run()
    assert (read, done["from_sdists"]) == (True, ["baz-1.0-py3-none-any.whl"])
    assert from_sdist.packed(done) == b"VALUE = 2\n"


def test_every_tool_and_folder_that_decides_is_looked_at(from_sdist: FromSdist) -> None:
    options = ("--find-links", str(from_sdist.links))
    found = surroundings.looked_for(sys.executable, options)
    described = [
        line.split(" ")[0]
        for text in surroundings.compiling(sys.executable, options)
        for line in text.splitlines()
        if line.startswith("/")
    ]
    assert len(described) > 5
    assert set(described) <= set(found)
