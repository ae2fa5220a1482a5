"""What of this machine's network a container is given, and what never leaves it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict

import pytest

from tools import containers, images


@pytest.fixture
def environ(tmp_path: Path) -> Dict[str, str]:
    """Return an environment in which pip finds no configuration file."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}


def test_a_machine_with_nothing_special_gives_nothing(environ: Dict[str, str]) -> None:
    assert containers.host_settings(environ) == containers.Settings({}, {})


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no pip, which has nothing to say here and takes long for that."""
    monkeypatch.setattr(containers, "pip_settings", lambda _: {})


@pytest.mark.usefixtures("no_pip")
def test_proxies_are_given_in_the_spelling_they_have(environ: Dict[str, str]) -> None:
    environ.update(HTTPS_PROXY="http://proxy.example:3128", no_proxy="localhost", HTTP_PROXY="")
    settings = containers.host_settings(environ)
    assert settings.environment == {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "localhost"}


def test_the_package_index_is_given_and_folders_of_this_machine_are_not(environ: Dict[str, str]) -> None:
    environ.update(
        PIP_INDEX_URL="https://user:secret@index.example/simple",
        PIP_EXTRA_INDEX_URL="file:///srv/simple https://other.example/simple",
        PIP_FIND_LINKS="/srv/wheels",
        PIP_NO_COLOR="1",
    )
    assert containers.host_settings(environ).environment == {
        "PIP_INDEX_URL": "https://user:secret@index.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://other.example/simple",
    }


def test_settings_in_pips_own_file_count_too(environ: Dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("[global]\nindex-url = https://index.example/simple\n", encoding="utf-8")
    environ["PIP_CONFIG_FILE"] = str(path)
    # Files of the whole machine are read as well, so nothing is said of other settings.
    assert containers.host_settings(environ).environment["PIP_INDEX_URL"] == "https://index.example/simple"


@pytest.mark.usefixtures("no_pip")
def test_a_private_bundle_of_certificates_is_mounted_where_pip_looks(environ: Dict[str, str], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates", encoding="ascii")
    settings = containers.host_settings(dict(environ, REQUESTS_CA_BUNDLE=str(bundle)))
    assert settings.mounts == {str(bundle.resolve()): containers.BUNDLE_INSIDE}
    assert settings.environment["PIP_CERT"] == containers.BUNDLE_INSIDE
    assert f"{bundle.resolve()}:{containers.BUNDLE_INSIDE}:ro" in settings.arguments()


def test_no_value_is_on_a_command_line(environ: Dict[str, str]) -> None:
    environ.update(HTTPS_PROXY="http://user:secret@proxy.example", PIP_INDEX_URL="https://user:secret@index.example")
    run = containers.host_settings(environ).arguments()
    build = images.command("builder", "debian:bookworm", images.names("builder"), environ)
    assert "secret" not in " ".join(run + build)
    assert run == ["--env", "HTTPS_PROXY", "--env", "PIP_INDEX_URL"]
    assert build[-2:] == ["--build-arg", "HTTPS_PROXY"]


def test_an_image_is_built_as_documented_under_both_its_names() -> None:
    command = images.command("tester", "centos:7", images.names("tester"), {})
    assert command == [
        "docker",
        "build",
        "docker/centos7",
        "--target=cfgov-artifact-tester",
        "-t",
        "ghcr.io/cfpb/cfgov-artifact-tester:latest",
        "-t",
        "cfgov-artifact-tester:latest",
        "--build-arg",
        "BASE_IMAGE=centos:7",
    ]
