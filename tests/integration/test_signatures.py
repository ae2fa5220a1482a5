"""Signatures on the systems that check them: Debian 12's openssl, and CentOS 7's as the look-alike has it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Dict, List

import pytest

from tests.support import containers, signatures
from tests.support.artifacts import make_artifact

# The platform's own Python, whatever it is called and whatever it needs to start.
VERIFY = """
set -e
cp -r /given /tmp/given; chown -R root:root /tmp/given; chmod -R go-w /tmp/given; cd /tmp/given
for file in /opt/rh/rh-python38/enable; do if [ -e "$file" ]; then source "$file"; fi; done
python=$(command -v python3.8 || command -v python3)
status() { "$python" -I "$1" verify --allowed-signers /tmp/given/signers 2>&1 && echo "status 0" || echo "status $?"; }
status good.zip
status changed.zip
status ssh.zip
printf x >> good.zip.sig
status good.zip
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts that openssl signed, one of them changed afterwards, and one that ssh-keygen signed."""
    folder = tmp_path_factory.mktemp("given")
    keys = tmp_path_factory.mktemp("keys")
    key, other = signatures.pem_key(keys / "pem"), signatures.ssh_key(keys / "ssh")
    good = make_artifact(folder / "good.zip", bytecode=False)
    signatures.openssl_sign(key, good)
    changed = bytearray(good.read_bytes())
    changed[len(changed) // 2] ^= 1
    (folder / "changed.zip").write_bytes(changed)
    shutil.copy(f"{good}.sig", folder / "changed.zip.sig")
    shutil.copy(good, folder / "ssh.zip")
    signatures.ssh_sign(other, folder / "ssh.zip")
    (folder / "signers").mkdir()
    shutil.copy(f"{key}.pem", folder / "signers/release@example.org.pem")
    signatures.allow(folder / "signers/allowed_signers", other)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    return folder


@pytest.mark.parametrize("system", ["images", "lookalike"])
def test_what_the_system_has_is_enough_for_one_of_the_two_forms(
    system: str, given: Path, request: pytest.FixtureRequest
) -> None:
    images: Dict[str, str] = request.getfixturevalue(system)
    words: List[str] = ["run", "--rm", "--user=0", "--entrypoint=bash", f"--volume={given}:/given:ro", images["tester"]]
    done = containers.docker_command([*words, "-c", VERIFY])
    containers.check(done, "verify in a container")
    said, statuses = done.output, [line for line in done.output.splitlines() if line.startswith("status ")]
    assert statuses == ["status 0", "status 3", "status 4", "status 3"], said
    assert "signed by release@example.org" in said
    assert "changed.zip" in said
    # Neither has an ssh-keygen that could check: the line says what to do.
    assert "openssl for this host" in said or "Install openssh" in said
