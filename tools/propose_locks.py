"""Open a pull request with the locks that were resolved again, or renew the one that is open.

    python -m tools.propose_locks

The checkout's ``requirements/`` holds the new locks. They become one commit on the branch ``renew-locks``, which is
pushed over what it held. What a workflow pushes starts no other workflow, so CI is started on the branch by name.
Then the scheduled workflows are enabled again: GitHub disables them in a repository without activity for 60 days.
Needs ``gh`` with GH_TOKEN.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools import assets, github

ROOT = Path(__file__).resolve().parent.parent
BRANCH = "renew-locks"
TITLE = "requirements: renew the locks"
BODY = "Every lock resolved again, with the newest versions that its requirements allow. CI runs on the branch."
SCHEDULED = ("images.yml", "locks.yml", "security.yml")
AUTHOR = ("-c", "user.name=github-actions[bot]", "-c", "user.email=github-actions[bot]@users.noreply.github.com")


def main() -> int:
    """Propose what changed and return 0; 1 with one line when git or GitHub refuses."""
    try:
        print(propose(ROOT))
        for name in SCHEDULED:
            github.write("PUT", f"actions/workflows/{name}/enable")
    except (github.GitHubError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def propose(root: Path) -> str:
    """Return what became of the locks in the checkout *root*, in one line."""
    if not assets.git(root, "status", "--porcelain", "--", "requirements"):
        return "locks: all are of the newest versions"
    github.gh("auth", "setup-git")
    assets.git(root, "switch", "--quiet", "--force-create", BRANCH)
    assets.git(root, "add", "--", "requirements")
    assets.git(root, *AUTHOR, "commit", "--quiet", "--message", TITLE)
    assets.git(root, "push", "--quiet", "--force", "origin", BRANCH)
    listed = [entry for entry in github.read("pulls?state=open&per_page=100") if entry["head"]["ref"] == BRANCH]
    document = {"title": TITLE, "body": BODY, "head": BRANCH, "base": "main"}
    request = listed[0] if listed else github.write("POST", "pulls", document)
    github.write("POST", "actions/workflows/ci.yml/dispatches", {"ref": BRANCH})
    return f"locks: {request['html_url']}"


if __name__ == "__main__":
    sys.exit(main())
