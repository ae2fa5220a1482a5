"""Detached signatures: made by ssh-keygen and openssl, checked by them; everything else is refused in one line."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from deployable_zipfile import process
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import ArtifactError, DeployableZipfileError, TargetError
from deployable_zipfile.install import signature
from tests.support import signatures
from tests.support.artifacts import make_artifact
from tests.support.depth import sampled

WHO = "release@example.org"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    made = {name: signatures.ssh_key(folder / name) for name in ("ssh", "other")}
    made["ecdsa"] = signatures.ssh_key(folder / "ecdsa", "ecdsa")
    made["pem"] = signatures.pem_key(folder / "pem")
    made["ec"] = signatures.pem_key(folder / "ec", "EC")
    return made


class Place:
    """An artifact with its signature, and who may sign."""

    def __init__(self, folder: Path, keys: Dict[str, Path]) -> None:
        self.folder, self.keys = folder, keys
        self.artifact = make_artifact(folder / "site.zip", bytecode=False)
        self.artifact.chmod(0o755)
        self.signature = signatures.ssh_sign(keys["ssh"], self.artifact)
        self.allowed = signatures.allow(folder / "allowed", keys["ssh"])

    def check(self, revoked: str = "", allowed: str = "") -> signature.Signer:
        with Artifact.open(str(self.artifact)) as artifact:
            wanted = signature.demand(artifact.path, str(self.signature), allowed or str(self.allowed), revoked)
            with signature.checked(artifact, wanted) as (_, signer):
                assert signer is not None
                return signer

    def refused(self, **options: Any) -> str:
        with pytest.raises(DeployableZipfileError) as caught:
            self.check(**options)
        line = str(caught.value)
        assert "\n" not in line
        assert caught.type is ArtifactError, line
        assert caught.value.exit_code == 3
        return line


@pytest.fixture
def place(tmp_path: Path, keys: Dict[str, Path]) -> Place:
    return Place(tmp_path, keys)


def openssl(place: Place, key: str = "pem") -> None:
    signatures.openssl_sign(place.keys[key], place.artifact)
    shutil.copy(f"{place.keys[key]}.pem", place.allowed)
    place.allowed.chmod(0o644)


class TestGood:
    @pytest.mark.parametrize("kind", ["ssh", "ecdsa"])
    def test_an_ssh_signature_names_its_principal_and_key(self, place: Place, kind: str) -> None:
        signatures.ssh_sign(place.keys[kind], place.artifact)
        signatures.allow(place.allowed, place.keys[kind])
        signer = place.check()
        assert signer.principal == WHO
        assert " key SHA256:" in signer.key

    @pytest.mark.parametrize("kind", ["pem", "ec"])
    def test_an_openssl_signature_names_the_keys_file(self, place: Place, kind: str) -> None:
        openssl(place, kind)
        assert place.check().principal == "allowed"

    def test_an_old_and_a_new_key_both_count_while_both_are_allowed(self, place: Place) -> None:
        lines = [f"old@example.org {Path(str(place.keys['other']) + '.pub').read_text()}"]
        lines += [f'new@example.org valid-after="20200101" {Path(str(place.keys["ssh"]) + ".pub").read_text()}']
        place.allowed.write_text("# comment\n\n" + "".join(lines))
        assert place.check().principal == "new@example.org"
        signatures.ssh_sign(place.keys["other"], place.artifact)
        assert place.check().principal == "old@example.org"

    def test_the_first_of_several_principals_counts(self, place: Place) -> None:
        signatures.allow(place.allowed, place.keys["ssh"], "!eve@example.org,release@example.org,ops@example.org")
        assert place.check().principal == WHO

    @pytest.mark.parametrize("principal", ["*", "*@example.org", "release@*"])
    def test_a_pattern_of_principals_is_named_as_it_is_written(self, place: Place, principal: str) -> None:
        signatures.allow(place.allowed, place.keys["ssh"], principal)
        assert place.check().principal == principal

    def test_a_line_that_nobody_understands_does_not_hide_the_others(self, place: Place) -> None:
        place.allowed.write_text("no key here\n" + place.allowed.read_text())
        assert place.check().principal == WHO

    def test_one_of_the_pem_keys_in_a_file_is_enough_and_a_comment_names_it(self, place: Place) -> None:
        openssl(place)
        texts = [Path(f"{place.keys[name]}.pem").read_text() for name in ("ec", "pem")]
        place.allowed.write_text(f"# first@example.org\n{texts[0]}# {WHO}\n{texts[1]}")
        assert place.check().principal == WHO

    @pytest.mark.parametrize("kind", ["ssh", "pem"])
    def test_a_folder_serves_hosts_with_either_program(self, place: Place, kind: str) -> None:
        folder = place.folder / "signers"
        folder.mkdir(mode=0o755)
        shutil.copy(place.allowed, folder / "allowed_signers")
        for name in ("pem", "ec"):
            shutil.copy(f"{place.keys[name]}.pem", folder / f"{name}@example.org.pem")
        if kind == "pem":
            signatures.openssl_sign(place.keys["pem"], place.artifact)
        assert place.check(allowed=str(folder)).principal == (WHO if kind == "ssh" else "pem@example.org")

    def test_a_link_to_a_good_allowed_signers_file_is_good(self, place: Place) -> None:
        place.allowed.rename(place.folder / "real")
        place.allowed.symlink_to("real")
        assert place.check().principal == WHO

    def test_what_others_can_write_to_is_installed_from_a_private_copy(self, place: Place) -> None:
        place.artifact.chmod(0o777)
        with Artifact.open(str(place.artifact)) as artifact:
            wanted = signature.demand(artifact.path, "", str(place.allowed))
            with signature.checked(artifact, wanted) as (safe, signer):
                assert signer is not None
                before = safe.sha256
                place.artifact.write_bytes(b"\0" * artifact.size)  # in place, after the check
                safe.verify(1)
                assert safe.sha256 == before

    def test_a_file_of_ones_own_is_not_copied(self, place: Place) -> None:
        wanted = signature.demand(str(place.artifact), "", str(place.allowed))
        with Artifact.open(str(place.artifact)) as artifact, signature.checked(artifact, wanted) as (safe, _):
            assert safe is artifact

    def test_without_a_demand_nothing_is_looked_for(self, place: Place) -> None:
        place.signature.unlink()
        with Artifact.open(str(place.artifact)) as artifact, signature.checked(artifact, None) as (same, signer):
            assert (same, signer) == (artifact, None)


class TestAnotherFile:
    @pytest.mark.parametrize("form", sampled(["ssh", "openssl"], 1))
    def test_a_changed_byte_anywhere_is_refused(self, place: Place, form: str) -> None:
        """Every byte counts, those that no reader looks at too: the check is of the descriptor, not of its content."""
        if form == "openssl":
            openssl(place)
        content = place.artifact.read_bytes()
        chance = random.Random(14)
        with Artifact.open(str(place.artifact)) as artifact:
            wanted = signature.demand(artifact.path, str(place.signature), str(place.allowed))
            for offset in [0, 3, 21, len(content) - 1, *(chance.randrange(len(content)) for _ in range(8))]:
                changed = bytearray(content)
                changed[offset] ^= 1
                place.artifact.write_bytes(changed)
                with pytest.raises(ArtifactError, match="signature of this file"), signature.checked(artifact, wanted):
                    pass
            place.artifact.write_bytes(content)
            with signature.checked(artifact, wanted) as (_, signer):
                assert signer is not None

    @pytest.mark.parametrize("form", ["ssh", "openssl"])
    def test_the_signature_of_another_artifact_is_refused(self, place: Place, form: str) -> None:
        other = make_artifact(place.folder / "other.zip", {"__init__.py": "x = 2"}, bytecode=False)
        if form == "openssl":
            openssl(place)
            signatures.openssl_sign(place.keys["pem"], other, place.signature)
        else:
            signatures.ssh_sign(place.keys["ssh"], other).rename(place.signature)
        assert "not a signature of this file" in place.refused()

    def test_bytes_added_at_the_end_are_refused(self, place: Place) -> None:
        with Artifact.open(str(place.artifact)) as artifact:
            with place.artifact.open("ab") as file:
                file.write(b"more")
            wanted = signature.demand(artifact.path, "", str(place.allowed))
            with pytest.raises(ArtifactError), signature.checked(artifact, wanted):
                pass


class TestKeys:
    def test_a_wrong_key_is_refused(self, place: Place) -> None:
        signatures.ssh_sign(place.keys["other"], place.artifact)
        assert "does not allow" in place.refused()

    def test_a_wrong_pem_key_is_refused(self, place: Place) -> None:
        openssl(place)
        shutil.copy(f"{place.keys['ec']}.pem", place.allowed)
        assert "not a signature of this file by a key in" in place.refused()

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ('valid-before="20200101"', "has expired"),
            ('valid-before="202001011200Z"', "has expired|does not allow"),
            ('valid-after="20990101"', "not valid yet"),
            ('valid-after="20990101",valid-before="21000101"', "not valid yet"),
            ('namespaces="git"', "elsewhere"),
            ("cert-authority", "does not allow"),
        ],
    )
    def test_a_key_that_is_not_valid_now_or_here_is_refused(self, place: Place, options: str, why: str) -> None:
        signatures.allow(place.allowed, place.keys["ssh"], options=options)
        line = place.refused()
        assert any(one in line for one in why.split("|")), line

    @pytest.mark.parametrize("namespace", ["file", "git", signature.NAMESPACE.upper(), signature.NAMESPACE + "x"])
    def test_another_namespace_is_refused(self, place: Place, namespace: str) -> None:
        signatures.ssh_sign(place.keys["ssh"], place.artifact, namespace)
        assert "another namespace" in place.refused()

    @pytest.mark.parametrize("form", ["krl", "text"])
    def test_a_revoked_key_is_refused(self, place: Place, form: str) -> None:
        revoked = place.folder / "revoked"
        public = f"{place.keys['ssh']}.pub"
        if form == "krl":
            signatures.run("ssh-keygen", "-k", "-f", revoked, public)
        else:
            shutil.copy(public, revoked)
        revoked.chmod(0o644)
        assert "revokes" in place.refused(revoked=str(revoked))
        shutil.copy(f"{place.keys['other']}.pub", revoked)
        assert place.check(revoked=str(revoked)).principal == WHO

    @pytest.mark.parametrize(
        "content", [None, b"", b"SSHKRL\n\0 cut", b"\xfe\x0c" * 2000], ids=["missing", "empty", "cut", "junk"]
    )
    def test_a_list_of_revoked_keys_that_cannot_be_read_is_refused(self, place: Place, content: Any) -> None:
        if content is not None:
            (place.folder / "revoked").write_bytes(content)
        assert "revoked" in place.refused(revoked=str(place.folder / "revoked"))


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(str(path))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    path.unlink()
    short = path.parent
    here = os.getcwd()
    os.chdir(str(short))
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def gigabyte(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(2**30)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def junk(path: Path) -> None:
    path.write_bytes(os.urandom(300))


def long_junk(path: Path) -> None:
    path.write_bytes(os.urandom(60_000))


def frame_of_junk(path: Path) -> None:
    path.write_bytes(signature.SSH_BEGIN + b"\n" + os.urandom(200) + b"\n" + signature.SSH_END + b"\n")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:120])


def other_frame(path: Path) -> None:
    path.write_bytes(b"-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----\n")


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def with_zeros(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 256)


def gone(path: Path) -> None:
    path.unlink()


BAD_FILES = [
    link, dangling, loop, fifo, folder, device, unix_socket, gigabyte, empty, junk, long_junk, frame_of_junk, cut,
    other_frame, gone,
]  # fmt: skip


@pytest.mark.parametrize("spoil", [longer, with_zeros])
def test_what_follows_an_ssh_signature_is_refused(place: Place, spoil: Callable[[Path], None]) -> None:
    with place.signature.open("ab") as file:
        file.write(b"\r\n")
    assert place.check().principal == WHO
    spoil(place.signature)
    assert "not one complete SSH signature" in place.refused()


@pytest.mark.parametrize("spoil", [longer, with_zeros])
@pytest.mark.parametrize("kind", sampled(["pem", "ec", "rsa4096", "p521"], ["pem"]))
def test_what_follows_a_raw_signature_is_refused_although_openssl_ignores_it(
    place: Place, spoil: Callable[[Path], None], kind: str, tmp_path: Path
) -> None:
    if kind == "rsa4096":
        signatures.run("openssl", "genrsa", "-out", tmp_path / kind, "4096")
    elif kind == "p521":
        signatures.run("openssl", "ecparam", "-name", "secp521r1", "-genkey", "-noout", "-out", tmp_path / kind)
    if kind in ("rsa4096", "p521"):
        signatures.run("openssl", "pkey", "-in", tmp_path / kind, "-pubout", "-out", f"{tmp_path / kind}.pem")
        place.keys = {**place.keys, kind: tmp_path / kind}
    openssl(place, kind)
    assert place.check().principal == "allowed"
    spoil(place.signature)
    assert "not a signature of this file" in place.refused()


@pytest.mark.parametrize("spoil", BAD_FILES)
@pytest.mark.parametrize("form", sampled(["ssh", "openssl"], 1))
def test_a_bad_signature_file_is_refused(place: Place, spoil: Callable[[Path], None], form: str) -> None:
    if form == "openssl":
        openssl(place)
    spoil(place.signature)
    line = place.refused()
    assert str(place.signature) in line or str(place.allowed) in line


@pytest.mark.parametrize("spoil", [one for one in BAD_FILES if one not in (link, cut)])
@pytest.mark.parametrize("form", sampled(["ssh", "openssl"], 1))
def test_so_is_a_bad_allowed_signers_file(place: Place, spoil: Callable[[Path], None], form: str) -> None:
    if form == "openssl":
        openssl(place)
    spoil(place.allowed)
    line = place.refused()
    assert "allowed" in line or "/dev/zero" in line


class TestWhoMayChangeTheAllowedSigners:
    @pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o777])
    @pytest.mark.parametrize("linked", [False, True])
    def test_a_file_that_others_can_write_to_is_refused(self, place: Place, mode: int, linked: bool) -> None:
        place.allowed.chmod(mode)
        if linked:
            link(place.allowed)
        assert "others may write to it" in place.refused()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    @pytest.mark.parametrize("what", ["file", "link", "folder"])
    def test_as_root_neither_file_nor_link_nor_folder_may_be_anybody_elses(self, place: Place, what: str) -> None:
        home = place.folder / "home"
        home.mkdir()
        inner = home / "allowed"
        shutil.copy(place.allowed, home / "real")
        (home / "real").rename(inner) if what != "link" else inner.symlink_to("real")
        os.chown(str(home if what == "folder" else inner), 65534, 65534, follow_symlinks=False)
        assert "belongs to" in place.refused(allowed=str(inner))

    @pytest.mark.skipif(os.geteuid() != 0, reason="the rule is root's")
    def test_as_root_a_folder_above_that_others_can_write_to_is_refused(self, place: Place) -> None:
        place.folder.chmod(0o777)
        assert "others may write to it" in place.refused()

    def test_a_folder_of_keys_that_others_can_write_to_is_refused(self, place: Place) -> None:
        openssl(place)
        keys = place.folder / "signers"
        keys.mkdir()
        shutil.copy(f"{place.keys['pem']}.pem", keys / "a.pem")
        keys.chmod(0o777)
        assert "others may write to it" in place.refused(allowed=str(keys))


class TestPrograms:
    def program(self, folder: Path, name: str, text: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    @pytest.fixture
    def programs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "programs"
        folder.mkdir()
        monkeypatch.setattr(process, "search_path", lambda path=None: str(folder))
        return folder

    def test_without_ssh_keygen_a_signature_of_openssl_is_checked_and_the_line_says_so(
        self, place: Place, programs: Path
    ) -> None:
        found = shutil.which("openssl", path="/usr/local/bin:/usr/bin:/bin")
        assert found is not None
        (programs / "openssl").symlink_to(found)
        with pytest.raises(TargetError, match=r"ssh-keygen: is missing.* or give a signature by openssl") as caught:
            place.check()
        assert caught.value.exit_code == 4
        openssl(place)
        assert place.check().principal == "allowed"

    @pytest.mark.parametrize(("form", "package"), [("ssh", "openssh-clients"), ("openssl", "openssl")])
    def test_a_missing_program_is_named_with_its_package(
        self, place: Place, programs: Path, form: str, package: str
    ) -> None:
        if form == "openssl":
            place.signature.write_bytes(b"\x30" * 256)
        with pytest.raises(TargetError, match=f"is missing.*Install {package}"):
            place.check()

    @pytest.mark.parametrize(
        "said",
        [
            "unknown option -- Y\nusage: ssh-keygen [-q] [-b bits]",  # OpenSSH 7.4
            "ssh-keygen: illegal option -- Y",
            'Unsupported operation for -Y: "find-principals"',  # 8.1
        ],
    )
    def test_an_old_ssh_keygen_is_named_with_the_way_out(self, place: Place, programs: Path, said: str) -> None:
        self.program(programs, "ssh-keygen", f"echo '{said}' >&2; exit 1")
        with pytest.raises(TargetError, match=r"needs OpenSSH 8\.2\. Sign the artifact with openssl"):
            place.check()

    def test_with_the_options_of_centos_7_an_openssl_signature_is_checked_and_an_ssh_one_explained(
        self, place: Place, programs: Path
    ) -> None:
        """The strict wrapper of the look-alike has OpenSSH 7.4's and OpenSSL 1.0.2's options only."""
        folder = Path(__file__).resolve().parents[2] / "lookalike"
        wrapper = (folder / "bin/strict").read_text()
        wrapper = wrapper.replace("${LOOKALIKE_ROOT:-}/var/lib/lookalike/commands.ini", str(folder / "commands.ini"))
        (programs / "strict").write_text(wrapper)
        (programs / "strict").chmod(0o755)
        for name in ("ssh-keygen", "openssl"):
            (programs / name).symlink_to("strict")
        with pytest.raises(TargetError, match=r"needs OpenSSH 8\.2\. Sign the artifact with openssl"):
            place.check()
        openssl(place)
        assert place.check().principal == "allowed"
        signatures.openssl_sign(place.keys["ec"], place.artifact)
        assert "not a signature of this file" in place.refused()

    def test_a_user_without_an_entry_is_told_so(self, place: Place, programs: Path) -> None:
        self.program(programs, "ssh-keygen", "echo 'No user exists for uid 12345' >&2; exit 255")
        with pytest.raises(TargetError, match="has no entry in /etc/passwd"):
            place.check()

    def test_a_program_that_hangs_is_stopped(
        self, place: Place, programs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(signature, "_PATIENCE", 0.2)
        self.program(programs, "ssh-keygen", "exec /bin/sleep 60")
        with pytest.raises(TargetError, match="did not end within"):
            place.check()

    def test_a_program_that_cannot_start_is_no_good_signature(self, place: Place, programs: Path) -> None:
        (programs / "ssh-keygen").write_bytes(b"\0")
        (programs / "ssh-keygen").chmod(0o755)
        with pytest.raises(TargetError, match="cannot be started"):
            place.check()

    @pytest.mark.parametrize("text", ["exit 0", "echo Verified OK", "echo 'Good \"x\" signature'", "kill -9 $$"])
    def test_only_the_programs_own_words_and_status_count(self, place: Place, programs: Path, text: str) -> None:
        self.program(programs, "ssh-keygen", text)
        with pytest.raises(DeployableZipfileError):
            place.check()

    def test_nothing_of_the_callers_environment_reaches_it(
        self, place: Place, programs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("SSH_ASKPASS", "OPENSSL_CONF", "LD_PRELOAD", "SSH_AUTH_SOCK", "LD_LIBRARY_PATH"):
            monkeypatch.setenv(name, "/nowhere")
        self.program(programs, "ssh-keygen", f"/usr/bin/env > {programs}/seen; exit 1")
        with pytest.raises(ArtifactError):
            place.check()
        seen = {line.split("=")[0] for line in (programs / "seen").read_text().splitlines()}
        assert seen <= {"PATH", "HOME", "LC_ALL", "PWD", "_", "SHLVL", "OLDPWD"}


def test_a_signature_that_claims_enormous_lengths_is_refused(place: Place) -> None:
    import base64

    blob = b"SSHSIG" + struct.pack(">II", 1, 0xFFFFFFF0) + b"A" * 64
    text = base64.b64encode(blob)
    place.signature.write_bytes(signature.SSH_BEGIN + b"\n" + text + b"\n" + signature.SSH_END + b"\n")
    assert "signature" in place.refused()


def test_without_memfd_the_copies_are_files_without_a_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert place.check().principal == WHO
    openssl(place)
    assert place.check().principal == "allowed"


def test_the_documented_commands_are_those_that_are_accepted(place: Place) -> None:
    """Both ways of docs/security.md, with its own words."""
    text = (Path(__file__).resolve().parents[3] / "docs/security.md").read_text()
    found = [line.strip() for line in text.splitlines() if re.match(r" +(ssh-keygen -Y sign|openssl dgst) ", line)]
    assert [line.split()[0] for line in found] == ["ssh-keygen", "openssl"]
    for line, key in zip(found, ("ssh", "pem")):
        if key == "pem":
            openssl(place)
        place.signature.unlink()
        named = {"KEY": str(place.keys[key]), "ARTIFACT": str(place.artifact), "ARTIFACT.sig": str(place.signature)}
        words: List[str] = [named.get(word, word) for word in line.split()]
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        assert place.check().principal == (WHO if key == "ssh" else "allowed")
