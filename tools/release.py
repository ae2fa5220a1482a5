"""Make the folder of a release, and publish it.

    python -m tools.release [STEP] [OPTION]...

Without a step the whole way: the folder is made, checked and published; ``--dry-run`` stops before the upload. Steps,
each of which can be run alone:

    artifact     the folder of an artifact alone: the file, its checksum, its bill of materials
    attestation  put the attestation that GitHub made beside the files
    publish      upload a folder that is complete

The folder is made from a clean clone of the current commit, so that nothing of this checkout can get into it, and it
appears under its name only when it is complete. The same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence

from deployable_zipfile import errors
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from tools import assets, github
from tools.assets import ReleaseError

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("artifact", "attestation", "publish")
SIGNING_KEY = "RELEASE_SIGNING_KEY"


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
    parser.add_argument("step", nargs="?", choices=STEPS, help="one step alone (default: the whole way)")
    parser.add_argument("--dry-run", action="store_true", help="stop before the upload")
    parser.add_argument("--tag", help="refuse unless this is the tag of the package's version")
    parser.add_argument("--output", type=Path, default=Path("release"), metavar="FOLDER", help="(default: release)")
    parser.add_argument("--artifact", type=Path, metavar="FILE", help="release this artifact instead of building one")
    parser.add_argument("--native", action="store_true", help="build on this machine, not in the builder image")
    parser.add_argument("--signing-key", type=Path, metavar="PEM", help=f"sign SHA256SUMS (or text in {SIGNING_KEY})")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="the attestation that GitHub made")
    return parser


def _run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
    if arguments.step == "attestation":
        return put_attestation(arguments.output, arguments.bundle)
    if arguments.step == "publish":
        return publish(arguments.output, arguments.tag, environ)
    if arguments.step == "artifact":
        if arguments.artifact is None:
            raise ReleaseError("--artifact: is missing. Name the artifact")
        return make_artifact_folder(arguments.artifact, arguments.output)
    problems = assets.commit_problems(ROOT, arguments.tag)
    if problems:
        raise ReleaseError(problems[0])
    make(arguments, environ)
    if not arguments.dry_run:
        publish(arguments.output, arguments.tag or f"v{assets.version_of(ROOT)}", environ)


def make(arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Make the complete folder of the current commit's release, with the artifact that is given or built."""
    version = assets.version_of(ROOT)
    with _Folder(arguments.output) as folder, tempfile.TemporaryDirectory() as scratch:
        clone = clean_clone(ROOT, Path(scratch) / "clone")
        artifact = arguments.artifact or build_artifact(clone, ["--native"] if arguments.native else [])
        _put_artifact(artifact, folder, assets.git(ROOT, "rev-parse", "HEAD"))
        build_package(clone, folder)
        changelog = (clone / "CHANGELOG.md").read_text(encoding="utf-8")
        (folder / assets.NOTES).write_bytes(assets.notes(changelog, version).encode("utf-8"))
        assets.write_sums(folder)
        _sign(folder, arguments.signing_key, environ.get(SIGNING_KEY, ""))
        problems = assets.problems(folder, version)
        if problems:
            raise ReleaseError(problems[0])
    _show(arguments.output)


def make_artifact_folder(artifact: Path, output: Path) -> None:
    """Make a folder of *artifact* alone."""
    with _Folder(output) as folder:
        _put_artifact(artifact, folder, None)
        assets.write_sums(folder)
    _show(output)


def put_attestation(folder: Path, bundle: Optional[Path]) -> None:
    """Copy the *bundle* that GitHub's action wrote into the release *folder*."""
    if bundle is None or not bundle.is_file():
        raise ReleaseError(f"--bundle: {bundle} is no file. Name the output of the attestation step")
    shutil.copyfile(str(bundle), str(folder / assets.ATTESTATION))


def publish(folder: Path, tag: Optional[str], environ: Mapping[str, str]) -> None:
    """Make GitHub's release *tag* hold exactly the files of *folder*, and make it public.

    Everything is uploaded to a draft, compared, and then published at once. A second run uploads what is missing; after
    a complete one it only compares.
    """
    if tag is None:
        raise ReleaseError("--tag: is missing. Name the tag to publish")
    problems = assets.problems(folder, tag[1:])
    if problems:
        raise ReleaseError(problems[0])
    client = github.repository_of(environ)
    release = client.create_draft(tag, (folder / assets.NOTES).read_text(encoding="utf-8"))
    files = {path.name: path for path in sorted(folder.iterdir())}
    if release["draft"]:
        for name, asset in client.assets(release).items():
            if name not in files:
                client.delete_asset(asset)
        for path in files.values():
            print(f"release: uploading {path.name}", flush=True)
            client.upload(release, path)
    _compare(client, release, files)
    if release["draft"]:
        release = client.publish(release)
    print(f"release: {release['html_url']}")


def _compare(client: github.GitHub, release: Mapping[str, object], files: Mapping[str, Path]) -> None:
    present = client.assets(release)
    for name in sorted(set(files) | set(present)):
        if name not in present:
            raise ReleaseError(f"{name}: is not in the release. Publish a new version")
        if name not in files or not client.same(present[name], files[name]):
            raise ReleaseError(f"{name}: differs from the file in the release. Publish a new version")


def clean_clone(root: Path, destination: Path) -> Path:
    """Clone the current commit of the checkout *root* to *destination*, with nothing that is not committed."""
    quiet = ["--quiet", "--no-hardlinks", "--no-tags", str(root), str(destination)]
    commit = assets.git(root, "rev-parse", "HEAD")
    subprocess.run(["git", "clone", "--no-checkout", *quiet], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=str(destination), check=True)
    return destination


def build_artifact(clone: Path, options: Sequence[str], environ: Optional[Mapping[str, str]] = None) -> Path:
    """Build the artifact of the checkout *clone* with its own tools."""
    command = [sys.executable, "-m", "tools.build_artifact", *options]
    if subprocess.run(command, cwd=str(clone), env=environ and dict(environ), check=False).returncode:
        raise ReleaseError("artifact: the build failed. Look at the lines above")
    return clone / assets.ARTIFACT


def build_package(clone: Path, folder: Path) -> None:
    """Build wheel and sdist of the checkout *clone* into *folder*, with the time of its commit in them."""
    epoch = assets.git(clone, "log", "-1", "--format=%ct")
    environment: Dict[str, str] = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(clone)]
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout.decode("utf-8", "replace"), file=sys.stderr)
        raise ReleaseError("package: the build failed. Look at the lines above")


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


def _sign(folder: Path, key: Optional[Path], text: str) -> None:
    if key is not None:
        assets.sign(folder, key)
    elif text:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # mode 0600
            file.write(text)
            file.flush()
            assets.sign(folder, Path(file.name))


def _show(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        print(f"{github.sha256(path)}  {path.stat().st_size:>11,}  {path.name}")
    print(f"release: {folder} is complete")


class _Folder:
    """A new folder that appears under its name when the block ends well, and not at all when it does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")

    def __enter__(self) -> Path:
        if self._path.exists():
            raise ReleaseError(f"{self._path}: exists. Remove it, or name another folder with --output")
        shutil.rmtree(str(self._partial), ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self._partial

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._partial.rename(self._path)
        else:
            shutil.rmtree(str(self._partial), ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
