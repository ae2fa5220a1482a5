"""Build the artifact of this repository's own site: through the builder image when it can, else on this machine.

    python -m tools.build_artifact [--native | --image IMAGE] [OPTION OF create]...

It says which way it takes and why. What it does not know itself goes to ``create`` (``--extra-python PY``, ``--quiet``
...), in the image as on this machine. The result is ``cfgov_current_build.zip`` in the root of the checkout, with its
``.sha256`` beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Mapping, NamedTuple, Optional, Sequence

from tools import containers, platforms

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "ghcr.io/cfpb/cfgov-artifact-builder:latest"
CACHE_VOLUME = "cfgov-artifact-cache"
PROJECT, REQUIREMENTS, BASENAME = "cfgov", "requirements/deployment.txt", "cfgov_current_build"
ICONS = "static.in/cfgov-fonts"


class Way(NamedTuple):
    """One way to build: the reason, for people, and the command."""

    reason: str
    command: List[str]
    environment: Mapping[str, str] = {}  # variables of that command beside the caller's


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Build, and return the exit code of the builder."""
    parser = argparse.ArgumentParser(
        prog="build", description=__doc__.split("\n")[0], epilog="Any other option goes to `create`."
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--native", action="store_true", help="build on this machine, for this machine's Python")
    choice.add_argument("--image", metavar="IMAGE", help=f"build in this image or fail (default: {IMAGE} if at hand)")
    arguments, options = parser.parse_known_args(argv)
    way = choose(arguments.native, arguments.image, options)
    print(f"build: {way.reason}", flush=True)
    environ = dict(os.environ, **way.environment)
    return subprocess.run(way.command, cwd=str(ROOT), env=environ, check=False).returncode


def choose(native: bool, image: Optional[str], options: Sequence[str]) -> Way:
    """Return the way to build: *native* and *image* are the caller's wishes, *options* go to ``create``."""
    if native:
        return Way("on this machine, because --native was given", native_command(options))
    wanted = image or IMAGE
    problem = missing(wanted)
    if problem and not image:
        return Way(f"on this machine, because {problem}", native_command(options))
    settings = containers.host_settings(os.environ)
    return Way(f"in the image {wanted}", image_command(wanted, options, settings), settings.environment)


def missing(image: str) -> str:
    """Return why *image* cannot be run here, as a clause; nothing when it can."""
    if not shutil.which("docker"):
        return "docker is not installed"
    if not _answers(["docker", "info"]):
        return "no Docker engine answers"
    if not _answers(["docker", "image", "inspect", image]):
        return f"the engine has no image {image} (nox -s images makes it)"
    return ""


def native_command(options: Sequence[str]) -> List[str]:
    """Return the command that builds with the running Python."""
    create = f"{PROJECT}/deployable_zipfile/create.py"
    here = platforms.of_system()
    first_line = ["--shebang", here.shebang] if here else []
    return [sys.executable, create, PROJECT, REQUIREMENTS, BASENAME, "--extra-static", ICONS, *first_line, *options]


def image_command(image: str, options: Sequence[str], settings: containers.Settings) -> List[str]:
    """Return the documented command that builds in *image*, with this machine's network and a cache of its own."""
    kept = ["-v", f"{CACHE_VOLUME}:{containers.CACHE_INSIDE}"]
    return ["docker", "run", "--rm", *settings.arguments(), *kept, "-v", f"{ROOT}:/cfgov", image, *options]


def _answers(command: Sequence[str]) -> bool:
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, check=False, timeout=60).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
