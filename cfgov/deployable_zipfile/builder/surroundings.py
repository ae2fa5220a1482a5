"""The properties of a machine that decide which files pip uses and what a compiler produces: parts of cache keys.

Nothing is started to find out: a tool is known by its file, a setting by its text.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING, Iterator, List, Tuple

from ..errors import conceal

if TYPE_CHECKING:
    import configparser

# Settings of pip that change how it works, never what it takes.
_HARMLESS = {
    "PIP_CACHE_DIR", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_DEBUG", "PIP_DEFAULT_TIMEOUT", "PIP_DISABLE_PIP_VERSION_CHECK",
    "PIP_EXISTS_ACTION", "PIP_KEYRING_PROVIDER", "PIP_LOG", "PIP_NO_CACHE_DIR", "PIP_NO_COLOR", "PIP_NO_INPUT",
    "PIP_NO_PYTHON_VERSION_WARNING", "PIP_PROGRESS_BAR", "PIP_PROXY", "PIP_QUIET", "PIP_RETRIES",
    "PIP_ROOT_USER_ACTION", "PIP_TIMEOUT", "PIP_VERBOSE",
}  # fmt: skip
# Variables of a terminal, a session or a CI run, which differ from run to run and reach no compiler.
_VOLATILE = {
    "_", "BUILD_ID", "BUILD_NUMBER", "BUILD_TAG", "BUILD_URL", "COLUMNS", "COLORTERM", "DISPLAY", "EDITOR", "HISTFILE",
    "HOSTNAME", "INVOCATION_ID", "JOURNAL_STREAM", "LINES",
    "LS_COLORS", "MAIL", "OLDPWD", "PAGER", "PS1", "PWD", "SHLVL", "SYSTEMD_EXEC_PID", "TERM", "TERM_PROGRAM", "TMPDIR",
    "TMUX", "TMUX_PANE", "WINDOWID", "XDG_RUNTIME_DIR",
}  # fmt: skip
_VOLATILE_PREFIXES = (
    "CI_", "DBUS_", "GITHUB_", "GITLAB_", "GPG_", "NOX_", "PYTEST_", "RUNNER_", "SSH_", "SUDO_", "XDG_SESSION",
)  # fmt: skip
_TOOLS = (
    "cc", "c99", "gcc", "g++", "c++", "clang", "clang++", "gfortran", "as", "ld", "ar", "ranlib", "make", "cmake",
    "ninja", "meson", "pkg-config", "swig", "rustc", "cargo", "go", "curl-config", "mysql_config", "pg_config",
    "xml2-config", "xslt-config",
)  # fmt: skip
_TOOL_VARIABLES = (
    "CC",
    "CXX",
    "CPP",
    "LD",
    "LDSHARED",
    "LDCXXSHARED",
    "AR",
    "AS",
    "FC",
    "RUSTC",
    "CARGO",
    "PKG_CONFIG",
)
# Lists of installed packages: they change with every library and header that the system's package manager installs.
_PACKAGE_LISTS = (
    "/var/lib/dpkg/status", "/var/lib/rpm/Packages", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/lib/apk/db/installed",
)  # fmt: skip
_FALSE = ("0", "false", "f", "no", "n", "off")  # what pip takes for false (distutils.util.strtobool)
_SMALL = 256 * 1024  # bytes; a tool up to this size, a wrapper script for instance, is known by its content


def pip_settings(interpreter: str) -> List[str]:
    """Return the settings of pip that decide which files it takes, by environment and configuration file.

    Secrets in them are concealed from then on.

    Parameters:
        interpreter: path of the Python that runs pip; its virtual environment may have a ``pip.conf``.
    """
    found = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.upper().startswith("PIP_") and name.upper() not in _HARMLESS
    ]
    found += [f"{path}\n{text}" for path, text in _configurations(interpreter)]
    for text in found:
        conceal(text)
    return found


def demanded(interpreter: str, name: str) -> str:
    """Return the variable or configuration file that switches the option *name* of pip on, "" when none does.

    Parameters:
        interpreter: path of the Python that runs pip.
        name: of the option, "no-index".
    """
    value, said_by = _setting(interpreter, name)
    return said_by if value and value.lower() not in _FALSE else ""


def constraints(interpreter: str) -> List[str]:
    """Return the files and URLs of constraints that pip's settings name; they hold for what is fetched.

    pip itself is not handed the variable: earlier releases let it reach into build environments, where a file with
    hashes fails every build.
    """
    value, _ = _setting(interpreter, "constraint")
    return value.split()


def _setting(interpreter: str, name: str) -> Tuple[str, str]:
    """Return what pip's settings say of the option *name* for a download, and which one says it.

    The variable wins, then the file that pip reads last (pip's user guide, "Configuration").
    """
    variable = f"PIP_{name.upper().replace('-', '_')}"
    found = os.environ.get(variable, "")
    if found:
        return found, variable
    said_by = ""
    for path, parser in _parsed(interpreter):
        for section in ("global", "download"):
            value = parser.get(section, name, fallback=parser.get(section, name.replace("-", "_"), fallback=""))
            found, said_by = (value, f"{name} in {path}") if value else (found, said_by)
    return found, said_by


def compiling(interpreter: str, options: Tuple[str, ...]) -> List[str]:
    """Return what decides how an sdist is built: variables, tools, system packages, and local build backends.

    Parameters:
        interpreter: path of the Python that builds.
        options: index and selection options of the requirements, as pip's words.
    """
    import shutil  # takes long, and a build from the cache does not need it

    found = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name not in _VOLATILE and not name.startswith((*_VOLATILE_PREFIXES, "PIP_"))
    ]
    found += [state(path) for path in map(shutil.which, _tools()) if path]
    found += [state(path) for path in _PACKAGE_LISTS]
    found += [_folder(path) for path in _local_links(interpreter, options)]
    found += [state(path) for path in _build_constraints()]
    return found


def looked_for(interpreter: str, options: Tuple[str, ...]) -> List[str]:
    """Return every path that :func:`compiling` looks at or searches for a tool, those that are missing included.

    While each of them leads where it did, to a file of the same identity, and the variables are the same,
    :func:`compiling` returns the same.

    Parameters:
        interpreter, options: as for :func:`compiling`.
    """
    path = os.environ.get("PATH")
    folders = (os.pathsep.join([os.confstr("CS_PATH") or "", os.defpath]) if path is None else path).split(os.pathsep)
    found = [os.path.join(folder, tool) for tool in _tools() for folder in folders]
    found += [*_PACKAGE_LISTS, *_build_constraints()]
    for link in _local_links(interpreter, options):
        found.append(link)
        if os.path.isdir(link):
            found += [os.path.join(link, name) for name in sorted(os.listdir(link))]
    return list(dict.fromkeys(found))


def _tools() -> List[str]:
    """Return the programs that may take part in a build: names, or paths that a variable gives."""
    named = [os.environ[name] for name in _TOOL_VARIABLES if os.environ.get(name)]
    if not named:
        return list(_TOOLS)
    import shlex  # takes long, and most builds need none of it

    return [*_TOOLS, *(word for text in named for word in shlex.split(text)[:1])]


def _build_constraints() -> List[str]:
    return os.environ.get("PIP_BUILD_CONSTRAINT", "").split()


def _configurations(interpreter: str) -> Iterator[Tuple[str, str]]:
    """Yield path and text of each configuration file that pip reads (pip's user guide, "Configuration")."""
    for path in configuration_paths(interpreter):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                yield path, file.read()
        except OSError:
            continue  # pip passes over a file that it cannot read as well


def _parsed(interpreter: str) -> Iterator[Tuple[str, configparser.RawConfigParser]]:
    """Yield path and content of each configuration file of pip."""
    for path, text in _configurations(interpreter):
        import configparser  # takes long, and few builds need it

        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error:
            continue  # pip will refuse it
        yield path, parser


def configuration_paths(interpreter: str) -> List[str]:
    """Return where configuration files of the pip of *interpreter* may be."""
    home = os.path.expanduser("~")
    shared = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    paths = [os.path.join(folder, "pip", "pip.conf") for folder in shared.split(os.pathsep)]
    paths += ["/etc/pip.conf", os.path.join(home, ".pip", "pip.conf"), os.path.join(own, "pip", "pip.conf")]
    paths += [os.path.join(os.path.dirname(os.path.dirname(interpreter or sys.executable)), "pip.conf")]
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:  # pip's way to read none at all
        return []
    return [*paths, *([named] if named else [])]


def _local_links(interpreter: str, options: Tuple[str, ...]) -> List[str]:
    """Return the local folders and files of every ``--find-links``, where a build backend can come from."""
    from urllib.parse import unquote, urlsplit

    values = [value for name, value in zip(options, options[1:]) if name == "--find-links"]
    values += os.environ.get("PIP_FIND_LINKS", "").split()
    for _, parser in _parsed(interpreter):
        for section in parser.sections():
            values += parser.get(section, "find-links", fallback="").split()
    paths = [unquote(urlsplit(value).path) if value.startswith("file:") else value for value in values]
    return sorted({os.path.abspath(os.path.expanduser(path)) for path in paths if "://" not in path})


def _folder(path: str) -> str:
    """Describe the files of a folder that pip searches; it does not go deeper."""
    if not os.path.isdir(path):
        return state(path)
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries)
    return "\n".join([path, *(state(os.path.join(path, name)) for name in names)])


def state(path: str) -> str:
    """Describe a file so that it differs when the file was changed or replaced."""
    real = os.path.realpath(path)
    try:
        found = os.stat(real)
        content = ""
        if found.st_size <= _SMALL and os.path.isfile(real):
            with open(real, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return f"{path} {type(error).__name__}"
    # Two contents of one size can have one time, but not one change of the inode.
    return f"{path} {real} {found.st_size} {content or (found.st_mtime_ns, found.st_ctime_ns)}"
