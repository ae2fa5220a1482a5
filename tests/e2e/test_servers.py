"""Whole servers with systemd, made ready and deployed to over SSH by the collection, as an operator would do it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from tests.support import containers
from tests.support.depth import sampled
from tests.support.hosts import PROCESSES, Server, build_server_image, make_key
from tests.support.plays import Play, play, program
from tests.support.production import ROOT, SITE
from tests.support.steps import LATE, STEPS, STRIKE_AT_STEP
from tests.support.switches import Visitors, keep, summary_of_switches, switched
from tools.platforms import Platform

FILE = "test_servers.py"
DATABASE = f"{ROOT}/data/site.sqlite3"
WEB = ("web1", "web2", "web3")
# All of them take twelve minutes (REBOOT_STEPS=all): these are those at which something is decided.
USUAL = ["after migrate", "after switch", "after install", "before health"]
REBOOTS = (
    [f"{when} {step}" for step in STEPS for when in ("before", "after")]
    if os.environ.get("REBOOT_STEPS") == "all"
    else sampled(USUAL, 2)
)
UNITS = [("gunicorn", "cfgov-gunicorn.service"), ("web3", "cfgov-httpd.service")]

# Deploys with the verbs that the server has, and waits at one step: WHEN STEP ARCHIVE WORDS are argv[1:].
STOPPING = """
import sys, time
sys.path.insert(0, "/srv/cfgov/.deploy/tool")
from deployable_zipfile import extract
from deployable_zipfile.deploy import rollout
when, step, archive = sys.argv[1:4]
def strike():
    print("reached", when, step, flush=True)
    time.sleep(600)
{strike_at_step}
sys.exit(extract.main(sys.argv[4:], archive))
""".replace("{strike_at_step}", STRIKE_AT_STEP)


class Farm:
    """Servers, and the controller's side of them: an inventory, a key, the collection."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self.folder = folder
        self.artifacts = artifacts
        self.servers: Dict[str, Server] = {}
        self.environments: Dict[str, Dict[str, str]] = {}  # variables of one server's site, instead of the usual ones

    def play(self, book: str, *names: str, **variables: Any) -> Play:
        """Run one of the collection's playbooks against the servers of these names."""
        hosts = {name: self._host(name) for name in names}
        (self.folder / "known_hosts").write_text("".join(self.servers[name].host_key() for name in names))
        return play(self.folder, book, hosts, dict({"site_serial": 1}, **variables))

    def deploy(self, which: str, *names: str, **variables: Any) -> Play:
        """Run the play that deploys ``one`` or ``two``."""
        return self.play("deploy", *names, deploy_artifact=str(self.artifacts / f"{which}.zip"), **variables)

    def live(self, *names: str) -> List[str]:
        """Return the build ids that answer, which must be those that ``current`` points to."""
        found = []
        for name in names:
            answering = self.servers[name].answering()
            assert answering == self.servers[name].current(), name
            found.append(answering)
        return found

    def _host(self, name: str) -> Dict[str, Any]:
        server = self.servers[name]
        gunicorn = name == "gunicorn"
        variables: Dict[str, Any] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": server.ssh_port,
            "ansible_user": "deployer",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.folder}/known_hosts",
            "prepare_root": ROOT,
            "prepare_server": "gunicorn" if gunicorn else "httpd",
            "prepare_processes": int(PROCESSES),
            "deploy_root": ROOT,
            "deploy_allow_dirty": True,  # of the working tree
            "deploy_owner": "apache",
            "deploy_group": "apache",
            "deploy_run_as": "apache",
            "deploy_migrate": "auto",  # each has a database of its own
            "deploy_shared": ["media=media"],
            "deploy_environment": dict(SITE, **self.environments.get(name, {})),
            "deploy_health_url": "http://127.0.0.1/health/",
            "deploy_health_headers": ["Host: localhost"],
            "deploy_health_timeout": 300,
            "deploy_restart_timeout": 300,
            "rollback_root": ROOT,
        }
        if gunicorn:
            return dict(variables, deploy_restart="systemd:cfgov-gunicorn.service")
        return dict(
            variables,
            prepare_httpd_variables={"ACCESS_LOG": "/dev/null"},
            deploy_links=[
                "cfgov/apache/modules=/usr/lib/apache2/modules",
                "cfgov/apache/run=/run/cfgov",
                "cfgov/apache/conf.d/wsgi.conf=wsgi.conf.venv",
            ],
            deploy_httpd_env="/etc/cfgov/httpd.env",
            deploy_httpd_pid_file="/run/cfgov/httpd.pid",
            deploy_config_path="cfgov/apache",
            deploy_config_test="/usr/sbin/apache2 -t -f {release}/cfgov/apache/conf/httpd.conf",
            deploy_restart="mod_wsgi-sigusr1",
            deploy_first_restart="systemd:cfgov-httpd.service",
        )


@pytest.fixture(scope="module")
def farm(
    engine: containers.Engine, platform: Platform, two_releases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Farm]:
    """Make four servers ready from nothing: three with httpd, one with gunicorn behind its socket."""
    program("ansible-playbook")
    program("ssh", "Debian: openssh-client")
    if platform.package_manager != "apt":
        pytest.skip(f"the servers of these tests are made of Debian, the artifact is for {platform.name}")
    image = build_server_image(platform)
    folder = tmp_path_factory.mktemp("controller")
    for name in ("one", "two"):
        digest = subprocess.run(["sha256sum", f"{name}.zip"], cwd=two_releases, capture_output=True, check=True).stdout
        (two_releases / f"{name}.zip.sha256").write_bytes(digest)
    farm = Farm(folder, two_releases)
    public_key = make_key(folder)
    try:
        for name in (*WEB, "gunicorn"):
            farm.servers[name] = Server(engine, platform, image, two_releases, public_key)
            farm.servers[name].tester.run("apt-get", "update", "-qq")
        made = farm.play("prepare", *farm.servers)
        assert made.code == 0, made.output
        print(f"four servers made ready in {made.seconds:.0f} s")
        yield farm
    finally:
        for server in farm.servers.values():
            server.close()


def test_the_artifact_shows_on_a_server_that_it_can_run_there_before_it_is_deployed(farm: Farm) -> None:
    for words in (["check", "--destination", f"{ROOT}/releases/first"], ["selftest", "--json"]):
        done = farm.servers["web1"].tester.run("/usr/bin/python3", "-I", "/artifacts/two.zip", *words)
        print(f"{words[0]}: {done.output.strip().splitlines()[-1][:300]}")


@pytest.fixture(scope="module")
def ids(farm: Farm) -> Tuple[str, str]:
    """Deploy ``one`` everywhere; return the build ids of ``one`` and ``two``.

    The first server makes its database, which takes longest. The others start with a copy of it.
    """
    first, *others = farm.servers
    done = farm.deploy("one", first)
    assert done.code == 0, done.output
    copy = f"import sqlite3; sqlite3.connect('{DATABASE}').execute(\"VACUUM INTO '/root/site.sqlite3'\")"
    farm.servers[first].tester.run("/usr/bin/python3", "-c", copy)
    archive = b"".join(farm.servers[first].tester.container.get_archive("/root/site.sqlite3")[0])
    for name in others:
        tester = farm.servers[name].tester
        assert tester.container.put_archive(os.path.dirname(DATABASE), archive)
        tester.run("chown", "apache:apache", DATABASE)
    done = farm.deploy("one", *others, site_serial=len(others))
    assert done.code == 0, done.output
    (one,) = set(farm.live(*farm.servers))
    two = farm.servers["web1"].verb("two.zip", "deploy", "--dry-run", "--allow-dirty")["release"]
    assert one != two
    return one, two


def test_a_server_that_is_ready_is_not_changed_by_preparing_it_again(farm: Farm) -> None:
    again = farm.play("prepare", "web1", "gunicorn")  # one of each kind
    assert again.code == 0, again.output
    assert again.changed == {"web1": 0, "gunicorn": 0}, again.output


def test_a_broken_server_stops_the_play_and_a_rerun_converges(farm: Farm, ids: Tuple[str, str]) -> None:
    one, two = ids
    farm.environments["web2"] = {"DATABASE_URL": "sqlite:////nowhere/canary.sqlite3"}
    broken = farm.deploy("two", *WEB)
    assert broken.code != 0
    assert broken.failed["web1"] == 0
    assert broken.failed["web2"] == 1
    assert "web3" not in broken.failed  # never begun
    assert farm.live(*WEB) == [two, one, one]

    del farm.environments["web2"]
    repaired = farm.deploy("two", *WEB)
    assert repaired.code == 0, repaired.output
    assert farm.live(*WEB) == [two, two, two]
    assert farm.deploy("two", *WEB).changed == dict.fromkeys(WEB, 0)


def test_every_server_goes_back_to_the_same_release(farm: Farm, ids: Tuple[str, str]) -> None:
    if farm.live(*WEB) != [ids[1]] * 3:  # without the test before this one
        assert farm.deploy("two", *WEB).code == 0
        assert farm.live(*WEB) == [ids[1]] * 3
    back = farm.play("rollback", *WEB)
    assert back.code == 0, back.output
    assert farm.live(*WEB) == [ids[0]] * 3
    print(f"rollback of three servers over SSH: {back.seconds:.1f} s")


@pytest.mark.parametrize("point", REBOOTS)
def test_a_server_that_loses_power_during_a_deployment_serves_when_it_is_back(
    farm: Farm, ids: Tuple[str, str], point: str
) -> None:
    server = farm.servers["web1"]
    when, step = point.split()
    before = server.current()
    artifact, new = {ids[0]: ("two.zip", ids[1]), ids[1]: ("one.zip", ids[0])}[before]
    words = [f"/artifacts/{artifact}", "deploy", "--root", ROOT, "--force"]
    with server.started("/usr/bin/python3", "-c", STOPPING, when, step, *words) as said:
        reached = any("reached" in line for line in said)
        server.lose_power()
    assert reached
    answering = server.answering()
    assert answering == server.current()
    switched_before = step in LATE and (when, step) != ("before", "switch")
    assert answering == (new if switched_before else before)
    document = server.verb(artifact, "deploy", "--force")
    assert document["release"] == server.current() == server.answering() == new
    states = server.verb(artifact, "releases")["releases"]
    assert sorted(row["state"] for row in states if row["state"] != "gone") in (["live", "previous"], ["bad", "live"])


@pytest.mark.parametrize(("name", "unit"), sampled(UNITS, 1))
def test_restarting_a_unit_is_measured_and_behind_a_socket_it_loses_nothing(
    farm: Farm, ids: Tuple[str, str], name: str, unit: str
) -> None:
    server = farm.servers[name]
    restart = f"systemd:{unit}"
    server.verb("two.zip", "deploy")
    server.verb("one.zip", "rollback", ids[0], "--force", "--not-bad")
    with Visitors(server.port) as visitors:
        changes = switched(server, list(ids), 2, restart, lambda: time.sleep(1))
    numbers = summary_of_switches(visitors.answers, changes)
    keep(FILE, restart, numbers)
    assert numbers["mixed"] == 0
    assert numbers["wrong"] == 0
    if name == "gunicorn":
        assert numbers["failed"] == 0, numbers["faults"]
    server.lose_power()
    assert server.answering() == server.current() == ids[0]
