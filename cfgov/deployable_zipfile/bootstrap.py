""" " 2>/dev/null; read -r a <"$0"; case $a in "#!"*) exec ${a#??} "$0" "$@"; esac; echo "Run python3 FILE" >&2; exit 2

The artifact's __main__.py: on an old Python prints a one-line error, otherwise loads and runs the runtime.

The first line is for a shell, for which it follows the artifact's interpreter line and the binary header of this
member: `sh artifact.zip` starts the interpreter that `./artifact.zip` would, instead of reading Python as commands.

Parses on Python 2.7 and 3.x. The artifact is first on sys.path when this runs, even with -I, so a project that holds
packages named "json" or "email" would replace the standard library's: the very first statements take it out, with
nothing imported but sys, which is built in.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple  # noqa: F401  # for the type comments, which Python 2 needs

_LOADER = globals().get("__loader__")  # type: Any
_ARCHIVE = getattr(_LOADER, "archive", None)
sys.path[:] = [path for path in sys.path if path != _ARCHIVE]


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
    end_quietly()  # before anything else: until then Ctrl-C ends in a traceback


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
    import gc
    import importlib
    import types

    package = types.ModuleType("deployable_zipfile")
    package.__path__ = [archive + "/.deploy/runtime", archive]
    sys.modules["deployable_zipfile"] = package
    finder = CompiledModules(archive)
    if finder.modules:
        sys.meta_path.insert(0, finder)
    gc.disable()  # what modules make is no garbage, and looking for it takes a tenth of a start
    try:
        return importlib.import_module("deployable_zipfile.extract")
    finally:
        gc.enable()


class CompiledModules(object):  # noqa: UP004  # Python 2 needs the base
    """Imports the package's modules from the bytecode that the build made for this Python.

    Compiling them takes longer than most commands. A module that is not among them, or was compiled for a Python with
    another magic number, is imported from its source. Nothing has been verified yet, and damaged bytecode can crash
    Python, so the CRC-32 is compared first.
    """

    def __init__(self, archive):
        # type: (str) -> None
        import struct

        self.runtime = archive + "/.deploy/runtime/"
        self.modules = {}  # type: Dict[str, Tuple[int, int, int, int]]  # method, CRC-32, start and size of the data
        tag = sys.implementation.cache_tag
        try:
            self.data = _LOADER.get_data("%s/.deploy/bytecode/%s/runtime.zip" % (archive, tag))  # type: bytes
        except OSError:
            return  # none was shipped for this Python
        at, header = 0, struct.Struct("<8xH4x2L4xH2x")  # APPNOTE 4.3.7; the members are back to back
        while self.data[at : at + 4] == b"PK\3\4":
            method, crc, size, length = header.unpack_from(self.data, at)
            start = at + header.size + length
            name = self.data[at + header.size : start].decode("ascii")
            module = name.replace("__pycache__/", "")[: -len(".%s.pyc" % tag)]
            self.modules[module] = (method, crc, start, size)
            at = start + size

    def find_spec(self, name, _path=None, _target=None):
        # type: (str, Any, Any) -> Any
        """Return the specification of module *name*, None for modules of others."""
        from importlib.machinery import ModuleSpec

        package, _, module = name.replace(".", "/").partition("/")
        for file in (module, module + "/__init__"):
            if package == "deployable_zipfile" and file in self.modules:
                code = self.code(file)
                if code is None:
                    return None
                loader = self  # type: Any  # by its methods
                spec = ModuleSpec(name, loader, origin=self.runtime + file + ".py", loader_state=code)
                spec.has_location = True
                if file != module:
                    spec.submodule_search_locations = [self.runtime + module]
                return spec
        return None

    def code(self, file):
        # type: (str) -> Any
        """Return the code of a module, None when it is for a Python with another magic number."""
        import _imp
        import importlib.util
        import marshal
        import zlib

        method, crc, start, size = self.modules[file]
        data = self.data[start : start + size]
        if method:
            data = zlib.decompress(data, -zlib.MAX_WBITS)
        if zlib.crc32(data) != crc:
            raise ImportError("the bytecode of %s.py is damaged" % file)
        if data[:4] != importlib.util.MAGIC_NUMBER:
            return None
        code = marshal.loads(data[16:])
        _imp._fix_co_filename(code, self.runtime + file + ".py")  # type: ignore[attr-defined]
        return code

    def get_data(self, path):
        # type: (str) -> bytes
        """Return the content of a file of the archive: the source of what another Python is to run, for pkgutil."""
        return bytes(_LOADER.get_data(path))

    def create_module(self, spec):
        # type: (Any) -> None
        """Let the import system make the module."""

    def exec_module(self, module):
        # type: (Any) -> None
        """Run the module's code."""
        exec(module.__spec__.loader_state, module.__dict__)


def leave(code):
    # type: (int) -> None
    """End the process with all that was read in memory: to free it in pieces takes as long as a short command."""
    import os

    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (EnvironmentError, ValueError):  # noqa: UP024  # Python 2 has no OSError of streams
        sys.exit(code)  # Python says what it does of a stream that takes nothing
    os._exit(code)


if __name__ == "__main__":
    try:
        CODE = main()
    except KeyboardInterrupt:  # before the command line catches signals itself
        CODE = refused("was interrupted", "Run it again", 130)
    leave(CODE)
