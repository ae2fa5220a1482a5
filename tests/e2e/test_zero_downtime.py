"""Releases are switched on a real Apache with mod_wsgi while visitors go on asking, some of them for slow pages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import pytest

from tests.support import containers
from tests.support.depth import sampled
from tests.support.hosts import PID_FILE, START, WebHost
from tests.support.production import ROOT
from tests.support.switches import Visitors, keep, summary_of_switches, switched
from tests.support.traffic import MEASURING, SWITCHES, Answer, summary
from tools.platforms import Platform

# Seconds that the health check waits for the new release, where it is not, or may not be, the one that answers.
PATIENCE = {"none": "8", "touch": "60" if MEASURING else "15"}
FILE = "test_zero_downtime.py"
USUAL = "mod_wsgi-sigusr1"
OTHERS = [f"httpd-graceful:{PID_FILE}", "touch", f"command:{START} -k restart", "none"]


@pytest.fixture(scope="module")
def host(
    engine: containers.Engine, platform: Platform, images: Dict[str, str], two_releases: Path
) -> Iterator[WebHost]:
    made = WebHost(engine, platform, images["tester"], two_releases)
    yield made
    made.close()


class Deployed(NamedTuple):
    """What happened while the second release was deployed."""

    ids: List[str]  # of the first release and the second
    document: Dict[str, Any]
    answers: List[Answer]


@pytest.fixture(scope="module")
def deployed(host: WebHost) -> Deployed:
    """Deploy the first release, then the second one under load."""
    options = host.options(USUAL)
    one = host.verb("one.zip", "deploy", *options)["release"]
    with Visitors(host.port) as visitors:
        document = host.verb("two.zip", "deploy", *options)
    return Deployed([one, document["release"]], document, visitors.answers)


@pytest.fixture
def ids(host: WebHost, deployed: Deployed) -> List[str]:
    """Make the first release live; return both build ids."""
    if host.current() != deployed.ids[0]:
        host.verb("one.zip", "rollback", deployed.ids[0], "--force", "--not-bad", "--restart", USUAL)
    return deployed.ids


def test_a_deployment_under_load_loses_nothing_and_tells_the_share_of_each_step(deployed: Deployed) -> None:
    document = deployed.document
    steps = {step["name"]: step["seconds"] for step in document["steps"]}
    keep(FILE, "deploy", dict(summary(deployed.answers), seconds=document["seconds"], steps=steps))
    assert document["changed"] is True
    assert len(deployed.answers) > 100
    assert all(not answer.failed for answer in deployed.answers)
    assert steps["install"] > 0


def test_no_request_is_lost_and_none_is_mixed_while_releases_are_switched(host: WebHost, ids: List[str]) -> None:
    with Visitors(host.port) as visitors:
        changes = switched(host, ids, SWITCHES, USUAL, lambda: time.sleep(1))
        time.sleep(3)
    numbers = summary_of_switches(visitors.answers, changes)
    keep(FILE, USUAL, numbers)
    assert numbers["failed"] == 0, numbers["faults"]
    assert numbers["mixed"] == 0
    assert numbers["wrong"] == 0
    assert {answer.build for answer in visitors.answers} == set(ids)
    assert numbers["slow"] > 5 * SWITCHES


@pytest.mark.parametrize("restart", sampled(OTHERS, 1))
def test_the_other_strategies_are_measured_and_never_mix_two_releases(
    host: WebHost, ids: List[str], restart: str
) -> None:
    configure(host, "On" if restart == "touch" else "Off")
    outcomes: List[Tuple[str, str]] = []
    with Visitors(host.port) as visitors:
        began = time.monotonic()
        for target in (ids[1], ids[0]):
            patience = PATIENCE.get(restart, "300")
            words = (target, "--force", "--not-bad", "--restart", restart, "--health-timeout", patience)
            document = host.verb("one.zip", "rollback", *words, check=False)
            outcomes.append(("done" if document["code"] == 0 else "refused", document.get("error", {}).get("why", "")))
            time.sleep(2)
        seconds = time.monotonic() - began
    kind = restart.partition(":")[0]
    numbers = dict(summary(visitors.answers), seconds=round(seconds, 1), outcomes=[word for word, _ in outcomes])
    keep(FILE, f"other-{kind}", numbers)
    assert numbers["mixed"] == 0
    if restart == "none":  # nobody restarted anything: the health check must not believe it
        assert [word for word, _ in outcomes] == ["refused", "refused"]
        assert host.current() == ids[0]
    elif restart != "touch":  # its daemons reload when they are asked, which under load was seen to take minutes
        assert [word for word, _ in outcomes] == ["done", "done"]


def configure(host: WebHost, reloading: str) -> None:
    """Let mod_wsgi look for a new ``wsgi.py`` at each request, or not."""
    wanted = f"WSGIScriptReloading {reloading}"
    files = f"{ROOT}/releases/*/cfgov/apache/conf.d/wsgi.conf.venv"
    different = f"grep -L '^{wanted}' {files} | grep -q ."
    change = f"sed -i 's/^WSGIScriptReloading .*/{wanted}/' {files} && {START} -k graceful && sleep 6"
    host.tester.run("bash", "-c", f"if {different}; then {change}; fi")


def test_an_unhealthy_release_gives_way_while_visitors_notice_nothing(host: WebHost, ids: List[str]) -> None:
    with Visitors(host.port) as visitors:
        # A page that this site answers with 404: to the health check the new release is sick.
        words = (*host.options(USUAL), "--health-url", "http://127.0.0.1/nothing-here/", "--health-timeout", "5")
        document = host.verb("two.zip", "deploy", *words, check=False)
    assert document["code"] == 8
    assert "status 404" in document["error"]["why"]
    assert host.current() == ids[0]
    assert all(not answer.failed for answer in visitors.answers)
    keep(FILE, "unhealthy", summary(visitors.answers))
