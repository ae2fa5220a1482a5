"""What every flow starts from: artifacts of one site, the same files as others want them, and a project to build."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "cfgov"
FLOOR = Path(__file__).resolve().with_name("floor.py")
CREATE = PACKAGE / "deployable_zipfile" / "create.py"
_STARTED = time.monotonic()
CHANGING = "benchmark-changing"  # a wheel of the benchmark's own that has two releases
_CHANGED_FILES = 20  # of the project, in the second release


class Material(NamedTuple):
    """What is on the machine before the clock starts."""

    artifact: Path  # ours
    plain: Path  # project deflated and wheels stored: what others unpack
    tree: Path  # the final files without bytecode, deflated: what plain unzip unpacks
    tar: Path  # the same, uncompressed
    wheels: List[str]  # names of the planned wheels inside *plain*
    project: str
    source: Path  # a clone of the repository whose site is packed
    lock: Path  # what is installed, with hashes
    house: Path  # a folder with the wheels
    bare: Path  # the artifact without bytecode
    second: Path  # the artifact of the next release: one small wheel and twenty files are others
    delta: Optional[Path]  # what of it the first one lacks; None: the tool cannot make it yet
    pex: Optional[Path]
    shiv: Optional[Path]
    rows: Path  # where everything in *artifact* is, for the least that its deployment can cost
    bare_rows: Path  # the same of *bare*
    large: Tuple[Path, ...] = ()  # two releases with many more packages and files, of the first workload

    @property
    def pip(self) -> str:
        """Name of pip's wheel, which is one of them."""
        [found] = [wheel for wheel in self.wheels if wheel.rpartition("/")[2].startswith("pip-")]
        return found

    def facts(self) -> List[str]:
        """Return facts about the workload, for the report."""
        with zipfile.ZipFile(self.tree) as archive:
            infos = archive.infolist()
        size = sum(info.file_size for info in infos)
        packed, plain = self.artifact.stat().st_size / 1e6, self.plain.stat().st_size / 1e6
        return [
            f"{self.project}: {len(self.wheels)} wheels, {len(infos)} files of {size / 1e6:.0f} MB without bytecode; "
            + " ".join(self.pip.rpartition("/")[2].split("-")[:2]),
            f"the artifact has {packed:.1f} MB with all its targets; project and wheels of this one {plain:.1f} MB",
            *[
                f"{path.name} of the large ones: 120 packages, 30 000 files, {path.stat().st_size / 1e6:.0f} MB"
                for path in self.large[:1]
            ],
        ]


def prepare(lock: Path, scratch: Path, others: bool, further: bool) -> Material:
    """Build the artifacts of the repository's site with the wheels of *lock*, and all that is compared with them.

    Parameters:
        lock: requirements with hashes.
        scratch: an empty folder.
        others: also build what pex and shiv deploy.
        further: also build the next release, and its delta; without it the next release is the same artifact.

    Raises:
        subprocess.CalledProcessError: something cannot be built or installed here.
    """
    source, house = scratch / "source", scratch / "house"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(source)], check=True)
    locks = [_lock(lock, scratch, house, release) for release in ("1", "2")]
    artifact, bare = scratch / "site.zip", scratch / "bare.zip"
    say(f"{scratch.name}: building the artifact")
    create(source, locks[0], artifact, scratch / "cache")
    say(f"{scratch.name}: building it without bytecode")
    create(source, locks[0], bare, scratch / "cache", "--no-bytecode")
    wheels, manifest = _fetched(artifact, house), _manifest(artifact)
    second, delta = _next(source, locks[1], artifact, scratch) if further else (artifact, None)
    say(f"{scratch.name}: preparing what the other tools start from")
    plain = _plain(artifact, manifest["project"], wheels, scratch / "plain.zip")
    tree, tar = _final_files(artifact, scratch)
    pex, shiv = (_pex(house, scratch), _shiv(house, scratch)) if others else (None, None)
    lock, name = locks[0], manifest["project"]
    rows, bare_rows = (_rows(path, scratch) for path in (artifact, bare))
    return Material(
        artifact, plain, tree, tar, wheels, name, source, lock, house, bare, second, delta, pex, shiv, rows, bare_rows
    )


def create(source: Path, lock: Path, output: Path, cache: Path, *options: str, project: Optional[Path] = None) -> None:
    """Build *output* from *project*, else from the site in the clone *source*."""
    words = [sys.executable, str(CREATE), str(project or source / "cfgov"), str(lock), str(output)[: -len(".zip")]]
    words += ["--quiet", "--no-check", "--cache-dir", str(cache), *options]
    with open(str(output) + ".log", "wb") as log:
        done = subprocess.run(words, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{Path(str(output) + '.log').read_text(errors='replace')[-2000:]}")


def change(source: Path, count: int, text: str) -> None:
    """Append a comment to *count* Python files of the site in the clone *source*."""
    for path in sorted((source / "cfgov").rglob("*.py"))[:count]:
        with open(str(path), "a", encoding="utf-8") as file:
            file.write(f"# {text}\n")


def wheel(folder: Path, name: str, version: str, files: Dict[str, str]) -> Path:
    """Write a wheel with *files* into *folder* and return its path."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: benchmark\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for member, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{member},sha256={digest},{len(text.encode())}\n")
    content[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in content.items():
            archive.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return path


def line(path: Path) -> str:
    """Return the line of a lock for the wheel at *path*."""
    name, version = path.name.split("-")[:2]
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def say(text: str) -> None:
    """Print a line of progress, after the seconds since the start."""
    print(f"{time.monotonic() - _STARTED:5.0f} s  {text}", file=sys.stderr, flush=True)


def tool(name: str) -> str:
    """Return the path of a tool that the session installs beside the running Python."""
    return str(Path(sys.executable).with_name(name))


def _lock(lock: Path, scratch: Path, house: Path, release: str) -> Path:
    """Return *lock* with the benchmark's own wheel in *release*."""
    made = wheel(house, CHANGING, release, {f"benchmark_changing/module_{n}.py": f"R = {release}\n" for n in range(9)})
    path = scratch / f"lock-{release}.txt"
    path.write_text(f"--find-links {house}\n{lock.read_text(encoding='utf-8')}\n{line(made)}", encoding="utf-8")
    return path


def _manifest(artifact: Path) -> Dict[str, str]:
    with zipfile.ZipFile(artifact) as archive:
        found: Dict[str, str] = json.loads(archive.read(".deploy/manifest.json"))
    return found


def _fetched(artifact: Path, house: Path) -> List[str]:
    """Copy the wheels of the running Python into *house* and return their names in the artifact."""
    with zipfile.ZipFile(artifact) as archive:
        manifest = json.loads(archive.read(".deploy/manifest.json"))
        running = f"{sys.version_info[0]}.{sys.version_info[1]}"
        [target] = [target for target in manifest["targets"] if target["python"] == running][:1]
        wheels = [wheel["file"] for wheel in target["wheels"] + target["bootstrap"]]
        for name in wheels:
            (house / os.path.basename(name)).write_bytes(archive.read(name))
    return wheels


def _rows(artifact: Path, scratch: Path) -> Path:
    path = scratch / f"{artifact.stem}.rows"
    subprocess.run([sys.executable, str(FLOOR), "plan", str(artifact), str(path)], check=True)
    return path


def _plain(artifact: Path, project: str, wheels: Sequence[str], plain: Path) -> Path:
    with zipfile.ZipFile(artifact) as archive, zipfile.ZipFile(plain, "w") as copy:
        for name in archive.namelist():
            if name.startswith((project + "/", "static.in/")) or name in wheels:
                method = zipfile.ZIP_STORED if name in wheels else zipfile.ZIP_DEFLATED
                copy.writestr(zipfile.ZipInfo(name), archive.read(name), method)
    return plain


def _final_files(artifact: Path, scratch: Path) -> "tuple[Path, Path]":
    """Return a zip and a tar of everything that a deployment leaves, bytecode aside."""
    site = scratch / "final" / "site"
    command = [sys.executable, "-I", str(artifact), "-d", str(site), "--quiet", "--no-sync"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    tree, tar = scratch / "tree.zip", scratch / "tree.tar"
    with zipfile.ZipFile(tree, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder, _, names in os.walk(str(site)):
            if os.path.basename(folder) == "__pycache__":
                continue
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    archive.write(path, os.path.relpath(path, str(site)))
    subprocess.run(["tar", "--exclude=__pycache__", "-C", str(site), "-cf", str(tar), "."], check=True)
    shutil.rmtree(str(scratch / "final"))
    return tree, tar


def _next(source: Path, lock: Path, artifact: Path, scratch: Path) -> Tuple[Path, Optional[Path]]:
    """Return the next release of *artifact*, and what of it that lacks."""
    say(f"{scratch.name}: building its next release and the delta")
    change(source, _CHANGED_FILES, "second")
    second = scratch / "second.zip"
    delta = _with_delta(source, lock, artifact, second, scratch)
    subprocess.run(["git", "-C", str(source), "checkout", "--quiet", "."], check=True)
    return second, delta


def _with_delta(source: Path, lock: Path, old: Path, output: Path, scratch: Path) -> Optional[Path]:
    """Build *output*, and the delta against *old*; return the path of that."""
    try:
        create(source, lock, output, scratch / "cache", "--against", str(old))
    except RuntimeError as error:
        if "--against" not in str(error) or not str(error).splitlines()[-1].startswith("error: the command line"):
            raise
        say("skipped: delta: this version of create has no --against")
        create(source, lock, output, scratch / "cache")
        return None
    return output.with_name(f"{output.stem}.delta.zip")


def _pex(house: Path, scratch: Path) -> Optional[Path]:
    path = scratch / "site.pex"
    names = [str(wheel) for wheel in sorted(house.glob("*.whl")) if not wheel.name.startswith("benchmark_changing-2")]
    command = [tool("pex"), "--include-tools", "--python", sys.executable, "-o", str(path)]
    command += [word for name in names for word in ("--pre-resolved-dist", name)]
    command += ["==".join(os.path.basename(name).split("-")[:2]) for name in names]
    return _packed("pex", command, path, scratch)


def _shiv(house: Path, scratch: Path) -> Optional[Path]:
    path = scratch / "site.pyz"
    names = [str(wheel) for wheel in sorted(house.glob("*.whl")) if not wheel.name.startswith("benchmark_changing-2")]
    command = [tool("shiv"), "--compile-pyc", "--no-index", "--no-deps", "-o", str(path), *names]
    return _packed("shiv", command, path, scratch)


def _packed(name: str, command: List[str], path: Path, scratch: Path) -> Optional[Path]:
    """Run a packer; one that cannot pack this site is left out of the comparison, with its reason."""
    say(f"packing with {name}")
    done = subprocess.run(
        command, cwd=str(scratch), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "PEX_ROOT": str(scratch / "pex-root")},
    )  # fmt: skip
    if done.returncode == 0 and path.exists():
        return path
    say(f"skipped: {name}: {(done.stdout.decode(errors='replace').strip().splitlines() or ['it failed'])[-1]}")
    return None
