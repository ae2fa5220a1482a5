"""The settings of a build: one table for ``[tool.deployable-zipfile]`` of ``pyproject.toml`` and for the options.

Every setting has an option of the same name and every option of a build, those that only change the output aside, has a
setting. A path in the file is relative to the file's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..definitions import NamedTuple
from ..errors import BuildInputError

if TYPE_CHECKING:  # imported where a project declares variables that are not known from the build before
    from ..artifact.environment import Contract

# Returns the text that was kept of a file with this digest, None when none was.
Recall = Callable[[str], Optional[str]]

SECTION = "tool.deployable-zipfile"
ENVIRONMENT = "environment"  # a table of its own in the section, without an option

TEXT, TEXTS, PATH, PATHS, FLAG, NUMBER = "string", "list of strings", "path", "list of paths", "true or false", "number"
_TEXTS = (TEXTS, PATHS)


class Setting(NamedTuple):
    """One setting and its option."""

    name: str  # as in the file; --NAME on the command line, unless it is an argument without a name
    kind: str
    metavar: str
    group: str  # of the help
    help: str
    default: Any
    adds: bool = False  # the option adds to the file's list, otherwise it takes its place


ARGUMENTS = ("project", "requirements", "output")  # without a name, in this order

_PACKED, _RUN, _WHEELS, _BUILD = "files", "how the project is run", "targets and requirements", "build"
TABLE: Tuple[Setting, ...] = (
    Setting("project", PATH, "PROJECT_PATH", "", "folder of the project (default: that of its pyproject.toml)", ""),
    Setting("requirements", PATH, "REQUIREMENTS_FILE", "", "requirements.txt, pylock.toml, uv.lock or poetry.lock", ""),
    Setting("output", PATH, "ZIPFILE_BASENAME", "", "path of the artifact, with or without .zip", ""),
    Setting("name", TEXT, "NAME", _PACKED, "name of the project in the artifact (default: its folder's)", ""),
    Setting("extra-static", PATHS, "DIR", _PACKED, "folder of static files; repeatable", ()),
    Setting("include", TEXTS, "GLOB", _PACKED, "untracked files to pack as well; repeatable", (), True),
    Setting("exclude", TEXTS, "GLOB", _PACKED, "files to leave out; repeatable", (), True),
    Setting("all-files", FLAG, "", _PACKED, "pack untracked files too, not only what git tracks", False),
    Setting("require-clean", FLAG, "", _PACKED, "refuse to pack anything that differs from the commit", False),
    Setting("settings-module", TEXT, "MODULE", _RUN, "settings module (default: named in wsgi.py or manage.py)", ""),
    Setting("wsgi", TEXT, "MODULE:CALLABLE", _RUN, "WSGI callable (default: WSGI_APPLICATION of the settings)", ""),
    Setting("asgi", TEXT, "MODULE:CALLABLE", _RUN, "ASGI callable (default: ASGI_APPLICATION of the settings)", ""),
    Setting("manage", TEXT, "PATH", _RUN, "manage.py below the project's folder (default: the topmost one)", ""),
    Setting("python-path", TEXT, "PATH", _RUN, "folder below the project's folder to put on sys.path", ""),
    Setting("skip-steps", TEXTS, "STEP", _RUN, "skip check, collectstatic or migrate in deploy; repeatable", ()),
    Setting("python", TEXT, "PY", _WHEELS, "Python to collect wheels for (default: the one that runs the build)", ""),
    Setting("extra-python", TEXTS, "PY", _WHEELS, "another Python to collect wheels for; repeatable", ()),
    Setting(
        "target", TEXTS, "NAME", _WHEELS,
        "build for e.g. cp38-manylinux_2_17_x86_64 instead of this machine, from wheels only; repeatable", (),
    ),
    Setting("extra-requirements", PATHS, "FILE", _WHEELS, "further requirements, e.g. for gunicorn; repeatable", ()),
    Setting("group", TEXTS, "NAME", _WHEELS, "dependency group of the lock to include; repeatable", ()),
    Setting("extra", TEXTS, "NAME", _WHEELS, "extra of the lock to include; repeatable", ()),
    Setting("wheelhouse", PATH, "DIR", _WHEELS, "take wheels and sdists from this folder, use no index", ""),
    Setting("build-constraint", PATHS, "FILE", _WHEELS, "constraints for build backends; repeatable", ()),
    Setting("require-hashes", FLAG, "", _WHEELS, "refuse requirements without hashes", False),
    Setting("only-binary", FLAG, "", _WHEELS, "build nothing from source", False),
    Setting("allow", TEXTS, "WHEEL", _WHEELS, "pack this broken wheel with a new RECORD; repeatable", (), True),
    Setting("strict", FLAG, "", _WHEELS, "treat warnings about wheels and packed passwords as errors", False),
    Setting("shebang", TEXT, "LINE", _BUILD, "first line of the artifact (default: #!/usr/bin/env python)", ""),
    Setting("bytecode", FLAG, "", _BUILD, "ship bytecode of packages and project", True),
    Setting("cache", FLAG, "", _BUILD, "use the cache", True),
    Setting("cache-dir", PATH, "DIR", _BUILD, "folder of the cache (default: in the user's cache)", ""),
    Setting("timeout", NUMBER, "SECONDS", _BUILD, "limit for a run of pip (default: 1800)", 1800.0),
    Setting("workers", NUMBER, "N", _BUILD, "processes to use (default: one per core)", 0),
)  # fmt: skip
BY_NAME: Dict[str, Setting] = {setting.name: setting for setting in TABLE}


class Found(NamedTuple):
    """What a file says."""

    path: str = ""  # of the file, "" when there is none
    values: Dict[str, Any] = {}  # by name, paths absolute

    @property
    def folder(self) -> str:
        """Return the folder that patterns of the file are relative to, "" without a file."""
        return os.path.dirname(self.path)


def read(folder: str, variables: bool = True, recall: Optional[Recall] = None) -> Found:
    """Read the settings that hold for *folder*: of the nearest ``pyproject.toml`` that has the section.

    Looked for in the folder and in those above it, up to the top of the git checkout.

    Parameters:
        variables: also look at those that the project declares, as :func:`environment` does.
        recall: knows files that were parsed before, which takes less than loading a parser.

    Raises:
        BuildInputError: the file is not TOML, or a setting is unknown or of a wrong type.
    """
    for path in looked_for(folder):
        if os.path.isfile(path):
            section = _section(path, recall)
            if section is not None:
                return Found(path, _values(path, section, variables))
    return Found()


def looked_for(folder: str) -> List[str]:
    """Return the paths where the settings that hold for *folder* may be, the nearest first."""
    folder = os.path.realpath(folder)
    found = [os.path.join(folder, "pyproject.toml")]
    while folder != os.path.dirname(folder) and not os.path.lexists(os.path.join(folder, ".git")):
        folder = os.path.dirname(folder)
        found.append(os.path.join(folder, "pyproject.toml"))
    return found


_SECTIONS: Dict[str, Any] = {}  # that files say, by the digest of the whole file; nobody may change them


def _section(path: str, recall: Optional[Recall] = None) -> Any:
    """Return the section in the file *path*, None when it has none."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        digest = hashlib.sha256(content).hexdigest()
        if digest not in _SECTIONS:
            kept = recall(digest) if recall else None
            _SECTIONS[digest] = json.loads(kept) if kept else _parsed(content)
    except (OSError, ValueError) as error:  # the errors of TOML and of UTF-8 among them
        raise BuildInputError(path, f"cannot be read as TOML ({error})", "Correct the file") from None
    return _SECTIONS[digest]


def known() -> Iterator[Tuple[str, str]]:
    """Yield the digest of each file that was read, and the text to keep of it.

    JSON has no form for a date; of a file that holds one in our section nothing is kept.
    """
    for digest, section in _SECTIONS.items():
        try:
            text = json.dumps(section)  # in the order of the file, which the schema of variables has too
        except TypeError:
            continue
        yield digest, text


def _parsed(content: bytes) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    tool = tomllib.loads(content.decode("utf-8")).get("tool", {})
    return tool.get("deployable-zipfile") if isinstance(tool, dict) else None


def _values(path: str, section: Any, variables: bool) -> Dict[str, Any]:
    if not isinstance(section, dict):
        raise BuildInputError(path, f"[{SECTION}] must be a table", "See docs/build.md")
    values: Dict[str, Any] = {}
    for name, value in section.items():
        if name == ENVIRONMENT:
            if variables:
                _contract(path, value)
            continue
        setting = BY_NAME.get(name)
        if setting is None:
            known = ", ".join(sorted([*BY_NAME, ENVIRONMENT]))
            raise BuildInputError(path, f"[{SECTION}] has the unknown setting {name!r}", f"Known are {known}")
        problem = _problem(setting, value)
        if problem:
            raise BuildInputError(path, f"{name} in [{SECTION}] {problem}", "See docs/build.md")
        values[name] = _absolute(setting, os.path.dirname(path), value)
    return values


def variables(path: str) -> Any:
    """Return what the file *path* says of variables, as it says it; None when it says nothing.

    Raises:
        BuildInputError: the file cannot be used.
    """
    section = _section(path) if path else None
    return section.get(ENVIRONMENT) if isinstance(section, dict) else None


def environment(path: str) -> Optional[Contract]:
    """Return which variables the project declares in the file *path*, None when the file declares none.

    Raises:
        BuildInputError: the file cannot be used.
    """
    table = variables(path)
    return None if table is None else _contract(path, table)


def _contract(path: str, table: Any) -> Contract:
    from ..artifact.environment import declared

    try:
        return declared(table)
    except ValueError as error:
        raise BuildInputError(path, f"[{SECTION}.{ENVIRONMENT}] {error}", "See docs/build.md") from None


def _problem(setting: Setting, value: Any) -> str:
    if setting.kind in _TEXTS:
        fits = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
    elif setting.kind == FLAG:
        fits = isinstance(value, bool)
    elif setting.kind == NUMBER:
        whole = isinstance(setting.default, int)
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool) and value > 0
        return "" if fits else f"must be a {'whole ' if whole else ''}number greater than 0"
    else:
        fits = isinstance(value, str) and bool(value)
    article = "" if setting.kind == FLAG else "a "
    return "" if fits else f"must be {article}{setting.kind}"


def _absolute(setting: Setting, folder: str, value: Any) -> Any:
    if setting.kind == PATH:
        return os.path.join(folder, value)
    if setting.kind == PATHS:
        return tuple(os.path.join(folder, item) for item in value)
    return tuple(value) if setting.kind == TEXTS else value


def merged(found: Found, given: Dict[str, Any]) -> Dict[str, Any]:
    """Return every setting's value: as *given* on the command line, else as *found* in the file, else its default.

    Parameters:
        given: by name; None, or an empty tuple, when the option was not given.
    """
    values: Dict[str, Any] = {}
    for setting in TABLE:
        stated = found.values.get(setting.name, setting.default)
        wanted = given.get(setting.name)
        if setting.kind in _TEXTS:
            wanted = tuple(wanted or ())
            values[setting.name] = tuple(stated) + wanted if setting.adds else wanted or tuple(stated)
        else:
            values[setting.name] = stated if wanted is None or wanted == "" else wanted
    return values


def groups() -> List[str]:
    """Return the groups of options in the order of the help."""
    return list(dict.fromkeys(setting.group for setting in TABLE if setting.group))
