"""What the pages about skills say of answers and of small sums."""

import json
from typing import Any

from django import template

register = template.Library()


@register.filter
def cost(micros: int | None) -> str:
    """Write micro-dollars in full: what a few cases cost is a fraction of a cent."""
    dollars = f"{(micros or 0) / 1_000_000:.6f}".rstrip("0")
    whole, _, part = dollars.partition(".")
    return f"${int(whole):,}.{part:0<2}"


@register.filter
def answer(output: Any) -> str:
    """Write an answer for people: text as it is, JSON indented."""
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2)
