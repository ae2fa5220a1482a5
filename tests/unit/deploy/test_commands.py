"""Commands of a release: isolated, logged, stopped in time, and silent about secrets."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Dict

import pytest

from deployable_zipfile.deploy import options, restart
from deployable_zipfile.deploy.commands import CommandError, Commands, Log, person
from deployable_zipfile.deploy.redaction import Secrets
from deployable_zipfile.errors import DeploymentError, UsageError

URL = "postgres://site:p%40ss-canary@db.example/site?sslmode=require"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "site").mkdir()
    return tmp_path


def commands(release: Path, timeout: float = 30.0, **variables: str) -> Commands:
    return Commands(release, "site/manage.py", Log(release / "logs" / "log", Secrets(variables)), timeout)


@pytest.mark.parametrize(
    "shown",
    [
        "could not open postgres://site:p%40ss-canary@db.example/site?sslmode=require",
        "password p@ss-canary is wrong",
        "p%40ss-canary",
        repr("p@ss-canary"),
    ],
)
def test_no_form_of_a_value_is_shown(shown: str) -> None:
    hidden = Secrets({"DATABASE_URL": URL}).hidden(shown)
    assert "canary" not in hidden
    assert "[DATABASE_URL]" in hidden


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('quote" and \\ canary', 'quote\\" and \\\\ canary'),
        ("line one is long\nline canary two", "line canary two"),
        ("  canary-with-blanks  ", "x canary-with-blanks y"),
        ("caf\u00e9-canary", "caf\\u00e9-canary"),
    ],
)
def test_a_value_is_found_as_json_python_and_single_lines_write_it(value: str, shown: str) -> None:
    assert "canary" not in Secrets({"KEY": value}).hidden(shown)


def test_a_value_too_short_to_be_a_secret_does_not_eat_the_output() -> None:
    assert Secrets({"DEBUG": "0"}).hidden("10 files") == "10 files"


def test_the_longest_value_is_hidden_first() -> None:
    assert Secrets({"A": "canary", "B": "canary-long"}).hidden("canary-long canary") == "[B] [A]"


def test_a_command_sees_a_clean_environment(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("LC_TIME", "C")
    output = commands(release).python("test", ["-c", "import os; print(sorted(os.environ))"])
    assert "AWS" not in output
    assert "PYTHONPATH" not in output
    assert "LC_TIME" in output
    assert "PATH" in output


def test_a_command_runs_isolated_in_the_release_under_umask_022(release: Path) -> None:
    script = "import os, sys; open('made', 'w'); print(sys.flags.isolated, os.getcwd(), oct(os.stat('made').st_mode))"
    before = os.umask(0o077)
    try:
        output = commands(release).python("test", ["-c", script])
    finally:
        os.umask(before)
    assert output == f"1 {os.path.realpath(str(release))} 0o100644\n"


def test_manage_py_is_used_where_there_is_one_and_django_else(release: Path) -> None:
    with pytest.raises(CommandError) as caught:
        commands(release).manage("check", ["check"])
    assert "No module named django" in caught.value.output
    (release / "site" / "manage.py").write_text("import sys; print(sys.argv[1:])")
    assert commands(release).manage("check", ["check"]) == "['check']\n"


def test_a_failure_repeats_nothing_of_the_output_and_names_the_log(release: Path) -> None:
    with pytest.raises(DeploymentError) as caught:
        commands(release, KEY="canary-1").python("migrate", ["-c", "import sys; print('x'); sys.exit('no canary-1')"])
    assert str(caught.value) == f"migrate: exit status 1. Read {release}/logs/log."
    log = (release / "logs" / "log").read_text()
    assert "canary" not in log
    assert "no [KEY]" in log
    assert (release / "logs" / "log").stat().st_mode & 0o777 == 0o640


def test_a_secret_in_a_commands_own_words_is_not_logged(release: Path) -> None:
    commands(release, KEY="canary-1").python("test", ["-c", "pass", "--password=canary-1"])
    assert "canary" not in (release / "logs" / "log").read_text()


def test_a_command_killed_by_a_signal_is_told_so(release: Path) -> None:
    with pytest.raises(DeploymentError, match="ended by SIGKILL"):
        commands(release).python("test", ["-c", "import os; os.kill(os.getpid(), 9)"])


def test_a_command_that_hangs_is_stopped_with_all_its_children(release: Path, tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; sleep 60"
    with pytest.raises(DeploymentError, match="did not end within"):
        commands(release, timeout=0.4).command("test", ["sh", "-c", script], {})
    child = Path("/proc") / (tmp_path / "pid").read_text().strip()
    for _ in range(100):
        if not child.exists() or b") Z" in (child / "stat").read_bytes():
            return
        time.sleep(0.05)
    pytest.fail("the child of the stopped command still runs")


def test_output_that_is_not_utf8_is_no_obstacle(release: Path) -> None:
    output = commands(release).python("test", ["-c", "import os; os.write(1, b'caf\\xe9\\n')"])
    assert output == "caf\ufffd\n"


def test_variables_of_one_command_are_added(release: Path) -> None:
    words = [sys.executable, "-c", "import os; print(os.environ['X'])"]
    variables: Dict[str, str] = {"X": "yes"}
    assert commands(release).command("config-test", words, variables) == "yes\n"


def test_a_command_that_is_not_there_is_one_clear_error(release: Path) -> None:
    with pytest.raises(DeploymentError, match="cannot be run"):
        commands(release).command("config-test", ["/nonexistent/httpd", "-t"], {})


def test_an_unknown_user_is_refused() -> None:
    with pytest.raises(UsageError, match="no such user"):
        person("nobody-of-this-name")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_command_runs_as_another_user(release: Path) -> None:
    for folder in (release, *release.parents):
        if folder != Path("/") and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    (release / "venv" / "bin" / "python").unlink()
    (release / "venv" / "bin" / "python").symlink_to("/bin/sh")
    made = Commands(release, "site/manage.py", Log(release / "logs" / "log", Secrets({})), 30.0, person("nobody"))
    assert made.command("test", ["id", "-un"], {}) == "nobody\n"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("raise ValueError('canary\\nadvice')", r"exit status 1: ValueError\Z"),
        (
            "print('ERRORS:\\n?: (a.E001) wrong\\n\\tHINT: advice'); raise SystemExit(1)",
            r"exit status 1: \?: \(a\.E001\) wrong\Z",
        ),
        ("print('canary'); raise SystemExit(3)", r"exit status 3\Z"),
    ],
)
def test_a_failed_command_shows_the_error_and_neither_its_advice_nor_its_values(
    release: Path, code: str, shown: str
) -> None:
    with pytest.raises(DeploymentError) as raised:
        commands(release).python("test", ["-c", code])
    assert re.search(shown, raised.value.why)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("word", ["./check", "bin/check", "../here/bin/check"])
def test_a_command_by_a_relative_path_is_refused_wherever_it_is(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands are started in another folder than the one in which somebody wrote the option."""
    for path in (tmp_path / "here" / "check", tmp_path / "here/bin/check"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match=f"--config-test: command not found: {word!r}. Give its absolute path"):
        options.Settings(config_test=f"{word} -t").check()
    with pytest.raises(DeploymentError, match="command not found"):
        restart.parse(f"command:{word} -t").prepare("/srv/site")
    options.Settings(config_test=f"{os.path.abspath(word)} -t").check()
    restart.parse(f"command:{os.path.abspath(word)} -t").prepare("/srv/site")
