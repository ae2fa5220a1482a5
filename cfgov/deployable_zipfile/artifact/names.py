"""Names of members: which are allowed (rule R8 of ``docs/artifact.md``), and which conflict (R9)."""

from __future__ import annotations

import unicodedata
from typing import Callable, Collection, Dict, Iterable, NoReturn, Optional, Set

from ..definitions import expression
from . import layout

MAX_FOLDERS = 2 * layout.MAX_MEMBERS  # that the files of one archive need: several times what real trees have

_MAX_NAME, _MAX_PART, _MAX_DEPTH = 1024, 255, 64
# One to 64 parts of printable ASCII, none of them "." or "..", none with a backslash or a colon.
_PLAIN_NAME = expression(r"(?:(?!\.{1,2}(?:/|\Z))[ -.0-9;-\[\]-~]+(?:/(?!\Z)|\Z)){1,64}\Z")
# Control characters, line separators, marks that reverse the direction of text, and surrogates. A fixed set, since the
# categories of Unicode grow with every version of Python: what one may pack, any other must be able to read.
UNSAFE = expression("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff\ud800-\udfff]")
# Looked for in the artifact first when Python 3.8 to 3.13 starts it, by runpy and zipimport (measured, with -I -S).
_IMPORTED_BEFORE = expression(
    r"(abc|codecs|collections|contextlib|copyreg|encodings|enum|functools|genericpath|heapq|importlib|io|keyword"
    r"|operator|os|pkgutil|posixpath|re|reprlib|runpy|site|stat|sys|types|typing|warnings|weakref|zipimport|zlib)\Z"
)


def name_problem(name: str) -> str:
    """Say what is wrong with a member's name by rule R8; "" when nothing is."""
    if _PLAIN_NAME.match(name) and len(name) <= _MAX_NAME and len(max(name.split("/"), key=len)) <= _MAX_PART:
        return ""
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if UNSAFE.search(name):
        return "its name holds control or format characters"
    if "\\" in name or ":" in name:
        return "its name holds a backslash or a colon"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "its name leaves its folder or has an empty part"
    if len(encoded) > _MAX_NAME or len(parts) > _MAX_DEPTH or any(len(part.encode()) > _MAX_PART for part in parts):
        return f"its name is longer than {_MAX_NAME} bytes, {_MAX_DEPTH} parts or {_MAX_PART} bytes a part"
    if all(map(_is_old, name)) and unicodedata.normalize("NFC", name) != name:
        return "its name is not in Unicode's normal form NFC"
    return ""


def are_plain(names: Collection[str]) -> bool:
    """Say at once whether all of *names* are printable ASCII without anything that R8 forbids.

    False says nothing about any of them: :func:`name_problem` knows all names that are allowed.
    """
    if not names or "" in names:
        return False
    text = "/\n/".join(names)
    if not text.isascii() or text.count("\n") != len(names) - 1 or not text.replace("\n", "").isprintable():
        return False
    text = f"/{text}/"
    if any(forbidden in text for forbidden in ("//", "/./", "/../", "\\", ":")):
        return False
    # A shorter name has no part that is too long, and no more than 64 of them.
    return all(not name_problem(name) for name in names if len(name) > 2 * _MAX_DEPTH)


def _is_old(character: str) -> bool:
    """Say whether *character* is in Unicode 3.2: normal form and case of those are the same in every later version."""
    return character.isascii() or unicodedata.ucd_3_2_0.category(character) != "Cn"


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    return "".join(character.casefold() if _is_old(character) else character for character in name)


def project_name_problem(project: str) -> str:
    """Say why *project* cannot be the name of a packed project; "" when it can.

    It is a folder beside ``venv/`` and the text of a ``.pth`` file, so it is an ASCII identifier.
    """
    if not project.isascii() or not project.isidentifier():
        return f"{project!r} is not an ASCII identifier"
    if project in layout.RESERVED_PROJECT_NAMES:
        return f"{project!r} is a name that the artifact uses itself"
    if _IMPORTED_BEFORE.match(project):
        return f"{project!r} is a module that Python itself imports before the artifact can run"
    return ""


def check_distinct(names: Collection[str], refuse: Callable[[str, str], NoReturn]) -> None:
    """Refuse names that differ only by case, and a file that is another one's folder (R9)."""
    # Of 100 000 names, hashes take much less memory. Where two are the same, the names are looked at.
    if not all(map(str.isascii, names)) or len(set(map(hash, map(str.lower, names)))) != len(names):
        folded: Dict[str, str] = {}
        for name in names:
            other = folded.setdefault(_folded(name), name)
            if other != name:
                refuse(name, f"differs from {other} only by case")
        del folded
    for name in folders_of(names, refuse).intersection(names):
        refuse(name, "is a file and a folder")


def folders_of(names: Iterable[str], refuse: Optional[Callable[[str, str], NoReturn]] = None) -> Set[str]:
    """Return every folder that files of these *names* are in, at any depth.

    Parameters:
        names: paths, "/" between parts.
        refuse: called with a name when there are more than ``MAX_FOLDERS``: names of 64 parts make millions of them.
    """
    folders: Set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
        if refuse is not None and len(folders) > MAX_FOLDERS:
            refuse(name, f"is one of the files that need more than {MAX_FOLDERS} folders")
    return folders
