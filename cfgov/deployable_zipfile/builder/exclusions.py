"""What is never packed, in any folder: version control, caches, secrets, private keys and earlier artifacts.

Names are looked at first, then the beginning of each file: a private key is one whatever its file is called.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
from typing import Iterable, List, Set, Tuple

from ..artifact import layout
from ..definitions import expression

FORMAT = 2  # of what is_never_packed_content and is_pointer answer, for caches
_HEAD = 4096  # bytes of a file that are looked at
_LARGEST_PEM = 4 * 1024 * 1024  # bytes of a file of certificates that are looked at


class AnyOf:
    """Shell patterns of file names, whatever their case. Most are a name or its end, which need not be compiled."""

    def __init__(self, *patterns: str) -> None:
        folded = [pattern.casefold() for pattern in patterns]
        self._plain = frozenset(one for one in folded if not _is_special(one))
        self._ends = tuple(one[1:] for one in folded if one[:1] == "*" and not _is_special(one[1:]))
        others = [one for one in folded if _is_special(one) and (one[:1] != "*" or _is_special(one[1:]))]
        self._pattern = re.compile("|".join(map(fnmatch.translate, others)) or r"(?!)", re.IGNORECASE)

    def match(self, name: str) -> bool:
        """Say whether one of them names *name*."""
        folded = name.casefold()
        return folded in self._plain or folded.endswith(self._ends) or bool(self._pattern.match(name))


def _is_special(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


_CACHES = frozenset(
    ["__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox", ".cache", ".eggs"]
)
_VERSION_CONTROL = frozenset([".git", ".hg", ".svn", ".bzr"])
_SECRET_FOLDERS = frozenset([".ssh", ".aws", ".gnupg", ".kube", ".docker"])
_COMPILED = AnyOf("*.pyc", "*.pyo", ".coverage", ".DS_Store")
_PARTIAL = AnyOf(".*.zip.*.partial", ".*.zip.*.partial.sha256")  # of a build that was killed
_SECRETS = AnyOf(
    layout.ENVIRONMENT,
    "environment[-_.]*.json",
    "*[-_.]environment.json",
    ".env",
    ".env[-_.]*",
    ".envrc",
    "*.env",
    ".netrc",
    "_netrc",
    "netrc",
    ".pypirc",
    "pypirc",
    ".pgpass",
    ".my.cnf",
    ".git-credentials",
    ".htpasswd",
    ".dockercfg",
    ".s3cfg",
    ".boto",
    "*.ovpn",
    ".vault_pass*",
    ".vault-pass*",
    "secrets.json",
    "secrets.y*ml",
    "secrets.toml",
    "secrets.ini",
    ".secrets",
    ".secrets.*",
    "credentials.json",
    "credentials.toml",
    "kubeconfig",
    "*.kubeconfig",
    "*.tfstate",
    "*.tfstate.backup",
    ".terraformrc",
    "client_secret*.json",
    "service[-_]account*.json",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "id_xmss",
    "deploykey",
    "deploy_key",
    "deploy-key",
    "*[-_.]deploykey",
    "*[-_.]deploy[-_]key",
)
_KEYS = AnyOf(
    "*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.pkcs12", "*.jks", "*.keystore", "*.ppk", "*.kdbx", "*.agekey"
)
_EXAMPLE = expression(r"[-_.](example|sample|template|dist|tmpl|tpl|default)s?([-_.]|\Z)", re.IGNORECASE)
# How editors and people name another copy of a file.
_COPY = expression(r"(~|[-_. ](bak|backup|old|orig|save|saved|copy|swp|swo|tmp|temp|new|[0-9]+))\Z", re.IGNORECASE)

_KEY_MARK = b"PRIVATE KEY"
_KEY_BEGINS = expression(
    rb"(?:\xef\xbb\xbf)?(?:\s*#[^\n]*\n|\s)*"
    rb"(?:-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-|AGE-SECRET-KEY-1)"
)
# Certificates with their key behind them, as HAProxy and "openssl pkcs12" write them.
_PEM_BEGINS = expression(
    rb"(?:\xef\xbb\xbf)?(?:\s*#[^\n]*\n|\s)*(?:-----BEGIN [A-Z0-9 ]+-----|Bag Attributes\s*\n|Certificate:\s*\n)"
)
_KEY_FOLLOWS = expression(rb"(?m)^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_KEY_IN_JSON = expression(rb'"private_key"\s*:\s*"-----BEGIN ')
_ARTIFACT_BEGINS = expression(rb"#![^\n]{1,200}\nPK\x03\x04")
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def is_never_packed(name: str) -> bool:
    """Say whether a file or folder of the relative path *name* is never packed, judged by the path."""
    *folders, last = name.split("/")
    if any(part in _CACHES or part in _VERSION_CONTROL or part in _SECRET_FOLDERS for part in [*folders, last]):
        return True
    if _COMPILED.match(last) or _PARTIAL.match(last):
        return True
    original = _original(last)
    return bool(_SECRETS.match(original) or _KEYS.match(original)) and not _EXAMPLE.search(last)


def may_be_certificate(name: str) -> bool:
    """Say whether only the last part of *name* keeps it from being packed, since such files can hold keys."""
    *folders, last = name.split("/")
    return bool(_KEYS.match(last)) and not any(is_never_packed(part) for part in folders)


def holds_key(path: str) -> bool:
    """Say whether the regular file *path* mentions a private key anywhere."""
    with open(path, "rb") as file:
        return _KEY_MARK in file.read()


def is_never_packed_content(path: str) -> bool:
    """Say whether the regular file *path* is a private key or an earlier artifact, whatever its name.

    Also the checksum beside an earlier artifact.
    """
    if path.endswith(".zip.sha256"):
        artifact = path[: -len(".sha256")]
        return os.path.isfile(artifact) and _is_artifact(artifact, _head(artifact))
    head = _head(path)
    if _KEY_BEGINS.match(head) or _KEY_IN_JSON.search(head):
        return True
    if _PEM_BEGINS.match(head):
        with open(path, "rb") as file:
            return bool(_KEY_FOLLOWS.search(file.read(_LARGEST_PEM)))
    return _is_artifact(path, head)


def is_pointer(path: str) -> bool:
    """Say whether *path* is a Git LFS pointer in place of the file itself."""
    return os.path.getsize(path) < 1024 and _head(path).startswith(_POINTER)


class Copies:
    """Recognises copies of, and hard links to, the secret files of some folders.

    Parameters:
        folders: absolute paths whose ``environment.json`` and ``.env`` are looked at.
    """

    _SMALLEST = 16  # bytes: an empty object equals too many other files

    def __init__(self, folders: Iterable[str]) -> None:
        self._inodes: Set[Tuple[int, int]] = set()
        self._contents: Set[Tuple[int, str]] = set()
        for path in secrets(folders):
            self._add(path)

    def holds(self, path: str, status: os.stat_result) -> bool:
        """Say whether *path* is one of them under another name."""
        if (status.st_dev, status.st_ino) in self._inodes:
            return True
        if not any(size == status.st_size for size, _ in self._contents):
            return False
        return (status.st_size, _digest(path)) in self._contents and not _EXAMPLE.search(os.path.basename(path))

    def _add(self, path: str) -> None:
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                return
            self._inodes.add((status.st_dev, status.st_ino))
            if status.st_size >= self._SMALLEST:
                self._contents.add((status.st_size, _digest(path)))
        except OSError:
            return  # what cannot be read cannot have been copied by this user either


def secrets(folders: Iterable[str]) -> List[str]:
    """Return the paths where secret files of *folders* would be."""
    return [os.path.join(folder, name) for folder in sorted(set(folders)) for name in (layout.ENVIRONMENT, ".env")]


def _original(name: str) -> str:
    """Return *name* without what marks a copy or an editor's own file."""
    if name.startswith("#") and name.endswith("#"):
        name = name.strip("#")
    if name.startswith(".#"):
        name = name[2:]
    before = ""
    while before != name:
        before, name = name, _COPY.sub("", name)
        if name != before and name.startswith(".") and before.endswith((".swp", ".swo")):
            name = name[1:]  # vim: .NAME.swp
    return name


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD)


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _is_artifact(path: str, head: bytes) -> bool:
    """Say whether *path* is a self-extracting zip of this tool or of its ancestor, not any zip application."""
    if not _ARTIFACT_BEGINS.match(head):
        return False
    import zipfile  # takes long, and few files look like one

    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return layout.LOADENV.encode() in head  # cut short: its first members are named at the beginning
    return layout.MANIFEST in names or {layout.INSTALL_WHEELS, layout.LOADENV_PTH} <= names
