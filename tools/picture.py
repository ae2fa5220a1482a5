"""Draw the picture of a terminal that the README shows: a real session in a clean clone of this repository.

    python -m tools.picture [--output FOLDER]

The site is packed and deployed for the first time, in a pseudo-terminal. What stays there goes to ``terminal.txt``, and
that, drawn by rich, to ``terminal.svg``. Needs the package index, or pip's cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.support.terminal import run_in_terminal
from tools import assets

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "images"
COLUMNS = 96
PROMPT = "$ "
COMMANDS = (
    "deployable-zipfile create cfgov requirements/deployment.txt site.zip --require-clean",
    "python3 -I site.zip deploy --root /srv/site --env-file environment.json --restart none",
)
# rich's own form loads a font from another host.
FORM = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>A terminal: an artifact is made, and deployed</title>
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="#0c0c0c"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the session and write both files; return 1 when a command fails."""
    parser = argparse.ArgumentParser(prog="tools.picture", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="FOLDER", help="default: docs/images")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="picture-") as scratch:
        try:
            lines = session(Path(scratch).resolve())
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "terminal.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    (arguments.output / "terminal.svg").write_text(drawn(lines), "utf-8")
    return 0


def session(scratch: Path) -> List[str]:
    """Run the commands below *scratch* and return what stays on the terminal.

    Raises:
        RuntimeError: one of them fails.
    """
    clone = assets.clean_clone(ROOT, scratch / "checkout")
    for folder in ("srv", "data"):
        (scratch / folder).mkdir()
    environment = scratch / "environment.json"
    environment.write_text(json.dumps(variables(scratch / "data")), "utf-8")
    environment.chmod(0o600)
    (clone / "environment.json").symlink_to(environment)
    lines: List[str] = []
    for command in COMMANDS:
        own = {"PYTHONPATH": str(ROOT / "cfgov")}
        found = run_in_terminal(words(command, scratch), COLUMNS, own, timeout=1800, cwd=clone, both=True)
        if found.code:
            raise RuntimeError(f"{command}: exit code {found.code}: {found.lines[-1:]}")
        lines += [PROMPT + command, *(line.replace(f"{scratch}/srv", "/srv") for line in found.lines)]
    return [line.replace(f"{scratch}/checkout", "~/checkout") for line in lines]


def variables(data: Path) -> Dict[str, str]:
    """Return an environment.json for the site in this repository."""
    return {
        "ALLOWED_HOSTS": '["*"]',
        "DATABASE_URL": f"sqlite:///{data}/site.sqlite3",
        "DJANGO_SETTINGS_MODULE": "cfgov.settings.production",
        "MEDIA_ROOT": f"{data}/media",
        "SECRET_KEY": "a key of fifty characters for a site that is thrown away",
    }


def words(command: str, scratch: Path) -> List[str]:
    """Return what is run for *command*: this checkout's tool, a Python without packages, and folders of *scratch*."""
    replaced = {
        "deployable-zipfile": [sys.executable, "-m", "deployable_zipfile"],
        "python3": [os.path.realpath(sys.executable)],
        "/srv/site": [f"{scratch}/srv/site"],
    }
    return [part for word in shlex.split(command) for part in replaced.get(word, [word])]


def drawn(lines: Sequence[str]) -> str:
    """Return the picture of a terminal that shows *lines*."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    for line in lines:
        style = "bold green" if line.startswith(PROMPT) else "yellow" if line.startswith("warning:") else ""
        console.print(Text(line, style=style), soft_wrap=False, overflow="fold")
    return console.export_svg(theme=MONOKAI, code_format=FORM, unique_id="terminal")


if __name__ == "__main__":
    sys.exit(main())
