"""Containers for tests: labelled, watched while they start, explained when they fail, removed for certain."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import requests
from docker.errors import APIError, NotFound
from docker.models.containers import Container

import docker
from tools import containers as host

ROOT = Path(__file__).resolve().parents[2]
LABEL = "cfgov-artifact-test"
RUN = uuid.uuid4().hex[:12]  # of this process: the label's value on everything that it starts
LEFTOVER_AGE = 24 * 3600  # seconds: younger containers may belong to a test run that goes on beside this one
SECOND = 10**9  # the engine counts in nanoseconds
BOOT_SECONDS = 300.0  # seconds; usual are 15, on a busy machine several times that
# Words of a `docker run` in a test, whose container must go like every other.
RUN_WORDS = ("run", "--rm", "--label", f"{LABEL}={RUN}")
TESTER, BUILDER = "cfgov-artifact-tester:latest", "cfgov-artifact-builder:latest"
SECRET_NAMES = re.compile(r"SECRET|PASSWORD|TOKEN|DATABASE_URL", re.IGNORECASE)


class ContainerFailed(AssertionError):
    """A container that should run does not; the message holds everything that it left behind."""


class Engine:
    """The Docker engine, and what this test run has started on it.

    Raises:
        docker.errors.DockerException: no engine answers.
    """

    def __init__(self) -> None:
        self.client = docker.from_env(timeout=120)

    def start(self, image: str, **options: Any) -> Container:
        """Create and start a container. *options* are the SDK's; label and name are added.

        A container that cannot start is removed before its error goes on.
        """
        options.setdefault("name", f"{LABEL}-{uuid.uuid4().hex[:12]}")
        container = self.client.containers.create(image, labels={LABEL: RUN}, **options)
        try:
            container.start()
        except BaseException:
            container.remove(force=True, v=True)
            raise
        return container

    def volume(self) -> str:
        """Make an empty named volume and return its name."""
        return str(self.client.volumes.create(f"{LABEL}-{uuid.uuid4().hex[:12]}", labels={LABEL: RUN}).name)

    def sweep(self) -> None:
        """Remove what a test run left behind that was killed before it could, more than a day ago."""
        for container in self.client.containers.list(all=True, filters={"label": LABEL}):
            created = container.attrs["Created"].split(".")[0].rstrip("Z")
            if time.time() - _epoch(created) > LEFTOVER_AGE:
                container.remove(force=True, v=True)

    def close(self) -> None:
        """Remove everything that carries this run's label, then close the connection."""
        mine = {"label": f"{LABEL}={RUN}"}
        try:
            for container in self.client.containers.list(all=True, filters=mine):
                container.remove(force=True, v=True)
            for volume in self.client.volumes.list(filters=mine):
                volume.remove(force=True)
        finally:
            self.client.close()


class Finished(NamedTuple):
    """How a container, or a command in one, ended."""

    code: int
    output: str  # standard output and standard error
    seconds: float = 0.0


class Tester:
    """A running tester container and its web site."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.session = requests.Session()
        self.session.trust_env = False  # there is no proxy between this machine and itself

    @property
    def address(self) -> str:
        """Return HOST:PORT on this machine."""
        self.container.reload()
        ports = self.container.attrs["NetworkSettings"]["Ports"].get("80/tcp")
        if not ports:
            raise ContainerFailed(explain(self.container, "publishes no port"))
        return f"127.0.0.1:{ports[0]['HostPort']}"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request to the published port and return the answer, redirects not followed."""
        options.setdefault("timeout", 30)
        options.setdefault("allow_redirects", False)
        return self.session.request(method, f"http://{self.address}{path}", **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Send a GET request."""
        return self.request("GET", path, **options)

    def run(self, *command: str, user: str = "", check: bool = True) -> Finished:
        """Run *command* inside the container."""
        result = self.container.exec_run(list(command), user=user)
        output = result.output.decode("utf-8", "replace")
        if check and result.exit_code:
            raise ContainerFailed(f"{' '.join(command)} ended with {result.exit_code}:\n{output}")
        return Finished(int(result.exit_code), output)

    def logs(self) -> str:
        """Return standard output and standard error so far."""
        return logs(self.container)

    def wait_for_log(self, text: str, times: int = 1, seconds: float = 30) -> str:
        """Wait until *text* is so many *times* in what it wrote, which arrives after an answer; return all of it.

        Raises:
            ContainerFailed: *seconds* are over.
        """
        deadline = time.monotonic() + seconds
        while True:
            written = self.logs()
            if written.count(text) >= times:
                return written
            if time.monotonic() > deadline:
                raise ContainerFailed(explain(self.container, f"did not write {text!r} in {seconds:.0f} s"))
            time.sleep(0.1)

    def wait_for_request(self, path: str, seconds: float = 60) -> None:
        """Wait until httpd works on a request to *path*, to which no other one went before.

        Raises:
            ContainerFailed: *seconds* are over.
        """
        deadline = time.monotonic() + seconds
        while path not in self.run("curl", "-fs", "http://localhost/__server-status").output:
            if time.monotonic() > deadline:
                raise ContainerFailed(explain(self.container, f"did not begin with {path} in {seconds:.0f} s"))
            time.sleep(0.1)

    def stop(self) -> Finished:
        """Stop the container as ``docker stop`` does and return how it ended."""
        began = time.monotonic()
        self.container.stop(timeout=10)
        seconds = time.monotonic() - began
        return Finished(int(self.container.wait(timeout=30)["StatusCode"]), self.logs(), seconds)

    def close(self) -> None:
        """Remove the container and what it stored."""
        self.session.close()
        remove(self.container)


def test_environment(**changes: str) -> List[str]:
    """Return the lines of ``docker/centos7/test.env`` as the engine would take them, with *changes*.

    The Python SDK reads no --env-file, so this does what the command does: NAME=VALUE lines, values as they stand.
    """
    lines = (ROOT / "docker/centos7/test.env").read_text(encoding="utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    variables.update(changes)
    return [f"{name}={value}" for name, value in variables.items()]


test_environment.__test__ = False  # type: ignore[attr-defined]  # its name is the file's, it is not a test


def start_tester(
    engine: Engine, checkout: Path, *, image: str = TESTER, env: Sequence[str] = (), **options: Any
) -> Tester:
    """Start the tester on the artifact in *checkout*, published on a free port of 127.0.0.1; do not wait."""
    if "network_mode" not in options:
        options.setdefault("ports", {"80/tcp": ("127.0.0.1", None)})
    # In memory: fifteen thousand files are made and removed in no time, whatever this machine's disk.
    options.setdefault("tmpfs", {"/srv/cfgov": "exec,mode=0755,size=2g"})
    container = engine.start(
        image,
        environment=list(env) or test_environment(),
        volumes={str(checkout): {"bind": "/cfgov", "mode": "ro"}},
        # Each check starts a Python, which takes its time from what is tested.
        healthcheck={"interval": 3 * SECOND, "timeout": 20 * SECOND, "start_period": 300 * SECOND},
        **options,
    )
    return Tester(container)


def wait_healthy(container: Container, seconds: float = BOOT_SECONDS) -> float:
    """Wait until the image's own health check passes and return how long that took, in seconds.

    Raises:
        ContainerFailed: it exited, turned unhealthy, has no health check, or the time is over.
    """
    began = time.monotonic()
    while True:
        container.reload()
        state = container.attrs["State"]
        elapsed = time.monotonic() - began
        if state["Status"] in ("exited", "dead"):
            raise ContainerFailed(explain(container, f"exited with code {state['ExitCode']} after {elapsed:.1f} s"))
        health = state.get("Health", {}).get("Status", "none")
        if health == "healthy":
            return elapsed
        if health == "none" and state["Status"] == "running":
            raise ContainerFailed(explain(container, "has no health check"))
        if health == "unhealthy":
            raise ContainerFailed(explain(container, f"turned unhealthy after {elapsed:.1f} s"))
        if elapsed > seconds:
            raise ContainerFailed(explain(container, f"is {health} after {elapsed:.1f} s"))
        time.sleep(0.25)


def wait_exit(container: Container, seconds: float) -> Finished:
    """Wait until *container* ends and return how; within *seconds* or it is a failure."""
    began = time.monotonic()
    try:
        code = container.wait(timeout=seconds)["StatusCode"]
    except (requests.exceptions.RequestException, APIError) as error:
        raise ContainerFailed(explain(container, f"still runs after {seconds:.0f} s")) from error
    return Finished(int(code), logs(container), time.monotonic() - began)


def logs(container: Container) -> str:
    """Return what *container* wrote."""
    return str(container.logs().decode("utf-8", "replace"))


def explain(container: Container, what: str) -> str:
    """Return *what* happened with everything that helps to find out why: health checks, log, processes."""
    container.reload()
    state = container.attrs["State"]
    parts = [f"container {container.name} ({container.attrs['Config']['Image']}) {what}"]
    for check in state.get("Health", {}).get("Log", [])[-3:]:
        parts.append(f"--- health check, exit code {check['ExitCode']}\n{check['Output'].strip()}")
    if state["Status"] == "running":
        processes = container.top()["Processes"] or []
        parts.append("--- processes\n" + "\n".join(" ".join(row) for row in processes))
    parts.append(f"--- log\n{logs(container)}")
    return "\n".join(parts)


def keep_evidence(container: Container, folder: Path) -> None:
    """Write log, state, modules and settings of *container* below *folder*, secret values masked."""
    folder.mkdir(parents=True, exist_ok=True)
    container.reload()
    (folder / "container.log").write_text(logs(container), encoding="utf-8")
    (folder / "state.json").write_text(json.dumps(container.attrs["State"], indent=2), encoding="utf-8")
    if container.attrs["State"]["Status"] != "running":
        return
    commands = {
        "environment.json": ["cat", "/srv/cfgov/current/environment.json"],
        "files.txt": ["find", "/srv/cfgov", "-maxdepth", "3", "-ls"],
    }
    for name, command in commands.items():
        output = container.exec_run(command).output.decode("utf-8", "replace")
        (folder / name).write_text(_masked(output), encoding="utf-8")


def remove(container: Container) -> None:
    """Remove *container* and its volumes; nothing happens when it is gone."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        return


def run_words(settings: host.Settings, volume: str) -> List[str]:
    """Return the beginning of a ``docker run`` that is labelled as ours and has this machine's network settings.

    *volume* is what to mount, as ``FOLDER:PLACE``.
    """
    return ["run", "--rm", "--label", f"{LABEL}={RUN}", *settings.arguments(), "-v", volume]


def docker_command(
    arguments: Sequence[str], *, cwd: Path = ROOT, environ: Optional[Mapping[str, str]] = None
) -> Finished:
    """Run the ``docker`` command of this machine, as the documentation spells it."""
    began = time.monotonic()
    variables = dict(os.environ, **(environ or {}))
    done = subprocess.run(
        ["docker", *arguments],
        cwd=str(cwd),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1200,
    )
    return Finished(done.returncode, done.stdout.decode("utf-8", "replace"), time.monotonic() - began)


def build_image(context: Path, tag: str, *options: str) -> None:
    """Build the image *tag* of the folder *context*, through the proxies of this machine.

    Raises:
        ContainerFailed: the build failed.
    """
    proxies = [part for name in host.proxy_names(os.environ) for part in ("--build-arg", name)]
    check(docker_command(["build", str(context), "-t", tag, *options, *proxies]), f"docker build of {tag}")


def check(done: Finished, what: str) -> None:
    """Raise ContainerFailed unless *done* ended well; *what* names it."""
    if done.code:
        raise ContainerFailed(f"{what} ended with code {done.code}:\n{done.output[-8000:]}")


def variables_of(lines: Sequence[str]) -> Dict[str, str]:
    """Return NAME=VALUE lines as a dict."""
    return dict(line.split("=", 1) for line in lines)


def _masked(text: str) -> str:
    masked = []
    for line in text.splitlines():
        name, separator, _ = line.partition(":")
        masked.append(f"{name}: <masked>" if separator and SECRET_NAMES.search(name) else line)
    return "\n".join(masked) + "\n"


def _epoch(text: str) -> float:
    import calendar

    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S")))
