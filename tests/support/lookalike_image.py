"""Make the images of the ``centos7`` platform on a look-alike of CentOS 7, with the Dockerfile and scripts unchanged.

No image of CentOS 7 can be had everywhere, and a Python 3.8 that Debian 12 has no package of must come from the machine
that runs the tests: PYTHON38 names it, else ``python3.8`` is looked for on PATH and among pyenv's versions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

from tests.support import containers
from tools import containers as host
from tools import images as image_tool
from tools import interpreters

CONTEXT = containers.ROOT / "tests" / "lookalike"
TOOLCHAIN, BASE = "cfgov-lookalike-toolchain:latest", "cfgov-lookalike-base:latest"
ORIGIN_LABEL = "cfgov-lookalike-toolchain"  # what the server was compiled from
PACKAGES = "/var/lib/lookalike/packages"
COMPILED = ("httpd24", "rh-python38-mod_wsgi")  # those of them that compile-server makes
RECIPE = ("compile-server", "httpd24.txt", "mod_wsgi.txt", "tools.txt")
PROBE = "import sys, sysconfig; print(sys.base_prefix); print(sysconfig.get_config_var('Py_ENABLE_SHARED'))"


class Missing(Exception):
    """What the look-alike is made of cannot be had here; the message says what."""


class Images(NamedTuple):
    """Names of the look-alike's images."""

    base: str
    builder: str
    tester: str


def build(scratch: Path, environ: Mapping[str, str]) -> Images:
    """Build base, builder and tester; *scratch* is an empty folder for the build context.

    Raises:
        Missing: no Python 3.8 that can be embedded was found, or it does not run on the look-alike's system.
        containers.ContainerFailed: a build failed.
    """
    context = scratch / "context"
    shutil.copytree(CONTEXT, context)
    shutil.copyfile(containers.ROOT / "docker/centos7/tools.txt", context / "tools.txt")
    copy_python(find_python(environ), context / "python38")
    (context / "compiled").mkdir()
    containers.build_image(context, TOOLCHAIN, "--target=lookalike-toolchain")
    origin = compile_server(context, environ)
    containers.build_image(context, BASE, "--target=lookalike", "--label", f"{ORIGIN_LABEL}={origin}")
    for target in image_tool.TARGETS:
        command = image_tool.command(target, BASE, [_name(target)], environ)
        containers.check(containers.docker_command(command[1:]), f"docker build of {_name(target)}")
    return Images(BASE, _name("builder"), _name("tester"))


def find_python(environ: Mapping[str, str]) -> Path:
    """Return the prefix of a Python 3.8 that was built with a shared library, so that a web server can load it."""
    folders = interpreters.search_path(environ).split(os.pathsep)
    candidates = [environ["PYTHON38"]] if environ.get("PYTHON38") else [f"{folder}/python3.8" for folder in folders]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            prefix, _, shared = _output([candidate, "-I", "-c", PROBE]).partition("\n")
            # What belongs to the system cannot be copied apart from it.
            if shared == "1" and prefix != "/usr":
                return Path(prefix)
    raise Missing("no Python 3.8 with a shared library was found. Put python3.8 on PATH or name it in PYTHON38")


def _output(command: Sequence[str]) -> str:
    # pyenv's shims fail for versions that are not switched on.
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return "" if done.returncode else done.stdout.decode("utf-8", "replace").strip()


def copy_python(prefix: Path, destination: Path) -> None:
    """Copy the interpreter at *prefix* without what neither server nor builder need; CentOS also has it as lib64."""
    unneeded = shutil.ignore_patterns("test", "tests", "__pycache__", "*.a", "idlelib", "tkinter", "turtledemo")
    for folder in ("bin", "include", "lib"):
        shutil.copytree(prefix / folder, destination / folder, symlinks=True, ignore=unneeded)
    packages = destination / "lib/python3.8/site-packages"
    for entry in packages.iterdir():
        if entry.name.split("-")[0].lower() not in ("pip", "setuptools", "pkg_resources", "_distutils_hack", "wheel"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (destination / "lib64").symlink_to("lib")
    for script in (destination / "bin").iterdir():
        if script.is_file() and not script.is_symlink() and script.name != "python3.8":
            script.unlink()
    for name in ("python", "python3"):
        link = destination / "bin" / name
        if link.is_symlink() or link.exists():
            link.unlink()
        link.symlink_to("python3.8")


def compile_server(context: Path, environ: Mapping[str, str]) -> str:
    """Put Apache and mod_wsgi for that Python into *context*: compiled (minutes), or as compiled before."""
    recipe = b"".join((context / name).read_bytes() for name in RECIPE)
    origin = f"{_image_id(TOOLCHAIN)} {hashlib.sha256(recipe).hexdigest()}"
    if _label(BASE) == origin:
        command = ["docker", "run", "--rm", BASE, "tar", "--create", "--directory", PACKAGES, *COMPILED]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as kept:
            subprocess.run(["tar", "--extract", "--directory", context / "compiled"], stdin=kept.stdout, check=True)
        return origin
    settings = host.host_settings(environ)
    command = [*containers.run_words(settings, f"{context}:/given"), TOOLCHAIN, "/given/compile-server"]
    done = containers.docker_command(command, environ=settings.environment)
    if done.code == 99:
        raise Missing(f"the Python 3.8 of this machine does not run on the look-alike's system: {done.output.strip()}")
    containers.check(done, "compiling Apache and mod_wsgi")
    return origin


def _name(target: str) -> str:
    return f"cfgov-lookalike-{target}:latest"


def _image_id(image: str) -> str:
    return _output(["docker", "image", "inspect", "--format", "{{.Id}}", image])


def _label(image: str) -> str:
    return _output(["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{ORIGIN_LABEL}"}}}}', image])
