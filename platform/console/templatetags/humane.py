"""Numbers for people."""

from datetime import datetime

from django import template
from django.utils import timezone

from console.budgets import burndown

register = template.Library()
_WARM, _HOT = 80, 100


@register.filter
def whole(number: int | None) -> str:
    """This function will write a whole number with separated thousands."""
    return f"{number or 0:,}"


@register.filter
def short(number: int | None) -> str:
    """This function will write a number briefly, such as 3.4 M."""
    return burndown.short(number or 0)


@register.filter
def dollars(micros: int | None) -> str:
    """This function will write micro-dollars as dollars and cents; less than a cent with the digits that tell."""
    if micros and micros < 10_000:
        return f"${micros / 1_000_000:.6f}".rstrip("0")
    return f"${(micros or 0) / 1_000_000:,.2f}"


@register.filter
def brief_dollars(micros: int) -> str:
    """This function will write micro-dollars for an axis: whole dollars in brief, cents below ten dollars."""
    if 0 < micros < 10_000_000:
        return f"${micros / 1_000_000:.{2 if micros >= 10_000 else 4}f}"
    return f"${burndown.short(micros // 1_000_000)}"


@register.filter
def first_paragraph(text: str) -> str:
    """This function will return a text up to its first empty line."""
    return text.split("\n\n", 1)[0]


def moment(at: datetime, *, seconds: bool = False) -> str:
    """This function will write an instant in the zone that the page is shown in."""
    return timezone.localtime(at).strftime("%-d %b %Y, %H:%M:%S" if seconds else "%-d %b %Y, %H:%M")


@register.filter
def heat(percent: int) -> str:
    """This function will name how close something is to its limit, for colours."""
    return "sg-hot" if percent >= _HOT else "sg-warm" if percent >= _WARM else "sg-cool"


@register.filter
def atmost(number: int, most: int) -> int:
    """This function will cap a number."""
    return min(number, most)
