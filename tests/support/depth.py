"""How much the unit tests try: a sample of the exhaustive sweeps, or all of them (``pytest --deep``, as CI does).

``--hypothesis-profile=deep`` tries ten thousand mutations too, which takes half an hour.
"""

from __future__ import annotations

from typing import Any, Iterable, List

import pytest
from hypothesis import settings

assert settings.default is not None  # None only before hypothesis has loaded its profiles
EXAMPLES = settings.default.max_examples
EVERY_MUTATION = EXAMPLES >= 10_000


def sampled(values: Iterable[Any], quick: Iterable[Any]) -> List[Any]:
    """Return *values* as parameters: those that are not in *quick* only run with ``--deep``."""
    chosen = list(quick)
    every = list(values)
    assert chosen
    assert all(value in every for value in chosen)
    return [value if value in chosen else pytest.param(value, marks=pytest.mark.deep) for value in every]
