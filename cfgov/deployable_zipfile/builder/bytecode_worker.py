"""Compiles Python files in the interpreter that will import them. A script of its own: standard library only.

It reads one job per line, a JSON object, and answers each with one JSON line. A job names an output file, a wheel or
nothing, and [member or path, name] pairs; the output file gets the ``.pyc`` files one after another.

A ``.pyc`` is of the unchecked-hash kind (PEP 552), so neither dates nor sources are looked at when it is imported. Its
bytes depend only on source, name and interpreter:

* The name inside the code is relative; the import system replaces it by the real path when it loads the file.
* ``marshal`` flags an object for re-use when the compiling process happens to hold further references to it. Format 2
  has no such flags and no interning marks; every Python reads it. Python 3.14's constant slices need format 5: such a
  module is dumped, loaded and dumped again, which leaves the references that its own structure has.
* Sets of constants are written in the order of their hashes: the hash seed is fixed by the caller, and where the hash
  of None or Ellipsis is its address (before 3.12), their members are put into the order of their bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import marshal
import struct
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, Iterator, List, Optional

if TYPE_CHECKING:
    import zipfile

_FORMAT = 2
_UNCHECKED = 1  # PEP 552: hash-based, not checked


def main() -> None:
    """Serve jobs until standard input ends."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(10000)
    archives: Dict[str, zipfile.ZipFile] = {}
    for line in sys.stdin:
        job = json.loads(line)
        answer = []
        with open(job["output"], "wb") as output:
            for place, name in job["files"]:
                source = _source(archives, job["wheel"], place)
                data = compiled(source, name)
                if data is not None:
                    output.write(data)
                answer.append([name, -1 if data is None else len(data), hashlib.sha256(source).hexdigest()])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def compiled(source: bytes, name: str) -> Optional[bytes]:
    """Return the ``.pyc`` of *source* (bytes), named *name*; None when it is not Python of this version."""
    code = _code(source, name)
    if code is None:
        return None
    try:
        return _header(source) + _dumped(code)
    except ValueError:
        return _header(source) + marshal.dumps(marshal.loads(marshal.dumps(code)))


def compiled_anywhere(source: bytes, name: str) -> Optional[bytes]:
    """Return what :func:`compiled` does if every process of this interpreter compiles *source* to that, else None.

    None: a set is in the order of this process's hashes, or the form depends on what this process holds, or it does not
    compile here, where less may be nested.
    """
    code = _code(source, name)
    if code is None or not _is_ordered(code.co_consts):
        return None
    try:
        return _header(source) + _dumped(code)
    except ValueError:
        return None


def _code(source: bytes, name: str) -> Optional[types.CodeType]:
    try:
        return compile(source, name, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, UnicodeError, MemoryError):
        return None


def _is_ordered(constants: Any) -> bool:
    """Say whether no set among *constants* has members in the order of hashes that differ from process to process."""
    for constant in constants:
        if isinstance(constant, frozenset) and len(constant) > 1:
            if not all(isinstance(member, int) for member in constant):
                return False
        elif isinstance(constant, tuple):
            if not _is_ordered(constant):
                return False
        elif isinstance(constant, types.CodeType) and not _is_ordered(constant.co_consts):
            return False
    return True


def _header(source: bytes) -> bytes:
    return importlib.util.MAGIC_NUMBER + struct.pack("<L", _UNCHECKED) + importlib.util.source_hash(source)


def _dumped(code: types.CodeType) -> bytes:
    """Return *code* in format 2.

    Raises:
        ValueError: it holds what that format has no form for.
    """
    data = marshal.dumps(code, _FORMAT)
    if sys.version_info < (3, 12):
        for members in _address_ordered(code):
            data = data.replace(_set_bytes(list(members)), _set_bytes(sorted(members, key=_member_bytes)))
    return data


def _address_ordered(code: types.CodeType) -> Iterator[FrozenSet[Any]]:
    """Yield the sets among the constants of *code* whose order depends on addresses."""
    for constant in code.co_consts:
        if isinstance(constant, frozenset):
            if any(member is None or member is Ellipsis or isinstance(member, tuple) for member in constant):
                yield constant
        elif isinstance(constant, type(code)):
            yield from _address_ordered(constant)


def _set_bytes(members: List[Any]) -> bytes:
    return b">" + struct.pack("<l", len(members)) + b"".join(_member_bytes(member) for member in members)


def _member_bytes(member: Any) -> bytes:
    return marshal.dumps(member, _FORMAT)


def _source(archives: Dict[str, zipfile.ZipFile], wheel: Optional[str], place: str) -> bytes:
    if wheel is None:
        with open(place, "rb") as file:
            return file.read()
    if wheel not in archives:
        import zipfile  # takes long, and the files of a project are on disk

        archives.clear()
        archives[wheel] = zipfile.ZipFile(wheel)
    return archives[wheel].read(place)


if __name__ == "__main__":
    main()
