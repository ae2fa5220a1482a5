"""The commands that the documentation names, exactly as it spells them; only the base image is chosen beside them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path
from typing import Dict, Iterator, List, Set

import pytest
import requests

from tests.support import containers
from tests.support.fixtures_docker import ARTIFACT
from tools import platforms

BUILD_BUILDER = (
    "docker build docker/centos7 --target=cfgov-artifact-builder -t ghcr.io/cfpb/cfgov-artifact-builder:latest"
)
BUILD_TESTER = "docker build docker/centos7 --target=cfgov-artifact-tester -t ghcr.io/cfpb/cfgov-artifact-tester:latest"
RUN_TESTER = (
    "docker run -it -v $(pwd):/cfgov:ro -p 8000:80 --env-file docker/centos7/test.env cfgov-artifact-tester:latest"
)
PORT = 8000
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def port_8000() -> Iterator[None]:
    """Hold the one port that the documentation names: one test run at a time, and only while nobody else listens."""
    with (Path(tempfile.gettempdir()) / "cfgov-artifact-port-8000.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", PORT))
            except OSError:
                text = f"port {PORT} is taken on this machine. Stop the server that listens there"
                pytest.fail(text, pytrace=False) if os.environ.get("CI") else pytest.skip(text)
        yield


@pytest.mark.parametrize("builder", ["classic", "BuildKit"])
@pytest.mark.parametrize("command", [BUILD_BUILDER, BUILD_TESTER], ids=["builder", "tester"])
def test_the_documented_build(images: Dict[str, str], platform: platforms.Platform, command: str, builder: str) -> None:
    environ = dict(os.environ, DOCKER_BUILDKIT="1" if builder == "BuildKit" else "0")
    chosen = "" if platform.name == platforms.DEFAULT else f" --build-arg BASE_IMAGE={platform.base_image}"
    # A client without the buildx plugin cannot use BuildKit; Debian's own has it built in.
    program = "docker" if builder == "classic" else _client_with_buildkit()
    words = [program, *shlex.split(command + chosen)[1:]]
    done = subprocess.run(
        words, cwd=containers.ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")


def _client_with_buildkit() -> str:
    for candidate in dict.fromkeys(filter(None, [shutil.which("docker"), "/usr/bin/docker"])):
        environ = dict(os.environ, DOCKER_BUILDKIT="1")
        probe = subprocess.run(
            [candidate, "build", "--help"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if b"--progress" in probe.stdout:
            return candidate
    pytest.skip("no docker client on this machine can use BuildKit. Install docker's buildx plugin")


def test_the_documented_run_serves_the_site_and_outlives_a_changed_window(
    checkout: Path, images: Dict[str, str], port_8000: None, tmp_path: Path
) -> None:
    (tmp_path / "docker").symlink_to(containers.ROOT / "docker")
    shutil.copy2(checkout / ARTIFACT, tmp_path)
    tmp_path.chmod(0o755)
    with Terminal(RUN_TESTER, tmp_path) as terminal:
        _wait_for_answer(terminal)
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        os.kill(terminal.child, signal.SIGWINCH)
        time.sleep(3)
        assert _status() == 200, terminal.output()
        os.write(terminal.master, b"\x03")
        code = terminal.wait(60)
    assert "caught SIGWINCH" not in terminal.output().split("tester: stopping")[0]
    assert "tester: stopping" in terminal.output()
    assert code == 0


def _wait_for_answer(terminal: "Terminal") -> None:
    deadline = time.monotonic() + containers.BOOT_SECONDS
    while _status() != 200:
        assert terminal.running(), terminal.output()
        assert time.monotonic() < deadline, terminal.output()
        time.sleep(0.5)


def _status() -> int:
    with requests.Session() as session:
        session.trust_env = False
        try:
            status: int = session.get(f"http://localhost:{PORT}/", timeout=60).status_code
            return status
        except requests.RequestException:
            return 0


class Terminal:
    """A command line in a terminal of its own, as a person would type it."""

    def __init__(self, command: str, folder: Path) -> None:
        self._text: List[bytes] = []
        self._folder = folder
        self._code: int = -1
        self.child, self.master = pty.fork()
        if self.child == 0:
            os.chdir(folder)
            os.execvp("bash", ["bash", "-c", f"exec {command}"])
        os.set_blocking(self.master, False)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        if self.running():
            os.kill(self.child, signal.SIGKILL)
            self.wait(60)
        os.close(self.master)
        # The documented command names nothing and leaves its container behind.
        for container in _containers_of(self._folder):
            subprocess.run(["docker", "rm", "--force", "--volumes", container], stdout=subprocess.DEVNULL, check=True)

    def running(self) -> bool:
        self._read()
        if self._code < 0:
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code < 0

    def wait(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while self.running():
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)
        return self._code

    def output(self) -> str:
        self._read()
        return COLOURS.sub("", b"".join(self._text).decode("utf-8", "replace"))

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.master, 65536)
            except (BlockingIOError, OSError):
                return
            if not chunk:
                return
            self._text.append(chunk)


def _containers_of(folder: Path) -> Set[str]:
    """Return the containers that *folder* is mounted in: other tests' are none of ours."""
    command = ["docker", "ps", "--all", "--quiet", "--filter", f"volume={folder}"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return set(listed.stdout.decode("ascii").split())
