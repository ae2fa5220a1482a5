from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import pytest

from deployable_zipfile import create, signals
from deployable_zipfile.artifact import environment, headers, layout, manifests, patches, wheel, zipreader
from deployable_zipfile.artifact.index import read
from deployable_zipfile.artifact.proof import prove
from deployable_zipfile.builder import overlays, pip, requirements_file, stocking, targets
from deployable_zipfile.builder.cache import Kept
from deployable_zipfile.errors import BuildInputError, UsageError
from tests.support.depth import sampled
from tests.support.helpers import SECRET, make_wheel, run_cli, write_tree
from tests.unit.builder.conftest import Index, commit_all, git
from tests.unit.builder.test_checkout import use_old_git

HERE = "cp{}{}".format(*sys.version_info[:2])


def lock(site: Path, *lines: str) -> str:
    path = site.parent / "requirements.txt"
    text = "".join(f"{line}\n" for line in lines)
    if path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        commit_all(site.parent)
    return str(path)


def pinned(path: Path) -> str:
    """Return the line that locks the wheel or sdist at *path* by its hash."""
    name, version = path.name.replace(".tar.gz", "").split("-")[:2]
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Tuple[Dict[str, Any], str]:
    """Run the command line with --json and return its result and what it wrote to stderr."""
    # The few files of these projects are packed sooner than processes for them start.
    workers = [] if "--workers" in arguments else ["--workers", "1"]
    found = create.main([*map(str, arguments), "--json", *workers])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return json.loads(captured.out), captured.err


def failed(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run the command line, which must fail with *code*, and return its error line."""
    document, text = run(capsys, *arguments, code=code)
    assert document["ok"] is False
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert text.splitlines()[-1] == lines[0]
    assert len(lines[0]) <= 507
    assert SECRET not in text
    return lines[0]


def manifest(path: str) -> manifests.Manifest:
    with zipreader.Artifact.open(path) as artifact:
        artifact.verify(workers=1)
        return artifact.manifest


def test_a_project_becomes_an_artifact_with_all_its_parts(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("asgiref", "3.8")
    index.add("Django", "4.2", requires=["asgiref>=3"])
    static = write_tree(site.parent / "built", {"css/site.css": "body {}"})
    requirements = lock(site, "Django==4.2", "asgiref==3.8")
    done, _ = run(capsys, site, requirements, tmp_path / "out", "--extra-static", static)
    assert done["path"] == str(tmp_path / "out.zip")
    content = (tmp_path / "out.zip").read_bytes()
    assert (done["size"], done["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (tmp_path / "out.zip.sha256").read_text() == f"{done['sha256']}  out.zip\n"
    assert content.startswith(b"#!/usr/bin/env python\nPK\x03\x04")
    assert os.access(str(tmp_path / "out.zip"), os.X_OK)
    made = manifest(done["path"])
    assert done["build_id"] == made.build_id
    with zipfile.ZipFile(done["path"]) as artifact:
        names = artifact.namelist()
    assert names[:3] == ["__main__.py", "install_wheels.py", "loadenv.py"]
    for name in (
        "loadenv-init.pth",
        "site_one.pth",
        ".deploy/loadenv-init.start",
        ".deploy/runtime/extract.py",
        ".deploy/sbom.cdx.json",
        "site_one/manage.py",
        "site_one/site_one/wsgi.py",
        "static.in/0/css/site.css",
        "wheels/Django-4.2-py3-none-any.whl",
        f".deploy/bytecode/{sys.implementation.cache_tag}/Django-4.2-py3-none-any.zip",
        f".deploy/bytecode/{sys.implementation.cache_tag}/project.zip",
        layout.runtime_bytecode(sys.implementation.cache_tag),
    ):
        assert name in names
    with zipfile.ZipFile(done["path"]) as artifact:
        nested = io.BytesIO(artifact.read(layout.runtime_bytecode(sys.implementation.cache_tag)))
    modules = {layout.runtime_path(name) for name in names} - {"", layout.LOADENV}
    with zipfile.ZipFile(nested) as archive:
        compiled = {re.sub(r"__pycache__/(\w+)\.[^/]*$", r"\1.py", name) for name in archive.namelist()}
    assert compiled == modules
    assert not [name for name in names if "create.py" in name or "builder" in name]
    assert made.members["site_one/manage.py"].mode == 0o755
    assert made.source == manifests.Source(git(site, "rev-parse", "HEAD"), False, 1714979289)
    (target,) = made.targets
    assert [(one.name, one.version, one.requested) for one in target.wheels] == [
        ("asgiref", "3.8", True),
        ("django", "4.2", True),
    ]
    assert [one.name for one in target.bootstrap] == (["pip", "setuptools"] if sys.version_info < (3, 12) else ["pip"])
    assert target.magic
    assert target.project_bytecode


def test_an_artifact_without_bytecode_has_that_of_the_tool_itself_and_starts_with_it(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0")
    done, _ = run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out", "--no-bytecode")
    own = layout.runtime_bytecode(sys.implementation.cache_tag)
    made = manifest(done["path"])
    assert [name for name in made.members if name.startswith(f"{layout.BYTECODE}/")] == [own]
    (target,) = made.targets
    assert (target.cache_tag, target.magic, target.project_bytecode) == ("", "", None)
    assert [wheel.bytecode for wheel in target.wheels] == [None]
    command = [sys.executable, "-I", "-v", done["path"], "info", "--json"]  # -v: says how each module was loaded
    started = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(started.stdout)["targets"][0]["bytecode"] is False
    assert b"CompiledModules object" in started.stderr


def test_wheels_are_stored_and_can_be_read_in_place(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index.add("foo", "1.0")
    run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out")
    with zipreader.Artifact.open(str(tmp_path / "out.zip")) as artifact:
        entry = artifact.members[f"wheels/{path.name}"]
        assert entry.method == headers.STORED
        start = artifact.container.data_start(entry)
        inner = wheel.Wheel(artifact.descriptor, start, entry.size, entry.name)
        inner.check_structure()
        inner.check_contents()
        assert artifact.read(entry.name) == path.read_bytes()


def test_the_same_commit_gives_the_same_bytes_anywhere(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("foo", "1.0", {"foo/__init__.py": "NAMES = {'a', None}\n", "foo/broken.py": "{{ x }} = 1\n"})
    lock(site, "foo==1.0")
    git(tmp_path, "clone", "--quiet", str(site.parent), str(tmp_path / "a b ü"))
    made = set()
    for number, (repository, umask, zone, locale) in enumerate(
        [
            (site.parent, 0o022, "UTC", "C"),
            (tmp_path / "a b ü", 0o077, "Asia/Tokyo", "C.UTF-8"),
            (site.parent, 0, "America/Lima", "POSIX"),
        ]
    ):
        monkeypatch.setenv("TZ", zone)
        monkeypatch.setenv("LC_ALL", locale)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache-{number}"))
        monkeypatch.chdir(tmp_path)
        before = os.umask(umask)
        try:
            out = tmp_path / f"out-{number}"
            done, _ = run(capsys, repository / "site_one", repository / "requirements.txt", out)
        finally:
            os.umask(before)
        made.add(done["sha256"])
        assert os.stat(done["path"]).st_mode & 0o777 == 0o755
    assert len(made) == 1


def test_an_unchanged_lock_starts_no_pip_and_no_compiler(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (site, lock(site, pinned(index.add("foo", "1.0"))), tmp_path / "out")
    first, _ = run(capsys, *arguments)
    asked = len(index.asked)
    started: List[Any] = []
    popen = subprocess.Popen

    def counted(command: Any, *rest: Any, **options: Any) -> Any:
        started.append(command)
        return popen(command, *rest, **options)

    monkeypatch.setattr(subprocess, "Popen", counted)
    second, _ = run(capsys, *arguments)
    assert second["sha256"] == first["sha256"]
    assert len(index.asked) == asked
    assert (bool(first["from_cache"]), bool(second["from_cache"])) == (False, True)
    assert [command for command in started if command[0] != "git" and "-c" not in command] == []


def test_a_changed_lock_asks_again(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0")
    index.add("foo", "2.0")
    run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out")
    done, _ = run(capsys, site, lock(site, "foo==2.0"), tmp_path / "out")
    assert not done["from_cache"]
    assert [one.version for one in manifest(done["path"]).targets[0].wheels] == ["2.0"]


def test_a_lock_that_leaves_versions_open_is_resolved_every_time(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0")
    arguments = (site, lock(site, "foo>=1.0"), tmp_path / "out")
    run(capsys, *arguments)
    done, _ = run(capsys, *arguments)
    assert done["from_cache"] == []


@pytest.mark.deep
def test_a_damaged_cache_costs_time_and_nothing_else(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (site, lock(site, pinned(index.add("foo", "1.0"))), tmp_path / "out")
    first, _ = run(capsys, *arguments)
    kept = [
        path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix in (".json", ".whl", ".zip")
    ]
    assert len(kept) > 5
    for path in kept:
        path.write_bytes(path.read_bytes()[:-2])
    second, _ = run(capsys, *arguments)
    assert (second["sha256"], second["from_cache"]) == (first["sha256"], [])


@pytest.mark.deep
def test_without_the_cache_nothing_is_kept(
    site: Path, index: Index, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(str(own_cache.parent))
    index.add("foo", "1.0")
    run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out", "--no-cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.deep
@pytest.mark.parametrize("home", ["/nowhere", "/proc"])
def test_without_a_home_that_can_be_written_a_build_keeps_nothing_and_says_so(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    home: str,
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", home)
    _, text = run(capsys, site, lock(site), tmp_path / "out")
    assert "so nothing is cached; give --cache-dir DIR" in text


def test_an_empty_requirements_file_is_allowed_with_a_note(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, text = run(capsys, site, lock(site), tmp_path / "out")
    assert "requirements.txt: contains no requirements; the artifact will contain only pip" in text
    assert manifest(done["path"]).targets[0].wheels == ()


def test_requirements_without_hashes_are_warned_about_or_refused(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index.add("foo", "1.0")
    _, text = run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out")
    assert "requirements.txt: has no hashes, so other files may be fetched" in text
    (tmp_path / "out.zip").unlink()
    line = failed(capsys, 7, site, lock(site, "foo==1.0"), tmp_path / "out", "--require-hashes")
    assert line.endswith(
        "requirements.txt: has no hashes. Lock it with uv pip compile --generate-hashes, or pip-compile."
    )
    assert not (tmp_path / "out.zip").exists()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    hashed = lock(site, f"foo==1.0 --hash=sha256:{digest}")
    _, text = run(capsys, site, hashed, tmp_path / "out", "--require-hashes")
    assert "hashes" not in text


def test_two_pythons_get_the_wheels_that_each_resolves(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("foo", "1.0")
    index.add("foo", "2.0")
    asked = targets.of_interpreter
    here = asked(sys.executable)
    other = here._replace(
        python="3.99", version="3.99.1", abi="cp399", label="cp399-x", identity="x", cache_tag="cpython-399"
    )
    monkeypatch.setattr(targets, "of_interpreter", lambda command: other if command == "python3.99" else asked(command))
    python = "{}.{}".format(*sys.version_info[:2])
    text = [f"foo==1.0; python_version == '{python}'", "foo==2.0; python_version == '3.99'"]
    monkeypatch.setattr(
        index, "_file", lambda name, version, python: next(index.folder.glob(f"{name}-{version}-*.whl"))
    )
    from tests.unit.builder import conftest

    monkeypatch.setattr(conftest, "_python_of", lambda runner: "3.99" if runner.command[0] == "python3.99" else python)
    monkeypatch.setattr(
        targets,
        "of_interpreter",
        lambda command: other._replace(interpreter="python3.99") if command == "python3.99" else asked(command),
    )
    monkeypatch.setattr("deployable_zipfile.builder.overlays.Overlays.of_runtime", lambda *_: None)  # it runs no 3.99
    requirements = lock(site, *text)
    done, _ = run(capsys, site, requirements, tmp_path / "out", "--extra-python", "python3.99", "--no-bytecode")
    made = manifest(done["path"])
    assert [[(one.name, one.version) for one in target.wheels] for target in made.targets] == [
        [("foo", "1.0")],
        [("foo", "2.0")],
    ]
    assert {name for name in made.members if name.startswith("wheels/")} == {
        "wheels/foo-1.0-py3-none-any.whl",
        "wheels/foo-2.0-py3-none-any.whl",
    }


def test_a_named_target_takes_its_own_wheels(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", tag="cp38-cp38-manylinux_2_17_x86_64", purelib=False)
    index.add("bar", "1.0")
    requirements = lock(site, "foo==1.0; python_version < '3.9'", "bar==1.0; python_version >= '3.9'")
    done, _ = run(capsys, site, requirements, tmp_path / "out", "--target", "cp38-manylinux_2_17_x86_64")
    (target,) = manifest(done["path"]).targets
    assert (target.python, target.abi, target.machine) == ("3.8", "cp38", "x86_64")
    assert [one.name for one in target.wheels] == ["foo"]
    assert (target.magic == "") == (
        sys.version_info[:2] != (3, 8) and not targets.of_name("cp38-manylinux1_x86_64").magic
    )


def test_a_wheel_for_another_python_fails_the_build_by_name(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", tag="cp27-cp27mu-linux_x86_64")
    line = failed(capsys, 6, site, lock(site, "foo==1.0"), tmp_path / "out")
    assert line.startswith(f"error: foo-1.0-cp27-cp27mu-linux_x86_64.whl: does not run on {HERE}-manylinux_2_")


def test_a_wheel_that_requires_another_python_fails_the_build_by_name(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\nRequires-Python: >=3.99\n"
    index.add("foo", "1.0", metadata=text)
    line = failed(capsys, 6, site, lock(site, "foo==1.0"), tmp_path / "out")
    assert "foo-1.0-py3-none-any.whl: needs Python >=3.99 (for cp3" in line
    assert line.endswith("Lock another version.")


def test_an_incomplete_lock_fails_the_build_naming_what_is_missing_and_for_whom(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", requires=["bar>=2", "baz"])
    line = failed(capsys, 6, site, lock(site, "foo==1.0"), tmp_path / "out")
    assert line.startswith(f"error: bar>=2: is required by foo 1.0, and it is not there (for {HERE}-")
    assert line.endswith(f", Python {platform.python_version()}) (and 1 more). Lock it as well.")


def test_two_versions_of_one_project_fail_the_build_naming_both(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0")
    index.add("foo", "2.0")
    line = failed(capsys, 6, site, lock(site, "foo==1.0", "foo==2.0"), tmp_path / "out")
    assert "foo: is there twice: foo-1.0-py3-none-any.whl and foo-2.0-py3-none-any.whl (for" in line
    assert line.endswith("Lock one version.")


def test_a_broken_wheel_fails_the_build_by_name(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", unrecorded={"evil.py": "x"})
    line = failed(capsys, 6, site, lock(site, "foo==1.0"), tmp_path / "out")
    assert line == (
        "error: foo-1.0-py3-none-any.whl/evil.py: is not listed in RECORD. "
        "Lock another version, or pack it repaired with --allow foo-1.0-py3-none-any.whl."
    )


def test_a_wheel_that_runs_code_at_every_start_is_warned_about_or_refused(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", {"foo.py": "", "foo.pth": "import foo\n"})
    requirements = lock(site, "foo==1.0")
    done, text = run(capsys, site, requirements, tmp_path / "out")
    assert "warning: foo-1.0-py3-none-any.whl: runs code at every start of Python (foo.pth)\n" in text
    assert done["warnings"][-1].startswith("foo-1.0")
    line = failed(capsys, 6, site, requirements, tmp_path / "out", "--strict")
    assert line.endswith("runs code at every start of Python (foo.pth). Leave out --strict if this is intended.")


@pytest.mark.parametrize(
    ("line", "missing"),
    sampled(
        [
            ("#!/usr/bin/env no-such-python", "no-such-python"),
            ("#!/opt/no/python", "/opt/no/python"),
            ("#!/bin/sh python", ""),
        ],
        1,
    ),
)
def test_it_says_how_to_start_a_file_whose_first_line_does_not_work_here(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, missing: str
) -> None:
    words = [site, lock(site), tmp_path / "out", "--workers", "1", "--shebang", line]
    assert create.main([str(word) for word in words]) == 0
    said = capsys.readouterr().out
    expected = f"  this machine has no {missing}: start the file with python3 -I {tmp_path}/out.zip\n"
    assert (expected in said) == bool(missing)
    start = f"{'python3 -I ' if missing else ''}{tmp_path}/out.zip"
    assert said.endswith(f"Next: {start} -d DEST installs it into a new folder; {start} --help lists its other verbs\n")
    assert ("this machine has no" in said) == bool(missing)


def test_a_pip_with_known_holes_is_warned_about(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("pip", "20.0")
    done, text = run(capsys, site, lock(site, "pip==20.0"), tmp_path / "out")
    (target,) = manifest(done["path"]).targets
    assert [one.version for one in target.wheels] == ["20.0"]
    assert "pip" not in [one.name for one in target.bootstrap]
    assert ("pip-20.0-py3-none-any.whl: is older than pip 26.1.2" in text) == (sys.version_info >= (3, 10))


def test_an_sdist_becomes_a_wheel_that_is_noted_and_built_once(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sdist = index.folder / "foo-1.0.tar.gz"
    sdist.write_bytes(b"an sdist")
    built = make_wheel(tmp_path / "made", "foo", "1.0", {"foo.py": "x = 1\n"}, tag=f"{HERE}-{HERE}-linux_x86_64")
    index.sdists["foo-1.0.tar.gz"] = built
    done, text = run(capsys, site, lock(site, pinned(sdist)), tmp_path / "out")
    assert done["from_sdists"] == [built.name]
    assert f"warning: {built.name}: was compiled here" in text
    index.sdists["foo-1.0.tar.gz"] = Path("/nowhere")
    other = index.add("bar", "1.0")
    again, _ = run(capsys, site, lock(site, pinned(sdist), pinned(other)), tmp_path / "out")
    assert again["from_sdists"] == [built.name]
    with zipfile.ZipFile(again["path"]) as artifact:
        bill = json.loads(artifact.read(".deploy/sbom.cdx.json"))
    foo = next(part for part in bill["components"] if part["name"] == "foo")
    digest = hashlib.sha256(b"an sdist").hexdigest()
    assert {"name": "deployable-zipfile:built-from", "value": f"foo-1.0.tar.gz sha256:{digest}"} in foo["properties"]


# Lines that do not say which project they are of; each names an sdist that is built to foo.
NAMELESS: Dict[str, Callable[[Path], str]] = {
    "file-url": lambda sdist: f"{sdist.as_uri()} --hash=sha256:{hashlib.sha256(sdist.read_bytes()).hexdigest()}",
    "path": lambda sdist: f"{sdist} --hash=sha256:{hashlib.sha256(sdist.read_bytes()).hexdigest()}",
    "https-url": lambda sdist: f"https://example.org/{sdist.name} --hash=sha256:{'0' * 64}",
    "git": lambda sdist: f"git+https://example.org/{sdist.name}@{'a' * 40}",
}


@pytest.mark.parametrize("form", sampled(sorted(NAMELESS), ["git"]))
def test_a_line_without_a_name_is_found_in_the_cache_with_the_name_of_its_project(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    sdist = index.folder / "foo-1.0.tar.gz"
    sdist.write_bytes(b"an sdist")
    built = make_wheel(tmp_path / "made", "foo", "1.0", {"foo.py": "x = 1\n"})
    index.sdists.update({sdist.name: built, f"{sdist.name}@{'a' * 40}": built})
    arguments = [site, lock(site, NAMELESS[form](sdist)), tmp_path / "out"]
    first, _ = run(capsys, *arguments)
    (site / "more.py").write_text("")
    again, _ = run(capsys, *arguments)
    assert (bool(first["from_cache"]), bool(again["from_cache"])) == (False, True)
    with zipreader.Artifact.open(again["path"]) as artifact:
        (foo,) = artifact.manifest.targets[0].wheels
    assert (foo.name, foo.requested) == ("foo", True)


def locked_file(site: Path, wheel: Path, url: str, more: str = "") -> str:
    """Write a lock with one wheel at *url* and return its path."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (site.parent / "pylock.toml").write_text(
        f'lock-version = "1.1"\ncreated-by = "test"\n[[packages]]\nname = "foo"\nversion = "1.0"\n'
        f'wheels = [{{ url = "{url}", size = 1, hashes = {{ sha256 = "{digest}" }} }}]\n{more}',
        encoding="utf-8",
    )
    return str(site.parent / "pylock.toml")


def test_a_file_of_another_size_than_the_lock_gives_is_refused(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(runner: pip.Runner, arguments: Sequence[str], lines: str) -> List[str]:
        return [shutil.copy(made, runner.work)] if "foo" in lines else index.download(runner, arguments, lines)

    made = index.add("foo")
    monkeypatch.setattr(pip, "download", download)
    path = locked_file(site, made, f"https://example.org/{made.name}")
    error = failed(capsys, 7, site, path, tmp_path / "out")
    size = made.stat().st_size
    assert f"pylock.toml:packages[0]: {made.name} has {size} bytes, the lock says 1. Lock again" in error


def test_a_newer_lock_is_warned_about_and_a_project_that_it_has_twice_is_refused(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = index.add("foo")
    more = '\n[[packages]]\nname = "foo"\nversion = "1.0"\nmarker = "python_version > \'3\'"\n'
    more += f'archive = {{ url = "https://example.org/{wheel.name}", hashes = {{ sha256 = "{"0" * 64}" }} }}\n'
    path = locked_file(site, wheel, wheel.as_uri(), more)
    _, text = run(capsys, site, path, tmp_path / "out", code=7)
    assert f"warning: {path}: is of version 1.1, and only what 1.0 knows is understood" in text
    assert f"error: foo: is locked twice, at {path}:packages[0] and {path}:packages[1]" in text


def test_of_two_files_of_a_lock_each_is_fetched_for_the_releases_of_its_marker(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: List[str] = []

    def download(runner: pip.Runner, arguments: Sequence[str], lines: str) -> List[str]:
        if "foo" not in lines:
            return index.download(runner, arguments, lines)
        asked.append(lines)
        return [shutil.copy(path, runner.work) for path in wheels if path.name in lines]

    wheels = [index.add("foo", version) for version in ("1.0", "2.0")]
    monkeypatch.setattr(pip, "download", download)
    packages = [
        f'[[packages]]\nname = "foo"\nversion = "{version}"\nmarker = \'python_full_version {relation} "{OWN}"\'\n'
        f'wheels = [{{ url = "https://example.org/{path.name}", hashes = {{ sha256 = "{digest}" }} }}]\n'
        for path, version, relation in zip(wheels, ("1.0", "2.0"), ("!=", "=="))
        for digest in [hashlib.sha256(path.read_bytes()).hexdigest()]
    ]
    lock_of_all = tmp_path / "pylock.toml"
    lock_of_all.write_text('lock-version = "1.0"\ncreated-by = "test"\n' + "".join(packages))
    done, _ = run(capsys, site, lock_of_all, tmp_path / "out")
    assert [lines.count(" @ ") for lines in asked] == [1, 1]
    (target,) = manifest(done["path"]).targets
    assert [one.version for one in target.installed_on(patches.parsed(OWN)).wheels] == ["2.0"]


def test_versions_that_the_kernel_chooses_are_refused_before_pip_runs(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["foo==1.0 ; platform_release < '4'", "Foo==2.0 ; platform_release >= '4'"]
    path = lock(site, *lines)
    error = failed(capsys, 7, site, path, tmp_path / "out")
    assert f"Foo: has two versions, at {path}:1 and {path}:2, and platform_release differs from host to host" in error
    assert not any("foo" in asked.lower() for asked in index.asked)
    for version in ("1.0", "2.0"):  # here the kernel chooses nothing
        index.add("foo", version)
    run(capsys, site, lock(site, "foo==1.0 ; platform_release < '4'", "foo==1.0"), tmp_path / "out")
    run(
        capsys,
        site,
        lock(site, "foo==1.0 ; python_version < '3'", "foo==2.0 ; platform_release > '4'"),
        tmp_path / "out",
    )


@pytest.mark.parametrize("name", ["my.lock.toml", "PYLOCK.TOML"])
def test_a_toml_file_of_another_name_is_no_list_of_requirements(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = write_tree(tmp_path, {name: 'lock-version = "1.0"\n'}) / name
    error = failed(capsys, 7, site, path, tmp_path / "out")
    assert f"{name}: is not named as a lock. Name it pylock.toml or pylock.NAME.toml, or give a lock." in error


@pytest.mark.parametrize("where", ["here", "remote"])
def test_why_a_file_of_a_lock_is_not_taken_is_what_was_wrong_with_it_first(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:  # fmt: skip
    asked: List[str] = []

    def download(runner: pip.Runner, arguments: Sequence[str], lines: str) -> List[str]:
        asked.append(lines)
        if "foo" not in lines:
            return index.download(runner, arguments, lines)
        if " @ " in lines:
            raise BuildInputError("foo", "its file does not match the locked hash", "Lock again")
        raise pip.NotFound("foo", "no version of it fits", "Correct it")

    wheel = index.add("foo")
    monkeypatch.setattr(pip, "download", download)
    path = locked_file(site, wheel, wheel.as_uri() if where == "here" else f"https://example.org/{wheel.name}")
    assert "error: foo: its file does not match the locked hash." in failed(capsys, 7, site, path, tmp_path / "out")
    assert any("foo==1.0" in lines for lines in asked) == (where == "remote")


def test_a_source_of_another_project_than_its_line_names_is_refused_from_the_cache_too(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"git+https://example.org/foo.git@{'a' * 40}"
    index.sdists["Foo"] = make_wheel(tmp_path / "made", "foo", "1.0", {"foo.py": "x = 1\n"})
    run(capsys, site, lock(site, f"Foo @ {url}"), tmp_path / "out")
    for _ in range(2):
        error = failed(capsys, 7, site, lock(site, f"bar @ {url}"), tmp_path / "out")
        assert f"requirements.txt:1: takes bar from {url}, which is foo. Correct the name." in error


@pytest.mark.deep
def test_without_hashes_a_wheel_that_was_built_anew_under_one_version_is_packed(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("old", "new"):
        index.add("foo", "1.0", {"foo.py": text})
        done, _ = run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out")
        with zipfile.ZipFile(done["path"]) as artifact, artifact.open("wheels/foo-1.0-py3-none-any.whl") as file:
            assert zipfile.ZipFile(io.BytesIO(file.read())).read("foo.py") == text.encode()


CHANGES = ["CFLAGS", "CC", "PYCURL_SSL_LIBRARY", "PIP_NO_BINARY", "backend", "constraint"]


@pytest.mark.parametrize("change", sampled(CHANGES, ["backend"]))
def test_an_sdist_is_built_anew_when_what_it_is_built_with_changes(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:  # fmt: skip
    sdist = index.folder / "foo-1.0.tar.gz"
    sdist.write_bytes(b"an sdist")
    links = write_tree(tmp_path, {"links/backend-1-py3-none-any.whl": "1", "gcc": ("1", 0o755), "c.txt": "x==1"})
    arguments = [site, lock(site, f"--find-links {links}/links", pinned(sdist)), tmp_path / "out"]
    arguments += ["--build-constraint", tmp_path / "c.txt"]
    monkeypatch.setenv("CC", str(tmp_path / "gcc"))
    found = []
    for number in (1, 2, 2):
        index.sdists["foo-1.0.tar.gz"] = make_wheel(tmp_path / "made", "foo", "1.0", {"foo.py": f"x = {number}\n"})
        if change == "backend":
            (tmp_path / "links" / "backend-1-py3-none-any.whl").write_text(str(number))
        elif change == "CC":
            (tmp_path / "gcc").write_text(str(number))
        elif change == "constraint":
            (tmp_path / "c.txt").write_text(f"x=={number}")
        else:
            monkeypatch.setenv(change, str(number))
        done, _ = run(capsys, *arguments)
        found.append((done["sha256"], bool(done["from_cache"])))
    assert found[0][0] != found[1][0]
    assert found[1][0] == found[2][0]
    assert [cached for _, cached in found] == [False, False, True]


def test_the_bill_of_materials_names_every_wheel_by_purl_and_digest(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index.add("foo", "1.0", requires=["bar"])
    index.add("bar", "2.0")
    done, _ = run(capsys, site, lock(site, "foo==1.0", "bar==2.0"), tmp_path / "out")
    with zipfile.ZipFile(done["path"]) as artifact:
        bill = json.loads(artifact.read(".deploy/sbom.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["timestamp"].startswith("2024-05-06T07:08:09")
    foo = next(part for part in bill["components"] if part["name"] == "foo")
    assert foo["purl"] == "pkg:pypi/foo@1.0"
    assert foo["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in bill["dependencies"]}
    assert edges["wheels/foo-1.0-py3-none-any.whl"] == ["wheels/bar-2.0-py3-none-any.whl"]


def test_a_dirty_tree_is_recorded_and_warned_about_or_refused(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requirements = lock(site)
    (site / "manage.py").write_text("changed = True\n")
    write_tree(site, {"new.py": "x = 1\n"})
    done, text = run(capsys, site, requirements, tmp_path / "out")
    commit = git(site, "rev-parse", "HEAD")[:10]
    assert f"warning: commit {commit} has uncommitted changes: site_one/manage.py\n" in text
    assert "warning: not tracked by git, so not packed: site_one/new.py\n" in text
    assert manifest(done["path"]).source.dirty is True
    line = failed(capsys, 7, site, requirements, tmp_path / "out", "--require-clean")
    assert (
        f"commit {commit} does not contain everything that would be packed: site_one/manage.py, site_one/new.py. Commit"
        in line
    )


def test_secrets_are_left_out_and_listed(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(site, {"environment.json": json.dumps({"SECRET_KEY": SECRET}), ".env": f"A={SECRET}", "tls.pem": SECRET})
    commit_all(site.parent)
    done, text = run(capsys, site, lock(site), tmp_path / "out")
    assert "never packed: .env, environment.json, tls.pem" in text
    assert SECRET not in text
    assert SECRET.encode() not in Path(done["path"]).read_bytes()


@pytest.mark.parametrize(
    ("name", "text"),
    sampled(
        [
            ("requirements.txt", "# ours\n--extra-index-url https://build:{}@pypi.corp/simple\n"),
            ("deploy/pip.conf", "[global]\nindex-url = https://build:{}@pypi.corp/simple\n"),
            ("poetry.toml", "[http-basic.corp]\npassword = '{}'\n"),
        ],
        1,
    ),
)
def test_a_password_in_a_packed_file_is_warned_about_or_refused_without_its_value(
    name: str, text: str, site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(site, {name: text.format(SECRET)})
    commit_all(site.parent)
    done, said = run(capsys, site, lock(site), tmp_path / "out")
    [warning] = [text for text in done["warnings"] if "holds a password" in text]
    assert warning.startswith(f"site_one/{name}, line 2: holds a password")
    assert "take it out, or leave the file out with exclude" in warning
    line = failed(capsys, 7, site, lock(site), tmp_path / "strict", "--strict")
    assert f"site_one/{name}, line 2: holds a password" in line
    assert SECRET not in said + line + json.dumps(done)
    done, said = run(capsys, site, lock(site), tmp_path / "out", "--exclude", f"site_one/{name}")
    assert "holds a password" not in said + json.dumps(done["warnings"])


def test_settings_of_the_repository_hold(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["include = ['site_one/dist/*.js']", "exclude = ['**/wsgi.py']", "shebang = '/usr/bin/python3'"]
    text = "\n".join(["[tool.deployable-zipfile]", *lines, ""])
    (site.parent / "pyproject.toml").write_text(text)
    (site.parent / ".gitignore").write_text("dist/\n")
    commit_all(site.parent)
    write_tree(site, {"dist/app.js": "1"})
    done, _ = run(capsys, site, lock(site), tmp_path / "out")
    made = manifest(done["path"])
    assert "site_one/dist/app.js" in made.members
    assert "site_one/site_one/wsgi.py" not in made.members
    assert (made.shebang, made.source.dirty) == ("#!/usr/bin/python3", True)


def test_the_variables_that_the_project_declares_travel_as_a_schema(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["SECRET_KEY = { secret = true }", 'PORT = { type = "integer", default = "1" }', ""]
    text = "\n".join(["[tool.deployable-zipfile.environment]", *lines])
    (site.parent / "pyproject.toml").write_text(text)
    commit_all(site.parent)
    run(capsys, site, lock(site), tmp_path / "out")
    with zipreader.Artifact.open(str(tmp_path / "out.zip")) as artifact:
        artifact.verify(1)
        contract = environment.contract_of(artifact)
    assert contract is not None
    assert contract.problems({"PORT": "x"}) == [("PORT", "must be an integer"), ("SECRET_KEY", "is missing")]
    (site.parent / "pyproject.toml").write_text(text.replace("integer", "number"))
    run(capsys, site, lock(site), tmp_path / "out")
    with zipreader.Artifact.open(str(tmp_path / "out.zip")) as artifact:
        contract = environment.contract_of(artifact)
    assert contract is not None
    assert contract.variables["PORT"].type == "number"


@pytest.mark.parametrize("line", ["#!/bin/sh", "#!" + "/python" * 20, "#!/usr/bin/pythön", "#!python\nx"])
def test_a_first_line_that_starts_no_python_is_refused(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    assert failed(capsys, 2, site, lock(site), tmp_path / "out", "--shebang", line).startswith(
        "error: --shebang: must be one line"
    )


def test_an_artifact_inside_the_project_never_packs_itself(
    site: Path, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = set()
    requirements = lock(site)
    for _ in range(3):
        done, _ = run(capsys, site, requirements, site / "out", "--all-files")
        sizes.add(done["sha256"])
    assert len(sizes) == 1
    assert "site_one/out.zip" not in manifest(done["path"]).members


def test_more_files_than_a_zip_can_start_with_are_packed_nested(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(site, {f"data/{number:03}.txt": f"{number}" for number in range(200)})
    commit_all(site.parent)
    monkeypatch.setattr(layout, "MAX_MEMBERS", 200)
    monkeypatch.setattr(layout, "MAX_PAYLOAD_MEMBERS", 90)
    done, _ = run(capsys, site, lock(site), tmp_path / "out")
    made = manifest(done["path"])
    assert len(made.payloads) == 3
    assert not [name for name in made.members if name.startswith("site_one/")]
    with zipreader.Artifact.open(done["path"]) as artifact:
        found = {name for payload in made.payloads for name in artifact.payload_members(payload)[1]}
    assert len(found) == 203
    assert made.targets[0].project_bytecode is not None


def test_every_archive_of_the_usual_form_has_its_index(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0")
    index.add("odd", "1.0", files={"odd/ünicode.py": ""})
    locked = lock(site, "foo==1.0", "odd==1.0")
    first, _ = run(capsys, site, locked, tmp_path / "out")
    with zipreader.Artifact.open(first["path"]) as artifact:
        prove(artifact, 1)
        found = {name: read(artifact.read(name)) for name in artifact.members if layout.is_index(name)}
        stated = artifact.manifest.members
        for wheel in artifact.manifest.targets[0].wheels + artifact.manifest.targets[0].bootstrap:
            for member in (wheel.file, str(wheel.bytecode)):
                if wheel.name == "odd":
                    assert layout.index_of(member) not in stated
                    continue
                about = found[layout.index_of(member)]
                assert about is not None
                assert (about.sha256, about.size) == (stated[member].sha256, stated[member].size)
    second, _ = run(capsys, site, locked, tmp_path / "again")  # takes them over
    third, _ = run(capsys, site, locked, tmp_path / "anew", "--no-cache")
    assert first["sha256"] == second["sha256"] == third["sha256"]


def test_the_index_of_an_archive_that_was_packed_before_is_taken_over(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index.add("foo", "1.0")
    index.add("odd", "1.0", files={"odd/ünicode.py": ""})
    index.add("bar", "1.0")
    run(capsys, site, lock(site, "foo==1.0", "odd==1.0"), tmp_path / "out")
    made: List[str] = []
    make = stocking._index

    def noting(member: str, archive: Kept) -> bytes:
        made.append(os.path.basename(member))
        return make(member, archive)

    monkeypatch.setattr(stocking, "_index", noting)
    done, _ = run(capsys, site, lock(site, "foo==1.0", "odd==1.0", "bar==1.0"), tmp_path / "out")
    assert sorted(made) == ["bar-1.0-py3-none-any.whl", "bar-1.0-py3-none-any.zip"]
    with zipreader.Artifact.open(done["path"]) as artifact:
        prove(artifact, 1)
        assert layout.index_of("wheels/foo-1.0-py3-none-any.whl") in artifact.members


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_an_index_that_was_damaged_in_the_cache_is_made_again(
    damage: str, site: Path, index: Index, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0")
    index.add("bar", "1.0")
    locked = lock(site, "foo==1.0")
    run(capsys, site, locked, tmp_path / "out")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and b"index 1 " in path.read_bytes()[:8]]
    assert kept
    for path in kept:
        path.chmod(0o644)
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-1])
        else:
            path.unlink()
    done, _ = run(capsys, site, lock(site, "foo==1.0", "bar==1.0"), tmp_path / "out")
    with zipreader.Artifact.open(done["path"]) as artifact:
        prove(artifact, 1)
        found = [name for name in artifact.members if layout.is_index(name)]
        assert layout.index_of("wheels/foo-1.0-py3-none-any.whl") in found
        assert all(read(artifact.read(name)) for name in found)


def test_a_server_compiles_what_has_more_python_files_than_an_archive_of_bytecode_holds(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("foo", "1.0", files={f"foo/m{number}.py": "" for number in range(5)})
    index.add("bar", "1.0")
    write_tree(site, {f"data/m{number}.py": "" for number in range(5)})
    commit_all(site.parent)
    monkeypatch.setattr(overlays, "_MOST", 4)
    done, text = run(capsys, site, lock(site, "foo==1.0", "bar==1.0"), tmp_path / "out")
    why = "their bytecode does not fit into one archive (4 files), so each installation compiles them"
    for line in (f"5 Python files of foo-1.0-py3-none-any.whl: {why}", f"8 Python files of the project: {why}"):
        assert f"warning: {line}\n" in text
    target = manifest(done["path"]).targets[0]
    assert target.project_bytecode is None
    assert {wheel.name: bool(wheel.bytecode) for wheel in target.wheels} == {"bar": True, "foo": False}
    run_cli([sys.executable, "-I", done["path"], "-q", "-d", tmp_path / "dest"])
    pyc = f"__pycache__/m4.{sys.implementation.cache_tag}.pyc"
    assert (tmp_path / "dest/site_one/data" / pyc).exists()
    assert len(list((tmp_path / "dest/venv").glob(f"lib/*/site-packages/foo/{pyc}"))) == 1


@pytest.mark.parametrize("failing", sampled(["copy", "fsync"], 1))
def test_a_full_disk_is_one_line_and_the_old_artifact_stays(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    index.add("foo", "1.0")
    requirements = lock(site, "foo==1.0")
    run(capsys, site, requirements, tmp_path / "out")
    before = (tmp_path / "out.zip").read_bytes()

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    if failing == "copy":
        monkeypatch.setattr("deployable_zipfile.builder.zipwriter._kernel_copy", full)
    else:
        monkeypatch.setattr(os, "fsync", full)
    (site / "manage.py").write_text("print('changed')\n", encoding="utf-8")
    line = failed(capsys, 7, site, requirements, tmp_path / "out")
    assert "No space left on device" in line
    assert (tmp_path / "out.zip").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.zip", "out.zip.sha256"]


@pytest.mark.parametrize("number", sampled([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], [signal.SIGTERM]))
def test_a_signal_ends_the_build_with_one_line_and_nothing_left(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(pip, "download", interrupted)
    line = failed(capsys, 130, site, lock(site, "foo==1.0"), tmp_path / "out")
    assert line == "error: build: was interrupted, nothing was written. Build again."
    assert not list(tmp_path.glob("*out*"))
    assert not list((tmp_path / "cache").rglob("work-*"))


@pytest.mark.parametrize("value", sampled(["soon", "-1", "1"], 1))
def test_a_bad_source_date_epoch_is_refused(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    assert "error: SOURCE_DATE_EPOCH: is " in failed(capsys, 7, site, lock(site), tmp_path / "out")


def test_quiet_prints_the_result_alone_and_plain_output_names_each_step(
    site: Path, index: Index, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(str(own_cache))
    path = index.add("foo", "1.0")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    arguments = [str(site), lock(site, f"foo==1.0 --hash=sha256:{digest}"), str(tmp_path / "out")]
    assert create.main(arguments) == 0
    loud = capsys.readouterr()
    assert [line.strip().split(" ")[0] for line in loud.err.splitlines()] == [
        "Choosing",
        "WSGI",
        "Fetching",
        "Checking",
        "Compiling",
        "Compiling",
        "Packing",
        "Compiling",
    ]
    assert create.main([*arguments, "--quiet"]) == 0
    silent = capsys.readouterr()
    assert silent.err == ""
    assert silent.out == loud.out
    assert silent.out.splitlines()[0] == str(tmp_path / "out.zip")


def test_the_function_of_upstream_returns_the_path(site: Path, index: Index, tmp_path: Path) -> None:
    static = str(write_tree(tmp_path / "s", {"a.css": "x"}))
    path = create.create_zipfile(str(site), lock(site), str(tmp_path / "out"), [static], [])
    assert path == str(tmp_path / "out.zip")
    assert "static.in/0/a.css" in manifest(path).members


@pytest.mark.deep
def test_a_cache_that_was_made_for_another_python_is_not_used(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("foo", "1.0")
    arguments = (site, lock(site, "foo==1.0"), tmp_path / "out")
    run(capsys, *arguments)
    asked = targets.of_interpreter
    monkeypatch.setattr(targets, "of_interpreter", lambda command: asked(command)._replace(identity="another build"))
    done, _ = run(capsys, *arguments)
    assert done["from_cache"] == []


def test_as_a_script_it_says_what_is_missing_to_build(tmp_path: Path) -> None:
    script = create.__file__
    done = subprocess.run([sys.executable, "-I", "-S", script, "--help"], capture_output=True, check=False)
    assert done.returncode == 7
    assert done.stderr.decode().startswith("error: ")
    assert done.stderr.decode().endswith(
        "needed to build and not installed. Run pip install -r requirements/build.txt.\n"
    )


@pytest.mark.deep
def test_as_a_script_from_another_folder_it_knows_its_own_package(tmp_path: Path) -> None:
    for command in ([create.__file__], ["-m", "deployable_zipfile", "create"]):
        done = subprocess.run(
            [sys.executable, *command, "--help"],
            cwd=str(tmp_path),
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONPATH=str(Path(create.__file__).parent.parent)),
            check=False,
        )
        assert done.returncode == 0
        for word in (b"PROJECT_PATH", b"REQUIREMENTS_FILE", b"ZIPFILE_BASENAME", b"--extra-static", b"--extra-python"):
            assert word in done.stdout


@pytest.mark.parametrize(
    ("words", "which"),
    [
        (["", "requirements.txt", "out"], "PROJECT_PATH"),
        (["site_one", "", "out"], "REQUIREMENTS_FILE"),
        (["site_one", "requirements.txt", ""], "ZIPFILE_BASENAME"),
        (["site_one", "requirements.txt", "out", "--wheelhouse", ""], "--wheelhouse"),
        (["site_one", "requirements.txt", "out", "--extra-static", ""], "--extra-static"),
        (["site_one", "requirements.txt", "out", "--against", ""], "--against"),
    ],
)
def test_an_empty_path_of_a_variable_that_was_not_set_is_refused(
    words: List[str], which: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = f"error: the command line: argument {which}: must not be empty. Run: "
    assert run(capsys, *words, code=2)[1].startswith(expected)
    assert not list(tmp_path.iterdir())


def test_usage_errors_exit_with_two(
    capsys: pytest.CaptureFixture[str], site: Path, index: Index, tmp_path: Path
) -> None:
    assert (
        failed(capsys, 2, site)
        == "error: REQUIREMENTS_FILE: not given. Give it, or set requirements in pyproject.toml."
    )
    assert failed(capsys, 2, site, "r.txt", "out", "more", "--what").startswith(
        "error: the command line: unrecognized arguments: more --what. Run: "
    )
    assert failed(capsys, 2, site, lock(site), tmp_path / "out", "--target", "windows").startswith(
        "error: --target windows"
    )
    assert failed(capsys, 2, site, lock(site), tmp_path / "out", "--extra-python", "python9").startswith(
        "error: python9"
    )


OWN = ".".join(map(str, sys.version_info[:3]))


def test_a_wheel_that_only_other_patch_releases_need_is_packed_for_them(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = f'python_full_version != "{OWN}"'
    index.add("fr", "1.0", requires=[f"bp; {marker}"])
    index.add("bp", "1.0")
    done, text = run(capsys, site, lock(site, "fr==1.0", f"bp==1.0 ; {marker}"), tmp_path / "out")
    (target,) = manifest(done["path"]).targets
    assert [(one.name, bool(one.patch_releases), one.requested) for one in target.wheels] == [
        ("bp", True, True),
        ("fr", False, True),
    ]
    assert target.patch_releases == ()
    assert [one.name for one in target.installed_on(patches.parsed(OWN)).wheels] == ["fr"]
    assert "complete for" not in text
    with zipfile.ZipFile(done["path"]) as artifact:
        bill = json.loads(artifact.read(".deploy/sbom.cdx.json"))
    needs = {part["ref"]: part.get("dependsOn", []) for part in bill["dependencies"]}
    assert needs["wheels/fr-1.0-py3-none-any.whl"] == ["wheels/bp-1.0-py3-none-any.whl"]


def test_what_the_index_lacks_for_other_patch_releases_narrows_the_plan_and_is_not_remembered(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def download(runner: pip.Runner, arguments: Sequence[str], lines: str) -> List[str]:
        if "bp==" in lines:
            raise pip.NotFound("bp", "no version of it fits", "Correct it")
        return index.download(runner, arguments, lines)

    marker = f'python_full_version != "{OWN}"'
    monkeypatch.setattr(pip, "download", download)
    fr, bp, other = (pinned(index.add(name, "1.0")).split(" ") for name in ("fr", "bp", "other"))
    lines = [" ".join(fr), *(f"{name} ; {marker} {digest}" for name, digest in (bp, other))]
    requirements = lock(site, *lines)
    done, text = run(capsys, site, requirements, tmp_path / "out")
    (target,) = manifest(done["path"]).targets
    assert target.patch_releases == (patches.Range(OWN, OWN),)
    assert [one.name for one in target.wheels] == ["fr"]
    assert f": the wheels are complete for CPython {OWN} only. On " in text
    assert f"bp==1.0; {marker} is required by {requirements}:2, and it is not there" in text
    monkeypatch.setattr(pip, "download", index.download)
    again, _ = run(capsys, site, requirements, tmp_path / "out")
    (target,) = manifest(again["path"]).targets
    assert (target.patch_releases, again["from_cache"]) == ((), [])


def test_a_named_target_takes_what_any_of_its_patch_releases_needs(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", requires=["bar>=1"])
    index.add("bar", "1.0")
    index.add("bar", "2.0", metadata="Metadata-Version: 2.1\nName: bar\nVersion: 2.0\nRequires-Python: >=3.8.5\n")
    lines = ["foo==1.0", "bar==1.0; python_full_version < '3.8.4'", "bar==2.0; python_full_version >= '3.8.4'"]
    done, text = run(capsys, site, lock(site, *lines), tmp_path / "out", "--target", "cp38-manylinux_2_17_x86_64")
    (target,) = manifest(done["path"]).targets
    assert [one.patch_releases for one in target.wheels if one.version == "2.0"] == [(patches.Range("3.8.5", ""),)]
    assert target.patch_releases == (patches.Range("3.8.0a1", "3.8.3"), patches.Range("3.8.5", ""))
    assert "On 3.8.4, bar-2.0-py3-none-any.whl needs Python >=3.8.5" in text


def test_a_plan_that_depends_on_the_machine_says_so(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", requires=["bar; platform_machine == 'riscv99'", "baz; sys_platform == 'win32'"])
    done, _ = run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out")
    (target,) = manifest(done["path"]).targets
    assert target.markers == (("platform_machine", platform.machine()), ("sys_platform", "linux"))


def test_with_settings_no_argument_is_needed(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("foo", "1.0")
    index.add("server", "1.0")
    lock(site, "foo==1.0")
    (site.parent / "server.txt").write_text("server==1.0\n")
    lines = ["project = 'site_one'", "requirements = 'requirements.txt'", "extra-requirements = ['server.txt']"]
    lines += ["name = 'shop'", "output = 'out.zip'", "wsgi = 'site_one.wsgi:application'", "skip-steps = ['migrate']"]
    (site.parent / "pyproject.toml").write_text("\n".join(["[tool.deployable-zipfile]", *lines, ""]))
    commit_all(site.parent)
    monkeypatch.chdir(site)
    done, _ = run(capsys)
    assert done["path"] == str(site.parent / "out.zip")
    made = manifest(done["path"])
    assert (made.project, made.source.dirty) == ("shop", False)
    assert "shop/manage.py" in made.members
    assert made.site == manifests.Site("", "site_one.wsgi:application", "", "", "", ("migrate",))
    assert [one.name for one in made.targets[0].wheels] == ["server", "foo"]
    again, _ = run(capsys, "--require-clean")  # the artifact in the checkout is no untracked file
    assert again["sha256"] == done["sha256"]


def test_without_settings_a_missing_argument_is_one_line(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site)
    assert failed(capsys, 2) == (
        "error: PROJECT_PATH: not given, and no pyproject.toml here has a section [tool.deployable-zipfile]. "
        "Give PROJECT_PATH REQUIREMENTS_FILE ZIPFILE_BASENAME, or run deployable-zipfile init."
    )


@pytest.mark.parametrize("given", sampled(["out.zip", "out", "./out.zip", "a.b.zip", "a.b"], ["./out.zip"]))
def test_the_suffix_is_written_once(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done, _ = run(capsys, site, lock(site), given)
    assert done["path"] == str(tmp_path / f"{Path(given).name.replace('.zip', '')}.zip")


Change = Callable[[Path], object]
DIRTY: Dict[str, Tuple[Change, List[str], str]] = {
    "a file that git watches no more": (
        lambda site: (git(site, "update-index", "--assume-unchanged", "manage.py"), spoil(site / "manage.py")),
        [],
        "site_one/manage.py",
    ),
    "all files": (lambda site: write_tree(site, {"new.py": "x"}), ["--all-files"], "site_one/new.py"),
    "all files, ignored": (
        lambda site: write_tree(site, {"dist/a.js": "x", ".gitignore": "dist\n.gitignore\n"}),
        ["--all-files"],
        "site_one/dist/a.js",
    ),
    "include": (
        lambda site: write_tree(site, {"dist/a.js": "x", ".gitignore": "dist\n.gitignore\n"}),
        ["--include", "site_one/dist/*"],
        "site_one/dist/a.js",
    ),
    "extra static": (
        lambda site: write_tree(site.parent / "built", {"a.css": "x"}),
        ["--extra-static", "../built"],
        "built/a.css",
    ),
    "extra static elsewhere": (
        lambda site: write_tree(site.parent.parent / "built", {"a.css": "x"}),
        ["--extra-static", "../../built"],
        "built/a.css",
    ),
    "the lock": (lambda site: spoil(site.parent / "requirements.txt"), [], "requirements.txt"),
}


def spoil(path: Path) -> None:
    path.write_text("# changed\n")


@pytest.mark.parametrize(
    ("case", "project"), sampled([*((case, ".") for case in DIRTY), ("include", ""), ("include", "../site_one")], 2)
)
def test_whatever_is_not_the_commits_makes_it_dirty(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    project: str,
) -> None:
    change, options, path = DIRTY[case]
    requirements = lock(site, "")
    monkeypatch.chdir(site)
    words = [project or str(site), requirements, str(tmp_path / "out")]
    done, _ = run(capsys, *words, "--require-clean")
    assert done["dirty"] is False
    change(site)
    done, text = run(capsys, *words, *options)
    assert (done["dirty"], manifest(done["path"]).source.dirty) == (True, True)
    assert path in text
    line = failed(capsys, 7, *words, *options, "--require-clean")
    assert path in line
    assert line.endswith("Commit, ignore or remove them, or leave out --require-clean.")


@pytest.mark.parametrize(
    ("change", "why"),
    sampled([("edit", "changed"), ("replace", "changed"), ("remove", "was removed")], [("edit", "changed")]),
)
def test_a_file_that_changes_between_the_comparison_and_the_end_fails_the_build(
    site: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    why: str,
) -> None:
    script = site / "manage.py"
    index.add("foo", "1.0")
    download = pip.download

    def edited(*arguments: Any, **options: Any) -> Any:
        if change == "remove":
            script.unlink()
        elif change == "edit":
            with open(str(script), "r+b") as file:
                file.write(b"#?")
        else:
            (site / "new").write_bytes(script.read_bytes())
            (site / "new").replace(script)
        monkeypatch.setattr(pip, "download", download)
        return download(*arguments, **options)

    requirements = lock(site, "foo==1.0")
    monkeypatch.setattr(pip, "download", edited)
    line = failed(capsys, 7, site, requirements, tmp_path / "out", "--require-clean")
    assert "manage.py: " in line
    assert why in line or "No such file" in line or "is not the file" in line
    assert not (tmp_path / "out.zip").exists()


def test_all_files_of_a_checkout_need_no_git(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = lock(site)
    monkeypatch.setenv("PATH", "/nowhere")
    done, text = run(capsys, site, requirements, tmp_path / "out", "--all-files")
    assert (done["commit"], done["dirty"]) == ("", False)
    assert "the commit is not known (is a git checkout, and git cannot be run" in text
    assert "Install git" in failed(capsys, 7, site, requirements, tmp_path / "out", "--all-files", "--require-clean")
    assert "Install git" in failed(capsys, 7, site, requirements, tmp_path / "out")


def test_a_checkout_is_packed_with_the_git_of_centos_7(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("foo", "1.0")
    requirements = lock(site, "foo==1.0")
    now, _ = run(capsys, site, requirements, tmp_path / "out", "--require-clean")
    use_old_git(tmp_path, monkeypatch)
    then, _ = run(capsys, site, requirements, tmp_path / "out", "--require-clean")
    assert then["sha256"] == now["sha256"]


def test_a_project_without_python_is_packed_with_a_warning(
    index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = write_tree(tmp_path / "plain", {"index.html": "x"})
    (tmp_path / "r.txt").write_text("")
    done, text = run(capsys, project, tmp_path / "r.txt", tmp_path / "out")
    assert f"warning: {project}: contains no Python file\n" in text
    assert "plain/index.html" in manifest(done["path"]).members


def test_a_git_lfs_pointer_in_place_of_its_file_is_refused_by_name(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 5\n"
    write_tree(site, {"static/a.png": pointer})
    commit_all(site.parent)
    line = failed(capsys, 7, site, lock(site), tmp_path / "out")
    assert line == (
        f"error: {site}/static/a.png: is a Git LFS pointer, not the file itself. Run git lfs pull, or exclude it."
    )


@pytest.mark.parametrize("value", sampled(["python3", "python4", ("python3",), None, []], ["python4", ("python3",)]))
def test_upstreams_callers_may_give_one_python_or_several(
    site: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    asked: List[str] = []
    real = targets.of_interpreter

    def of_interpreter(command: str) -> targets.BuildTarget:
        asked.append(command)
        return real(sys.executable)

    monkeypatch.setattr(targets, "of_interpreter", of_interpreter)
    path = create.create_zipfile(str(site), lock(site), str(tmp_path / "out"), extra_python=value)
    assert path == str(tmp_path / "out.zip")
    expected = [value] if isinstance(value, str) else list(value or ())
    assert [command for command in asked if command != sys.executable] == expected


def test_a_python_that_is_missing_is_named_whole(site: Path, index: Index, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^python4: "):
        create.create_zipfile(str(site), lock(site), str(tmp_path / "out"), extra_python="python4")


INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys
at, number = sys.argv[1:3]
del sys.argv[1:3]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == at:
            os.kill(os.getpid(), getattr(signal, number))
sys.meta_path.insert(0, Finder())
from deployable_zipfile.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("number", sampled(["SIGINT", "SIGTERM", "SIGHUP"], ["SIGINT"]))
@pytest.mark.parametrize(
    ("module", "words", "line"),
    [
        ("argparse", "create a b c", signals.OF_A_BUILD),
        ("deployable_zipfile.create", "create a b c", signals.OF_A_BUILD),
        ("deployable_zipfile.builder.pack", "create a b c", signals.OF_A_BUILD),
        ("deployable_zipfile.builder.commands", "init", signals.OF_A_BUILD),
        ("deployable_zipfile.extract", "--version", signals.OF_A_RUN),
        ("deployable_zipfile.cli", "verify a.zip", signals.OF_A_RUN),
        ("deployable_zipfile.extract", "a.zip -d b", signals.OF_A_RUN),
        ("deployable_zipfile.views.commands", "diff a.zip b.zip", signals.OF_A_RUN),
    ],
)
def test_an_interrupt_before_a_command_begins_leaves_no_traceback(
    tmp_path: Path, module: str, words: str, line: str, number: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING, module, number, *words.split()],
        cwd=str(tmp_path),
        env=dict(os.environ, PYTHONPATH=str(Path(create.__file__).parent.parent)),
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.stderr.decode() == f"{line}\n"
    assert done.returncode == 130


def test_a_build_under_nohup_survives_the_hangup(site: Path, index: Index, tmp_path: Path) -> None:
    index.add("foo", "1.0")
    heard = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        download = pip.download

        def hung_up(*arguments: Any, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGHUP)
            heard.append(signal.getsignal(signal.SIGHUP))
            return download(*arguments, **options)

        pip.download = hung_up
        try:
            assert create.main([str(site), lock(site, "foo==1.0"), str(tmp_path / "out"), "--workers", "1"]) == 0
        finally:
            pip.download = download
        assert heard
        assert set(heard) == {signal.SIG_IGN}
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_is_a_program_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    done = subprocess.run(
        [create.__file__, "--version"],
        env=dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"),
        stdout=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"deployable-zipfile ")


def test_a_broken_wheel_that_is_allowed_is_packed_mended_and_named(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = index.add("Foo", "1.0", unrecorded={"foo/more.py": "x = 1\n"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    requirements = lock(site, "Foo==1.0")
    failed(capsys, 6, site, requirements, tmp_path / "out", "--allow", "bar")
    for number, allowed in enumerate((path.name, "foo")):
        done, text = run(capsys, site, requirements, tmp_path / f"out{number}", "--allow", allowed)
        assert f"warning: {path.name}: was broken and is packed with a new RECORD, as allowed\n" in text
        with zipfile.ZipFile(done["path"]) as artifact:
            bill = json.loads(artifact.read(".deploy/sbom.cdx.json"))
            (tmp_path / path.name).write_bytes(artifact.read(f"wheels/{path.name}"))
        with wheel.Wheel.open(str(tmp_path / path.name)) as mended:
            mended.check_structure()
            mended.check_contents()
            assert "foo/more.py" in mended.record
        foo = next(part for part in bill["components"] if part["name"] == "foo")
        assert {"name": "deployable-zipfile:built-from", "value": f"{path.name} sha256:{digest}"} in foo["properties"]
    line = failed(capsys, 6, site, requirements, tmp_path / "out", "--allow", "foo", "--strict")
    assert "was broken and is packed with a new RECORD" in line


@pytest.mark.deep
def test_the_setting_allows_a_broken_wheel_too(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", record=lambda rows: [(name, "md5=abc", size) for name, _, size in rows])
    (site / "pyproject.toml").write_text('[tool.deployable-zipfile]\nallow = ["foo"]\n')
    commit_all(site.parent)
    run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out")


def test_what_cannot_be_mended_is_refused_without_that_advice(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", unrecorded={"foo-1.0.data/evil/x": ""})
    for more in ([], ["--allow", "foo"]):
        line = failed(capsys, 6, site, lock(site, "foo==1.0"), tmp_path / "out", *more)
        assert line.endswith("Lock another version.")


@pytest.mark.parametrize(
    "files",
    sampled(
        [
            {"loadenv.py": ""},
            {"site_one.pth": "x"},
            {"foo/__pycache__": "", "foo/a.py": ""},
            {"foo-1.0.data/data/lib64": "x"},
            {"foo-1.0.data/purelib/foo-1.0.dist-info/RECORD": "x"},
        ],
        2,
    ),
)
def test_what_the_target_would_refuse_to_install_fails_the_build(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], files: Dict[str, str]
) -> None:
    index.add("foo", "1.0", files)
    requirements = lock(site, "foo==1.0")
    for _ in range(2):  # from the index, then from the cache
        line = failed(capsys, 6, site, requirements, tmp_path / "out")
        assert line.startswith("error: foo-1.0-py3-none-any.whl/")
        assert line.endswith("Lock another version, or leave it out.")
        assert not (tmp_path / "out.zip").exists()


def test_wheels_that_share_a_file_are_warned_about_naming_both(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", {"tests/__init__.py": "", "tests/a.py": "foo\n", "tests/b.py": "foo\n"})
    index.add("bar", "1.0", {"tests/__init__.py": "", "tests/a.py": "bar\n", "tests/b.py": "bar\n"})
    requirements = lock(site, "foo==1.0", "bar==1.0")
    for _ in range(2):
        _, text = run(capsys, site, requirements, tmp_path / "out")
        assert (
            "warning: foo-1.0-py3-none-any.whl and bar-1.0-py3-none-any.whl: both contain tests/a.py and 1 more file "
            "with different contents; bar-1.0-py3-none-any.whl wins, as with pip\n"
        ) in text


def test_a_wheel_that_hides_a_module_of_the_project_is_warned_about(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", {"site_one/__init__.py": "", "site_one/other.py": ""})
    _, text = run(capsys, site, lock(site, "foo==1.0"), tmp_path / "out")
    assert "foo-1.0-py3-none-any.whl: its module site_one hides the project's own module of that name\n" in text


@pytest.mark.parametrize(
    ("source", "warned"),
    sampled(
        [
            ("import pkg_resources\n", True),
            ("import os\nfrom pkg_resources import parse_version\n", True),
            ("try:\n    import pkg_resources\nexcept ImportError:\n    pass\n", False),
            ("import pkg_resources_more\n", False),
        ],
        [("import os\nfrom pkg_resources import parse_version\n", True)],
    ),
)
def test_a_wheel_that_needs_pkg_resources_is_warned_about_where_nothing_has_it(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, warned: bool
) -> None:
    index.add("foo", "1.0", {"foo/__init__.py": "", "foo/version.py": source})
    requirements = lock(site, "foo==1.0")
    _, text = run(capsys, site, requirements, tmp_path / "out")
    why = "foo-1.0-py3-none-any.whl: imports pkg_resources (foo/version.py), which no wheel here has"
    assert (why in text) == warned
    index.add("setuptools", "80.0", {"pkg_resources/__init__.py": ""})
    _, text = run(capsys, site, lock(site, "foo==1.0", "setuptools==80.0"), tmp_path / "out")
    assert why not in text


@pytest.mark.parametrize(
    "names", sampled([("pip",), ("setuptools",), ("pip", "setuptools")], [("pip", "setuptools")], whole=True)
)
@pytest.mark.parametrize("marker", sampled(["", "; python_version >= '3'", "; python_full_version < '3.99'"], [""]))
def test_a_lock_may_name_what_the_virtual_environment_starts_with(
    names: Sequence[str], marker: str, site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index.add("foo", "1.0", requires=["setuptools"])
    if sys.version_info >= (3, 12):
        index.add("setuptools", "81.0.0")
    pins = {path.name.split("-")[0]: path.name.split("-")[1] for path in sorted(index.folder.glob("*-*.whl"))}
    lines = [f"{name}=={pins[name]} {marker}" for name in sorted({"setuptools", *names})]
    done, _ = run(capsys, site, lock(site, "foo==1.0", *lines), tmp_path / "out")
    (target,) = manifest(done["path"]).targets
    held = [one.file for one in (*target.wheels, *target.bootstrap)]
    assert len(held) == len(set(held)) == 3


def test_every_python_whose_venv_has_setuptools_gets_one_with_pkg_resources() -> None:
    lines = [line for line in requirements_file.read(pip.BOOTSTRAP).lines if line.requirement.name == "setuptools"]
    for minor in range(8, 15):
        environment = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.1"}
        found = [
            str(line.requirement.specifier)
            for line in lines
            if line.requirement.marker and line.requirement.marker.evaluate(environment)
        ]
        assert len(found) == (minor < 12)
        assert not [one for one in found if int(one[2:].split(".")[0]) >= 82]


def checked(
    site: Path, files: Dict[str, Any], index: Index, capsys: pytest.CaptureFixture[str], code: int, *words: str
) -> str:
    """Build the site with *files* and --check, and return what it said."""
    index.add("lib", "1.0", {"lib/__init__.py": "", "lib/sub.py": ""})
    write_tree(site, files)
    commit_all(site.parent)
    _, said = run(capsys, site, lock(site, "lib==1.0"), site.parent.parent / "out", "--check", *words, code=code)
    assert (site.parent.parent / "out.zip").exists() == (code == 0)
    return said


WSGI = "def application(environ, start_response):\n    return []\n"


def test_a_site_that_imports_from_what_was_packed_passes_the_check(
    site: Path, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    said = checked(site, {"site_one/wsgi.py": f"import lib.sub\n{WSGI}"}, index, capsys, 0)
    assert "Checking that the site imports from what was packed\n" in said
    assert "does not import" not in said


FROM_OTHER = "try:\n    import psycopg2\nexcept ImportError as error:\n    raise RuntimeError('no') from error\n"
MISSING = [
    ("import yaml\n", "yaml", 1, "Add PyYAML to the requirements, or give --no-check."),
    ("import some_library.part\n", "some_library", 1, "Add some-library to the requirements, or give --no-check."),
    ("import lib.lost\n", "lib.lost", 1, "Correct the import, or require a lib that has it."),
    (FROM_OTHER, "psycopg2", 4, "Add psycopg2 to the requirements, or give --no-check."),
]


@pytest.mark.parametrize(
    ("text", "module", "number", "fix"),
    sampled(MISSING, 1),
)
def test_a_missing_module_is_named_with_the_requirement_that_brings_it(
    site: Path, index: Index, capsys: pytest.CaptureFixture[str], text: str, module: str, number: int, fix: str
) -> None:
    said = checked(site, {"site_one/wsgi.py": text + WSGI}, index, capsys, 7)
    where = f"imported at site_one/site_one/wsgi.py:{number} for site_one.wsgi:application"
    line = f"error: module {module}: {where}, and no packed file or wheel holds it. {fix}"
    assert said.splitlines()[-1] == line


def test_a_module_in_a_folder_that_is_not_on_the_path_is_named_with_the_folder(
    site: Path, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"site_one/wsgi.py": f"import shop.views\n{WSGI}", "apps/shop/__init__.py": "", "apps/shop/views.py": ""}
    said = checked(site, files, index, capsys, 7)
    why = "is packed in the folder apps, which is not on sys.path. Set python-path to apps."
    assert said.splitlines()[-1].endswith(f" for site_one.wsgi:application, {why}")
    done, _ = run(capsys, site, lock(site, "lib==1.0"), site.parent.parent / "out", "--check", "--python-path", "apps")
    found = manifest(done["path"]).site
    assert found is not None
    assert found.path == "apps"


@pytest.mark.deep
def test_a_module_that_was_left_out_is_named_with_its_place(
    site: Path, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"site_one/wsgi.py": f"import helper\n{WSGI}", "helper.py": "x = 1\n"}
    said = checked(site, files, index, capsys, 7, "--exclude", "*/helper.py")
    assert f"module helper: imported at site_one/site_one/wsgi.py:1, is in {site}/helper.py and was not packed." in said


@pytest.mark.parametrize(
    ("text", "why"),
    sampled(
        [
            ("import os\nos.environ['REAL']\n", "KeyError: 'REAL' (site_one/site_one/wsgi.py:2)"),
            ("application = 1\n", "TypeError: site_one.wsgi:application is not callable (the start)"),
            ("import os\napplication = 1\nos._exit(3)\n", "exit status 3"),
        ],
        1,
    ),
)
def test_what_the_real_environment_may_mend_is_a_warning(
    site: Path, index: Index, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    said = checked(site, {"site_one/wsgi.py": text}, index, capsys, 0, "--wsgi", "site_one.wsgi:application")
    (line,) = [line for line in said.splitlines() if line.endswith("; --no-check leaves this check out")]
    assert why in line


@pytest.mark.deep
def test_the_check_is_made_without_the_builders_environment(
    site: Path, index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", SECRET)
    monkeypatch.setenv("PYTHONPATH", str(site.parent))
    text = f"import os\nassert 'sqlite' in os.environ['DATABASE_URL'], os.environ\n{WSGI}"
    assert "does not import" not in checked(site, {"site_one/wsgi.py": text}, index, capsys, 0)


def test_without_a_terminal_nothing_is_checked_unless_asked_for(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(site, {"site_one/wsgi.py": f"import yaml\n{WSGI}"})
    commit_all(site.parent)
    words = [str(site), lock(site), str(tmp_path / "out"), "--workers", "1"]
    assert create.main(words) == 0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert create.main(words) == 7
    assert create.main([*words, "--no-check"]) == 0
    capsys.readouterr()


def test_options_may_be_between_the_arguments(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requirements = lock(site)
    for words in (
        [site, requirements, "--strict", tmp_path / "out"],
        ["--allow", "x", site, "--no-bytecode", requirements, "--strict", tmp_path / "out", "--allow", "y"],
        ["--strict", site, requirements, tmp_path / "out"],
    ):
        done, _ = run(capsys, *words)
        assert done["path"] == str(tmp_path / "out.zip")
    assert "unrecognized arguments: more" in failed(capsys, 2, site, requirements, tmp_path / "out", "more")


def _wrapped(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "python3"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_second_python_of_one_minor_version_is_named_and_not_silently_left_out(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _wrapped(tmp_path / "other")
    done, text = run(capsys, site, lock(site), tmp_path / "out", "--extra-python", other)

    minor = "{}.{}".format(*sys.version_info[:2])
    assert len(done["targets"]) == 1
    assert f"warning: {other}: is Python {minor}." in text
    assert f"the wheels for Python {minor} are those of the latter" in text


def test_one_python_that_is_named_twice_is_no_matter(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, text = run(capsys, site, lock(site), tmp_path / "out", "--extra-python", sys.executable)

    assert len(done["targets"]) == 1
    assert "are those of the latter" not in text


@pytest.mark.parametrize("name", sampled(["out.ZIP", "out.Zip"], 1))
def test_a_suffix_in_capitals_is_one_too(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    index.add("foo", "1.0")
    done, _ = run(capsys, site, lock(site, "foo==1.0"), tmp_path / name)
    assert done["path"] == str(tmp_path / "out.zip")


def test_an_artifact_that_is_written_is_a_success_though_nobody_reads_the_result(
    site: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("foo", "1.0")
    requirements = lock(site, "foo==1.0")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert create.main([str(site), requirements, str(tmp_path / "out"), "--quiet", "--workers", "1"]) == 0
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # what is still in its buffer
    assert "everything is done, but the result could not be written" in capsys.readouterr().err
    assert (tmp_path / "out.zip").exists()


def test_a_current_folder_that_is_gone_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert create.main(["site", "requirements.txt", "out"]) == 7
    line = capsys.readouterr().err
    assert line == (
        "error: the current folder: cannot be read (No such file or directory). Change to a folder that exists.\n"
    )
