"""Plurals: counts of things, in words."""

from __future__ import annotations


def many(count: int, one: str, several: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def are(count: int) -> str:
    """Return the verb for a count."""
    return "is" if count == 1 else "are"
