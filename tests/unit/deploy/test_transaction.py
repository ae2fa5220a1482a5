"""The order of a deployment's steps, and the way back, also after a kill."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Callable, Dict

import pytest

from deployable_zipfile.deploy import provision, transaction
from tests.support.depth import sampled
from tests.support.sites import Host, Server, serving_current, write_environment

AFTER_SWITCH = ["switch", "restart", "health"]


class TestGoingBack:
    def test_a_release_that_cannot_be_imported_never_becomes_current(self, host: Host) -> None:
        (one,) = host.given("one")
        assert host.deploy("broken") == 8
        assert "this release cannot be imported" in host.log()
        assert host.current() == one
        assert sorted(host.states().values()) == ["bad", "live"]

    @pytest.mark.parametrize("command", sampled(["check", "collectstatic", "migrate"], ["collectstatic"]))
    def test_a_failing_command_leaves_the_site_alone(self, host: Host, command: str) -> None:
        (one,) = host.given("one")
        write_environment(host.environment, FAIL_AT=command)
        assert host.deploy("two") == 8
        assert "could not reach [SECRET_KEY]" in host.log()
        assert host.current() == one
        assert "FAIL_AT" not in (provision.environment_of(host.root / "current") or {})

    def test_the_migration_that_failed_is_named(self, host: Host) -> None:
        write_environment(host.environment, FAIL_AT="migrate")
        assert host.deploy("one") == 8
        assert "pages.0003_body: exit status 1" in host.error()

    @pytest.mark.deep
    def test_a_command_that_hangs_is_stopped(self, host: Host) -> None:
        write_environment(host.environment, SLOW_AT="collectstatic")
        assert host.deploy("one", "--step-timeout", "0.5") == 8
        assert "collectstatic: did not end within" in host.error()

    @pytest.mark.usefixtures("without_commands")
    def test_an_unhealthy_release_is_left_for_the_one_before(
        self, host: Host, root: Path, artifacts: Dict[str, Path]
    ) -> None:
        (one,) = host.given("one")
        assert host.deploy("two", "--dry-run", "--json") == 0
        two = json.loads(host.out)["release"]
        with serving_current(root, bad=(two,)) as sick:
            assert host.deploy("two", "--health-url", sick.url, "--health-timeout", "0.5") == 8
        assert "status 500 (" in host.error()
        assert f"{one} is live again" in host.error()
        assert host.current() == one
        assert host.states() == {one: "live", two: "bad"}

    @pytest.mark.usefixtures("without_commands")
    def test_a_first_release_that_fails_leaves_no_current(self, host: Host, root: Path) -> None:
        with Server(lambda _: (500, {}, b"")) as sick:
            assert host.deploy("one", "--health-url", sick.url, "--health-timeout", "0.3") == 8
        assert "no release was live before" in host.error()
        assert not os.path.lexists(str(root / "current"))

    @pytest.mark.usefixtures("without_commands")
    def test_a_failing_restart_goes_back(self, host: Host) -> None:
        (one,) = host.given("one")
        assert host.deploy("two", "--restart", "command:false") == 8
        assert "going back failed too" in host.error()  # the same command restarts the old one
        assert host.current() == one

    @pytest.mark.deep
    @pytest.mark.usefixtures("without_commands")
    def test_going_back_that_fails_too_is_said_with_what_is_current(self, host: Host) -> None:
        (one,) = host.given("one")
        with Server(lambda _: (500, {}, b"")) as sick:
            assert host.deploy("two", "--health-url", sick.url, "--health-timeout", "0.3") == 8
        assert "going back failed too" in host.error()
        assert f"releases/{one}" in host.error()

    @pytest.mark.deep
    def test_a_new_environment_of_the_live_release_that_fails_is_taken_back(self, host: Host) -> None:
        (one,) = host.given("one")
        write_environment(host.environment, FAIL_AT="migrate")
        assert host.deploy("one") == 8
        assert provision.environment_of(host.root / "current") == {"SECRET_KEY": "canary-of-this-test"}
        assert host.states() == {one: "live"}  # the live release is not bad for that

    @pytest.mark.deep
    def test_a_bad_release_may_be_tried_again_when_its_reason_is_gone(self, host: Host) -> None:
        host.given("one")
        write_environment(host.environment, FAIL_AT="migrate")
        assert host.deploy("two") == 8
        write_environment(host.environment)
        two = host.live("two")
        assert host.states()[two] == "live"

    @pytest.mark.parametrize("step", sampled(["collectstatic", "switch", "restart", "health"], ["switch"]))
    @pytest.mark.usefixtures("without_commands")
    def test_an_interruption_goes_back_and_marks_nothing_bad(
        self, host: Host, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        (one,) = host.given("one")
        real = transaction.perform

        def stop(name: str, action: Callable[[], str]) -> str:
            said = real(name, action)
            if name == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return said

        monkeypatch.setattr(transaction, "perform", stop)
        assert host.deploy("two") == 130
        monkeypatch.undo()
        assert host.current() == one
        assert "bad" not in host.states().values()
        host.live("two")

    # Every step, with every kind of failure and with real kills: tests/integration/test_deployment_faults.py.
    @pytest.mark.parametrize("step", sampled(["environment", *AFTER_SWITCH, "prune"], [AFTER_SWITCH[0], "prune"]))
    @pytest.mark.parametrize("when", sampled(["before", "after"], ["after"]))
    @pytest.mark.parametrize("error", [OSError(28, "No space left on device")])
    @pytest.mark.usefixtures("without_commands")
    def test_a_failure_before_or_after_a_step_leaves_a_whole_live_release(
        self, host: Host, monkeypatch: pytest.MonkeyPatch, step: str, when: str, error: Exception
    ) -> None:
        (one,) = host.given("one")
        real = transaction.perform

        def fail(name: str, action: Callable[[], str]) -> str:
            if name != step:
                return real(name, action)
            if when == "after":
                real(name, action)
            raise error

        monkeypatch.setattr(transaction, "perform", fail)
        code = host.deploy("two")
        monkeypatch.undo()
        if step == "prune":  # the new release is proven already
            assert code == 0
            assert "warning: prune" in host.err
            assert host.current() != one
        else:
            assert code == 8
            assert host.current() == one
            host.live("two")
        assert sorted(host.states().values()) == ["live", "previous"]


class TestAfterAKill:
    """What a kill leaves is written by hand here; real kills are in tests/integration."""

    def test_an_unproven_release_is_proven_by_the_next_run(self, host: Host) -> None:
        one, two = host.given("one", "two")
        lines = (host.root / ".deploy" / "journal.jsonl").read_text().splitlines(keepends=True)
        cut = next(number for number, line in enumerate(lines) if two in line and '"live"' in line)
        (host.root / ".deploy" / "journal.jsonl").write_text("".join(lines[:cut]))
        assert host.states() == {one: "previous", two: "unproven"}
        host.live("two", "--json")
        assert json.loads(host.out)["changed"] is True
        assert host.states() == {one: "previous", two: "live"}

    def test_an_unproven_release_is_never_the_way_back(self, host: Host, root: Path) -> None:
        one, two = host.given("one", "two")
        lines = (host.root / ".deploy" / "journal.jsonl").read_text().splitlines(keepends=True)
        cut = next(number for number, line in enumerate(lines) if two in line and '"live"' in line)
        (host.root / ".deploy" / "journal.jsonl").write_text("".join(lines[:cut]))
        assert host.deploy("broken") == 8
        assert host.current() == two  # nothing was switched
        assert host.deploy("three", "--dry-run", "--json") == 0
        assert json.loads(host.out)["back_to"] == one

    def test_a_lost_journal_takes_current_as_the_way_back(self, host: Host) -> None:
        (one,) = host.given("one")
        (host.root / ".deploy" / "journal.jsonl").unlink()
        assert host.deploy("two", "--dry-run", "--json") == 0
        assert json.loads(host.out)["back_to"] == one
