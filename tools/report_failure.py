"""Open an issue that says which workflow run failed, or comment on the one that is open already.

    python -m tools.report_failure TITLE

Needs ``gh`` with GH_TOKEN, and reads what GitHub's runners set: GITHUB_REPOSITORY, GITHUB_SERVER_URL, GITHUB_RUN_ID,
GITHUB_WORKFLOW.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Mapping, Optional, Sequence

from tools import github


def main(argv: Optional[Sequence[str]] = None, environ: Mapping[str, str] = os.environ) -> int:
    """Report and return 0, or 1 when GitHub refuses."""
    parser = argparse.ArgumentParser(prog="report_failure", description=__doc__.split("\n")[0])
    parser.add_argument("title", metavar="TITLE", help="title of the issue: the same failure, the same title")
    arguments = parser.parse_args(argv)
    try:
        print(report(arguments.title, body(environ)))
    except github.GitHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def report(title: str, text: str) -> str:
    """Write *text* into the open issue *title*, opened when there is none, and return its address."""
    listed = github.read("issues?state=open&per_page=100")
    known = [entry for entry in listed if entry["title"] == title and "pull_request" not in entry]
    if known:
        oldest = min(known, key=lambda entry: int(entry["number"]))
        return str(github.write("POST", f"issues/{oldest['number']}/comments", {"body": text})["html_url"])
    return str(github.write("POST", "issues", {"title": title, "body": text})["html_url"])


def body(environ: Mapping[str, str]) -> str:
    """Return the text: which run, and where its log is."""
    repository = "/".join(environ.get(name, "?") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    run = f"{repository}/actions/runs/{environ.get('GITHUB_RUN_ID', '?')}"
    return f"{environ.get('GITHUB_WORKFLOW', 'A workflow')} failed: {run}"


if __name__ == "__main__":
    sys.exit(main())
