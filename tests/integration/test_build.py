"""Builds with the real pip: fetching, building sdists, failures of index and network, signals.

Packages come from folders and from a small index that the tests serve on 127.0.0.1; the pinned pip alone comes from
the package index of the machine, once.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Union

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deployable_zipfile import create
from deployable_zipfile.artifact import zipreader
from deployable_zipfile.artifact.versions import normalised
from tests.support.helpers import SECRET, File, error_line, make_sdist, make_wheel, run_cli, write_tree
from tests.support.machine import require_compiler

pytestmark = pytest.mark.core

CREATE = create.__file__
SITE: Dict[str, File] = {
    "manage.py": ("#!/usr/bin/env python\n", 0o755),
    "site_one/__init__.py": "",
    "site_one/wsgi.py": "application = None\n",
}
EXTENSION = """#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", __FILE__ " " __DATE__ " " __TIME__, -1, NULL};
PyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&module); }
"""
SETUP = "from setuptools import Extension, setup\nsetup(name='native', version='1.0', py_modules=['b', 'a'], "


# Builds as the command line does, and never gets to the end, however late the test's signal comes.
UNFINISHED = """
import runpy, sys, time
sys.path.insert(0, sys.argv[1])
from deployable_zipfile.builder import output
output.Output.commit = lambda *_: time.sleep(600)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
GIT_USER = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
ZLIB = "pkg:rpm/almalinux/zlib@1.2.11-40.el9"
AUDITWHEEL = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.4",
    "components": [
        {"type": "library", "name": "Be_ta", "version": "2.0"},
        {"type": "library", "name": "zlib", "version": "1.2.11", "purl": ZLIB},
    ],
}
SPDX = {
    "spdxVersion": "SPDX-2.3",
    "packages": [{"name": "serde", "versionInfo": "1.0", "licenseConcluded": "MIT OR Apache-2.0"}],
}


def plain_setup(name: str) -> str:
    return f"from setuptools import setup\nsetup(name={name!r}, version='3.0', py_modules=['one'])\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a cache that has the pinned pip already."""
    folder = tmp_path_factory.mktemp("build")
    site = write_tree(folder / "warm" / "site_one", SITE)
    (folder / "empty.txt").write_text("")
    run_cli([sys.executable, CREATE, site, folder / "empty.txt", folder / "warm" / "out", *_cache(folder)], timeout=600)
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "site_one", SITE)


def _cache(folder: Path) -> List[str]:
    return ["--cache-dir", str(folder / "cache")]


def build(site: Path, lock: str, shared: Path, *options: str, code: int = 0, **environment: str) -> Any:
    """Run ``create.py`` as a user does and return the finished process; the lock's text becomes a file."""
    path = site.parent / "requirements.txt"
    path.write_text(lock, encoding="utf-8")
    command: List[Union[str, Path]] = [
        sys.executable,
        CREATE,
        site,
        path,
        site.parent / "out",
        *_cache(shared),
        *options,
    ]
    return run_cli(command, code=code, extra_env=environment, timeout=600)


class Index:
    """A package index (PEP 503) on 127.0.0.1 that asks for a user and a password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault: Optional[str] = None
        self.asked: List[str] = []
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://user:{SECRET}@127.0.0.1:{self._server.server_address[1]}/simple"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        expected = "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") != expected:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="x"')
            request.end_headers()
            return
        name = request.path.strip("/").split("/")[-1]
        if self.fault == "500":
            request.send_error(500)
            return
        path = self.folder / name
        if path.is_file():
            body, kind = path.read_bytes(), "application/octet-stream"
        else:
            found = [one for one in sorted(self.folder.iterdir()) if one.name.split("-")[0].lower() == name]
            links = [f'<a href="/files/{one.name}#sha256={_digest(one)}">{one.name}</a>' for one in found]
            body, kind = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode(), "text/html"
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.fault == "truncated" and path.is_file():
            body = body[: len(body) // 2]
        request.wfile.write(body)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "served")
    made.folder.mkdir()
    yield made
    made.close()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def everything_under(*folders: Path) -> Iterator[bytes]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield path.read_bytes()


def test_wheels_come_from_a_private_index_whose_token_stays_nowhere(site: Path, shared: Path, index: Index) -> None:
    make_wheel(index.folder, "alpha", "1.0", {"alpha.py": "x = 1\n"}, requires=["beta>=2"])
    make_wheel(index.folder, "beta", "2.5", {"beta.py": "x = 2\n"})
    cache = site.parent / "own"
    shutil.copytree(shared / "cache", cache / "cache")
    shutil.rmtree(cache / "cache" / "pip", ignore_errors=True)
    done = build(site, f"--index-url {index.url}\nalpha==1.0\nbeta==2.5\n", cache)
    assert SECRET not in done.stdout + done.stderr
    with zipreader.Artifact.open(str(site.parent / "out.zip")) as artifact:
        artifact.verify(workers=1)
        assert [wheel.name for wheel in artifact.manifest.targets[0].wheels] == ["beta", "alpha"]
        assert all(SECRET.encode() not in artifact.container.read(entry) for entry in artifact.members.values())
    failed = build(site, f"--index-url {index.url}\nalpha==1.0\nbeta==3\n", cache, "--quiet", code=7)
    assert "beta==3" in failed.stderr
    assert SECRET not in failed.stdout + failed.stderr
    assert not [content for content in everything_under(cache) if SECRET.encode() in content]


def test_an_unchanged_lock_needs_neither_network_nor_pip(site: Path, shared: Path, index: Index) -> None:
    wheel = make_wheel(index.folder, "alpha", "1.0", {"alpha.py": "x = 1\n"})
    lock = f"--index-url {index.url}\nalpha==1.0 --hash=sha256:{_digest(wheel)}\n"
    first = build(site, lock, shared, "--json")
    asked = len(index.asked)
    assert asked
    fakes = write_tree(site.parent / "bin", dict.fromkeys(("pip", "cc", "gcc"), ("#!/bin/sh\nexit 99\n", 493)))
    path = f"{fakes}:{os.environ['PATH']}"
    second = build(site, lock, shared, "--json", PATH=path, http_proxy="http://127.0.0.1:9")
    assert len(index.asked) == asked
    assert json.loads(second.stdout)["sha256"] == json.loads(first.stdout)["sha256"]
    assert len(json.loads(second.stdout)["from_cache"]) == 1


@pytest.mark.parametrize("fault", ["500", "truncated", "closed"])
def test_an_index_that_fails_is_one_line_naming_the_requirement(
    site: Path, shared: Path, index: Index, fault: str
) -> None:
    make_wheel(index.folder, "alpha", "1.0", {"alpha.py": "x = 1\n" * 5000})
    index.fault = fault
    if fault == "closed":
        index.close()
    lock = f"--index-url {index.url}\nalpha==1.0 --hash=sha256:{'0' * 64}\n"
    began = time.monotonic()
    done = build(site, lock, shared, "--quiet", code=7, PIP_RETRIES="1", PIP_DEFAULT_TIMEOUT="5", PIP_NO_CACHE_DIR="1")
    assert time.monotonic() - began < 120
    assert "alpha" in error_line(done)
    assert not (site.parent / "out.zip").exists()


def test_a_file_that_is_not_the_locked_one_is_refused_with_both_digests(site: Path, shared: Path, index: Index) -> None:
    wheel = make_wheel(index.folder, "alpha", "1.0", {"alpha.py": "x = 1\n"})
    wrong = hashlib.sha256(b"another").hexdigest()
    done = build(site, f"--index-url {index.url}\nalpha==1.0 --hash=sha256:{wrong}\n", shared, "--quiet", code=7)
    line = error_line(done)
    assert line.startswith("error: alpha==1.0: its file does not match the locked hash: ")
    assert f"expected {wrong[:12]}..., found {_digest(wheel)[:12]}..." in line


def test_requirements_that_contradict_each_other_are_named(site: Path, shared: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0", {}, requires=["beta<2"])
    make_wheel(wheels, "beta", "2.0", {})
    done = build(site, f"--no-index\n--find-links {wheels}\nalpha==1.0\nbeta==2.0\n", shared, "--quiet", code=7)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: requirements: contradict each other: ")
    assert "alpha 1.0 depends on beta<2" in line


def test_an_sdist_is_compiled_to_the_same_bytes_twice_and_works(site: Path, shared: Path, tmp_path: Path) -> None:
    require_compiler()
    source = make_sdist(
        tmp_path / "sdists",
        "native",
        {
            "setup.py": SETUP + "ext_modules=[Extension('native', ['native.c'])])\n",
            "native.c": EXTENSION,
            "a.py": "x = 1\n",
            "b.py": "x = 2\n",
        },
    )
    digests = set()
    for number in range(2):
        cache = tmp_path / f"cache-{number}"
        shutil.copytree(shared / "cache", cache / "cache")
        done = build(site, f"{source}\n", cache, "--json", TMPDIR=str(tmp_path), TZ="Asia/Tokyo" if number else "UTC")
        result = json.loads(done.stdout)
        assert len(result["from_sdists"]) == 1
        assert any("was compiled here, it needs glibc" in text for text in result["warnings"])
        digests.add(result["sha256"])
    assert len(digests) == 1
    run_cli([sys.executable, "-I", "-S", site.parent / "out.zip", "-d", tmp_path / "dest"], timeout=300)
    code = "import native, a, b; print(native.__doc__)"
    shown = run_cli([tmp_path / "dest" / "venv" / "bin" / "python", "-c", code])
    assert shown.stdout == "native.c Jan  1 1980 00:00:00\n"


def test_an_sdist_that_does_not_compile_is_named_with_the_compilers_words(
    site: Path, shared: Path, tmp_path: Path
) -> None:
    require_compiler()
    source = make_sdist(
        tmp_path / "sdists",
        "native",
        {
            "setup.py": SETUP + "ext_modules=[Extension('native', ['native.c'])])\n",
            "native.c": "#include <nowhere.h>\n",
            "a.py": "",
            "b.py": "",
        },
    )
    done = build(site, f"{source}\n", shared, "--quiet", code=7)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: native: cannot be built from its sdist (native.c:1:10: fatal error: nowhere.h: ")
    log = Path(line.split("The output is in ")[1].rstrip("."))
    assert "nowhere.h" in log.read_text()
    refused = build(site, f"{source}\n", shared, "--quiet", "--only-binary", code=7)
    assert refused.stderr.splitlines()[-1].startswith("error: ")


def test_a_named_target_is_built_from_its_wheels_alone(site: Path, shared: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0", {"alpha.py": ""}, tag="cp38-cp38-manylinux_2_17_aarch64", purelib=False)
    make_wheel(wheels, "alpha", "1.0", {"alpha.py": ""}, tag="cp38-cp38-manylinux_2_28_aarch64", purelib=False)
    make_wheel(wheels, "beta", "1.0", {"beta.py": ""}, requires=["gamma; python_version < '3.9'"])
    make_wheel(wheels, "gamma", "1.0", {"gamma.py": ""})
    lock = f"--no-index\n--find-links {wheels}\nalpha==1.0\nbeta==1.0\n"
    options = ("--target", "cp38-manylinux_2_17_aarch64")
    done = build(site, lock, shared, *options, "--quiet", code=6)
    assert done.stderr.splitlines()[-1].startswith(
        'error: gamma; python_version < "3.9": is required by beta 1.0, and it is not there (for cp38-'
    )
    build(site, lock + "gamma==1.0; python_version < '3.9'\n", shared, *options)
    with zipreader.Artifact.open(str(site.parent / "out.zip")) as artifact:
        (target,) = artifact.manifest.targets
    assert (target.python, target.machine) == ("3.8", "aarch64")
    assert [wheel.file for wheel in target.wheels] == [
        "wheels/gamma-1.0-py3-none-any.whl",
        "wheels/alpha-1.0-cp38-cp38-manylinux_2_17_aarch64.whl",
        "wheels/beta-1.0-py3-none-any.whl",
    ]


def test_a_pylock_is_resolved_through_pip(site: Path, shared: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheel = make_wheel(wheels, "alpha", "1.0", {"alpha.py": ""})
    text = (
        'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "alpha"\nversion = "1.0"\n'
        f'[[packages.wheels]]\npath = "wheels/{wheel.name}"\nhashes = {{sha256 = "{_digest(wheel)}"}}\n'
        '[[packages]]\nname = "windows-only"\nversion = "1.0"\nmarker = "sys_platform == \'win32\'"\n'
        f'[[packages.wheels]]\npath = "windows_only-1.0-py3-none-any.whl"\nhashes = {{sha256 = "{"0" * 64}"}}\n'
    )
    path = tmp_path / "pylock.toml"
    path.write_text(text)
    environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    command: List[Union[str, Path]] = [
        sys.executable,
        CREATE,
        site,
        path,
        tmp_path / "out",
        *_cache(shared),
        "--require-hashes",
        "--json",
    ]
    done = run_cli(command, extra_env=environment, timeout=600)
    assert not [text for text in json.loads(done.stdout)["warnings"] if "hashes" in text]
    with zipreader.Artifact.open(str(tmp_path / "out.zip")) as artifact:
        assert [wheel.name for wheel in artifact.manifest.targets[0].wheels] == ["alpha"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_ended_leaves_nothing_that_the_next_one_does_not_remove(
    tmp_path: Path, shared: Path, number: signal.Signals
) -> None:
    files: Dict[str, File] = {f"data/{item:04}.bin": os.urandom(30_000) for item in range(400)}
    site = write_tree(tmp_path / "big" / "site_one", {**SITE, **files})
    (tmp_path / "out.zip").write_bytes(b"old artifact")
    (tmp_path / "requirements.txt").write_text("")
    command: List[Union[str, Path]] = [
        CREATE,
        site,
        tmp_path / "requirements.txt",
        tmp_path / "out",
        *_cache(shared),
    ]
    words = [sys.executable, "-c", UNFINISHED, str(Path(CREATE).parents[1]), *map(str, command)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr
    for line in process.stderr:
        if line.startswith(b"Packing"):
            break
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    assert (tmp_path / "out.zip").read_bytes() == b"old artifact"
    if number != signal.SIGKILL:
        assert text.decode().splitlines() == ["error: build: was interrupted, nothing was written. Build again."]
        assert not list(tmp_path.glob(".out.zip*"))
    run_cli([sys.executable, *command], timeout=600)
    assert not list(tmp_path.glob(".out.zip*"))
    assert not list((shared / "cache").glob("work-*"))
    with zipreader.Artifact.open(str(tmp_path / "out.zip")) as artifact:
        artifact.verify(workers=1)


def test_the_bill_of_materials_is_valid_and_names_what_pip_lists(site: Path, shared: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0", {"alpha.py": ""}, requires=["Be_ta"])
    vendored = {
        "beta.py": "",
        "Be_ta.libs/libz-0a1b2c3d.so.1.2": "x",
        "Be_ta-2.0+local.1.dist-info/sboms/auditwheel.cdx.json": json.dumps(AUDITWHEEL),
        "Be_ta-2.0+local.1.dist-info/sboms/rust.spdx.json": json.dumps(SPDX),
        "Be_ta-2.0+local.1.dist-info/sboms/odd.cdx.json": "[",
    }
    make_wheel(wheels, "Be_ta", "2.0+local.1", vendored)
    local = write_tree(tmp_path / "local", {"setup.py": plain_setup("local-part"), "one.py": ""})
    repository = write_tree(tmp_path / "repository", {"setup.py": plain_setup("from.git"), "one.py": ""})
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run(["git", *GIT_USER, *words], cwd=str(repository), check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=str(repository), check=True, capture_output=True, text=True)
    vcs = f"from.git @ git+file://{repository}@{head.stdout.strip()}"
    source = make_sdist(tmp_path / "sdists", "native", {"setup.py": SETUP + ")\n", "a.py": "", "b.py": ""})
    lock = f"--find-links {wheels}\nalpha==1.0\nBe_ta==2.0+local.1\n{source}\n{local}\n{vcs}\n"
    build(site, lock, shared)
    with zipreader.Artifact.open(str(site.parent / "out.zip")) as artifact:
        text = artifact.read(".deploy/sbom.cdx.json").decode("ascii")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    run_cli([sys.executable, "-I", "-S", site.parent / "out.zip", "-d", tmp_path / "dest"], timeout=300)
    listed = run_cli([tmp_path / "dest/venv/bin/python", "-m", "pip", "list", "--format=json"], timeout=100).stdout
    parts = [one for one in json.loads(text)["components"] if one.get("purl", "").startswith("pkg:pypi/")]
    named = {normalised(one["name"]): one["version"] for one in parts}
    assert named == {normalised(one["name"]): one["version"] for one in json.loads(listed)}
    assert {"alpha", "be-ta", "native", "local-part", "from-git", "pip"} <= set(named)
    (beta,) = [one for one in parts if normalised(one["name"]) == "be-ta"]
    inner = {one["name"]: one for one in beta["components"]}
    assert set(inner) == {"libz.so.1.2", "zlib", "serde"}
    assert inner["libz.so.1.2"]["hashes"][0]["content"] == hashlib.sha256(b"x").hexdigest()
    assert (inner["zlib"]["purl"], inner["serde"]["licenses"][0]["expression"]) == (ZLIB, "MIT OR Apache-2.0")
    origin = {
        normalised(one["name"]): prop["value"]
        for one in parts
        for prop in one["properties"]
        if prop["name"] == "deployable-zipfile:built-from"
    }
    assert set(origin) == {"native", "local-part", "from-git"}
    assert head.stdout.strip() in origin["from-git"]
