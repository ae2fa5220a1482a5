"""Build wheel and sdist of the tool from a clean clone, and try what was built.

    python -m tools.package [--output FOLDER]

The wheel is built from the unpacked sdist, so trying the wheel tries both. It is installed into a virtualenv of its
own with the dependencies of ``requirements/build.txt``, packs a small project there, and that artifact is verified.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Dict, Optional, Sequence

from tools import assets
from tools.assets import ReleaseError

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Build, try, and return 0; 1 with one line when either fails."""
    parser = argparse.ArgumentParser(prog="package", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("dist"), metavar="FOLDER", help="(default: dist)")
    arguments = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as scratch, assets.new_folder(arguments.output) as folder:
            clone = assets.clean_clone(ROOT, Path(scratch) / "clone")
            build(clone, folder)
            names = assets.package_names(assets.version_of(clone))
            if sorted(path.name for path in folder.iterdir()) != sorted(names):
                raise ReleaseError(f"package: {folder} does not hold exactly {', '.join(names)}. Look at the build")
            try_wheel(folder / names[0], Path(scratch), clone / "requirements/build.txt")
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    assets.show(arguments.output)
    return 0


def build(clone: Path, folder: Path) -> None:
    """Build wheel and sdist of the checkout *clone* into *folder*, with the time of its commit in them."""
    environment: Dict[str, str] = {**os.environ, "SOURCE_DATE_EPOCH": assets.git(clone, "log", "-1", "--format=%ct")}
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(clone)], environment)


def try_wheel(wheel: Path, scratch: Path, lock: Path) -> None:
    """Install *wheel* below the folder *scratch*, pack a small project with it, and verify the artifact."""
    venv.create(str(scratch / "venv"), with_pip=True)
    python = str(scratch / "venv/bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "-r", str(lock)])
    run([*pip, "--no-deps", str(wheel)])
    project = scratch / "project"
    project.mkdir()
    (project / "wsgi.py").write_text("application = None\n", encoding="utf-8")
    (scratch / "requirements.txt").write_text("", encoding="utf-8")
    command = str(scratch / "venv/bin/deployable-zipfile")
    run([command, "create", "--quiet", str(project), str(scratch / "requirements.txt"), str(scratch / "tried")])
    run([python, "-I", str(scratch / "tried.zip"), "verify"])


def run(command: Sequence[str], environ: Optional[Dict[str, str]] = None) -> None:
    """Run *command*; what it prints is shown when it fails."""
    done = subprocess.run(
        command, env=environ, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        print(done.stdout.decode("utf-8", "replace"), file=sys.stderr)
        words = " ".join([Path(command[0]).name, *command[1:3]])
        raise ReleaseError(f"package: {words}: ended with code {done.returncode}. Look at the lines above")


if __name__ == "__main__":
    sys.exit(main())
