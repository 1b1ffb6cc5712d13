"""The pages of limits and budgets."""

from console.budgets import pages

__all__ = ["pages"]
