"""Keys and detached signatures for tests, made by the programs that an operator uses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Optional

from deployable_zipfile.install.signature import NAMESPACE
from tests.support.machine import lacking

# Looked up before a test puts other programs into PATH.
MISSING = [name for name in ("ssh-keygen", "openssl") if shutil.which(name) is None]


def require_programs() -> None:
    """Skip where this machine has no ssh-keygen or no openssl; REQUIRE_SIGNING=1 makes that a failure."""
    if MISSING:
        lacking(f"no {' and no '.join(MISSING)} (Debian: apt-get install openssh-client openssl)", "REQUIRE_SIGNING")


def ssh_key(path: Path, kind: str = "ed25519") -> Path:
    """Make an SSH key without a passphrase, and ``PATH.pub`` beside it."""
    run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path)
    return path


def ssh_sign(key: Path, file: Path, namespace: str = NAMESPACE) -> Path:
    """Write ``FILE.sig`` as ssh-keygen does."""
    signature = Path(f"{file}.sig")
    signature.unlink(missing_ok=True)
    run("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key, file)
    return signature


def allow(path: Path, key: Path, principal: str = "release@example.org", options: str = "") -> Path:
    """Write an allowed signers file with one line."""
    path.write_text(f"{principal} {options} {Path(f'{key}.pub').read_text()}")
    path.chmod(0o644)
    return path


def pem_key(path: Path, kind: str = "rsa") -> Path:
    """Make a PEM key, and ``PATH.pem`` with the public one beside it."""
    options = ["rsa_keygen_bits:2048"] if kind == "rsa" else ["ec_paramgen_curve:P-256"]
    run("openssl", "genpkey", "-algorithm", kind, "-pkeyopt", options[0], "-out", path)
    run("openssl", "pkey", "-in", path, "-pubout", "-out", f"{path}.pem")
    Path(f"{path}.pem").chmod(0o644)
    return path


def openssl_sign(key: Path, file: Path, to: Optional[Path] = None) -> Path:
    """Write ``FILE.sig`` as openssl dgst does."""
    signature = to or Path(f"{file}.sig")
    run("openssl", "dgst", "-sha256", "-sign", key, "-out", signature, file)
    return signature


def run(*words: object) -> None:
    """Run a program that must succeed; without it, skip."""
    require_programs()
    subprocess.run([str(word) for word in words], check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
