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
    """Return *values* as parameters (tuples for several names); those not in *quick* only run with ``--deep``."""
    chosen = list(quick)
    every = list(values)
    assert chosen
    assert all(value in every for value in chosen)
    return [value if value in chosen else _deep(value) for value in every]


def _deep(value: Any) -> Any:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.deep)
