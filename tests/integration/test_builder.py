"""The artifact that the builder image makes: complete, for its platform, the same again, owned by who asked for it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from deployable_zipfile.artifact import layout
from tests.support import containers
from tests.support.fixtures_docker import ARTIFACT, build_artifact, clone
from tools import containers as host
from tools import platforms

OWNER = 4321  # a user that neither the image nor this machine knows


@pytest.fixture(scope="module")
def cache(engine: containers.Engine) -> str:
    """Return a volume that the builds of this module keep their downloads in."""
    return engine.volume()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone that belongs to somebody else, as on most developers' machines."""
    folder = clone(tmp_path_factory.mktemp("checkout"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        _chown(folder, OWNER)
    return folder


@pytest.fixture(scope="module")
def artifact(images: Dict[str, str], checkout: Path, cache: str) -> Path:
    return build_artifact(images["builder"], checkout, volume=cache)


@pytest.fixture(scope="module")
def manifest(artifact: Path) -> Dict[str, Any]:
    with zipfile.ZipFile(artifact) as archive:
        return dict(json.loads(archive.read(".deploy/manifest.json")))


def _git(checkout: Path, *words: str) -> str:
    # The checkout is another user's.
    trust = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    done = subprocess.run(
        ["git", *words], cwd=checkout, env=dict(os.environ, **trust), check=True, stdout=subprocess.PIPE
    )
    return done.stdout.decode("utf-8")


def _chown(folder: Path, owner: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner, owner, follow_symlinks=False)


def test_the_members_are_the_tools_the_wheels_and_every_tracked_file_and_nothing_else(
    artifact: Path, checkout: Path, manifest: Dict[str, Any]
) -> None:
    expected = set(_git(checkout, "ls-files", "-z", "cfgov").split("\0")) - {""}
    expected = {name for name in expected if not name.startswith("cfgov/deployable_zipfile/")}
    with zipfile.ZipFile(artifact) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert {name for name in names if name.startswith("cfgov/")} == expected
    known = r"__main__\.py|install_wheels\.py|loadenv\.py|loadenv-init\.pth|cfgov\.pth|cfgov/.+|static\.in/\d+/.+"
    known += r"|wheels/[^/]+\.whl|bootstrap_wheels/[^/]+\.whl|\.deploy/.+"
    assert [name for name in names if not re.fullmatch(known, name)] == []
    planned = {wheel["file"] for target in manifest["targets"] for wheel in target["wheels"] + target["bootstrap"]}
    assert {name for name in names if name.endswith(".whl")} == planned
    archives = [name for name in names if layout.is_wheel(name) or name.startswith(f"{layout.BYTECODE}/")]
    indexes = {name for name in names if layout.is_index(name)}
    assert {layout.index_of(name) for name in planned} < indexes <= {layout.index_of(name) for name in archives}


def test_it_is_for_the_platforms_python_and_no_newer_glibc(
    artifact: Path, platform: platforms.Platform, manifest: Dict[str, Any]
) -> None:
    (target,) = manifest["targets"]
    assert target["python"] == platform.python_version
    assert _version(target["libc_floor"]) <= _version(platform.glibc)
    needed = max(_needed_glibc(artifact))
    assert (2, 2) < needed <= _version(platform.glibc)


def test_no_path_of_the_builder_and_no_setting_of_its_network_is_in_the_artifact(artifact: Path) -> None:
    settings = host.host_settings(os.environ)
    hidden = [host.BUNDLE_INSIDE, host.CACHE_INSIDE]
    hidden += [value for name, value in settings.environment.items() if "://" in value]
    with zipfile.ZipFile(artifact) as archive:
        ours = [name for name in archive.namelist() if not name.endswith(".whl")]
        found = [name for name in ours for text in hidden if text.encode() in archive.read(name)]
    assert found == []


def test_nothing_of_this_machines_network_is_in_the_images(engine: containers.Engine, images: Dict[str, str]) -> None:
    values = [value for value in host.host_settings(os.environ).environment.values() if "://" in value]
    for image in images.values():
        told = json.dumps(engine.client.images.get(image).history()) + json.dumps(engine.client.images.get(image).attrs)
        assert [value for value in values if value in told] == []
        assert "PIP_" not in told
        assert "_proxy=" not in told.lower()


def test_the_result_belongs_to_the_owner_of_the_checkout_and_nothing_else_was_left(
    artifact: Path, checkout: Path
) -> None:
    owner = checkout.stat().st_uid
    for path in (artifact, checkout / f"{ARTIFACT}.sha256"):
        assert path.stat().st_uid == owner
    assert artifact.stat().st_mode & 0o777 == 0o755
    left = _git(checkout, "status", "--porcelain", "--ignored").splitlines()
    assert sorted(left) == [f"!! {ARTIFACT}", f"!! {ARTIFACT}.sha256"]


def test_the_checksum_beside_it_is_right(artifact: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--status", f"{ARTIFACT}.sha256"], cwd=artifact.parent, check=True)


def test_a_second_build_without_network_gives_the_same_bytes(
    engine: containers.Engine, images: Dict[str, str], artifact: Path, checkout: Path, cache: str
) -> None:
    first = _sha256(artifact)
    artifact.unlink()
    container = engine.start(
        images["builder"],
        network_mode="none",
        volumes={
            str(checkout): {"bind": "/cfgov", "mode": "rw"},
            cache: {"bind": host.CACHE_INSIDE, "mode": "rw"},
        },
    )
    ended = containers.wait_exit(container, 300)
    assert ended.code == 0, ended.output
    assert _sha256(artifact) == first


def test_the_artifact_built_without_the_image_on_the_same_system_is_the_same(
    engine: containers.Engine, images: Dict[str, str], artifact: Path, checkout: Path, tmp_path: Path
) -> None:
    """Built by hand in a shell of the plain system: another folder, user and virtualenv, and no entry point."""
    elsewhere = tmp_path / "elsewhere"
    subprocess.run(["cp", "--archive", str(checkout), str(elsewhere)], check=True)
    (elsewhere / ARTIFACT).unlink(missing_ok=True)
    (elsewhere / f"{ARTIFACT}.sha256").unlink(missing_ok=True)
    tmp_path.chmod(0o755)
    script = """
        . /platform.sh; platform_enable $(platform_get enable_scripts); platform_trust
        "$(platform_get python)" -m venv /tmp/tools
        /tmp/tools/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
        git config --global --add safe.directory '*'
        umask 077; export TZ=Asia/Tokyo LC_ALL=C PYTHONHASHSEED=7 PYTHONDONTWRITEBYTECODE=1
        create=cfgov/deployable_zipfile/create.py
        exec /tmp/tools/bin/python $create cfgov requirements/deployment.txt cfgov_current_build \
            --extra-static static.in/cfgov-fonts --shebang "$(platform_get shebang)"
    """
    settings = host.host_settings(os.environ)
    command = containers.run_words(settings, f"{elsewhere}:/other/place")
    command += ["--workdir", "/other/place", "--entrypoint", "bash", images["builder"], "-e", "-c", script]
    done = containers.docker_command(command, environ=settings.environment)
    assert done.code == 0, done.output
    assert _sha256(elsewhere / ARTIFACT) == _sha256(artifact), _difference(elsewhere / ARTIFACT, artifact)


def test_a_container_that_was_started_as_the_checkouts_owner_builds_too(
    images: Dict[str, str], artifact: Path, checkout: Path
) -> None:
    settings = host.host_settings(os.environ)
    user = f"{checkout.stat().st_uid}:{checkout.stat().st_gid}"
    command = [*containers.RUN_WORDS, "--user", user, *settings.arguments(), "-v", f"{checkout}:/cfgov"]
    done = containers.docker_command([*command, images["builder"], "--help"], environ=settings.environment)
    assert done.code == 0, done.output
    assert "--extra-static" in done.output


def test_the_lock_has_a_wheel_of_every_package_for_centos7(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(tmp_path), "--only-binary", ":all:"]
    command += ["--platform", "manylinux2014_x86_64", "--python-version", "3.8", "--implementation", "cp"]
    command += ["--abi", "cp38", "--abi", "abi3", "--abi", "none"]
    lock = containers.ROOT / "requirements" / "deployment.txt"
    done = subprocess.run(
        [*command, "--require-hashes", "--no-deps", "-r", str(_for_centos7(lock, tmp_path))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
    assert len(list(tmp_path.glob("*.whl"))) > 20


def _for_centos7(lock: Path, folder: Path) -> Path:
    """Write the lines of *lock* that hold on Python 3.8 of Linux: pip judges markers by the Python that runs it."""
    from packaging.requirements import Requirement

    environment = {
        "python_version": "3.8",
        "python_full_version": "3.8.13",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
    }
    kept = []
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for entry in re.sub(r"\\\n\s*", " ", text).splitlines():
        words, _, hashes = entry.partition(" --hash")
        requirement = Requirement(words.strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            requirement.marker = None
            kept.append(f"{requirement} --hash{hashes}")
    path = folder / "centos7.txt"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return path


def _needed_glibc(artifact: Path) -> List[Tuple[int, ...]]:
    versions = []
    with zipfile.ZipFile(artifact) as archive:
        for name in archive.namelist():
            if name.endswith(".whl"):
                with zipfile.ZipFile(io.BytesIO(archive.read(name))) as wheel:
                    versions += [version for inner in wheel.namelist() for version in _glibc_of(wheel, inner)]
    return versions


def _glibc_of(wheel: zipfile.ZipFile, name: str) -> List[Tuple[int, ...]]:
    if ".so" not in name:
        return []
    data = wheel.read(name)
    if not data.startswith(b"\x7fELF"):
        return []
    found = []
    for section in ELFFile(io.BytesIO(data)).iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, needed in section.iter_versions():
                found += [_version(one.name[6:]) for one in needed if one.name.startswith("GLIBC_2")]
    return found


def _version(text: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")) if text else ()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _difference(one: Path, other: Path) -> str:
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        left = {info.filename: info.CRC for info in first.infolist()}
        right = {info.filename: info.CRC for info in second.infolist()}
    return "members that differ: " + ", ".join(
        sorted(name for name in set(left) | set(right) if left.get(name) != right.get(name))
    )
