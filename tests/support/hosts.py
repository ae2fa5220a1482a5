"""Servers in containers, to deploy to: a bare httpd beside its files, and a whole host with systemd and sshd."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List

import requests

from tests.support import containers
from tests.support.production import ROOT, SITE
from tests.support.traffic import MEASURING
from tools.platforms import Platform

PID_FILE = "/run/site-httpd.pid"
HTTPD_ENV = "/etc/site-httpd.env"
START = "/usr/local/sbin/site-httpd"
ENVIRONMENT = "/root/environment.json"
USER = "www-site"
PROCESSES = "4" if MEASURING else "2"  # each imports the whole site whenever it begins

_START_TEXT = """#!/bin/bash
set -e
for script in {scripts}; do source "$script"; done
set -a
source {env}
set +a
exec {httpd} -f {root}/current/cfgov/apache/conf/httpd.conf -c "PidFile {pid}" "$@"
"""


class Host:
    """A running container that has the artifacts of one folder at ``/artifacts`` and publishes port 80."""

    def __init__(self, container: Any, platform: Platform) -> None:
        self.tester = containers.Tester(container)
        self._platform = platform

    @property
    def port(self) -> int:
        """Return the port of 127.0.0.1 that the web server is published at."""
        return int(self.tester.address.rpartition(":")[2])

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file in the container."""
        self.tester.run("bash", "-c", f"printf %s {shlex.quote(text)} > {path} && chmod {mode} {path}")

    def verb(self, artifact: str, verb: str, *words: str, check: bool = True) -> Dict[str, Any]:
        """Run a verb of ``/artifacts/ARTIFACT`` and return its JSON document, with the seconds it took."""
        enable = " ".join(f"source {script};" for script in self._platform.enable_scripts)
        command = [self._platform.python, "-I", f"/artifacts/{artifact}", verb, "--root", ROOT, "--json", "-q", *words]
        script = f"{enable} exec " + " ".join(shlex.quote(word) for word in command)
        began = time.monotonic()
        done = self.tester.run("bash", "-c", script, check=False)
        assert "canary" not in done.output
        lines = [line for line in done.output.splitlines() if line.startswith("{")]
        if (check and done.code) or not lines:
            raise containers.ContainerFailed(f"{verb} ended with {done.code}:\n{done.output}\n{self.explanation()}")
        document: Dict[str, Any] = json.loads(lines[-1])
        return dict(document, wall=time.monotonic() - began, code=done.code)

    @contextlib.contextmanager
    def started(self, *command: str) -> Iterator[IO[str]]:
        """Start *command* in the container and yield what it says; at the end it must have ended, however it did."""
        words = ["docker", "exec", str(self.tester.container.name), *command]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            yield process.stdout

    def explanation(self) -> str:
        """Return the end of the web server's log."""
        return self.tester.run("bash", "-c", "tail -n 20 /var/log/*-error.log", check=False).output

    def current(self) -> str:
        """Return the build id that ``current`` points to."""
        return self.tester.run("readlink", f"{ROOT}/current").output.strip().rpartition("/")[2]

    def close(self) -> None:
        """Remove the container."""
        self.tester.close()


class WebHost(Host):
    """The tester image without its entrypoint: httpd is started by hand, the root is in memory."""

    def __init__(self, engine: containers.Engine, platform: Platform, image: str, folder: Path) -> None:
        container = engine.start(
            image,
            entrypoint=["sleep", "86400"],
            init=True,
            healthcheck={"test": ["NONE"]},
            volumes={str(folder): {"bind": "/artifacts", "mode": "ro"}},
            tmpfs={ROOT: "exec,mode=0755,size=3g"},
            ports={"80/tcp": ("127.0.0.1", None)},
        )
        super().__init__(container, platform)
        self._prepare()

    def _prepare(self) -> None:
        """Do what the role ``prepare`` does on a real host."""
        here = self._platform
        module = self.tester.run("bash", "-c", f"cd {here.modules_dir} && ls {here.wsgi_module}").output.split()[0]
        variables = {
            **containers.variables_of(containers.test_environment()),
            "ERROR_LOG": "/var/log/site-error.log",
            "ACCESS_LOG": "/dev/null",
            "APACHE_PROCESS_COUNT": PROCESSES,
            "APACHE_USER": USER,
            "APACHE_GROUP": USER,
            "APACHE_STATUS_ALLOW_FROM": "127.0.0.1 ::1",
            "WSGI_MODULE": module,
        }
        names = [name for name in variables if name not in SITE]
        start = _START_TEXT.format(
            scripts=" ".join(shlex.quote(script) for script in here.httpd_enable_scripts),
            env=HTTPD_ENV,
            httpd=here.httpd,
            root=ROOT,
            pid=PID_FILE,
        )
        self.write(HTTPD_ENV, "".join(f"{name}={shlex.quote(variables[name])}\n" for name in names))
        self.write(START, start, "0755")
        self.write(ENVIRONMENT, json.dumps(SITE), "0640")
        for command in (
            f"useradd --system --no-create-home {USER}",
            f"mkdir -p {ROOT}/static {ROOT}/data {here.run_dir}",
            f"chown {USER} {ROOT}/static {ROOT}/data",
        ):
            self.tester.run("bash", "-c", command)

    def options(self, restart: str) -> List[str]:
        """Return the options of a deployment to this host."""
        here = self._platform
        return [
            "--allow-dirty",  # the artifact is of the working tree
            *("--env-file", ENVIRONMENT, "--owner", USER, "--group", USER, "--run-as", USER),
            *("--shared", "media=media", "--httpd-env", HTTPD_ENV, "--httpd-pid-file", PID_FILE),
            *("--link", f"cfgov/apache/modules={here.modules_dir}", "--link", f"cfgov/apache/run={here.run_dir}"),
            *("--link", "cfgov/apache/conf.d/wsgi.conf=wsgi.conf.venv", "--config-path", "cfgov/apache"),
            *("--config-test", f"{here.httpd} -t -f {{release}}/cfgov/apache/conf/httpd.conf"),
            *("--restart", restart, "--first-restart", f"command:{START} -k start"),
            *("--health-url", "http://127.0.0.1/health/", "--health-header", "Host: localhost"),
            *("--health-timeout", "300", "--restart-timeout", "300"),  # a machine that runs tests is busy
        ]


class Server(Host):
    """A whole host of Debian: systemd is its first process, sshd lets in ``deployer``, who may use sudo.

    systemd needs to mount and to make control groups, more than a container usually may.
    """

    def __init__(
        self, engine: containers.Engine, platform: Platform, image: str, folder: Path, public_key: str
    ) -> None:
        container = engine.start(
            image,
            cap_add=["SYS_ADMIN"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            cgroupns="host",
            tty=True,  # systemd says how it starts; without a terminal it says nothing
            tmpfs={"/run": "exec,mode=0755", "/run/lock": "", "/tmp": "exec,mode=1777"},
            volumes={
                "/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"},
                str(folder): {"bind": "/artifacts", "mode": "ro"},
            },
            ports={"22/tcp": ("127.0.0.1", None), "80/tcp": ("127.0.0.1", None)},
        )
        super().__init__(container, platform)
        self.wait_until_up()
        self.tester.run("install", "-d", "-o", "deployer", "-m", "0700", "/home/deployer/.ssh")
        self.write("/home/deployer/.ssh/authorized_keys", public_key)

    @property
    def ssh_port(self) -> int:
        """Return the port of 127.0.0.1 that sshd is published at."""
        self.tester.container.reload()
        return int(self.tester.container.attrs["NetworkSettings"]["Ports"]["22/tcp"][0]["HostPort"])

    def host_key(self) -> str:
        """Return the line of a ``known_hosts`` file for this server."""
        key = self.tester.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub").output.split()
        return f"[127.0.0.1]:{self.ssh_port} {key[0]} {key[1]}\n"

    def wait_until_up(self, seconds: float = 180.0) -> None:
        """Wait until systemd has started what starts with the system.

        Raises:
            containers.ContainerFailed: it has not after *seconds*, or a unit failed.
        """
        deadline = time.monotonic() + seconds
        while True:
            state = self.tester.run("systemctl", "is-system-running", "--wait", check=False).output.strip()
            if state == "running":
                return
            if state == "degraded" or time.monotonic() > deadline:
                failed = self.tester.run("systemctl", "list-units", "--failed", check=False).output
                raise containers.ContainerFailed(
                    containers.explain(self.tester.container, f"is {state or 'not up'}\n{failed}")
                )
            time.sleep(0.2)

    def lose_power(self) -> None:
        """Kill every process at once and start the system again: ``/run`` is empty, the processes are other ones."""
        self.tester.container.kill("SIGKILL")
        self.tester.container.wait(timeout=60)
        self.tester.container.start()
        self.wait_until_up()

    def answering(self, seconds: float = 180.0) -> str:
        """Return the build id of the release that answers at the health page.

        Raises:
            containers.ContainerFailed: none does within *seconds*.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.tester.get("/health/", headers={"Host": "localhost"})
                if answer.status_code == 200:
                    return str(answer.headers["X-Build-Id"])
                said = f"status {answer.status_code}"
            except requests.exceptions.RequestException as error:
                said = str(error)
            if time.monotonic() > deadline:
                raise containers.ContainerFailed(f"no release answers: {said}\n{self.explanation()}")
            time.sleep(0.1)

    def explanation(self) -> str:
        """Return the end of the web server's log and of the journal."""
        units = "journalctl --no-pager -n 30 -u 'cfgov-*'"
        return super().explanation() + self.tester.run("bash", "-c", units, check=False).output


def build_server_image(platform: Platform) -> str:
    """Build the image of :class:`Server` on the base of *platform* and return its name.

    Raises:
        containers.ContainerFailed: the build failed.
    """
    tag = "cfgov-test-server:latest"
    base = f"BASE_IMAGE={platform.base_image}"
    containers.build_image(containers.ROOT / "tests" / "server", tag, "--build-arg", base)
    return tag


def make_key(folder: Path) -> str:
    """Make a pair of SSH keys in *folder*, ``key`` and ``key.pub``, and return the public one's line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    return (folder / "key.pub").read_text("ascii")
