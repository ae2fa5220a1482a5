"""A virtualenv as ``venv`` makes it, in a tree that will have another path."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

from ..artifact import layout
from ..errors import TargetError
from .plan import Place
from .writer import write_bytes


def make_virtualenv(place: Place) -> None:
    """Write what ``venv`` would, for the final path: interpreter links, ``pyvenv.cfg``, activation scripts.

    The folders exist already. ``ensurepip`` is not needed: pip comes from the artifact.
    """
    try:
        import venv
    except ImportError:
        raise TargetError("Python's venv module", "is missing", "Install the package that contains it") from None
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
    final = f"{place.destination}/{layout.VENV}"
    context = SimpleNamespace(
        env_dir=final,
        env_name=layout.VENV,
        prompt=os.path.basename(place.destination),
        bin_name="bin",
        bin_path=f"{folder}/bin",
        env_exe=place.interpreter,
        env_exec_cmd=place.interpreter,
    )
    venv.EnvBuilder().install_scripts(context, os.path.join(os.path.dirname(venv.__file__), "scripts"))
    for name in os.listdir(f"{folder}/bin"):
        if not os.path.islink(f"{folder}/bin/{name}"):
            os.utime(f"{folder}/bin/{name}")  # Python 3.13 copies some with the time of its own files


def base_interpreter() -> str:
    """Return the absolute path of the interpreter that runs this, not of a virtualenv around it."""
    path = getattr(sys, "_base_executable", None) or sys.executable
    if not path or not os.path.isabs(path):
        raise TargetError("this Python", "does not know its own path", "Start it by its absolute path")
    return str(path)
