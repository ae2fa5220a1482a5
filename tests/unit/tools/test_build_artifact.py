"""The way to build is chosen by what is at hand, and said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import build_artifact, platforms

ENGINE = """#!/bin/sh
echo "$@" >> "{log}"
case "$1" in info) exit {info} ;; image) exit {image} ;; esac
"""


@pytest.fixture(name="engine")
def _engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Engine":
    return Engine(tmp_path, monkeypatch)


class Engine:
    """A docker command that answers as told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._monkeypatch = folder, monkeypatch
        monkeypatch.setenv("PATH", str(folder / "nothing"))

    def answer(self, info: int = 0, image: int = 0) -> None:
        command = self._folder / "docker"
        command.write_text(ENGINE.format(info=info, image=image, log=self._folder / "log"), encoding="utf-8")
        command.chmod(0o755)
        self._monkeypatch.setenv("PATH", f"{self._folder}:/usr/bin:/bin")


def test_without_docker_it_builds_here_and_says_why(engine: Engine) -> None:
    way = build_artifact.choose(False, None, ["--quiet"])

    assert way.reason == "on this machine, because docker is not installed"
    assert way.command[:2] == [sys.executable, "cfgov/deployable_zipfile/create.py"]
    assert way.command[2:5] == ["cfgov", "requirements/deployment.txt", "cfgov_current_build"]
    assert way.command[-1] == "--quiet"


@pytest.mark.parametrize(("name", "line"), [("el9", "#!/usr/bin/env python3"), ("centos7", "#!/usr/bin/env python")])
def test_it_packs_the_icons_and_writes_the_first_line_of_the_system(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    row = platforms.read()[name]
    monkeypatch.setattr(platforms, "of_system", lambda: row)

    options = build_artifact.native_command(["--shebang", "#!/usr/bin/env python3.11"])[5:]

    assert options[:4] == ["--extra-static", "static.in/cfgov-fonts", "--shebang", line]
    assert options[-1].endswith("python3.11"), "the caller's own comes last, so it wins"
    assert (build_artifact.ROOT / options[1]).is_dir()


def test_on_a_system_that_the_table_does_not_know_the_first_line_is_the_tools_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms, "of_system", lambda: None)

    assert "--shebang" not in build_artifact.native_command([])


def test_a_client_without_an_engine_is_not_enough(engine: Engine) -> None:
    engine.answer(info=1)

    assert build_artifact.choose(False, None, []).reason == "on this machine, because no Docker engine answers"


def test_without_the_image_it_says_how_to_make_it(engine: Engine) -> None:
    engine.answer(image=1)

    reason = build_artifact.choose(False, None, []).reason

    assert reason.startswith(
        "on this machine, because the engine has no image ghcr.io/cfpb/cfgov-artifact-builder:latest"
    )
    assert "nox -s images" in reason


def test_with_the_image_it_runs_the_documented_command(engine: Engine) -> None:
    engine.answer()

    way = build_artifact.choose(False, None, ["--quiet"])

    assert way.reason == f"in the image {build_artifact.IMAGE}"
    assert way.command[:2] == ["docker", "run"]
    assert way.command[-4:] == ["-v", f"{build_artifact.ROOT}:/cfgov", build_artifact.IMAGE, "--quiet"]


def test_native_wins_over_an_image_that_is_at_hand(engine: Engine) -> None:
    engine.answer()

    assert build_artifact.choose(True, None, []).reason == "on this machine, because --native was given"


def test_an_image_that_was_asked_for_is_never_replaced_by_this_machine(engine: Engine) -> None:
    way = build_artifact.choose(False, "mine:1", [])

    assert way.command[0] == "docker"
    assert "mine:1" in way.command


def test_both_wishes_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_artifact.main(["--native", "--image", "mine:1"])

    assert caught.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
