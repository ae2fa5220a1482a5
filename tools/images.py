"""Build the builder and tester images of a platform, named as every command of the documentation names them.

python -m tools.images [--platform NAME] [--target builder|tester] [--base-image IMAGE]
python -m tools.images --builder IMAGE@DIGEST --tester IMAGE@DIGEST

The second form builds nothing: it pulls these images and gives them the documented names, so that tests run on them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Mapping, Optional, Sequence

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import containers, platforms

ROOT = Path(__file__).resolve().parent.parent
CONTEXT = "docker/centos7"
REGISTRY = "ghcr.io/cfpb/"
TARGETS = ("tester", "builder")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Build the images and return the exit code of the first build that failed, else 0."""
    known = platforms.read()
    parser = argparse.ArgumentParser(prog="tools.images", description="Build the builder and tester images.")
    parser.add_argument("--platform", choices=list(known), default=os.environ.get("PLATFORM") or platforms.DEFAULT)
    parser.add_argument("--target", choices=TARGETS, help="build only this image")
    parser.add_argument("--base-image", metavar="IMAGE", help="build on this image, whatever the platform's own is")
    parser.add_argument("--builder", metavar="IMAGE", help="pull this builder instead of building one")
    parser.add_argument("--tester", metavar="IMAGE", help="pull this tester instead of building one")
    arguments = parser.parse_args(argv)
    if not engine_answers():
        print("error: docker: no Docker engine answers. Start one, on Debian with .ci/engine", file=sys.stderr)
        return 1
    given = {target: getattr(arguments, target) for target in TARGETS if getattr(arguments, target)}
    if given:
        return fetch(given)
    base = arguments.base_image or known[arguments.platform].base_image
    for target in [arguments.target] if arguments.target else TARGETS:
        print(f"images: {names(target)[-1]} on {base}", flush=True)
        code = subprocess.run(command(target, base, names(target), os.environ), cwd=str(ROOT), check=False).returncode
        if code:
            print(f"error: {names(target)[-1]}: docker build ended with code {code}. Look above", file=sys.stderr)
            return code
    return 0


def fetch(given: Mapping[str, str]) -> int:
    """Pull the images *given* by target under their documented names; return the first exit code but 0, else 0."""
    for target, image in given.items():
        tag = [["docker", "tag", image, name] for name in names(target)]
        for words in (["docker", "pull", "--quiet", image], *tag):
            code = subprocess.run(words, check=False).returncode
            if code:
                print(f"error: {image}: docker {words[1]} ended with code {code}. Look above", file=sys.stderr)
                return code
    return 0


def engine_answers() -> bool:
    """Tell whether there is a docker command and an engine behind it."""
    if not shutil.which("docker"):
        return False
    quiet = subprocess.DEVNULL
    return not subprocess.run(["docker", "version"], stdout=quiet, stderr=quiet, check=False).returncode


def names(target: str) -> List[str]:
    """Return the names of the image of *target*, with and without the registry."""
    return [f"{REGISTRY}cfgov-artifact-{target}:latest", f"cfgov-artifact-{target}:latest"]


def command(target: str, base: str, tags: Sequence[str], environ: Mapping[str, str]) -> List[str]:
    """Return the documented command that builds *target* on *base*.

    Proxies are passed by name: Docker takes their values from its own environment and keeps these arguments, which it
    predefines, out of the image's history.
    """
    build = ["docker", "build", CONTEXT, f"--target=cfgov-artifact-{target}"]
    build += [part for tag in tags for part in ("-t", tag)]
    build += ["--build-arg", f"BASE_IMAGE={base}"]
    return build + [part for name in containers.proxy_names(environ) for part in ("--build-arg", name)]


if __name__ == "__main__":
    sys.exit(main())
