"""Releases are switched on a real Apache with mod_wsgi while visitors ask without a pause, some for slow pages."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest

from tests import containers
from tests.fixtures_docker import build_artifact, clone, result_folder
from tests.hosts import PID_FILE, START, WebHost
from tests.traffic import Answer, Traffic, summary
from tools.platforms import Platform

# Twenty take long: this many are enough to notice a change, and docs/deploy.md tells what twenty gave.
SWITCHES = int(os.environ.get("ZERO_DOWNTIME_SWITCHES", "4"))
CLIENTS, SLOW, SLOW_SECONDS = 50, 0.05, 8.0


@pytest.fixture(scope="module")
def releases(engine: containers.Engine, images: Dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build two artifacts of this checkout that differ in one template; return the folder that holds them."""
    checkout = clone(tmp_path_factory.mktemp("checkout"))
    folder = tmp_path_factory.mktemp("artifacts")
    folder.chmod(0o755)
    volume = engine.volume()
    for name in ("one", "two"):
        template = checkout / "cfgov" / "cfgov" / "templates" / "404.html"
        template.write_text(template.read_text(encoding="utf-8") + f"<!-- {name} -->\n", encoding="utf-8")
        built = build_artifact(images["builder"], checkout, volume=volume)
        shutil.copy2(built, folder / f"{name}.zip")
    return folder


@pytest.fixture
def host(engine: containers.Engine, platform: Platform, images: Dict[str, str], releases: Path) -> Iterator[WebHost]:
    made = WebHost(engine, platform, images["tester"], releases)
    yield made
    made.close()


class Change(NamedTuple):
    """One switch, as it was reported."""

    began: float
    ended: float
    release: str


class Visitors:
    """Traffic in a thread of its own while something happens to the site."""

    def __init__(self, port: int) -> None:
        self.traffic = Traffic(port, CLIENTS, SLOW, SLOW_SECONDS)
        self._thread = threading.Thread(target=lambda: asyncio.run(self.traffic.run()))

    def __enter__(self) -> "Visitors":
        self._thread.start()
        time.sleep(3)
        return self

    def __exit__(self, *_: object) -> None:
        self.traffic.stop()
        self._thread.join()

    @property
    def answers(self) -> List[Answer]:
        return self.traffic.answers


def from_elsewhere(answers: List[Answer], changes: List[Change]) -> List[Answer]:
    """Return the answers to requests begun after a switch was reported done that came from another release."""
    wrong = []
    for number, change in enumerate(changes):
        following = changes[number + 1].began if number + 1 < len(changes) else float("inf")
        for answer in answers:
            settled = change.ended <= answer.began and answer.ended < following
            if settled and not answer.failed and answer.build != change.release:
                wrong.append(answer)
    return wrong


def keep(name: str, numbers: Dict[str, Any]) -> None:
    """Print the numbers of a measurement and keep them beside the test results."""
    print(f"zero downtime, {name}: {json.dumps(numbers)}")
    folder = result_folder("test_zero_downtime.py")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name.replace(':', '-').replace('/', '_')}.json").write_text(json.dumps(numbers, indent=1) + "\n")


def switched(host: WebHost, ids: List[str], count: int, restart: str, after: Callable[[], None]) -> List[Change]:
    """Switch *count* times between the two releases."""
    changes = []
    for number in range(count):
        target = ids[(number + 1) % 2]
        began = time.monotonic()
        words = (target, "--force", "--not-bad", "--restart", restart)
        document = host.verb("one.zip", "rollback", *words)
        assert document["release"] == target
        changes.append(Change(began, time.monotonic(), target))
        after()
    return changes


def both_installed(host: WebHost, restart: str) -> List[str]:
    """Deploy both releases and go back to the first one; return their build ids."""
    ids = [host.verb(f"{name}.zip", "deploy", *host.options(restart))["release"] for name in ("one", "two")]
    host.verb("one.zip", "rollback", ids[0], "--not-bad")
    return ids


def test_no_request_is_lost_and_none_is_mixed_while_releases_are_switched(host: WebHost) -> None:
    restart = "mod_wsgi-sigusr1"
    ids = both_installed(host, restart)
    with Visitors(host.port) as visitors:
        changes = switched(host, ids, SWITCHES, restart, lambda: time.sleep(1))
        time.sleep(3)
    numbers = dict(
        summary(visitors.answers),
        switches=len(changes),
        wrong=len(from_elsewhere(visitors.answers, changes)),
        longest_switch=round(max(change.ended - change.began for change in changes), 1),
    )
    keep(restart, numbers)
    assert numbers["failed"] == 0, numbers["faults"]
    assert numbers["mixed"] == 0
    assert numbers["wrong"] == 0
    assert {answer.build for answer in visitors.answers} == set(ids)
    assert numbers["slow"] > 5 * SWITCHES


def test_a_deployment_under_load_loses_nothing_and_tells_the_share_of_each_step(host: WebHost) -> None:
    options = host.options("mod_wsgi-sigusr1")
    host.verb("one.zip", "deploy", *options)
    with Visitors(host.port) as visitors:
        document = host.verb("two.zip", "deploy", *options)
    steps = {step["name"]: step["seconds"] for step in document["steps"]}
    keep("deploy", dict(summary(visitors.answers), seconds=document["seconds"], steps=steps))
    assert document["changed"] is True
    assert all(not answer.failed for answer in visitors.answers)
    assert steps["install"] > 0


@pytest.mark.parametrize("restart", [f"httpd-graceful:{PID_FILE}", "touch", f"command:{START} -k restart", "none"])
def test_the_other_strategies_are_measured_and_never_mix_two_releases(host: WebHost, restart: str) -> None:
    ids = both_installed(host, "mod_wsgi-sigusr1")
    reloads = {"touch": "On"}.get(restart, "Off")
    host.tester.run(
        "bash",
        "-c",
        "sed -i 's/^WSGIScriptReloading .*/WSGIScriptReloading " + reloads + "/'"
        " /srv/cfgov/releases/*/cfgov/apache/conf.d/wsgi.conf.venv && " + START + " -k graceful && sleep 6",
    )
    outcomes: List[Tuple[str, str]] = []
    with Visitors(host.port) as visitors:
        began = time.monotonic()
        for target in (ids[1], ids[0]):
            patience = {"none": "20", "touch": "60"}.get(restart, "300")
            words = (target, "--force", "--not-bad", "--restart", restart, "--health-timeout", patience)
            document = host.verb("one.zip", "rollback", *words, check=False)
            outcomes.append(("done" if document["code"] == 0 else "refused", document.get("error", {}).get("why", "")))
            time.sleep(2)
        seconds = time.monotonic() - began
    kind = restart.partition(":")[0]
    numbers = dict(summary(visitors.answers), seconds=round(seconds, 1), outcomes=[word for word, _ in outcomes])
    keep(f"other-{kind}", numbers)
    assert numbers["mixed"] == 0
    if restart == "none":  # nobody restarted anything: the health check must not believe it
        assert [word for word, _ in outcomes] == ["refused", "refused"]
        assert host.current() == ids[0]
    elif restart != "touch":  # its daemons reload when they are asked, which under load was seen to take minutes
        assert [word for word, _ in outcomes] == ["done", "done"]


def test_an_unhealthy_release_gives_way_while_visitors_notice_nothing(host: WebHost) -> None:
    options = host.options("mod_wsgi-sigusr1")
    one = host.verb("one.zip", "deploy", *options)["release"]
    with Visitors(host.port) as visitors:
        # A page that this site answers with 404: to the health check the new release is sick.
        words = (*options, "--health-url", "http://127.0.0.1/nothing-here/", "--health-timeout", "5")
        document = host.verb("two.zip", "deploy", *words, check=False)
    assert document["code"] == 8
    assert "status 404" in document["error"]["why"]
    assert host.current() == one
    assert all(not answer.failed for answer in visitors.answers)
    keep("unhealthy", summary(visitors.answers))
