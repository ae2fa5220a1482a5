"""What is measured: for each row what happens before the clock starts, and the commands a person would type."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, NamedTuple, Sequence

from benchmarks.material import CREATE, FLOOR, PACKAGE, Material, line, tool

OURS, REFERENCE = "deployable-zipfile", "uv with bytecode"
FLOOR_OF_DEPLOYMENT, FLOOR_OF_VERIFY = "floor of a deployment", "floor of verify"
FLOOR_OF_BUILD = "floor of a build that writes"
Script = Callable[[Material], str]


class Flow(NamedTuple):
    """One row."""

    name: str
    group: str
    title: str
    script: Script
    before: Script = lambda _: ""  # not measured
    bytecode: bool = False  # promised at the end
    once: bool = False  # no goal needs it, and it takes long: only the first round of the first workload
    first_round: bool = False  # no goal needs it, but it explains one: only the first round
    times: int = 1  # that the script does the same, for what is too short to be timed once
    skip: Callable[[Material], str] = lambda _: ""  # the reason, "" to run it
    first: str = ""  # folder of the release before, for one that shares files with it

    def check(self, folder: Path) -> None:
        """Prove that a deployment did its work: Django starts, from bytecode where the flow promises it.

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


def _quoted(text: object) -> str:
    return shlex.quote(str(text))


PYTHON = _quoted(sys.executable)


def _ours(options: str, artifact: Callable[[Material], Path] = lambda material: material.artifact) -> Script:
    return lambda material: f"{PYTHON} -I {_quoted(artifact(material))} -d site --quiet {options}"


def _uv(options: str, site: str = "site") -> Script:
    def script(material: Material) -> str:
        return "\n".join(
            [
                f"unzip -q {_quoted(material.plain)} -d {site}",
                'export UV_CACHE_DIR="$PWD/cache"',
                f"{_quoted(tool('uv'))} venv -q --offline --python {PYTHON} {site}/venv",
                f"{_quoted(tool('uv'))} pip install -q --offline --no-index --no-deps {options} \\",
                f"  --python {site}/venv/bin/python \\",
                "  " + " ".join(_quoted(f"{site}/{wheel}") for wheel in material.wheels),
                f"rm -r {site}/wheels {site}/bootstrap_wheels",
            ]
        )

    return script


def _uv_again(material: Material) -> str:
    """Install from the same wheels: uv keeps what it unpacked by the wheel's path and time."""
    wheels = " ".join(_quoted(material.house / os.path.basename(wheel)) for wheel in material.wheels)
    return "\n".join(
        [
            f"unzip -q {_quoted(material.plain)} -d site -x 'wheels/*' 'bootstrap_wheels/*'",
            'export UV_CACHE_DIR="$PWD/cache"',
            f"{_quoted(tool('uv'))} venv -q --offline --python {PYTHON} site/venv",
            f"{_quoted(tool('uv'))} pip install -q --offline --no-index --no-deps --compile-bytecode \\",
            f"  --python site/venv/bin/python {wheels}",
        ]
    )


def _uv_before(material: Material) -> str:
    return _uv_again(material) + "\nmv site first"


def _pip(material: Material) -> str:
    wheels = " ".join(_quoted(f"site/{wheel}") for wheel in material.wheels)
    return "\n".join(
        [
            f"unzip -q {_quoted(material.plain)} -d site",
            f"{PYTHON} -m venv --without-pip site/venv",
            f"site/venv/bin/python site/{material.pip}/pip install -q --isolated --disable-pip-version-check \\",
            f"  --no-cache-dir --no-index --no-deps {wheels}",
            "rm -r site/wheels site/bootstrap_wheels",
        ]
    )


def _pex(material: Material) -> str:
    return (
        f'export PEX_ROOT="$PWD/root"\nPEX_TOOLS=1 {PYTHON} {_quoted(material.pex)} venv --compile site/venv\n'
        "site/venv/bin/python -c 'import django'"
    )


def _shiv(material: Material) -> str:
    return f"export SHIV_ROOT=\"$PWD/root\"\n{PYTHON} {_quoted(material.shiv)} -c 'import django'"


def _floor(artifact: Path, rows: Path, destination: str = "") -> str:
    return f"{PYTHON} -I {_quoted(FLOOR)} run {_quoted(artifact)} {_quoted(rows)} {destination}"


def _without(attribute: str, reason: str) -> Callable[[Material], str]:
    return lambda material: "" if getattr(material, attribute) else reason


DEPLOY = (
    Flow(
        OURS,
        "deploy",
        "verifies, unpacks, installs, with the bytecode that was shipped",
        _ours("--no-sync"),
        bytecode=True,
    ),
    Flow(
        "deployable-zipfile, on disk",
        "deploy",
        "the same, and waits until everything is on the disk",
        _ours(""),
        bytecode=True,
    ),
    Flow(
        "deployable-zipfile, one core",
        "deploy",
        "the same with `--workers 1`, no wait",
        _ours("--no-sync --workers 1"),
        bytecode=True,
        once=True,
    ),
    Flow(
        "deployable-zipfile, no bytecode",
        "deploy",
        "an artifact made with `--no-bytecode`, installed with `--no-compile`: the files that `unzip` writes",
        _ours("--no-sync --no-compile", lambda material: material.bare),
    ),
    Flow(
        REFERENCE,
        "deploy",
        "`unzip`, `uv venv`, `uv pip install`, cold cache",
        _uv("--compile-bytecode"),
        bytecode=True,
    ),
    Flow("uv", "deploy", "the same without bytecode", _uv(""), once=True),
    Flow("pip", "deploy", "`unzip`, `venv`, `pip install`, which compiles by default", _pip, bytecode=True, once=True),
    Flow(
        "pex",
        "deploy",
        "`pex` file to a virtualenv with bytecode, and its first import",
        _pex,
        once=True,
        skip=_without("pex", "pex cannot pack this site"),
    ),
    Flow(
        "shiv",
        "deploy",
        "first start of a `shiv` file with bytecode, which unpacks it",
        _shiv,
        once=True,
        skip=_without("shiv", "shiv cannot pack this site"),
    ),
    Flow(
        "unzip",
        "deploy",
        "the final files without bytecode from one zip: no environment, no checks",
        lambda material: f"unzip -q {_quoted(material.tree)} -d site",
    ),
    Flow(
        FLOOR_OF_DEPLOYMENT,
        "deploy",
        "files of the first row: inflated, compared and written by one process per core, and nothing else",
        lambda material: _floor(material.artifact, material.rows, "site"),
        bytecode=True,
        first_round=True,
    ),
    Flow(
        f"{FLOOR_OF_DEPLOYMENT}, on disk",
        "deploy",
        "the same, put on the disk meanwhile, and the rest waited for",
        lambda material: _floor(material.artifact, material.rows, "site sync"),
        first_round=True,
    ),
    Flow(
        f"{FLOOR_OF_DEPLOYMENT}, no bytecode",
        "deploy",
        "files of the artifact without bytecode, not put on the disk",
        lambda material: _floor(material.bare, material.bare_rows, "site"),
        first_round=True,
    ),
    Flow(
        "tar",
        "deploy",
        "the same files uncompressed",
        lambda material: f"mkdir site\ntar -C site -xf {_quoted(material.tar)}",
        once=True,
    ),
)  # fmt: skip

_STORE = "--no-sync --store store"


def _store_before(material: Material) -> str:
    return f"{_ours(_STORE)(material)}\nmv site first"


SECOND = (
    Flow("first release, store", "second", "`-d DEST --store DIR` with an empty store", _ours(_STORE), bytecode=True),
    Flow(
        "second release, store",
        "second",
        "the next artifact, of which one small wheel and 20 files are others",
        _ours(_STORE, lambda material: material.second),
        _store_before,
        True,
        first="first",
    ),
    Flow(
        "second release, delta",
        "second",
        "the delta of the next artifact, completed from the first release",
        _ours(f"{_STORE} --base first", lambda material: material.delta or material.second),
        _store_before,
        True,
        once=True,
        skip=_without("delta", "this version of create has no --against"),
    ),
    Flow(
        "second release, uv",
        "second",
        "`uv` with its cache of the first release on the same file system",
        _uv_again,
        _uv_before,
        True,
    ),
)


def _create(material: Material, lock: str = "", options: str = "--cache-dir cache") -> str:
    lock = lock or _quoted(material.lock)
    return f"{PYTHON} {_quoted(CREATE)} source/cfgov {lock} out --quiet --no-check {options}"


def _wheels_only(material: Material) -> str:
    """Return what copies the project, and writes a lock of the wheels: those built from an sdist have other hashes."""
    paths = [material.house / os.path.basename(wheel) for wheel in material.wheels if wheel.startswith("wheels/")]
    return f"cp -a {_quoted(material.source)} source\nprintf %s {_quoted(''.join(map(line, paths)))} >lock.txt"


def _warm(further: str) -> Script:
    """Return what makes a warm build: two builds, of which the second knows the files of the first, then *further*."""

    def script(material: Material) -> str:
        copy = (
            f"cp -a {_quoted(material.source)} source\ncp -a {_quoted(material.lock.parent / 'cache')} cache\nsleep 0.2"
        )
        return f"{copy}\n{_create(material)}\nsleep 0.2\n{_create(material)}\n{further}\nsleep 0.2"

    return script


_TOUCH = "for f in $(find source/cfgov -name '*.py' | sort | head -3); do echo '# changed' >>$f; done"
BUILD = (
    Flow(
        "build, cold",
        "build",
        "no cache at all; the wheels are in a folder",
        lambda material: _create(material, "lock.txt", f"--no-cache --wheelhouse {_quoted(material.house)}"),
        _wheels_only,
        once=True,
    ),
    Flow(
        "build, warm",
        "build",
        "lock unchanged, no artifact to copy from: all of the project is deflated again",
        _create,
        _warm("rm out.zip"),
    ),
    Flow("build, few files changed", "build", "three files of the project", _create, _warm(_TOUCH)),
    Flow("build, nothing changed", "build", "the same again", _create, _warm("true")),
    Flow(
        "zip -6",
        "build",
        "the members of the same artifact; wheels and bytecode stored",
        lambda _: "cd members\nzip -6 -q -r -n .whl:.zip ../members.zip .",
        lambda material: f"unzip -q {_quoted(material.artifact)} -d members",
    ),
    Flow(
        FLOOR_OF_BUILD,
        "build",
        "every byte of the artifact read and hashed once, copied by the kernel, and put on the disk",
        lambda _: f"{PYTHON} -I {_quoted(FLOOR)} copy former.zip out.zip",
        lambda material: f"cp {_quoted(material.artifact)} former.zip",
    ),
)


def _often(command: str, times: int) -> str:
    return f"for i in $(seq {times}); do {command} >/dev/null; done"


_MANY = 60
_KEYS = "import json; json.dump({'KEY_%d' % n: 'value %d' % n for n in range(100)}, open('site/environment.json', 'w'))"


def _installed(material: Material) -> str:
    return f"{_ours('--no-sync')(material)}\nchmod -R u+w site/environment.json 2>/dev/null || true"


def _verify(material: Material) -> str:
    return f"{PYTHON} -I {_quoted(material.artifact)} verify --quiet >/dev/null"


PROVE = (
    Flow("verify", "prove", "`verify` of the artifact", _verify),
    Flow(
        "sha256sum", "prove", "of the same file", lambda material: f"sha256sum {_quoted(material.artifact)} >/dev/null"
    ),
    Flow(
        FLOOR_OF_VERIFY,
        "prove",
        "members and files of wheels inflated and compared by one process per core, and nothing else",
        lambda material: _floor(material.artifact, material.rows),
    ),
    Flow(
        "info",
        "prove",
        "`info` of the artifact",
        lambda material: _often(f"{PYTHON} -I {_quoted(material.artifact)} info", _MANY),
        times=_MANY,
    ),
    Flow(
        "--help",
        "prove",
        "of the artifact",
        lambda material: _often(f"{PYTHON} -I {_quoted(material.artifact)} --help", _MANY),
        once=True,
        times=_MANY,
    ),
    Flow(
        "start with environment.json",
        "prove",
        "a start of the site's Python; 100 keys",
        lambda _: _often("site/venv/bin/python -c pass", _MANY),
        lambda material: f"{_installed(material)}\n{PYTHON} -c {shlex.quote(_KEYS)}",
        times=_MANY,
    ),
    Flow(
        "bare start",
        "prove",
        "the same without loadenv",
        lambda _: _often("site/venv/bin/python -c pass", _MANY),
        lambda material: f"{_installed(material)}\nrm site/venv/lib/python*/site-packages/loadenv-init.*",
        times=_MANY,
    ),
)


def _looked(words: str, releases: Callable[[Material], Sequence[Path]]) -> Script:
    """Return a verb of the build side; *words* name the releases as {0} and {1}."""

    def script(material: Material) -> str:
        paths = [_quoted(path) for path in releases(material)]
        verb = words.format(*paths)
        return f"PYTHONPATH={_quoted(PACKAGE)} {PYTHON} -m deployable_zipfile {verb} >/dev/null"

    return script


def _read(command: str, releases: Callable[[Material], Sequence[Path]]) -> Script:
    return lambda material: f"{command.format(*map(_quoted, releases(material)))} >/dev/null"


def _looks(of: str, releases: Callable[[Material], Sequence[Path]], skip: Callable[[Material], str]) -> List[Flow]:
    rows = (
        ("inspect", "", _looked("inspect {0}", releases), False),
        ("diff", "with the next release", _looked("diff {0} {1}", releases), False),
        ("report", "against the next release", _looked("report {1} --against {0}", releases), True),
        ("sha256sum of one", "reading the bytes of one", _read("sha256sum {0}", releases), False),
        ("sha256sum of both", "of the two that are compared", _read("sha256sum {0} {1}", releases), False),
        ("cat", "reading them without looking at them", _read("cat {0}", releases), True),
    )
    return [
        Flow(f"{name}{of}", "look", title or "what it holds", script, skip=skip, once=once)
        for name, title, script, once in rows
    ]


LOOK = (
    *_looks("", lambda material: (material.artifact, material.second), lambda _: ""),
    *_looks(", large", lambda material: material.large, _without("large", "only of the first workload")),
)

FLOWS: List[Flow] = [*DEPLOY, *SECOND, *BUILD, *PROVE, *LOOK]
