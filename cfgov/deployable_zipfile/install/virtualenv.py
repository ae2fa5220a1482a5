"""A virtualenv as ``venv`` makes it, in a tree that will have another path."""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
from typing import Dict, Optional, Tuple

from ..artifact import layout
from ..definitions import expression
from ..errors import TargetError
from .plan import Place
from .writer import write_bytes

_PLAIN = expression(r"[A-Za-z0-9@%+=:,./_-]+\Z")  # needs no quotes in any shell
_PARTS = ("common", "posix")  # folders of templates
_PLACEHOLDERS = {
    "env_dir": "__VENV_DIR__",
    "env_name": "__VENV_NAME__",
    "prompt": "__VENV_PROMPT__",
    "bin_name": "__VENV_BIN_NAME__",
    "env_exe": "__VENV_PYTHON__",
}


def make_virtualenv(place: Place) -> None:
    """Write what ``venv`` would, for the final path: interpreter links, ``pyvenv.cfg``, activation scripts.

    The folders exist already. ``ensurepip`` is not needed: pip comes from the artifact.
    """
    spec = importlib.util.find_spec("venv")
    if spec is None or not spec.submodule_search_locations:
        raise TargetError("Python's venv module", "is missing", "Install the package that contains it")
    base = base_interpreter()
    folder = f"{place.tree}/{layout.VENV}"
    os.symlink(base, f"{folder}/bin/python")
    os.symlink("python", f"{folder}/bin/python3")
    os.symlink("python", f"{folder}/bin/python{place.python}")
    if sys.maxsize > 2**32 and sys.platform != "darwin":
        os.symlink("lib", f"{folder}/lib64")
    if not os.path.isdir(f"{folder}/include"):
        os.mkdir(f"{folder}/include", 0o755)
    version = ".".join(str(part) for part in sys.version_info[:3])
    config = (
        f"home = {os.path.dirname(base)}\n"
        "include-system-site-packages = false\n"
        f"version = {version}\n"
        f"executable = {os.path.realpath(base)}\n"
    )
    write_bytes(f"{folder}/pyvenv.cfg", config.encode("utf-8"))
    _write_scripts(f"{folder}/bin", f"{next(iter(spec.submodule_search_locations))}/scripts", place)


def _write_scripts(folder: str, source: str, place: Place) -> None:
    """Write the activation scripts, which ``venv`` has in its folder *source*, into *folder*.

    ``venv`` itself is only asked where a path may need quotes, which it has written in different ways: importing it,
    and with it ``logging``, takes longer than all the rest of a virtualenv.
    """
    values = {
        "env_dir": f"{place.destination}/{layout.VENV}",
        "env_name": layout.VENV,
        "prompt": os.path.basename(place.destination),
        "bin_name": "bin",
        "env_exe": place.interpreter,
    }
    scripts = plain_scripts(source, values)
    if scripts is None:
        scripts_by_venv(folder, source, values)
        return
    for name, (mode, text) in scripts.items():
        write_bytes(f"{folder}/{name}", text, mode)
        os.chmod(f"{folder}/{name}", mode)


def plain_scripts(source: str, values: Dict[str, str]) -> Optional[Dict[str, Tuple[int, bytes]]]:
    """Return mode and text of each activation script by its name; None when only ``venv`` knows what it writes.

    Parameters:
        source: folder of the templates.
        values: by the names that they have in ``venv``.
    """
    if not all(map(_PLAIN.match, values.values())):
        return None
    scripts: Dict[str, Tuple[int, bytes]] = {}
    for part in _PARTS:
        for name in os.listdir(f"{source}/{part}"):
            try:
                with open(f"{source}/{part}/{name}", "rb") as file:
                    mode, text = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read().decode("utf-8")
            except (OSError, UnicodeDecodeError):
                return None  # a folder, for instance
            if name in scripts or ("__VENV_" in text and name.endswith(".ps1")):  # some versions add quotes there
                return None
            for key, value in values.items():
                text = text.replace(_PLACEHOLDERS[key], value)
            scripts[name] = mode, text.encode("utf-8")
    return scripts


def scripts_by_venv(folder: str, source: str, values: Dict[str, str]) -> None:
    """Let ``venv`` write the same scripts into *folder*."""
    import venv
    from types import SimpleNamespace

    context = SimpleNamespace(**values, env_exec_cmd=values["env_exe"], bin_path=folder)
    venv.EnvBuilder().install_scripts(context, source)
    for name in os.listdir(folder):
        if not os.path.islink(f"{folder}/{name}"):
            os.utime(f"{folder}/{name}")  # Python 3.13 copies some with the time of its own files


def base_interpreter() -> str:
    """Return the absolute path of the interpreter that runs this, not of a virtualenv around it."""
    path = getattr(sys, "_base_executable", None) or sys.executable
    if not path or not os.path.isabs(path):
        raise TargetError("this Python", "does not know its own path", "Start it by its absolute path")
    return str(path)
