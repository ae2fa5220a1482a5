"""What a build is asked for: the command line and ``pyproject.toml`` together, and who hears of it meanwhile."""

from __future__ import annotations

import functools
import os
import re
import sys
from typing import Any, List, Mapping, Optional, Tuple

from ..artifact import layout
from ..console import Console
from ..definitions import NamedTuple, expression
from ..errors import UsageError
from . import cache, naming, settings, source
from .project import Wanted

_SHEBANG = expression(r"#![\x20-\x7e]{1,125}\Z")


class BuildOptions(NamedTuple):
    """What a build was asked for: each field but the first is the setting of its name, see ``settings.py``."""

    file: str  # pyproject.toml that the settings are from, "" without one
    project: str
    requirements: str
    output: str
    name: str
    extra_static: Tuple[str, ...]
    include: Tuple[str, ...]
    exclude: Tuple[str, ...]
    all_files: bool
    require_clean: bool
    settings_module: str
    wsgi: str
    asgi: str
    manage: str
    python_path: str
    skip_steps: Tuple[str, ...]
    python: str
    extra_python: Tuple[str, ...]
    target: Tuple[str, ...]
    extra_requirements: Tuple[str, ...]
    group: Tuple[str, ...]
    extra: Tuple[str, ...]
    wheelhouse: str
    build_constraint: Tuple[str, ...]
    require_hashes: bool
    only_binary: bool
    allow: Tuple[str, ...]
    strict: bool
    shebang: str
    bytecode: bool
    cache: bool
    cache_dir: str
    timeout: float
    workers: int

    @property
    def wanted(self) -> Wanted:
        """What is said of how the project is run."""
        return Wanted(self.settings_module, self.wsgi, self.asgi, self.manage, self.python_path, self.skip_steps)

    @property
    def base(self) -> str:
        """The folder that patterns are relative to, "" without a file."""
        return os.path.dirname(self.file)


class Wishes(NamedTuple):
    """What is wanted of one run beside the artifact."""

    check: bool = False  # import the settings and callables from what was packed before it takes its place
    against: str = ""  # path of an earlier artifact, to write a delta against; "": none
    repeat: bool = False  # build a second time in other surroundings, and refuse an artifact that is not the same


class Context(NamedTuple):
    """One build under way."""

    options: BuildOptions
    console: Console
    warnings: List[str]  # so far

    def warn(self, text: str) -> None:
        """Print a warning, and keep it for the result."""
        self.warnings.append(text)
        self.console.warn(text)


def read(given: Mapping[str, Any]) -> BuildOptions:
    """Return what to build: what was *given*, by the names of the settings, and what ``pyproject.toml`` says.

    Without a project it is the one that the ``pyproject.toml`` of the working directory, or of a folder above, is for.

    Raises:
        UsageError: something necessary is missing, or a value makes no sense.
        BuildInputError: the file cannot be used.
    """
    recall = functools.partial(_recalled, given)
    found = settings.read(given.get("project") or os.curdir, variables=False, recall=recall)
    values = settings.merged(found, dict(given))
    if not given.get("project"):
        if not found.path:
            raise UsageError(
                "PROJECT_PATH",
                f"not given, and no pyproject.toml here has a section [{settings.SECTION}]",
                "Give PROJECT_PATH REQUIREMENTS_FILE ZIPFILE_BASENAME, or run deployable-zipfile init",
            )
        values["project"] = values["project"] or found.folder
    if not values["requirements"]:
        place = found.path or "pyproject.toml"
        raise UsageError("REQUIREMENTS_FILE", "not given", f"Give it, or set requirements in {place}")
    values["shebang"] = _shebang(values["shebang"])
    values["output"] = re.sub(r"(?<=[^/])\.zip\Z", "", values["output"], flags=re.I)
    made = BuildOptions(found.path, **{name.replace("-", "_"): value for name, value in values.items()})
    source.check_directory(made.project, "Give the folder of a Django, WSGI or ASGI project")
    made = made._replace(name=naming.project_name(made.project, made.name), wheelhouse=_directory(made.wheelhouse))
    for path in made.build_constraint:
        if not os.path.isfile(path):
            raise UsageError(f"--build-constraint {path}", "does not exist", "Correct the path")
    made = made._replace(build_constraint=tuple(map(os.path.abspath, made.build_constraint)))
    return made if made.output else made._replace(output=f"{made.name}_build")


def keep_settings(kept: cache.Cache) -> None:
    """Let the next build know what the files of settings say."""
    for digest, text in settings.known():
        name = cache.key(*_of_settings(digest))
        if kept.document("settings", name) is None:
            kept.keep_document("settings", name, text)


def _recalled(given: Mapping[str, Any], digest: str) -> Optional[str]:
    """Return what a build with the same cache kept of a file of settings, as far as the command line says which."""
    folder = given.get("cache-dir") or cache.default_folder()
    if given.get("cache") is False or not folder:
        return None
    found = cache.kept_document(folder, "settings", cache.key(*_of_settings(digest)))
    return None if found is None else str(found)


def _of_settings(digest: str) -> Tuple[str, ...]:
    return "settings", sys.version, digest


def cache_folder(context: Context) -> Optional[str]:
    """Return the cache's folder; None for a build that keeps nothing, by wish or without a home folder."""
    asked = context.options
    if not asked.cache or asked.cache_dir:
        return asked.cache_dir if asked.cache else None
    folder = cache.default_folder()
    if folder is None:
        context.warn("there is no home folder for the cache, so nothing is cached; give --cache-dir DIR")
        return None
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        why = f"cannot hold the cache ({error.strerror}), so nothing is cached"
        context.warn(f"{folder}: {why}; give --cache-dir DIR")
        return None
    return folder


def _directory(wheelhouse: str) -> str:
    if wheelhouse and not os.path.isdir(wheelhouse):
        raise UsageError(f"--wheelhouse {wheelhouse}", "is not a directory", "Correct the path")
    return os.path.abspath(wheelhouse) if wheelhouse else ""


def _shebang(line: str) -> str:
    line = line or layout.DEFAULT_SHEBANG
    line = line if line.startswith("#!") else f"#!{line}"
    if not _SHEBANG.match(line) or "python" not in line:
        raise UsageError(
            "--shebang", "must be one line of at most 127 printable ASCII characters that names python", "Correct it"
        )
    return line
