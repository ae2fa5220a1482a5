"""Roots with releases that were not installed: a folder, its record and what the journal says."""

from __future__ import annotations

from pathlib import Path

from deployable_zipfile.deploy.releases import Root, release_target


def ident(number: int) -> str:
    return f"{number:032x}"


def add(root: Root, number: int, event: str = "", switch: bool = False) -> str:
    """Put a complete release there, with one record."""
    folder = root.releases / ident(number)
    (folder / ".deploy").mkdir(parents=True)
    (folder / ".deploy" / "installed.json").write_text("{}")
    target = release_target(ident(number))
    if event:
        root.journal.append(event, target)
    if switch:
        root.switch(target)
    return target


def make_root(path: Path) -> Root:
    made = Root(path)
    made.create()
    return made
