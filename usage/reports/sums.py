"""Sums over closed usage events, and whether all events of their month are in them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

from kit import money

TOKEN_CLASSES = (
    "input_tokens",
    "output_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What some closed events add up to. Every money is in whole micro-dollars, and each is a sum over the events.

    `cost_micros` is what the provider takes, `billed_micros` what the tenant is charged by its tariff.
    """

    calls: int = 0
    errors: int = 0
    estimated_calls: int = 0
    released_calls: int = 0
    unpriced_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    charged_tokens: int = 0
    cost_micros: int = 0
    estimated_micros: int = 0
    unpriced_micros: int = 0
    billed_micros: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Sums":
        """Take the sums out of a row that has more columns."""
        return cls(**{name: int(row[name] or 0) for name in MEASURES})

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(**{name: getattr(self, name) + getattr(other, name) for name in MEASURES})

    @property
    def settled_calls(self) -> int:
        """Those that are closed with exactly what upstream reported."""
        return self.calls - self.estimated_calls - self.released_calls

    @property
    def estimated_share(self) -> Decimal:
        """Which part of the cost is estimated, from 0 to 1, to four digits."""
        if not self.cost_micros:
            return Decimal("0.0000")
        return (Decimal(self.estimated_micros) / self.cost_micros).quantize(Decimal("0.0001"))

    def as_json(self) -> dict[str, Any]:
        """Render the sums as plain data."""
        return {
            **asdict(self),
            "settled_calls": self.settled_calls,
            "cost_usd": money.decimal(self.cost_micros),
            "billed_usd": money.decimal(self.billed_micros),
            "estimated_share": str(self.estimated_share),
        }


MEASURES = tuple(field.name for field in fields(Sums))
SUMMED = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in MEASURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How many events of a month were admitted and what became of them, and from which number to which they go."""

    admitted: int
    settled: int
    released: int
    estimated: int
    open: int
    first_number: int | None
    last_number: int | None

    @classmethod
    def of(cls, sums: Sums, row: Mapping[str, Any]) -> "Completeness":
        """Put together closed events (their sums) and open ones (a row of `usage_month_numbers`)."""
        still_open = int(row["open"] or 0)
        return cls(
            admitted=sums.calls + still_open,
            settled=sums.settled_calls,
            released=sums.released_calls,
            estimated=sums.estimated_calls,
            open=still_open,
            first_number=row["first_number"],
            last_number=row["last_number"],
        )

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "Completeness":
        """Take up again what `as_json` wrote."""
        return cls(**{field.name: content[field.name] for field in fields(cls)})

    @property
    def missing(self) -> int:
        """How many numbers between the first and the last have no event: any is a finding."""
        if self.first_number is None or self.last_number is None:
            return -self.admitted
        return self.last_number - self.first_number + 1 - self.admitted

    @property
    def is_gapless(self) -> bool:
        """Whether every number from the first to the last has exactly one event."""
        return self.missing == 0

    @property
    def is_final(self) -> bool:
        """Whether nothing is missing, open or estimated: these numbers will not change by themselves."""
        return self.is_gapless and not self.open and not self.estimated

    def as_json(self) -> dict[str, Any]:
        """Render the numbers as plain data."""
        return {**asdict(self), "missing": self.missing, "is_gapless": self.is_gapless, "is_final": self.is_final}
