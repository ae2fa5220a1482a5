"""The build's settings in ``[tool.deployable-zipfile]`` of ``pyproject.toml``."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, NamedTuple, Tuple

from ..errors import BuildInputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SECTION = "tool.deployable-zipfile"


class Settings(NamedTuple):
    """What the file says; the command line says more, or says otherwise."""

    path: str = ""  # of the file, "" when there is none
    include: Tuple[str, ...] = ()
    exclude: Tuple[str, ...] = ()
    target: Tuple[str, ...] = ()
    shebang: str = ""
    require_clean: bool = False
    require_hashes: bool = False
    strict: bool = False
    allow: Tuple[str, ...] = ()


def read(project: str) -> Settings:
    """Read the settings that hold for *project*: of the nearest ``pyproject.toml`` that has the section.

    Looked for in the project's folder and in those above it, up to the top of the git checkout.

    Raises:
        BuildInputError: the file is no TOML, or a setting is unknown or of a wrong type.
    """
    folder = os.path.realpath(project)
    while True:
        path = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(path):
            section = _section(path)
            if section is not None:
                return _settings(path, section)
        above = os.path.dirname(folder)
        if above == folder or os.path.lexists(os.path.join(folder, ".git")):
            return Settings()
        folder = above


def _section(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BuildInputError(path, f"cannot be read as TOML ({error})", "Correct the file") from None
    return document.get("tool", {}).get("deployable-zipfile")


def _settings(path: str, section: Any) -> Settings:
    if not isinstance(section, dict):
        raise BuildInputError(path, f"its [{_SECTION}] is no table", "See docs/build.md")
    values: Dict[str, Any] = {}
    defaults = Settings()._asdict()
    for name, value in section.items():
        field = name.replace("-", "_")
        if field == "path" or field not in defaults or "_" in name:
            known = ", ".join(sorted(field.replace("_", "-") for field in set(defaults) - {"path"}))
            raise BuildInputError(path, f"[{_SECTION}] has the unknown setting {name!r}", f"Known are {known}")
        if isinstance(defaults[field], tuple):
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise BuildInputError(path, f"{name} in [{_SECTION}] is no list of strings", "See docs/build.md")
            value = tuple(value)
        elif type(value) is not type(defaults[field]):
            raise BuildInputError(path, f"{name} in [{_SECTION}] has a wrong type", "See docs/build.md")
        values[field] = value
    return Settings(path=path, **values)
