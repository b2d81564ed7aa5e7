"""Settings of the test libraries, for every test."""

from __future__ import annotations

from hypothesis import settings

# No deadline for one example: how fast something is, is measured in tests/benchmarks, and on a busy machine a
# limit of 200 ms fails at random.
settings.register_profile("polyseme", deadline=None)
settings.load_profile("polyseme")
