from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from packaging import tags

from deployable_zipfile.builder import targets
from deployable_zipfile.errors import BuildInputError, UsageError
from tests.support.helpers import write_tree

NAMED = "cp38-manylinux_2_17_x86_64"


@pytest.fixture(autouse=True)
def _quick_answers(monkeypatch: pytest.MonkeyPatch, asked_once: Callable[[str], Any]) -> None:
    monkeypatch.setattr(targets, "_asked", asked_once)


def test_the_running_python_says_what_it_is() -> None:
    target = targets.of_interpreter(sys.executable)
    assert target.version == platform.python_version()
    assert target.abi == "cp{}{}".format(*sys.version_info[:2])
    assert (target.machine, target.cross) == (platform.machine(), False)
    assert target.cache_tag == sys.implementation.cache_tag
    best = {str(tag) for tag in tags.sys_tags()}
    assert target.tags <= best
    assert f"{target.abi}-{target.abi}-manylinux_2_17_{target.machine}" in target.tags
    assert f"{target.abi}-abi3-linux_{target.machine}" in target.tags
    assert "py3-none-any" in target.tags


def test_a_named_target_runs_wheels_for_its_glibc_and_older_ones() -> None:
    target = targets.of_name(NAMED)
    assert (target.python, target.abi, target.machine, target.glibc) == ("3.8", "cp38", "x86_64", (2, 17))
    for tag in ("cp38-cp38-manylinux2014_x86_64", "cp36-abi3-manylinux1_x86_64", "py3-none-manylinux_2_5_x86_64"):
        assert tag in target.tags
    for tag in ("cp38-cp38-manylinux_2_18_x86_64", "cp38-cp38-linux_x86_64", "cp39-cp39-manylinux1_x86_64"):
        assert tag not in target.tags
    assert targets.of_name("cp311-manylinux2014_aarch64").platforms == (
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
    )


def test_an_interpreter_of_the_named_version_compiles_for_it() -> None:
    name = "cp{}{}-manylinux_2_17_aarch64".format(*sys.version_info[:2])
    assert targets.of_name(name, [sys.executable]).cache_tag == sys.implementation.cache_tag


@pytest.mark.parametrize(
    "name", ["cp37-manylinux1_x86_64", "cp38", "cp38-win_amd64", "cp315-manylinux1_x86_64", "cp38-musllinux_1_2_x86_64"]
)
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        targets.of_name(name)
    assert str(caught.value) == (
        f"--target {name}: is not a target for CPython 3.8 to 3.14. Write it as cp38-manylinux_2_17_x86_64."
    )


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"implementation": "PyPy"}, "is PyPy 3.11.7; artifacts run on CPython 3.8 to 3.14"),
        ({"release": [3, 7], "version": "3.7.1"}, "is CPython 3.7.1; artifacts run on CPython 3.8 to 3.14"),
        ({"free_threaded": True}, "is a debug or free-threaded build of CPython 3.11.7"),
        ({"flags": "d"}, "is a debug or free-threaded build of CPython 3.11.7"),
        ({"system": "Darwin"}, "runs on Darwin without glibc. Build for a server with --target"),
        ({"libc": ["", ""]}, "runs on Linux without glibc"),
        ({"bits": 32}, "is a 32-bit Python on x86_64. Give a 64-bit one."),
    ],
)
def test_a_python_that_artifacts_cannot_be_built_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, facts: Dict[str, Any], why: str
) -> None:
    usual = {
        "implementation": "CPython", "version": "3.11.7", "release": [3, 11], "full": "", "machine": "x86_64",
        "bits": 64, "libc": ["glibc", "2.36"], "system": "Linux", "flags": "", "free_threaded": False,
        "cache_tag": "cpython-311", "magic": "a70d0d0a",
    }  # fmt: skip
    monkeypatch.setattr(targets, "_asked", lambda path: {**usual, **facts})
    with pytest.raises(BuildInputError) as caught:
        targets.of_interpreter(sys.executable)
    assert why in str(caught.value)


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"python3.99: is not a Python that can be run. Correct --extra-python"):
        targets.of_interpreter("python3.99")
    fake = write_tree(tmp_path, {"python": ("#!/bin/sh\necho hello\n", 0o755)})
    with pytest.raises(UsageError, match="does not behave like a Python"):
        targets.of_interpreter(str(fake / "python"))


@pytest.mark.parametrize(
    ("stage", "release"), [("", "3.13.0"), ("candidate1", "3.13.0rc1"), ("alpha6", "3.13.0a6"), ("beta2", "3.13.0b2")]
)
def test_a_pre_release_is_not_taken_for_the_final_one(
    monkeypatch: pytest.MonkeyPatch, stage: str, release: str
) -> None:
    facts = {
        "implementation": "CPython", "version": "3.13.0", "stage": stage, "release": [3, 13], "full": "",
        "machine": "x86_64", "bits": 64, "libc": ["glibc", "2.36"], "system": "Linux", "flags": "",
        "free_threaded": False, "cache_tag": "cpython-313", "magic": "f30d0d0a",
    }  # fmt: skip
    monkeypatch.setattr(targets, "_asked", lambda path: facts)
    target = targets.of_interpreter(sys.executable)
    assert target.markers["python_full_version"] == target.markers["implementation_version"] == release
    assert (target.version, target.python) == ("3.13.0", "3.13")
