"""The ways to deploy that are compared: what each starts from, and the commands a person would type."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Callable, List, NamedTuple

from benchmarks.measure import uv

OURS, REFERENCE = "deployable-zipfile", "uv with bytecode"


class Material(NamedTuple):
    """What lies on the server before the clock starts."""

    artifact: Path  # ours
    plain: Path  # project deflated and wheels stored: what others unpack
    tree: Path  # the final files without bytecode, deflated: what plain unzip unpacks
    tar: Path  # the same, uncompressed
    wheels: List[str]  # names of the planned wheels inside *plain*
    project: str

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
        ]


class Flow(NamedTuple):
    """One way to deploy."""

    name: str
    title: str
    script: Callable[[Material], str]
    bytecode: bool = False

    def command(self, material: Material, folder: Path) -> str:
        """Return the shell script that deploys into ``site`` in the working folder, caches beside it."""
        return f"export HOME={shlex.quote(str(folder))}\n{self.script(material)}"

    def check(self, folder: Path) -> None:
        """Prove that the flow did its work: Django starts, from bytecode where the flow promises it.

        Raises:
            RuntimeError: it did not.
        """
        python = folder / "site" / "venv" / "bin" / "python"
        if not python.exists():
            return  # plain unpacking makes no environment
        program = "import django.core.management as m; print(m.__cached__)"
        done = subprocess.run([str(python), "-B", "-c", program], stdout=subprocess.PIPE, check=True)
        if self.bytecode and not os.path.exists(done.stdout.decode().strip()):
            raise RuntimeError(f"{self.name}: left no bytecode")


def prepare(artifact: Path, scratch: Path) -> Material:
    """Make from *artifact* what the other flows start from, so that all deploy the same files.

    Raises:
        subprocess.CalledProcessError: the artifact cannot be installed here.
    """
    with zipfile.ZipFile(artifact) as archive:
        manifest = json.loads(archive.read(".deploy/manifest.json"))
        running = f"{sys.version_info[0]}.{sys.version_info[1]}"
        [target] = [target for target in manifest["targets"] if target["python"] == running][:1]
        wheels = [wheel["file"] for wheel in target["wheels"] + target["bootstrap"]]
        plain = scratch / "plain.zip"
        with zipfile.ZipFile(plain, "w") as copy:
            for name in archive.namelist():
                if name.startswith((manifest["project"] + "/", "static.in/")) or name in wheels:
                    method = zipfile.ZIP_STORED if name in wheels else zipfile.ZIP_DEFLATED
                    copy.writestr(zipfile.ZipInfo(name), archive.read(name), method)
    tree, tar = _final_files(artifact, scratch)
    return Material(artifact, plain, tree, tar, wheels, manifest["project"])


def _final_files(artifact: Path, scratch: Path) -> "tuple[Path, Path]":
    """Return a zip and a tar of everything that a deployment leaves, bytecode aside."""
    site = scratch / "final" / "site"
    command = [sys.executable, "-I", str(artifact), "-d", str(site), "--quiet"]
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


def _ours(options: str) -> Callable[[Material], str]:
    def script(material: Material) -> str:
        return f"{_quoted(sys.executable)} -I {_quoted(material.artifact)} -d site --quiet {options}"

    return script


def _uv(options: str) -> Callable[[Material], str]:
    def script(material: Material) -> str:
        tool = _quoted(uv())
        return "\n".join(
            [
                f"unzip -q {_quoted(material.plain)} -d site",
                'export UV_CACHE_DIR="$PWD/cache"',
                f"{tool} venv -q --offline --python {_quoted(sys.executable)} site/venv",
                f"{tool} pip install -q --offline --no-index --no-deps {options} --python site/venv/bin/python \\",
                "  " + " ".join(_quoted(f"site/{wheel}") for wheel in material.wheels),
                "rm -r site/wheels site/bootstrap_wheels",
            ]
        )

    return script


def _pip(options: str) -> Callable[[Material], str]:
    def script(material: Material) -> str:
        wheels = " ".join(_quoted(f"site/{wheel}") for wheel in material.wheels)
        return "\n".join(
            [
                f"unzip -q {_quoted(material.plain)} -d site",
                f"{_quoted(sys.executable)} -m venv --without-pip site/venv",
                f"site/venv/bin/python site/{material.pip}/pip install -q --isolated --disable-pip-version-check \\",
                f"  --no-cache-dir --no-index --no-deps {options} {wheels}",
                "rm -r site/wheels site/bootstrap_wheels",
            ]
        )

    return script


def _quoted(text: object) -> str:
    return shlex.quote(str(text))


def _unzip(material: Material) -> str:
    return f"unzip -q {_quoted(material.tree)} -d site"


def _tar(material: Material) -> str:
    return f"mkdir site\ntar -C site -xf {_quoted(material.tar)}"


FLOWS = (
    Flow(OURS, "verifies, unpacks, installs, with the bytecode that was shipped", _ours("--no-sync"), True),
    Flow("deployable-zipfile, on disk", "the same, and waits until everything is on the disk", _ours(""), True),
    Flow("deployable-zipfile, one core", "the same with `--workers 1`, no wait", _ours("--no-sync --workers 1"), True),
    Flow(REFERENCE, "`unzip`, `uv venv`, `uv pip install`, cold cache", _uv("--compile-bytecode"), True),
    Flow("uv", "the same without bytecode", _uv("")),
    Flow("pip", "`unzip`, `venv`, `pip install`, which compiles by default", _pip(""), True),
    Flow("unzip", "the final files without bytecode from one zip: no environment, no checks", _unzip),
    Flow("tar", "the same files uncompressed", _tar),
)
