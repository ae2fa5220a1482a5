"""Who signed an artifact: a detached signature, checked by the system's own ``ssh-keygen`` or ``openssl``.

The signature covers every byte of the file. The program reads the artifact from the descriptor that is installed
afterwards, and everything else from copies of what was checked here, so nothing can be exchanged in between. Formats:
PROTOCOL.sshsig and ALLOWED SIGNERS in ssh-keygen(1), OpenSSH 8.2 or newer; raw signatures of ``openssl dgst -sha256``,
which every OpenSSL since 1.0.0 makes and checks.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from typing import Iterator, List, Optional, Sequence, Tuple

from .. import durable, process
from ..artifact.window import WHOLE
from ..artifact.zipreader import Artifact
from ..definitions import NamedTuple, expression
from ..errors import ArtifactError, TargetError
from . import trusted

NAMESPACE = "deployable-zipfile@cfpb.github.io"  # of SSH signatures: one made for another purpose does not count
ENDING = ".sig"
SSH_BEGIN, SSH_END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"

_LARGEST_RAW = 4096  # bytes of a signature without a frame
_LARGEST_KEYS = 1024 * 1024
_LARGEST_REVOKED = 16 * 1024 * 1024
_MOST_KEYS = 32  # PEM public keys, or principals of one SSH key: each is tried on the whole file
_PATIENCE = 600.0  # seconds for a program to read 4 GiB
_SSH_IN_FOLDER = "allowed_signers"
_PEM_KEY = expression(rb"-----BEGIN PUBLIC KEY-----\s[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----")
_GOOD = expression(r'^Good ".*" signature for .* with (\S+ key \S+)', re.MULTILINE)


class Demand(NamedTuple):
    """What an artifact must be signed with."""

    signature: str  # path
    allowed_signers: str  # path of a file or folder
    revoked_keys: str = ""  # path, "": none


class Signer(NamedTuple):
    """Who signed."""

    principal: str
    key: str  # its kind and fingerprint, or the file that holds it


def demand(artifact: str, signature: str, allowed_signers: str, revoked_keys: str = "") -> Demand:
    """Return a demand with absolute paths; *signature* is beside the *artifact* unless it is named."""
    where = signature or f"{artifact}{ENDING}"
    paths = [os.path.abspath(path) if path else "" for path in (where, allowed_signers, revoked_keys)]
    return Demand(*paths)


@contextlib.contextmanager
def checked(artifact: Artifact, wanted: Optional[Demand]) -> Iterator[Tuple[Artifact, Optional[Signer]]]:
    """Prove who signed *artifact*; yield what may be installed, and the signer.

    What may be installed is the same artifact, or a private copy of it when somebody else could write to the file
    between this check and the installation.

    Parameters:
        wanted: None: nothing is checked.

    Raises:
        ArtifactError: it is not signed as *wanted* says.
        TargetError: this machine has no program that can check it.
    """
    if wanted is None:
        yield artifact, None
        return
    status = os.fstat(artifact.descriptor)
    if status.st_uid in (0, os.geteuid()) and not status.st_mode & trusted.OTHERS:
        yield artifact, _signer(artifact, wanted)
        return
    with _private_copy(artifact) as copy:
        yield copy, _signer(copy, wanted)


def _private_copy(artifact: Artifact) -> Artifact:
    """Return a copy of *artifact* in a file without a name."""
    try:
        with tempfile.TemporaryFile() as file:
            for offset in range(0, artifact.size, WHOLE):
                file.write(artifact.container.pread(offset, min(WHOLE, artifact.size - offset)))
            file.flush()
            descriptor = os.dup(file.fileno())
    except OSError as error:
        why = f"others can change it, and it cannot be copied to a place of its own ({error.strerror})"
        raise ArtifactError(artifact.path, why, f"Run: chmod go-w {artifact.path}, as its owner") from None
    try:
        return Artifact(artifact.path, descriptor, artifact.size)
    except BaseException:
        os.close(descriptor)
        raise


def _signer(artifact: Artifact, wanted: Demand) -> Signer:
    content = trusted.read_signature(wanted.signature)
    with contextlib.ExitStack() as files:
        signature = files.enter_context(_sealed(content))
        if content.startswith(SSH_BEGIN):
            if content.count(SSH_END) != 1 or not content.rstrip(b"\r\n").endswith(SSH_END):
                trusted.refuse(wanted.signature, "is not one complete SSH signature", _sign_again(wanted))
            return _ssh_signer(artifact, wanted, signature, files)
        if content.startswith(b"-----") or len(content) > _LARGEST_RAW:
            trusted.refuse(
                wanted.signature, "is neither an SSH signature nor one of openssl dgst", "Sign the artifact again"
            )
        return _openssl_signer(artifact, wanted, signature, content)


def _ssh_signer(artifact: Artifact, wanted: Demand, signature: int, files: contextlib.ExitStack) -> Signer:
    """Ask ssh-keygen whose key it is, then whether the signature is right."""
    otherwise = ", or give a signature by openssl (--signature FILE) and its PEM key (--allowed-signers)"
    program = _program("ssh-keygen", "openssh-clients (Debian: openssh-client)", otherwise)
    path = wanted.allowed_signers
    if os.path.isdir(path):
        trusted.check_folder(path)
        path = os.path.join(path, _SSH_IN_FOLDER)
    allowed = files.enter_context(_sealed(trusted.read(path, _LARGEST_KEYS)))
    common = ["-f", _name(allowed), "-s", _name(signature)]
    shared = [allowed, signature]
    found = _run(program, ["-Y", "find-principals", *common], None, shared)
    _check_supported(found.output)
    # Errors of other lines have blanks; a principal has none, and a "!" before it means all others.
    principals = [line for line in found.output.splitlines() if line and not re.search(r"\s|^!|^/proc/", line)]
    if found.status or not principals:
        trusted.refuse(wanted.signature, _ssh_reason(found.output, path), _sign_again(wanted))
    revoked: List[str] = []
    if wanted.revoked_keys:
        krl = files.enter_context(_sealed(trusted.read(wanted.revoked_keys, _LARGEST_REVOKED)))
        revoked, shared = ["-r", _name(krl)], [*shared, krl]
    said = ""
    for principal in principals[:_MOST_KEYS]:
        words = ["-Y", "verify", "-n", NAMESPACE, "-I", principal, *common, *revoked]
        ended = _run(program, words, artifact, shared)
        good = _GOOD.search(ended.output)
        if ended.status == 0 and good:
            return Signer(principal, good.group(1))
        said += ended.output
    why = _ssh_reason(said, path)
    if revoked and why == _OTHER:
        why = f"was made with a key that {wanted.revoked_keys} revokes, or that file is not a list of keys"
    trusted.refuse(wanted.signature, why, _sign_again(wanted))


_OTHER = "is not good"


def _ssh_reason(said: str, allowed: str) -> str:
    """Return why, from what ssh-keygen *said*; its words of OpenSSH 8.2 to 10."""
    reasons = (
        ("incorrect signature", "is not a signature of this file: the file was changed, or another one was signed"),
        ("namespace does not match", f"was made for another namespace than {NAMESPACE}"),
        ("not permitted for use in signature namespace", f"was made with a key that {allowed} allows elsewhere only"),
        ("has expired", f"was made with a key that has expired in {allowed}"),
        ("not yet valid", f"was made with a key that is not valid yet in {allowed}"),
        ("parse signature", "is not a complete SSH signature"),
        ("sshsig_armor", "is not a complete SSH signature"),
        ("invalid format", "is not a complete SSH signature"),
        ("o principal matched", f"was made with a key that {allowed} does not allow"),
    )
    return next((why for words, why in reasons if words in said), _OTHER)


def _check_supported(said: str) -> None:
    """Refuse OpenSSH before 8.2, which knows no ``-Y`` or no ``find-principals``: CentOS 7 and EL 8."""
    if "No user exists for uid" in said:
        why = f"does not run for the user with uid {os.geteuid()}, who has no entry in /etc/passwd"
        raise TargetError("ssh-keygen", why, "Add the entry, or run it as another user")
    if re.search(
        r"(unknown|illegal|invalid|unrecognized) option (-- |'-Y')|[Uu]nsupported operation for -Y", said, re.MULTILINE
    ):
        why = "cannot check an SSH signature: that needs OpenSSH 8.2"
        raise TargetError("ssh-keygen", why, "Sign the artifact with openssl for this host (deployable-zipfile sign)")


def _openssl_signer(artifact: Artifact, wanted: Demand, signature: int, raw: bytes) -> Signer:
    """Try each PEM public key; one must fit. openssl itself ignores what follows a signature of the key's size."""
    program = _program("openssl", "openssl")
    keys = _pem_keys(wanted.allowed_signers)
    if not keys:
        why = "holds no PEM public key, and the signature is not an SSH signature"
        trusted.refuse(wanted.allowed_signers, why, "Add the key (openssl pkey -pubout), or sign with ssh-keygen")
    unread = ""
    for name, content in keys:
        if not _has_size_for(raw, content):
            continue
        with _sealed(content) as key:
            words = ["dgst", "-sha256", "-verify", _name(key), "-signature", _name(signature)]
            ended = _run(program, words, artifact, [key, signature])
        if ended.status == 0 and "Verified OK" in ended.output.splitlines():
            return Signer(name, f"PEM public key {name}")
        if re.search(r"unable to load|could not (read|find)", ended.output, re.IGNORECASE):
            unread = f"; openssl cannot read the key {name}"
    why = f"is not a signature of this file by a key in {wanted.allowed_signers}{unread}"
    trusted.refuse(wanted.signature, why, _sign_again(wanted))


def _has_size_for(raw: bytes, pem: bytes) -> bool:
    """Tell whether *raw* is as long as a signature by the key: RSA's modulus (RFC 8017, 8.2.1), or one DER sequence.

    A key is SEQUENCE { SEQUENCE { OID, ... }, BIT STRING } (RFC 5280, 4.1); the bits of RSA are SEQUENCE { INTEGER
    modulus, ... } (RFC 3279, 2.3.1).
    """
    try:
        der = base64.b64decode(b"".join(pem.split(b"-----")[2].split()), validate=True)
        start = _der(der, 0)[0]
        algorithm, bits = _der(der, start)
        if b"\x2a\x86\x48\x86\xf7\x0d\x01\x01" not in der[algorithm:bits]:  # 1.2.840.113549.1.1: PKCS #1
            return raw[:1] == b"\x30" and _der(raw, 0)[1] == len(raw)
        modulus, end = _der(der, _der(der, _der(der, bits)[0] + 1)[0])
        return len(raw) == len(der[modulus:end].lstrip(b"\0"))
    except (ValueError, IndexError):
        return False


def _der(data: bytes, at: int) -> Tuple[int, int]:
    """Return where the content of the DER value at *at* begins and ends (X.690, 8.1.3)."""
    length, at = data[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[at : at + count], "big"), at + count
    if at + length > len(data):
        raise ValueError("cut")
    return at, at + length


def _pem_keys(path: str) -> List[Tuple[str, bytes]]:
    """Return the public keys in a file, or in the files ``*.pem`` of a folder, each with the name of its signer.

    The name is the comment (``# NAME``) in the line above the key, else the file's name.
    """
    files = [path]
    if os.path.isdir(path):
        trusted.check_folder(path)
        files = [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(".pem")]
    found = []
    for file in files[: _MOST_KEYS + 1]:
        content = trusted.read(file, _LARGEST_KEYS)
        last = 0
        for match in _PEM_KEY.finditer(content):
            lines = content[last : match.start()].decode("utf-8", "replace").strip().splitlines()
            own = os.path.basename(file)
            comment = lines[-1].lstrip("# ").strip() if lines and lines[-1].startswith("#") else ""
            found.append((comment or (own[:-4] if own.endswith(".pem") else own), match.group() + b"\n"))
            last = match.end()
    if len(found) > _MOST_KEYS:
        trusted.refuse(path, f"holds more than {_MOST_KEYS} public keys", "Remove those that sign nothing any more")
    return found


@contextlib.contextmanager
def _sealed(content: bytes) -> Iterator[int]:
    """Yield a descriptor of a file without a name that holds *content*."""
    with durable.nameless_file() as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield file.fileno()


def _name(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _program(name: str, package: str, otherwise: str = "") -> str:
    found = shutil.which(name, path=process.search_path())
    if found is None:
        why = "is missing, and the signature cannot be checked without it"
        raise TargetError(name, why, f"Install {package}{otherwise}")
    return found


def _run(program: str, words: Sequence[str], artifact: Optional[Artifact], shared: Sequence[int]) -> process.Ended:
    """Run a program on the whole *artifact*, in an environment that nobody else has a part in.

    Raises:
        TargetError: it cannot be started, or takes too long.
    """
    environment = {"PATH": process.search_path(), "HOME": "/", "LC_ALL": "C"}
    if artifact is not None:
        os.lseek(artifact.descriptor, 0, os.SEEK_SET)
    try:
        ended = process.run(
            [program, *words],
            _PATIENCE,
            env=environment,
            stdin=None if artifact is None else artifact.descriptor,
            shared=shared,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = f"cannot be started ({getattr(error, 'strerror', None) or type(error).__name__})"
        raise TargetError(program, why, "Install it again") from None
    if ended.timed_out or ended.status < 0:
        raise TargetError(program, ended.why(), "Run it again")
    return ended


def _sign_again(wanted: Demand) -> str:
    return f"Get the artifact and its signature again, or see who may sign in {wanted.allowed_signers}"
