"""environment.json and loadenv: real starts of the running interpreter in a bare virtualenv."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import socket
import subprocess
import venv
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployable_zipfile import loadenv
from deployable_zipfile.loadenv import EnvironmentFileError, read_environment
from tests.support.depth import sampled
from tests.support.helpers import SECRET, run_cli

PACKAGE = Path(loadenv.__file__).parent
SHOW = "import os, json; print(json.dumps(dict(os.environ)))"
MIB = 1024 * 1024


class Site:
    """A destination with a virtualenv that loads its environment.json."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "environment.json"
        venv.EnvBuilder(symlinks=True).create(str(root / "venv"))
        self.python = root / "venv" / "bin" / "python"
        [self.packages] = (root / "venv" / "lib").glob("python3.*/site-packages")
        for name in ("loadenv.py", "loadenv-init.pth", "loadenv-init.start"):
            shutil.copyfile(str(PACKAGE / name), str(self.packages / name))

    def start(self, *arguments: str, code: Optional[int] = 0, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Start the interpreter with *arguments*."""
        return run_cli([self.python, *arguments], code=code, **options)

    def environment(self, *options: str, **more: Any) -> Dict[str, str]:
        """Return what ``os.environ`` holds after a start with *options*, which must print no other word."""
        done = self.start(*options, "-c", SHOW, **more)
        assert done.stderr == ""
        loaded: Dict[str, str] = json.loads(done.stdout)
        return loaded


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(made: Site) -> Site:
    if made.file.is_dir() and not made.file.is_symlink():
        made.file.rmdir()
    elif os.path.lexists(str(made.file)):
        made.file.unlink()
    return made


def refusal(text: Union[str, bytes], tmp_path: Path) -> str:
    """Return the error line for a file of *text*, without the path that it begins with."""
    path = tmp_path / "environment.json"
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    with pytest.raises(EnvironmentFileError) as caught:
        read_environment(str(path))
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert SECRET not in line
    assert len(line) <= 500
    return line[len(f"{path}: ") :]


# Starts


def test_every_variable_of_the_file_is_in_the_environment(site: Site) -> None:
    values = {"A": "1", "EMPTY": "", "SPACE": " x ", "EQUALS": "a=b", "QUOTES": "\"'`$HOME\\", "LINES": "a\nb\r\tc"}
    site.file.write_text(json.dumps(values))
    assert values.items() <= site.environment().items()


def test_non_ascii_values_arrive_as_utf_8(site: Site) -> None:
    site.file.write_bytes('{"NAME": "Zoë \\ud83d\\ude00 日本"}'.encode())
    done = site.start("-c", "import os; print(ascii(os.environb[b'NAME'].decode('utf-8')))")
    assert done.stdout.strip() == ascii("Zoë \U0001f600 日本")


@pytest.mark.parametrize("coerced", ["0", "1"])
@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_non_ascii_values_arrive_in_a_c_locale_that_nothing_saves(site: Site, locale: str, coerced: str) -> None:
    site.file.write_bytes('{"NAME": "Zoë", "B": "b"}'.encode())
    env = {"LC_ALL": locale, "PYTHONUTF8": coerced, "PYTHONCOERCECLOCALE": coerced}
    show = "import os; print(ascii(os.environb[b'NAME']), os.environ['B'])"
    done = site.start("-c", show, env=env)
    assert (done.stdout.strip(), done.stderr) == ("b'Zo\\xc3\\xab' b", "")


def test_without_a_file_nothing_happens(site: Site) -> None:
    with_loader = site.environment(env={"KEPT": "1", "LC_ALL": "C.UTF-8"})
    without_loader = site.environment("-S", env={"KEPT": "1", "LC_ALL": "C.UTF-8"})
    assert with_loader == without_loader


def test_without_a_file_json_is_not_imported(site: Site) -> None:
    done = site.start("-c", "import sys; print('json' in sys.modules, 'loadenv' in sys.modules)")
    assert done.stdout.split() == ["False", "True"]


def test_with_a_good_file_nothing_but_the_compiled_scanner_is_imported(site: Site) -> None:
    show = "import sys; print(' '.join(sys.modules))"
    without = set(site.start("-c", show).stdout.split())
    site.file.write_text('{"A": "1"}')
    loaded = set(site.start("-c", show).stdout.split())
    assert loaded - without <= {"_json"}


def test_a_python_whose_scanner_works_otherwise_reads_the_file_too(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    (site.packages / "a-first.pth").write_text("import sys; sys.modules['_json'] = None\n")
    try:
        assert site.environment()["A"] == "file"
    finally:
        (site.packages / "a-first.pth").unlink()


JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
).map(json.dumps)


@given(JSON_TEXTS, st.text(alphabet=' \t\n\r\f\u00a0{}[]",:1e-x\\u', max_size=6), st.integers(0, 60))
def test_the_quick_scanner_reads_what_json_reads_or_leaves_it_to_json(text: str, more: str, at: int) -> None:
    text = text[:at] + more + text[at:]
    options: Dict[str, Any] = {
        "parse_int": loadenv._number,
        "parse_float": loadenv._number,
        "parse_constant": loadenv._number,
    }
    try:
        scanned = loadenv._scanned(text)
    except Exception:
        return
    assert scanned == json.loads(text, object_pairs_hook=loadenv._Pairs, **options)


def test_a_missing_file_stops_the_interpreter_when_it_is_required(site: Site) -> None:
    done = site.start("-c", "print('ran')", code=1, extra_env={"LOADENV_REQUIRED": "1"})
    assert done.stdout == ""
    assert done.stderr == f"error: {site.file}: is missing, and LOADENV_REQUIRED=1 requires it. Put it there.\n"


def test_the_file_wins_over_the_process_environment(site: Site) -> None:
    site.file.write_text('{"A": "file", "NEW": "file"}')
    assert site.environment(extra_env={"A": "process"})["A"] == "file"


def test_the_process_environment_stays_where_the_file_is_silent(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    assert site.environment(extra_env={"B": "process"})["B"] == "process"


@pytest.mark.parametrize("options", [["-I"], ["-E"], ["-s"], ["-B", "-O"], ["-X", "dev"], ["-W", "error"]])
def test_the_file_is_loaded_with(site: Site, options: List[str]) -> None:
    site.file.write_text('{"A": "file"}')
    assert site.environment(*options)["A"] == "file"


def test_without_site_the_file_is_not_loaded(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    assert "A" not in site.environment("-S")


def test_a_cron_like_start_without_any_environment_loads_the_file(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    assert site.environment(env={}, cwd=Path("/"))["A"] == "file"


def test_a_script_started_by_its_first_line_gets_the_file(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    script = site.root / "manage.py"
    script.write_text(f"#!{site.python}\nimport os; print(os.environ['A'])\n")
    script.chmod(0o755)
    assert run_cli([script], env={}).stdout == "file\n"


def test_child_processes_of_any_program_inherit_the_variables(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    child = "import subprocess; print(subprocess.check_output(['/bin/sh', '-c', 'echo $A']).decode())"
    assert site.start("-c", child).stdout.strip() == "file"


def test_a_child_interpreter_gets_the_file_too(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    child = (
        "import subprocess, sys;"
        "print(subprocess.check_output([sys.executable, '-c', 'import os; print(os.environ[\"A\"])'], env={}).decode())"
    )
    assert site.start("-c", child).stdout.strip() == "file"


def test_the_file_is_read_exactly_once_although_a_virtualenv_runs_pth_lines_twice(site: Site) -> None:
    site.file.write_text('{"A": "1"}')
    (site.packages / "a-first.pth").write_text(
        "import sys; sys.opened = getattr(sys, 'opened', []); sys.runs = getattr(sys, 'runs', 0) + 1; "
        "sys.runs == 1 and sys.addaudithook("
        "lambda event, data: sys.opened.append(str(data[0])) if event == 'open' and str(data[0]).endswith("
        "'environment.json') else None)\n"
    )
    try:
        # the call by hand replaces the .start file's entry, which runs after the .pth line on 3.15 to 3.17
        done = site.start("-c", "import sys, loadenv; loadenv.main(); print(len(sys.opened), sys.opened[0])")
    finally:
        (site.packages / "a-first.pth").unlink()
    assert done.stdout == f"1 {site.file}\n"


def test_a_process_started_through_a_link_reads_the_file_of_its_own_release(site: Site, tmp_path: Path) -> None:
    site.file.write_text('{"A": "file"}')
    current = tmp_path / "current"
    current.symlink_to(site.root)
    show = "import os, loadenv; print(os.environ['A'], loadenv.environment_path())"
    done = run_cli([current / "venv" / "bin" / "python", "-c", show])
    assert done.stdout == f"file {site.file.resolve()}\n"


def test_a_file_reached_by_a_symbolic_link_is_loaded(site: Site, tmp_path: Path) -> None:
    (tmp_path / "shared.json").write_text('{"A": "shared"}')
    site.file.symlink_to(tmp_path / "shared.json")
    assert site.environment()["A"] == "shared"


def test_variables_are_seen_by_the_code_that_site_runs_later(site: Site, tmp_path: Path) -> None:
    site.file.write_text('{"A": "file"}')
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['SEEN'] = os.environ.get('A', 'nothing')\n")
    # On PYTHONPATH: Debian's Python has one of its own, which it finds before that of a virtualenv.
    assert site.environment(extra_env={"PYTHONPATH": str(tmp_path)})["SEEN"] == "file"


def test_the_pth_file_and_its_twin_are_ascii_and_name_the_same_function() -> None:
    [line] = (PACKAGE / "loadenv-init.pth").read_bytes().decode("ascii").splitlines()
    assert line.startswith("import ")
    assert "loadenv.main()" in line
    assert (PACKAGE / "loadenv-init.start").read_bytes() == b"loadenv:main\n"
    module, _, function = "loadenv:main".partition(":")
    assert module == loadenv.__name__.rpartition(".")[2]
    assert callable(getattr(loadenv, function))


# Stops


BAD_FILES: Dict[str, Union[str, bytes]] = {
    "malformed": f'{{"A": "{SECRET}", }}',
    "truncated": f'{{"A": "{SECRET}',
    "number": f'{{"PASSWORD": "{SECRET}", "N": 1}}',
    "twice": f'{{"A": "{SECRET}", "A": "{SECRET}"}}',
    "nul": f'{{"A": "{SECRET}\\u0000"}}',
    "surrogate": f'{{"A": "{SECRET}\\ud800"}}',
    "escape": f'{{"A": "{SECRET}\\q"}}',
    "control": f'{{"A": "{SECRET}\n"}}',
    "array": f'["{SECRET}"]',
    "string": f'"{SECRET}"',
    "nested": f'{{"A": {{"B": "{SECRET}"}}}}',
    "extra": f'{{}} "{SECRET}"',
    "bare": f"{{A: {SECRET}}}",
    "long": json.dumps({"A": SECRET * 10_000}),
    "latin-1": f'{{"A": "é{SECRET}"}}'.encode("latin-1"),
    "utf-16": f'{{"A": "{SECRET}"}}'.encode("utf-16"),
}


@pytest.mark.parametrize("case", sorted(BAD_FILES))
@pytest.mark.parametrize(
    "options", sampled([[], ["-I"], ["-X", "dev"], ["-v"]], 1), ids=lambda options: "".join(options) or "plain"
)
def test_a_bad_file_stops_before_any_other_code_and_shows_no_value(site: Site, case: str, options: List[str]) -> None:
    text = BAD_FILES[case]
    site.file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    done = site.start(*options, "-c", "print('ran')", code=1)
    assert done.stdout == ""
    assert SECRET not in done.stderr
    if options != ["-v"]:  # which makes the interpreter print each import
        [line] = done.stderr.splitlines()
        assert line.startswith(f"error: {site.file}: ")
        assert line.endswith(".")


@pytest.mark.parametrize("case", sampled(sorted(BAD_FILES), 6))
def test_a_bad_file_is_a_warning_and_not_loaded_when_strictness_is_off(site: Site, case: str) -> None:
    text = BAD_FILES[case]
    site.file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    done = site.start("-c", "import os; print('A' in os.environ)", extra_env={"LOADENV_STRICT": "0"})
    [line] = done.stderr.splitlines()
    assert done.stdout == "False\n"
    assert line.startswith(f"warning: {site.file}: ")
    assert line.endswith("Nothing of it is loaded (LOADENV_STRICT=0).")
    assert SECRET not in line


@pytest.mark.parametrize("value", ["1", "", "false", "no"])
def test_strictness_is_off_by_the_value_0_alone(site: Site, value: str) -> None:
    site.file.write_text("[]")
    site.start("-c", "", code=1, extra_env={"LOADENV_STRICT": value})


def test_a_file_cannot_turn_its_own_check_off(site: Site) -> None:
    site.file.write_text('{"LOADENV_STRICT": "0", "A": 1}')
    site.start("-c", "", code=1)


def test_a_file_with_one_bad_variable_loads_none(site: Site) -> None:
    site.file.write_text('{"A": "1", "B": 2}')
    assert "A" not in json.loads(site.start("-c", SHOW, extra_env={"LOADENV_STRICT": "0"}).stdout)


def test_a_bad_file_stops_the_interpreter_in_the_c_locale_with_ascii_alone(site: Site) -> None:
    site.file.write_bytes('{"Schlüssel": "1"}'.encode())
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = site.start("-c", "print('ran')", code=1, env=env)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.isascii()


def test_a_bad_file_stops_the_interpreter_when_nobody_listens(site: Site) -> None:
    site.file.write_text("[]")
    shell = f'"{site.python}" -c "print(1)" 2>&-'
    done = run_cli(["/bin/sh", "-c", shell], code=1)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_bad_file_stops_the_interpreter_when_stderr_is_full(site: Site) -> None:
    site.file.write_text("[]")
    run_cli(["/bin/sh", "-c", f'"{site.python}" -c "print(1)" 2>/dev/full'], code=1)


def test_any_unforeseen_failure_stops_the_interpreter_too(site: Site) -> None:
    site.file.write_text(f'{{"A": "{SECRET}",}}')
    (site.packages / "a-first.pth").write_text("import sys; sys.modules['json'] = None\n")
    try:
        done = site.start("-c", "print('ran')", code=1)
    finally:
        (site.packages / "a-first.pth").unlink()
    assert done.stdout == ""
    assert done.stderr == f"error: {site.file}: cannot be loaded (ModuleNotFoundError). Correct the file.\n"


# Found from its own place, and no start without it


ADDED = "import os, site, sys; {more}; site.addsitedir({packages!r}); print(os.environ.get('A'))"


def added(site: Site, more: str = "pass", **options: Any) -> "subprocess.CompletedProcess[str]":
    """Let another Python add the site's packages, as mod_wsgi's ``python-path`` does."""
    other = os.path.realpath(str(site.python))
    return run_cli([other, "-I", "-c", ADDED.format(more=more, packages=str(site.packages))], **options)


def test_another_python_that_adds_the_packages_gets_the_file(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    done = added(site)
    assert (done.stdout, done.stderr) == ("file\n", "")


def test_packages_added_through_a_link_get_the_file_of_their_release(site: Site, tmp_path: Path) -> None:
    site.file.write_text('{"A": "file"}')
    (tmp_path / "current").symlink_to(site.root)
    packages = tmp_path / "current" / site.packages.relative_to(site.root)
    code = ADDED.format(more="pass", packages=str(packages))
    assert run_cli([os.path.realpath(str(site.python)), "-I", "-c", code]).stdout == "file\n"


def test_packages_that_are_added_twice_load_the_file_once(site: Site) -> None:
    site.file.write_text('{"A": "file"}')
    more = f"site.addsitedir({str(site.packages)!r}); os.environ['A'] = 'changed by the program'"
    assert added(site, more).stdout == "changed by the program\n"


def test_a_bad_file_stops_another_python_that_adds_the_packages(site: Site) -> None:
    site.file.write_text("[]")
    done = added(site, code=1)
    assert (done.stdout, done.stderr) == (
        "",
        f"error: {site.file}: must be a JSON object, not an array. Correct the file.\n",
    )


BROKEN_LOADERS: Dict[str, Optional[bytes]] = {
    "missing": None,
    "empty": b"",
    "cut": (PACKAGE / "loadenv.py").read_bytes()[:-900] + b"(",
    "binary": b"\x00\x01",
    "another": b"def other(): pass\n",
    "exits": b"raise SystemExit(0)\n",
    "interrupted": b"raise KeyboardInterrupt\n",
    "not callable": b"main = 1\n",
}


@pytest.fixture
def broken(site: Site) -> Iterator[Site]:
    """A site whose loader a test may break."""
    loader = site.packages / "loadenv.py"
    kept = loader.read_bytes()
    site.file.write_text('{"A": "file"}')
    yield site
    shutil.rmtree(str(site.packages / "__pycache__"), ignore_errors=True)
    loader.write_bytes(kept)


@pytest.mark.parametrize("case", sorted(BROKEN_LOADERS))
@pytest.mark.parametrize("way", sampled(["plain", "-I", "added"], 1))
def test_a_broken_loader_stops_the_interpreter_with_one_line(broken: Site, case: str, way: str) -> None:
    _break(broken, BROKEN_LOADERS[case])
    options = [] if way == "plain" else [way]
    done = added(broken, code=1) if way == "added" else broken.start(*options, "-c", "print('ran')", code=1)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {broken.packages}/loadenv.py: cannot be loaded (")


def _break(site: Site, text: Optional[bytes]) -> None:
    shutil.rmtree(str(site.packages / "__pycache__"), ignore_errors=True)
    (site.packages / "loadenv.py").unlink()
    if text is not None:
        (site.packages / "loadenv.py").write_bytes(text)


def test_broken_bytecode_of_the_loader_stops_the_interpreter(broken: Site) -> None:
    path = Path(importlib.util.cache_from_source(str(broken.packages / "loadenv.py")))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(importlib.util.MAGIC_NUMBER + b"\x01\0\0\0" + bytes(8) + b"\xff")  # unchecked, and no code
    done = broken.start("-c", "print('ran')", code=1)
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)


def test_a_broken_loader_is_a_warning_when_strictness_is_off(broken: Site) -> None:
    _break(broken, None)
    done = broken.start("-c", "print('ran')", extra_env={"LOADENV_STRICT": "0"})
    [line] = done.stderr.splitlines()
    assert done.stdout == "ran\n"
    assert line.startswith(f"warning: {broken.packages}/loadenv.py: ")
    assert line.endswith("Nothing of it is loaded (LOADENV_STRICT=0).")


def test_a_module_of_its_name_elsewhere_does_not_take_its_place(site: Site, tmp_path: Path) -> None:
    site.file.write_text('{"A": "file"}')
    (tmp_path / "loadenv.py").write_text("def main(): pass\n")
    assert site.environment(extra_env={"PYTHONPATH": str(tmp_path)})["A"] == "file"
    assert added(site, f"sys.path.insert(0, {str(tmp_path)!r})").stdout == "file\n"


def test_a_loader_outside_site_packages_stops_instead_of_finding_nothing(site: Site, tmp_path: Path) -> None:
    for name in ("loadenv.py", "loadenv-init.pth"):
        shutil.copyfile(str(PACKAGE / name), str(tmp_path / name))
    code = ADDED.format(more="pass", packages=str(tmp_path))
    done = run_cli([os.path.realpath(str(site.python)), "-I", "-c", code], code=1)
    assert done.stdout == ""
    assert "contains loadenv.py but is not a site-packages folder" in done.stderr


def test_a_directory_in_its_place_is_refused(site: Site) -> None:
    site.file.mkdir()
    done = site.start("-c", "", code=1)
    assert done.stderr == f"error: {site.file}: is a directory, not a regular file. Put a file there.\n"


def test_a_fifo_in_its_place_is_refused_and_does_not_hang(site: Site) -> None:
    os.mkfifo(str(site.file))
    done = site.start("-c", "", code=1, timeout=30)
    assert done.stderr == f"error: {site.file}: is a pipe or a device, not a regular file. Put a file there.\n"


def test_a_device_in_its_place_is_refused(site: Site) -> None:
    site.file.symlink_to("/dev/zero")
    done = site.start("-c", "", code=1, timeout=30)
    assert "is a pipe or a device" in done.stderr


def test_a_socket_in_its_place_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.root)  # a socket's path may have 107 bytes only
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(site.file.name)
        done = site.start("-c", "", code=1)
    assert "cannot be read (No such device or address)" in done.stderr


def test_a_symbolic_link_loop_is_refused(site: Site) -> None:
    site.file.symlink_to(site.file)
    done = site.start("-c", "", code=1)
    assert done.stderr.startswith(f"error: {site.file}: cannot be read (Too many levels of symbolic links).")


def test_a_symbolic_link_to_nothing_is_refused_not_taken_for_absent(site: Site) -> None:
    site.file.symlink_to("nowhere.json")
    done = site.start("-c", "", code=1)
    assert done.stderr == f"error: {site.file}: is a symbolic link to nothing. Put the file there.\n"


def test_a_file_that_the_user_may_not_read_names_the_user_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text(f'{{"A": "{SECRET}"}}')
    path.chmod(0)
    with _OtherUser() as uid, pytest.raises(EnvironmentFileError) as caught:
        read_environment(str(path))
    remedy = "Give it to a group of that user: chown root:GROUP, chmod 0640."
    assert str(caught.value) == f"{path}: user {uid} may not read it. {remedy}"


class _OtherUser:
    """Root reads everything, so become somebody else for a moment when the tests run as root."""

    def __enter__(self) -> int:
        self.before = os.geteuid()
        if self.before == 0:
            os.seteuid(65_534)
        return os.geteuid()

    def __exit__(self, *_: object) -> None:
        os.seteuid(self.before)


# Rules of the text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty. Write one JSON object, {} for no variables, or remove it."),
        (" \n\t", "is empty. Write one JSON object, {} for no variables, or remove it."),
        (b"\xef\xbb\xbf", "is empty. Write one JSON object, {} for no variables, or remove it."),
        ("{", "line 1 column 2: expecting property name enclosed in double quotes. Correct the file."),
        ('{"A": "1"', "line 1 column 10: expecting ',' delimiter. Correct the file."),
        ('{\n  "A": "1",\n  "B": }', "line 3 column 8: expecting value. Correct the file."),
        ('{"A" "1"}', "line 1 column 6: expecting ':' delimiter. Correct the file."),
        ('{"A": "1"} x', "line 1 column 12: extra data. Correct the file."),
        ('{"A": "1\n2"}', "line 1 column 9: invalid control character. Correct the file."),
        ('{"A": "1', "line 1 column 7: unterminated string. Correct the file."),
        ('{"A": "\\q"}', "line 1 column 8: invalid \\escape. Correct the file."),
        ('// comment\n{"A": "1"}', "line 1 column 1: expecting value. Correct the file."),
        ("{'A': '1'}", "line 1 column 2: expecting property name enclosed in double quotes. Correct the file."),
        ('{"A": "1"}\0', "line 1 column 11: extra data. Correct the file."),
        ('{"A": "1"}'.encode("utf-16"), "line 1 column 1: not UTF-8. Save it as UTF-8."),
        ('{"A": "1"}'.encode("utf-16-le"), "line 1 column 2: expecting property name enclosed in double quotes."),
        ('{"ä":\n "é"}'.encode("latin-1"), "line 1 column 3: not UTF-8. Save it as UTF-8."),
        ('{"A": "é",\n "B": '.encode() + b'"\xff"}', "line 2 column 8: not UTF-8. Save it as UTF-8."),
        (b'\xef\xbb\xbf{"A":\n "\xff"}', "line 2 column 3: not UTF-8. Save it as UTF-8."),
        ("[" * 100_000, "is nested too deeply. Write one JSON object of strings."),
        ('{"A":' * 100_000, "is nested too deeply. Write one JSON object of strings."),
        ("[]", "must be a JSON object, not an array. Correct the file."),
        ('"text"', "must be a JSON object, not a string. Correct the file."),
        ("1", "must be a JSON object, not a number. Correct the file."),
        ("null", "must be a JSON object, not null. Correct the file."),
        ("true", "must be a JSON object, not true or false. Correct the file."),
        ("NaN", "must be a JSON object, not a number. Correct the file."),
    ],
)
def test_a_text_that_is_no_json_object_is_refused_with_its_place(text: Any, why: str, tmp_path: Path) -> None:
    assert refusal(text, tmp_path).startswith(why)


def test_a_trailing_comma_is_refused_with_its_place(tmp_path: Path) -> None:
    # 3.13 and later point at the comma, earlier ones behind it
    assert refusal('{"A": "1",}', tmp_path).startswith(("line 1 column 10: ", "line 1 column 11: "))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1", "a number"),
        ("-0.5", "a number"),
        ("1e999", "a number"),
        ("NaN", "a number"),
        ("-Infinity", "a number"),
        ("9" * 5_000, "a number"),
        ("true", "true or false"),
        ("false", "true or false"),
        ("null", "null"),
        ("[]", "an array"),
        (f'["{SECRET}"]', "an array"),
        ("{}", "an object"),
        (f'{{"B": "{SECRET}", "B": "{SECRET}"}}', "an object"),
    ],
)
def test_a_value_that_is_no_string_is_refused_by_its_key(value: str, kind: str, tmp_path: Path) -> None:
    why = f'the value of "PORT" is {kind}, not a string. Put it in double quotes, as text.'
    assert refusal(f'{{"OTHER": "{SECRET}", "PORT": {value}}}', tmp_path) == why


@pytest.mark.parametrize(
    "key", ["A=B", "=", "A B", " ", "A\tB", "\\u0000", "A\\u0000", "Schlüssel", "\\ud800", "A\\u001b[1m"]
)
def test_a_key_that_is_no_name_of_a_variable_is_refused(key: str, tmp_path: Path) -> None:
    text = json.dumps({"x": SECRET})[:-1] + f', "{key}": "{SECRET}"}}'
    if "\t" in key:
        text = text.replace("\t", "\\t")
    line = refusal(text, tmp_path)
    assert "is not a variable name. Use printable ASCII without spaces and =." in line
    assert line.isprintable()


def test_an_empty_key_is_refused(tmp_path: Path) -> None:
    assert refusal('{"": "1"}', tmp_path) == "has an empty key. Remove it."


@pytest.mark.parametrize("key", ["PATH", "LD_PRELOAD", "PYTHONPATH", "lower", "a.b", "BASH_FUNC_x%%", "1", "A-B"])
def test_any_other_key_is_taken(key: str, tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text(json.dumps({key: "v"}))
    assert read_environment(str(path)) == {key: "v"}


def test_keys_that_change_what_subprocesses_load_are_named_for_a_warning() -> None:
    environment = {"PATH": "", "LD_PRELOAD": "", "PYTHONPATH": "", "SECRET_KEY": "", "DJANGO_PATH": ""}
    assert loadenv.loader_variables(environment) == ["LD_PRELOAD", "PATH", "PYTHONPATH"]


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    text = f'{{"A": "{SECRET}", "B": "1", "A": "{SECRET}"}}'
    assert refusal(text, tmp_path) == 'key "A" appears twice. Remove one of them.'


def test_a_very_long_key_does_not_make_a_long_line(tmp_path: Path) -> None:
    assert len(refusal(json.dumps({"K" * 100_000: 1}), tmp_path)) < 300


def test_a_byte_order_mark_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_bytes(b'\xef\xbb\xbf{"A": "1"}')
    assert read_environment(str(path)) == {"A": "1"}


def test_an_empty_object_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text("{}")
    assert read_environment(str(path)) == {}


def test_a_value_with_a_nul_is_refused_by_key_and_length(tmp_path: Path) -> None:
    line = refusal(f'{{"A": "{SECRET}\\u0000"}}', tmp_path)
    assert line == f'the value of "A" ({len(SECRET) + 1} characters) contains a NUL. Remove it.'


def test_a_value_with_half_a_surrogate_pair_is_refused_by_key_and_length(tmp_path: Path) -> None:
    line = refusal(f'{{"A": "{SECRET}\\udc80"}}', tmp_path)
    assert line == f'the value of "A" ({len(SECRET) + 1} characters) contains an unpaired surrogate. Correct the file.'


# Sizes


def test_the_largest_variable_that_the_kernel_takes_is_loaded_and_passed_on(site: Site) -> None:
    site.file.write_text(json.dumps({"BIG": "x" * (131_071 - len("BIG="))}))
    child = "import subprocess, sys; subprocess.check_call(['/bin/true']); print('passed on')"
    assert site.start("-c", child).stdout == "passed on\n"


def test_one_byte_more_is_refused_by_key_and_size(tmp_path: Path) -> None:
    line = refusal(json.dumps({"BIG": "x" * (131_072 - len("BIG="))}), tmp_path)
    assert line.startswith('"BIG" takes 131073 bytes; with more than 131072 in one variable no program can start.')


def test_sizes_are_counted_in_bytes_of_utf_8(tmp_path: Path) -> None:
    assert refusal(json.dumps({"BIG": "é" * 70_000}), tmp_path).startswith('"BIG" takes 140005 bytes')


def test_three_mebibytes_in_total_are_refused_with_the_largest_key(site: Site) -> None:
    values = {f"KEY{number}": "x" * 100_000 for number in range(30)}
    values["LARGEST"] = "x" * 100_001
    site.file.write_text(json.dumps(values))
    done = site.start("-c", "", code=1, preexec_fn=_eight_mebibytes_of_stack)
    assert 'no program can start; the largest is "LARGEST"' in done.stderr
    assert f"more than {2 * MIB - 16 * 1024} " in done.stderr


def test_what_is_taken_in_total_can_be_passed_on(site: Site) -> None:
    values = {f"KEY{number}": "x" * 100_000 for number in range(20)}
    site.file.write_text(json.dumps(values))
    child = "import subprocess; subprocess.check_call(['/bin/true']); print('passed on')"
    done = site.start("-c", child, preexec_fn=_eight_mebibytes_of_stack, env={"A": "1"})
    assert done.stdout == "passed on\n"


def test_the_process_environment_counts_for_the_total(site: Site) -> None:
    site.file.write_text(json.dumps({f"KEY{number}": "x" * 100_000 for number in range(15)}))
    process = {f"OLD{number}": "x" * 100_000 for number in range(5)}
    site.start("-c", "", preexec_fn=_eight_mebibytes_of_stack)
    process["OLD5"] = "x" * 90_000
    site.start("-c", "", code=1, preexec_fn=_eight_mebibytes_of_stack, extra_env=process)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_bytes(b"")
    os.truncate(str(path), 5 * 1024 * MIB)  # sparse
    with pytest.raises(EnvironmentFileError, match=r"has 5368709120 bytes, more than 6291456"):
        read_environment(str(path))


def _eight_mebibytes_of_stack() -> None:
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (8 * MIB, hard))


def test_a_path_with_a_newline_stays_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "a\nb\x1b[31m"
    folder.mkdir()
    with pytest.raises(EnvironmentFileError) as caught:
        read_environment(str(folder / "environment.json"))
    assert "a\\nb\\x1b[31m/environment.json: is missing" in str(caught.value)
