"""The files of a release: which they are, how they are made, how they are checked.

cfgov_current_build.zip              the artifact
cfgov_current_build.zip.sha256       its checksum, as the builder writes it
cfgov_current_build.sbom.cdx.json    its bill of materials, a copy of the one inside
cfgov_current_build.report.html      a page that shows what it holds
deployable_zipfile-VERSION-py3-none-any.whl, deployable_zipfile-VERSION.tar.gz
RELEASE_NOTES.md                     the version's section of the changelog
SHA256SUMS                           of everything above
cfgov_current_build.zip.sig          optional: its signature, for `verify --signature`
SHA256SUMS.sig                       optional: signature by the organisation's own key
attestation.sigstore.json            optional: the attestation, for verification without a network
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, Optional

ARTIFACT = "cfgov_current_build.zip"
CHECKSUM = f"{ARTIFACT}.sha256"
SBOM = "cfgov_current_build.sbom.cdx.json"
REPORT = "cfgov_current_build.report.html"
ARTIFACT_SIGNATURE = f"{ARTIFACT}.sig"
NOTES = "RELEASE_NOTES.md"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
ATTESTATION = "attestation.sigstore.json"
OPTIONAL = (ARTIFACT_SIGNATURE, SIGNATURE, ATTESTATION)  # made after the checksums

_LINE = re.compile(r"([0-9a-f]{64})  ([^/\n]+)\Z")


class ReleaseError(Exception):
    """Something keeps the release from being made or published; the text is one line for people."""


def package_names(version: str) -> List[str]:
    """Return the names of wheel and sdist of *version*."""
    return [f"deployable_zipfile-{version}-py3-none-any.whl", f"deployable_zipfile-{version}.tar.gz"]


def required(version: str) -> List[str]:
    """Return the names that the release *version* must have, sorted, without the checksums over them."""
    return sorted([ARTIFACT, CHECKSUM, SBOM, REPORT, NOTES, *package_names(version)])


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file *path*, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def show(folder: Path) -> None:
    """Print checksum, size and name of each file of *folder*."""
    for path in sorted(folder.iterdir()):
        print(f"{sha256(path)}  {path.stat().st_size:>11,}  {path.name}")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that appears as *path* when the block ends well, and not at all when it does not."""
    if path.exists():
        raise ReleaseError(f"{path}: exists. Remove it, or name another folder with --output")
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(str(partial), ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(str(partial), ignore_errors=True)


def clean_clone(root: Path, destination: Path) -> Path:
    """Clone the current commit of the checkout *root* to *destination*, with nothing that is not committed."""
    quiet = ["--quiet", "--no-hardlinks", "--no-tags", str(root), str(destination)]
    commit = git(root, "rev-parse", "HEAD")
    subprocess.run(["git", "clone", "--no-checkout", *quiet], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=str(destination), check=True)
    return destination


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over the files of *folder*, in the form that ``sha256sum -c`` reads."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in (SUMS, *OPTIONAL))
    (folder / SUMS).write_bytes("".join(f"{sha256(folder / name)}  {name}\n" for name in names).encode("utf-8"))


def problems(folder: Path, version: str) -> List[str]:
    """Return what is wrong with the release *version* in *folder*: missing and extra files, wrong checksums."""
    present = {path.name for path in folder.iterdir()}
    wanted = {*required(version), SUMS}
    found = [f"{name}: is missing" for name in sorted(wanted - present)]
    found += [f"{name}: does not belong to the release" for name in sorted(present - wanted - set(OPTIONAL))]
    if SUMS in present:
        found += _sum_problems(folder, set(required(version)))
    return found


def _sum_problems(folder: Path, wanted: "set[str]") -> List[str]:
    stated = read_sums(folder)
    found = [f"{SUMS}: does not list {name}" for name in sorted(wanted - set(stated))]
    found += [f"{SUMS}: lists {name}, which is not a file of the release" for name in sorted(set(stated) - wanted)]
    for name in sorted(wanted & set(stated)):
        if (folder / name).is_file() and sha256(folder / name) != stated[name]:
            found.append(f"{name}: is not what {SUMS} says")
    if (folder / CHECKSUM).is_file() and ARTIFACT in stated:
        text = (folder / CHECKSUM).read_text(encoding="utf-8")
        if text != f"{stated[ARTIFACT]}  {ARTIFACT}\n":
            found.append(f"{CHECKSUM}: is not the checksum of {ARTIFACT}")
    return found


def read_sums(folder: Path) -> Dict[str, str]:
    """Return name and digest of each line of ``SHA256SUMS`` in *folder*.

    Raises:
        ReleaseError: a line has another form than ``sha256sum`` writes.
    """
    sums = {}
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        match = _LINE.match(line)
        if not match:
            raise ReleaseError(f"{SUMS}: line {line!r} is not a checksum. Make the release again")
        sums[match.group(2)] = match.group(1)
    return sums


def notes(changelog: str, version: str) -> str:
    """Return the section of *version* in the text of the changelog, without its heading.

    Raises:
        ReleaseError: there is none, or it is empty.
    """
    section = re.search(rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    text = section.group(1).strip() if section else ""
    if not text:
        raise ReleaseError(f"CHANGELOG.md: has nothing under `## {version}`. Say what changes for users")
    return text + "\n"


def version_of(root: Path) -> str:
    """Return the version of the package in the checkout *root*."""
    text = (root / "cfgov/deployable_zipfile/__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if not match:
        raise ReleaseError("cfgov/deployable_zipfile/__init__.py: states no version. Add __version__")
    return match.group(1)


def git(root: Path, *arguments: str) -> str:
    """Return what git prints in the checkout *root*, without the final newline."""
    done = subprocess.run(["git", *arguments], cwd=str(root), check=True, stdout=subprocess.PIPE)
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def commit_problems(root: Path, tag: Optional[str], branch: Optional[str] = None) -> List[str]:
    """Return why the checkout *root* cannot be released as it is: changes, tag, branch, version, changelog.

    An empty *tag* or *branch* is not checked.
    """
    found = []
    changed = git(root, "status", "--porcelain", "--untracked-files=normal").splitlines()
    if changed:
        found.append(f"working tree: {changed[0][3:]} is changed or new ({len(changed)} in all). Commit or remove it")
    version = version_of(root)
    if tag and tag != f"v{version}":
        found.append(f"tag {tag}: the package's version is {version}. Tag v{version}, or change __version__")
    if branch and not is_on(root, branch):
        found.append(f"commit: is not on {branch}. Merge it, and tag what was merged")
    try:
        notes((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    except ReleaseError as error:
        found.append(str(error))
    return found


def is_on(root: Path, branch: str) -> bool:
    """Tell whether *branch* contains the current commit of the checkout *root*."""
    command = ["git", "merge-base", "--is-ancestor", "HEAD", branch]
    return subprocess.run(command, cwd=str(root), check=False).returncode == 0


def sign(folder: Path, key: Path) -> None:
    """Sign ``SHA256SUMS`` with the private *key* (PEM, RSA): the same key, the same signature.

    PKCS #1 v1.5 with SHA-256 is what the OpenSSL of Enterprise Linux 7 verifies, also in FIPS mode.
    """
    command = ["openssl", "dgst", "-sha256", "-sign", str(key), "-out", str(folder / SIGNATURE), str(folder / SUMS)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        raise ReleaseError("signing key: openssl does not accept it. Give an RSA key in PEM without a passphrase")
