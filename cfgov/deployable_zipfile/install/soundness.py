"""Whether an installation that is complete by its record still runs.

A record says what was written. Since then the interpreter may have been moved or removed, files may be gone, or
somebody may have edited what Python reads at its start. So names, and the files that start Python, are compared with
the list of the installation, and then Python is started.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Set

from ..artifact import layout
from ..errors import DestinationError
from . import installed, inventory, ownership

if TYPE_CHECKING:
    from .. import process

_CODE = (".py", ".pyc", ".so", ".pth")
_TIMEOUT = 60.0  # seconds for the start of Python, with all that its .pth files import
# The answer is one line among whatever .pth files print. "samefile": the path may lead through links.
_ASK = (
    "import os, sys; "
    "print('\\nanswer %d.%d %s' % (*sys.version_info[:2], os.path.samefile(sys.prefix, sys.argv[1])), flush=True)"
)


def fault(destination: str) -> str:
    """Return why the installation in *destination* cannot run as it was installed, "" when it can.

    Parameters:
        destination: absolute path of an installation that is complete by its record.
    """
    record = installed.read(destination)
    return _edited(destination, record) or _dead(destination, str(record.get("python")))


def check_owners(destination: str) -> None:
    """Refuse an installation in which another user can change what root's Python would run. Other users are free.

    Raises:
        DestinationError: naming the first such file or folder, its owner or mode, and the command that helps.
    """
    record = installed.read(destination)
    if os.geteuid() != 0 or "files_sha256" not in record:
        return
    try:
        known = inventory.read(destination, str(record["files_sha256"]))
    except (OSError, ValueError):
        return  # :func:`fault` says so
    for folder in known.folders:
        paths = [path for path in known.entries_of(folder) if path.endswith(_CODE) or folder.startswith(layout.VENV)]
        for path in [folder, *paths] if paths else ():
            ownership.check_entry(os.path.join(destination, path))


def _edited(destination: str, record: Dict[str, Any]) -> str:
    """Return what is wrong with the files that start Python; owners may differ: a tree may be given to its user."""
    if "files_sha256" not in record:
        return ""  # of an older version, which kept no list
    try:
        known = inventory.read(destination, str(record["files_sha256"]))
        status = os.lstat(os.path.join(destination, layout.VENV, "bin"))
    except inventory.Changed:
        return f"{layout.FILES} is changed"
    except (OSError, ValueError) as error:
        return f"{layout.FILES} or {layout.VENV}/bin cannot be read ({getattr(error, 'strerror', None) or error})"
    known.uid, known.gid = status.st_uid, status.st_gid
    gone: List[str] = []
    for folder in known.folders:
        entries = {path: entry for path, entry in known.entries_of(folder).items() if entry.kind != "dir"}
        there = _names(os.path.join(destination, folder), bool(entries))
        for path, entry in entries.items():
            name = path.rpartition("/")[2]
            if _starts_python(folder, name):
                found = inventory.state(destination, path, entry, known)
                if found:
                    return f"{path} is {found}"
            elif there is not None and name not in there and not name.endswith(".pyc"):  # Python does without those
                gone.append(path)
    more = f", and {len(gone) - 1} other files" if gone[1:] else ""
    return f"{gone[0]} is missing{more}" if gone else ""


def _names(folder: str, matters: bool) -> Optional[Set[str]]:
    """Return what is in *folder*, None when nothing in it *matters* or it is closed to this user."""
    try:
        return set(os.listdir(folder)) if matters else None
    except PermissionError:
        return None
    except OSError:
        return set()


def _starts_python(folder: str, name: str) -> bool:
    """Tell whether *name* in *folder* is read, or run, whenever Python starts or a person starts to work with it."""
    if folder == f"{layout.VENV}/bin":
        return True
    if folder == layout.VENV:
        return name in ("pyvenv.cfg", "lib64")
    begins = name.startswith(("loadenv", "sitecustomize.", "usercustomize.")) or name.endswith((".pth", ".start"))
    return begins and folder.startswith(layout.VENV) and folder.endswith("site-packages")


def _dead(destination: str, python: str) -> str:
    """Return why the interpreter does not run as Python *python* ("3.11") of this virtualenv."""
    import subprocess

    from .. import process

    folder = os.path.join(destination, layout.VENV)
    user: Optional[process.Person] = None
    if not os.path.exists(f"{folder}/bin/python"):
        return f"its Python is gone ({os.path.realpath(folder + '/bin/python')})"
    try:
        user = _user(destination)
        # Settings are the site's, and may be bad without anything being wrong with what was installed.
        variables = dict(process.environment(user), LOADENV_STRICT="0")
        words = [f"{folder}/bin/python", "-I", "-B", "-c", _ASK, folder]  # -B: it writes nothing
        ended = process.run(words, _TIMEOUT, env=variables, user=user)
    except KeyError:
        return ""  # nobody to start it as: root does not start what a user without a name can replace
    except (OSError, subprocess.SubprocessError) as error:
        if user is not None and isinstance(error, PermissionError):
            return ""  # closed to that user, which says nothing about the installation
        return f"its Python does not start ({getattr(error, 'strerror', None) or error})"
    answers = [line.split(" ")[1:] for line in ended.output.splitlines() if line.startswith("answer ")]
    if ended.status or not answers:
        return f"its Python does not start ({ended.why()})"
    version, is_own = answers[-1][0], answers[-1][-1]
    if version != python:
        return f"its Python is {version} now, not {python}"
    return "" if is_own == "True" else f"its Python does not take {folder} as its virtualenv"


def _user(destination: str) -> "Optional[process.Person]":
    """Return whom to start the interpreter as: root starts nothing that the folder's owner can replace.

    Raises:
        KeyError: the owner has no entry among the users.
    """
    import pwd

    from .. import process

    status = os.stat(destination)
    if os.geteuid() != 0 or (status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        return None
    return process.person(pwd.getpwuid(status.st_uid).pw_name)


def is_sound(destination: str, build_id: str, python: str) -> bool:
    """Return whether *destination* holds build *build_id* for *python*, complete as :func:`installed.is_complete` says.

    Raises:
        DestinationError: it does by its record, and cannot run.
    """
    if not installed.is_complete(destination, build_id, python):
        return False
    why = fault(destination)
    if why:
        raise DestinationError(destination, f"holds build {build_id}, but {why}", "Reinstall it with --force")
    return True
