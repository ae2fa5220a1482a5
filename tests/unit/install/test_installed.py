"""The record of an installation: what is one, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployable_zipfile.artifact import layout
from deployable_zipfile.install import installed


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"\xff", b"[]", b"{}", b'{"build_id": 1}', b"[" * 100_000],
)
def test_a_broken_record_is_no_installation(record: bytes, tmp_path: Path) -> None:
    (tmp_path / ".deploy").mkdir()
    (tmp_path / layout.INSTALLED).write_bytes(record)
    assert installed.read(str(tmp_path)) == {}


def test_a_pipe_in_place_of_the_record_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / ".deploy").mkdir()
    os.mkfifo(str(tmp_path / layout.INSTALLED))
    assert installed.read(str(tmp_path)) == {}
