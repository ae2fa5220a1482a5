"""Write ``docs/reference/``, the pages about command lines, from the parsers themselves.

    python -m tools.reference [--check]

``--check`` writes nothing and returns 1 when a page differs from its parser. The pages are the same for every Python:
they are made from the parsers' arguments, not from their help texts, whose form changed between releases of argparse.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence

from deployable_zipfile import extract
from deployable_zipfile.builder import parsers
from deployable_zipfile.views import commands as views

FOLDER = Path(__file__).resolve().parent.parent / "docs/reference"
NOTE = "<!-- Written by `python -m tools.reference`. Change the parsers instead. -->"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Write or compare the pages and return the exit code."""
    parser = argparse.ArgumentParser(prog="tools.reference", description="Write docs/reference/ from the parsers.")
    parser.add_argument("--check", action="store_true", help="write nothing, return 1 when a page is out of date")
    arguments = parser.parse_args(argv)
    old = outdated(FOLDER)
    if arguments.check:
        for name in old:
            print(f"docs/reference/{name} is out of date. Run: python -m tools.reference")
        return 1 if old else 0
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def outdated(folder: Path) -> List[str]:
    """Return the names of pages in *folder* that differ from the parsers, are missing, or have no parser."""
    wanted = pages()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))


def pages() -> Dict[str, str]:
    """Return the text of each page by its file name."""
    build = {
        "deployable-zipfile create": parsers.create("deployable-zipfile create"),
        "deployable-zipfile init": parsers.init(),
        "deployable-zipfile environment": parsers.environment(),
        "deployable-zipfile sign": parsers.sign(),
        **{f"deployable-zipfile {verb}": parser for verb, parser in views.verb_parsers().items()},
    }
    verbs = {f"artifact.zip {verb}": parser for verb, parser in extract.verb_parsers("artifact.zip").items()}
    artifact = {"artifact.zip -d": extract.install_parser("artifact.zip"), **verbs}
    return {
        "build.md": _page("Command line: building", "`deployable-zipfile --help` lists the verbs.", build),
        "artifact.md": _page(
            "Command line: the artifact",
            "`deployable-zipfile VERB artifact.zip` is the same as `./artifact.zip VERB`. "
            "All of them share these [exit codes](../deploy.md#exit-codes).",
            artifact,
        ),
    }


def _page(title: str, lead: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    sections = [line for name, parser in parsers.items() for line in _section(name, parser)]
    return "\n".join([f"# {title}", "", NOTE, "", lead, *sections]) + "\n"


def _section(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the lines about one command."""
    yield from ["", f"## {name}", ""]
    if parser.description:
        yield from [parser.description, ""]
    yield from ["| argument | meaning |", "|---|---|"]
    for action in parser._actions:  # argparse has no public list of a parser's arguments
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
            yield f"| {_cell(_spelling(action))} | {_cell(_meaning(parser, action))} |"


def _spelling(action: argparse.Action) -> str:
    """Return how *action* is typed: every option with its value, or the name of a positional argument."""
    if action.choices is not None:
        value = "{" + ",".join(str(choice) for choice in action.choices) + "}"
    elif isinstance(action.metavar, tuple):
        value = " ".join(action.metavar)
    else:
        value = action.metavar or action.dest.upper()
    if not action.option_strings:
        return f"`[{value}]`" if action.nargs in ("?", "*") else f"`{value}`"
    tail = "" if action.nargs == 0 else f" {value}"
    required = " (required)" if action.required else ""
    return ", ".join(f"`{option}{tail}`" for option in action.option_strings) + required


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return the help of *action*, as ``--help`` prints it, but in one line."""
    formatter = argparse.HelpFormatter(parser.prog)
    text = formatter._expand_help(action) if action.help else ""
    repeated = isinstance(action, argparse._AppendAction) and "repeat" not in text
    return f"{text} (may be repeated)" if repeated else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
