"""The one runner of other programs."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest

from deployable_zipfile import process
from tests.support.depth import sampled
from tests.support.helpers import run_cli
from tests.support.hostile_parent import CLEAN, PACKAGE, STATE, spoiled


def test_a_program_starts_clean_whatever_this_process_was_started_with() -> None:
    said = spoiled(
        """
        from deployable_zipfile import inherited, process
        inherited.claim()
        print(process.run([sys.executable, "-c", sys.argv[1]], 30).output)
        """,
        STATE,
    )
    assert json.loads(said) == CLEAN


def test_a_program_starts_clean_while_this_process_ignores_signals_on_its_way_back() -> None:
    before = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    try:
        assert json.loads(process.run([sys.executable, "-c", STATE], 30).output) == CLEAN
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), before):
            signal.signal(number, handler)


def test_a_failed_program_is_no_success_though_its_end_was_to_be_ignored() -> None:
    said = spoiled(
        """
        from deployable_zipfile import inherited, process
        inherited.claim()
        print(process.run(["false"], 30).status)
        """
    )
    assert said == "1\n"


def test_a_helper_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; echo started"
    ended = process.run(["sh", "-c", script], 30)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert (ended.status, ended.output, ended.timed_out) == (0, "started\n", False)
    assert ended.seconds < 20


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    ended = process.run(["sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 3"], 30)
    assert ended.status == 3


def test_a_helper_that_goes_on_talking_is_not_waited_for(tmp_path: Path) -> None:
    script = f"(while :; do echo more; sleep 0.01; done) & echo $! > {tmp_path}/pid; echo started"
    ended = process.run(["sh", "-c", script], 30)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert ended.seconds < 20


def test_a_time_out_keeps_what_was_said_and_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.3)
    said: List[str] = []
    script = f"trap '' TERM; echo so far; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; sleep 60' & sleep 60"
    ended = process.run(["sh", "-c", script], 0.5, log=said.append)
    assert ended.timed_out
    assert "so far" in ended.output
    assert "so far" in "".join(said)
    pid = (tmp_path / "pid").read_text().strip()
    for _ in range(200):
        if not Path("/proc", pid).exists() or b") Z" in Path("/proc", pid, "stat").read_bytes():
            return
        time.sleep(0.02)
    pytest.fail("a process of the stopped session still runs")


def test_long_output_is_read_while_the_program_runs_and_its_end_is_kept() -> None:
    count: Dict[str, int] = {"size": 0}

    def log(text: str) -> None:
        count["size"] += len(text)

    program = "import sys; sys.stdout.write('x' * 3_000_000 + 'end')"
    ended = process.run([sys.executable, "-c", program], 30, log=log)
    assert count["size"] == 3_000_003
    assert ended.output.endswith("xend")
    assert len(ended.output) == 1024 * 1024


def test_characters_cut_by_a_piece_are_put_together() -> None:
    program = "import os, time; os.write(1, b'caf\\xc3'); time.sleep(0.1); os.write(1, b'\\xa9\\n\\xff')"
    assert process.run([sys.executable, "-c", program], 30).output == "caf\u00e9\n\ufffd"


def test_the_end_by_a_signal_is_told() -> None:
    assert process.run(["sh", "-c", "kill -9 $$"], 30).why() == "ended by SIGKILL"
    assert process.run(["sh", "-c", "exit 3"], 30).why() == "exit status 3"


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        process.run(["/nonexistent/program"], 30)


def test_a_user_may_be_given_by_number() -> None:
    nobody = process.person("nobody")
    assert process.person(str(nobody.uid)) == nobody
    for name in ("4000000001", "1" * 30, "-1", "+1", "1_0", "\u0661", ""):
        with pytest.raises(KeyError):
            process.person(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_program_of_another_user_has_that_users_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setenv("USER", "root")
    nobody = process.person("nobody")
    words = ["sh", "-c", "echo $HOME $USER $LOGNAME; id -u; id -G; ls /proc/self/fd | wc -l"]
    lines = process.run(words, 30, user=nobody).output.splitlines()
    assert lines[0].split() == [nobody.home, "nobody", "nobody"]
    assert lines[1] == str(nobody.uid)
    assert set(map(int, lines[2].split())) == set(os.getgrouplist("nobody", nobody.gid))
    assert int(lines[3]) <= 4  # 0 to 2, and the one of ls itself


@pytest.mark.parametrize(
    "inherited",
    [
        {},
        {"PATH": "/usr/bin:/bin"},
        {"PATH": "", "HOME": "/h"},
        {"PATH": "/usr/bin", "SECRET": "x", "PYTHONPATH": "/x"},
    ],
)
def test_the_environment_is_complete_and_holds_nothing_else(inherited: Dict[str, str]) -> None:
    found = process.environment(inherited=inherited)
    assert {"/usr/sbin", "/sbin", "/usr/bin", "/bin"} <= set(found["PATH"].split(":"))
    assert set(found) == {"PATH", "HOME", "USER", "LOGNAME", "SHELL"}
    assert found["HOME"] == inherited.get("HOME", found["HOME"])


def test_an_interruption_ends_the_program_too(tmp_path: Path) -> None:
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo said; sleep 60"], 30, log=interrupt)
    pid = (tmp_path / "pid").read_text().strip()
    assert not Path("/proc", pid).exists()


def test_a_signal_that_comes_while_a_program_is_started_leaves_none_behind(tmp_path: Path) -> None:
    # In a process of one thread: where there are more, as in a test runner, another one takes the signal.
    program = f"""
        import os, signal
        from deployable_zipfile import inherited, process

        def interrupt(*_):
            raise KeyboardInterrupt

        signal.signal(signal.SIGUSR1, interrupt)
        parent = os.getpid()
        words = ["sh", "-c", "echo $$ > {tmp_path}/pid; sleep 60"]
        try:
            process.run(words, 30, started=lambda _: os.kill(parent, signal.SIGUSR1))
        except KeyboardInterrupt:
            children = open(f"/proc/{{parent}}/task/{{parent}}/children").read()
            print("interrupted, children:", children.split())
    """

    begin = f"import sys; sys.path.insert(0, {PACKAGE!r})\n"
    done = run_cli([sys.executable, "-c", begin + textwrap.dedent(program)])

    assert done.stdout == "interrupted, children: []\n"
    written = (tmp_path / "pid").read_text().split() if (tmp_path / "pid").exists() else []
    assert [pid for pid in written if Path("/proc", pid).exists()] == []


SERVER = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == "stubborn" else signal.SIG_DFL)
child = subprocess.Popen(["sleep", "60"])
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", sampled(["obedient", "stubborn"], ["stubborn"]))
def test_a_server_is_stopped_with_all_that_it_started(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.3)
    output = tmp_path / "output"
    with output.open("wb") as file:
        server = process.Server([sys.executable, "-c", SERVER, kind], file.fileno(), "/", {"PATH": os.environ["PATH"]})
        with server:
            for _ in range(600):
                if output.read_text().endswith("\n"):
                    break
                time.sleep(0.05)
            assert not server.has_ended()
    assert server.has_ended()
    for number in output.read_text().split():
        for _ in range(600):  # a killed child is there until its new parent has waited for it
            if not is_running(number):
                break
            time.sleep(0.05)
        assert not is_running(number)


def is_running(number: str) -> bool:
    try:
        return Path("/proc", number, "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_a_server_that_cannot_be_started_leaves_signals_as_they_were(tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as file, pytest.raises(OSError):
        process.Server([str(tmp_path / "absent")], file.fileno(), "/", {}).__enter__()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


@pytest.fixture(params=["spawned", "forked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let :func:`process.answer` start programs in either way: some systems have only the second."""
    used: List[str] = []
    start, run = os.posix_spawnp, process.run

    def spawned(*words: Any, **options: Any) -> int:
        if request.param == "forked":
            raise NotImplementedError
        used.append("spawned")
        return start(*words, **options)

    def forked(*words: Any, **options: Any) -> process.Ended:
        used.append("forked")
        return run(*words, **options)

    monkeypatch.setattr(sys, "_current_frames", lambda: {1: None})  # a runner of tests has threads
    monkeypatch.setattr(os, "posix_spawnp", spawned)
    monkeypatch.setattr(process, "run", forked)
    process.answer(["true"], 30, env=dict(os.environ))
    assert used == [request.param]
    return str(request.param)


def _answered(program: str, timeout: float = 30, cwd: str = "/") -> process.Answer:
    return process.answer([sys.executable, "-c", program], timeout, cwd, dict(os.environ))


def test_an_answer_has_both_outputs_the_status_and_its_folder(way: str, tmp_path: Path) -> None:
    before = os.getcwd()
    program = "import os, sys; sys.stdout.write(os.getcwd() + 'x' * 100000); sys.stderr.write('said'); sys.exit(3)"
    found = _answered(program, cwd=str(tmp_path))
    assert (found.status, found.stderr, found.timed_out) == (3, "said", False)
    assert found.stdout == str(tmp_path).encode() + b"x" * 100_000
    assert os.getcwd() == before
    assert _answered("import os; os.kill(os.getpid(), 15)").status == -15


def test_a_program_that_takes_too_long_gives_no_answer(way: str, tmp_path: Path) -> None:
    helper = f"sleep 2.5; echo >{tmp_path}/lived"
    found = _answered(f"import subprocess, time; subprocess.Popen(['sh', '-c', {helper!r}]); time.sleep(60)", 1.0)
    assert found.timed_out
    time.sleep(2.5)
    assert not (tmp_path / "lived").exists()


def test_an_answer_is_complete_when_its_process_ended(way: str) -> None:
    """A helper that keeps the output open is not waited for."""
    began = time.monotonic()
    found = _answered("import subprocess; subprocess.Popen(['sleep', '20'], start_new_session=True); print('done')")
    assert (found.status, found.stdout) == (0, b"done\n")
    assert time.monotonic() - began < 15


def test_a_program_or_a_folder_that_is_missing_is_an_error_of_the_system(way: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        process.answer(["no-such-program"], 30, env=dict(os.environ))
    with pytest.raises(FileNotFoundError):
        process.answer(["true"], 30, str(tmp_path / "gone"), dict(os.environ))
    (tmp_path / "own").write_text("#!/bin/sh\necho own\n")
    (tmp_path / "own").chmod(0o755)
    assert process.answer(["own"], 30, env={"PATH": str(tmp_path)}).stdout == b"own\n"


def test_an_answer_that_is_interrupted_leaves_nothing_running(way: str, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.5)
        with pytest.raises(KeyboardInterrupt):
            _answered(f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


def test_an_answer_begins_clean_in_both_ways(way: str, tmp_path: Path) -> None:
    (tmp_path / "state.py").write_text(STATE)
    program = f"""
        import os, sys
        from deployable_zipfile import inherited, process
        def spawned(*words, **options):
            raise NotImplementedError
        if {way!r} == "forked":
            os.posix_spawnp = spawned
        inherited.claim()
        sys.stdout.write(process.answer([sys.executable, sys.argv[1]], 30, "/", dict(os.environ)).stdout.decode())
    """
    assert json.loads(spoiled(program, str(tmp_path / "state.py"))) == CLEAN
