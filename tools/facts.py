"""Record what the images of one platform really hold, and compare it with the record of an earlier run.

    python -m tools.facts [--platform NAME]

Writes ``test-results/facts/NAME.txt``: packages, Apache's modules, Python, C library, SQLite and OpenSSL of the tester
image, and which libraries Python and httpd name and find without the collections' scripts. When
``docker/centos7/recorded/NAME.txt`` exists, every line that differs is printed. Differences are news, not failures: the
distributions update their packages.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "ghcr.io/cfpb/cfgov-artifact-tester:latest"
BUILDER = "ghcr.io/cfpb/cfgov-artifact-builder:latest"
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
# What starts without the collections' scripts, as cron and units do.
echo "[libraries]"
for program in "$python" "$(platform_get httpd)" "$(platform_get modules_dir)"/$(platform_get wsgi_module); do
    echo "$program"
    env -u LD_LIBRARY_PATH ldd "$program" | sed -e 's/ (0x[0-9a-f]*)$//' | LC_ALL=C sort
done
echo "[packages]"
if command -v rpm >/dev/null; then rpm -qa --qf '%{NAME}-%{VERSION}-%{RELEASE}\n' | LC_ALL=C sort
else dpkg-query --show --showformat='${Package}-${Version}\n' | LC_ALL=C sort; fi
"""

# Run inside the builder image, whose compiler brings readelf.
DYNAMIC = r"""
set -eo pipefail
. /platform.sh
python=$(platform_get python)
echo "[dynamic]"; echo "$python"
readelf -d "$python" | sed -n -e 's/^.*(\(NEEDED\|RPATH\|RUNPATH\)) */\1 /p'
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Record, compare, and return 0; docker's exit code when the image cannot be asked."""
    parser = argparse.ArgumentParser(prog="facts", description=__doc__.split("\n")[0])
    parser.add_argument("--platform", default=os.environ.get("PLATFORM", "centos7"), metavar="NAME")
    parser.add_argument("--image", default=IMAGE, help=f"the tester (default: {IMAGE})")
    parser.add_argument("--builder-image", default=BUILDER, metavar="IMAGE", help=f"(default: {BUILDER})")
    arguments = parser.parse_args(argv)
    seen = ""
    for image, questions in ((arguments.image, QUESTIONS), (arguments.builder_image, DYNAMIC)):
        code, answer = ask(image, questions)
        if code:
            print(f"error: {image}: did not answer. Build it: nox -s images", file=sys.stderr)
            return code
        seen += answer
    path = ROOT / "test-results/facts" / f"{arguments.platform}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(seen, encoding="utf-8")
    print(f"facts: {path.relative_to(ROOT)}, {len(seen.splitlines())} lines")
    for line in changes(ROOT / RECORDED / path.name, seen):
        print(line)
    return 0


def ask(image: str, questions: str) -> Tuple[int, str]:
    """Run the script *questions* in *image*; return its exit code and what it wrote."""
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "/bin/bash", image, "-c", questions]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    return done.returncode, done.stdout.decode("utf-8")


def changes(recorded: Path, seen: str) -> List[str]:
    """Return what differs between the file *recorded* and the text *seen*, or that nothing is recorded yet."""
    if not recorded.is_file():
        return [f"facts: nothing recorded yet. Commit the file as {RECORDED}/{recorded.name}"]
    before = recorded.read_text(encoding="utf-8").splitlines()
    return list(difflib.unified_diff(before, seen.splitlines(), "recorded", "seen", lineterm="", n=0))


if __name__ == "__main__":
    sys.exit(main())
