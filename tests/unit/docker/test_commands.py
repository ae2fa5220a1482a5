"""Every command and option that runs on a platform exists on it: CentOS 7 has old ones."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterator, List, Tuple

import pytest
import yaml

from tests.support import platform_commands, shell
from tests.support.platform_commands import Refused, Scripts, check
from tools import platforms

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docker/centos7"
ROLES = ROOT / "ansible/roles"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
KNOWN = platform_commands.rules()
# What means a command in the scripts; "" where the words come from a caller, who is checked.
HEADS = {
    "$python": "python",
    "$tools/bin/python": "python",
    "$httpd": "httpd",
    "${yum[@]}": "yum",
    "$@": "",
    "$here/fix_centos_repos.sh": "",
    "platform_install_$manager": "",
    "./platform.sh": "",
    "./check_health.sh": "",
}
# systemd.directives(7): the release that brought what CentOS 7's 219 does not have is written where one is refused.
DIRECTIVES = frozenset(
    [
        "Description",
        "After",
        "Before",
        "Requires",
        "Wants",
        "ConditionPathExists",
        "Type",
        "User",
        "Group",
        "WorkingDirectory",
        "Environment",
        "EnvironmentFile",
        "ExecStart",
        "ExecStartPre",
        "ExecReload",
        "ExecStop",
        "KillMode",
        "KillSignal",
        "TimeoutStopSec",
        "TimeoutStartSec",
        "Restart",
        "RestartSec",
        "PrivateTmp",
        "RuntimeDirectory",
        "RuntimeDirectoryMode",
        "ListenStream",
        "Backlog",
        "NoDelay",
        "WantedBy",
        "LimitNOFILE",
        "NoNewPrivileges",
        "UMask",
        "Nice",
    ]
)


def scripts() -> Scripts:
    names = {name for path in SCRIPTS for name in shell.functions(path.read_text(encoding="utf-8"))}
    return Scripts(frozenset(names), HEADS)


def managers() -> Dict[str, FrozenSet[str]]:
    """Return the platforms of each function that only one package manager's platforms call."""
    table = platforms.read().values()
    names = {row.package_manager for row in table}
    found = {n: frozenset(row.name for row in table if row.package_manager == n) for n in names}
    return {f"platform_install_{name}": found[name] for name in names}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_calls_only_what_every_platform_that_runs_it_has(script: Path) -> None:
    scripts().check(script.read_text(encoding="utf-8"), KNOWN, managers())


def test_so_does_each_command_of_the_images_recipe() -> None:
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    commands = re.findall(r"^(?:RUN|HEALTHCHECK .*?CMD) (.+)$", text.replace("\\\n", " "), re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        scripts().check(command, KNOWN, {})


@pytest.mark.parametrize("unit", sorted((ROLES / "prepare/templates").glob("*.service.j2")), ids=lambda path: path.name)
def test_so_does_each_unit_whose_directives_systemd_219_knows(unit: Path) -> None:
    text = re.sub(r"{%.*?%}\n?", "", unit.read_text(encoding="utf-8").replace("\\\n", " "))
    lines = re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)
    assert len(lines) > 10
    assert {name for name, _ in lines} <= DIRECTIVES
    words = [value.split() for name, value in lines if name.startswith("Exec")]
    for first, *rest in words:
        assert first.startswith(("/", "{{")), f"systemd 219 wants an absolute path: {first}"
        if first.startswith("/"):
            command = first.rsplit("/", 1)[-1]
            assert command in ("kill", "bash"), command
            assert command == "bash" or set(rest) <= {"-USR1", "$MAINPID"}


@pytest.mark.parametrize(
    "socket", sorted((ROLES / "prepare/templates").glob("*.socket.j2")), ids=lambda path: path.name
)
def test_so_does_each_socket(socket: Path) -> None:
    names = re.findall(r"^(\w+)=", socket.read_text(encoding="utf-8"), re.MULTILINE)
    assert names
    assert set(names) <= DIRECTIVES


def tasks(node: Any) -> Iterator[Dict[str, Any]]:
    """Yield every task below *node*, those of blocks too."""
    for task in node or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part))


def role_commands() -> List[Tuple[str, List[str]]]:
    """Return the place and words of each command that a role runs on a host."""
    found = []
    for path in sorted(ROLES.glob("*/*/*.yml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        place = path.relative_to(ROLES).as_posix()
        if path.parent.name in ("tasks", "handlers"):
            for task in tasks(content):
                found += [(place, words) for words in _words(task)]
        if place == "prepare/vars/main.yml":
            found += [(place, row["install"]) for row in content["prepare_platforms"].values()]
    return found


def _words(task: Dict[str, Any]) -> Iterator[List[str]]:
    assert not {"ansible.builtin.shell", "shell", "command", "raw"} & set(task), (
        "write the full name of command and raw"
    )
    argv = (task.get("ansible.builtin.command") or {}).get("argv")
    if isinstance(argv, str):
        # Of a template the constant words at its beginning can be read; a variable is data of its own.
        constant = re.match(r"\{\{ \[('[^']*'(?:, '[^']*')*)\]", argv)
        argv = ast.literal_eval(f"[{constant[1]}]") if constant else None
    if argv:
        yield argv
    raw = task.get("ansible.builtin.raw")
    if raw:
        for command in shell.commands(re.sub(r"\{\{.*?\}\}", "$variable", raw)):
            if not command.words[0].startswith("$"):
                yield [shell.unquoted(word) for word in command.words]


def test_so_does_each_command_of_a_role() -> None:
    found = role_commands()
    assert {words[0] for _, words in found} >= {"yum", "dnf", "rpm", "semanage", "restorecon", "setsebool", "apt-get"}
    for place, words in found:
        try:
            check(words, KNOWN)
        except Refused as refused:
            pytest.fail(f"{place}: {refused}")


def python_commands() -> List[Tuple[str, List[str]]]:
    """Return place and constant words of each list in our own Python that begins with a command of the table."""
    found = []
    for path in sorted([*(ROOT / "cfgov/deployable_zipfile").rglob("*.py"), *FOLDER.glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.List, ast.Tuple)) and node.elts and _text(node.elts[0]) in _PROGRAMS:
                words = [_text(element) or "$variable" for element in node.elts]
                if words[0] == "git" and words[1].startswith("$"):
                    continue  # a runner of git: what it is given is proven by running it with git-1.8.3.1
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", words))
    return found


_PROGRAMS = frozenset(
    ["git", "systemctl", "restorecon", "getenforce", "httpd", "curl", "readlink", "stat", "cp", "tar"]
)


def _text(node: ast.expr) -> str:
    """Return the constant text of *node*, with variables in it as ``$``; nothing for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "$" for part in node.values)
    return ""


def test_so_does_our_own_python() -> None:
    found = python_commands()
    for place, words in found:
        try:
            check(words, KNOWN)
        except Refused as refused:
            pytest.fail(f"{place}: {refused}")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("git -C /x status", "git -C"),
        ("systemctl show --value -p ActiveState x", "systemctl --value"),
        ("curl --fail-with-body http://localhost/", "curl --fail-with-body"),
        ("sed --debug -e p file", "sed --debug"),
        ("env -S 'a b' c", "env -S"),
        ("env -C / ls", "env -C"),
        ("ls --hyperlink", "ls --hyperlink"),
        ("wait -n", "4.3: wait -n"),
        ("echo ${name@Q}", "4.4: ${name@operator}"),
        ("local -n other=name", "4.3: references"),
        ("setsid --wait true", "setsid --wait"),
        ("realpath x", "realpath: unknown command"),
        ("x=$(jq . file)", "jq: unknown command"),
        ("cat <(nsenter -t 1)", "nsenter: unknown command"),
        ("if true; then sudo rm x; fi", "sudo: unknown command"),
        ("case x in a) b2sum x ;; esac", "b2sum: unknown command"),
        ("exec setsid ip link", "ip: unknown command"),
        ("apt-get update", "apt-get: not on every platform"),
        ("set -eu", "line 1: before 4.4"),
    ],
)
def test_what_a_platform_lacks_is_found(line: str, why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        scripts().check(line, KNOWN, managers())


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf -- -x",
        "head -c16 file",
        "case $1 in -*) echo no ;; *) exit 2 ;; esac",
        "[[ $a == *b* && ( -f $c || $d < e ) ]] || exit 1",
        'list=("one" --two); ((${#list[@]} == 2)) && echo "it\'s $(readlink -f x) # here" # sudo',
        "env -u A -i git config --global --add a b",
        "sed -i -E -e 's/a/b/' -e --debug file",
        "platform_install_apt() {\n    apt-get update\n}",
    ],
)
def test_what_every_platform_has_is_not_found(line: str) -> None:
    scripts().check(line, KNOWN, managers())


@pytest.mark.parametrize("text", ["cat <<EOF\nx\nEOF\n", "x=`date`", "case x in a", "echo $(date"])
def test_a_script_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        shell.commands(text)


def strict(tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    table = tmp_path / "var/lib/lookalike/commands.ini"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(platform_commands.TABLE.read_bytes())
    link = tmp_path / words[0]
    if not link.exists():
        link.symlink_to(ROOT / "tests/lookalike/bin/strict")
    return subprocess.run(
        [str(link), *words[1:]],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "LOOKALIKE_ROOT": str(tmp_path)},
        input="a\n",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stat", "-c", "%a", "."), "755\n"),
        (("sed", "-e", "s/a/-b --debug/"), "-b --debug\n"),
        (("env", "-u", "PATH", "/usr/bin/printf", "--", "--x"), "--x"),
        (("head", "-c1"), "a"),
        (("grep", "-c", "--", "-a", "/dev/null"), "0\n"),
    ],
)
def test_the_look_alikes_wrapper_runs_what_the_release_has(tmp_path: Path, words: Tuple[str, ...], said: str) -> None:
    tmp_path.chmod(0o755)
    assert strict(tmp_path, *words).stdout == said


@pytest.mark.parametrize(
    "words",
    [
        ("sed", "--debug", "p"),
        ("env", "-S", "a b"),
        ("cp", "--keep-directory-symlink", "a", "b"),
        ("stat", "--cached=never", "."),
        ("ls", "-lZ", "--hyperlink"),
        ("curl", "--fail-with-body", "http://127.0.0.1:9/"),
    ],
)
def test_the_look_alikes_wrapper_refuses_what_the_release_lacks(tmp_path: Path, words: Tuple[str, ...]) -> None:
    done = strict(tmp_path, *words)
    assert done.returncode == 2
    assert "unrecognized option" in done.stderr


@pytest.mark.parametrize("names", [{}, {"GIT_COMMITTER_NAME": "x"}, {"GIT_COMMITTER_EMAIL": "x@localhost"}])
def test_gits_wrapper_clones_for_a_user_without_an_entry_only_when_the_environment_names_one(
    tmp_path: Path, names: Dict[str, str]
) -> None:
    """As the owner of a mounted checkout is in the builder image; real git 1.8.3.1 was seen to do so."""
    (tmp_path / "id").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tmp_path / "id").chmod(0o755)
    (tmp_path / "git").symlink_to(platform_commands.GIT)
    subprocess.run(["git", "init", "--quiet", "from"], cwd=tmp_path, check=True)

    def clone(to: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
        command = [str(tmp_path / "git"), "clone", "--quiet", "from", to]
        return subprocess.run(
            command, cwd=tmp_path, env={**path, **environ}, capture_output=True, text=True, check=False
        )

    refused = clone("without", **names)
    assert refused.returncode == 128
    assert "unable to look up current user" in refused.stderr
    assert clone("with", GIT_COMMITTER_NAME="x", GIT_COMMITTER_EMAIL="x@localhost").returncode == 0
