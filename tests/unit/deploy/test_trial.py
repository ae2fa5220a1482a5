"""The environment of a trial: what of environment.json is replaced before settings are imported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deployable_zipfile.deploy.trial import scratch_environment


@pytest.mark.parametrize(
    "name", ["DATA_DIR", "SHOP_LOG_DIRECTORY", "STATE", "ARA_BASE_DIR", "media_root", "CACHE_PATH"]
)
def test_a_folder_that_settings_may_write_to_is_a_scratch_one(name: str, tmp_path: Path) -> None:
    real, scratch = tmp_path / "real", tmp_path / "scratch"
    real.mkdir()
    scratch.mkdir()
    made = scratch_environment(_environment(tmp_path, {name: str(real)}), scratch)[name]
    assert Path(made).is_dir()
    assert scratch in Path(made).parents


def test_what_only_looks_like_a_folder_to_write_to_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    given = {
        "BASE_PATH": "/a-prefix-of-urls",
        "DATA_PATH": "relative",
        "CACHE": "True",
        "RUN_PATH": str(tmp_path / "file"),
        "GEOIP_PATH": str(tmp_path),
    }
    made = scratch_environment(_environment(tmp_path, given), tmp_path)
    assert {name: made[name] for name in given} == given


def _environment(folder: Path, variables: "dict[str, str]") -> Path:
    path = folder / "environment.json"
    path.write_text(json.dumps(variables))
    path.chmod(0o600)
    return path


def test_the_environment_of_a_trial_may_come_through_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"NAME": "from a pipe"}')
    os.close(writing)
    try:
        assert scratch_environment(Path(f"/proc/self/fd/{reading}"), tmp_path)["NAME"] == "from a pipe"
    finally:
        os.close(reading)
