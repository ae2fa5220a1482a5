"""Say what artifact a run has built and what changes against main: in the job's summary and on the pull request.

    python -m tools.summary --artifact FILE [--output FILE] [--base FILE] [--pull-request NUMBER]

The pull request has one comment of this tool, which is rewritten each time. Needs ``gh`` with GH_TOKEN, unless the
artifact to compare with is named by ``--base`` and there is no pull request.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from deployable_zipfile import errors
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from tools import assets, github

MARK = "<!-- deployable-zipfile: artifact -->"
NAME = "artifact-centos7"  # the workflow artifact that ci.yml keeps
LISTED = 20  # names per kind of change


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Write the summary and return 0; 1 with one line when the artifact or GitHub refuses."""
    parser = argparse.ArgumentParser(prog="summary", description=__doc__.split("\n")[0])
    parser.add_argument("--artifact", type=Path, required=True, metavar="FILE", help="what was built")
    parser.add_argument("--output", type=Path, metavar="FILE", help="append the summary here (default: print it)")
    parser.add_argument("--base", type=Path, metavar="FILE", help="compare with this (default: what main built last)")
    parser.add_argument("--pull-request", default="", metavar="NUMBER", help="comment there; empty for none")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            text = summary(arguments.artifact, arguments.base or built_by_main(Path(scratch)))
        if arguments.output:
            with open(str(arguments.output), "a", encoding="utf-8") as file:
                file.write(text)
        else:
            sys.stdout.write(text)
        if arguments.pull_request:
            comment(arguments.pull_request, text)
    except (github.GitHubError, errors.DeployableZipfileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def built_by_main(folder: Path) -> Optional[Path]:
    """Fetch the artifact of the last run of CI on main that passed into *folder*; None when there is none."""
    query = ["--workflow", "ci.yml", "--branch", "main", "--limit", "20", "--json", "databaseId,conclusion"]
    runs = [run for run in json.loads(github.gh("run", "list", *query)) if run["conclusion"] == "success"]
    if not runs:
        return None
    try:
        github.gh("run", "download", str(runs[0]["databaseId"]), "--name", NAME, "--dir", str(folder))
    except github.GitHubError as error:  # GitHub keeps it for a while only
        print(f"summary: {error}", file=sys.stderr)
        return None
    return folder / assets.ARTIFACT


def summary(artifact: Path, base: Optional[Path]) -> str:
    """Return the summary of *artifact*, compared with *base*, as Markdown."""
    with Artifact.open(str(artifact)) as opened:
        manifest, size, digest = opened.manifest, opened.size, opened.sha256
    source = manifest.source
    commit = f"`{source.commit or 'none'}`{' with changes that are not committed' if source.dirty else ''}"
    targets = ", ".join(f"Python {target.python}, {target.machine}" for target in manifest.targets)
    lines = [
        MARK,
        f"### `{artifact.name}`",
        "",
        "| | |",
        "|---|---|",
        f"| size | {size:,} bytes |",
        f"| SHA-256 | `{digest}` |",
        f"| build id | `{manifest.build_id}` |",
        f"| commit | {commit} |",
        f"| for | {targets} |",
        "",
    ]
    if base is None:
        return "\n".join([*lines, "There is no artifact of main to compare with.", ""])
    with Artifact.open(str(base)) as opened:
        before, difference = opened.manifest, size - opened.size
    if before.build_id == manifest.build_id:
        return "\n".join([*lines, "The same build as main's.", ""])
    lines += [f"Against main's `{before.build_id}`: {difference:+,} bytes.", ""]
    return "\n".join([*lines, *packages(before, manifest), *members(before, manifest), ""])


def packages(before: layout.Manifest, after: layout.Manifest) -> List[str]:
    """Return a line for each package whose version differs."""
    old, new = _versions(before), _versions(after)
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return [f"- package {name}: {old.get(name, 'none')} → {new.get(name, 'none')}" for name in names]


def _versions(manifest: layout.Manifest) -> Dict[str, str]:
    wheels = [wheel for target in manifest.targets for wheel in target.wheels + target.bootstrap]
    return {wheel.name: wheel.version for wheel in wheels}


def members(before: layout.Manifest, after: layout.Manifest) -> List[str]:
    """Return a line for each kind of change of files; wheels and what is made from them and from the files left out."""
    old, new = _files(before), _files(after)
    kinds = {
        "added": sorted(set(new) - set(old)),
        "removed": sorted(set(old) - set(new)),
        "changed": sorted(name for name in set(old) & set(new) if old[name] != new[name]),
    }
    lines = []
    for kind, names in kinds.items():
        if names:
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            lines.append(f"- {kind}: {', '.join(f'`{name}`' for name in names[:LISTED])}{more}")
    return lines


def _files(manifest: layout.Manifest) -> Dict[str, layout.Member]:
    made = (".deploy/bytecode/", ".deploy/manifest.json", ".deploy/sbom")
    return {name: m for name, m in manifest.members.items() if not name.endswith(".whl") and not name.startswith(made)}


def comment(number: str, text: str) -> None:
    """Make *text* the one comment of this tool on the pull request *number*."""
    listed = github.read(f"issues/{int(number)}/comments?per_page=100")
    own = [entry for entry in listed if entry["body"].startswith(MARK) and entry["user"]["type"] == "Bot"]
    if own:
        github.write("PATCH", f"issues/comments/{own[0]['id']}", {"body": text})
    else:
        github.write("POST", f"issues/{int(number)}/comments", {"body": text})


if __name__ == "__main__":
    sys.exit(main())
