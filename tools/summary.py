"""Say what artifact a run has built and what changes against main: in the job's summary and on the pull request.

    python -m tools.summary --artifact FILE [--output FILE] [--base FILE] [--page FILE] [--pull-request NUMBER]
    python -m tools.summary --text FILE [--output FILE] [--pull-request NUMBER]

The first form compares, and needs the libraries of ``requirements/report.txt``; the second hands on what the first
wrote, in a job that may comment and so installs nothing. The pull request has one comment of this tool, which is
rewritten each time. Needs ``gh`` with GH_TOKEN, unless ``--base`` names the artifact to compare with and there is no
pull request.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import List, Optional, Sequence

from deployable_zipfile import errors
from deployable_zipfile.artifact.zipreader import Artifact
from tools import assets, github

MARK = "<!-- deployable-zipfile: artifact -->"
NAME = "artifact-centos7"  # the workflow artifact that ci.yml keeps
MAX_TEXT = 60_000  # characters: GitHub takes comments of at most 65 536


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Write the summary and return 0; 1 with one line when the artifact or GitHub refuses."""
    parser = argparse.ArgumentParser(prog="summary", description=__doc__.split("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--artifact", type=Path, metavar="FILE", help="what was built")
    what.add_argument("--text", type=Path, metavar="FILE", help="a summary that was written before")
    parser.add_argument("--output", type=Path, metavar="FILE", help="append the summary here (default: print it)")
    parser.add_argument("--base", type=Path, metavar="FILE", help="compare with this (default: what main built last)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page of `report` here")
    parser.add_argument("--pull-request", default="", metavar="NUMBER", help="comment there; empty for none")
    arguments = parser.parse_args(argv)
    try:
        if arguments.text:
            text = arguments.text.read_text(encoding="utf-8")
        else:
            with tempfile.TemporaryDirectory() as scratch:
                base = arguments.base or built_by_main(Path(scratch))
                text = summary(arguments.artifact, base)
                if arguments.page:
                    write_page(arguments.artifact, base, arguments.page)
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
        return "\n".join([*lines, "Main has no artifact to compare with.", ""])
    with Artifact.open(str(base)) as opened:
        before, difference = opened.manifest, size - opened.size
    if before.build_id == manifest.build_id:
        return "\n".join([*lines, "The same build as main's.", ""])
    lines += [f"Against main's `{before.build_id}`: {difference:+,} bytes.", ""]
    return shortened([*lines, *changes(base, artifact)])


def changes(base: Path, artifact: Path) -> List[str]:
    """Return what ``deployable-zipfile diff --markdown`` prints."""
    from deployable_zipfile.views import commands, render

    _, tables = commands.compared(str(base), str(artifact))
    return render.lines(tables, markdown=True)


def shortened(lines: List[str]) -> str:
    """Return *lines* as a text that GitHub takes: whole lines, and how many are left out."""
    kept: List[str] = []
    room = MAX_TEXT
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            kept += ["", f"{len(lines) - len(kept)} more lines are left out here; the report has them."]
            break
        kept.append(line)
    return "\n".join([*kept, ""])


def write_page(artifact: Path, base: Optional[Path], page: Path) -> None:
    """Write the page of ``deployable-zipfile report``."""
    from deployable_zipfile.views import report

    report.write(report.Request(str(artifact), str(base) if base else ""), str(page))


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
