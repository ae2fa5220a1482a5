"""Stand-ins for the programs of a runner: tools/nox, docker and gh, each as far as it cannot run here as it is.

    python3 programs.py nox|docker|gh ARGUMENT...

tools/nox runs the sessions that make or move bytes for real, without making virtualenvs, and notes the others: their
tests run in CI. docker is the engine of this machine, but the artifact is built beside it. gh is the one of this
machine, with the API of the rehearsal; what it cannot do there (attestations, runs) is done here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.rehearsal.api import HOST
from tests.rehearsal.journal import REGISTRY, STATE, note, short_name
from tools import interpreters, platforms

PYTHON = os.environ.get("REHEARSAL_PYTHON", sys.executable)
REAL = ("build", "compare", "images", "matrix", "package", "release", "release_check")
TOOLS = {"build": "build_artifact", "compare": "summary"}
NOTED = ("audit", "docs", "e2e", "facts", "integration", "lint", "lock", "site", "unit")


def nox(words: List[str]) -> int:
    """Run the session that *words* name."""
    if "-s" not in words:
        sys.exit("error: nox: names no session")
    session = words[words.index("-s") + 1]
    options = words[words.index("--") + 1 :] if "--" in words else []
    base = session.split("-3.")[0]
    if os.environ.get("RELEASE_SIGNING_KEY") or os.environ.get("ARTIFACT_SIGNING_KEY"):
        sys.exit("error: nox: a signing key is in the environment of a session that installs packages")
    listed = subprocess.run(
        [PYTHON, "-m", "nox", "--list", "--json", "-s", session], stdout=subprocess.PIPE, check=False, env=outside()
    )
    if listed.returncode:
        sys.exit(f"error: nox: no session {session}")
    note("session", session=session, options=options)
    if os.environ.get("REHEARSAL_FAIL") == base:
        sys.exit(f"error: {session}: fails, because the rehearsal wants it")
    if base in REAL:
        command = [PYTHON, "-m", f"tools.{TOOLS.get(base, base)}", *options]
        return subprocess.run(command, env=dict(outside(), PYTHONPATH="cfgov")).returncode
    if base not in NOTED:
        sys.exit(f"error: nox: {base} is unknown to the rehearsal")
    return pretend(base, options)


def outside() -> Dict[str, str]:
    """Return the environment with the Pythons that setup-python left on PATH, and no other."""
    return {key: value for key, value in os.environ.items() if key != "INPUTS"}


def pretend(session: str, options: List[str]) -> int:
    """Check what a noted session needs, and leave what it leaves."""
    if session == "lock":
        path = Path("requirements/lock.txt")
        path.write_text(path.read_text("utf-8") + "# resolved again\n", encoding="utf-8")
    if session == "docs":
        Path("site").mkdir()
        Path("site/index.html").write_text("<h1>deployable-zipfile</h1>\n", encoding="utf-8")
    if session not in ("integration", "e2e", "facts"):
        return 0
    if "-k" in options:
        return lookalike(session)
    platform = options[options.index("--platform") + 1]
    for target in ("builder", "tester"):
        image = f"{short_name(REGISTRY)}cfgov-artifact-{target}:latest"
        found = subprocess.run(
            ["docker", "image", "inspect", image, "--format", "{{json .RepoDigests}} {{json .Config.Labels}} {{.Id}}"],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.decode()
        note("tested image", target=target, platform=platform, found=found)
    if session == "facts":
        folder = Path("test-results/facts")
        folder.mkdir(parents=True)
        (folder / f"{platform}.txt").write_text("facts\n")
        return 0
    version = platforms.read()[platform].python_version
    python = interpreters.find(version, os.environ)
    if python is None:
        sys.exit(f"error: {session}: no Python {version}, which the artifact of {platform} is for")
    artifact = Path("cfgov_current_build.zip")
    note("tested artifact", platform=platform, sha256=hashlib.sha256(artifact.read_bytes()).hexdigest())
    return 0


def lookalike(session: str) -> int:
    """Check that the tests on the look-alike of CentOS 7, which need no image of ours, can run and are not skipped."""
    if os.environ.get("REQUIRE_LOOKALIKE") != "1" or interpreters.find("3.8", os.environ) is None:
        sys.exit(f"error: {session}: the look-alike of CentOS 7 would be skipped, or has no Python 3.8")
    note("tested look-alike", session=session)
    return 0


def docker(words: List[str]) -> int:
    """Build the artifact beside the engine, with the image's name checked; everything else is the engine's."""
    real = shutil.which("docker", path=os.environ["REHEARSAL_PATH"])
    assert real
    if words[:1] != ["run"]:
        return subprocess.run([real, *words]).returncode
    mount = next(word for word in words if word.endswith(":/cfgov"))
    position = words.index(mount)
    root, image, options = Path(mount.rsplit(":", 1)[0]), words[position + 1], words[position + 2 :]
    if subprocess.run([real, "image", "inspect", image], stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"error: docker run: no image {image}")
    create = [
        PYTHON,
        "cfgov/deployable_zipfile/create.py",
        "cfgov",
        str(STATE / "requirements.txt"),
        "cfgov_current_build",
    ]
    note("built", image=image, options=options)
    environ = {**outside(), "PATH": os.environ["REHEARSAL_PATH"]}
    return subprocess.run([*create, "--no-check", *options], cwd=root, env=environ).returncode


def gh(words: List[str]) -> int:
    """Verify attestations and fetch runs here; the rest is the API's."""
    note("gh", words=words)
    if words[:2] == ["attestation", "verify"]:
        return verify(words[2], dict(zip(words[3:], [*words[4:], ""])))
    if words[:2] == ["run", "list"]:
        print(json.dumps([]))
        return 0
    if words[:2] == ["auth", "setup-git"]:
        return 0
    real = shutil.which("gh", path=os.environ["REHEARSAL_PATH"])
    assert real
    environ = {**os.environ, "GH_HOST": HOST, "HTTP_PROXY": os.environ["REHEARSAL_API"]}
    return subprocess.run([real, *words], env=environ).returncode


def verify(file: str, options: Dict[str, str]) -> int:
    """Verify the statement of the stand-in of actions/attest, as strictly as it is asked for, but never laxly."""
    statement = json.loads(Path(options["--bundle"]).read_text("utf-8"))
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    expected = {
        "--repo": statement["repository"],
        "--signer-workflow": statement["signer"],
        "--source-ref": statement["ref"],
    }
    for option, value in expected.items():
        if options.get(option) != value:
            sys.exit(f"error: gh attestation verify: {option} is {options.get(option)}, the certificate has {value}")
    if "--deny-self-hosted-runners" not in options or digest not in statement["subjects"].values():
        sys.exit(f"error: gh attestation verify: {file} is not a subject, or any runner would do")
    return 0


if __name__ == "__main__":
    sys.exit({"nox": nox, "docker": docker, "gh": gh}[sys.argv[1]](sys.argv[2:]))
