"""The name that a project has in an artifact: from its folder, or as it was asked for."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from typing import Set

from ..artifact.names import project_name_problem
from ..errors import BuildInputError


def project_name(project: str, wanted: str = "") -> str:
    """Return the name of *project* in the artifact: *wanted*, or one made from the folder's own.

    A folder's name that is an ASCII identifier and clashes with nothing is kept. Otherwise what an identifier cannot
    hold becomes "_", and a name that Python or the artifact uses itself gets "_project" added.

    Raises:
        BuildInputError: *wanted* cannot be a name, or the folder's name gives none.
    """
    if wanted:
        problem = _name_clash(wanted)
        if problem:
            raise BuildInputError(f"the name {wanted!r}", problem, "Give another name")
        return wanted
    folder = os.path.basename(os.path.realpath(project))
    if not _name_clash(folder):
        return folder
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode("ascii")
    made = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")
    made = f"project_{made}" if made[:1].isdigit() else made
    made = f"{made}_project" if made and _name_clash(made) else made
    if not made or _name_clash(made):
        raise BuildInputError(
            os.path.realpath(project), "its name cannot be used as a project name", "Give --name NAME"
        )
    return made


def _name_clash(name: str) -> str:
    """Return why *name* cannot be a project's, "" when it can."""
    problem = project_name_problem(name)
    if not problem and name in _standard_modules():
        return "is the name of a module of Python's standard library"
    return problem or ""


def _standard_modules() -> Set[str]:
    """Return the names that the standard library of the building Python uses."""
    listed = getattr(sys, "stdlib_module_names", None)
    if listed is not None:
        return set(listed)
    import sysconfig  # before Python 3.10

    folders = [sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")]
    found = {entry.partition(".")[0] for folder in folders if os.path.isdir(folder) for entry in os.listdir(folder)}
    return (found | set(sys.builtin_module_names)) - {"site-packages", "lib-dynload"}
