# -*- coding: ascii -*-
"""The artifact's __main__.py: says in one line what is wrong with an old Python, else loads the runtime and runs it.

Parses on Python 2.7 and 3.x. The artifact is first on sys.path when this runs, even with -I, so a project that holds
packages named "json" or "email" would replace the standard library's: the very first statements take it out, with
nothing imported but sys, which is built in.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # noqa: F401  # for the type comments, which Python 2 needs

_ARCHIVE = getattr(globals().get("__loader__"), "archive", None)
sys.path[:] = [path for path in sys.path if path != _ARCHIVE]


def main():
    # type: () -> int
    """Check the Python, load the runtime, run the command line and return its exit code."""
    found = "%d.%d.%d" % sys.version_info[:3]
    where = "%s at %s" % (found, sys.executable)
    if sys.version_info < (3, 8):
        return refused("needs Python 3.8 or newer, found %s" % where)
    try:
        import zlib  # noqa: F401
    except ImportError:
        return refused("needs Python's zlib module, which %s does not have" % where)
    if not _ARCHIVE:
        return refused("is not run as a zip")
    try:
        package = load_package(_ARCHIVE)
    except Exception as error:  # zipimport compares no checksum: a damaged module can fail in any way
        if "--debug" in sys.argv:
            raise
        return refused("cannot load its own code (%s: %s)" % (type(error).__name__, error), "Copy it again", 3)
    return int(package.main(sys.argv[1:], _ARCHIVE))


def refused(why, fix="Run it with the Python that will run the site", code=4):
    # type: (str, str, int) -> int
    """Print the one line and return the exit code of its kind: 4 for the target, 3 for the artifact."""
    if sys.stderr is not None:
        line = " ".join(("error: this artifact: %s. %s." % (why, fix)).split())
        # What a damaged file makes Python say may hold anything: nothing of it may act on a terminal.
        sys.stderr.write("".join(c if " " <= c <= "~" else "?" for c in line)[:500] + "\n")
    return code


def load_package(archive):
    # type: (str) -> Any
    """Make the package deployable_zipfile from two folders of the archive, and nothing else importable from it."""
    import importlib
    import types

    package = types.ModuleType("deployable_zipfile")
    package.__path__ = [archive + "/.deploy/runtime", archive]
    sys.modules["deployable_zipfile"] = package
    return importlib.import_module("deployable_zipfile.extract")


def end_quietly():
    # type: () -> None
    """Let Ctrl-C and its like end the process without a traceback until the runtime is loaded and catches them."""
    import os

    try:
        import _signal as signal  # type: ignore[import-not-found]  # built in
    except ImportError:
        import signal  # Python 2

    def end(_number, _frame):
        # type: (int, Any) -> None
        os.write(2, b"error: this run: was interrupted. Run it again.\n")
        os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


if __name__ == "__main__":
    end_quietly()
    try:
        CODE = main()
    except KeyboardInterrupt:  # before the command line catches signals itself
        CODE = refused("was interrupted", "Run it again", 130)
    sys.exit(CODE)
