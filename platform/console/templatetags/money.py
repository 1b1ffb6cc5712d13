"""Money on finance's pages, to the micro-dollar: what is shown is what is booked."""

from decimal import Decimal

from django import template

from kit import money

register = template.Library()


@register.filter
def exact(micros: int | None) -> str:
    """Write micro-dollars whole, such as $1,234.567890."""
    whole, _, part = money.decimal(abs(micros or 0)).partition(".")
    return f"{'−' if (micros or 0) < 0 else ''}${int(whole):,}.{part}"  # noqa: RUF001 - a minus sign for people


@register.filter
def difference(micros: int) -> str:
    """Write a difference of money with its sign."""
    return f"+{exact(micros)}" if micros > 0 else exact(micros)


@register.filter
def signed(number: int) -> str:
    """Write a whole number with its sign."""
    return f"{number:+,}".replace("-", "−")  # noqa: RUF001 - a minus sign for people


@register.filter
def share(part: Decimal) -> str:
    """Write a part of one in percent."""
    return f"{part * 100:.2f} %"
