"""A server in a container, to deploy to: the tester image without its entrypoint, with httpd run as a service would."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any, Dict, List

from tests import containers
from tools.platforms import Platform

ROOT = "/srv/cfgov"
PID_FILE = "/run/site-httpd.pid"
HTTPD_ENV = "/etc/site-httpd.env"
START = "/usr/local/sbin/site-httpd"
ENVIRONMENT = "/root/environment.json"
USER = "www-site"

_START_TEXT = """#!/bin/bash
set -e
for script in {scripts}; do source "$script"; done
set -a
source {env}
set +a
exec {httpd} -f {root}/current/cfgov/apache/conf/httpd.conf -c "PidFile {pid}" "$@"
"""


class WebHost:
    """One container with httpd, its user, the folders of a root and the artifacts of *folder* at ``/artifacts``."""

    def __init__(self, engine: containers.Engine, platform: Platform, image: str, folder: Path) -> None:
        self._platform = platform
        container = engine.start(
            image,
            entrypoint=["sleep", "86400"],
            init=True,
            healthcheck={"test": ["NONE"]},
            volumes={str(folder): {"bind": "/artifacts", "mode": "ro"}},
            tmpfs={ROOT: "exec,mode=0755,size=3g"},
            ports={"80/tcp": ("127.0.0.1", None)},
        )
        self.tester = containers.Tester(container)
        self.port = int(self.tester.address.rpartition(":")[2])
        self._prepare()

    def _prepare(self) -> None:
        """Do what the role ``prepare`` does on a real host."""
        here = self._platform
        module = self.tester.run("bash", "-c", f"cd {here.modules_dir} && ls {here.wsgi_module}").output.split()[0]
        variables = {
            **containers.variables_of(containers.test_environment()),
            "ERROR_LOG": "/var/log/site-error.log",
            "ACCESS_LOG": "/dev/null",
            "APACHE_USER": USER,
            "APACHE_GROUP": USER,
            "APACHE_STATUS_ALLOW_FROM": "127.0.0.1 ::1",
            "WSGI_MODULE": module,
        }
        site = {
            "SECRET_KEY": "canary-of-a-container-0123456789-abcdefghijklmnop",
            "ALLOWED_HOSTS": '["*"]',
            "DATABASE_URL": f"sqlite:///{ROOT}/data/site.sqlite3",
            "DJANGO_SETTINGS_MODULE": "cfgov.settings.production",
            "STATIC_ROOT": f"{ROOT}/static",
            "MEDIA_ROOT": f"{ROOT}/shared/media",
            "CFGOV_TEST_VIEWS": "1",
        }
        names = [name for name in variables if name not in site]
        start = _START_TEXT.format(
            scripts=" ".join(shlex.quote(script) for script in here.httpd_enable_scripts),
            env=HTTPD_ENV,
            httpd=here.httpd,
            root=ROOT,
            pid=PID_FILE,
        )
        self.write(HTTPD_ENV, "".join(f"{name}={shlex.quote(variables[name])}\n" for name in names))
        self.write(START, start, "0755")
        self.write(ENVIRONMENT, json.dumps(site), "0640")
        for command in (
            f"useradd --system --no-create-home {USER}",
            f"mkdir -p {ROOT}/static {ROOT}/data {here.run_dir}",
            f"chown {USER} {ROOT}/static {ROOT}/data",
        ):
            self.tester.run("bash", "-c", command)

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file in the container."""
        self.tester.run("bash", "-c", f"printf %s {shlex.quote(text)} > {path} && chmod {mode} {path}")

    def options(self, restart: str) -> List[str]:
        """Return the options of a deployment to this host."""
        here = self._platform
        return [
            *("--env-file", ENVIRONMENT, "--owner", USER, "--group", USER, "--run-as", USER),
            *("--shared", "media=media", "--httpd-env", HTTPD_ENV, "--httpd-pid-file", PID_FILE),
            *("--link", f"cfgov/apache/modules={here.modules_dir}", "--link", f"cfgov/apache/run={here.run_dir}"),
            *("--link", "cfgov/apache/conf.d/wsgi.conf=wsgi.conf.venv", "--config-path", "cfgov/apache"),
            *("--config-test", f"{here.httpd} -t -f {{release}}/cfgov/apache/conf/httpd.conf"),
            *("--restart", restart, "--first-restart", f"command:{START} -k start"),
            *("--health-url", "http://127.0.0.1/health/", "--health-header", "Host: localhost"),
            *("--health-timeout", "300", "--restart-timeout", "300"),  # a machine that runs tests is busy
        ]

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
            log = self.tester.run("tail", "-n", "20", "/var/log/site-error.log", check=False).output
            raise containers.ContainerFailed(f"{verb} ended with {done.code}:\n{done.output}\n{log}")
        document: Dict[str, Any] = json.loads(lines[-1])
        return dict(document, wall=time.monotonic() - began, code=done.code)

    def current(self) -> str:
        """Return the build id that ``current`` points to."""
        return self.tester.run("readlink", f"{ROOT}/current").output.strip().rpartition("/")[2]

    def close(self) -> None:
        """Remove the container."""
        self.tester.close()
