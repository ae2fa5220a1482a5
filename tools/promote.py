"""Give images that were tested under their digest the names that users pull.

    python -m tools.promote [--prefix PREFIX] IMAGE@DIGEST...

Each gets PREFIXsha-COMMIT, PREFIXYYYYMMDD and PREFIXlatest, in that order. The registry copies what it has: not a byte
is built or compressed again, and the digest stays the same. ``latest`` never goes back to an older commit of this
repository. Needs skopeo, and a checkout with its whole history.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from tools import assets

ROOT = Path(__file__).resolve().parent.parent
REVISION = "org.opencontainers.image.revision"


class RegistryError(Exception):
    """The registry refused or holds something else than expected; the text is one line for people."""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Promote and return 0, or 1 when the registry refuses."""
    parser = argparse.ArgumentParser(prog="promote", description=__doc__.split("\n")[0])
    parser.add_argument("images", nargs="+", metavar="IMAGE@DIGEST", help="what was tested")
    parser.add_argument("--prefix", default="", help="start of each tag (default: none)")
    arguments = parser.parse_args(argv)
    try:
        for image in arguments.images:
            promote(image, arguments.prefix)
    except RegistryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def promote(tested: str, prefix: str) -> None:
    """Name the image *tested*, which is given by its digest."""
    name, _, digest = tested.partition("@")
    if not digest.startswith("sha256:"):
        raise RegistryError(f"{tested}: has no digest. Name what was tested")
    for tag in tags(prefix):
        if tag == f"{prefix}latest" and not may_replace(f"{name}:{tag}"):
            continue
        skopeo("copy", "--all", "--preserve-digests", f"docker://{tested}", f"docker://{name}:{tag}")
        seen = skopeo("inspect", "--format", "{{.Digest}}", f"docker://{name}:{tag}").strip()
        if seen != digest:
            raise RegistryError(f"{name}:{tag}: is {seen}, not the tested {digest}. Run the workflow again")
        print(f"promote: {name}:{tag} is {digest}", flush=True)


def tags(prefix: str) -> List[str]:
    """Return the names of an image of the current commit, the one that users pull last."""
    commit = assets.git(ROOT, "rev-parse", "--short=7", "HEAD")
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
    return [f"{prefix}sha-{commit}", f"{prefix}{today}", f"{prefix}latest"]


def may_replace(image: str) -> bool:
    """Tell whether the *image* of a moving name is older than the current commit, or not of this repository."""
    try:
        replaced = json.loads(skopeo("inspect", f"docker://{image}"))
    except RegistryError:
        print(f"promote: {image} is new", flush=True)
        return True
    revision = (replaced.get("Labels") or {}).get(REVISION, "")
    print(f"promote: {image} was {replaced['Digest']} of commit {revision or 'unknown'}", flush=True)
    command = ["git", "merge-base", "--is-ancestor", "HEAD", revision]
    newer = (
        bool(revision) and not subprocess.run(command, cwd=str(ROOT), check=False, stderr=subprocess.DEVNULL).returncode
    )
    if newer and revision != assets.git(ROOT, "rev-parse", "HEAD"):
        print(f"promote: {image} stays: it is of a later commit", flush=True)
        return False
    return True


def skopeo(*arguments: str) -> str:
    """Return what skopeo prints."""
    try:
        done = subprocess.run(["skopeo", *arguments], check=False, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        raise RegistryError("skopeo: command not found. Install it") from None
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RegistryError(f"skopeo {arguments[0]}: {line}. Run the workflow again when the cause is gone")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
