"""The kinds of Python and machine that an artifact is built for, and which wheels run on them.

A target is either an interpreter of this machine, which is asked about itself, or a name such as
``cp38-manylinux_2_17_x86_64``. Tags are those of PEP 425, 600 and 656; markers those of PEP 508.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple, TypeVar

from packaging import tags
from packaging.utils import parse_wheel_filename

from .. import process
from ..definitions import NamedTuple, expression
from ..errors import BuildInputError, UsageError

OLDEST, NEWEST = (3, 8), (3, 14)  # minor releases that the target side runs on
_NAMED = expression(
    r"cp3(?P<minor>[0-9]{1,2})-(?P<platform>manylinux(?:1|2010|2014|_2_[0-9]+)_(?P<machine>[a-z0-9_]+))\Z"
)
_MINOR = expression(r"3\.[0-9]{1,2}\Z")
_MANYLINUX = expression(r"manylinux(?:(?P<old>1|2010|2014)|_2_(?P<minor>[0-9]+))_")
_OLD_NAMES = {"1": 5, "2010": 12, "2014": 17}  # PEP 600: manylinux1 is 2.5 and so on
# A release of a named target's minor version that none of its bug-fix releases' Requires-Python excludes.
_NAMED_PATCH = 99
_PATIENCE = 60.0  # seconds for an interpreter to answer

_PROBE = r"""
import json, os, platform, struct, sys
facts = {
    "implementation": platform.python_implementation(),
    "version": "%d.%d.%d" % sys.version_info[:3],
    "stage": {"final": ""}.get(sys.version_info[3], "%s%d" % (sys.version_info[3], sys.version_info[4])),
    "release": list(sys.version_info[:2]),
    "full": sys.version,
    "machine": platform.machine(),
    "bits": struct.calcsize("P") * 8,
    "libc": list(platform.libc_ver()),
    "system": platform.system(),
}
if sys.version_info >= (3, 8):
    import importlib.util, sysconfig
    facts["cache_tag"] = sys.implementation.cache_tag
    facts["magic"] = importlib.util.MAGIC_NUMBER.hex()
    facts["flags"] = getattr(sys, "abiflags", "")
    facts["free_threaded"] = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    facts["platform_release"] = platform.release()
    facts["platform_version"] = platform.version()
"""

_File = TypeVar("_File")


class BuildTarget(NamedTuple):
    """One kind of Python and machine to build for."""

    label: str  # how messages name it: "cp311-manylinux_2_36_x86_64"
    python: str  # "3.11"
    version: str  # "3.11.7"; of a named target a release that no Requires-Python for bug-fix releases excludes
    abi: str  # "cp311"
    machine: str  # as platform.machine()
    glibc: Tuple[int, int]  # of this machine, or the floor that the name gives
    interpreter: str  # path of an interpreter of this very version, "" when there is none at hand
    identity: str  # text that differs whenever what is built could differ
    cross: bool  # given by name: takes binary wheels only
    cache_tag: str  # of the interpreter, "" without one
    magic: str  # 8 hexadecimal digits, "" without one
    stage: str = ""  # of a pre-release: "rc1"
    kernel: Tuple[str, str] = ("", "")  # platform.release() and version() of this machine, "" of a named target

    @property
    def release(self) -> str:
        """The release that this target is of for certain, with its stage: "3.13.0rc1"."""
        return self.version + self.stage

    @property
    def platforms(self) -> Tuple[str, ...]:
        """Platform tags that run here, best first."""
        manylinux = _manylinux(self.glibc, self.machine)
        return manylinux if self.cross else (*manylinux, f"linux_{self.machine}")

    @property
    def tags(self) -> FrozenSet[str]:
        """Every wheel tag that runs here."""
        return frozenset(self.ranked_tags)

    @property
    def ranked_tags(self) -> Tuple[str, ...]:
        """Every wheel tag that runs here, best first."""
        version = _release(self.version)
        platforms = list(self.platforms)
        supported = [
            *tags.cpython_tags(version, abis=[self.abi], platforms=platforms),
            *tags.compatible_tags(version, interpreter=self.abi, platforms=platforms),
        ]
        return tuple(str(tag) for tag in supported)

    @property
    def markers(self) -> Dict[str, str]:
        """The environment that PEP 508 markers are evaluated in."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.release,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": self.kernel[0],
            "platform_system": "Linux",
            "platform_version": self.kernel[1],
            "python_full_version": self.release,
            "python_version": self.python,
            "sys_platform": "linux",
        }


def wanted(python: str, further: Sequence[str], names: Sequence[str], warn: Callable[[str], None]) -> List[BuildTarget]:
    """Return what to build for: the named targets, or else one Python; and every further Python.

    Of several interpreters of one minor version the first is taken, and the others are named in a warning.

    Parameters:
        python: command of an interpreter, "3.11" for short, "": the running one.
        further: of more interpreters.
        names: of targets.

    Raises:
        UsageError, BuildInputError: as :func:`of_interpreter` and :func:`of_name`.
    """
    first_command, others = _command(python) or sys.executable, [_command(one) for one in further]
    goals = [of_name(name, (first_command, *others)) for name in names]
    goals += [of_interpreter(command) for command in (others if goals else [first_command, *others])]
    chosen: Dict[Tuple[str, str], BuildTarget] = {}
    for goal in goals:
        first = chosen.setdefault((goal.python, goal.label if goal.cross else goal.machine), goal)
        if os.path.realpath(first.interpreter) != os.path.realpath(goal.interpreter):
            warn(
                f"{goal.interpreter}: is Python {goal.release} and {first.interpreter} is {first.release}; "
                f"the wheels for Python {goal.python} are those of the latter"
            )
    return list(chosen.values())


def _command(python: str) -> str:
    """Return the interpreter's command: "3.11" means python3.11."""
    return f"python{python}" if _MINOR.match(python) else python


def of_interpreter(command: str) -> BuildTarget:
    """Ask the interpreter *command* (a path, or a name on PATH) what it is.

    Raises:
        UsageError: it cannot be run.
        BuildInputError: it is not a CPython 3.8 to 3.14 on Linux with glibc that artifacts can be built for.
    """
    path = shutil.which(command)
    if path is None:
        raise UsageError(command, "is not a Python that can be run", "Correct --extra-python")
    facts = _asked(path)
    if facts is None:
        raise UsageError(command, "does not behave like a Python", "Correct --extra-python")
    _check_interpreter(path, facts)
    python = "{}.{}".format(*facts["release"])
    abi = "cp{}{}".format(*facts["release"])
    libc = facts["libc"][1]
    glibc = (int(libc.split(".")[0]), int(libc.split(".")[1]))
    identity = json.dumps([facts[key] for key in ("full", "machine", "libc")])
    label = f"{abi}-manylinux_{glibc[0]}_{glibc[1]}_{facts['machine']}"
    return BuildTarget(
        label, python, facts["version"], abi, facts["machine"], glibc, path, identity, False,
        facts["cache_tag"], facts["magic"], _stage(facts.get("stage", "")),
        (facts.get("platform_release", ""), facts.get("platform_version", "")),
    )  # fmt: skip


def of_name(name: str, at_hand: Sequence[str] = ()) -> BuildTarget:
    """Read the target *name*, ``cp38-manylinux_2_17_x86_64``.

    Parameters:
        at_hand: interpreters of this machine; one of the same minor version compiles the bytecode.

    Raises:
        UsageError: it is not of this form, or of a Python that artifacts cannot be built for.
    """
    match = _NAMED.match(name)
    if match is None or not OLDEST <= (3, int(match["minor"])) <= NEWEST:
        raise UsageError(
            f"--target {name}", "is not a target for CPython 3.8 to 3.14", "Write it as cp38-manylinux_2_17_x86_64"
        )
    minor, machine = int(match["minor"]), match["machine"]
    interpreter, facts = _at_hand(minor, at_hand)
    return BuildTarget(
        name, f"3.{minor}", f"3.{minor}.{_NAMED_PATCH}", f"cp3{minor}", machine, _glibc(match["platform"]),
        interpreter, json.dumps([name, facts.get("full", "")]), True,
        facts.get("cache_tag", ""), facts.get("magic", ""),
    )  # fmt: skip


def best(files: Mapping[str, _File], target: BuildTarget) -> Optional[_File]:
    """Return the wheel of *files* (by file name) that suits *target* best; None when none does."""
    ranks = {tag: number for number, tag in enumerate(target.ranked_tags)}
    found = []
    for name, file in files.items():
        if name.endswith(".whl"):
            _, _, build, supported = parse_wheel_filename(name)
            known = [ranks[str(tag)] for tag in supported if str(tag) in ranks]
            if known:
                found.append(((-min(known), build), name, file))
    return max(found, key=lambda one: one[:2])[2] if found else None


def _asked(path: str) -> Optional[Dict[str, Any]]:
    if path == sys.executable:  # it answers as soon as it is asked here
        names: Dict[str, Any] = {}
        exec(_PROBE, names)
        return dict(names["facts"])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = process.answer([path, "-c", f"{_PROBE}print(json.dumps(facts))"], _PATIENCE, os.curdir, environment)
        answer = json.loads(done.stdout.decode("utf-8"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return answer if isinstance(answer, dict) and "release" in answer else None


def _check_interpreter(path: str, facts: Dict[str, Any]) -> None:
    found = f"{facts['implementation']} {facts['version']}"
    release = tuple(facts["release"])
    if facts["implementation"] != "CPython" or not OLDEST <= release <= NEWEST:
        raise BuildInputError(path, f"is {found}; artifacts run on CPython 3.8 to 3.14", "Give another Python")
    if facts["free_threaded"] or facts["flags"]:
        raise BuildInputError(path, f"is a debug or free-threaded build of {found}", "Give an ordinary one")
    if facts["system"] != "Linux" or facts["libc"][0] != "glibc":
        raise BuildInputError(
            path, f"runs on {facts['system']} without glibc", "Build for a server with --target, see docs/build.md"
        )
    if facts["bits"] != 64 and facts["machine"] in ("x86_64", "aarch64"):
        raise BuildInputError(path, f"is a {facts['bits']}-bit Python on {facts['machine']}", "Give a 64-bit one")


def _stage(text: str) -> str:
    """Return the stage of a pre-release as PEP 440 spells it: "candidate1" is "rc1"."""
    return text.replace("alpha", "a").replace("beta", "b").replace("candidate", "rc")


def _at_hand(minor: int, commands: Sequence[str]) -> Tuple[str, Dict[str, Any]]:
    """Return an interpreter 3.*minor* and what it says of itself; nothing when there is none."""
    for command in (*commands, f"python3.{minor}"):
        path = shutil.which(command)
        facts = _asked(path) if path else None
        if facts and facts["release"] == [3, minor] and facts["implementation"] == "CPython" and not facts["flags"]:
            return str(path), facts
    return "", {}


def _manylinux(glibc: Tuple[int, int], machine: str) -> Tuple[str, ...]:
    """Return the manylinux tags that *glibc* satisfies, newest first (PEP 600, with the older names beside)."""
    oldest = 5 if machine in ("x86_64", "i686") else 17
    found: List[str] = []
    old_names = {minor: old for old, minor in _OLD_NAMES.items()}
    for minor in range(glibc[1], oldest - 1, -1):
        found.append(f"manylinux_{glibc[0]}_{minor}_{machine}")
        if minor in old_names:
            found.append(f"manylinux{old_names[minor]}_{machine}")
    return tuple(found)


def _glibc(platform: str) -> Tuple[int, int]:
    match = _MANYLINUX.match(platform)
    if match is None:
        raise UsageError(platform, "is not a manylinux platform", "Write it as manylinux_2_17_x86_64")
    return 2, _OLD_NAMES[match["old"]] if match["old"] else int(match["minor"])


def _release(version: str) -> Tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
