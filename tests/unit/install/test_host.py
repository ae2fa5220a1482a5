"""What the running Python and its machine are, and the target that fits them."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployable_zipfile.artifact import manifests, patches
from deployable_zipfile.errors import TargetError
from deployable_zipfile.install import host, preflight
from tests.support.artifacts import PYTHON, bare_manifest, make_target


def test_the_target_of_this_python_is_chosen() -> None:
    other, own = make_target(python="3.7"), make_target()
    assert host.select_target(bare_manifest(other, own)) is own


def test_of_two_machines_the_own_one_is_chosen() -> None:
    other, own = make_target(machine="s390y"), make_target()
    assert host.select_target(bare_manifest(other, own)) is own
    assert host.select_target(bare_manifest(other)) is other


def minor() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def run_by(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    """Let the running interpreter be patch *release* ("3", "0rc1") of its version."""
    monkeypatch.setattr(patches, "running", lambda: patches.parsed(f"{minor()}.{release}"))


def planned(*ranges: "tuple[str, str]", name: str = "a") -> manifests.PlannedWheel:
    limits = tuple(patches.Range(f"{minor()}.{first}", f"{minor()}.{last}" if last else "") for first, last in ranges)
    return manifests.PlannedWheel(f"wheels/{name}-1-py3-none-any.whl", name, "1", True, None, limits)


@pytest.mark.parametrize(("release", "names"), [("2", "ab"), ("3", "bc"), ("0rc1", "b"), ("12", "bc")])
def test_each_patch_release_installs_the_wheels_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, release: str, names: str
) -> None:
    run_by(monkeypatch, release)
    every = [planned(("0", "2"), name="a"), planned(name="b"), planned(("3", ""), name="c")]
    target = host.select_target(bare_manifest(make_target(every)))
    assert "".join(wheel.name for wheel in target.wheels) == names


@pytest.mark.parametrize("release", ["2", "0rc1", "5"])
def test_a_patch_release_that_the_plan_does_not_hold_for_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str
) -> None:
    target = make_target()._replace(patch_releases=planned(("3", "4"), ("6", "")).patch_releases)
    run_by(monkeypatch, "4")
    assert host.select_target(bare_manifest(target)).python == minor()
    run_by(monkeypatch, release)
    (line,) = [str(one) for one in preflight.problems(bare_manifest(target), str(tmp_path / "dest"))]
    offered = f"{minor()}.3 to {minor()}.4, {minor()}.6 or later"
    assert line.startswith(f"this Python: the artifact is built for CPython {offered}, found {minor()}.")
    assert line.endswith("Run it with one of those, or build it with a lock that is complete for this one.")


@pytest.mark.parametrize("name", manifests.MARKERS)
def test_a_marker_variable_that_the_plan_depends_on_must_have_the_builds_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    values = host.marker_values()
    target = make_target()._replace(markers=tuple(sorted(values.items())))
    assert preflight.problems(bare_manifest(target), str(tmp_path / "dest")) == []
    monkeypatch.setattr(host, "marker_values", lambda: {**values, name: "other"})
    (line,) = [str(one) for one in preflight.problems(bare_manifest(target), str(tmp_path / "dest"))]
    assert line == (
        f"this machine: has {name} 'other', and which wheels are needed depends on {values[name]!r}. "
        "Build it for this machine."
    )


def test_another_python_is_refused_in_one_line_that_names_both() -> None:
    with pytest.raises(TargetError) as caught:
        host.select_target(bare_manifest(make_target(python="3.6"), make_target(python="3.7")))
    assert str(caught.value) == (
        f"this Python: the artifact needs CPython 3.6 or CPython 3.7, found CPython {platform.python_version()} "
        f"at {sys.executable}. Run it with python3.7."
    )


def test_another_implementation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="pypy", cache_tag="pypy39"))
    monkeypatch.setattr(platform, "python_implementation", lambda: "PyPy")
    with pytest.raises(TargetError, match=f"needs CPython {PYTHON}, found PyPy"):
        host.select_target(bare_manifest(make_target()))


@pytest.mark.parametrize("flags", ["d", "t", "dt"])
def test_a_debug_or_free_threaded_build_is_refused(flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "abiflags", flags, raising=False)
    with pytest.raises(TargetError, match=f"built with ABI flags {flags} at"):
        host.select_target(bare_manifest(make_target()))


def test_an_artifact_for_no_python_says_so() -> None:
    with pytest.raises(TargetError, match=r"needs an interpreter, found CPython.*Run it with python3\."):
        host.select_target(bare_manifest())


def test_bytecode_fits_the_python_that_made_it_alone() -> None:
    assert host.bytecode_fits(make_target())
    assert not host.bytecode_fits(make_target(bytecode=False))
    assert not host.bytecode_fits(make_target(magic="00000000"))
    assert not host.bytecode_fits(make_target(cache_tag="cpython-27"))


def test_the_c_library_of_this_host_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    name, version = host.libc()
    assert name == "glibc"
    assert version.startswith("2.")

    def unknown(_: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", unknown)
    monkeypatch.setattr(host, "multiarch", lambda: "x86_64-linux-musl")
    assert host.libc() == ("musl", "")
    monkeypatch.setattr(host, "multiarch", lambda: "")
    assert host.libc() == ("", "")


def test_the_report_names_what_matters() -> None:
    report = host.report(bare_manifest(make_target(python="3.7", machine="x86_64")))
    assert report["python"] == platform.python_version()
    assert report["executable"] == sys.executable
    assert report["needs"] == "CPython 3.7 x86_64"
