"""Two months side by side: what changed, and what moved most."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kit import money
from usage.reports.months import Line, MonthReport
from usage.reports.sums import Sums

MOST_MOVERS = 8
_KINDS = (("skill", "skills"), ("model", "models"), ("key", "keys"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a skill, model or key was charged in a month and in the one it is compared with."""

    kind: str
    of: str
    title: str
    now: Sums
    before: Sums

    @property
    def billed_micros(self) -> int:
        """How much more the tenant is charged; negative is less."""
        return self.now.billed_micros - self.before.billed_micros

    @property
    def percent(self) -> int | None:
        """The same in percent of before; None where there was nothing before."""
        return rise(self.now.billed_micros, self.before.billed_micros)

    def as_json(self) -> dict[str, Any]:
        """Render the change as plain data."""
        return {
            "kind": self.kind,
            "of": self.of,
            "title": self.title,
            "billed_micros": self.now.billed_micros,
            "billed_micros_before": self.before.billed_micros,
            "change_micros": self.billed_micros,
            "change_usd": money.decimal(self.billed_micros),
        }


def rise(now: int, before: int) -> int | None:
    """Return by how many percent a number rose, rounded; None from nothing."""
    return None if not before else round(100 * (now - before) / before)


def changes(now: MonthReport, before: MonthReport) -> list[Change]:
    """Return every skill, model and key of either month with both of its charges."""
    return [change for kind, name in _KINDS for change in _of(kind, getattr(now, name), getattr(before, name))]


def movers(now: MonthReport, before: MonthReport, *, most: int = MOST_MOVERS) -> list[Change]:
    """Return what changed the charge most, up or down, the largest first."""
    moved = [change for change in changes(now, before) if change.billed_micros]
    return sorted(moved, key=lambda change: (-abs(change.billed_micros), change.kind, change.of))[:most]


def _of(kind: str, now: Iterable[Line], before: Iterable[Line]) -> Iterator[Change]:
    new, old = {line.of: line for line in now}, {line.of: line for line in before}
    for of in dict.fromkeys([*new, *old]):
        present, past = new.get(of), old.get(of)
        title = (present or past or new[of]).title
        yield Change(
            kind=kind, of=of, title=title, now=present.sums if present else Sums(), before=past.sums if past else Sums()
        )
