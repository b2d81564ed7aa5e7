"""How long a test waits for what must come."""

from __future__ import annotations

PATIENCE_S = 60.0
"""Far longer than anything takes. On a machine that is busy enough, a shorter limit fails at random."""
