"""How much the tests try: a sample of the exhaustive sweeps, or all of them (``pytest --deep``, as GitHub's jobs do).

``--hypothesis-profile=deep`` tries ten thousand mutations too, which takes half an hour.
"""

from __future__ import annotations

from typing import Any, Iterable, List, Union

import pytest
from hypothesis import settings

assert settings.default is not None  # None only before hypothesis has loaded its profiles
EXAMPLES = settings.default.max_examples
EVERY_MUTATION = EXAMPLES >= 10_000


def sampled(values: Iterable[Any], quick: Union[int, Iterable[Any]], whole: bool = False) -> List[Any]:
    """Return *values* as parameters; those not in *quick* only run with ``--deep``.

    Parameters:
        quick: values, or how many of the first ones.
        whole: a tuple is one value, not one for each of several names; a named tuple always is.
    """
    every = list(values)
    chosen = every[:quick] if isinstance(quick, int) else list(quick)
    assert chosen
    assert all(value in every for value in chosen)
    return [value if value in chosen else _deep(value, whole) for value in every]


def _deep(value: Any, whole: bool) -> Any:
    several = type(value) is tuple and not whole
    return pytest.param(*(value if several else (value,)), marks=pytest.mark.deep)
