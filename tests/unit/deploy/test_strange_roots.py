"""Roots that hands, mounts and other users have changed: what is live is never removed, and root walks into no trap."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from deployable_zipfile import extract
from deployable_zipfile.deploy import provision
from tests.support.artifacts import PYTHON, make_artifact
from tests.support.depth import sampled
from tests.support.machine import mounted
from tests.support.sites import Host, write_environment

pytestmark = pytest.mark.usefixtures("without_commands")

NOBODY = 65534
SITE_PACKAGES = f"venv/lib/python{PYTHON}/site-packages"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and has traps set for it")


@pytest.mark.parametrize("verb", sampled([["deploy"], ["rollback"], ["prune"], ["deploy", "--dry-run"]], 2))
def test_a_folder_that_d_installed_into_is_no_root(host: Host, root: Path, verb: List[str]) -> None:
    assert extract.main(["-d", str(root), "--no-sync"], str(host.artifacts["one"])) == 0
    assert host.verb("one", *verb) == 5
    assert "is a folder that an artifact was installed into with -d" in host.error()
    assert extract.main(["verify", str(root)], str(host.artifacts["one"])) == 0


def link_through(root: Path, build: str) -> str:
    (root / "via").symlink_to(f"releases/{build}/")
    return "via"


def link_through_two(root: Path, build: str) -> str:
    (root / "first").symlink_to(root / "second")
    (root / "second").symlink_to(f"./releases/../releases/{build}")
    return "first/."


FORMS: Dict[str, Callable[[Path, str], str]] = {
    "trailing slash": lambda root, build: f"releases/{build}/",
    "absolute": lambda root, build: f"{root}/releases/{build}",
    "absolute, doubled": lambda root, build: f"/{root}//releases//{build}//",
    "dot": lambda root, build: f"./releases/./{build}",
    "upwards": lambda root, build: f"../{root.name}/releases/{build}",
    "another link": link_through,
    "two other links": link_through_two,
    "a folder in it": lambda root, build: f"releases/{build}/site_one",
}


def set_current(root: Path, text: str) -> None:
    (root / "current").unlink()
    (root / "current").symlink_to(text)


@pytest.mark.parametrize("form", sampled(FORMS, list(FORMS)[:2]))
def test_the_live_release_survives_a_prune_however_current_is_written(host: Host, root: Path, form: str) -> None:
    one, two = host.given("one", "two")
    three = host.live("three")
    set_current(root, FORMS[form](root, one))
    assert host.verb("one", "prune", "--keep", "1", "--json") == 0
    assert one not in json.loads(host.out)["pruned"]
    assert (root / "releases" / one / "venv").is_dir()
    assert os.path.isdir(str(root / "current"))
    assert {two, three} - set(os.listdir(str(root / "releases"))) == {two}


@pytest.mark.parametrize("form", sampled([form for form in FORMS if form != "a folder in it"], list(FORMS)[:2]))
def test_the_next_deployment_knows_what_was_live_however_current_is_written(host: Host, root: Path, form: str) -> None:
    one, two = host.given("one", "two")
    set_current(root, FORMS[form](root, two))
    assert host.states() == {one: "previous", two: "live"}
    assert host.deploy("two", "--json") == 0
    assert json.loads(host.out)["changed"] is False
    host.live("three", "--keep", "1", "--json")
    assert json.loads(host.out)["previous"] == two
    assert (root / "releases" / two).is_dir()
    assert host.verb("one", "rollback", "--json") == 0
    assert json.loads(host.out)["release"] == two
    assert os.readlink(str(root / "current")) == f"releases/{two}"


def test_a_root_that_is_reached_by_another_path_is_the_same_root(host: Host, root: Path, tmp_path: Path) -> None:
    one, _ = host.given("one", "two")
    set_current(root, f"{root}/releases/{one}")
    (tmp_path / "www").symlink_to(root)
    for path in (tmp_path / "www", f"{tmp_path}/www/../www/"):
        assert extract.main(["prune", "--root", str(path), "--keep", "1"], str(host.artifacts["one"])) == 0
    assert (root / "releases" / one / "venv").is_dir()


@AS_ROOT
def test_a_root_that_is_mounted_at_another_path_is_the_same_root(host: Host, root: Path, tmp_path: Path) -> None:
    one, _ = host.given("one", "two")
    (tmp_path / "www").mkdir()
    with mounted(tmp_path / "www", "--bind", str(root)):
        set_current(root, f"{tmp_path}/www/releases/{one}")
        assert host.verb("one", "prune", "--keep", "1") == 0
        assert (root / "releases" / one / "venv").is_dir()


def test_a_release_that_is_a_link_is_refused_and_the_others_go(host: Host, root: Path, tmp_path: Path) -> None:
    one, two = host.given("one", "two")
    three = host.live("three")
    os.rename(str(root / "releases" / one), str(tmp_path / "elsewhere"))
    (root / "releases" / one).symlink_to(tmp_path / "elsewhere")
    assert host.verb("one", "rollback", three[:8], "--force") == 8  # current already
    assert host.live("one") == one
    assert host.live("three") == three
    assert host.verb("one", "prune", "--keep", "1") == 0
    host.live("two")
    host.live("three")
    assert host.verb("one", "prune", "--keep", "1") == 8
    assert "is a symbolic link, so it is not removed" in host.error()
    assert (tmp_path / "elsewhere" / "venv").is_dir()
    assert (root / "releases" / two).is_dir()


@AS_ROOT
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_nothing_that_is_mounted_below_a_release_is_removed(host: Host, root: Path, tmp_path: Path, kind: str) -> None:
    one, _ = host.given("one", "two")
    host.live("three")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "file").write_text("kept")
    point = root / "releases" / one / "site_one" / "media"
    point.mkdir()
    words = {"tmpfs": ["-t", "tmpfs", "none"], "bind": ["--bind", str(tmp_path / "uploads")]}[kind]
    with mounted(point, *words):
        (point / "file").write_text("kept")
        assert host.verb("one", "prune", "--keep", "1") == 8
        assert f"{point} is mounted there. Run: umount {point}" in host.error()
        assert (point / "file").read_text() == "kept"
        assert (root / "releases" / one / "venv").is_dir()
    assert host.verb("one", "prune", "--keep", "1") == 0
    assert not (root / "releases" / one).exists()


def own(path: Path) -> None:
    os.chown(str(path), NOBODY, NOBODY, follow_symlinks=False)


@AS_ROOT
@pytest.mark.parametrize(
    "name",
    sampled(
        ["", "..", ".deploy", ".deploy/journal.jsonl", ".deploy/lock", ".deploy/logs", "releases", "current"],
        ["", ".deploy/journal.jsonl", "releases", "current"],
    ),
)
@pytest.mark.parametrize("verb", sampled(["deploy", "rollback", "prune"], ["rollback"]))
@pytest.mark.usefixtures("with_commands")
def test_root_refuses_a_root_of_which_a_part_belongs_to_somebody_else(
    host: Host, root: Path, name: str, verb: str
) -> None:
    host.given("one", "two")
    before = (root / ".deploy" / "journal.jsonl").read_bytes()
    owner = os.stat(str(root / name)).st_uid
    own(root / name)
    try:
        code = host.deploy("three") if verb == "deploy" else host.verb("one", verb)
        assert code in (5, 8)
        assert "belongs to" in host.error() or "others may write" in host.error()
        assert (root / ".deploy" / "journal.jsonl").read_bytes() == before
    finally:
        os.chown(str(root / name), owner, owner, follow_symlinks=False)


@AS_ROOT
@pytest.mark.parametrize("name", [".", "venv", ".deploy"])
def test_root_runs_no_release_that_somebody_else_can_change(host: Host, root: Path, name: str) -> None:
    one, two = host.given("one", "two")
    own(root / "releases" / one / name)
    assert host.verb("one", "rollback") == 5
    assert "belongs to user nobody" in host.error()
    assert host.deploy("one") == 5
    assert host.current() == two


@AS_ROOT
@pytest.mark.parametrize(
    "name",
    sampled(
        [
            "site_one",
            "site_one/manage.py",
            "site_one/site_one/wsgi.py",
            "site_one/site_one/__pycache__",
            SITE_PACKAGES,
            f"{SITE_PACKAGES}/loadenv.py",
            f"{SITE_PACKAGES}/site_one.pth",
            "venv/bin/python",
            "venv/bin/activate",
            "venv/pyvenv.cfg",
            ".deploy/installed.json",
            ".deploy/files.mtree",
        ],
        ["site_one/manage.py", SITE_PACKAGES, ".deploy/installed.json"],
    ),
)
def test_root_runs_no_release_with_a_file_that_somebody_else_can_change(host: Host, root: Path, name: str) -> None:
    one, two = host.given("one", "two")
    path = root / "releases" / one / name
    for spoil in (own, lambda place: place.is_symlink() or place.chmod(0o666 | (place.stat().st_mode & 0o111))):
        spoil(path)
        for words in ((), ("--dry-run",)):
            assert host.verb("one", "rollback", *words) == 5
            assert host.deploy("one", *words) == 5
            if spoil is own:
                assert f"{name}: belongs to user nobody" in host.error()
        os.chown(str(path), 0, 0, follow_symlinks=False)
        if path.is_symlink():
            break
        assert spoil is own or f"{name}: others may write to it" in host.error()
    assert host.current() == two


@AS_ROOT
def test_files_that_root_does_not_run_may_belong_to_the_site(host: Host, root: Path) -> None:
    one, _ = host.given("one", "two")
    (root / "releases" / one / "site_one" / "uploads").mkdir()
    for name in ("site_one/version.txt", "site_one/uploads", "site_one/apache/httpd.conf"):
        own(root / "releases" / one / name)
    assert host.verb("one", "rollback", *host.health) == 0, host.err
    assert host.current() == one


@AS_ROOT
@pytest.mark.parametrize("spoil", [own, lambda path: path.chmod(0o660)])
def test_root_takes_over_no_environment_that_somebody_else_can_change(
    host: Host, root: Path, spoil: Callable[[Path], None]
) -> None:
    (one,) = host.given("one")
    spoil(root / "current" / "environment.json")
    for words in ((), ("--dry-run",)):
        assert host.verb("two", "deploy", *host.health, *words) == 5
        assert "environment.json: " in host.error()
    assert host.current() == one
    assert host.verb("two", "deploy", *host.health, "--run-as", "nobody", "--dry-run") == 0, host.err
    assert host.deploy("two", "--workers", "1") == 0, host.err


@AS_ROOT
def test_a_journal_of_another_user_gives_root_no_commands(host: Host, root: Path, tmp_path: Path) -> None:
    (root / ".deploy").mkdir(parents=True)
    for path in (root, root / ".deploy"):
        own(path)
    record = {"time": "2026-01-01T00:00:00Z", "event": "live", "release": "x", "by": "x"}
    record["details"] = {"options": {"restart": f"command:touch {tmp_path}/run-as-root"}}  # type: ignore[assignment]
    (root / ".deploy" / "journal.jsonl").write_text(json.dumps(record) + "\n")
    assert host.deploy("one") == 5
    assert not (tmp_path / "run-as-root").exists()


@AS_ROOT
@pytest.mark.parametrize("spoil", [own, lambda path: path.chmod(0o777), lambda path: path.chmod(0o775)])
def test_an_installation_by_root_refuses_a_foreign_way_too(
    artifacts: Dict[str, Path], tmp_path: Path, capsys: Any, spoil: Callable[[Path], None]
) -> None:
    (tmp_path / "way" / "on").mkdir(parents=True)
    spoil(tmp_path / "way")
    assert extract.main(["-d", str(tmp_path / "way" / "on" / "dest")], str(artifacts["one"])) == 5
    assert os.listdir(str(tmp_path / "way" / "on")) == []
    assert str(tmp_path / "way") in capsys.readouterr().err


@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
def test_a_fifo_among_our_files_is_refused_at_once(host: Host, root: Path, name: str) -> None:
    host.given("one")
    (root / ".deploy" / name).unlink()
    os.mkfifo(str(root / ".deploy" / name))
    assert host.deploy("two") in (5, 8)
    assert "is not a regular file" in host.error()


OPTIONS: List[Any] = [5, "text", None, [], {"keep": "many", "shared": 3, "restart": ["x"], "older": 1}]


@pytest.mark.parametrize("options", sampled(OPTIONS, OPTIONS[-1:]))
def test_options_of_another_kind_in_the_journal_are_not_taken_over(host: Host, root: Path, options: Any) -> None:
    host.given("one")
    path = root / ".deploy" / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "options" in line["details"]:
            line["details"]["options"] = options
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert host.deploy("two", "--json") == 0


def test_what_acts_on_a_terminal_is_escaped_in_the_list(host: Host, root: Path) -> None:
    host.given("one")
    path = root / ".deploy" / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["by"] = "\x1b]0;evil\x07"
        if line["event"] == "installed":
            line["details"]["commit"] = "\x1b[2J"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert host.verb("one", "releases") == 0
    assert "\x1b" not in host.out
    assert "\\x1b[2J" in host.out


def dirty(manifest: Any) -> Any:
    return manifest._replace(source=manifest.source._replace(dirty=True))


def without_commit(manifest: Any) -> Any:
    return manifest._replace(source=manifest.source._replace(commit=""))


@pytest.mark.parametrize(("change", "why"), [(dirty, "uncommitted changes"), (without_commit, "not built from a")])
def test_only_artifacts_of_a_clean_commit_are_deployed(
    host: Host, root: Path, tmp_path: Path, change: Callable[[Any], Any], why: str
) -> None:
    project = {"__init__.py": "", "manage.py": "", "site_one/__init__.py": "", "site_one/wsgi.py": "application = len"}
    host.artifacts = dict(host.artifacts, odd=make_artifact(tmp_path / "odd.zip", dict(project), manifest=change))
    assert host.deploy("odd") == 8
    assert why in host.error()
    assert "--allow-dirty" in host.error()
    assert not root.exists()
    assert host.deploy("odd", "--dry-run") == 8
    assert host.deploy("odd", "--allow-dirty") == 0, host.err
    assert "warning: --allow-dirty" in host.err
    assert host.verb("odd", "releases", "--json") == 0
    assert json.loads(host.out)["releases"][0]["dirty"] is (change is dirty)
    assert host.verb("odd", "releases") == 0
    assert ("cccccccccccc+" in host.out) is (change is dirty)
    assert host.deploy("odd") == 8  # not remembered


@pytest.mark.parametrize(
    ("words", "code"), [(["--env-file", "/nonexistent"], 8), (["--restart", "command:/nonexistent/reload"], 8)]
)
def test_a_refused_first_deployment_makes_no_root(host: Host, root: Path, words: List[str], code: int) -> None:
    assert host.deploy("one", *words) == code
    assert not root.exists()


@pytest.mark.parametrize("verb", ["deploy", "rollback", "releases", "prune"])
@pytest.mark.parametrize("form", ["/", "//", "/.", "/tmp/..", "a link"])
def test_the_root_of_the_file_system_is_no_root_of_a_site(host: Host, tmp_path: Path, verb: str, form: str) -> None:
    if form == "a link":
        (tmp_path / "slash").symlink_to("/")
        form = str(tmp_path / "slash")
    before = sorted(os.listdir("/"))
    host.root = Path(form)
    assert host.verb("one", verb, "--dry-run") == 5
    assert "is the root of the file system. Choose another folder." in host.err
    assert sorted(os.listdir("/")) == before


def test_a_damaged_artifact_makes_no_root(host: Host, root: Path, tmp_path: Path) -> None:
    data = bytearray(host.artifacts["one"].read_bytes())
    place = data.index(b"site_one/version.txt") + len("site_one/version.txt")
    data[place + 1] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(bytes(data))
    host.artifacts = dict(host.artifacts, damaged=tmp_path / "damaged.zip")
    assert host.deploy("damaged") == 3
    assert not root.exists()


@pytest.mark.parametrize("way", sampled(["fifo", "fd"], ["fifo"]))
def test_the_environment_may_come_through_a_pipe(host: Host, root: Path, tmp_path: Path, way: str) -> None:
    text = json.dumps({"SECRET_KEY": "canary-of-this-test", "PIPED": "yes"})
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    host.environment = Path(f"/proc/self/fd/{reading}" if way == "fd" else f"/dev/fd/{reading}")
    host.live("one")
    os.close(reading)
    assert json.loads((root / "current" / "environment.json").read_text())["PIPED"] == "yes"


@pytest.mark.parametrize("kind", sampled(["fifo", "device", "socket"], ["device"]))
def test_an_environment_that_is_no_file_is_refused(
    kind: str, host: Host, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "_PIPE_TIMEOUT", 0.3)
    host.environment = tmp_path / "strange.json"
    if kind == "fifo":  # nobody writes into it
        os.mkfifo(str(host.environment))
    elif kind == "device":
        host.environment.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(host.environment))
    assert host.deploy("one") == 8
    assert str(host.environment) in host.error()
    assert not root.exists()


@pytest.mark.parametrize("name", sampled(["static.json", "links.json"], ["links.json"]))
def test_a_fifo_among_the_books_of_a_release_does_not_hang(name: str, host: Host, root: Path) -> None:
    first = host.live("one")
    path = root / "releases" / first / ".deploy" / name
    if path.exists():
        path.unlink()
    os.mkfifo(str(path))
    assert host.deploy("one", "--force") in (0, 5, 8)
    assert "Traceback" not in host.err


def test_a_pipe_with_something_else_in_it_is_refused(host: Host, root: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"KEY": 1}')
    os.close(writing)
    host.environment = Path(f"/proc/self/fd/{reading}")
    assert host.deploy("one") == 8
    os.close(reading)
    assert "not a string" in host.error()
    assert not root.exists()


def test_a_killed_deployment_of_a_new_environment_is_taken_back_by_the_next_command(host: Host, root: Path) -> None:
    (one,) = host.given("one")
    proven = (root / "current" / "environment.json").read_bytes()
    host.live("two")
    assert host.verb("one", "rollback", "--not-bad") == 0
    release = root / "releases" / one
    for verb in ("deploy", "rollback"):
        (release / ".deploy" / "environment.before.json").write_bytes(proven)
        write_environment(release / "environment.json", NEW="never proven")
        assert extract.main(["verify", str(release)], str(host.artifacts["one"])) == 0
        if verb == "deploy":
            words = ["--workers", "1", *host.health, "--json"]
            assert host.verb("one", "deploy", *words) == 0
            assert json.loads([line for line in host.out.splitlines() if "verb" in line][-1])["changed"] is True
        else:
            assert host.verb("one", "rollback", "--not-bad") == 0
        assert (release / "environment.json").read_bytes() == proven
        assert not (release / ".deploy" / "environment.before.json").exists()


def test_a_mistyped_configuration_test_of_a_rollback_marks_nothing_bad(host: Host, root: Path) -> None:
    one, two = host.given("one", "two")
    assert host.verb("one", "rollback", "--config-test", "/nonexistent/httpd -t") == 2
    assert host.verb("one", "rollback", "--config-test", "false") == 8
    assert host.states() == {one: "previous", two: "live"}
    assert host.verb("one", "rollback", "--config-test", "true") == 0


def test_a_rollback_to_a_folder_made_by_hand_runs_the_configuration_test(host: Host, root: Path) -> None:
    (root / "before").mkdir(parents=True)
    (root / "current").symlink_to("before")
    host.live("one", "--forget")
    words = ["--config-test", "test -d {release}", "--restart", "none", "--health-url", ""]
    assert host.verb("one", "rollback", "before", *words) == 0, host.err
    assert "FileNotFoundError" not in host.err


@pytest.mark.deep
@pytest.mark.usefixtures("with_commands")
def test_the_migration_of_an_earlier_attempt_is_not_blamed(host: Host, root: Path) -> None:
    write_environment(host.environment, FAIL_AT="migrate")
    assert host.deploy("one") == 8
    assert "pages.0003_body" in host.error()
    wrong = "import sys; sys.exit(3 if 'migrate' in sys.argv else 0)\n"
    builds = list((root / "releases").iterdir())
    (builds[0] / "site_one" / "manage.py").write_text(wrong)
    write_environment(host.environment)
    assert host.deploy("one") == 8
    assert "pages." not in host.error()
    assert "migrate: exit status 3" in host.error()


@pytest.mark.deep
@pytest.mark.usefixtures("with_commands")
def test_a_database_inside_the_release_is_warned_of(host: Host, root: Path, tmp_path: Path) -> None:
    write_environment(host.environment, RAN=str(tmp_path / "ran"))
    make = "import sqlite3; base = sqlite3.connect('site_one/db.sqlite3'); base.execute('create table t (a)')\n"
    host.live("one", "--manage", "demo")
    assert "SQLite" not in host.err
    project = {
        "__init__.py": "",
        "manage.py": f"import sys\nif sys.argv[1] == 'migrate':\n    {make}",
        "site_one/__init__.py": "",
        "site_one/wsgi.py": "application = len",
    }
    host.artifacts = dict(host.artifacts, sqlite=make_artifact(tmp_path / "sqlite.zip", dict(project)))
    host.live("sqlite")
    assert "site_one/db.sqlite3 is an SQLite database inside the release" in host.err


@pytest.mark.deep
def test_a_result_that_nobody_reads_is_no_failure_of_what_was_done(host: Host, root: Path) -> None:
    host.given("one")
    reading, writing = os.pipe()
    os.close(reading)
    words = ["deploy", "--root", str(root), "--env-file", str(host.environment), "-q", *host.health]
    done = subprocess.run(
        [os.sys.executable, "-I", str(host.artifacts["two"]), *words],  # type: ignore[attr-defined]
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert b"everything is done, but the result could not be written" in done.stderr
    assert host.current() is not None


@pytest.mark.parametrize("name", ["new\nline", "back\\slash", "bell\x07"])
def test_a_root_that_scripts_cannot_name_is_refused_before_it_is_made(host: Host, root: Path, name: str) -> None:
    odd = root.parent / name
    assert extract.main(["deploy", "--root", str(odd), "--restart", "none"], str(host.artifacts["one"])) == 5
    assert not odd.exists()
