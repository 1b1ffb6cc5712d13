"""Words and look-ups for the pages of books that are compared."""

from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()


@register.filter
def words(name: str) -> str:
    """This function will write a name as words."""
    return name.replace("_", " ")


@register.filter
def at(mapping: Mapping[str, Any], name: str) -> Any:
    """This function will look up a name."""
    return mapping.get(name, 0)
