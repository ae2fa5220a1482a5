"""Stand-ins for the actions that the workflows use: small, local, and strict where the real ones are.

    python3 actions.py OWNER/ACTION

Inputs come as JSON in the variable INPUTS. Everything is written into the journal of the rehearsal, see journal.py.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.rehearsal.journal import REGISTRY, STATE, images, note
from tools import interpreters

Inputs = Dict[str, str]
WORKSPACE = Path(os.environ.get("GITHUB_WORKSPACE", "."))


def fail(text: str) -> None:
    """End the step with one line."""
    sys.exit(f"error: {text}")


def checkout(inputs: Inputs) -> Dict[str, Any]:
    """Make the workspace a fresh clone of the commit, as deep as asked for, on a machine without traces of jobs."""
    forget_images()
    for path in WORKSPACE.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    ref = inputs.get("ref") or os.environ["GITHUB_SHA"]
    deep = inputs.get("fetch-depth") == "0"
    url = f"https://github.com/{os.environ['GITHUB_REPOSITORY']}"
    every = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    for command in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["remote", "add", "origin", url],
        ["fetch", "--quiet", *([] if deep else ["--depth", "1"]), "origin", *(every if deep else []), ref],
        ["checkout", "--quiet", "--force", "FETCH_HEAD" if not deep else ref],
    ):
        subprocess.run(["git", *command], cwd=WORKSPACE, check=True)
    return {"ref": ref}


def forget_images() -> None:
    """Take the names off the images that jobs before have left in the engine."""
    old = images(REGISTRY)
    if old:
        subprocess.run(["docker", "image", "rm", "--force", *old], check=True, stdout=subprocess.DEVNULL)


def setup_python(inputs: Inputs) -> Dict[str, Any]:
    """Put the asked Pythons, and no other, first on PATH; the last is the default."""
    versions = inputs["python-version"].split()
    real = {**os.environ, "PATH": os.environ["REHEARSAL_PATH"], "HOME": os.environ["REHEARSAL_HOME"]}
    for version in versions:
        found = interpreters.find(version, real)
        folder = STATE / "pythons" / version / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        if found is None:  # only its name is needed: sessions that would run it are noted
            note("missing Python", version=version)
            found = str(folder / "missing")
            Path(found).write_text(f"#!/bin/sh\necho 'error: no Python {version} on this machine' >&2; exit 1\n")
            Path(found).chmod(0o755)
        for name in (f"python{version}", "python3", "python"):
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(str(found))
        with open(os.environ["GITHUB_PATH"], "a") as file:
            file.write(f"{folder}\n")
    return {"versions": versions}


def upload_artifact(inputs: Inputs) -> Dict[str, Any]:
    """Keep files under a name, their paths relative to what the patterns have in common."""
    patterns = [line.strip().rstrip("/") for line in inputs["path"].splitlines() if line.strip()]
    found = [Path(name) for pattern in patterns for name in sorted(glob.glob(str(WORKSPACE / pattern)))]
    files = [
        file for path in found for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()
    ]
    if not files and inputs.get("if-no-files-found") == "error":
        fail(f"upload-artifact: nothing is at {', '.join(patterns)}")
    target = STATE / "artifacts" / inputs["name"]
    if target.exists():
        fail(f"upload-artifact: an artifact named {inputs['name']} exists already")
    roots = [str(path if path.is_dir() else path.parent) for path in found] or ["."]
    for file in files:
        kept = target / file.relative_to(os.path.commonpath(roots))
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, kept)
    return {"name": inputs["name"], "days": inputs.get("retention-days"), "files": digests(target)}


def download_artifact(inputs: Inputs) -> Dict[str, Any]:
    """Fetch what was kept in this run; modes are lost, as they are on GitHub."""
    source = STATE / "artifacts" / inputs["name"]
    if not source.is_dir():
        fail(f"download-artifact: no artifact named {inputs['name']}")
    target = WORKSPACE / inputs.get("path", ".")
    shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return {"name": inputs["name"], "path": inputs.get("path", ""), "files": digests(source)}


def upload_pages(inputs: Inputs) -> Dict[str, Any]:
    """Keep the folder of a site under the name that deploy-pages takes."""
    return upload_artifact({"name": "github-pages", "if-no-files-found": "error", "path": inputs["path"]})


def deploy_pages(_: Inputs) -> Dict[str, Any]:
    """Take the site that this run has kept."""
    site = STATE / "artifacts/github-pages"
    if not (site / "index.html").is_file():
        fail("deploy-pages: no artifact github-pages with an index.html")
    output("page_url", "https://cfpb.github.io/deployable-zipfile/")
    return {"files": digests(site)}


def attest(inputs: Inputs) -> Dict[str, Any]:
    """Write a statement about the subjects that says who signs, as the certificate of the real one does."""
    subjects: Dict[str, str] = {}
    if inputs.get("subject-checksums"):
        for line in (WORKSPACE / inputs["subject-checksums"]).read_text("utf-8").splitlines():
            digest, name = line.split("  ", 1)
            subjects[name] = digest
    if inputs.get("subject-path"):
        path = WORKSPACE / inputs["subject-path"]
        subjects[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    if inputs.get("subject-name"):
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", inputs["subject-digest"]):
            fail(f"attest: {inputs['subject-digest']!r} is not a digest")
        subjects[inputs["subject-name"]] = inputs["subject-digest"].split(":")[1]
    if not subjects:
        fail("attest: no subject")
    if inputs.get("sbom-path"):
        json.loads((WORKSPACE / inputs["sbom-path"]).read_text("utf-8"))
    repository = os.environ["GITHUB_REPOSITORY"]
    workflow = os.environ["REHEARSAL_WORKFLOW"]
    statement = {
        "subjects": subjects,
        "repository": repository,
        "signer": f"{repository}/.github/workflows/{workflow}",
        "ref": os.environ["GITHUB_REF"],
        "commit": os.environ["GITHUB_SHA"],
        "runner": "github-hosted",
        "predicate": "sbom" if inputs.get("sbom-path") else "provenance",
    }
    bundle = STATE / f"attestation-{len(list(STATE.glob('attestation-*')))}.json"
    bundle.write_text(json.dumps(statement, sort_keys=True))
    output("bundle-path", str(bundle))
    return statement


def login(inputs: Inputs) -> Dict[str, Any]:
    """Note that the job can push."""
    if not inputs.get("password"):
        fail("login-action: no password")
    return {"registry": inputs["registry"]}


def build_push(inputs: Inputs) -> Dict[str, Any]:
    """Build with the engine of this machine and push to the registry of the rehearsal."""
    tags = inputs["tags"].split()
    options = [part for line in inputs.get("build-args", "").split() for part in ("--build-arg", line)]
    options += [part for line in inputs.get("labels", "").split() for part in ("--label", line)]
    named = [part for tag in tags for part in ("-t", tag)]
    target = ["--target", inputs["target"]]
    subprocess.run(
        ["docker", "build", "--quiet", *target, *options, *named, inputs["context"]], cwd=WORKSPACE, check=True
    )
    digest = ""
    for tag in tags if inputs.get("push") == "true" else []:
        pushed = subprocess.run(["docker", "push", tag], check=True, stdout=subprocess.PIPE).stdout.decode()
        digest = re.findall(r"digest: (sha256:[0-9a-f]{64})", pushed)[-1]
    output("digest", digest)
    return {"tags": tags, "digest": digest, "platforms": inputs.get("platforms", "")}


def publish_package(inputs: Inputs) -> Dict[str, Any]:
    """Take the files of ``dist`` as the package index would."""
    files = digests(WORKSPACE / (inputs.get("packages-dir") or "dist"))
    if not files or any(not name.endswith((".whl", ".tar.gz")) for name in files):
        fail(f"gh-action-pypi-publish: {sorted(files)} are not only distributions")
    return {"files": files}


def nothing(_: Inputs) -> Dict[str, Any]:
    """Do nothing: what the real one does needs GitHub."""
    return {}


STAND_INS: Dict[str, Callable[[Inputs], Dict[str, Any]]] = {
    "actions/attest": attest,
    "actions/checkout": checkout,
    "actions/deploy-pages": deploy_pages,
    "actions/download-artifact": download_artifact,
    "actions/setup-python": setup_python,
    "actions/upload-artifact": upload_artifact,
    "actions/upload-pages-artifact": upload_pages,
    "docker/build-push-action": build_push,
    "docker/login-action": login,
    "docker/setup-buildx-action": nothing,
    "github/codeql-action/analyze": nothing,
    "github/codeql-action/init": nothing,
    "pypa/gh-action-pypi-publish": publish_package,
    "zizmorcore/zizmor-action": nothing,
}
# Inputs of the real actions that the workflows may use; act hands on only what action.yml declares.
INPUTS: Dict[str, List[str]] = {
    "actions/attest": ["subject-checksums", "subject-path", "subject-name", "subject-digest", "sbom-path"],
    "actions/checkout": ["ref", "fetch-depth", "persist-credentials", "path", "repository"],
    "actions/download-artifact": ["name", "path"],
    "actions/setup-python": ["python-version"],
    "actions/upload-artifact": [
        "name",
        "path",
        "if-no-files-found",
        "retention-days",
        "compression-level",
    ],
    "actions/upload-pages-artifact": ["path"],
    "docker/build-push-action": [
        *("context", "target", "build-args", "platforms", "tags", "labels", "push", "pull", "no-cache"),
        *("cache-from", "cache-to", "provenance", "sbom"),
    ],
    "docker/login-action": ["registry", "username", "password"],
    "github/codeql-action/init": ["languages"],
    "pypa/gh-action-pypi-publish": ["packages-dir", "skip-existing"],
}


def digests(folder: Path) -> Dict[str, str]:
    """Return the SHA-256 of each file of *folder* by its name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def output(name: str, value: str) -> None:
    """Set an output of the step."""
    with open(os.environ["GITHUB_OUTPUT"], "a") as file:
        file.write(f"{name}={value}\n")


def write(folder: Path) -> None:
    """Write an action.yml for each stand-in below *folder*: OWNER/REPOSITORY/PATH/action.yml."""
    for action in STAND_INS:
        path = folder / action / "action.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        inputs = "".join(f"  {name}: {{ required: false }}\n" for name in INPUTS.get(action, []))
        outputs = "".join(
            f"  {name}: {{ value: '${{{{ steps.run.outputs.{name} }}}}' }}\n"
            for name in ("bundle-path", "digest", "page_url")
        )
        path.write_text(
            f"name: {action}\n"
            + (f"inputs:\n{inputs}" if inputs else "")
            + f"outputs:\n{outputs}runs:\n  using: composite\n  steps:\n    - id: run\n      shell: bash\n"
            f'      run: \'"$REHEARSAL_PYTHON" "$REHEARSAL_ROOT/tests/rehearsal/actions.py" {action}\'\n'
            "      env: { INPUTS: '${{ toJSON(inputs) }}' }\n"
        )


def main() -> None:
    """Run the stand-in that the command line names."""
    action = sys.argv[1]
    inputs = {key: str(value) for key, value in json.loads(os.environ["INPUTS"]).items() if value not in (None, "")}
    note(action, inputs=inputs, **STAND_INS[action](inputs))


if __name__ == "__main__":
    main()
