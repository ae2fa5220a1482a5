"""How deep the unit tests look."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# pytest --hypothesis-profile=deep: ten thousand mutations, every bit and every offset, in minutes not seconds.
settings.register_profile(
    "deep", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
