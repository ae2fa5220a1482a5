"""Open an issue that says which workflow run failed, or comment on the one that is open already.

    python -m tools.report_failure TITLE

Reads what GitHub's runners set: GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_SERVER_URL, GITHUB_RUN_ID, GITHUB_WORKFLOW.
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
        written = github.repository_of(environ).report(arguments.title, body(environ))
    except github.GitHubError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(written["html_url"])
    return 0


def body(environ: Mapping[str, str]) -> str:
    """Return the text: which run, and where its log is."""
    repository = "/".join(environ.get(name, "?") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    run = f"{repository}/actions/runs/{environ.get('GITHUB_RUN_ID', '?')}"
    return f"{environ.get('GITHUB_WORKFLOW', 'A workflow')} failed: {run}"


if __name__ == "__main__":
    sys.exit(main())
