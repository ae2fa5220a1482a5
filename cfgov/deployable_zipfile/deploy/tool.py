"""The copy of the tool in a root, for use without an artifact."""

from __future__ import annotations

from .. import durable, removal
from ..artifact import layout
from ..artifact.zipreader import Artifact
from ..install import tree
from . import provision
from .releases import Root


def write_tool(artifact: Artifact, root: Root) -> None:
    """Keep the verbs beside the releases, for an operator who has no artifact at hand.

    ``python3 ROOT/.deploy/tool rollback`` works with the modules of the artifact that was deployed last, and with the
    Python that the live release was installed with, whatever ``python3`` is.
    """
    name = f"tool-{artifact.manifest.build_id}"
    folder = root.state / name
    if not (folder / "__main__.py").is_file():
        package = folder / "deployable_zipfile"
        package.mkdir(mode=0o755, parents=True, exist_ok=True)
        for member in tree.runtime_members(artifact):
            module = package / layout.runtime_path(member)
            module.parent.mkdir(mode=0o755, exist_ok=True)
            provision.write_atomically(module, artifact.read(member), 0o644)
        provision.write_atomically(
            folder / "__main__.py", _TOOL_MAIN.encode("ascii"), 0o644
        )  # last: it marks the whole
    durable.point(str(root.tool), name)
    for old in root.state.glob("tool-*"):
        if old.name != name:
            removal.remove_tree(str(old))


_TOOL_MAIN = '''"""Verbs without an artifact, or with one that is named. Written by deploy, also read by old Pythons."""

import os
import sys
import types

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(os.path.abspath(__file__)))
BIN = os.path.join(os.path.dirname(os.path.dirname(HERE)), "current", "venv", "bin")


def release_python():
    """Return the Python that the live release was installed with, outside its virtualenv, or nothing."""
    python = os.path.realpath(os.path.join(BIN, "python"))
    if not os.access(python, os.X_OK):
        return ""
    # Root runs nothing that somebody else could have put there.
    if os.geteuid() == 0 and any(os.stat(path).st_uid for path in (BIN, python)):
        return ""
    return python


PYTHON = release_python()
if PYTHON and PYTHON != os.path.realpath(sys.executable or ""):
    if PYTHON.startswith("/opt/rh/"):  # outside "scl enable" it may not find its libraries
        own = os.path.join(os.path.dirname(os.path.dirname(PYTHON)), "lib64")
        os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, [own, os.environ.get("LD_LIBRARY_PATH")]))
    os.execv(PYTHON, [PYTHON, "-I", os.path.dirname(os.path.abspath(__file__))] + sys.argv[1:])

package = types.ModuleType("deployable_zipfile")
package.__path__ = [os.path.join(HERE, "deployable_zipfile")]
sys.modules["deployable_zipfile"] = package

from deployable_zipfile import extract  # noqa: E402

if __name__ == "__main__":
    sys.exit(extract.main(sys.argv[1:], archive=HERE))
'''
