"""The contract in code: names inside the artifact and on disk, and the bounds of both.

``docs/artifact.md`` explains it to people, ``docs/manifest.schema.json`` to other programs.
"""

from __future__ import annotations

# Members at the root of the artifact.
MAIN = "__main__.py"
INSTALL_WHEELS = "install_wheels.py"
LOADENV = "loadenv.py"
LOADENV_PTH = "loadenv-init.pth"
WHEELS = "wheels"
BOOTSTRAP_WHEELS = "bootstrap_wheels"
STATIC = "static.in"

# Everything else that the tool adds is in one folder, in the artifact and in the destination.
DEPLOY = ".deploy"
MANIFEST = ".deploy/manifest.json"
SBOM = ".deploy/sbom.cdx.json"
ENVIRONMENT_SCHEMA = ".deploy/environment.schema.json"  # only of projects that declare their variables
RUNTIME = ".deploy/runtime"
BYTECODE = ".deploy/bytecode"
INDEX = ".deploy/index"
PAYLOAD = ".deploy/payload"
LOADENV_START = ".deploy/loadenv-init.start"

# Names in the destination that are not members.
VENV = "venv"
INSTALLED = ".deploy/installed.json"
FILES = ".deploy/files.mtree"  # kind, mode, owner and digest of everything that was installed
LINKS = ".deploy/links.json"  # what a deployment linked into the release, by path
STATIC_FILES = ".deploy/static.json"  # what a deployment collected
ENVIRONMENT = "environment.json"
JOURNAL = ".deploy/journal.jsonl"  # of a root, above its releases
ENVIRONMENT_BEFORE = f"{DEPLOY}/environment.before.json"  # kept until the new one is proven

DEFAULT_SHEBANG = "#!/usr/bin/env python"
MAX_MEMBERS = 65_534  # zipimport before 3.13 finds nothing in a file with more (cpython#94146, measured)
MAX_PAYLOAD_MEMBERS = 20_000  # of one nested payload: bounds the memory of reader and installer
MAX_SIZE = 2**32 - 1  # bytes of the file and of each member: the container holds no ZIP64 record
MAX_MANIFEST = 16 * 1024 * 1024  # bytes: half more than 65 534 members with names of 60 bytes need
FILE_MODES = (0o644, 0o755)

RESERVED_PROJECT_NAMES = frozenset([WHEELS, BOOTSTRAP_WHEELS, STATIC, VENV, "install_wheels", "loadenv", "__main__"])


def project_pth_name(project: str) -> str:
    """Return the root member that puts the project on ``sys.path``: ``PROJECT.pth``."""
    return f"{project}.pth"


def project_pth_text(project: str, below: str = "") -> str:
    """Return its text: a path relative to site-packages, pure ASCII; also *below* in the project's folder, if given.

    Python 3.11.7 and 3.12.1 stop in ``site`` under the C locale when a ``.pth`` holds any other byte
    (cpython#117917), and PEP 829 ends ``import`` lines, so it is a plain path and never names the destination.
    """
    own = f"../../../../{project}\n"
    return own + f"../../../../{project}/{below}\n" if below else own


def runtime_path(member: str) -> str:
    """Return where a module of the tool is kept below its package's folder, or "" when *member* is no such module."""
    if member in (INSTALL_WHEELS, LOADENV):
        return member
    return member[len(RUNTIME) + 1 :] if member.startswith(RUNTIME + "/") else ""


def runtime_bytecode(cache_tag: str) -> str:
    """Return the member that holds the compiled modules of the tool for the Pythons of *cache_tag*."""
    return f"{BYTECODE}/{cache_tag}/runtime.zip"


def index_of(member: str) -> str:
    """Return the member that is the index of the archive *member*: of a wheel, or of bytecode.

    It is no archive, so its name does not end like that of one: programs take every member that does for a wheel.
    """
    name = member[len(DEPLOY) + 1 :] if member.startswith(DEPLOY + "/") else member
    return f"{INDEX}/{name.rpartition('.')[0]}"


def is_index(member: str) -> bool:
    """Say whether *member* is the index of an archive."""
    return member.startswith(f"{INDEX}/")


def is_wheel(member: str) -> bool:
    """Say whether *member* is one of the artifact's wheels: a project may hold files that end in ``.whl`` too."""
    return member.startswith((f"{WHEELS}/", f"{BOOTSTRAP_WHEELS}/"))
