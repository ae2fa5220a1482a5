"""Hosts as they are: every way to start an artifact, odd paths, poor environments, hostile settings."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

import pytest

from tests.support.artifacts import PACKAGE, runtime
from tests.support.drafts import PROJECT, draft
from tests.support.helpers import error_line, run_cli

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draft(runtime=runtime()).write(tmp_path_factory.mktemp("artifact") / "artifact.zip")


@pytest.fixture(scope="module")
def path_with_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a PATH on which ``python`` is the running interpreter, as the artifact's first line asks."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python").symlink_to(sys.executable)
    return f"{folder}:/usr/bin:/bin"


def assert_installed(destination: Path) -> None:
    """Prove that the site in *destination* is complete and its scripts start."""
    assert (destination / PROJECT / "settings.py").is_file()
    assert run_cli([destination / "venv" / "bin" / "demo"], env={}).stdout == "demo\n"
    assert run_cli([destination / "venv" / "bin" / "demo-script"], env={}).stdout == "script\n"
    partial = [path.name for path in destination.parent.iterdir() if path.name.endswith(".partial")]
    assert partial == []


# Ways to start it


def test_by_its_own_name(artifact: Path, path_with_python: str, tmp_path: Path) -> None:
    run_cli([artifact, "-d", tmp_path / "site"], env={"PATH": path_with_python})
    assert_installed(tmp_path / "site")


def test_by_its_relative_name_from_its_folder(artifact: Path, path_with_python: str, tmp_path: Path) -> None:
    run_cli(["./artifact.zip", "-d", tmp_path / "site"], cwd=artifact.parent, env={"PATH": path_with_python})
    assert_installed(tmp_path / "site")


def test_with_python(artifact: Path, tmp_path: Path) -> None:
    run_cli([sys.executable, artifact, "--destination", tmp_path / "site"])
    assert_installed(tmp_path / "site")


def test_with_python_from_another_folder_by_relative_paths(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(str(artifact), str(tmp_path / "artifact.zip"))
    run_cli([sys.executable, "../artifact.zip", "-d", "../site/one"], cwd=tmp_path / "elsewhere")
    assert_installed(tmp_path / "site" / "one")


def test_through_a_symbolic_link(artifact: Path, path_with_python: str, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(artifact)
    run_cli([tmp_path / "latest", "-d", tmp_path / "site"], env={"PATH": path_with_python})
    assert_installed(tmp_path / "site")


@pytest.mark.parametrize("name", ["my artifact.zip", "größe 日本.zip", "no-suffix", "a=b;c&d.zip", "%s {0}.zip"])
def test_under_an_odd_name(name: str, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "odd folder é").mkdir()
    copy = shutil.copy(str(artifact), str(tmp_path / "odd folder é" / name))
    run_cli([sys.executable, copy, "-d", tmp_path / "site"])
    assert_installed(tmp_path / "site")


@pytest.mark.parametrize("order", ["before", "after"])
def test_with_extract_py(order: str, artifact: Path, tmp_path: Path) -> None:
    options = ["-d", tmp_path / "site"]
    words = [artifact, *options] if order == "before" else [*options, artifact]
    run_cli([sys.executable, PACKAGE / "extract.py", *words])
    assert_installed(tmp_path / "site")


def test_without_the_right_to_execute_it(artifact: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(str(artifact), str(tmp_path / "artifact.zip")))
    copy.chmod(0o444)
    run_cli([sys.executable, copy, "-d", tmp_path / "site"])
    assert_installed(tmp_path / "site")


def test_in_a_folder_that_holds_modules_named_like_the_standard_library_s(artifact: Path, tmp_path: Path) -> None:
    for name in ("json", "email", "platform", "struct", "zlib", "venv", "argparse", "errors", "archive", "layout"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    run_cli([sys.executable, artifact, "-d", tmp_path / "site"], cwd=tmp_path)
    assert_installed(tmp_path / "site")


def test_from_a_folder_that_is_gone(artifact: Path, tmp_path: Path) -> None:
    shell = f'mkdir "{tmp_path}/gone"; cd "{tmp_path}/gone"; rmdir "{tmp_path}/gone"; exec "$@"'
    run_cli(["/bin/sh", "-c", shell, "sh", sys.executable, "-I", artifact, "-d", tmp_path / "site"])
    assert_installed(tmp_path / "site")


def test_from_a_pipe_it_is_refused(artifact: Path, tmp_path: Path) -> None:
    os.mkfifo(str(tmp_path / "pipe"))
    done = run_cli([sys.executable, PACKAGE / "extract.py", tmp_path / "pipe", "-d", tmp_path / "site"], code=3)
    assert error_line(done) == f"error: {tmp_path}/pipe: is not a regular file. Give the path of an artifact."


@pytest.mark.parametrize("kind", ["missing", "folder", "unreadable", "empty"])
def test_an_artifact_that_is_none_is_refused_by_its_path(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"")
    if kind == "unreadable":
        path.unlink()
        path.symlink_to(path)
    done = run_cli([sys.executable, PACKAGE / "extract.py", path, "-d", tmp_path / "site"], code=3)
    assert error_line(done).startswith(f"error: {path}: ")
    assert not (tmp_path / "site").exists()


def test_while_it_is_replaced_under_way(artifact: Path, tmp_path: Path) -> None:
    """What was opened is what is installed, whatever takes its name meanwhile."""
    copy = Path(shutil.copy(str(artifact), str(tmp_path / "artifact.zip")))
    other = tmp_path / "other.zip"
    other.write_bytes(b"another file" * 1000)
    process = subprocess.Popen(
        [sys.executable, "-I", str(copy), "-d", str(tmp_path / "site")], stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stderr is not None
    process.stderr.readline()  # "Verifying ...": it is open
    os.replace(str(other), str(copy))
    assert process.wait(60) == 0
    process.stderr.close()
    assert_installed(tmp_path / "site")


# Destinations

NAMES = [
    "with blank",
    "größe",
    "日本語",
    "it's",
    'quo"te',
    "per%cent",
    "dollar$HOME",
    "semi;colon",
    "-leading-dash",
    "trailing-dash-",
    "{braces}",
    "[brackets]",
    "a=b",
    "#hash",
    "!bang",
    "~tilde",
    "x" * 200,
    "é" * 100,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_a_destination_with_an_odd_name(name: str, artifact: Path, tmp_path: Path) -> None:
    run_cli([sys.executable, artifact, "-d", f"./{name}"], cwd=tmp_path)
    assert_installed(tmp_path / name)
    (tmp_path / name / "environment.json").write_text('{"A": "1"}')
    show = "import os, demo, settings; print(os.environ['A'])"
    for locale in ("C.UTF-8", "C"):
        env = {"LC_ALL": locale}
        assert run_cli([tmp_path / name / "venv" / "bin" / "python", "-c", show], env=env).stdout == "1\n"


@pytest.mark.parametrize("depth", [5, 12])
def test_a_deep_destination_has_scripts_that_start(depth: int, artifact: Path, tmp_path: Path) -> None:
    destination = tmp_path / "/".join(["d" * 60] * depth)
    run_cli([sys.executable, artifact, "-d", destination])
    assert_installed(destination)


@pytest.mark.parametrize("length", [256, 4200])
def test_a_destination_longer_than_any_path_is_refused(length: int, artifact: Path, tmp_path: Path) -> None:
    name = "x" * length if length < 300 else "/".join(["y" * 100] * (length // 100))
    done = run_cli([sys.executable, artifact, "-d", tmp_path / name, "--quiet"], code=5)
    assert "is too long" in error_line(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["new\nline", "escape\x1b[2J", "tab\t", "back\\slash"], ids=ascii)
def test_a_destination_that_no_script_could_name_is_refused(name: str, artifact: Path, tmp_path: Path) -> None:
    done = run_cli([sys.executable, artifact, "-d", tmp_path / name, "--quiet"], code=5)
    assert error_line(done).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", ["{0}/site/", "{0}/./site", "{0}/x/../site", "{0}//site"])
def test_a_destination_written_in_a_roundabout_way(way: str, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    run_cli([sys.executable, artifact, "-d", way.format(tmp_path)])
    assert_installed(tmp_path / "site")
    done = run_cli([tmp_path / "site" / "venv" / "bin" / "python", "-c", "import sys; print(sys.prefix)"], env={})
    assert done.stdout == f"{tmp_path}/site/venv\n"


# Poor environments


def with_limit(kind: int, value: int) -> Callable[[], None]:
    """Return what sets a limit in the child."""
    return lambda: resource.setrlimit(kind, (value, value))


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "xx_YY.nonsense"},
        {"HOME": "/nonexistent"},
        {"HOME": "/proc/self"},
        {"PATH": ""},
        {"PATH": "/nonexistent"},
        {"TMPDIR": "/nonexistent", "TMP": "/proc", "TEMP": "/dev/null"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONDONTWRITEBYTECODE": "1"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONHASHSEED": "0"},
        {"PYTHONNOUSERSITE": "1", "PYTHONUSERBASE": "/nonexistent"},
        {"PYTHONPYCACHEPREFIX": "/proc/nowhere"},
        {"PYTHONMALLOC": "debug"},
        {"PYTHONDEVMODE": "1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"COLUMNS": "1", "TERM": "dumb", "NO_COLOR": "1"},
        {"SOURCE_DATE_EPOCH": "0", "TZ": "Antarctica/Troll"},
        {"VIRTUAL_ENV": "/nonexistent", "__PYVENV_LAUNCHER__": "/nonexistent"},
        {"PIP_INDEX_URL": "http://127.0.0.1:1", "PIP_TARGET": "/nonexistent", "PIP_REQUIRE_VIRTUALENV": "1"},
        {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1"},
        {"LD_LIBRARY_PATH": ":", "LOADENV_REQUIRED": "1"},
        {"CDPATH": "/", "IFS": "/", "ENV": "/nonexistent", "BASH_ENV": "/nonexistent"},
    ],
    ids=lambda env: "-".join(env) or "empty",
)
def test_any_environment_will_do(env: Dict[str, str], artifact: Path, tmp_path: Path) -> None:
    done = run_cli([sys.executable, artifact, "-d", tmp_path / "größe"], env=env)
    assert "Traceback" not in done.stderr
    assert_installed(tmp_path / "größe")


def test_a_python_that_takes_file_names_for_ascii_is_refused_with_the_remedy(artifact: Path, tmp_path: Path) -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_cli([sys.executable, artifact, "-d", tmp_path / "site", "--quiet"], env=env, code=4)
    assert "Set PYTHONUTF8=1" in error_line(done)
    run_cli([sys.executable, "-X", "utf8", artifact, "-d", tmp_path / "größe"], env=env)
    assert_installed(tmp_path / "größe")


def test_pythonpath_with_other_modules_of_our_names_does_not_matter_when_isolated(
    artifact: Path, tmp_path: Path
) -> None:
    for name in ("json", "venv", "argparse", "deployable_zipfile"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    run_cli([sys.executable, "-I", artifact, "-d", tmp_path / "site"], extra_env={"PYTHONPATH": str(tmp_path)})
    assert_installed(tmp_path / "site")


def test_pip_s_configuration_is_never_read(artifact: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\ntarget = /nonexistent\nindex-url = http://127.0.0.1:1\n")
    run_cli(
        [sys.executable, artifact, "-d", tmp_path / "site"],
        extra_env={"PIP_CONFIG_FILE": str(configuration), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    assert_installed(tmp_path / "site")


def test_no_socket_is_opened_no_program_started_and_nothing_written_elsewhere(artifact: Path, tmp_path: Path) -> None:
    program = """
import os, runpy, sys
artifact, parent = sys.argv[1:3]
def watch(event, data):
    if event == "socket.gethostname":
        return  # asks the kernel, for the lock's owner
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.system", "os.posix_spawn", "ftplib.", "urllib.")):
        os.write(2, ("seen: %s %r\\n" % (event, data)).encode())
        os._exit(99)
    writing = event == "open" and isinstance(data[0], (str, bytes)) and data[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writing or event in ("os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.truncate"):
        names = data[:2] if event == "os.rename" else data[1:2] if event == "os.symlink" else data[:1]
        for path in [os.fsdecode(name) for name in names if isinstance(name, (str, bytes))]:
            if not os.path.abspath(path).startswith(parent + "/") and path != "/dev/null":
                os.write(2, ("seen: %s %r\\n" % (event, data)).encode())
                os._exit(98)
sys.addaudithook(watch)
sys.argv = [artifact, "-d", parent + "/site", "--quiet"]
runpy.run_path(artifact, run_name="__main__")
"""
    done = run_cli([sys.executable, "-I", "-B", "-c", program, artifact, tmp_path])
    assert done.stderr == ""
    assert_installed(tmp_path / "site")


def test_little_memory(artifact: Path, tmp_path: Path) -> None:
    run_cli([sys.executable, artifact, "-d", tmp_path / "site"], preexec_fn=with_limit(resource.RLIMIT_AS, 256 * MIB))
    assert_installed(tmp_path / "site")


def test_too_few_open_files_is_one_line_or_no_problem(artifact: Path, tmp_path: Path) -> None:
    for limit in range(6, 24, 2):
        destination = tmp_path / str(limit) / "site"
        done = run_cli(
            [sys.executable, "-I", artifact, "-d", destination, "--quiet"],
            code=None,
            preexec_fn=with_limit(resource.RLIMIT_NOFILE, limit),
        )
        if done.returncode == 0:
            assert_installed(destination)
        elif done.stderr.startswith("error: "):
            assert len(done.stderr.splitlines()) == 1
            assert not destination.exists()
        else:
            assert limit < 10  # the interpreter itself could not start
            assert not destination.exists()
    assert destination.exists()


def test_20_open_files_are_enough(artifact: Path, tmp_path: Path) -> None:
    run_cli([sys.executable, artifact, "-d", tmp_path / "site"], preexec_fn=with_limit(resource.RLIMIT_NOFILE, 20))
    assert_installed(tmp_path / "site")


def test_a_file_size_limit_is_one_line_and_leaves_nothing(artifact: Path, tmp_path: Path) -> None:
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = run_cli([sys.executable, artifact, "-d", tmp_path / "site", "--quiet"], code=None, preexec_fn=limited)
    assert done.returncode not in (0, 1)
    assert error_line(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_do_not_matter(closed: str, artifact: Path, tmp_path: Path) -> None:
    run_cli(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-I", artifact, "-d", tmp_path / "site"])
    assert_installed(tmp_path / "site")


def test_a_result_that_cannot_be_said_is_no_success_but_the_site_is_there(artifact: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", artifact, "-d", tmp_path / "site", "--quiet"]
    done = run_cli(["/bin/sh", "-c", 'exec "$@" 1>/dev/full', "sh", *command], code=1)
    assert "stdout" in error_line(done)
    assert_installed(tmp_path / "site")
    run_cli(command)  # which finds it there


def test_output_that_cannot_be_written_is_no_success(artifact: Path) -> None:
    command = ["/bin/sh", "-c", 'exec "$@" >/dev/full', "sh", sys.executable, artifact]
    done = run_cli([*command, "info", "--json"], code=None)
    assert done.returncode not in (0, 120)
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_traceback(artifact: Path) -> None:
    shell = '"$1" "$2" list --json | true; exit 0'
    done = run_cli(["/bin/sh", "-c", shell, "sh", sys.executable, artifact])
    assert done.stderr == ""


def test_a_user_without_an_entry_in_passwd(artifact: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become a user that does not exist")
    python = shutil.which("python3", path="/usr/bin")
    if python is None or _version(python) != f"{sys.version_info[0]}.{sys.version_info[1]}":
        pytest.skip("needs this Python's version in /usr/bin, where every user reaches it")
    folder = Path("/var/tmp") / f"artifact-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        shutil.copy(str(artifact), str(folder / "artifact.zip"))
        (folder / "own").mkdir()
        os.chown(str(folder / "own"), 54_321, 54_321)

        def become() -> None:
            os.setgroups([])
            os.setgid(54_321)
            os.setuid(54_321)

        run_cli(
            [python, folder / "artifact.zip", "-d", folder / "own" / "site"], env={}, preexec_fn=become, cwd=Path("/")
        )
        assert (folder / "own" / "site").stat().st_uid == 54_321
        done = run_cli([python, folder / "artifact.zip", "-d", folder / "site", "--quiet"], code=5, preexec_fn=become)
        assert "not writable for uid 54321" in error_line(done)
    finally:
        shutil.rmtree(str(folder))


def _version(python: str) -> str:
    return run_cli([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()


# Answers for programs


@pytest.mark.parametrize("verb", [["info"], ["list"], ["verify"], ["check"], ["-d", "site"]], ids="-".join)
def test_json_is_one_object_on_stdout(verb: List[str], artifact: Path, tmp_path: Path) -> None:
    done = run_cli([sys.executable, artifact, *verb, "--json"], cwd=tmp_path)
    assert isinstance(json.loads(done.stdout), dict)


def test_an_error_as_json_is_one_object_too(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "file").write_text("mine")
    done = run_cli([sys.executable, artifact, "-d", tmp_path / "site", "--json"], code=5)
    text = done.stdout or done.stderr
    assert str(tmp_path / "site") in json.dumps(json.loads(text))


@pytest.mark.parametrize(
    "words", [[], ["--nonsense"], ["nonsense"], ["-d"], ["--workers", "x", "-d", "y"]], ids="-".join
)
def test_a_wrong_command_line_is_code_2(words: List[str], artifact: Path, tmp_path: Path) -> None:
    done = run_cli([sys.executable, artifact, *words], code=2, cwd=tmp_path)
    what = "nonsense: is not a verb" if words == ["nonsense"] else "the command line: "
    assert done.stderr.splitlines()[-1].startswith(f"error: {what}")
    assert list(tmp_path.iterdir()) == []
