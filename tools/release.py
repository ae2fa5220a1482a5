"""Make the folder of a release, and publish it.

    python -m tools.release [STEP] [OPTION]...

Without a step the whole way: the folder is made, checked and published; ``--dry-run`` stops before the upload. Steps,
each of which can be run by itself, and needs only the standard library, openssl and ``gh``:

    artifact     the folder of an artifact: the file, its checksum, its bill of materials
    sign         sign the checksums with the organisation's own key
    attestation  put the attestation that GitHub made beside the files
    verify       verify that attestation as a user of the release does
    publish      upload a folder that is complete

The folder is made from a clean clone of the current commit, so that nothing of this checkout can get into it, and it
appears under its name only when it is complete. The same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from deployable_zipfile import errors
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.builder import sign as signature
from tools import assets, github, package
from tools.assets import ReleaseError

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("artifact", "sign", "attestation", "verify", "publish")
WORKFLOW = ".github/workflows/release.yml"  # what signs, and so what users verify
SIGNING_KEY = "RELEASE_SIGNING_KEY"
ARTIFACT_KEY = "ARTIFACT_SIGNING_KEY"


def main(argv: Optional[Sequence[str]] = None, environ: Mapping[str, str] = os.environ) -> int:
    """Do what is asked for and return 0; 1 with one line when it cannot be done."""
    arguments = _parser().parse_args(argv)
    try:
        _run(arguments, environ)
    except (ReleaseError, github.GitHubError, errors.DeployableZipfileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="release", description=__doc__.split("\n")[0])
    parser.add_argument("step", nargs="?", choices=STEPS, help="only this step (default: all of them)")
    parser.add_argument("--dry-run", action="store_true", help="stop before the upload")
    parser.add_argument("--tag", help="refuse unless this is the tag of the package's version")
    parser.add_argument("--output", type=Path, default=Path("release"), metavar="FOLDER", help="(default: release)")
    parser.add_argument("--artifact", type=Path, metavar="FILE", help="release this artifact instead of building one")
    parser.add_argument("--commit", metavar="SHA", help="step artifact: refuse an artifact of another commit")
    parser.add_argument("--package", type=Path, metavar="FOLDER", help="release this wheel and sdist, build none")
    parser.add_argument("--native", action="store_true", help="build on this machine, not in the builder image")
    parser.add_argument("--signing-key", type=Path, metavar="PEM", help=f"sign SHA256SUMS (or text in {SIGNING_KEY})")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="the attestation that GitHub made")
    return parser


def _run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
    if arguments.step is not None:
        return _run_step(arguments, environ)
    problems = assets.commit_problems(ROOT, arguments.tag)
    if problems:
        raise ReleaseError(problems[0])
    make(arguments)
    if not arguments.dry_run:
        publish(arguments.output, arguments.tag or f"v{assets.version_of(ROOT)}")


def _run_step(arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
    if arguments.step == "artifact":
        if arguments.artifact is None:
            raise ReleaseError("--artifact: is missing. Name the artifact")
        make_artifact_folder(arguments.artifact, arguments.output, arguments.commit)
    elif arguments.step == "sign":
        if not sign(arguments.output, arguments.signing_key, environ.get(SIGNING_KEY, "")):
            print(f"release: {SIGNING_KEY} is empty, so the checksums are not signed")
        if not sign_artifact(arguments.output, environ.get(ARTIFACT_KEY, "")):
            print(f"release: {ARTIFACT_KEY} is empty, so the artifact is not signed")
    elif arguments.step == "attestation":
        put_attestation(arguments.output, arguments.bundle)
    elif arguments.step == "verify":
        verify(arguments.output, arguments.tag, environ)
    else:
        publish(arguments.output, arguments.tag)


def make(arguments: argparse.Namespace) -> None:
    """Make the complete folder of the current commit's release; artifact and package are those given, or built."""
    version = assets.version_of(ROOT)
    with assets.new_folder(arguments.output) as folder, tempfile.TemporaryDirectory() as scratch:
        clone = assets.clean_clone(ROOT, Path(scratch) / "clone")
        artifact = arguments.artifact or build_artifact(clone, ["--native"] if arguments.native else [])
        _put_artifact(artifact, folder, assets.git(ROOT, "rev-parse", "HEAD"))
        _put_report(folder)
        _put_package(arguments.package, clone, folder, version)
        changelog = (clone / "CHANGELOG.md").read_text(encoding="utf-8")
        (folder / assets.NOTES).write_bytes(assets.notes(changelog, version).encode("utf-8"))
        assets.write_sums(folder)
        if arguments.signing_key is not None:
            assets.sign(folder, arguments.signing_key)
        problems = assets.problems(folder, version)
        if problems:
            raise ReleaseError(problems[0])
    _show(arguments.output)


def make_artifact_folder(artifact: Path, output: Path, commit: Optional[str] = None) -> None:
    """Make a folder of *artifact* only; with *commit*, refuse one of another commit or with changes."""
    with assets.new_folder(output) as folder:
        _put_artifact(artifact, folder, commit)
        assets.write_sums(folder)
    _show(output)


def put_attestation(folder: Path, bundle: Optional[Path]) -> None:
    """Copy the *bundle* that GitHub's action wrote into the release *folder*."""
    if bundle is None or not bundle.is_file():
        raise ReleaseError(f"--bundle: {bundle} is not a file. Name the output of the attestation step")
    shutil.copyfile(str(bundle), str(folder / assets.ATTESTATION))


def verify(folder: Path, tag: Optional[str], environ: Mapping[str, str]) -> None:
    """Verify the attestation of every file of the release *folder*, with the words that docs/release.md teaches."""
    repository = environ.get("GITHUB_REPOSITORY", "")
    if not tag or not repository:
        raise ReleaseError("--tag and GITHUB_REPOSITORY: are both needed. Set them, or run this in a workflow")
    for name in assets.required(tag[1:]):
        command = verification(str(folder / name), repository, tag)
        github.gh(*command, "--bundle", str(folder / assets.ATTESTATION))
        print(f"release: {name} was attested by {WORKFLOW} of {repository} for {tag}", flush=True)


def verification(path: str, repository: str, tag: str) -> List[str]:
    """Return the arguments of ``gh`` that prove who released *path*: this workflow, from *tag*, on GitHub's runners."""
    return [
        *("attestation", "verify", path, "--repo", repository, "--signer-workflow", f"{repository}/{WORKFLOW}"),
        *("--source-ref", f"refs/tags/{tag}", "--deny-self-hosted-runners"),
    ]


def publish(folder: Path, tag: Optional[str]) -> None:
    """Make GitHub's release *tag* hold exactly the files of *folder*, and make it public.

    Everything is uploaded to a draft, fetched again, compared, and then published at once. A run after one that broke
    off goes on with its draft; a run after a complete one only compares.
    """
    if tag is None:
        raise ReleaseError("--tag: is missing. Name the tag to publish")
    problems = assets.problems(folder, tag[1:])
    if problems:
        raise ReleaseError(problems[0])
    release = known_release(tag)
    if release is None:
        notes = str(folder / assets.NOTES)
        github.gh("release", "create", tag, "--draft", "--verify-tag", "--title", tag, "--notes-file", notes)
        release = known_release(tag)
    if release is None:
        raise ReleaseError(f"{tag}: the draft that was made is not there. Run it again")
    if release["isDraft"]:
        names = {path.name for path in folder.iterdir()}
        for asset in release["assets"]:
            if asset["name"] not in names:
                github.gh("release", "delete-asset", tag, asset["name"], "--yes")
        for path in sorted(folder.iterdir()):
            print(f"release: uploading {path.name}", flush=True)
            github.gh("release", "upload", tag, str(path), "--clobber")
    compare(tag, folder)
    if release["isDraft"]:
        github.gh("release", "edit", tag, "--draft=false")
    print(f"release: {tag} is public")


def known_release(tag: str) -> Optional[Dict[str, Any]]:
    """Return what GitHub knows of the release *tag*, the draft too, or None when there is none."""
    try:
        return dict(json.loads(github.gh("release", "view", tag, "--json", "isDraft,assets")))
    except github.GitHubError as error:
        if "release not found" in str(error):
            return None
        raise


def compare(tag: str, folder: Path) -> None:
    """Fetch every file of the release *tag* and compare it with the one of its name in *folder*."""
    with tempfile.TemporaryDirectory() as scratch:
        github.gh("release", "download", tag, "--dir", scratch)
        present = {path.name: path for path in Path(scratch).iterdir()}
        files = {path.name: path for path in folder.iterdir()}
        for name in sorted({*files, *present}):
            if name not in present:
                raise ReleaseError(f"{name}: is not in the release. Publish a new version")
            if name not in files or assets.sha256(present[name]) != assets.sha256(files[name]):
                raise ReleaseError(f"{name}: differs from the file in the release. Publish a new version")


def build_artifact(clone: Path, options: Sequence[str], environ: Optional[Mapping[str, str]] = None) -> Path:
    """Build the artifact of the checkout *clone* with its own tools."""
    command = [sys.executable, "-m", "tools.build_artifact", *options]
    if subprocess.run(command, cwd=str(clone), env=environ and dict(environ), check=False).returncode:
        raise ReleaseError("artifact: the build failed. Look at the lines above")
    return clone / assets.ARTIFACT


def _put_artifact(artifact: Path, folder: Path, commit: Optional[str]) -> None:
    with Artifact.open(str(artifact)) as opened:
        opened.verify()
        source = opened.manifest.source
        if commit is not None and (source.commit != commit or source.dirty):
            stated = f"commit {source.commit or 'unknown'}{', changed' if source.dirty else ''}"
            raise ReleaseError(f"{artifact.name}: was built from {stated}, not from {commit}. Build it again")
        (folder / assets.SBOM).write_bytes(opened.read(layout.SBOM))
        digest = opened.sha256
    shutil.copyfile(str(artifact), str(folder / assets.ARTIFACT))
    (folder / assets.ARTIFACT).chmod(0o755)
    (folder / assets.CHECKSUM).write_bytes(f"{digest}  {assets.ARTIFACT}\n".encode("ascii"))


def _put_package(given: Optional[Path], clone: Path, folder: Path, version: str) -> None:
    if given is None:
        return package.build(clone, folder)
    names = assets.package_names(version)
    if not given.is_dir() or {path.name for path in given.iterdir()} != set(names):
        raise ReleaseError(f"{given}: does not hold exactly {', '.join(names)}. Make it: nox -s package")
    for name in names:
        shutil.copyfile(str(given / name), str(folder / name))


def sign(folder: Path, key: Optional[Path], text: str) -> bool:
    """Sign the checksums in *folder* with the *key* file or the PEM *text*, and tell whether there was one."""
    if key is not None:
        assets.sign(folder, key)
    elif text:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # mode 0600
            file.write(text)
            file.flush()
            assets.sign(folder, Path(file.name))
    return key is not None or bool(text)


def sign_artifact(folder: Path, text: str) -> bool:
    """Sign the artifact in *folder* with the key *text*, of SSH or PEM, and tell whether there was one."""
    if text:
        with tempfile.NamedTemporaryFile("w") as file:  # mode 0600
            file.write(text if text.endswith("\n") else text + "\n")
            file.flush()
            signature.sign(str(folder / assets.ARTIFACT), file.name)
    return bool(text)


def _put_report(folder: Path) -> None:
    """Write the page that shows what the artifact in *folder* holds."""
    from deployable_zipfile.views import report  # needs libraries that a job with a key does not have

    report.write(report.Request(str(folder / assets.ARTIFACT)), str(folder / assets.REPORT))


def _show(folder: Path) -> None:
    assets.show(folder)
    print(f"release: {folder} is complete")


if __name__ == "__main__":
    sys.exit(main())
