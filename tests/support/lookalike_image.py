"""Make the images of the ``centos7`` platform on a look-alike of CentOS 7, with the Dockerfile and scripts unchanged.

No image of CentOS 7 can be had everywhere, and a Python 3.8 that Debian 12 has no package of must come from the machine
that runs the tests: PYTHON38 names it, else ``python3.8`` is looked for on PATH and among pyenv's versions.
"""

from __future__ import annotations

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
ORIGIN_LABEL = "cfgov-lookalike-toolchain"  # the image that mod_wsgi was compiled in
MODULE = (
    "/var/lib/lookalike/packages/rh-python38-mod_wsgi/opt/rh/httpd24/root/usr/lib64/httpd/modules/"
    "mod_rh-python38-wsgi.so"
)
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
    (context / "mod_wsgi.so").write_bytes(b"")
    containers.build_image(context, TOOLCHAIN, "--target=lookalike-toolchain")
    origin = compile_mod_wsgi(context, environ)
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


def compile_mod_wsgi(context: Path, environ: Mapping[str, str]) -> str:
    """Put mod_wsgi for that Python and its system's Apache into *context*: compiled, or as compiled before."""
    origin = _image_id(TOOLCHAIN)
    module = context / "mod_wsgi.so"
    if _label(BASE) == origin:
        with module.open("wb") as stream:
            subprocess.run(["docker", "run", "--rm", BASE, "cat", MODULE], stdout=stream, check=True)
        return origin
    settings = host.host_settings(environ)
    output = context / "wheel"
    output.mkdir()
    script = (
        "python3.8 -c 'import ssl, sqlite3, zlib' || exit 99; "
        "python3.8 -m venv /tmp/venv && /tmp/venv/bin/pip install --quiet --require-hashes -r /given/tools.txt && "
        "/tmp/venv/bin/pip install --quiet --no-build-isolation --no-cache-dir --require-hashes --no-deps "
        "--target /tmp/out -r /given/mod_wsgi.txt && cp /tmp/out/mod_wsgi/server/mod_wsgi*.so /given/wheel/"
    )
    command = [*containers.run_words(settings, f"{context}:/given"), TOOLCHAIN]
    done = containers.docker_command([*command, "bash", "-c", script], environ=settings.environment)
    if done.code == 99:
        raise Missing(f"the Python 3.8 of this machine does not run on the look-alike's system: {done.output.strip()}")
    containers.check(done, "compiling mod_wsgi")
    shutil.copyfile(next(output.glob("mod_wsgi*.so")), module)
    return origin


def _name(target: str) -> str:
    return f"cfgov-lookalike-{target}:latest"


def _image_id(image: str) -> str:
    return _output(["docker", "image", "inspect", "--format", "{{.Id}}", image])


def _label(image: str) -> str:
    return _output(["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{ORIGIN_LABEL}"}}}}', image])
