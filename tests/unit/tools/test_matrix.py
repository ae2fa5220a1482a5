"""The matrices of the workflows are the table of platforms and the noxfile, not a copy of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List

import pytest

from tools import matrix, platforms


def output(command: List[str], folder: Path) -> Any:
    assert matrix.main([*command, "--output", str(folder / "output")]) == 0
    return (folder / "output").read_text("utf-8").rstrip("\n").split("=", 1)


def test_every_platform_of_the_table_has_its_base_and_its_prefix(tmp_path: Path) -> None:
    name, value = output(["platforms"], tmp_path)
    rows = {row["platform"]: row for row in json.loads(value)}

    assert name == "platforms"
    assert {key: row["base"] for key, row in rows.items()} == {
        key: platform.base_image for key, platform in platforms.read().items()
    }
    assert rows["centos7"]["prefix"] == ""
    assert rows["el9"]["prefix"] == "el9-"
    assert {key for key, row in rows.items() if row["required"]} == {"centos7", "debian12"}


@pytest.mark.parametrize(("platform", "python"), [("centos7", "3.8"), ("el9", "3.11"), ("el10", "3.12")])
def test_the_python_of_a_platform_is_the_one_of_the_table(platform: str, python: str, tmp_path: Path) -> None:
    assert output(["platform", "--platform", platform], tmp_path) == ["python", python]
