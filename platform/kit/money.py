"""Money is integer micro-dollars; decimals exist only where people read it."""

from decimal import Decimal

MICROS_PER_DOLLAR = 1_000_000


def decimal(micros: int) -> str:
    """Write micro-dollars as an exact decimal number of dollars, such as `0.001234`."""
    return f"{Decimal(micros) / MICROS_PER_DOLLAR:.6f}"


def dollars(micros: int) -> str:
    """Write micro-dollars for people, such as `$0.001234`."""
    return f"${decimal(micros)}"
