"""An artifact and a root of the release before, with the tool of today; and the other way round.

The former tool comes out of the history of this repository: its own test support writes its artifacts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from deployable_zipfile.artifact.zipreader import Artifact
from tests.support.documentation import ROOT
from tests.support.helpers import run_cli, run_python
from tests.support.sites import Server, build_id, serving_current, states, write_environment

pytestmark = pytest.mark.deep

FORMER = "250693810441d1f2b413b346c8d4b62631d020bc"  # before the restructuring
MAKE = "import sys; from pathlib import Path; from tests.support.sites import make_sites; make_sites(Path(sys.argv[1]))"


def git(*words: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *words], cwd=str(ROOT), check=False, capture_output=True)


@pytest.fixture(scope="session")
def former(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    """Return artifacts of the former tool by name, their texts other than those of today's."""
    if git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        pytest.skip("this clone has no history to take the former tool from")
    folder = tmp_path_factory.mktemp("former")
    archive = folder / "tree.tar"
    done = git("archive", f"--output={archive}", FORMER, "cfgov/deployable_zipfile", "tests")
    assert done.returncode == 0, done.stderr
    with tarfile.open(str(archive)) as tar:
        tar.extractall(str(folder / "tree"))  # written by git a line above
    made = folder / "artifacts"
    made.mkdir()
    path = os.pathsep.join([str(folder / "tree" / "cfgov"), str(folder / "tree")])
    run_python("-c", MAKE, made, cwd=folder / "tree", extra_env={"PYTHONPATH": path})
    return {f"former {path.stem}": path for path in made.iterdir()}


class Site:
    """A root, and the verbs of artifacts run as programs on it."""

    def __init__(self, root: Path, artifacts: Dict[str, Path], server: Server) -> None:
        self.root = root
        self.artifacts = artifacts
        self._environment = write_environment(root.parent / "environment.json")
        self._server = server

    def verb(self, archive: str, verb: str, *words: str, code: int = 0) -> Any:
        command = [sys.executable, "-I", self.artifacts[archive], verb, "--root", self.root, "--json", *words]
        return json.loads(run_cli(command, code=code).stdout)

    def deploy(self, archive: str) -> str:
        health = ["--health-url", self._server.url, "--health-timeout", "5", "--health-count", "2"]
        self.verb(archive, "deploy", "--env-file", str(self._environment), "--workers", "1", *health)
        live = self.live()
        with Artifact.open(str(self.artifacts[archive])) as artifact:
            assert live == artifact.manifest.build_id
        return live

    def live(self) -> str:
        found = build_id(self.root / "current")
        assert found is not None
        return found

    def listed(self, archive: str) -> Dict[str, str]:
        return {row["release"]: row["state"] for row in self.verb(archive, "releases")["releases"]}


@pytest.fixture
def site(tmp_path: Path, artifacts: Dict[str, Path], former: Dict[str, Path]) -> Iterator[Site]:
    # "one" and "two" of both tools: the runtime in them makes them different builds.
    with serving_current(tmp_path / "srv") as server:
        yield Site(tmp_path / "srv", {**former, **{f"new {name}": path for name, path in artifacts.items()}}, server)


def test_an_artifact_of_the_former_tool_is_read_and_installed_by_this_one(
    former: Dict[str, Path], tmp_path: Path
) -> None:
    path = former["former one"]
    with Artifact.open(str(path)) as artifact:
        artifact.verify(workers=1)
        expected = artifact.manifest.build_id
    extract = ROOT / "cfgov" / "deployable_zipfile" / "extract.py"
    run_python("-I", extract, path, "-d", tmp_path / "site", "--workers", "1")
    assert build_id(tmp_path / "site") == expected
    for verify in ([path, "verify"], [extract, path, "verify"]):  # each tool on what this one installed
        run_python("-I", *verify, tmp_path / "site")
    shutil.rmtree(str(tmp_path / "site"))
    run_python("-I", path, "-d", tmp_path / "site", "--workers", "1")
    run_python("-I", extract, path, "verify", tmp_path / "site")


def test_a_root_of_the_former_tool_is_deployed_to_rolled_back_and_pruned(site: Site) -> None:
    first, second = site.deploy("former one"), site.deploy("former two")
    assert site.listed("new one") == {first: "previous", second: "live"}
    third = site.deploy("new three")
    assert site.listed("new three") == {first: "good", second: "previous", third: "live"}

    site.verb("new three", "rollback")
    assert site.live() == second
    site.verb("new three", "rollback", first)
    assert site.live() == first
    gone = site.verb("new three", "prune", "--keep", "1")["pruned"]
    assert first not in gone
    assert set(gone) <= {second, third}
    assert states(site.root)[first] == "live"


def test_a_release_of_the_former_tool_that_failed_is_not_gone_back_to(site: Site) -> None:
    first = site.deploy("former one")
    environment = str(site.root.parent / "environment.json")
    site.verb("former broken", "deploy", "--env-file", environment, "--workers", "1", code=8)
    second = site.deploy("new two")
    site.verb("new two", "rollback")
    assert site.live() == first
    assert sorted(states(site.root).values()) == ["bad", "bad", "live"]
    assert states(site.root)[second] == "bad"


def test_a_root_of_this_tool_is_listed_rolled_back_and_pruned_by_the_former_one(site: Site) -> None:
    first, second, third = site.deploy("new one"), site.deploy("new two"), site.deploy("former three")
    assert site.listed("former three") == {first: "good", second: "previous", third: "live"}
    site.verb("former three", "rollback")
    assert site.live() == second
    gone: List[str] = site.verb("former three", "prune", "--keep", "1")["pruned"]
    assert second not in gone
    assert states(site.root)[second] == "live"
    assert site.deploy("new one") == first


def test_a_deployment_of_the_former_tool_that_was_killed_is_gone_on_from(site: Site) -> None:
    first = site.deploy("former one")
    ran = site.root.parent / "ran"
    environment = write_environment(site.root.parent / "slow.json", SLOW_AT="migrate", RAN=str(ran))
    words = ["deploy", "--root", str(site.root), "--env-file", str(environment), "-q"]
    artifact = site.artifacts["former two"]
    process = subprocess.Popen([sys.executable, "-I", str(artifact), *words], stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if ran.exists() and "migrate" in ran.read_text():
                break
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        commands = Path("/proc", str(process.pid), "task", str(process.pid), "children").read_text().split()
        process.kill()
        process.wait()
        for command in commands:
            os.kill(int(command), signal.SIGKILL)  # it would hold the lock until its end
    assert site.live() == first
    second = site.deploy("new two")
    assert states(site.root)[second] == "live"
