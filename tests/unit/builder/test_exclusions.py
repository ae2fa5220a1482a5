"""What is never packed, by name and by content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployable_zipfile.builder import exclusions
from tests.support.artifacts import container
from tests.support.helpers import write_tree

PEM = "-----BEGIN {}PRIVATE KEY-----\nMIIEvQ\n"


@pytest.mark.parametrize(
    "name",
    [
        "environment.json",
        "conf/environment.json",
        "environment.json.bak",
        "environment.json~",
        "environment.json.orig",
        "environment.json.2024",
        "environment.json.bak.1",
        "#environment.json#",
        ".#environment.json",
        ".environment.json.swp",
        "environment-production.json",
        "old_environment.json",
        ".env",
        ".env.production",
        ".env-local",
        ".env~",
        ".envrc",
        "production.env",
        "deploykey",
        "deploy_key",
        "github.deploykey",
        "id_rsa",
        "id_ecdsa_sk",
        "id_ed25519_sk",
        "id_rsa.old",
        ".ssh/known_hosts",
        ".aws/credentials",
        ".git-credentials",
        "netrc",
        "deploy/pypirc",
        "credentials.toml",
        "cluster.kubeconfig",
        "terraform.tfstate",
        "Server.PEM",
        "IIS.PFX",
        "ID_RSA",
        ".ENV",
        ".pgpass",
        "server.pem",
        "server.key.bak",
        "vpn.ppk",
        "client_secret_1.json",
        "secrets.json",
        "secrets.yaml",
        ".secrets",
        "credentials.json",
        "credentials.json.bak",
        ".s3cfg",
        "office.ovpn",
        "__pycache__/a.py",
        "a/.git/config",
        "a.pyc",
        ".site.zip.4711.abc.partial",
        ".site.zip.4711.abc.partial.sha256",
    ],
)
def test_by_name(name: str) -> None:
    assert exclusions.is_never_packed(name)


@pytest.mark.parametrize(
    "name",
    [
        "environment.json.example",
        "environment.example.json",
        "environment.py",
        "environments/a.json",
        "my_environment.yml",
        ".env.example",
        ".env.sample",
        "id_rsa.pub",
        "deploykey.py",
        "keys.py",
        "key",
        "settings.json",
        "secrets.py",
        "secrets.example.json",
        "public.crt",
        "git/models.py",
        "site.zip",
        "site.partial",
        "venv.py",
    ],
)
def test_not_by_name(name: str) -> None:
    assert not exclusions.is_never_packed(name)


@pytest.mark.parametrize(
    "content",
    [
        PEM.format(""),
        PEM.format("RSA "),
        PEM.format("OPENSSH "),
        PEM.format("ENCRYPTED "),
        "\n# of the server\n" + PEM.format("EC "),
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
        "PuTTY-User-Key-File-3: ssh-ed25519\n",
        "# created: 2024\nAGE-SECRET-KEY-1ABC\n",
        "-----BEGIN CERTIFICATE-----\n" + "MIIB\n" * 2000 + "-----END CERTIFICATE-----\n" + PEM.format(""),
        "Bag Attributes\n    localKeyID: 01\nKey Attributes: <No Attributes>\n" + PEM.format("ENCRYPTED "),
        "Certificate:\n    Data:\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" + PEM.format("RSA "),
        '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\n"}',
    ],
)
def test_a_private_key_is_one_whatever_its_file_is_called(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes"
    path.write_text(content)
    assert exclusions.is_never_packed_content(str(path))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x = 1\n",
        'KEY = """-----BEGIN PRIVATE KEY-----"""\n',
        "-----BEGIN PUBLIC KEY-----\n",
        "-----BEGIN CERTIFICATE-----\n",
        '{"private_key_id": "1"}',
        "#!/usr/bin/env python\nprint()\n",
    ],
)
def test_what_mentions_a_key_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes"
    path.write_text(content)
    assert not exclusions.is_never_packed_content(str(path))


def test_an_earlier_artifact_and_its_checksum_are_recognised_by_their_content(tmp_path: Path) -> None:
    first = "#!/usr/bin/env python\n"
    ours = container({"__main__.py": b"", "loadenv.py": b"", ".deploy/manifest.json": b"{}"}, first_line=first)
    ancestor = container({"__main__.py": b"", "install_wheels.py": b"", "loadenv-init.pth": b""}, first_line=first)
    application = container({"__main__.py": b"", "tool/__init__.py": b""}, first_line=first)
    data = container({"a.csv": b"1"})
    for name, content in (("a.zip", ours), ("b", ancestor), ("c.zip", application), ("d.zip", data), ("e", ours[:200])):
        (tmp_path / name).write_bytes(content)
    found = {
        name
        for name in ["a.zip", "b", "c.zip", "d.zip", "e"]
        if exclusions.is_never_packed_content(f"{tmp_path}/{name}")
    }
    assert found == {"a.zip", "b", "e"}
    for name in ("a", "d", "lost"):
        (tmp_path / f"{name}.zip.sha256").write_text(f"{'0' * 64}  {name}.zip\n")
    assert exclusions.is_never_packed_content(f"{tmp_path}/a.zip.sha256")
    assert not exclusions.is_never_packed_content(f"{tmp_path}/d.zip.sha256")
    assert not exclusions.is_never_packed_content(f"{tmp_path}/lost.zip.sha256")


def test_hard_links_to_and_copies_of_secrets_are_recognised(tmp_path: Path) -> None:
    secret = '{"SECRET_KEY": "0123456789"}'
    write_tree(tmp_path, {"environment.json": secret, "copy.txt": secret, "other.txt": secret.replace("0", "1")})
    write_tree(tmp_path, {"sub/.env": "A=1\n", "sub/a.txt": "A=1\n", "sub/.env.example": "A=1\n"})
    os.link(str(tmp_path / "environment.json"), str(tmp_path / "linked"))
    os.link(str(tmp_path / "sub/.env"), str(tmp_path / "sub/linked"))
    copies = exclusions.Copies([str(tmp_path), str(tmp_path / "sub"), "/nowhere"])
    names = ["copy.txt", "other.txt", "linked", "sub/linked", "sub/a.txt", "sub/.env.example"]
    held = [name for name in names if copies.holds(str(tmp_path / name), os.stat(str(tmp_path / name)))]
    assert held == ["copy.txt", "linked", "sub/linked"]


def test_an_empty_environment_has_no_copies(tmp_path: Path) -> None:
    write_tree(tmp_path, {"environment.json": "{}", "fixture.json": "{}"})
    copies = exclusions.Copies([str(tmp_path)])
    assert not copies.holds(str(tmp_path / "fixture.json"), os.stat(str(tmp_path / "fixture.json")))
