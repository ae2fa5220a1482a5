"""What an installation is: its build, who signed it, and what it occupies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

from ..artifact import layout, manifests
from ..install import drift
from . import shelves
from .journal import Journal, history
from .releases import release_target


def installation(destination: str, root: str) -> Dict[str, Any]:
    """Return what the installation in *destination* is, as JSON values. Its files are not compared.

    Parameters:
        root: the root around it, whose journal says who signed it; "" for none.

    Raises:
        DeployableZipfileError: there is no complete installation in it, or the journal cannot be read.
    """
    installed, manifest = drift.recorded(destination)
    use = shelves.disk_use(destination)
    signer = ""
    if root and os.path.realpath(destination) == os.path.join(root, release_target(manifest.build_id)):
        signer = history(Journal(Path(root) / layout.JOURNAL).read()).signers.get(release_target(manifest.build_id), "")
    return {
        "path": destination,
        "build_id": manifest.build_id,
        "project": manifest.project,
        "tool": manifest.tool_version,
        "source": manifest.source._asdict(),
        "python": str(installed["version"]),
        "own_bytes": use.own,
        "shared_bytes": use.shared,
        **({"signed_by": signer} if signer else {}),
    }


def lines(document: Dict[str, Any]) -> List[str]:
    """Return *document* for people."""
    found = [
        f"installed  {document['path']}",
        f"build id   {document['build_id']}",
        f"project    {document['project']}",
        f"source     {manifests.Source(**document['source']).text()}",
        f"python     {document['python']}",
        f"disk use   {document['own_bytes']:,} bytes of its own, {document['shared_bytes']:,} shared by hard links",
    ]
    if "signed_by" in document:
        found.append(f"signed by  {document['signed_by']}")
    return [*found, "contents   not compared; verify does that"]
