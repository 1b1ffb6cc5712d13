"""Words and look-ups for the pages of books that are compared."""

from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()


@register.filter
def words(name: str) -> str:
    """Write a name as words."""
    return name.replace("_", " ")


@register.filter
def at(mapping: Mapping[str, Any], name: str) -> Any:
    """Look up a name."""
    return mapping.get(name, 0)
