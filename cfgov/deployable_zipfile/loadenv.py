"""Load ``environment.json`` into ``os.environ`` whenever a Python starts with the virtualenv's packages.

This file is copied as text into site-packages, beside ``loadenv-init.pth`` (read by every Python) and its twin
``loadenv-init.start`` (PEP 829; from Python 3.18 on, ``import`` lines of ``.pth`` files are ignored). It imports
nothing of this package, and nothing that ``site`` has not imported already, but for ``json`` when the file has a
fault to be named.

The file is ``environment.json`` beside the virtualenv: one JSON object of strings, in UTF-8. It wins over the
process environment. Without it nothing happens. A bad one stops the interpreter before any other code runs, with
one line that names the place and never a value. So does a loader that is missing or broken: ``site`` prints the
exceptions of ``.pth`` lines and goes on, which is why the line in ``loadenv-init.pth`` ends the process itself. It
imports the ``loadenv`` beside it, whatever ``PYTHONPATH`` holds. Two variables of the process environment change that:

    LOADENV_STRICT=0     the stop is a warning, and nothing is loaded
    LOADENV_REQUIRED=1   a missing file is a bad file
"""

import os
import stat
import sys

TYPE_CHECKING = False  # typing's would import it, and __future__ would be imported too, at every start
if TYPE_CHECKING:
    from typing import Dict, List, Tuple

FILE = "environment.json"
MAX_FILE = 6 * 1024 * 1024  # bytes read at most: no kernel passes more on
# Counted before the text is parsed: what stays below takes at most 100 MiB, whatever it holds.
_BLANKS = " \t\n\r"  # of JSON (RFC 8259, section 2)
_MOST_OF = (("{", 200_000), ("[", 200_000), (":", 200_000), (",", 600_000))
MAX_VARIABLE = 131_072  # bytes of KEY=VALUE and its final NUL: MAX_ARG_STRLEN of Linux, 32 pages of 4 KiB
_MAX_LINE = 500  # characters of a message

# Linux passes at most min(stack limit / 4, 6 MiB), but always 128 KiB, of arguments and environment to a new
# program, 8 bytes of pointer for each string included (fs/exec.c, bprm_stack_limits).
_MAX_TOTAL = 6 * 1024 * 1024
_MIN_TOTAL = 128 * 1024
_FOR_ARGUMENTS = 16 * 1024  # bytes left for the command line of a subprocess

# What json may say of a place in the text. Its other messages, and some tails of these, quote the text.
_JSON_FAULTS = (
    "Expecting property name enclosed in double quotes",
    "Expecting ':' delimiter",
    "Expecting ',' delimiter",
    "Expecting value",
    "Extra data",
    "Illegal trailing comma",
    "Invalid \\escape",
    "Invalid \\uXXXX escape",
    "Invalid control character",
    "Unterminated string",
)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # not by the codec utf-8-sig: one more import at every start

_done = False


class EnvironmentFileError(Exception):
    """The environment file cannot be used; ``str(error)`` is one printable line that holds no value of it."""

    def __init__(self, path: str, why: str, fix: str = "Correct the file") -> None:
        line = _printable(f"{path}: {why}. {fix}.")
        if len(line) > _MAX_LINE:
            line = f"{line[: _MAX_LINE // 2]} ... {line[5 - _MAX_LINE // 2 :]}"
        super().__init__(line)


def main() -> None:
    """Load the file, once per interpreter: a virtualenv's ``site`` runs ``.pth`` lines twice.

    Stops the process with exit code 1 and one line on stderr when the file is bad. Not by SystemExit: raised in
    ``site``, that ends in "Fatal Python error: init_import_site" and a traceback (measured on 3.8 to 3.13); not
    by any other exception: ``site`` prints it and goes on without the environment.
    """
    global _done
    if _done:
        return
    _done = True
    path = FILE
    try:
        path = environment_path()
        _load(path)
    except EnvironmentFileError as error:
        _stop_or_warn(str(error))
    except BaseException as error:  # whatever it is, going on without the environment is worse
        _stop_or_warn(str(EnvironmentFileError(path, f"cannot be loaded ({type(error).__name__})")))


def environment_path() -> str:
    """Return the absolute path of the file: ``DEST`` for this file at ``DEST/venv/lib/pythonX.Y/site-packages``.

    Not from ``sys.prefix``: a server that adds site-packages by ``site.addsitedir``, as mod_wsgi's ``python-path``
    does, runs with the prefix of another Python. Symbolic links to the folder are resolved: a process that was
    started through ``current`` keeps the environment of its own release when the link moves on.

    Raises:
        EnvironmentFileError: this file is in no site-packages folder.
    """
    site = os.path.realpath(os.path.dirname(os.path.abspath(__file__)))
    library, name = os.path.split(site)
    if name != "site-packages" or not os.path.basename(library).startswith("python"):
        raise EnvironmentFileError(
            site,
            "contains loadenv.py but is not a site-packages folder",
            "Put it into VENV/lib/pythonX.Y/site-packages",
        )
    return os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(library))), FILE)


def read_environment(path: str) -> "Dict[str, str]":
    """Return the variables in the file at *path*, checked as at an interpreter's start.

    The file is opened once, without waiting for a writer, and must be a regular file of at most 6 MiB: UTF-8 with
    or without a byte order mark, one JSON object, no key twice, every value a string (a number, true, false, null,
    array or object is refused, because there is more than one way to write it as text). A key is printable ASCII
    without ``=`` and blanks. A value holds no NUL and no lone surrogate. Each ``KEY=VALUE``, and all of them together,
    must be what the kernel can pass to a subprocess.

    Raises:
        EnvironmentFileError: missing, unreadable, or against one of these rules.
    """
    return parse_environment(path, _content(path))


def parse_environment(path: str, content: bytes) -> "Dict[str, str]":
    """Return the variables in *content*, held to the rules of :func:`read_environment`; *path* is for messages.

    Raises:
        EnvironmentFileError: against one of these rules.
    """
    environment: "Dict[str, str]" = {}
    for key, value in _pairs(path, _text(path, content)):
        _check_key(path, key)
        if key in environment:
            raise EnvironmentFileError(path, f"key {_quoted(key)} appears twice", "Remove one of them")
        environment[key] = _checked_value(path, key, value)
    _check_total(path, environment)
    return environment


def loader_variables(environment: "Dict[str, str]") -> "List[str]":
    """Return the keys that change which code every subprocess loads: worth a warning at deployment."""
    prefixes = ("LD_", "PYTHON", "DYLD_")
    return sorted(key for key in environment if key == "PATH" or key.startswith(prefixes))


def _load(path: str) -> None:
    try:
        os.lstat(path)
    except FileNotFoundError:
        if os.environ.get("LOADENV_REQUIRED") == "1":
            raise EnvironmentFileError(path, "is missing, and LOADENV_REQUIRED=1 requires it", "Put it there") from None
        return
    except OSError as error:
        raise _unreadable(path, error) from None
    environment = read_environment(path)
    _check_total(path, {**os.environ, **environment})
    for key, value in environment.items():
        # As bytes: under the C locale without UTF-8 mode, os.environ itself takes only ASCII.
        os.environb[key.encode("ascii")] = value.encode("utf-8")


def _stop_or_warn(line: str) -> None:
    strict = os.environ.get("LOADENV_STRICT") != "0"
    text = f"error: {line}\n" if strict else f"warning: {line} Nothing of it is loaded (LOADENV_STRICT=0).\n"
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # nobody listens; the exit code still tells
    if strict:
        os._exit(1)


def _content(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise EnvironmentFileError(path, f"is {kind}, not a regular file", "Put a file there")
        if status.st_size > MAX_FILE:
            raise EnvironmentFileError(path, f"has {status.st_size} bytes, more than {MAX_FILE}", "Make it smaller")
        chunks: "List[bytes]" = []
        while True:
            chunk = os.read(descriptor, status.st_size + 4096)  # memory of the size that is asked for is set aside
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(descriptor)


def _unreadable(path: str, error: OSError) -> EnvironmentFileError:
    if isinstance(error, PermissionError):
        return EnvironmentFileError(
            path,
            f"user {os.geteuid()} may not read it",
            "Give it to a group of that user: chown root:GROUP, chmod 0640",
        )
    if isinstance(error, FileNotFoundError):
        why = "is a symbolic link to nothing" if os.path.islink(path) else "is missing"
        return EnvironmentFileError(path, why, "Put the file there")
    return EnvironmentFileError(path, f"cannot be read ({error.strerror})", "Put a regular file there")


def _text(path: str, content: bytes) -> str:
    if content.startswith(_BYTE_ORDER_MARK):
        content = content[len(_BYTE_ORDER_MARK) :]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place(content[: error.start].decode("utf-8"))
        raise EnvironmentFileError(path, f"{place}: not UTF-8", "Save it as UTF-8") from None
    if not text.strip():
        raise EnvironmentFileError(path, "is empty", "Write one JSON object, {} for no variables, or remove it")
    return text


def _place(before: str) -> str:
    return f"line {before.count(chr(10)) + 1} column {len(before) - before.rfind(chr(10))}"


class _Pairs(list):  # type: ignore[type-arg]  # of (key, value), duplicates kept
    """A JSON object as it is written in the text."""


def _number(_: str) -> float:
    return 0.0  # refused by its type: its digits don't matter


class _Scanning:
    """What the scanner of the standard library needs from a decoder."""

    strict = True
    object_hook = array_hook = None
    object_pairs_hook = _Pairs
    parse_float = parse_int = parse_constant = staticmethod(_number)


def _scanned(text: str) -> object:
    """Return what *text* holds, by the compiled scanner of ``json.loads``: ``import json`` takes as long as a start.

    Raises:
        Exception: of any kind, when the text is not one document or this Python's scanner works in another way.
    """
    from _json import make_scanner

    scan = make_scanner(_Scanning)  # type: ignore[arg-type]  # any object with these attributes will do
    document, end = scan(text, len(text) - len(text.lstrip(_BLANKS)))
    if text[end:].strip(_BLANKS):
        raise ValueError("more than one document")
    return document


def _pairs(path: str, text: str) -> "List[Tuple[str, object]]":
    for mark, most in _MOST_OF:
        if text.count(mark) > most:
            raise EnvironmentFileError(path, f"has more than {most} of {mark}", "Keep large values in files")
    try:
        document = _scanned(text)
    except Exception:  # json.loads says what is wrong and where
        document = _loaded(path, text)
    if not isinstance(document, _Pairs):
        raise EnvironmentFileError(path, f"must be a JSON object, not {_kind(document)}")
    return document


def _loaded(path: str, text: str) -> object:
    import json

    try:
        return json.loads(
            text, object_pairs_hook=_Pairs, parse_int=_number, parse_float=_number, parse_constant=_number
        )
    except json.JSONDecodeError as error:
        fault = next((fault for fault in _JSON_FAULTS if error.msg.startswith(fault)), "not valid JSON")
        raise EnvironmentFileError(path, f"{_place(text[: error.pos])}: {fault[0].lower()}{fault[1:]}") from None
    except RecursionError:
        raise EnvironmentFileError(path, "is nested too deeply", "Write one JSON object of strings") from None


def _check_key(path: str, key: str) -> None:
    if not key:
        raise EnvironmentFileError(path, "has an empty key", "Remove it")
    if not (key.isascii() and key.isprintable()) or " " in key or "=" in key:
        raise EnvironmentFileError(
            path, f"key {_quoted(key)} is not a variable name", "Use printable ASCII without spaces and ="
        )


def _checked_value(path: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise EnvironmentFileError(
            path, f"the value of {_quoted(key)} is {_kind(value)}, not a string", "Put it in double quotes, as text"
        )
    nul = value.find("\0")
    if nul >= 0:
        raise EnvironmentFileError(
            path, f"the value of {_quoted(key)} ({len(value)} characters) contains a NUL", "Remove it"
        )
    try:
        size = len(key) + len(value.encode("utf-8")) + 2
    except UnicodeEncodeError:
        raise EnvironmentFileError(
            path, f"the value of {_quoted(key)} ({len(value)} characters) contains an unpaired surrogate"
        ) from None
    if size > MAX_VARIABLE:
        raise EnvironmentFileError(
            path,
            f"{_quoted(key)} takes {size} bytes; with more than {MAX_VARIABLE} in one variable no program can start",
            "Keep it in a file, and its path here",
        )
    return value


def _check_total(path: str, environment: "Dict[str, str]") -> None:
    characters = sum(map(len, environment)) + sum(map(len, environment.values()))
    if 4 * characters + 10 * len(environment) <= _MIN_TOTAL - _FOR_ARGUMENTS:  # UTF-8: at most 4 bytes each
        return
    total = sum(
        len(key.encode("utf-8", "surrogateescape")) + len(value.encode("utf-8", "surrogateescape")) + 2 + 8
        for key, value in environment.items()
    )
    if total <= _MIN_TOTAL - _FOR_ARGUMENTS:
        return
    import resource

    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    limit = _MAX_TOTAL if stack == resource.RLIM_INFINITY else max(_MIN_TOTAL, min(_MAX_TOTAL, stack // 4))
    if total > limit - _FOR_ARGUMENTS:
        largest = max(environment, key=lambda key: len(environment[key]))
        raise EnvironmentFileError(
            path,
            f"the environment takes {total} bytes; with more than {limit - _FOR_ARGUMENTS} no program can start; "
            f"the largest is {_quoted(largest)}",
            "Keep large values in files",
        )


def _kind(value: object) -> str:
    if isinstance(value, _Pairs):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return "a string" if isinstance(value, str) else "a number"


def _quoted(key: str) -> str:
    return f'"{key}"' if len(key) <= 80 else f'"{key[:80]}..."'


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
