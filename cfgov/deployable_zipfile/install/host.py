"""What the running Python and its machine are, and which target of an artifact they fit."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Dict, Tuple

from ..artifact import delta, manifests, patches
from ..errors import TargetError


def select_target(manifest: manifests.Manifest) -> manifests.Target:
    """Return the target of *manifest* that the running interpreter is, with the wheels that its patch release needs.

    Raises:
        TargetError: there is none, or its plan does not hold for this patch release; the line names what was found
            and what is offered.
    """
    if delta.is_delta(manifest):
        raise TargetError(
            "this artifact",
            "is a delta, which needs the build that it is against",
            "Install or deploy it where that build is, or use the complete artifact",
        )
    target = _fitting(manifest)
    running = patches.running()
    if not patches.hold(target.patch_releases, running):
        offered = patches.described(target.patch_releases)
        raise TargetError(
            "this Python",
            f"the artifact is built for CPython {offered}, found {patches.text(running)} at {sys.executable}",
            "Run it with one of those, or build it with a lock that is complete for this one",
        )
    return target.installed_on(running)


def _fitting(manifest: manifests.Manifest) -> manifests.Target:
    found = f"{sys.version_info[0]}.{sys.version_info[1]}"
    offered = [target.python for target in manifest.targets]
    implementation = sys.implementation.name
    if implementation == "cpython" and not _abi_flags():
        fitting = [target for target in manifest.targets if target.python == found]
        for target in fitting:
            if target.machine == machine():
                return target
        if fitting:
            return fitting[0]
    import platform

    needed = " or ".join(f"CPython {python}" for python in offered) or "an interpreter"
    kind = "CPython" if implementation == "cpython" else platform.python_implementation()
    flags = f" built with ABI flags {_abi_flags()}" if _abi_flags() else ""
    raise TargetError(
        "this Python",
        f"the artifact needs {needed}, found {kind} {platform.python_version()}{flags} at {sys.executable}",
        f"Run it with python{offered[-1] if offered else '3'}",
    )


def machine() -> str:
    """Return what ``platform.machine`` does, "x86_64"; importing that takes as long as the rest of the preflight."""
    return os.uname().machine


def marker_values() -> Dict[str, str]:
    """Return the running interpreter's values of the marker variables that a plan may depend on (PEP 508)."""
    return {
        "os_name": os.name,
        "platform_machine": machine(),
        "platform_system": os.uname().sysname,
        "sys_platform": sys.platform,
    }


def bytecode_fits(target: manifests.Target) -> bool:
    """Return whether the bytecode shipped for *target* is what the running interpreter reads."""
    return target.magic == importlib.util.MAGIC_NUMBER.hex() and target.cache_tag == (
        sys.implementation.cache_tag or ""
    )


def libc() -> Tuple[str, str]:
    """Return name and version of the C library: ("glibc", "2.36"), ("musl", "") or ("", "")."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError, AttributeError):
        text = ""
    name, _, version = text.partition(" ")
    if name:
        return name, version
    return ("musl", "") if "musl" in multiarch() else ("", "")


def multiarch() -> str:
    """Return what this Python was built for: "x86_64-linux-gnu", "x86_64-linux-musl", or "" if it does not say."""
    return str(getattr(sys.implementation, "_multiarch", ""))


def _abi_flags() -> str:
    """Return ABI flags that make compiled wheels unusable: "d" (debug), "t" (free-threaded)."""
    return "".join(flag for flag in getattr(sys, "abiflags", "") if flag in "dt")


def report(manifest: manifests.Manifest) -> Dict[str, str]:
    """Return the facts of this target that matter to an artifact, for ``check``."""
    import platform

    name, version = libc()
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "machine": machine(),
        "libc": f"{name} {version}".strip(),
        "needs": ", ".join(map(_needs, manifest.targets)),
    }


def _needs(target: manifests.Target) -> str:
    exact = patches.described(target.patch_releases) or target.python
    return f"CPython {exact} {target.machine}"
