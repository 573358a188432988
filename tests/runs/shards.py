"""Shards, or whole runs where None, that may hold one output side by side, and such as may not."""

from __future__ import annotations

SHARDS = [
    (None, None, False),
    ((0, 2), (1, 2), True),
    ((0, 2), (0, 2), False),
    ((0, 2), (1, 3), False),
    (None, (0, 2), False),
    ((0, 2), None, False),
]
"""First, second, and whether the second is let in."""
