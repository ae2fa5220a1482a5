from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable, List

import pytest

from deployable_zipfile import __main__ as command_line
from deployable_zipfile.artifact import environment, manifests
from deployable_zipfile.builder import cache, options, parsers, settings
from deployable_zipfile.builder.options import BuildOptions
from deployable_zipfile.errors import BuildInputError
from deployable_zipfile.views import sources
from tests.support import production


def read(folder: Path, text: str, below: str = "site_one") -> settings.Found:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / below).mkdir(exist_ok=True, parents=True)
    return settings.read(str(folder / below))


def test_the_nearest_file_with_the_section_holds(tmp_path: Path) -> None:
    text = '[tool.deployable-zipfile]\ninclude = ["a/*"]\nrequire-clean = true\nshebang = "#!/usr/bin/python3"\n'
    found = read(tmp_path, text)
    assert (found.path, found.folder) == (str(tmp_path / "pyproject.toml"), str(tmp_path))
    assert found.values == {"include": ("a/*",), "require-clean": True, "shebang": "#!/usr/bin/python3"}
    (tmp_path / "site_one" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert settings.read(str(tmp_path / "site_one")) == found


def test_nothing_above_the_checkout_is_read(tmp_path: Path) -> None:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    assert read(tmp_path, "[tool.deployable-zipfile]\nstrict = true\n", "repo/site_one") == settings.Found()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    lines = ["project = 'src'", "requirements = 'r.txt'", "extra-static = ['built', '/srv/a']", "cache-dir = 'c'"]
    found = read(tmp_path, "\n".join(["[tool.deployable-zipfile]", *lines, ""]))
    assert found.values == {
        "project": f"{tmp_path}/src",
        "requirements": f"{tmp_path}/r.txt",
        "extra-static": (f"{tmp_path}/built", "/srv/a"),
        "cache-dir": f"{tmp_path}/c",
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("includes = []", "has the unknown setting 'includes'. Known are all-files, allow, asgi, build-constraint"),
        ("require_clean = true", "has the unknown setting 'require_clean'"),
        ("path = 'x'", "has the unknown setting 'path'"),
        ("include = 'x'", "include in [tool.deployable-zipfile] must be a list of strings"),
        ("include = [1]", "include in [tool.deployable-zipfile] must be a list of strings"),
        ("extra-static = 'x'", "extra-static in [tool.deployable-zipfile] must be a list of paths"),
        ("strict = 1", "strict in [tool.deployable-zipfile] must be true or false"),
        ("strict = 'yes'", "must be true or false"),
        ("name = ''", "name in [tool.deployable-zipfile] must be a string"),
        ("name = ['x']", "name in [tool.deployable-zipfile] must be a string"),
        ("workers = 1.5", "workers in [tool.deployable-zipfile] must be a whole number greater than 0"),
        ("workers = true", "must be a whole number greater than 0"),
        ("timeout = 0", "timeout in [tool.deployable-zipfile] must be a number greater than 0"),
        ("timeout = '5'", "must be a number greater than 0"),
        ("strict = ", "cannot be read as TOML"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(BuildInputError) as caught:
        read(tmp_path, f"[tool.deployable-zipfile]\n{line}\n")
    assert str(caught.value).startswith(f"{tmp_path}/pyproject.toml: ")
    assert why in str(caught.value)


@pytest.mark.parametrize("text", ["tool = 1\n", "[tool]\ndeployable-zipfile = 1\n"])
def test_a_section_that_is_no_table_is_refused_or_not_there(tmp_path: Path, text: str) -> None:
    if text.startswith("tool"):
        assert read(tmp_path, text) == settings.Found()
    else:
        with pytest.raises(BuildInputError, match="must be a table"):
            read(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "stated", "given", "value"),
    [
        ("name", "shop", None, "shop"),
        ("name", "shop", "store", "store"),
        ("name", None, None, ""),
        ("include", ("a",), ["b"], ("a", "b")),
        ("exclude", None, ["b"], ("b",)),
        ("target", ("a",), ["b"], ("b",)),
        ("extra-static", ("a",), None, ("a",)),
        ("strict", True, None, True),
        ("strict", True, False, False),
        ("bytecode", None, None, True),
        ("bytecode", False, True, True),
        ("workers", 3, None, 3),
        ("workers", 3, 2, 2),
    ],
)
def test_the_command_line_comes_before_the_file_or_adds_to_it(name: str, stated: Any, given: Any, value: Any) -> None:
    found = settings.Found("/p/pyproject.toml", {} if stated is None else {name: stated})
    assert settings.merged(found, {name: given})[name] == value


def test_every_setting_has_an_option_and_every_option_a_setting() -> None:
    output_only = {
        "--help",
        "-h",
        "--version",
        "--quiet",
        "-q",
        "--json",
        "--debug",
        "--check",
        "--no-check",
        "--against",
        "--verify-reproducible",
    }
    actions = parsers.create()._actions
    options = {word for action in actions for word in action.option_strings} - output_only
    named = {setting.name for setting in settings.TABLE if setting.name not in settings.ARGUMENTS}
    negations = {f"--no-{setting.name}" for setting in settings.TABLE if setting.kind == settings.FLAG}
    assert options == {f"--{name}" for name in named} | negations
    arguments = [action.dest for action in actions if not action.option_strings]
    assert arguments == list(settings.ARGUMENTS)
    fields = [name.replace("_", "-") for name in BuildOptions._fields if name != "file"]
    assert fields == [setting.name for setting in settings.TABLE]


def test_variables_are_declared_in_a_table_of_their_own(tmp_path: Path) -> None:
    text = '[tool.deployable-zipfile]\nname = "x"\n[tool.deployable-zipfile.environment]\nKEY = { type = "integer" }\n'
    found = read(tmp_path, text)
    assert found.values == {"name": "x"}
    contract = settings.environment(found.path)
    assert contract is not None
    assert contract.variables["KEY"].type == "integer"
    assert settings.environment("") is None
    assert settings.environment(read(tmp_path, '[tool.deployable-zipfile]\nname = "x"\n').path) is None


@pytest.mark.parametrize(
    "line", ["environment = 1", "environment.KEY = 1", 'environment.KEY.type = "x"', "environment.KEY.x = 1"]
)
def test_a_declaration_that_makes_no_sense_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(BuildInputError, match=r"\[tool\.deployable-zipfile\.environment\]"):
        read(tmp_path, f"[tool.deployable-zipfile]\n{line}\n")


def test_this_repositorys_site_declares_every_variable_that_it_reads() -> None:
    root = Path(__file__).parents[3]
    contract = settings.environment(str(root / "pyproject.toml"))
    assert contract is not None
    paths = {path.relative_to(root / "cfgov").as_posix(): str(path) for path in (root / "cfgov").rglob("*.py")}
    paths = {name: path for name, path in paths.items() if not name.startswith("deployable_zipfile/")}
    found = sources.of_files("cfgov", manifests.Site("cfgov.settings.production", "", "", "manage.py", "", ()), paths)
    assert set(found.environment) - {"DJANGO_SETTINGS_MODULE"} == set(contract.variables)


def test_the_environments_of_our_own_servers_and_guide_fit_what_the_site_declares() -> None:
    root = Path(__file__).parents[3]
    contract = settings.environment(str(root / "pyproject.toml"))
    assert contract is not None
    shown = re.search(r"```json\n(\{.*?\n\})\n```", (root / "docs/deploy.md").read_text("utf-8"), re.DOTALL)
    assert shown is not None
    for variables in (production.SITE, json.loads(shown.group(1))):
        assert contract.problems(variables) == []
        assert contract.hints(variables) == []


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "build.md").read_text(encoding="utf-8")
    for setting in settings.TABLE:
        assert f"`{setting.name}`" in text, setting.name


DECLARING = '[tool.deployable-zipfile]\nname = "shop"\n[tool.deployable-zipfile.environment]\nKEY = { secret = true }\n'


def test_the_example_and_the_schema_are_printed_without_a_build(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "pyproject.toml").write_text(DECLARING)
    assert command_line.main(["environment", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "# string; required; secret\nKEY=CHANGE-ME\n"
    assert command_line.main(["environment", str(tmp_path), "--example", "json", "--json"]) == 0
    assert json.loads(json.loads(capsys.readouterr().out)["environment_example"]) == {"KEY": "CHANGE-ME"}
    assert command_line.main(["environment", str(tmp_path), "--schema"]) == 0
    contract = environment.Contract.from_json(capsys.readouterr().out.encode("ascii"), "shop")
    assert list(contract.variables) == ["KEY"]


@pytest.mark.parametrize("text", ["", "[tool.deployable-zipfile]\n"])
def test_without_a_declaration_there_is_nothing_to_print(tmp_path: Path, capsys: Any, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / ".git").mkdir()
    assert command_line.main(["environment", str(tmp_path)]) == 7
    assert "declares no variables" in capsys.readouterr().err


class Remembered:
    """A project whose settings an earlier build has read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "pyproject.toml"
        self.cache = folder / "cache"
        self.parsed: List[bytes] = []
        self._folder = folder
        self._patch = monkeypatch
        real = settings._parsed

        def counted(content: bytes) -> Any:
            self.parsed.append(content)
            return real(content)

        monkeypatch.setattr(settings, "_parsed", counted)
        (folder / "site").mkdir()

    def read(self, **given: Any) -> BuildOptions:
        """Read the settings as a new process does, and keep them."""
        self._patch.setattr(settings, "_SECTIONS", {})
        self.parsed.clear()
        words = {"project": str(self._folder / "site"), "requirements": "r.txt", "cache-dir": str(self.cache), **given}
        found = options.read(words)
        with cache.Cache(str(self.cache)) as kept:
            options.keep_settings(kept)
        return found


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remembered:
    made = Remembered(tmp_path, monkeypatch)
    made.file.write_text('[tool.deployable-zipfile]\nname = "one"\n', encoding="utf-8")
    assert made.read().name == "one"
    assert made.parsed
    return made


def test_a_file_of_settings_is_parsed_once(remembered: Remembered) -> None:
    assert remembered.read().name == "one"
    assert remembered.parsed == []


def test_another_content_of_the_same_size_and_time_is_parsed(remembered: Remembered) -> None:
    status = remembered.file.stat()
    remembered.file.write_text('[tool.deployable-zipfile]\nname = "two"\n', encoding="utf-8")
    os.utime(str(remembered.file), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert remembered.read().name == "two"
    remembered.file.write_text("[project]\n", encoding="utf-8")
    assert remembered.read().name == "site_project"
    assert remembered.read().name == "site_project"
    assert remembered.parsed == []


def _damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))


def _cut(path: Path) -> None:
    os.truncate(str(path), 70)


@pytest.mark.parametrize("spoil", [_damaged, _cut, Path.unlink])
def test_what_was_kept_of_settings_is_used_only_when_it_is_whole(
    remembered: Remembered, spoil: Callable[[Path], None]
) -> None:
    for path in (remembered.cache / "settings").rglob("*.json"):
        spoil(path)
    assert remembered.read().name == "one"
    assert remembered.parsed


def test_without_a_cache_settings_are_parsed(remembered: Remembered) -> None:
    remembered.read(cache=False)
    assert remembered.parsed
    remembered.read(**{"cache-dir": str(remembered.cache) + "-other"})
    assert remembered.parsed


def test_variables_keep_their_order_and_a_date_is_not_kept(remembered: Remembered) -> None:
    text = "[tool.deployable-zipfile.environment]\nZ = {default = 1, type = 'integer'}\nA = {type = 'string'}\n"
    remembered.file.write_text(text, encoding="utf-8")
    before = list(settings.variables(remembered.read().file))
    again = remembered.read()
    assert (list(settings.variables(again.file)), before, remembered.parsed) == (["Z", "A"], ["Z", "A"], [])
    assert list(settings.variables(again.file)["Z"]) == ["default", "type"]

    remembered.file.write_text(f"{text}D = {{default = 2020-01-01}}\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(BuildInputError):
            settings.environment(remembered.read().file)
        assert remembered.parsed
