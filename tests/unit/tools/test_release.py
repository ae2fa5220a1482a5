"""The folder of a release: its exact files, its checks, and its way to GitHub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from tests.support import signatures
from tests.support.artifacts import make_artifact
from tools import assets, github, release, release_check
from tools.assets import ReleaseError, sha256

VERSION = "1.2.3"
CHANGELOG = "# Changelog\n\n## 1.2.3 (2026-01-02)\n\n- A thing.\n\n### Fixed\n\n- Another.\n\n## 1.2.2\n\n- Old.\n"


def make_folder(folder: Path) -> Path:
    """Make a complete release folder; the contents stand for the real ones."""
    folder.mkdir(parents=True)
    for name in assets.required(VERSION):
        (folder / name).write_bytes(f"content of {name}\n".encode())
    digest = sha256(folder / assets.ARTIFACT)
    (folder / assets.CHECKSUM).write_bytes(f"{digest}  {assets.ARTIFACT}\n".encode())
    assets.write_sums(folder)
    return folder


def make_checkout(root: Path) -> Path:
    """Make a git checkout that can be released."""
    package = root / "cfgov/deployable_zipfile"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f'"""Package."""\n\n__version__ = "{VERSION}"\n', encoding="utf-8")
    (root / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "First"]):
        subprocess.run(["git", *command], cwd=str(root), check=True, env=git_environment())
    return root


def git_environment() -> Dict[str, str]:
    person = {f"GIT_{role}_{key}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return {**os.environ, **person, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def test_a_complete_folder_has_no_problems(tmp_path: Path) -> None:
    assert assets.problems(make_folder(tmp_path / "release"), VERSION) == []


def test_the_optional_files_may_be_there(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    (folder / assets.SIGNATURE).write_bytes(b"signature")
    (folder / assets.ARTIFACT_SIGNATURE).write_bytes(b"signature")
    (folder / assets.ATTESTATION).write_bytes(b"{}")

    assert assets.problems(folder, VERSION) == []


@pytest.mark.parametrize("name", [*assets.required(VERSION), assets.SUMS])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    (folder / name).unlink()

    assert f"{name}: is missing" in assets.problems(folder, VERSION)


def test_an_extra_file_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    (folder / "notes.bak").write_bytes(b"")

    assert assets.problems(folder, VERSION) == ["notes.bak: does not belong to the release"]


@pytest.mark.parametrize("name", assets.required(VERSION))
def test_one_changed_byte_is_named(name: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"!")

    assert f"{name}: is not what SHA256SUMS says" in assets.problems(folder, VERSION)


def test_the_files_of_another_version_are_refused(tmp_path: Path) -> None:
    found = assets.problems(make_folder(tmp_path / "release"), "1.2.4")

    assert "deployable_zipfile-1.2.4.tar.gz: is missing" in found
    assert "deployable_zipfile-1.2.3.tar.gz: does not belong to the release" in found


def test_a_checksum_of_another_artifact_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    (folder / assets.CHECKSUM).write_bytes(b"0" * 64 + f"  {assets.ARTIFACT}\n".encode())
    assets.write_sums(folder)

    assert assets.problems(folder, VERSION) == [f"{assets.CHECKSUM}: is not the checksum of {assets.ARTIFACT}"]


def test_a_line_that_is_no_checksum_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    with open(str(folder / assets.SUMS), "a", encoding="utf-8") as file:
        file.write("0" * 64 + "  ../../etc/passwd\n")

    with pytest.raises(ReleaseError, match="is not a checksum"):
        assets.problems(folder, VERSION)


def test_sha256sum_reads_the_sums(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")

    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", assets.SUMS], cwd=str(folder), check=True)
    (folder / assets.NOTES).write_bytes(b"forged")
    assert (
        subprocess.run(["sha256sum", "--check", "--status", assets.SUMS], cwd=str(folder), check=False).returncode == 1
    )


def test_openssl_verifies_the_signature_and_refuses_a_forged_list(tmp_path: Path) -> None:
    folder, key, public = make_folder(tmp_path / "release"), tmp_path / "key.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(
        ["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)], check=True, stderr=subprocess.DEVNULL
    )
    verify = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", assets.SIGNATURE, assets.SUMS]

    assets.sign(folder, key)
    first = (folder / assets.SIGNATURE).read_bytes()
    assets.sign(folder, key)

    assert (folder / assets.SIGNATURE).read_bytes() == first, "the same key gives the same signature"
    assert subprocess.run(verify, cwd=str(folder), check=False, stdout=subprocess.PIPE).stdout == b"Verified OK\n"
    (folder / assets.SUMS).write_bytes(b"forged")
    assert subprocess.run(verify, cwd=str(folder), check=False, stdout=subprocess.DEVNULL).returncode == 1


def test_a_key_that_is_none_is_refused_without_showing_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    (tmp_path / "key.pem").write_text("s3cret", encoding="utf-8")

    with pytest.raises(ReleaseError, match=r"\Asigning key: openssl does not accept it") as caught:
        assets.sign(folder, tmp_path / "key.pem")
    assert "s3cret" not in str(caught.value)


def test_the_notes_are_the_section_of_the_version() -> None:
    assert assets.notes(CHANGELOG, "1.2.3") == "- A thing.\n\n### Fixed\n\n- Another.\n"
    assert assets.notes(CHANGELOG, "1.2.2") == "- Old.\n"


@pytest.mark.parametrize("version", ["1.2", "1.2.30", "2.0.0", "1x2.3"])
def test_a_version_without_a_section_is_refused(version: str) -> None:
    with pytest.raises(ReleaseError, match="has nothing under"):
        assets.notes(CHANGELOG, version)


def test_a_clean_checkout_with_the_right_tag_can_be_released(tmp_path: Path) -> None:
    assert assets.commit_problems(make_checkout(tmp_path), "v1.2.3") == []


def test_a_wrong_tag_is_refused(tmp_path: Path) -> None:
    (found,) = assets.commit_problems(make_checkout(tmp_path), "v1.2.4")

    assert found == "tag v1.2.4: the package's version is 1.2.3. Tag v1.2.3, or change __version__"


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new file.txt"])
def test_a_changed_or_new_file_is_refused(name: str, tmp_path: Path) -> None:
    root = make_checkout(tmp_path)
    with open(str(root / name), "a", encoding="utf-8") as file:
        file.write("\n")

    (found,) = assets.commit_problems(root, None)

    assert found.startswith("working tree: ")
    assert name in found


def test_a_version_that_the_changelog_does_not_know_is_refused(tmp_path: Path) -> None:
    root = make_checkout(tmp_path)
    path = root / "cfgov/deployable_zipfile/__init__.py"
    path.write_text(path.read_text(encoding="utf-8").replace(VERSION, "1.3.0"), encoding="utf-8")
    subprocess.run(
        ["git", "commit", "--quiet", "--all", "-m", "Next"], cwd=str(root), check=True, env=git_environment()
    )

    assert assets.commit_problems(root, None) == [
        "CHANGELOG.md: has nothing under `## 1.3.0`. Say what changes for users"
    ]


def test_a_clone_holds_the_commit_and_nothing_else(tmp_path: Path) -> None:
    root = make_checkout(tmp_path / "root")
    (root / "stray.txt").write_text("stray", encoding="utf-8")
    (root / "CHANGELOG.md").write_text("changed", encoding="utf-8")

    clone = assets.clean_clone(root, tmp_path / "clone")

    assert (clone / "CHANGELOG.md").read_text(encoding="utf-8") == CHANGELOG
    assert not (clone / "stray.txt").exists()


def test_a_folder_check_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (found,) = release_check.folder_problems(tmp_path / "release")

    assert "is not a folder" in found


class Hub:
    """``gh`` with one release: what docs and ``gh release --help`` promise, in memory."""

    def __init__(self) -> None:
        self.files: Optional[Dict[str, bytes]] = None
        self.draft = True
        self.notes = ""
        self.calls: List[str] = []
        self.refused = ""  # the first words of a call that fails

    def __call__(self, *arguments: str, stdin: Optional[str] = None) -> str:
        words = list(arguments)
        self.calls.append(" ".join(words[:2]))
        if self.refused and " ".join(words).startswith(self.refused):
            raise github.GitHubError(f"gh {words[0]} {words[1]}: HTTP 502. Run it again when the cause is gone")
        verb, tag = words[1], words[2]
        if words[0] == "attestation":
            return ""
        assert words[0] == "release"
        assert tag == f"v{VERSION}"
        if self.files is None and verb != "create":
            raise github.GitHubError("gh release view: release not found. Run it again when the cause is gone")
        return str(getattr(self, verb.replace("-", "_"))(words[3:]) or "")

    def create(self, words: List[str]) -> None:
        assert self.files is None
        assert {"--draft", "--verify-tag"} <= set(words)
        self.files, self.notes = {}, Path(words[-1]).read_text("utf-8")

    def view(self, _: List[str]) -> str:
        return json.dumps({"isDraft": self.draft, "assets": [{"name": name} for name in self.files or {}]})

    def upload(self, words: List[str]) -> None:
        assert self.draft
        assert self.files is not None
        self.files[Path(words[0]).name] = Path(words[0]).read_bytes()

    def delete_asset(self, words: List[str]) -> None:
        assert self.files is not None
        del self.files[words[0]]

    def download(self, words: List[str]) -> None:
        for name, content in (self.files or {}).items():
            (Path(words[1]) / name).write_bytes(content)

    def edit(self, words: List[str]) -> None:
        assert words == ["--draft=false"]
        self.draft = False


class Publishing:
    """A release folder and a repository to publish it to."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder, self.hub = folder, hub

    def run(self, step: str = "publish", environ: Optional[Dict[str, str]] = None) -> int:
        return release.main([step, "--tag", f"v{VERSION}", "--output", str(self.folder)], environ or {})

    def expected(self) -> Dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


@pytest.fixture(name="publishing")
def _publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publishing:
    hub = Hub()
    monkeypatch.setattr(github, "gh", hub)
    return Publishing(make_folder(tmp_path / "release"), hub)


def test_publishing_uploads_every_file_and_then_shows_the_release(publishing: Publishing) -> None:
    assert publishing.run() == 0

    assert publishing.hub.draft is False
    assert publishing.hub.files == publishing.expected()
    assert publishing.hub.notes == (publishing.folder / assets.NOTES).read_text("utf-8")
    assert publishing.hub.calls[-2:] == ["release download", "release edit"]


def test_publishing_twice_changes_nothing(publishing: Publishing) -> None:
    publishing.run()
    publishing.hub.calls.clear()

    assert publishing.run() == 0

    assert publishing.hub.calls == ["release view", "release download"]


@pytest.mark.parametrize("refused", ["release create", "release upload v1.2.3", "release download", "release edit"])
def test_publishing_goes_on_where_it_broke_off(
    refused: str, publishing: Publishing, capsys: pytest.CaptureFixture[str]
) -> None:
    publishing.hub.refused = refused
    assert publishing.run() == 1
    assert publishing.hub.draft is True
    assert capsys.readouterr().err.startswith("error: gh release ")
    publishing.hub.refused = ""

    assert publishing.run() == 0

    assert publishing.hub.files == publishing.expected()
    assert publishing.hub.calls.count("release create") == (2 if refused == "release create" else 1)


def test_a_stray_file_in_the_draft_is_removed(publishing: Publishing) -> None:
    publishing.hub.files = {"stray.txt": b""}

    assert publishing.run() == 0
    assert publishing.hub.files == publishing.expected()


def test_a_published_release_that_differs_is_refused_and_left_as_it_is(
    publishing: Publishing, capsys: pytest.CaptureFixture[str]
) -> None:
    publishing.run()
    before = dict(publishing.hub.files or {})
    (publishing.folder / assets.NOTES).write_bytes(b"Other notes\n")
    assets.write_sums(publishing.folder)

    assert publishing.run() == 1

    assert "RELEASE_NOTES.md: differs from the file in the release" in capsys.readouterr().err
    assert publishing.hub.files == before


def test_every_file_is_verified_with_the_signer_the_source_and_the_runner(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: List[List[str]] = []
    monkeypatch.setattr(github, "gh", lambda *words: seen.append(list(words)))

    assert publishing.run("verify", {"GITHUB_REPOSITORY": "cfpb/deployable-zipfile"}) == 0

    assert [Path(words[2]).name for words in seen] == assets.required(VERSION)
    for words in seen:
        options = dict(zip(words, words[1:]))
        assert options["--signer-workflow"] == "cfpb/deployable-zipfile/.github/workflows/release.yml"
        assert options["--source-ref"] == f"refs/tags/v{VERSION}"
        assert options["--bundle"] == str(publishing.folder / assets.ATTESTATION)
        assert "--deny-self-hosted-runners" in words


def test_the_documented_verification_is_the_one_of_the_pipeline() -> None:
    words = release.verification(assets.ARTIFACT, "cfpb/deployable-zipfile", "v1.0.0")
    for name in ("docs/release.md", "docs/security.md", "docs/deploy.md"):
        text = " ".join((release.ROOT / name).read_text("utf-8").replace("\\\n", " ").replace(",", " ").split())
        assert " ".join(words) in text, name


def test_an_attestation_that_does_not_verify_is_an_error(publishing: Publishing) -> None:
    publishing.hub.refused = "attestation verify"

    assert publishing.run("verify", {"GITHUB_REPOSITORY": "cfpb/deployable-zipfile"}) == 1
    assert publishing.run("verify", {}) == 1


def test_no_key_no_signature_and_no_failure(publishing: Publishing, capsys: pytest.CaptureFixture[str]) -> None:
    assert publishing.run("sign") == 0

    assert not (publishing.folder / assets.SIGNATURE).exists()
    assert "not signed" in capsys.readouterr().out


def test_the_artifact_is_signed_when_there_is_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, key = tmp_path / "release", tmp_path / "key"
    folder.mkdir()
    make_artifact(folder / assets.ARTIFACT)
    signatures.ssh_key(key)

    assert release.main(["sign", "--output", str(folder)], {release.ARTIFACT_KEY: key.read_text("ascii")}) == 0

    assert (folder / assets.ARTIFACT_SIGNATURE).read_bytes().startswith(b"-----BEGIN SSH SIGNATURE-----")
    assert "PRIVATE" not in capsys.readouterr().out
    assert release.main(["sign", "--output", str(folder)], {release.ARTIFACT_KEY: "no key"}) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("damage", ["missing", "extra", "changed"])
def test_an_incomplete_folder_is_not_published(damage: str, publishing: Publishing) -> None:
    if damage == "missing":
        (publishing.folder / assets.SBOM).unlink()
    elif damage == "extra":
        (publishing.folder / "extra.txt").write_bytes(b"")
    else:
        (publishing.folder / assets.ARTIFACT).write_bytes(b"changed")

    assert publishing.run() == 1
    assert publishing.hub.calls == []


def test_the_attestation_is_put_beside_the_files_and_published(publishing: Publishing, tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text('{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}')

    command = ["attestation", "--bundle", str(tmp_path / "bundle.json"), "--output", str(publishing.folder)]
    assert release.main(command, {}) == 0
    assert publishing.run() == 0

    assert assets.ATTESTATION in (publishing.hub.files or {})


def test_a_folder_that_cannot_be_completed_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.zip").write_bytes(b"#!/usr/bin/env python\n" + b"PK\x05\x06" + bytes(18))

    command = ["artifact", "--artifact", str(tmp_path / "broken.zip"), "--output", str(tmp_path / "release")]

    assert release.main(command, {}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.zip"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "release")
    shutil.copyfile(str(folder / assets.ARTIFACT), str(tmp_path / "site.zip"))

    assert release.main(["artifact", "--artifact", str(tmp_path / "site.zip"), "--output", str(folder)], {}) == 1
    assert assets.problems(folder, VERSION) == []


def test_a_commit_that_is_not_on_the_branch_is_refused(tmp_path: Path) -> None:
    root = make_checkout(tmp_path)
    assert assets.commit_problems(root, "", "HEAD") == []
    subprocess.run(["git", "branch", "released"], cwd=str(root), check=True)
    (root / "new.txt").write_text("new", encoding="utf-8")
    for command in (["add", "."], ["commit", "--quiet", "--message", "Next"]):
        subprocess.run(["git", *command], cwd=str(root), check=True, env=git_environment())

    (found,) = assets.commit_problems(root, None, "released")
    (unknown,) = assets.commit_problems(root, None, "origin/main")

    assert found == "commit: is not on released. Merge it, and tag what was merged"
    assert "is not on origin/main" in unknown


def test_the_check_of_two_builds_uses_the_builder_image_or_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: List[List[str]] = []
    monkeypatch.setattr(assets, "commit_problems", lambda *_: [])
    monkeypatch.setattr(release_check, "build_problems", lambda options: asked.append(list(options)) or [])

    assert release_check.main([]) == release_check.main(["--native"]) == 0

    assert asked == [["--image", "ghcr.io/cfpb/cfgov-artifact-builder:latest"], ["--native"]]


@pytest.mark.parametrize("damage", ["missing", "extra", "no folder"])
def test_a_package_that_was_not_tested_is_not_released(damage: str, tmp_path: Path) -> None:
    given, folder = tmp_path / "package", tmp_path / "release"
    folder.mkdir()
    if damage != "no folder":
        given.mkdir()
        names = assets.package_names(VERSION) + (["extra.whl"] if damage == "extra" else [])
        for name in names[1:] if damage == "missing" else names:
            (given / name).write_bytes(b"built")

    with pytest.raises(ReleaseError, match="does not hold exactly"):
        release._put_package(given, tmp_path, folder, VERSION)
