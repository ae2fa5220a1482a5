"""Restart strategies, against processes that are titled and behave like mod_wsgi's daemons and like httpd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

from deployable_zipfile import process
from deployable_zipfile.deploy import processes, restart
from deployable_zipfile.deploy.commands import Log
from deployable_zipfile.deploy.redaction import Secrets
from deployable_zipfile.deploy.restart import Release
from deployable_zipfile.errors import DeploymentError, UsageError

RELEASE = Release(Path("/nonexistent"), "site/site/wsgi.py")

# A parent that keeps COUNT children with the TITLE alive; a child ends, when told by SIGUSR1, as LAST says.
HTTPD = """
import os, signal, subprocess, sys, time
title, count, child, python = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
children = []
def start():
    children.append(subprocess.Popen([title, "-c", child], executable=python))
def graceful(*_):
    for one in list(children):
        one.kill()
signal.signal(signal.SIGUSR1, graceful)
for _ in range(count):
    start()
while True:
    for one in list(children):
        if one.poll() is not None:
            children.remove(one)
            start()
    time.sleep(0.01)
"""
READY = "print('ready', flush=True);"  # signals do what the test wants from here on
OBEYS = f"import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit()); {READY} time.sleep(60)"
# Loads for a moment, in one thread, before it has all of them.
LOADS = (
    f"import signal, sys, threading, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit()); {READY}"
    "time.sleep(0.2); [threading.Thread(target=time.sleep, args=(60,), daemon=True).start() for _ in range(3)];"
    "time.sleep(60)"
)
IGNORES = f"import signal, time; signal.signal(signal.SIGUSR1, signal.SIG_IGN); {READY} time.sleep(60)"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def httpd() -> Iterator[Start]:
    started: List["subprocess.Popen[str]"] = []

    def start(title: str, count: int = 3, child: str = OBEYS, name: str = "") -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [name or sys.executable, "-c", HTTPD, title, str(count), child, sys.executable],
            executable=sys.executable,
            env={"PYTHONHOME": sys.base_prefix},  # the name of argv[0] must not lead Python astray
            stdout=subprocess.PIPE,
            universal_newlines=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(count)] == ["ready\n"] * count
        return process

    yield start
    for one in started:
        os.killpg(one.pid, signal.SIGKILL)
        one.communicate()


def group() -> str:
    return f"t{os.getpid()}x{time.monotonic_ns()}"


class TestModWsgiSignal:
    def test_every_daemon_is_replaced(self, httpd: Start) -> None:
        name = group()
        httpd(f"(wsgi:{name})", 3)
        said = restart.ModWsgiSignal(name).restart(RELEASE, 30)
        assert said == f"replaced 3 of (wsgi:{name}) by SIGUSR1"

    @pytest.mark.deep
    def test_the_second_half_is_told_only_when_the_first_has_loaded_the_application(
        self, httpd: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = group()
        httpd(f"(wsgi:{name})", 4, LOADS)
        strategy = restart.ModWsgiSignal(name)
        while [processes.threads(processes.PROC, one) for one in strategy._daemons()] != [4, 4, 4, 4]:
            time.sleep(0.05)
        loaded = []
        kill = os.kill

        def watched(pid: int, number: int) -> None:
            loaded.append(sum(processes.threads(processes.PROC, one) == 4 for one in strategy._daemons()))
            kill(pid, number)

        monkeypatch.setattr(os, "kill", watched)
        strategy.restart(RELEASE, 30)
        assert len(loaded) == 4
        assert loaded[2] == 4
        assert [processes.threads(processes.PROC, one) for one in strategy._daemons()] == [4, 4, 4, 4]

    @pytest.mark.deep
    def test_daemons_that_never_have_as_many_threads_are_waited_for_only_so_long(
        self, httpd: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = group()
        httpd(f"(wsgi:{name})", 1)
        monkeypatch.setattr(restart, "_LOADING", 0.2)
        monkeypatch.setattr(processes, "threads", lambda _, process: -process.started)
        assert restart.ModWsgiSignal(name).restart(RELEASE, 30).startswith("replaced 1 ")

    def test_none_to_signal_is_a_failure(self) -> None:
        with pytest.raises(DeploymentError, match="nothing was signalled"):
            restart.ModWsgiSignal(group()).restart(RELEASE, 1)

    def test_a_title_cut_short_is_explained(self, httpd: Start) -> None:
        name = group()
        httpd(f"(wsgi:{name[:-2]}", 1)
        with pytest.raises(DeploymentError, match="too short") as caught:
            restart.ModWsgiSignal(name).restart(RELEASE, 1)
        assert "absolute path" in str(caught.value)

    def test_daemons_that_do_not_end_are_a_failure(self, httpd: Start) -> None:
        name = group()
        httpd(f"(wsgi:{name})", 2, IGNORES)
        with pytest.raises(DeploymentError, match="old ones among them"):
            restart.ModWsgiSignal(name).restart(RELEASE, 0.3)

    def test_another_httpd_with_the_same_group_is_left_alone(self, httpd: Start, tmp_path: Path) -> None:
        name = group()
        ours, theirs = (httpd(f"(wsgi:{name})", 1) for _ in range(2))
        (tmp_path / "pid").write_text(f"{ours.pid}\n")
        before = processes.children(processes.PROC, theirs.pid)
        said = restart.ModWsgiSignal(name, str(tmp_path / "pid")).restart(RELEASE, 30)
        assert said.startswith("replaced 1 ")
        assert processes.children(processes.PROC, theirs.pid) == before

    def test_a_longer_title_is_another_group(self, httpd: Start) -> None:
        name = group()
        httpd(f"(wsgi:{name}2)", 1)
        with pytest.raises(DeploymentError, match="nothing was signalled"):
            restart.ModWsgiSignal(name).restart(RELEASE, 1)


class TestHttpdGraceful:
    def test_the_children_of_the_parent_are_replaced(self, httpd: Start, tmp_path: Path) -> None:
        parent = httpd("worker", 2, name="/usr/sbin/httpd")
        (tmp_path / "pid").write_text(str(parent.pid))
        said = restart.HttpdGraceful(str(tmp_path / "pid")).restart(RELEASE, 30)
        assert said == f"signalled httpd {parent.pid}, 2 children replaced"

    def test_a_process_that_is_no_httpd_is_never_signalled(self, tmp_path: Path) -> None:
        with subprocess.Popen(["sleep", "60"]) as other:
            (tmp_path / "pid").write_text(str(other.pid))
            with pytest.raises(DeploymentError, match="not httpd; nothing was signalled"):
                restart.HttpdGraceful(str(tmp_path / "pid")).restart(RELEASE, 1)
            assert other.poll() is None
            other.kill()

    @pytest.mark.parametrize("text", ["", "none", "-1x"])
    def test_a_pid_file_without_a_number_is_a_failure(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "pid").write_text(text)
        with pytest.raises(DeploymentError, match="no process id"):
            restart.HttpdGraceful(str(tmp_path / "pid")).restart(RELEASE, 1)

    def test_no_pid_file_at_all_is_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(restart, "PID_FILES", ("/nonexistent/pid",))
        with pytest.raises(DeploymentError, match="no PID file"):
            restart.HttpdGraceful().restart(RELEASE, 1)


# Prints as systemd 219 does: NAME=value, nothing for a property that it does not know, no --value.
SYSTEMCTL = """#!/bin/sh
if [ "$1" = restart ]; then
    %s
    exit
fi
for word; do
    case "$word" in
    --value) echo "systemctl: unrecognized option '--value'" >&2; exit 1 ;;
    --property=*)
        name=${word#--property=}
        [ -f "$0.$name" ] && echo "$name=$(cat "$0.$name")" ;;
    esac
done
exit 0
"""


class TestSystemd:
    def install(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
        script = tmp_path / "systemctl"
        script.write_text(SYSTEMCTL % does)
        script.chmod(0o755)
        known = {
            "ActiveEnterTimestampMonotonic": "1000",
            "MainPID": "7",
            "LoadState": "loaded",
            "ActiveState": "active",
        }
        for name, text in known.items():
            (tmp_path / f"systemctl.{name}").write_text(text)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    @pytest.mark.parametrize(
        "does",
        ['echo 2000 > "$0.ActiveEnterTimestampMonotonic"', 'echo 8 > "$0.MainPID"', 'echo 9 > "$0.MainPID"; true'],
    )
    def test_a_unit_that_became_active_anew_or_has_another_main_process_was_restarted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
    ) -> None:
        self.install(tmp_path, monkeypatch, does)
        strategy = restart.Systemd("site.service")
        strategy.prepare("/srv/site")
        assert strategy.restart(RELEASE, 10) == "restarted site.service"

    @pytest.mark.parametrize(
        ("does", "why"),
        [
            ("true", "was not restarted"),
            ('echo 8 > "$0.MainPID"; echo failed > "$0.ActiveState"', "state failed"),
            ('echo 0 > "$0.MainPID"', "was not restarted"),
            ("echo no such unit >&2; exit 5", "exit status 5"),
            ("exec sleep 30", "did not end within"),
        ],
    )
    def test_anything_else_is_a_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, why: str
    ) -> None:
        self.install(tmp_path, monkeypatch, does)
        with pytest.raises(DeploymentError, match=why):
            restart.Systemd("site.service").restart(RELEASE, 0.3)

    def test_a_unit_that_is_not_there_is_found_out_before_anything_is_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.install(tmp_path, monkeypatch, "true")
        (tmp_path / "systemctl.LoadState").write_text("not-found")
        with pytest.raises(DeploymentError, match="not a unit"):
            restart.Systemd("site.service").prepare("/srv/site")

    def test_a_host_without_a_running_systemd_is_named_as_such(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.install(tmp_path, monkeypatch, "true")
        (tmp_path / "systemctl").write_text("#!/bin/sh\necho System has not been booted with systemd >&2\nexit 1\n")
        with pytest.raises(DeploymentError) as caught:
            restart.Systemd("site.service").prepare("/srv/site")
        assert str(caught.value) == (
            "systemd:site.service: systemctl cannot ask systemd (exit status 1). "
            "Use another --restart if it does not run here."
        )

    def test_a_unit_is_looked_at_before_a_first_deployment_has_a_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.install(tmp_path, monkeypatch, "true")
        log = Log(tmp_path / "no root/.deploy/logs/x.log", Secrets({}))

        strategy = restart.Systemd("site.service", lambda words, timeout: log.run("restart", words, timeout))

        strategy.prepare("/srv/site")
        with pytest.raises(DeploymentError, match="cannot be written"):
            strategy.restart(RELEASE, 5.0)
        assert not (tmp_path / "no root").exists()

    def test_a_host_without_systemd_is_found_out_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(process, "_FOLDERS", ())
        with pytest.raises(DeploymentError, match="not installed"):
            restart.Systemd("site.service").prepare("/srv/site")


class TestTouch:
    def test_the_script_of_the_release_gets_a_new_time(self, tmp_path: Path) -> None:
        script = tmp_path / "site" / "site" / "wsgi.py"
        script.parent.mkdir(parents=True)
        script.write_text("")
        os.utime(str(script), (1, 1))
        assert restart.Touch().restart(Release(tmp_path, "site/site/wsgi.py"), 1) == "touched wsgi.py"
        assert script.stat().st_mtime > 1

    def test_no_script_is_a_failure(self, tmp_path: Path) -> None:
        with pytest.raises(DeploymentError, match="is not a file"):
            restart.Touch(str(tmp_path / "gone.py")).prepare("/srv/site")
        with pytest.raises(DeploymentError, match="is not a file"):
            restart.Touch(str(tmp_path)).prepare("/srv/site")
        restart.Touch("other.py").prepare("/srv/site")
        restart.Touch().prepare("/srv/site")

    def test_a_file_of_the_site_need_not_be_there_before_the_first_deployment(self, tmp_path: Path) -> None:
        root = tmp_path / "site"
        (tmp_path / "link").symlink_to(root)
        for folder in (root, tmp_path / "link"):
            restart.Touch(str(folder / "current/site/wsgi.py")).prepare(str(root))
            restart.Touch(str(folder / "shared/reload")).prepare(str(root))
        with pytest.raises(DeploymentError, match="is not a file"):
            restart.Touch(f"{root}-other/current/site/wsgi.py").prepare(str(root))
        with pytest.raises(DeploymentError, match="cannot be touched"):
            restart.Touch("other.py").restart(Release(tmp_path, "wsgi.py"), 1)


class TestCommand:
    def test_it_runs_without_a_shell(self, tmp_path: Path) -> None:
        restart.Command(f"touch '{tmp_path}/a b;c'").restart(RELEASE, 10)
        assert os.listdir(str(tmp_path)) == ["a b;c"]

    @pytest.mark.parametrize(("command", "why"), [("false", "exit status 1"), ("sleep 30", "did not end")])
    def test_a_command_that_fails_or_hangs_is_a_failure(self, command: str, why: str) -> None:
        with pytest.raises(DeploymentError, match=why):
            restart.Command(command).restart(RELEASE, 0.2)

    def test_a_command_that_leaves_a_server_behind_with_its_output_open_is_not_waited_for(self) -> None:
        before = time.monotonic()
        restart.Command("sh -c 'sleep 5 & echo started'").restart(RELEASE, 60)
        assert time.monotonic() - before < 5

    def test_a_missing_command_is_found_out_before_anything_is_changed(self) -> None:
        with pytest.raises(DeploymentError, match="command not found"):
            restart.Command("/nonexistent/reload --now").prepare("/srv/site")

    def test_quotes_that_do_not_close_are_refused(self) -> None:
        with pytest.raises(UsageError, match="split"):
            restart.parse("command:echo 'a")


def test_none_says_that_it_did_nothing() -> None:
    assert "nothing was restarted" in restart.parse("none").restart(RELEASE, 1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mod_wsgi-sigusr1", "mod_wsgi-sigusr1"),
        ("mod_wsgi-sigusr1:site", "mod_wsgi-sigusr1"),
        ("httpd-graceful:/run/httpd.pid", "httpd-graceful"),
        ("systemd:a.service", "systemd"),
        (r"systemd:site@a-b\x2dc.service", "systemd"),
        ("touch", "touch"),
        ("command:true", "command"),
        ("none", "none"),
    ],
)
def test_a_strategy_is_read(text: str, name: str) -> None:
    assert restart.parse(text).name == name


@pytest.mark.parametrize("text", ["", "systemd", "systemd:", "command:", "command:  ", "none:x", "restart", "kill"])
def test_another_strategy_is_refused_and_the_choices_are_named(text: str) -> None:
    with pytest.raises(UsageError, match="mod_wsgi-sigusr1"):
        restart.parse(text)


@pytest.mark.parametrize("unit", ["a b", "--now", "a;b", "é.service", "a/b", "a\n"])
def test_what_is_no_name_of_a_unit_is_refused(unit: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a unit"):
        restart.parse(f"systemd:{unit}")
