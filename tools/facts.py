"""Record what the images of one platform really hold, and compare it with the record of an earlier run.

    python -m tools.facts [--platform NAME]

Writes ``test-results/facts/NAME.txt``: packages, Apache's modules, Python, C library, SQLite and OpenSSL of the tester
image. When ``docker/centos7/recorded/NAME.txt`` exists, every line that differs is printed. Differences are news, not
failures: the distributions update their packages.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "ghcr.io/cfpb/cfgov-artifact-tester:latest"
RECORDED = "docker/centos7/recorded"

# Run inside the image, where platform.sh answers for the platform.
QUESTIONS = r"""
set -eo pipefail
. /platform.sh
platform_enable $(platform_get enable_scripts) $(platform_get httpd_enable_scripts)
python=$(platform_get python)
echo "[platform]"; platform_name
echo "[python]"; "$python" -VV
"$python" -c 'import sqlite3, ssl; print("sqlite", sqlite3.sqlite_version); print(ssl.OPENSSL_VERSION)'
echo "[libc]"; ldd --version | sed -n 1p
echo "[httpd]"; "$(platform_get httpd)" -v | sed -n 1p
echo "[modules]"; ls "$(platform_get modules_dir)" | LC_ALL=C sort
echo "[packages]"
if command -v rpm >/dev/null; then rpm -qa --qf '%{NAME}-%{VERSION}-%{RELEASE}\n' | LC_ALL=C sort
else dpkg-query --show --showformat='${Package}-${Version}\n' | LC_ALL=C sort; fi
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Record, compare, and return 0; docker's exit code when the image cannot be asked."""
    parser = argparse.ArgumentParser(prog="facts", description=__doc__.split("\n")[0])
    parser.add_argument("--platform", default=os.environ.get("PLATFORM", "centos7"), metavar="NAME")
    parser.add_argument("--image", default=IMAGE, help=f"(default: {IMAGE})")
    arguments = parser.parse_args(argv)
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "/bin/bash", arguments.image]
    done = subprocess.run([*command, "-c", QUESTIONS], check=False, stdout=subprocess.PIPE)
    if done.returncode:
        print(f"error: {arguments.image}: did not answer. Build it: nox -s images", file=sys.stderr)
        return done.returncode
    seen = done.stdout.decode("utf-8")
    path = ROOT / "test-results/facts" / f"{arguments.platform}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(seen, encoding="utf-8")
    print(f"facts: {path.relative_to(ROOT)}, {len(seen.splitlines())} lines")
    for line in changes(ROOT / RECORDED / path.name, seen):
        print(line)
    return 0


def changes(recorded: Path, seen: str) -> List[str]:
    """Return what differs between the file *recorded* and the text *seen*, or that nothing is recorded yet."""
    if not recorded.is_file():
        return [f"facts: nothing recorded yet. Commit the file as {RECORDED}/{recorded.name}"]
    before = recorded.read_text(encoding="utf-8").splitlines()
    return list(difflib.unified_diff(before, seen.splitlines(), "recorded", "seen", lineterm="", n=0))


if __name__ == "__main__":
    sys.exit(main())
