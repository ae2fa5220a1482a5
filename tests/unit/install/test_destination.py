"""The folder to install into: how its path may be written, and what it may hold."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.errors import DestinationError
from deployable_zipfile.install.destination import filled_problem, normal_destination


def test_an_empty_destination_is_fine_and_an_unreadable_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filled_problem(str(tmp_path)) is None
    assert filled_problem(str(tmp_path / "absent")) is None

    def refused(_: str) -> List[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refused)
    assert str(filled_problem(str(tmp_path))) == (
        f"{tmp_path}: cannot be read (Permission denied). Check its permissions."
    )


def test_a_relative_destination_in_a_folder_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(DestinationError, match="relative to a current folder that cannot be read"):
        normal_destination("dest")
    assert normal_destination(str(tmp_path / "dest")) == str(tmp_path / "dest")


def test_a_name_that_this_python_misread_gets_the_right_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    with pytest.raises(DestinationError, match="Set PYTHONUTF8=1"):
        normal_destination("/srv/\udcc3\udca9")
