"""GitHub as the runner's own ``gh`` knows it: this repository keeps no client of that API.

``gh`` reads the token from GH_TOKEN and the repository from GH_REPO, or from GITHUB_REPOSITORY as the runner sets it.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any, Dict, List, Mapping, Optional


class GitHubError(Exception):
    """``gh`` is missing or failed; the text is one line for people."""


def gh(*arguments: str, stdin: Optional[str] = None) -> str:
    """Return what ``gh`` prints on its standard output.

    Raises:
        GitHubError: it ended with another code than 0, or there is no ``gh``.
    """
    command = ["gh", *arguments]
    what = " ".join(command[:3])
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env=environment(os.environ),
        )
    except FileNotFoundError:
        raise GitHubError("gh: command not found. Install GitHub's command line") from None
    if done.returncode:
        lines = (done.stderr.strip() or f"ended with code {done.returncode}").splitlines()
        raise GitHubError(f"{what}: {lines[0].rstrip('.')}. Run it again when the cause is gone")
    return done.stdout


def environment(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return the environment for ``gh``: no prompt, no colour, and the repository."""
    named = {"GH_REPO": environ["GITHUB_REPOSITORY"]} if environ.get("GITHUB_REPOSITORY") else {}
    return {**named, **environ, "GH_PROMPT_DISABLED": "1", "NO_COLOR": "1", "GH_NO_UPDATE_NOTIFIER": "1"}


def read(path: str) -> List[Dict[str, Any]]:
    """Return the entries of a list of the API, of all its pages; *path* starts below the repository."""
    pages = gh("api", "--paginate", f"repos/{{owner}}/{{repo}}/{path}", "--jq", ".[] | tojson")
    return [json.loads(line) for line in pages.splitlines()]


def write(method: str, path: str, document: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """Send *document* to a path below the repository and return the answer, empty when there is none."""
    body = ["--input", "-"] if document is not None else []
    answer = gh(
        "api",
        "--method",
        method,
        f"repos/{{owner}}/{{repo}}/{path}",
        *body,
        stdin=json.dumps(document) if body else None,
    )
    return dict(json.loads(answer)) if answer.strip() else {}
