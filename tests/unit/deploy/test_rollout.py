"""The story of a deployment with real artifacts and a small site that has no Django."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, List

import pytest

from deployable_zipfile import durable
from deployable_zipfile.deploy import health, journal, provision, restart
from deployable_zipfile.deploy.releases import Root
from deployable_zipfile.errors import DeploymentError, Interrupted
from tests.support.depth import sampled
from tests.support.sites import PROJECT, Host, serving_current, write_environment

Run = Callable[..., int]
STEPS = ["install", "environment", "shared", "labels", "django-check", "collectstatic", "wsgi", "migrate", "manage"]


class TestDeploy:
    def test_the_first_release_of_all_becomes_live(self, host: Host) -> None:
        one = host.live("one", "--json")
        document = json.loads(host.out)
        assert document["changed"] is True
        assert document["release"] == one
        assert document["previous"] is None
        assert [step["name"] for step in document["steps"]] == [
            "check", *STEPS, "config-test", "switch", "restart", "health", "prune"
        ]  # fmt: skip
        assert os.readlink(str(host.root / "current")) == f"releases/{one}"
        assert (host.root / "current" / "environment.json").stat().st_mode & 0o777 == 0o640

    @pytest.mark.deep
    def test_the_text_tells_each_steps_time_and_share(self, host: Host) -> None:
        one = host.live("one")
        assert f"{one} is live" in host.out.splitlines()[-1]
        assert host.out.count("%") == 15

    def test_a_second_run_changes_nothing_and_says_so(self, host: Host) -> None:
        host.given("one")
        before = (host.root / ".deploy" / "journal.jsonl").read_bytes()
        host.live("one", "--json")
        assert json.loads(host.out)["changed"] is False
        assert (host.root / ".deploy" / "journal.jsonl").read_bytes() == before

    @pytest.mark.usefixtures("without_commands")
    def test_options_are_remembered(self, host: Host) -> None:
        host.live("one", "--keep", "7", "--shared", "media=site_one/media")
        assert host.verb("two", "deploy") == 0
        assert (host.root / "current" / "site_one" / "media").is_symlink()
        assert host.current() != ""
        assert provision.environment_of(host.root / "current") == {"SECRET_KEY": "canary-of-this-test"}
        assert host.verb("one", "deploy", "--dry-run", "--json") == 0
        assert json.loads(host.out)["settings"]["keep"] == 7
        assert host.verb("one", "deploy", "--dry-run", "--json", "--forget") == 0
        assert json.loads(host.out)["settings"]["keep"] == 5

    @pytest.mark.usefixtures("without_commands")
    def test_a_changed_environment_alone_is_a_deployment(self, host: Host) -> None:
        host.given("one")
        write_environment(host.environment, NEW="value-of-new")
        host.live("one", "--json")
        assert json.loads(host.out)["changed"] is True
        assert (provision.environment_of(host.root / "current") or {})["NEW"] == "value-of-new"

    @pytest.mark.usefixtures("without_commands")
    def test_a_release_that_is_live_but_does_not_answer_is_deployed_again(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        host.live("one", "--health-timeout", "0.5")
        asked: List[str] = []

        def prove(check: Any, build: Any) -> Any:
            asked.append(build)
            if len(asked) == 1:
                raise DeploymentError("url", "an old release answers")
            return health.Proof(1, 0.0)

        monkeypatch.setattr(health, "prove", prove)
        host.live("one", "--json", "--health-timeout", "0.5")
        assert json.loads(host.out)["changed"] is True
        assert "deployed again" in host.err

    def test_dry_run_writes_nothing_at_all(self, host: Host) -> None:
        assert host.deploy("one", "--dry-run", "--json") == 0
        assert json.loads(host.out)["changed"] is True
        assert not host.root.exists()
        (one,) = host.given("one")
        before = sorted(str(path) for path in host.root.rglob("*"))
        assert host.deploy("two", "--dry-run") == 0
        assert f"on failure back to {one}" in host.out
        assert sorted(str(path) for path in host.root.rglob("*")) == before

    @pytest.mark.deep
    def test_further_management_commands_are_run_in_their_order(self, host: Host, tmp_path: Path) -> None:
        write_environment(host.environment, RAN=str(tmp_path / "ran"))
        host.live("one", "--createcachetable", "--manage", "demo --small")
        assert (tmp_path / "ran").read_text().splitlines() == [
            "check --deploy --fail-level ERROR",
            "collectstatic --noinput",
            "migrate --noinput",
            "createcachetable",
            "demo --small",
        ]

    @pytest.mark.parametrize(("how", "words"), sampled([("check", ["migrate --check --plan"]), ("skip", [])], 1))
    def test_migrate_can_be_looked_at_or_skipped(self, host: Host, tmp_path: Path, how: str, words: List[str]) -> None:
        write_environment(host.environment, RAN=str(tmp_path / "ran"))
        host.live("one", "--migrate", how)
        assert [line for line in (tmp_path / "ran").read_text().splitlines() if "migrate" in line] == words

    @pytest.mark.deep
    def test_migrations_that_are_left_when_only_looked_at_are_counted_and_named(self, host: Host) -> None:
        write_environment(host.environment, LEFT="1")
        assert host.deploy("one", "--migrate", "check") == 8
        assert "migrate --check: 2 left to apply, the first is pages.0004_more" in host.error()
        write_environment(host.environment, FAIL_AT="migrate")
        assert host.deploy("one", "--migrate", "check") == 8
        assert "migrate: exit status 1. Read " in host.error()

    @pytest.mark.usefixtures("without_commands")
    def test_old_releases_are_pruned_after_the_proof(self, host: Host) -> None:
        one = host.live("one", "--keep", "2")
        two = host.live("two")
        three = host.live("three", "--json")
        assert json.loads(host.out)["pruned"] == [one]
        assert sorted(os.listdir(str(host.root / "releases"))) == sorted([two, three])

    @pytest.mark.deep
    def test_moving_from_steps_made_by_hand_takes_the_old_folder_as_the_way_back(self, host: Host) -> None:
        (host.root / "by-hand").mkdir(parents=True)
        os.symlink("by-hand", str(host.root / "current"))
        assert host.deploy("broken") == 8
        assert os.readlink(str(host.root / "current")) == "by-hand"
        host.live("one", "--json")
        assert json.loads(host.out)["previous"] == "by-hand"

    def test_a_real_folder_called_current_is_refused_with_the_way_out(self, host: Host) -> None:
        (host.root / "current").mkdir(parents=True)
        assert host.deploy("one") == 5
        assert "ln -s" in host.error()


@pytest.mark.usefixtures("without_commands")
class TestConfiguration:
    def test_the_test_sees_the_new_release_in_place_of_current(self, host: Host, tmp_path: Path) -> None:
        variables = tmp_path / "httpd.env"
        variables.write_text(
            f"# comment\nCFGOV_CURRENT={host.root}/current\nexport ROOT='{host.root}/current/x y'\n"
            f"OTHER={host.root}/currently\n"
        )
        script = tmp_path / "test-it"
        script.write_text(f'#!/bin/sh\necho "$1|$CFGOV_CURRENT|$ROOT|$OTHER" > {tmp_path}/seen\n')
        script.chmod(0o755)
        one = host.live("one", "--config-test", f"{script} {{release}}/a", "--httpd-env", str(variables))
        release = host.root / "releases" / one
        assert (tmp_path / "seen").read_text() == f"{release}/a|{release}|{release}/x y|{host.root}/currently\n"

    def test_a_bad_configuration_stops_before_the_switch(self, host: Host) -> None:
        (one,) = host.given("one")
        assert host.deploy("two", "--config-test", "sh -c 'echo Syntax error on line 3 >&2; exit 1'") == 8
        assert "config-test: exit status 1. Read " in host.error()
        assert "Syntax error on line 3" in host.log()
        assert host.current() == one

    def test_a_line_that_is_no_variable_is_named(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "httpd.env").write_text("A=1\nnot a variable\n")
        assert host.deploy("one", "--httpd-env", str(tmp_path / "httpd.env")) == 2
        assert "line 2" in host.error()

    def test_a_configuration_that_differs_restarts_httpd_itself_too(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: List[str] = []
        for kind in (restart.ModWsgiSignal, restart.HttpdGraceful):
            monkeypatch.setattr(kind, "restart", lambda self, *_: told.append(self.name) or self.name)
        words = ["--restart", "mod_wsgi-sigusr1", "--config-path", f"{PROJECT}/apache"]
        for archive in ("one", "two", "httpd"):
            host.live(archive, *words)
        assert told == ["mod_wsgi-sigusr1"] * 3 + ["httpd-graceful"]


@pytest.mark.usefixtures("without_commands")
class TestDisk:
    """What ``tests/integration/test_power_cut.py`` proves with real power cuts, as far as it can be seen without."""

    @pytest.mark.usefixtures("with_commands")
    def test_what_commands_wrote_is_waited_for_before_the_switch_on_every_file_system(
        self, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (one,) = host.given("one")
        static = tmp_path / "static"
        static.mkdir()
        write_environment(host.environment, STATIC_ROOT=str(static), HOME=str(tmp_path), NOTHING="/not/there", X="x")
        real = os.stat

        def elsewhere(path: Any, *arguments: Any, **options: Any) -> Any:
            status = real(path, *arguments, **options)
            return SimpleNamespace(st_mode=status.st_mode, st_dev=-1) if path == str(static) else status

        waited = []
        monkeypatch.setattr(durable, "sync_file_system", lambda path: waited.append((path, host.current())))
        monkeypatch.setattr(os, "stat", elsewhere)
        host.live("two")
        own = [(path, current) for path, current in waited if not path.endswith("/tree")]
        assert sorted(own) == sorted([(str(static), one), (str(host.root), one)] * 2)

    def test_a_disk_that_did_not_take_what_commands_wrote_leaves_the_old_release_live(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (one,) = host.given("one")

        def fail(path: str) -> None:
            if path == str(host.root):
                raise OSError(5, "Input/output error", path)

        monkeypatch.setattr(durable, "sync_file_system", fail)
        assert host.deploy("two") == 8
        assert "the disk did not take what was written (Input/output error)" in host.error()
        assert host.current() == one
        assert "bad" in host.states().values()

    def test_a_pruning_that_was_cut_short_is_finished_though_nothing_else_is_to_be_done(self, host: Host) -> None:
        host.given("one")
        trash = host.root / "releases" / f".trash-{'0' * 32}"
        trash.mkdir()
        assert host.deploy("one", "--json") == 0
        assert json.loads(host.out)["changed"] is False
        assert not trash.exists()


@pytest.mark.usefixtures("without_commands")
class TestRollback:
    def test_one_that_was_cut_short_after_the_switch_goes_on_and_does_not_turn_round(self, host: Host) -> None:
        one, two = host.given("one", "two")
        root = Root(host.root)
        details = {"verb": "rollback", "bad": True, "from": f"releases/{two}"}
        root.journal.append(journal.STARTED, f"releases/{one}", **details)
        root.switch(f"releases/{one}")
        assert host.verb("one", "rollback") == 0
        assert host.current() == one
        assert host.states() == {one: "live", two: "bad"}

    def test_it_goes_to_the_last_good_release_and_marks_the_one_it_leaves(self, host: Host) -> None:
        one, two = host.given("one", "two")
        assert host.verb("three", "rollback", "--json") == 0
        assert json.loads(host.out)["release"] == one
        assert host.current() == one
        assert host.states() == {one: "live", two: "bad"}

    def test_twice_goes_two_back(self, host: Host) -> None:
        one, two, three = host.given("one", "two", "three")
        assert host.verb("one", "rollback") == 0
        assert host.current() == two
        assert host.verb("one", "rollback") == 0
        assert host.current() == one
        assert host.verb("one", "rollback") == 8
        assert "no earlier good release" in host.error()
        assert host.current() == one
        assert host.states()[three] == "bad"

    def test_a_release_left_as_good_can_be_gone_back_to(self, host: Host) -> None:
        one, two = host.given("one", "two")
        assert host.verb("one", "rollback", "--not-bad") == 0
        assert host.verb("one", "rollback") == 0
        assert host.current() == two
        assert host.states()[one] == "bad"

    def test_nothing_to_roll_back_to_is_said(self, host: Host) -> None:
        (one,) = host.given("one")
        assert host.verb("one", "rollback") == 8
        assert host.current() == one

    def test_an_unhealthy_target_brings_the_current_one_back(self, host: Host, root: Path) -> None:
        one, two = host.given("one", "two")
        with serving_current(root, bad=(one,)) as sick:
            words = ["--health-url", sick.url, "--health-timeout", "0.5"]
            assert host.verb("one", "rollback", *words) == 8
        assert f"{two} is live again" in host.error()
        assert host.current() == two

    def test_the_environment_of_the_old_release_comes_back_with_it(self, host: Host) -> None:
        host.given("one")
        write_environment(host.environment, NEW="value-of-new")
        host.live("two")
        assert host.verb("one", "rollback") == 0
        assert provision.environment_of(host.root / "current") == {"SECRET_KEY": "canary-of-this-test"}

    def test_pruning_after_a_rollback_keeps_current_and_its_predecessor(self, host: Host) -> None:
        one, two, three = host.given("one", "two", "three")
        assert host.verb("one", "rollback") == 0
        assert host.verb("one", "prune", "--keep", "1") == 0
        assert host.current() == two
        assert sorted(os.listdir(str(host.root / "releases"))) == sorted([one, two, three])

    def test_a_dry_run_says_where_it_would_go(self, host: Host) -> None:
        one, two = host.given("one", "two")
        assert host.verb("one", "rollback", "--dry-run") == 0
        assert host.out == f"would go to {one}\n"
        assert host.current() == two

    def test_a_root_that_was_never_deployed_to_is_refused(self, host: Host) -> None:
        for verb in ("rollback", "prune"):
            assert host.verb("one", verb) == 2
            assert "never deployed to" in host.error()
        assert not host.root.exists()


@pytest.mark.usefixtures("without_commands")
class TestTool:
    def test_the_verbs_work_without_an_artifact(self, host: Host) -> None:
        import subprocess
        import sys

        one, two = host.given("one", "two")
        command = [sys.executable, "-I", str(host.root / ".deploy" / "tool")]
        listed = subprocess.run(
            [*command, "releases", "--root", str(host.root), "--json"], stdout=subprocess.PIPE, check=True
        )
        assert [row["state"] for row in json.loads(listed.stdout)["releases"]] == ["previous", "live"]
        subprocess.run([*command, "rollback", "--root", str(host.root), "-q"], stdout=subprocess.PIPE, check=True)
        assert host.current() == one
        assert host.states()[two] == "bad"

    def test_it_is_the_newest_artifacts_and_the_only_one(self, host: Host) -> None:
        host.given("one")
        two = host.live("two")
        found = [path.name for path in (host.root / ".deploy").glob("tool*")]
        assert sorted(found) == ["tool", f"tool-{two}"]


def test_an_interruption_has_its_own_exit_code() -> None:
    assert Interrupted("x", "y").exit_code == 130
    assert journal.INTERRUPTED in journal.EVENTS


@pytest.mark.parametrize(
    "words",
    [
        ["--restart", "reboot"],
        ["--health-url", "ftp://x"],
        ["--health-header", "x"],
        ["--shared", "a=../b"],
        ["--link", "a"],
        ["--keep", "0"],
        ["--owner", "no-such-user"],
        ["--run-as", "no-such-user"],
        ["--lock-wait", "-1"],
        ["--older-than", "soon"],
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_made(host: Host, words: List[str]) -> None:
    assert host.deploy("one", *words) == 2
    assert not host.root.exists()


def test_a_root_that_is_a_file_is_named_by_each_verb(host: Host) -> None:
    host.root.write_text("")
    for verb in ("releases", "rollback", "prune", "deploy"):
        assert host.verb("one", verb) == 5
        assert f"error: {host.root}: is not a folder." in host.err
