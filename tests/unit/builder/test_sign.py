"""``deployable-zipfile sign``: what it writes is what a deployment accepts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Dict

import pytest

from deployable_zipfile import __main__ as command
from deployable_zipfile.install import signature
from tests.support import signatures
from tests.support.artifacts import make_artifact
from tests.support.depth import sampled


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    made = {"ssh": signatures.ssh_key(folder / "ssh")}
    made.update(pem=signatures.pem_key(folder / "pem"), ec=signatures.pem_key(folder / "ec", "EC"))
    return made


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "site.zip", bytecode=False)


@pytest.mark.parametrize("kind", sampled(["ssh", "rsa", "pem", "ec"], ["ssh", "pem"]))
def test_the_signature_is_good(artifact: Path, keys: Dict[str, Path], kind: str, tmp_path: Path) -> None:
    if kind == "rsa":
        keys = dict(keys, rsa=signatures.ssh_key(tmp_path / "rsa", "rsa"))
    assert command.main(["sign", str(artifact), "--key", str(keys[kind])]) == 0
    if kind in ("ssh", "rsa"):
        allowed = signatures.allow(tmp_path / "allowed", keys[kind])
    else:
        allowed = Path(shutil.copy(f"{keys[kind]}.pem", tmp_path / "allowed"))
    assert command.main(["verify", "--allowed-signers", str(allowed), str(artifact)]) == 0
    assert Path(f"{artifact}.sig").stat().st_mode & 0o777 == 0o644


def test_a_second_signature_replaces_the_first(artifact: Path, keys: Dict[str, Path]) -> None:
    assert command.main(["sign", str(artifact), "--key", str(keys["ssh"])]) == 0
    assert command.main(["sign", str(artifact), "--key", str(keys["pem"])]) == 0
    assert Path(f"{artifact}.sig").stat().st_size == 256


@pytest.mark.deep
def test_the_form_can_be_chosen_where_a_key_fits_both(artifact: Path, tmp_path: Path) -> None:
    key = tmp_path / "both"
    signatures.run("ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", key)
    assert command.main(["sign", str(artifact), "--key", str(key)]) == 0
    assert Path(f"{artifact}.sig").stat().st_size == 384
    assert command.main(["sign", str(artifact), "--key", str(key), "--format", "ssh"]) == 0
    assert Path(f"{artifact}.sig").read_bytes().startswith(signature.SSH_BEGIN)


@pytest.mark.parametrize("content", [None, b"", b"junk", b"-----BEGIN OPENSSH PRIVATE KEY-----\njunk\n"])
def test_a_key_that_cannot_sign_is_refused(artifact: Path, tmp_path: Path, content: Any, capsys: Any) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
        (tmp_path / "key").chmod(0o600)
    assert command.main(["sign", str(artifact), "--key", str(tmp_path / "key")]) == 7
    assert capsys.readouterr().err.count("error: ") == 1
    assert not Path(f"{artifact}.sig").exists()


def test_a_key_with_a_passphrase_needs_an_agent(artifact: Path, tmp_path: Path, capsys: Any) -> None:
    signatures.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret-phrase", "-f", tmp_path / "key")
    assert command.main(["sign", str(artifact), "--key", str(tmp_path / "key")]) == 7
    assert "through ssh-agent" in capsys.readouterr().err


def test_only_an_artifact_is_signed(tmp_path: Path, keys: Dict[str, Path]) -> None:
    (tmp_path / "other.zip").write_bytes(b"PK")
    assert command.main(["sign", str(tmp_path / "other.zip"), "--key", str(keys["ssh"])]) == 3


@pytest.mark.parametrize("offset", [0, 5, -1])
def test_a_changed_byte_is_refused_on_the_command_line(
    artifact: Path, keys: Dict[str, Path], tmp_path: Path, offset: int
) -> None:
    """The allowed signers are never taken for the artifact, whatever its first line says."""
    assert command.main(["sign", str(artifact), "--key", str(keys["ssh"])]) == 0
    allowed = signatures.allow(tmp_path / "allowed", keys["ssh"])
    content = bytearray(artifact.read_bytes())
    content[offset] ^= 1
    artifact.write_bytes(content)
    assert command.main(["verify", "--allowed-signers", str(allowed), str(artifact)]) == 3
