"""Requirements are followed for every patch release of a Python, not for the one that builds."""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

import pytest
from packaging.requirements import Requirement

from deployable_zipfile.artifact import patches
from deployable_zipfile.builder import closure, markers, targets
from deployable_zipfile.builder.collected import CollectedWheel
from tests.support.wheels import collected

MARKERS = targets.of_name("cp311-manylinux_2_17_x86_64").markers
AT = markers.Releases(MARKERS)


def wheel(name: str, *requires: str, version: str = "1.0", python: str = "") -> CollectedWheel:
    return collected(name, version, requires=requires, requires_python=python)


def roots(*requirements: str) -> List[Tuple[str, Requirement]]:
    return [(f"req.txt:{number}", Requirement(text)) for number, text in enumerate(requirements, 1)]


def told(chosen: int) -> str:
    """The final releases of the set *chosen*, "all" and "none"."""
    chosen &= AT.final
    return "all" if chosen == AT.final else patches.described(AT.ranges(chosen)) or "none"


def followed(
    lines: List[Tuple[str, Requirement]], *wheels: CollectedWheel, spare: Sequence[CollectedWheel] = ()
) -> Tuple[Dict[str, str], str]:
    """Return the releases that need each wheel, and those that the plan does not hold for."""
    wheels = (*wheels, *spare)
    outcome = closure.follow(lines, wheels, AT, frozenset(one.file for one in spare))
    needed = {f"{one.name} {one.version}": told(outcome.needed[one.file]) for one in wheels}
    return needed, told(outcome.failing)


def why(lines: List[Tuple[str, Requirement]], *wheels: CollectedWheel) -> List[str]:
    return [str(problem) for problem in closure.follow(lines, wheels, AT).problems]


def test_a_wheel_that_only_older_patch_releases_need_is_for_them() -> None:
    older = 'bp; python_full_version<"3.11.3"'
    assert followed(roots("fr==1.0", older), wheel("fr", older), wheel("bp")) == (
        {"fr 1.0": "all", "bp 1.0": "3.11.0 to 3.11.2"},
        "none",
    )


def test_a_plan_that_lacks_a_wheel_for_older_patch_releases_does_not_hold_for_them() -> None:
    lines = roots("fr==1.0")
    fr = wheel("fr", 'bp>=2; python_full_version<"3.11.3"')
    assert followed(lines, fr) == ({"fr 1.0": "all"}, "3.11.0 to 3.11.2")
    assert why(lines, fr, wheel("bp")) == [
        'bp>=2; python_full_version < "3.11.3" is required by fr 1.0, and only 1.0 is there'
    ]


@pytest.mark.parametrize(
    ("marker", "needed"),
    [
        ('python_full_version < "3.11.3"', "3.11.0 to 3.11.2"),
        ('python_full_version <= "3.11.3"', "3.11.0 to 3.11.3"),
        ('"3.11.3" > python_full_version', "3.11.0 to 3.11.2"),
        ('python_full_version == "3.11.7"', "3.11.7"),
        ('python_full_version != "3.11.7"', "3.11.0 to 3.11.6, 3.11.8 or later"),
        ('python_full_version ~= "3.11.5"', "3.11.5 or later"),
        ('python_full_version in "3.11.4, 3.11.6"', "3.11.4, 3.11.6"),
        ('implementation_version >= "3.11.90"', "3.11.90 or later"),
        ('implementation_version < "3.11.1" or python_full_version > "3.11.8"', "3.11.0, 3.11.9 or later"),
        ('python_full_version >= "3.11.2" and python_full_version < "3.11.4"', "3.11.2 to 3.11.3"),
        ('python_full_version == "3.11.*"', "all"),
        ('python_full_version <= "3.11.0a6"', "none"),
        ('python_full_version < "3.11"', "none"),
        ('python_version >= "3.11.3"', "none"),
        ('python_version < "3.12"', "all"),
    ],
)
def test_every_form_of_marker_is_evaluated_for_every_patch_release(marker: str, needed: str) -> None:
    assert followed(roots(f"a; {marker}"), wheel("a"))[0] == {"a 1.0": needed}


def test_pre_releases_are_told_apart_from_the_final_release() -> None:
    chosen = AT.where(Requirement('a; python_full_version >= "3.11.0b1"').marker)
    assert AT.ranges(chosen) == (patches.Range("3.11.0b1", ""),)
    assert AT.ranges(AT.where(Requirement('a; python_full_version >= "3.11"').marker)) == (patches.Range("3.11.0", ""),)
    assert AT.ranges(AT.where(Requirement('a; python_version >= "3.11"').marker)) == ()


def test_a_wheels_own_requires_python_narrows_the_plan() -> None:
    lines = roots("a", "b")
    have = (wheel("a", python=">=3.11.4"), wheel("b", python="!=3.11.9"))
    assert followed(lines, *have)[1] == "3.11.0 to 3.11.3, 3.11.9"
    assert why(lines, *have)[0] == "a-1.0-py3-none-any.whl needs Python >=3.11.4"


def test_requires_python_takes_a_pre_release_for_the_final_one_as_pip_does() -> None:
    assert AT.admitting(">=3.11") == AT.all
    assert AT.ranges(AT.admitting(">=3.11.1")) == (patches.Range("3.11.1", ""),)


def test_two_versions_that_the_lock_tells_apart_each_have_their_releases() -> None:
    lines = roots('a==1.0; python_full_version < "3.11.3"', 'a==2.0; python_full_version >= "3.11.3"', "b")
    have = (wheel("a"), wheel("a", version="2.0"), wheel("b", "a>=1"))
    assert followed(lines, *have) == ({"a 1.0": "3.11.0 to 3.11.2", "a 2.0": "3.11.3 or later", "b 1.0": "all"}, "none")


def test_two_files_that_the_lock_tells_apart_by_url_each_have_their_releases() -> None:
    url = "https://files.example/a-{}-py3-none-any.whl"
    lines = roots(
        f'a @ {url.format("1.0")} ; python_full_version < "3.11.3"',
        f'a @ {url.format("2.0")} ; python_full_version >= "3.11.3"',
    )
    assert followed(lines, wheel("a"), wheel("a", version="2.0"))[0] == {
        "a 1.0": "3.11.0 to 3.11.2",
        "a 2.0": "3.11.3 or later",
    }


def test_a_requirement_that_one_of_two_versions_does_not_fulfil_narrows_the_plan() -> None:
    lines = roots('a==1.0; python_full_version < "3.11.3"', 'a==2.0; python_full_version >= "3.11.3"', "b")
    assert followed(lines, wheel("a"), wheel("a", version="2.0"), wheel("b", "a>=2"))[1] == "3.11.0 to 3.11.2"


def test_two_versions_for_one_release_are_a_problem_that_names_both() -> None:
    lines = roots("a==1.0", 'a==2.0; python_full_version >= "3.11.3"')
    have = (wheel("a"), wheel("a", version="2.0"))
    assert followed(lines, *have)[1] == "3.11.3 or later"
    assert "a is there twice: a-1.0-py3-none-any.whl and a-2.0-py3-none-any.whl" in why(lines, *have)


def test_what_depends_on_an_extra_and_a_patch_release_is_followed() -> None:
    have = (wheel("a", 'b; extra == "x" and python_full_version < "3.11.5"', 'c; extra == "y"'), wheel("b", "d"))
    assert followed(roots("a[x]"), *have, wheel("d"))[0]["d 1.0"] == "3.11.0 to 3.11.4"
    assert followed(roots("a[x]"), *have)[1] == "3.11.0 to 3.11.4"
    assert followed(roots("a", 'a[x]; python_full_version >= "3.11.4"'), *have, wheel("d"))[0]["b 1.0"] == "3.11.4"


@pytest.mark.parametrize("name", ["platform_release", "platform_version"])
@pytest.mark.parametrize(
    "marker",
    ['{} >= "5"', '{} < "5"', '"el7" in {}', '{} == "x" and os_name == "posix"', "os_name == {}", "{} != os_name"],
)
def test_what_may_depend_on_the_kernel_is_required(name: str, marker: str) -> None:
    fr = wheel("fr", f"bp; {marker.format(name)}")
    assert followed(roots("fr"), fr)[1] == "all"
    assert followed(roots("fr"), fr, wheel("bp")) == ({"fr 1.0": "all", "bp 1.0": "all"}, "none")


def test_what_the_kernel_alone_cannot_bring_about_is_not_required() -> None:
    fr = wheel("fr", 'bp; platform_release >= "5" and sys_platform == "win32"')
    assert followed(roots("fr"), fr)[1] == "none"


def test_two_versions_that_only_the_kernel_tells_apart_are_a_problem() -> None:
    lines = roots('a==1.0; platform_release < "5"', 'a==2.0; platform_release >= "5"')
    assert followed(lines, wheel("a"), wheel("a", version="2.0"))[1] == "all"


@pytest.mark.parametrize(
    ("requires", "depends"),
    [
        (["b"], ()),
        (['b; sys_platform == "linux"'], ("sys_platform",)),
        (['gone; sys_platform == "win32"'], ("sys_platform",)),
        (['gone; platform_machine == "aarch64"'], ("platform_machine",)),
        (['gone; sys_platform == "win32" and platform_machine == "ARM64"'], ("sys_platform",)),
        (['b; platform_machine == "x86_64" or platform_machine == "aarch64"'], ("platform_machine",)),
        (['gone; os_name == "nt"', 'gone; platform_system == "Windows"'], ("os_name", "platform_system")),
        (['b; sys_platform == "linux"', "b"], ()),
    ],
)
def test_the_plan_depends_on_as_few_variables_as_possible(requires: List[str], depends: Tuple[str, ...]) -> None:
    have = [wheel("a", *requires), wheel("b")]
    assert closure.platform_markers(roots("a"), have, MARKERS) == depends


def test_a_spare_wheel_fills_what_the_lock_leaves() -> None:
    lines = roots('setuptools==70.0; python_full_version < "3.11.3"', "setuptools")
    have, spare = wheel("setuptools", version="70.0"), [wheel("setuptools", version="75.0")]
    assert followed(lines, have, spare=spare)[0] == {
        "setuptools 70.0": "3.11.0 to 3.11.2",
        "setuptools 75.0": "3.11.3 or later",
    }
    assert followed(roots("setuptools"), have, spare=spare)[0] == {"setuptools 70.0": "all", "setuptools 75.0": "none"}


def test_a_complete_set_misses_nothing() -> None:
    have = [
        wheel("django", "asgiref>=3", "sqlparse", "tzdata; sys_platform == 'win32'", "argon2-cffi; extra == 'argon2'"),
        wheel("asgiref", "typing-extensions; python_version < '3.11'", version="4.0"),
        wheel("sqlparse"),
    ]
    assert why(roots("Django==1.0", "pywin32; sys_platform == 'win32'"), *have) == []


def test_what_is_missing_is_named_with_what_needs_it() -> None:
    have = [wheel("a", "b>=2", "c[x]"), wheel("b"), wheel("c", "d; extra == 'x'", "e; extra == 'y'")]
    assert why(roots("a"), *have) == [
        "b>=2 is required by a 1.0, and only 1.0 is there",
        'd; extra == "x" is required by c 1.0, and it is not there',
    ]
    assert why(roots("z==1"), *have) == ["z==1 is required by req.txt:1, and it is not there"]


def test_requirements_that_go_in_a_circle_end() -> None:
    assert why(roots("a"), wheel("a", "b"), wheel("b", "a[x]")) == []


def test_pre_releases_that_are_locked_are_accepted() -> None:
    assert why(roots("a==1.0rc1"), wheel("a", version="1.0rc1")) == []


def test_needed_names_are_those_of_the_target_without_extras() -> None:
    lines = ["Foo_Bar>=1", "win; sys_platform == 'win32'", "more; extra == 'all'", 'old; python_full_version<"3.11.3"']
    assert closure.names_needed(wheel("a", *lines), AT) == frozenset(["foo-bar", "old"])


@pytest.mark.parametrize(
    ("lines", "wheels", "order"),
    [
        (["aa", "bb"], [wheel("aa"), wheel("bb")], "bb aa"),
        (["aa", "bb"], [wheel("aa", "bb"), wheel("bb")], "bb aa"),
        (["aa", "bb"], [wheel("aa"), wheel("bb", "aa")], "aa bb"),
        (["aa"], [wheel("aa", "bb", "cc"), wheel("bb", "dd"), wheel("cc"), wheel("dd")], "dd cc bb aa"),
        (["zz", "aa"], [wheel("aa", "mm"), wheel("zz"), wheel("mm", "aa")], "zz mm aa"),
        (["aa[x]"], [wheel("aa", "bb; extra == 'x'"), wheel("bb")], "bb aa"),
        (["aa", "bb"], [wheel("aa", "gone; python_version < '3'", "bb; python_version > '3'"), wheel("bb")], "bb aa"),
    ],
)
def test_wheels_are_installed_in_pips_order(lines: List[str], wheels: List[CollectedWheel], order: str) -> None:
    assert " ".join(closure.install_order(roots(*lines), wheels, AT)) == order
