"""Whatever a command line is started with, it does the same, and what it starts begins clean."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from deployable_zipfile.deploy import lock, releases, transaction
from tests.support.depth import sampled
from tests.support.sites import MANAGE, Host, build_id, make_site, states, write_environment

SPOIL = """
import os, signal, sys
what, words = sys.argv[1], sys.argv[2:]
usable = [n for n in range(1, 65) if n not in (9, 19, 32, 33)]
if what == "signals ignored":
    for number in usable:
        signal.signal(number, signal.SIG_IGN)
if what == "children ignored":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if what == "signals blocked":
    signal.pthread_sigmask(signal.SIG_BLOCK, usable)
if what == "umask 777":
    os.umask(0o777)
if what == "an alarm":
    signal.setitimer(signal.ITIMER_REAL, 1)
if what == "descriptors closed":
    os.closerange(0, 3)
if what == "input closed":
    os.close(0)
if what == "folder gone":
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
if what == "many descriptors":
    for _ in range(50):
        os.set_inheritable(os.dup(1), True)
environment = dict(os.environ)
if what == "env -i":
    environment = {}
if what == "cron":
    environment = {"HOME": "/root", "LOGNAME": "root", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
if what == "a strange environment":
    environment.update(PYTHONPATH="/nonexistent", PYTHONHASHSEED="0", LC_ALL="tr_TR.UTF-8", HOME="/nonexistent")
if what == "nohup":
    words = ["nohup", *words]
if what == "setsid":
    words = ["setsid", "--wait", *words]
os.execvpe(words[0], words, environment)
"""
SURROUNDINGS = [
    *("as they are", "env -i", "cron", "signals ignored", "children ignored", "signals blocked", "umask 777"),
    *("an alarm", "descriptors closed", "input closed", "folder gone", "many descriptors", "a strange environment"),
    *("nohup", "setsid"),
]


def started(what: str, folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", SPOIL, what, *words],
        cwd=str(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )


def tree(root: Path) -> Dict[str, Tuple[int, int]]:
    """Return mode and owner of every file that a deployment makes, but for the names of logs and tools."""
    found = {}
    for folder, folders, files in os.walk(str(root)):
        for name in folders + files:
            status = os.lstat(os.path.join(folder, name))
            found[os.path.relpath(os.path.join(folder, name), str(root))] = (status.st_mode, status.st_uid)
    return found


class Site:
    """A root, and the artifacts run as programs on it."""

    def __init__(self, root: Path, host: Host, what: str, folder: Path) -> None:
        self.root = root
        self._host = host
        self._what = what
        self._folder = folder

    def verb(self, archive: str, verb: str, *words: str) -> int:
        common = [sys.executable, "-I", str(self._host.artifacts[archive]), verb, "--root", str(self.root), "--json"]
        self.done = started(self._what, self._folder, *common, *words)
        return self.done.returncode

    def deploy(self, archive: str, *words: str) -> int:
        fixed = ["--env-file", str(self._host.environment), "--workers", "2", *self._host.health]
        return self.verb(archive, "deploy", *fixed, *words)


@pytest.fixture(scope="module")
def usual() -> Dict[str, Any]:
    """What the first of the surroundings came to."""
    return {}


@pytest.mark.deep
def test_a_deployment_with_closed_descriptors_makes_what_one_of_this_process_makes(
    host: Host, root: Path, tmp_path: Path
) -> None:
    host.live("one")
    expected = tree(root)
    os.rename(str(root), str(tmp_path / "before"))
    site = Site(root, host, "descriptors closed", tmp_path / "work")
    assert site.deploy("one") == 0, site.done.stderr
    assert tree(root) == expected


@pytest.mark.deep
@pytest.mark.parametrize("what", SURROUNDINGS)
def test_everything_is_the_same_in_all_surroundings(
    host: Host, root: Path, tmp_path: Path, what: str, usual: Dict[str, Any]
) -> None:
    site = Site(root, host, what, tmp_path / "work")
    codes: List[int] = []
    for archive in ("one", "broken", "two"):
        codes.append(site.deploy(archive, "--keep", "2"))
    codes.append(site.verb("one", "rollback"))
    codes.append(site.verb("one", "prune", "--keep", "1"))
    destination = tmp_path / "dest"
    done = started(what, tmp_path / "work", sys.executable, "-I", str(host.artifacts["one"]), "-d", str(destination))
    codes.append(done.returncode)
    # A closed stdout only hides the message: what was done is done, and the exit code says so.
    assert codes == [0, 8, 0, 0, 0, 0], (site.done.stderr, done.stderr)
    found = {"states": sorted(states(root).values()), "root": tree(root), "destination": tree(destination)}
    assert build_id(destination) is not None
    if not usual:
        usual.update(found)
    assert found == usual


STATE = """
import json, sys
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
known = lambda key: [n for n in range(1, 32) if int(status[key], 16) >> (n - 1) & 1 and n not in (13, 25)]
with open(sys.argv[1], "a") as file:
    print(json.dumps([known("SigIgn"), known("SigBlk"), status["Umask"].strip()]), file=file)
"""


@pytest.mark.parametrize(
    "what", sampled(["as they are", "signals ignored", "signals blocked", "nohup"], ["signals ignored"])
)
@pytest.mark.parametrize("fails", sampled([False, True], [True]))
def test_a_server_that_is_restarted_begins_clean_also_on_the_way_back(
    host: Host, root: Path, tmp_path: Path, what: str, fails: bool
) -> None:
    host.given("one")
    script = tmp_path / "state.py"
    script.write_text(STATE)
    site = Site(root, host, what, tmp_path / "work")
    words = ["--restart", f"command:{sys.executable} {script} {tmp_path}/state"]
    if fails:
        words += ["--health-url", "http://127.0.0.1:1/", "--health-timeout", "0.3"]
    assert site.deploy("two", *words) == (8 if fails else 0)
    seen = [json.loads(line) for line in (tmp_path / "state").read_text().splitlines()]
    assert seen == [[[], [], "0022"]] * (2 if fails else 1)


def test_under_nohup_a_hang_up_is_survived_and_a_termination_is_not(host: Host, root: Path, tmp_path: Path) -> None:
    host.given("one")
    write_environment(host.environment, SLOW_AT="migrate", RAN=str(tmp_path / "ran"))
    words = ["deploy", "--root", str(root), "--env-file", str(host.environment), "-q", *host.health]
    command = [sys.executable, "-I", str(host.artifacts["two"]), *words]
    done = subprocess.Popen(["nohup", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=str(tmp_path))
    for _ in range(600):
        if (tmp_path / "ran").exists() and "migrate" in (tmp_path / "ran").read_text():
            break
        time.sleep(0.05)
    done.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert done.poll() is None
    done.send_signal(signal.SIGTERM)
    said = done.communicate(timeout=60)[0]
    assert done.returncode == 130, said


def wait_until_it_has_open(process: "subprocess.Popen[bytes]", path: Path) -> None:
    """Wait until *process* has opened the lock in *path*, which is held, and had time to ask for it."""
    opened = Path("/proc", str(process.pid), "fd")
    for _ in range(600):
        if os.path.realpath(path) in {os.path.realpath(one) for one in opened.iterdir()}:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the deployment never asked for the lock")
    time.sleep(0.2)


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_an_artifact_that_is_replaced_while_it_waits_is_not_deployed(
    host: Host, root: Path, tmp_path: Path, change: str
) -> None:
    host.given("one")
    given = tmp_path / "given.zip"
    shutil.copy(str(host.artifacts["two"]), str(given))
    with lock.locked(releases.Root(root).lock, "deploy", 0):
        waiting = subprocess.Popen(
            [sys.executable, "-I", str(given), "deploy", "--root", str(root), "-q", "--lock-wait", "60", *host.health],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        wait_until_it_has_open(waiting, releases.Root(root).lock)
        if change == "replaced":
            shutil.copy(str(host.artifacts["three"]), f"{given}.new")
            os.replace(f"{given}.new", str(given))
        else:
            given.unlink()
    said = waiting.communicate(timeout=60)[1].decode()
    assert waiting.returncode == 8, said
    assert f"error: {given}: was {change} while this command waited for the lock. Run it again." in said


@pytest.mark.deep
def test_options_are_read_under_the_lock(host: Host, root: Path) -> None:
    host.given("one")
    code: List[int] = []
    with lock.locked(releases.Root(root).lock, "deploy", 0):
        waiting = subprocess.Popen(
            [
                *(sys.executable, "-I", str(host.artifacts["two"]), "deploy", "--root", str(root), "--json", "-q"),
                *("--lock-wait", "60", *host.health),
            ],
            stdout=subprocess.PIPE,
        )
        wait_until_it_has_open(waiting, releases.Root(root).lock)
        path = root / ".deploy" / "journal.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            if "options" in line["details"]:
                line["details"]["options"]["manage"] = ["ran-what-was-remembered-last"]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        write_environment(root / "current" / "environment.json", NEWEST="1")
    document = json.loads(waiting.communicate(timeout=60)[0])
    code.append(waiting.returncode)
    assert code == [0]
    assert [step["what"] for step in document["steps"] if step["name"] == "manage"] == ["ran-what-was-remembered-last"]
    assert "NEWEST" in (root / "current" / "environment.json").read_text()


SAYS = """
import base64, json, os, sys, urllib.parse
secret = os.environ["SECRET_KEY"]
print(secret, json.dumps({"a": secret}), urllib.parse.quote(secret, safe=""), secret.upper())
print(secret[:9] + "\\n    " + secret[9:], base64.b64encode(b"user:" + secret.encode()).decode())
if "check" not in sys.argv and "collectstatic" not in sys.argv:
    sys.exit(secret)
"""
SECRET = 'cAn4ry/"of+this" test&'
GIVE_AWAY = ("of+this", "OF+THIS", "of%2Bthis", "b2YrdGhpcy", "9mK3RoaX", "vZit0aGlz")  # the last three in base64


@pytest.mark.parametrize("how", sampled(["migrate", "manage", "restart", "config-test", "wsgi"], ["migrate"]))
@pytest.mark.parametrize("json_wanted", sampled([[], ["--json"]], [["--json"]]))
def test_no_secret_is_shown_or_kept_whichever_command_prints_it(
    host: Host, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, json_wanted: List[str]
) -> None:
    write_environment(host.environment, SECRET_KEY=SECRET)
    monkeypatch.setenv("SECRET_KEY", SECRET)  # as an operator's shell may have it
    script = tmp_path / "says"
    script.write_text(f"#!{sys.executable}\nimport os; os.environ['SECRET_KEY'] = {SECRET!r}\n{SAYS}")
    script.chmod(0o755)
    files = {"migrate": {"manage": SAYS}, "manage": {"manage": SAYS}, "wsgi": {"wsgi": SAYS}}.get(how, {})
    assert host.deploy("one") == 0
    said = SAYS.replace("os.environ[", f"dict(SECRET_KEY={SECRET!r})[") if files else ""
    made = make_site(tmp_path / "says.zip", "says", **dict.fromkeys(files, said))
    host.artifacts = dict(host.artifacts, says=made)
    words = {
        "manage": ["--migrate", "skip", "--manage", "demo"],
        "restart": ["--restart", f"command:{script}"],
        "config-test": ["--config-test", f"{script} check-not {{release}}"],
    }.get(how, [])
    assert host.deploy("says", *words, *json_wanted) == 8
    state = [path for path in (root / ".deploy").rglob("*") if path.suffix in (".log", ".jsonl")]
    kept = "".join("".join(path.read_text().split()) for path in state)
    assert "[SECRET_KEY]" in kept
    for text in ("".join((host.out + host.err).split()), kept):
        for form in GIVE_AWAY:
            assert form not in text, form
    assert {path.stat().st_mode & 0o777 for path in state} == {0o640}
    assert "/logs/" in host.err


@pytest.mark.parametrize(
    ("option", "text"),
    sampled(
        [("--manage", "demo {0}"), ("--restart", "command:/bin/echo {0}"), ("--health-header", "Authorization: {0}")], 1
    ),
)
def test_an_option_that_holds_a_secret_is_refused(host: Host, root: Path, option: str, text: str) -> None:
    secret = "cAn4ry-of-this-option"
    write_environment(host.environment, API_TOKEN=secret, LEVEL="Authorization")
    assert host.deploy("one", option, text.format(secret)) == 2
    assert secret not in host.out + host.err
    assert "holds the value of API_TOKEN" in host.error()
    assert not root.exists()
    assert host.deploy("one", option, text.format("Authorization")) == 0, host.err


@pytest.mark.deep
def test_a_helper_that_a_command_leaves_behind_holds_nothing_up(host: Host, root: Path, tmp_path: Path) -> None:
    leaves = (
        "import subprocess, sys\n"
        "if 'helper' in sys.argv:\n"
        f"    child = subprocess.Popen(['sleep', '60']); open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
    )
    host.artifacts = dict(host.artifacts, leaves=make_site(tmp_path / "leaves.zip", "leaves", manage=leaves + MANAGE))
    began = time.monotonic()
    try:
        assert host.deploy("leaves", "--manage", "helper", "--step-timeout", "40") == 0, host.err
        assert time.monotonic() - began < 35
        assert host.deploy("two") == 0, host.err  # it does not hold the lock either
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_commands_of_another_user_have_that_users_surroundings(
    host: Host, root: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "who"
    script.write_text("#!/bin/sh\necho $(id -un) $HOME $USER $LOGNAME $(id -Gn) $(ls /proc/self/fd | wc -l)\n")
    script.chmod(0o755)
    for folder in (place, tmp_path, tmp_path.parent, *tmp_path.parent.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode & 0o7777 | 0o011)
    # The interpreter of the release may be in a folder that is root's own: the steps that need it are left out.
    real = transaction.perform
    left_out = ("django-check", "collectstatic", "migrate", "wsgi", "static")
    monkeypatch.setattr(transaction, "perform", lambda name, do: "left out" if name in left_out else real(name, do))
    assert host.deploy("one", "--run-as", "nobody", "--group", "nogroup", "--config-test", str(script)) == 0, host.err
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name
    assert f"nobody {nobody.pw_dir} nobody nobody {group} 4\n" in host.log()
