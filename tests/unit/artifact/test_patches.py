"""Ranges of patch releases: read strictly, compared as PEP 440 orders releases."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Tuple

import pytest
from packaging.version import Version

from deployable_zipfile.artifact import patches
from deployable_zipfile.artifact.patches import Range

ORDER = ["3.13.0a1", "3.13.0a7", "3.13.0b1", "3.13.0rc1", "3.13.0rc3", "3.13.0", "3.13.1", "3.13.10"]


def test_releases_are_ordered_as_pep_440_orders_them() -> None:
    assert [patches.parsed(text) for text in ORDER] == sorted(patches.parsed(text) for text in reversed(ORDER))
    assert sorted(ORDER, key=Version) == ORDER


def test_the_running_release_is_the_interpreters() -> None:
    info = sys.version_info
    assert patches.running()[:2] == (info.minor, info.micro)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ((3, 13, 0, "candidate", 2), "3.13.0rc2"),
        ((3, 14, 0, "alpha", 3), "3.14.0a3"),
        ((3, 8, 20, "final", 0), "3.8.20"),
    ],
)
def test_a_pre_release_runs_as_itself(
    monkeypatch: pytest.MonkeyPatch, info: Tuple[int, int, int, str, int], text: str
) -> None:
    monkeypatch.setattr(patches, "sys", SimpleNamespace(version_info=info))
    assert patches.running() == patches.parsed(text)


@pytest.mark.parametrize("text", ["3.11", "3.11.x", "3.11.2+", "2.7.18", "3.11.2.post1", "3.11.02345", "", "3.11.0c1"])
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        patches.parsed(text)


def test_both_ends_of_a_range_are_in_it_and_no_end_means_every_later_release() -> None:
    ranges = (Range("3.11.0", "3.11.2"), Range("3.11.4", ""))
    inside = [f"3.11.{micro}" for micro in range(100) if patches.hold(ranges, patches.parsed(f"3.11.{micro}"))]
    assert inside == [f"3.11.{micro}" for micro in range(100) if micro != 3]
    assert not patches.hold(ranges, patches.parsed("3.11.0rc1"))
    assert not patches.hold(ranges, patches.parsed("3.12.4"))
    assert patches.hold((), patches.parsed("3.12.4"))
    assert patches.described(ranges) == "3.11.0 to 3.11.2, 3.11.4 or later"
    assert patches.described([Range("3.11.3", "3.11.3")]) == "3.11.3"


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ([("3.11.0", "3.11.2"), ("3.11.3", "")], ""),
        ([("3.12.0", "")], "3.12.0 to  is not a range of Python 3.11"),
        ([("3.11.0", "3.12.2")], "3.11.0 to 3.12.2 is not a range of Python 3.11"),
        ([("3.11.3", "3.11.2")], "the ranges are not in order"),
        ([("3.11.0", "3.11.2"), ("3.11.2", "")], "the ranges are not in order"),
        ([("3.11.4", ""), ("3.11.5", "")], "the ranges are not in order"),
        ([("3.11", "")], "'3.11' is not a release of Python"),
    ],
)
def test_ranges_are_in_order_apart_and_of_one_python(ranges: "list[tuple[str, str]]", why: str) -> None:
    assert patches.problem([Range(*one) for one in ranges], "3.11") == why
