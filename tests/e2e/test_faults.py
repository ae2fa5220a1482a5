"""What goes wrong is said at once, in one line that tells what to do."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

import pytest

from tests.support import containers
from tests.support.artifacts import make_artifact, make_target
from tests.support.fixtures_docker import ARTIFACT, clone, evidence
from tools import platforms

__all__ = ["evidence"]

LIMIT = 60.0  # seconds from start to end; usual are 3, on a busy machine several times that
ERROR = re.compile(r"error: [^:]+: .+\. .+")

Fail = Callable[..., containers.Finished]


@pytest.fixture
def fail(engine: containers.Engine, images: Dict[str, str], evidence: Callable[[Any], None]) -> Fail:
    """Return a function that starts the tester on a folder and expects it to end by itself in time, with an error."""

    def start(folder: Path, env: Sequence[str] = (), **options: Any) -> containers.Finished:
        folder.chmod(0o755)
        tester = containers.start_tester(engine, folder, image=images["tester"], env=env, **options)
        evidence(tester.container)
        ended = containers.wait_exit(tester.container, LIMIT)
        assert ended.code not in (0, 137)
        return ended

    return start


def the_error(ended: containers.Finished) -> str:
    """Return the one line of *ended* that is ours; it is the last."""
    lines = ended.output.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, ended.output
    assert lines[-1] == errors[0], ended.output
    assert ERROR.match(errors[0])
    return errors[0]


@pytest.fixture
def small(tmp_path: Path, platform: platforms.Platform) -> Callable[..., Path]:
    """Return a function that makes a folder with a small artifact for a Python, its WSGI module as given."""

    def make(wsgi: str = "application = None\n", python: str = "") -> Path:
        apache = containers.ROOT / "cfgov" / "apache"
        files: Dict[str, Any] = {
            f"apache/{path.relative_to(apache)}": path.read_bytes() for path in apache.rglob("*") if path.is_file()
        }
        files.update({"cfgov/__init__.py": "", "cfgov/wsgi.py": wsgi})
        version = python or platform.python_version
        target = make_target([], None, False)._replace(python=version, abi="cp" + version.replace(".", ""))
        make_artifact(tmp_path / ARTIFACT, files, name="cfgov", bytecode=False, targets=[target])
        return tmp_path

    return make


def test_a_missing_artifact(fail: Fail, tmp_path: Path) -> None:
    ended = fail(tmp_path)
    assert "cfgov_current_build.zip: is missing" in the_error(ended)
    assert "nox -s build" in the_error(ended)
    assert ended.code == 3


def test_a_folder_in_the_artifacts_place(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / ARTIFACT).mkdir()
    ended = fail(tmp_path)
    assert "is not a file" in the_error(ended)
    assert ended.code == 3


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_artifact(fail: Fail, checkout: Path, tmp_path: Path, share: float) -> None:
    whole = (checkout / ARTIFACT).stat().st_size
    shutil.copy2(checkout / ARTIFACT, tmp_path)
    os.truncate(tmp_path / ARTIFACT, int(whole * share))
    ended = fail(tmp_path)
    assert "is not a complete artifact" in the_error(ended)
    assert ended.code == 3


def test_an_artifact_with_one_byte_changed(fail: Fail, checkout: Path, tmp_path: Path) -> None:
    shutil.copy2(checkout / ARTIFACT, tmp_path)
    with (tmp_path / ARTIFACT).open("r+b") as stream:
        stream.seek(stream.seek(0, os.SEEK_END) // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 0x55]))
    ended = fail(tmp_path)
    assert the_error(ended)
    assert ended.code == 3


def test_an_artifact_for_another_python(fail: Fail, small: Callable[..., Path], platform: platforms.Platform) -> None:
    ended = fail(small(python="3.13"))
    assert f"is built for Python 3.13, this image has {platform.python_version}. " in the_error(ended)
    assert "the builder image of the same platform" in the_error(ended)
    assert ended.code == 4


def test_an_application_that_fails_when_it_is_imported(fail: Fail, small: Callable[..., Path]) -> None:
    ended = fail(small("raise RuntimeError('no luck today')\n"))
    assert the_error(ended).startswith("error: cfgov.wsgi: failed with RuntimeError: no luck today. ")
    assert "Traceback" in ended.output


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
        ({"ALLOWED_HOSTS": "everybody"}, "ALLOWED_HOSTS"),
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"DJANGO_SETTINGS_MODULE": "no.such.settings"}, "no"),
        ({"CFGOV_PATH": "srv/cfgov"}, "CFGOV_PATH: must be an absolute path"),
        ({"STATIC_PATH": "static"}, "STATIC_PATH: must be an absolute path"),
        ({"CFGOV_PATH": "/etc/passwd"}, "CFGOV_PATH: /etc/passwd is not a folder"),
        ({"APACHE_USER": "nobody-of-that-name"}, "APACHE_USER"),
        ({"CFGOV_CURRENT": ""}, "CFGOV_CURRENT"),
        ({"APACHE_GROUP": "nobody-of-that-name"}, "APACHE_GROUP"),
        ({"APACHE_PORT": "eighty"}, "APACHE_PORT: must be an integer from 1 to 65535"),
        ({"APACHE_PORT": "65536"}, "APACHE_PORT: must be an integer from 1 to 65535"),
        ({"APACHE_PROCESS_COUNT": "many"}, "APACHE_PROCESS_COUNT: must be an integer from 1 to 1000"),
        ({"ERROR_LOG": "/var/log/nowhere/error.log"}, "ERROR_LOG: /var/log/nowhere is not a folder"),
        ({"ACCESS_LOG": "/etc/passwd/access.log"}, "ACCESS_LOG: /etc/passwd is not a folder"),
        ({"LIMIT_REQUEST_BODY": "-1"}, "LIMIT_REQUEST_BODY: must be an integer"),
        ({"DATABASE_URL": "sqlite:////srv/cfgov/current/test.sqlite"}, "Name a path below /srv/cfgov/data"),
        ({"MEDIA_ROOT": "/srv/cfgov/current/media"}, "Name a path below /srv/cfgov/data"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_bad_setting(fail: Fail, checkout: Path, change: Dict[str, str], named: str) -> None:
    ended = fail(checkout, containers.test_environment(**change))
    assert named in the_error(ended)
    assert ".. " not in the_error(ended)
    for value in change.values():
        assert not value or "SECRET" not in named or value not in ended.output


@pytest.mark.parametrize("name", ["APACHE_STATUS_ALLOW_FROM"])
def test_a_setting_that_the_web_server_refuses(fail: Fail, small: Callable[..., Path], name: str) -> None:
    ended = fail(small(), containers.test_environment(**{name: "999.1.1.1"}))
    assert "httpd.conf: was refused" in the_error(ended)
    assert ended.code == 2


def test_a_tester_that_is_not_started_as_root(fail: Fail, checkout: Path) -> None:
    ended = fail(checkout, user="1000")
    assert the_error(ended).startswith("error: user 1000: cannot install the site. Remove --user")
    assert ended.code == 4


def test_a_tester_that_cannot_write_says_what_to_mount(fail: Fail, checkout: Path) -> None:
    ended = fail(checkout, read_only=True, tmpfs={"/tmp": ""})
    assert the_error(ended).startswith("error: /srv/cfgov: cannot be written. With --read-only add --tmpfs /srv/cfgov")
    assert ended.code == 5


def test_a_builder_of_another_user_than_the_checkouts(
    engine: containers.Engine, images: Dict[str, str], tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    mount = {str(clone(tmp_path)): {"bind": "/cfgov", "mode": "rw"}}
    container = engine.start(images["builder"], volumes=mount, user="1234")
    ended = containers.wait_exit(container, LIMIT)
    assert the_error(ended).startswith("error: /cfgov: cannot be written by user 1234. It belongs to user ")
    assert ended.code == 7


def test_a_builder_without_a_folder_for_temporary_files(
    engine: containers.Engine, images: Dict[str, str], tmp_path: Path
) -> None:
    mount = {str(clone(tmp_path)): {"bind": "/cfgov", "mode": "rw"}}
    ended = containers.wait_exit(engine.start(images["builder"], volumes=mount, read_only=True), LIMIT)
    assert the_error(ended) == ("error: /tmp: cannot be written. With --read-only add --tmpfs /tmp:exec to docker run")
    assert ended.code == 7


def test_a_container_without_test_env(fail: Fail, checkout: Path) -> None:
    ended = fail(checkout, ["UNRELATED=1"])
    assert "--env-file docker/centos7/test.env" in the_error(ended)
    assert ended.code == 2


def test_a_port_that_is_taken_in_the_containers_own_network(
    engine: containers.Engine, images: Dict[str, str], fail: Fail, checkout: Path, evidence: Callable[[Any], None]
) -> None:
    listen = "import socket, time; held = socket.create_server(('', 80)); print('up', flush=True); time.sleep(600)"
    holder = engine.start(images["tester"], entrypoint=["bash", "-c"], command=[_python(listen)])
    evidence(holder)
    deadline = time.monotonic() + LIMIT
    while "up" not in containers.logs(holder):
        assert time.monotonic() < deadline, containers.logs(holder)
        time.sleep(0.1)
    ended = fail(checkout, network_mode=f"container:{holder.id}")
    assert "port 80 cannot be listened on" in the_error(ended)


def _python(code: str) -> str:
    return f'. /platform.sh; platform_enable $(platform_get enable_scripts); exec "$(platform_get python)" -c "{code}"'


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_port_that_is_taken_on_this_machine(images: Dict[str, str], checkout: Path, taken_port: int) -> None:
    name = f"{containers.LABEL}-port-{os.getpid()}"
    command = [
        "run",
        "--rm",
        "--name",
        name,
        "--label",
        f"{containers.LABEL}={containers.RUN}",
        "-v",
        f"{checkout}:/cfgov:ro",
    ]
    command += ["-p", f"127.0.0.1:{taken_port}:80", "--env-file", "docker/centos7/test.env", images["tester"]]
    try:
        ended = containers.docker_command(command)
    finally:
        containers.docker_command(["rm", "--force", name])
    assert ended.code == 125
    assert ended.seconds < LIMIT
    assert "address already in use" in ended.output or "port is already allocated" in ended.output


def test_a_builder_without_its_mount(engine: containers.Engine, images: Dict[str, str], tmp_path: Path) -> None:
    for volumes in ({}, {str(tmp_path): {"bind": "/cfgov", "mode": "rw"}}):
        container = engine.start(images["builder"], volumes=volumes)
        ended = containers.wait_exit(container, LIMIT)
        assert "Did you forget to mount the Docker volume?" in the_error(ended)
        assert ended.code == 7


def _sessions() -> List[List[str]]:
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--platform", "debian12"]
    return [
        [*pytest_command, "tests/e2e/test_faults.py::test_a_missing_artifact"],
        [sys.executable, "-m", "tools.images", "--platform", "debian12"],
    ]


@pytest.mark.parametrize("command", _sessions(), ids=["e2e", "images"])
def test_an_engine_that_does_not_answer(command: List[str], tmp_path: Path) -> None:
    environ = dict(os.environ, DOCKER_HOST=f"unix://{tmp_path}/nobody.sock", REQUIRE_DOCKER="1")
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=containers.ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * LIMIT
    )
    output = done.stdout.decode("utf-8", "replace")
    assert done.returncode != 0
    assert time.monotonic() - began < LIMIT
    assert "no Docker engine answers" in output
    assert "Traceback" not in output
