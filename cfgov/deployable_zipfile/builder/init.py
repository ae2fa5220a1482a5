"""``deployable-zipfile init``: look at a project and write its settings, with comments, and a workflow if asked.

What is found in the project's own files is written as a comment, because ``create`` finds it again at every build; what
has to be decided (the name, the requirements) is written as a setting.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Dict, List, Tuple

from .. import __version__
from ..artifact import manifests
from ..definitions import NamedTuple, expression
from ..errors import BuildInputError
from . import checkout, exporters, naming, project, settings, source

# What holds a project's requirements, the most exact first; in DIR and in DIR/requirements.
_LOCKS = ("pylock.toml", "uv.lock", "poetry.lock")
_STAGES = ("production", "prod", "deployment", "deploy", "live", "server")
_SERVERS = expression(
    r"^\s*(?:name\s*=\s*\")?(gunicorn|uvicorn|hypercorn|daphne|granian|waitress|uwsgi|pyuwsgi|mod[-_]wsgi)\b",
    re.I | re.M,
)
MOST_VARIABLES = 200
_VARIABLE = expression(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
# Read from the environment by many projects, and not of environment.json.
_OF_THE_HOST = frozenset(
    ["PATH", "HOME", "USER", "LANG", "TZ", "PWD", "TMPDIR", "PYTHONPATH", "CI", "DJANGO_SETTINGS_MODULE"]
)
_SECRET = expression(
    r"SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_KEY|_DSN$|^(DATABASE|CACHE|REDIS|BROKER|EMAIL)_URL$"
)
_KINDS = (
    (r"_URL$|_URI$|^URL$", "url"),
    (r"_PORT$|_TIMEOUT$|_SECONDS$", "integer"),
    (r"^DEBUG$|_DEBUG$|_ENABLED$", "boolean"),
    (r"_HOSTS$|_ORIGINS$", "list"),
    (r"_ROOT$|_DIR$|_PATH$", "path"),
)
WORKFLOW = os.path.join(".github", "workflows", "artifact.yml")
_REUSABLE = "cfpb/deployable-zipfile/.github/workflows/package.yml"


class Found(NamedTuple):
    """What a project says of itself."""

    folder: str  # absolute path
    name: str
    requirements: str  # relative to the folder, "" when none was found
    server: bool  # whether the requirements name a server for WSGI or ASGI
    site: manifests.Site
    files: Dict[str, str]  # the project's files: path by name below the project's folder
    variables: Tuple[str, ...] = ()  # of the environment, that they read


def look(folder: str) -> Found:
    """Look at the project in *folder*.

    Raises:
        BuildInputError: it is not a directory, or its checkout cannot be read.
    """
    root = os.path.realpath(folder)
    source.check_directory(folder, "Give the folder of a Django, WSGI or ASGI project")
    state = checkout.find(root)
    tracked = checkout.tracked(state, root) if state.root else None
    try:
        name = naming.project_name(root)
        chosen = source.project_files(root, name, tracked=tracked or None)
    except BuildInputError as error:
        raise BuildInputError(error.what, error.why, "Correct that first; create would refuse it too") from None
    files = {file.name[len(name) + 1 :]: file.path for file in chosen.files}
    requirements = _requirements(root)
    site = project.describe(files, project.Wanted())
    return Found(root, name, requirements, _has_server(root, requirements), site, files)


def section(found: Found) -> str:
    """Return the section for ``pyproject.toml``."""
    lines = [
        f"[{settings.SECTION}]",
        "# Read by deployable-zipfile create, which has an option for each setting. Paths are relative to this folder.",
        f"name = {_toml(found.name)}  # of the project's folder in the artifact",
        *_requirements_lines(found),
        "",
        "# How the site is run. Detected from its files; set one to override it.",
    ]
    site = found.site
    for setting, value, example in (
        ("settings-module", site.settings_module, "config.settings.production"),
        ("wsgi", site.wsgi, "config.wsgi:application"),
        ("asgi", site.asgi, "config.asgi:application"),
        ("manage", site.manage, "manage.py"),
    ):
        comment = "" if value else "  # not found"
        lines.append(f"# {setting} = {_toml(value or example)}{comment}")
    lines += [
        '# skip-steps = ["collectstatic"]  # check, collectstatic or migrate: steps that a deployment skips',
        "",
        "# What is packed: the files that git tracks. Patterns: * stays in a folder, ** crosses folders.",
        '# include = ["static/dist/**"]  # built, not tracked',
        '# exclude = ["**/tests/**"]',
        '# extra-static = ["frontend/dist"]  # becomes static.in/0',
        "# require-clean = true  # refuse to pack what is not the commit's",
        "",
        "# What it runs on. The default is the Python and the machine that build.",
        '# python = "3.11"',
        '# target = ["cp311-manylinux_2_28_x86_64"]  # another machine: takes binary wheels only',
        '# shebang = "#!/usr/bin/env python3"  # where there is no python: Debian, Enterprise Linux 8 to 10',
        "",
        *_variables_lines(found),
    ]
    return "\n".join(lines)


def _variables_lines(found: Found) -> List[str]:
    """Return what can be said of the variables that the project reads: their names, and which look like secrets."""
    shown = [name for name in found.variables if _VARIABLE.match(name) and name not in _OF_THE_HOST]
    if not shown:
        return []
    lines = [
        "# What environment.json must hold, checked by deploy. Take the mark off what is true, and add",
        '# type = "url" and the like, required = false, a description: see docs/build.md.',
        f"# [{settings.SECTION}.{settings.ENVIRONMENT}]",
    ]
    for name in shown[:MOST_VARIABLES]:
        kind = next((kind for words, kind in _KINDS if re.search(words, name)), "string")
        secret = ", secret = true" if _SECRET.search(name) else ""
        lines.append(f'# {name} = {{ type = "{kind}"{secret} }}')
    return [*lines, ""]


def workflow(found: Found) -> str:
    """Return a GitHub workflow that packs and tests the project on every push and pull request."""
    python = ".".join(map(str, sys.version_info[:2]))
    requirements = found.requirements or "requirements.txt"
    below = _below_checkout(found.folder)
    place = f"{below}/" if below else ""
    return f"""# Packs the project into one self-extracting zip and tries it. See docs/github.md of deployable-zipfile.
name: Artifact

on:
  push:
  pull_request:

permissions: {{}}

jobs:
  package:
    permissions:
      contents: read
    uses: {_REUSABLE}@v{__version__}
    with:
      project: {_yaml(below or ".")}
      requirements: {_yaml(os.path.normpath(place + requirements))}
      basename: {_yaml(found.name)}
      python-version: {_yaml(python)}
"""


def write(found: Found, with_workflow: bool) -> List[str]:
    """Write the section, and the workflow if asked, and return the paths.

    Raises:
        BuildInputError: the project has the section already, or a file cannot be written.
    """
    path = os.path.join(found.folder, "pyproject.toml")
    existing = settings.read(found.folder)
    if existing.path:
        raise BuildInputError(
            existing.path, f"has the section [{settings.SECTION}] already", "Edit it; init --print shows a new one"
        )
    plans: Dict[str, str] = {path: section(found)}
    if with_workflow:
        target = os.path.join(found.folder, _below_root(found.folder), WORKFLOW)
        target = os.path.normpath(target)
        if os.path.lexists(target):
            raise BuildInputError(target, "exists already", "Edit it; init --workflow --print shows a new one")
        plans[target] = workflow(found)
    for target, text in plans.items():
        _append(target, text)
    return list(plans)


def _append(path: str, text: str) -> None:
    """Add *text* to the end of *path*, after an empty line."""
    try:
        before = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="") as file:
                before = file.read()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write((gap + text).replace("\n", "\r\n" if "\r\n" in before else "\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise BuildInputError(path, f"cannot be written ({error})", "Correct the file or its mode") from None


def _requirements(root: str) -> str:
    """Return the file that most probably holds what production needs, in *root* or the nearest folder above it.

    Not above the top of the checkout.
    """
    candidates = [*_LOCKS]
    for stage in _STAGES:
        candidates += [f"requirements/{stage}.txt", f"requirements-{stage}.txt", f"requirements_{stage}.txt"]
        candidates += [f"{stage}-requirements.txt", f"{stage}_requirements.txt"]
    candidates += ["requirements.txt", "requirements/base.txt"]
    below = _below_checkout(root)
    above = [os.path.join(*[os.pardir] * depth) for depth in range(1, len(below.split(os.sep)) + 1)] if below else []
    paths = [os.path.join(folder, name) for folder in ("", *above) for name in candidates]
    return next((path for path in paths if os.path.isfile(os.path.join(root, path))), "")


def _has_server(root: str, requirements: str) -> bool:
    if not requirements:
        return False
    with open(os.path.join(root, requirements), encoding="utf-8", errors="replace") as file:
        return bool(_SERVERS.search(file.read()))


def _requirements_lines(found: Found) -> List[str]:
    if not found.requirements:
        for name in sorted(os.listdir(found.folder)):
            what, how = exporters.foreign(name)
            if what.startswith("a lock"):
                return [
                    f"# Not found. {name} is {what}, which is not read. Export it: {how}",
                    f"# requirements = {_toml(how.split()[-1])}",
                ]
        return ['# requirements = "requirements.txt"  # not found: lock with uv pip compile --generate-hashes']
    lines = [f"requirements = {_toml(found.requirements)}"]
    if not found.server:
        lines.append('# extra-requirements = ["requirements/server.txt"]  # gunicorn or uvicorn: it names no server')
    return lines


def _below_checkout(folder: str) -> str:
    root = checkout.find(folder).root or folder
    below = os.path.relpath(folder, root)
    return "" if below == os.curdir else below


def _below_root(folder: str) -> str:
    """Return the way from *folder* to the top of its checkout."""
    return os.path.relpath(checkout.find(folder).root or folder, folder)


def _toml(value: str) -> str:
    return json.dumps(value)  # a JSON string is a TOML string


def _yaml(value: str) -> str:
    return json.dumps(value)  # and a YAML string


def described(found: Found) -> List[str]:
    """Return what was found, as lines."""
    site = found.site
    rows = [
        ("project", found.name),
        ("requirements", found.requirements or "not found"),
        ("settings", site.settings_module),
        ("WSGI", site.wsgi),
        ("ASGI", site.asgi),
        ("manage.py", site.manage),
    ]
    return [f"{name}: {value}" for name, value in rows if value]
