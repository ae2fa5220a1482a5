"""How the tester container behaves as a container: by itself, offline, stopped, on the look-alike of CentOS 7."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
import requests

from tests.support import containers
from tests.support.fixtures_docker import ARTIFACT, build_artifact, clone, evidence
from tools import platforms

__all__ = ["evidence"]

Evidence = Callable[[Any], None]


def test_it_becomes_healthy_without_any_network(
    engine: containers.Engine, images: Dict[str, str], checkout: Path, evidence: Evidence
) -> None:
    tester = containers.start_tester(engine, checkout, image=images["tester"], network_mode="none")
    evidence(tester.container)
    containers.wait_healthy(tester.container)
    assert '"database": "ok"' in tester.run("curl", "-fs", "http://localhost/health/").output
    assert tester.run("touch", "/cfgov/x", check=False).code != 0


End = Callable[[containers.Tester], containers.Finished]
WithSlowRequest = Callable[[End], containers.Finished]


@pytest.fixture
def end_during_a_request(
    engine: containers.Engine, images: Dict[str, str], checkout: Path, evidence: Evidence
) -> WithSlowRequest:
    """Return a function that ends a container during a request of three seconds, which must be answered."""

    def run(end: End) -> containers.Finished:
        env = containers.test_environment(CFGOV_TEST_VIEWS="1")
        tester = containers.start_tester(engine, checkout, image=images["tester"], env=env)
        evidence(tester.container)
        containers.wait_healthy(tester.container)
        outcome: List[int] = []
        url = f"http://{tester.address}/__test__/slow?seconds=3"
        slow = threading.Thread(target=lambda: outcome.append(requests.get(url, timeout=60).status_code))
        slow.start()
        tester.wait_for_request("/__test__/slow")
        time.sleep(0.5)  # from httpd to the daemon
        ended = end(tester)
        slow.join(60)
        assert outcome == [200]
        assert ended.code == 0
        return ended

    return run


def test_a_stop_waits_for_the_request_under_way_and_ends_in_time(end_during_a_request: WithSlowRequest) -> None:
    end_during_a_request(lambda tester: tester.stop())  # in time: what is killed after 10 s ends with 137


def test_a_second_signal_cuts_no_request(end_during_a_request: WithSlowRequest) -> None:
    def signals(tester: containers.Tester) -> containers.Finished:
        for number in ("TERM", "TERM", "INT"):
            tester.container.kill(number)
            time.sleep(0.2)
        return containers.wait_exit(tester.container, 60)

    end_during_a_request(signals)


# What the site's user, who runs code that visitors can reach, might try in order to be root after a restart.
ATTACKS = (
    "mv /srv/cfgov/current/cfgov /srv/cfgov/current/old",
    "mv /srv/cfgov/current/venv /srv/cfgov/current/old",
    "mv /srv/cfgov/current /srv/cfgov/old",
    "mv /srv/cfgov/data /srv/cfgov/old",
    "touch /srv/cfgov/current/cfgov/apache/conf.d/evil.conf",
    "ln -sfn /tmp /srv/cfgov/current/cfgov/apache/modules",
    "touch /srv/cfgov/current/venv/lib/evil.pth",
    "touch /srv/cfgov/current/x",
    "echo x >> /srv/cfgov/current/environment.json",
)


def test_the_sites_user_cannot_change_what_root_runs(
    engine: containers.Engine, images: Dict[str, str], checkout: Path, evidence: Evidence
) -> None:
    tester = containers.start_tester(engine, checkout, image=images["tester"])
    evidence(tester.container)
    containers.wait_healthy(tester.container)
    succeeded = [line for line in ATTACKS if not tester.run("sh", "-c", line, user="apache", check=False).code]
    assert succeeded == []
    # What the site needs, it has.
    tester.run("sh", "-c", "touch /srv/cfgov/data/x /srv/cfgov/data/media/x /srv/cfgov/static/x", user="apache")
    assert tester.run("stat", "-c", "%U %a", "/srv/cfgov/data/test.sqlite").output.startswith("apache ")


def test_a_read_only_container_with_its_three_folders_in_memory_serves(
    engine: containers.Engine, images: Dict[str, str], checkout: Path, evidence: Evidence, platform: platforms.Platform
) -> None:
    tmpfs = {"/srv/cfgov": "exec,mode=0755,size=2g", "/tmp": "", platform.run_dir: "mode=0755"}
    tester = containers.start_tester(engine, checkout, image=images["tester"], read_only=True, tmpfs=tmpfs)
    evidence(tester.container)
    containers.wait_healthy(tester.container)
    assert tester.get("/").status_code == 200


def test_another_port_and_another_host_are_healthy_too(
    engine: containers.Engine, images: Dict[str, str], checkout: Path, evidence: Evidence
) -> None:
    env = containers.test_environment(APACHE_PORT="8081", ALLOWED_HOSTS='["www.example.org"]')
    tester = containers.start_tester(engine, checkout, image=images["tester"], env=env, network_mode="none")
    evidence(tester.container)
    containers.wait_healthy(tester.container)


def test_a_stop_while_it_still_installs_ends_in_time(
    engine: containers.Engine, images: Dict[str, str], checkout: Path, evidence: Evidence
) -> None:
    tester = containers.start_tester(engine, checkout, image=images["tester"])
    evidence(tester.container)
    tester.wait_for_log("Installing")
    ended = tester.stop()
    assert ended.code == 143  # what is killed after 10 s ends with 137


@pytest.fixture(scope="module")
def centos7_checkout(lookalike: Dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout with the artifact that the unchanged CentOS builder makes of it, for Python 3.8."""
    checkout = clone(tmp_path_factory.mktemp("centos7"))
    build_artifact(lookalike["builder"], checkout)
    return checkout


def test_the_unchanged_centos_scripts_build_and_serve_the_site(
    engine: containers.Engine, lookalike: Dict[str, str], centos7_checkout: Path, evidence: Evidence
) -> None:
    tester = containers.start_tester(engine, centos7_checkout, image=lookalike["tester"])
    evidence(tester.container)
    containers.wait_healthy(tester.container)
    written = tester.wait_for_log("Apache/2")
    assert "Python/3.8" in written
    assert "mod_wsgi/4.6.8" in written
    assert "Apache/2.4.27" in written, "the collection has 2.4.34: what the older one serves, it does"
    for path in ("/", "/guides/", "/search/?query=lease", "/health/", "/admin/login/"):
        assert tester.get(path).status_code == 200, path
    assert tester.get("/health/").json()["database"] == "ok"
    sprite = re.search(r'href="(/static/cfgov-fonts/icons[^"#]*)#search"', tester.get("/").text)
    assert sprite, "the header's search button has no icon"
    assert 'id="search"' in tester.get(sprite[1]).text
    script = ". /opt/rh/rh-python38/enable; exec /srv/cfgov/current/venv/bin/python -c "
    # Neither the collection's Python nor the virtualenv's finds its libraries without the collection's script.
    assert tester.run("/srv/cfgov/current/venv/bin/python", "-V", check=False).code == 127
    old = "import sqlite3, ssl; print(sqlite3.sqlite_version, ssl.OPENSSL_VERSION)"
    said = tester.run("bash", "-c", f". /opt/rh/rh-python38/enable; python3.8 -c '{old}'").output
    assert said.startswith("3.7.17 OpenSSL 1.0.2k"), said
    sqlite = "import pysqlite3; print(pysqlite3.sqlite_version)"
    # The system's own SQLite is too old on CentOS 7; the artifact brings one.
    version = tester.run("bash", "-c", f"{script} '{sqlite}'").output.strip()
    assert tuple(int(part) for part in version.split(".")) > (3, 21)


def test_the_artifact_of_centos_is_refused_by_another_platform(
    engine: containers.Engine, images: Dict[str, str], centos7_checkout: Path, evidence: Evidence
) -> None:
    tester = containers.start_tester(engine, centos7_checkout, image=images["tester"])
    evidence(tester.container)
    ended = containers.wait_exit(tester.container, 15)
    assert ended.code == 4
    assert ended.output.strip().splitlines()[-1].startswith("error: ")
    assert (centos7_checkout / ARTIFACT).exists()
