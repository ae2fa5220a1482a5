"""``environment.json`` compared with what the artifact declares."""

from __future__ import annotations

import os
from typing import List

from ..artifact import layout
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import DeployableZipfileError, DeploymentError


def problems(artifact: Artifact, env_file: str, destination: str, console: Console) -> List[DeployableZipfileError]:
    """Return what is wrong with *env_file*; what is wrong with the file in *destination* is a warning."""
    path = env_file or os.path.join(destination, layout.ENVIRONMENT)
    if not env_file and not (destination and os.path.lexists(path)):
        return []
    from pathlib import Path

    from ..artifact import environment
    from ..deploy import provision

    contract = environment.contract_of(artifact)
    try:
        read = (
            provision.EnvironmentFile(Path(path)).read if env_file else lambda: provision.read_environment(Path(path))
        )
        variables = read()
        hints, problems = provision.compared(contract, variables) if contract is not None else ([], [])
    except DeploymentError as error:
        hints, problems = [], [error]
    for text in [*hints, *([] if env_file else map(str, problems))]:
        console.warn(text)
    return [*problems] if env_file else []
