"""What a verb is about: a folder, or an artifact that is signed as the options require."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING, Dict, Iterator, List, Optional, Tuple

from .. import cli, durable
from ..artifact import layout
from ..artifact.zipreader import Artifact
from ..errors import UsageError

if TYPE_CHECKING:
    from ..install import signature


def looked_at(arguments: argparse.Namespace, archive: str) -> Tuple[str, bool]:
    """Return the path of what *arguments* name, else of the artifact or folder that runs, and whether it is a folder.

    Raises:
        UsageError: it is one, and the options say how it must be signed.
    """
    path = arguments.tree or archive
    folder = not os.path.isfile(path) if arguments.tree else os.path.isdir(path)
    if folder and any(cli.signature_options(arguments)):
        raise UsageError(path, "is a folder, which has no signature", "Give the artifact that it was installed from")
    return path, folder


@contextlib.contextmanager
def signed(
    archive: str, arguments: argparse.Namespace, destination: str = ""
) -> Iterator[Tuple[Artifact, "Optional[signature.Signer]"]]:
    """Open the artifact, signed as the options demand, and the root that contains *destination*."""
    with contextlib.ExitStack() as stack:
        artifact, signer = stack.enter_context(Artifact.open(archive)), None
        for wanted in _demands(artifact, arguments, destination):
            from ..install import signature

            artifact, signer = stack.enter_context(signature.checked(artifact, wanted))
        yield artifact, signer


def _demands(artifact: Artifact, arguments: argparse.Namespace, destination: str) -> "List[signature.Demand]":
    demands = []
    given = cli.signature_options(arguments)
    root = root_above(destination) if destination else ""
    if root:
        from ..deploy import signing

        demanded = signing.demand_of_root(root, artifact.path, given[0])
        demands += [demanded] if demanded else []
    if arguments.allowed_signers:
        from ..install import signature

        demands.append(signature.demand(artifact.path, *given))
    elif any(given) and not demands:
        raise UsageError("the signature", "no allowed signers are given", "Add --allowed-signers FILE")
    return demands


def root_above(destination: str) -> str:
    """Return the folder around *destination* that is a root which something was deployed to, "" when none is."""
    above = durable.upwards(os.path.realpath(destination))
    return next((folder for folder in above if os.path.lexists(os.path.join(folder, layout.JOURNAL))), "")


def signer_document(signer: "Optional[signature.Signer]") -> Dict[str, str]:
    """Return *signer* as JSON values."""
    return {} if signer is None else {"signed_by": signer.principal, "key": signer.key}
