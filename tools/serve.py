"""Install the artifact into a scratch folder and serve its site with gunicorn, for a quick look.

    python -m tools.serve [--artifact FILE] [--port N] [--check]

The folder is ``.serve/``: ``site/`` is the destination, made anew each time; database and uploads stay beside it. It
takes the first Python on PATH that the artifact accepts. DEMO_ADMIN_PASSWORD in the environment makes a user ``admin``.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / ".serve"
SETTINGS = "cfgov.settings.production"
PREPARE = ("migrate --noinput", "createcachetable", "collectstatic --noinput", "demo_content")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Serve until Ctrl-C, or until the first answer with ``--check``; return 0, or 1 when a step fails."""
    parser = argparse.ArgumentParser(prog="serve", description=__doc__.split("\n")[0])
    parser.add_argument("--artifact", type=Path, default=ROOT / "cfgov_current_build.zip", metavar="FILE")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="on 127.0.0.1 (default: 8000)")
    parser.add_argument("--check", action="store_true", help="stop after the home page has answered once")
    arguments = parser.parse_args(argv)
    if not arguments.artifact.is_file():
        parser.error(f"{arguments.artifact} is missing. Build it first: nox -s build")
    site = SCRATCH / "site"
    shutil.rmtree(site, ignore_errors=True)
    SCRATCH.mkdir(exist_ok=True)
    if not install(arguments.artifact, site):
        return 1
    write_environment(site)
    for command in PREPARE:
        print(f"+ django-admin {command}", flush=True)
        words = [str(site / "venv/bin/django-admin"), *command.split(), "--verbosity", "0"]
        if subprocess.run(words, env=environment(), check=False).returncode:
            print(f"error: django-admin {command}: failed. Look at the lines above", file=sys.stderr)
            return 1
    return serve(site, arguments.port, arguments.check)


def install(artifact: Path, site: Path) -> bool:
    """Install *artifact* to *site* with the first Python that it accepts, and return whether one did."""
    refusals = []
    for python in pythons():
        done = subprocess.run([python, str(artifact), "-d", str(site)], stderr=subprocess.PIPE, check=False)
        message = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode == 0:
            print(message or f"installed with {python}", flush=True)
            return True
        refusals.append(f"{python}: {message}")
        if done.returncode != 4:  # 4: this Python is not one of those that the artifact was built for
            break
    print("\n".join(refusals), file=sys.stderr)
    return False


def pythons() -> List[str]:
    """Return the Pythons to try: those of PATH, newest last release of the running one first."""
    names = [f"python3.{minor}" for minor in range(14, 7, -1)]
    own = f"python3.{sys.version_info[1]}"
    found = [shutil.which(name) for name in [own, *[name for name in names if name != own]]]
    return [path for path in found if path]


def environment() -> Dict[str, str]:
    """Return the environment of the site's commands: of this process only where programs are, and a demo password."""
    passed = {name: os.environ[name] for name in ("PATH", "DEMO_ADMIN_PASSWORD") if name in os.environ}
    return {**passed, "HOME": str(SCRATCH)}


def write_environment(site: Path) -> None:
    """Write ``environment.json`` as an operator would, with a secret key of its own."""
    text = json.dumps(
        {
            "ALLOWED_HOSTS": json.dumps(["127.0.0.1", "localhost"]),
            "DATABASE_URL": f"sqlite:///{SCRATCH / 'site.sqlite3'}",
            "MEDIA_ROOT": str(SCRATCH / "media"),
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "SECRET_KEY": secrets.token_urlsafe(50),
        },
        indent=2,
    )
    with os.fdopen(os.open(str(site / "environment.json"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")


def serve(site: Path, port: int, check: bool) -> int:
    """Become gunicorn on 127.0.0.1:*port*; with *check* run it only until the home page has answered."""
    command = [str(site / "venv/bin/gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", "2", "cfgov.wsgi"]
    os.chdir(str(site))
    if not check:
        print(f"serve: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
        os.execve(command[0], command, environment())
    server = subprocess.Popen(command, env=environment())
    try:
        print(f"serve: the home page answered with {first_answer(server, port)}", flush=True)
    finally:
        server.terminate()
        server.wait()
    return 0


def first_answer(server: "subprocess.Popen[bytes]", port: int, patience: float = 30.0) -> int:
    """Return the status of the home page as soon as it answers, within *patience* seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                return int(answer.status)
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
