"""Where the Pythons of the test matrix are found: on PATH, and in pyenv's folder of versions.

pyenv puts one shim per command on PATH, and a shim answers only for the version that is switched on. The folders
behind the shims, appended to PATH, make every installed version reachable and hide no other command.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import List, Mapping, Optional, Tuple


def search_path(environ: Mapping[str, str]) -> str:
    """Return the PATH of *environ* with the folders of pyenv's CPythons appended, newest release first."""
    known = environ.get("PATH", os.defpath).split(os.pathsep)
    found = [str(folder) for folder in pyenv_folders(environ)]
    return os.pathsep.join(known + [folder for folder in found if folder not in known])


def pyenv_folders(environ: Mapping[str, str]) -> List[Path]:
    """Return the ``bin`` folders of the CPythons that pyenv has installed, newest release first.

    The root is ``PYENV_ROOT``, else ``~/.pyenv``: pyenv's own rule.
    """
    root = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME", "/")) / ".pyenv")
    releases = {release(folder.name): folder / "bin" for folder in root.glob("versions/3.*") if release(folder.name)}
    return [releases[key] for key in sorted(releases, reverse=True)]


def release(name: str) -> Tuple[int, ...]:
    """Return the numbers of a final release such as ``3.8.18``, or nothing for any other name."""
    parts = name.split(".")
    return tuple(int(part) for part in parts) if len(parts) == 3 and all(part.isdigit() for part in parts) else ()


def find(version: str, environ: Mapping[str, str]) -> Optional[str]:
    """Return the path of the first CPython *version* (``3.8``) on the search path that really runs, or None.

    A shim of pyenv is there for every version, and starts one or fails: what it starts says where it is.
    """
    program = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    for folder in search_path(environ).split(os.pathsep):
        path = os.path.join(folder, f"python{version}")
        if os.access(path, os.X_OK):
            command = [path, "-I", "-c", program]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            found, _, executable = done.stdout.decode("utf-8", "surrogateescape").rstrip("\n").partition(" ")
            if done.returncode == 0 and found == version:
                return executable
    return None
