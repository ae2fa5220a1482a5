"""Sign an artifact: ``ARTIFACT.sig``, by ``ssh-keygen`` or ``openssl``, whichever the key is for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import List, Sequence

from .. import durable, process
from ..artifact.zipreader import Artifact
from ..definitions import NamedTuple, expression
from ..errors import BuildInputError
from ..install.signature import ENDING, NAMESPACE, SSH_BEGIN, SSH_END

FORMATS = ("ssh", "openssl")
_PATIENCE = 600.0  # seconds, for a key on a token that has to be touched too
_SSH_KEY = expression(rb"-----BEGIN OPENSSH PRIVATE KEY-----|(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ AAAA")
_PEM_KEY = expression(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")


class Signed(NamedTuple):
    """What was signed."""

    path: str  # of the signature
    form: str  # of FORMATS
    size: int  # bytes


def sign(path: str, key: str, form: str = "") -> Signed:
    """Write the signature of the artifact *path* beside it, and return what was done.

    Parameters:
        key: file of a private key, or of the public half of an SSH key whose private half ssh-agent has.
        form: of FORMATS, "": as the key is written.

    Raises:
        ArtifactError: *path* is not an artifact.
        BuildInputError: the key cannot be used, or the program is missing.
    """
    chosen = form or _form_of(key)
    with Artifact.open(path) as artifact:
        content = (_by_ssh if chosen == "ssh" else _by_openssl)(artifact.descriptor, os.path.abspath(key))
    target = f"{os.path.abspath(path)}{ENDING}"
    try:
        durable.replace_file(target, content, 0o644)
    except OSError as error:
        raise BuildInputError(
            target, f"cannot be written ({error.strerror})", "Check disk space and permissions"
        ) from None
    return Signed(target, chosen, len(content))


def _form_of(key: str) -> str:
    try:
        with open(key, "rb") as file:
            start = file.read(65_536)
    except OSError as error:
        raise BuildInputError(key, f"cannot be read ({error.strerror})", "Give the file of a key") from None
    if _SSH_KEY.match(start):
        return "ssh"
    if _PEM_KEY.search(start):
        return "openssl"
    raise BuildInputError(key, "is neither an SSH key nor a PEM private key", "Make one: ssh-keygen -t ed25519 -f KEY")


def _by_ssh(descriptor: int, key: str) -> bytes:
    said = _run("ssh-keygen", ["-Y", "sign", "-n", NAMESPACE, "-f", key], descriptor, key)
    begin, end = said.find(SSH_BEGIN.decode()), said.find(SSH_END.decode())
    if begin < 0 or end < begin:
        raise BuildInputError(key, "ssh-keygen created no signature with it", "Run ssh-keygen -Y sign yourself")
    return said[begin:end].encode("ascii") + SSH_END + b"\n"


def _by_openssl(descriptor: int, key: str) -> bytes:
    with tempfile.TemporaryFile() as file:
        to = file.fileno()
        _run("openssl", ["dgst", "-sha256", "-sign", key, "-out", f"/proc/self/fd/{to}"], descriptor, key, [to])
        file.seek(0)
        return file.read()


def _run(name: str, words: List[str], descriptor: int, key: str, shared: Sequence[int] = ()) -> str:
    program = shutil.which(name, path=process.search_path())
    if program is None:
        raise BuildInputError(name, "command not found", f"Install {name}")
    environment = process.environment()
    if "SSH_AUTH_SOCK" in os.environ:
        environment["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        ended = process.run([program, *words], _PATIENCE, env=environment, stdin=descriptor, shared=shared)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildInputError(program, f"cannot be started ({type(error).__name__})", "Install it again") from None
    if ended.status or ended.timed_out:
        lines = [line for line in ended.output.splitlines() if line.strip()] or [ended.why()]
        advice = "A key with a passphrase is used through ssh-agent: give its .pub file"
        raise BuildInputError(key, f"{name} cannot sign with it: {lines[0]}", advice)
    return ended.output
