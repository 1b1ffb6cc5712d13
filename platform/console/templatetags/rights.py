"""Whether the person who looks may do something."""

from typing import Any

from django import template

from console import scope

register = template.Library()


@register.simple_tag(takes_context=True)
def may(context: dict[str, Any], right: str) -> bool:
    """Tell whether the role has a right."""
    return scope.may(context["request"], right)
