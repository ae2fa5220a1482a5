"""Say whether the current commit can be released, and what is in the way.

    python -m tools.release_check [--tag TAG] [--branch BRANCH] [--folder FOLDER] [--native] [--no-build]

Checked are: no change in the working tree, the version against the tag, that the branch has the commit, the changelog,
the exact set of files in a release folder when one is named, and that two builds of the artifact, in two folders under
another umask, time zone, locale and hash seed, are the same bytes. They are built in the builder image, or with
``--native`` on this machine; without the image the check fails. All problems are printed, one line each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from tools import assets, build_artifact, release

ROOT = release.ROOT
# What must not change a byte.
SURROUNDINGS: Sequence[Dict[str, str]] = (
    {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
    {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "4294967295"},
)
UMASKS = (0o022, 0o077)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Print the problems and return 1 when there are any, else 0."""
    parser = argparse.ArgumentParser(prog="release_check", description=__doc__.split("\n")[0])
    parser.add_argument("--tag", default="", help="the tag that is going to be released; empty for none")
    parser.add_argument("--branch", default="", help="the branch that must have the commit; empty for any")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="a release folder to check too")
    parser.add_argument("--native", action="store_true", help="build on this machine, not in the builder image")
    parser.add_argument("--no-build", action="store_true", help="do not build the artifact twice")
    arguments = parser.parse_args(argv)
    found = assets.commit_problems(ROOT, arguments.tag, arguments.branch)
    if arguments.folder is not None:
        found += folder_problems(arguments.folder)
    if not found and not arguments.no_build:
        found += build_problems(["--native"] if arguments.native else ["--image", build_artifact.IMAGE])
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    if not found:
        print(f"release_check: {assets.version_of(ROOT)} can be released")
    return 1 if found else 0


def folder_problems(folder: Path) -> List[str]:
    """Return what is wrong with the files of a release *folder*."""
    if not folder.is_dir():
        return [f"{folder}: is not a folder. Make it: tools/nox -s release -- --dry-run"]
    try:
        return assets.problems(folder, assets.version_of(ROOT))
    except assets.ReleaseError as error:
        return [str(error)]


def build_problems(options: Sequence[str]) -> List[str]:
    """Build the artifact twice in different surroundings and return how the two differ."""
    with tempfile.TemporaryDirectory() as scratch:
        built = []
        for number, (surroundings, umask) in enumerate(zip(SURROUNDINGS, UMASKS)):
            clone = assets.clean_clone(ROOT, Path(scratch) / f"build {number}" / ("deeper/" * number) / "clone")
            before = os.umask(umask)
            try:
                built.append(release.build_artifact(clone, options, {**os.environ, **surroundings}))
            except assets.ReleaseError as error:
                return [str(error)]
            finally:
                os.umask(before)
        if assets.sha256(built[0]) == assets.sha256(built[1]):
            return []
        return [f"artifact: two builds differ in {differing(*built)}. Find out why before releasing"]


def differing(one: Path, other: Path) -> str:
    """Return the names of the first members in which two artifacts differ, for people."""
    with zipfile.ZipFile(str(one)) as first, zipfile.ZipFile(str(other)) as second:
        checksums = [{info.filename: info.CRC for info in archive.infolist()} for archive in (first, second)]
    names = sorted(name for name in {*checksums[0], *checksums[1]} if checksums[0].get(name) != checksums[1].get(name))
    return f"{', '.join(names[:5])} ({len(names)} in all)" if names else "the bytes around the members"


if __name__ == "__main__":
    sys.exit(main())
