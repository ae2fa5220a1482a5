"""Which wheels fit a target, and what several need together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployable_zipfile.builder import collected
from deployable_zipfile.builder.elf import Elf
from deployable_zipfile.errors import WheelError
from tests.support import wheels
from tests.support.helpers import make_wheel
from tests.support.wheels import AARCH64, MACHINE, compiled, extension, proven


def test_libraries_that_another_wheel_brings_are_not_needed_from_the_system() -> None:
    needs = Elf(MACHINE, (2, 17), "a.so", ("libc.so.6", "libssl.so.3", "libmine.so.1", "libmvec.so.1"), ("a.so",))
    brings = Elf(MACHINE, (2, 5), "b.so", (), ("libmine.so.1",))
    blank = wheels.collected("n")
    both = [blank._replace(elves=(needs,)), blank._replace(elves=(brings,))]
    assert collected.system_libraries(both, MACHINE) == ("libssl.so.3",)
    assert collected.system_libraries(both, "s390x") == ()
    assert collected.glibc_floor(both, MACHINE) == "2.17"
    assert collected.glibc_floor([blank], MACHINE) == ""


def test_a_wheel_that_needs_a_newer_glibc_than_the_target_has_is_refused_by_name(tmp_path: Path) -> None:
    wheel = compiled(tmp_path, {"native/core.so": extension("9.9.5")})
    collected.check_fits(wheel, "cp311-here", wheel.tags, MACHINE, (9, 9))
    with pytest.raises(WheelError) as caught:
        collected.check_fits(wheel, "cp311-here", wheel.tags, MACHINE, (2, 17))
    assert str(caught.value).startswith(
        f"native-1.0-cp311-cp311-manylinux_2_17_{MACHINE}.whl: needs glibc 9.9 (native/core.so), cp311-here has 2.17."
    )


def test_a_wheel_whose_files_are_for_another_machine_is_refused_by_name(tmp_path: Path) -> None:
    wheel = compiled(tmp_path, {"native/core.so": extension(machine=AARCH64)})
    with pytest.raises(WheelError, match="holds compiled files for aarch64, cp311-here needs x86_64"):
        collected.check_fits(wheel, "cp311-here", wheel.tags, "x86_64", (2, 17))
    for_all = compiled(tmp_path, {"native/core.so": extension(machine=AARCH64)}, "py3-none-any")
    collected.check_fits(for_all, "cp311-here", for_all.tags, "x86_64", (2, 17))


def test_a_wheel_whose_tags_do_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    wheel = proven(make_wheel(tmp_path, "x", "1", {}, tag="cp39-cp39-win_amd64"))
    with pytest.raises(WheelError) as caught:
        collected.check_fits(wheel, "cp311-here", ["cp311-cp311-linux_x86_64"], "x86_64", (2, 17))
    assert str(caught.value) == (
        "x-1-cp39-cp39-win_amd64.whl: does not run on cp311-here. Lock a version that has a wheel for it."
    )


def test_what_is_kept_of_a_wheel_does_not_say_where_it_is(tmp_path: Path) -> None:
    wheel = compiled(tmp_path, {"native/core.so": extension(), "native/__init__.py": ""})
    text = json.dumps(collected.to_document(wheel))
    assert str(tmp_path) not in text
    assert collected.from_document(json.loads(text), "/elsewhere") == wheel._replace(path="/elsewhere")


def test_the_requirements_of_a_wheel_are_parsed_once() -> None:
    one = wheels.collected("a", requires=("b>=1", "c; extra == 'd'"))
    assert [str(requirement) for requirement in one.requirements] == ["b>=1", 'c; extra == "d"']
    assert one.requirements is one._replace(path="/elsewhere").requirements


@pytest.mark.parametrize(
    ("built_from", "origin"),
    [
        ("", ""),
        ("foo-1.0.tar.gz sha256:0", "foo-1.0.tar.gz"),
        ("foo @ https://example.org/a/foo-1.0.tar.gz#sha256=0", "foo"),
        ("https://example.org/a/foo%2B1.0.zip sha256:0", "foo+1.0.zip"),
    ],
)
def test_the_origin_of_a_wheel_is_the_file_it_was_built_from(built_from: str, origin: str) -> None:
    assert wheels.collected("foo", built_from=built_from).origin == origin
