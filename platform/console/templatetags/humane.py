"""Numbers for people."""

from datetime import datetime

from django import template
from django.utils import timezone

from console.budgets import burndown

register = template.Library()
_WARM, _HOT = 80, 100


@register.filter
def whole(number: int | None) -> str:
    """Write a whole number with separated thousands."""
    return f"{number or 0:,}"


@register.filter
def short(number: int | None) -> str:
    """Write a number briefly, such as 3.4 M."""
    return burndown.short(number or 0)


@register.filter
def dollars(micros: int | None) -> str:
    """Write micro-dollars as dollars and cents; less than a cent with the digits that tell."""
    if micros and micros < 10_000:
        return f"${micros / 1_000_000:.6f}".rstrip("0")
    return f"${(micros or 0) / 1_000_000:,.2f}"


@register.filter
def brief_dollars(micros: int) -> str:
    """Write micro-dollars for an axis: whole dollars in brief, cents below ten dollars."""
    if 0 < micros < 10_000_000:
        return f"${micros / 1_000_000:.{2 if micros >= 10_000 else 4}f}"
    return f"${burndown.short(micros // 1_000_000)}"


@register.filter
def first_paragraph(text: str) -> str:
    """Return a text up to its first empty line."""
    return text.split("\n\n", 1)[0]


def moment(at: datetime, *, seconds: bool = False) -> str:
    """Write an instant in the zone that the page is shown in."""
    return timezone.localtime(at).strftime("%-d %b %Y, %H:%M:%S" if seconds else "%-d %b %Y, %H:%M")


@register.filter
def heat(percent: int) -> str:
    """Name how close something is to its limit, for colours."""
    return "sg-hot" if percent >= _HOT else "sg-warm" if percent >= _WARM else "sg-cool"


@register.filter
def atmost(number: int, most: int) -> int:
    """Cap a number."""
    return min(number, most)
