"""Months that are closed, days that are sealed, books that are compared, and whom alerts reached."""

from console.closing import ops, pages

__all__ = ["ops", "pages"]
