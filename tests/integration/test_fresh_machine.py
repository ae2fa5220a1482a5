"""The README on a machine that has git, Python's venv module and pipx, and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import List

import pytest

from tests.support import containers
from tests.support.documentation import ROOT, blocks
from tools import assets, platforms
from tools import containers as host

# The second command takes minutes; here it collects all unit tests and runs a part of them.
NARROWED = {
    "nox": "nox -l && nox -s unit-3.11 -- tests/unit --collect-only --quiet"
    " && nox -s unit-3.11 -- tests/unit/tools tests/unit/artifact/test_layout.py"
}

PREPARE = (
    "apt-get update -qq"
    " && apt-get install -yqq --no-install-recommends git python3-venv pipx ca-certificates >/dev/null"
    " && pipx install nox && export PATH=$PATH:~/.local/bin"
)
CLONE = "git config --global --add safe.directory '*' && git clone --quiet /checkout ~/site && cd ~/site"
INSTALL = "env -i /usr/bin/python3 -I -S cfgov_current_build.zip -d '/srv/my site'"
CHECK = "sha256sum --check cfgov_current_build.zip.sha256 && cd '/srv/my site' && ls -A && venv/bin/python -m pip check"


def readme_commands() -> List[str]:
    """Return the two commands of the README."""
    block = next(block for block in blocks("README.md") if "nox -s build" in block.commands)
    return [NARROWED.get(command, command) for command in block.commands]


def test_the_two_commands_of_the_readme_work_where_only_git_and_nox_are_installed(
    engine: containers.Engine, tmp_path: Path
) -> None:
    image = platforms.read()["debian12"].base_image
    if subprocess.run(["docker", "image", "inspect", image], stdout=subprocess.DEVNULL, check=False).returncode:
        pytest.skip(f"no image {image}. Make or pull it, on Debian with .ci/engine")
    clone = assets.clean_clone(ROOT, tmp_path / "clone")
    settings = host.host_settings(os.environ)
    script = " && ".join([PREPARE, CLONE, *readme_commands(), INSTALL, CHECK])
    command = ["docker", *containers.RUN_WORDS, *settings.arguments(), "-v", f"{clone}:/checkout:ro"]

    done = subprocess.run(
        [*command, image, "bash", "-ec", script],
        env={**os.environ, **settings.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )

    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said
    assert "build: on this machine, because docker is not installed" in said
    assert "cfgov_current_build.zip: OK" in said
    assert "No broken requirements found" in said
