"""Both sides beside each other: the difference, to the token and the micro-dollar, in buckets that sum to it exactly."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from usage import pricing
from usage.models import PriceBook
from usage.reconciliation.ours import Ours
from usage.reconciliation.theirs import Kind, Theirs

MISSING_HERE = "missing_here"
MISSING_THERE = "missing_there"
PRICE = "price"
BOUNDARY = "boundary"
OUTSIDE = "outside_the_platform"
UNEXPLAINED = "unexplained"
BUCKETS = (MISSING_HERE, MISSING_THERE, PRICE, BOUNDARY, OUTSIDE, UNEXPLAINED)
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One day. `buckets` are micro-dollars that sum to `theirs_micros - ours_micros`; a line's are tokens, that sum likewise."""

    day: date
    source: str
    has_costs: bool
    ours_micros: int
    theirs_micros: int
    buckets: dict[str, int]
    lines: list[dict[str, Any]]

    @property
    def difference_micros(self) -> int:
        """What the provider reports more than the ledger."""
        return self.theirs_micros - self.ours_micros

    def as_json(self) -> dict[str, Any]:
        """Render the comparison as plain data."""
        return {
            "day": self.day.isoformat(),
            "source": self.source,
            "has_costs": self.has_costs,
            "ours_micros": self.ours_micros,
            "theirs_micros": self.theirs_micros,
            "difference_micros": self.difference_micros,
            "buckets": self.buckets,
            "lines": self.lines,
        }


def compare(day: date, *, ours: Ours, theirs: Theirs) -> Comparison:
    """Sort the difference between both sides of a day into the buckets.

    Tokens are told apart first and valued at our price; what remains of the money is a difference of prices
    (rounding included: the ledger rounds each call). Without the provider's costs its tokens are valued by us.
    """
    kinds = sorted({*ours.tokens, *theirs.inside, *theirs.outside, *theirs.costs, *ours.arriving})
    rates = _Rates(day, theirs)
    lines: list[dict[str, Any]] = []
    valued: dict[str, Fraction] = defaultdict(Fraction)
    for kind in kinds:
        buckets = _tokens(kind, ours=ours, theirs=theirs)
        for name, tokens in buckets.items():
            valued[name] += tokens * rates.of(kind)
        there = theirs.inside.get(kind, 0) + theirs.outside.get(kind, 0)
        if ours.tokens.get(kind, 0) or there or any(buckets.values()):
            lines.append({**kind._asdict(), "ours": ours.tokens.get(kind, 0), "theirs": there, "buckets": buckets})
    ours_micros = sum(ours.micros.values())
    theirs_micros = _their_micros(theirs, rates) + theirs.other_micros
    buckets = {name: round(valued[name]) for name in BUCKETS if name != PRICE}
    buckets[OUTSIDE] += theirs.other_micros
    buckets[PRICE] = theirs_micros - ours_micros - sum(buckets.values())
    return Comparison(
        day=day,
        source=theirs.source,
        has_costs=theirs.has_costs,
        ours_micros=ours_micros,
        theirs_micros=theirs_micros,
        buckets={name: buckets[name] for name in BUCKETS},
        lines=lines,
    )


def _tokens(kind: Kind, *, ours: Ours, theirs: Theirs) -> dict[str, int]:
    """Sort one line's difference: what is certain first, and what nothing explains last."""
    here, there = ours.tokens.get(kind, 0), theirs.inside.get(kind, 0)
    found = {OUTSIDE: theirs.outside.get(kind, 0)}
    rest = there - here
    found[BOUNDARY] = _within(rest, more=ours.arriving.get(kind, 0), less=ours.leaving.get(kind, 0))
    rest -= found[BOUNDARY]
    if not _has(theirs.inside, kind):
        found[MISSING_THERE] = rest
    elif not _has(ours.tokens, kind):
        found[MISSING_HERE] = rest
    else:
        # An estimate may stand for a call that the provider never took, or for more than it was.
        found[MISSING_THERE] = _within(rest, more=0, less=ours.estimated.get(kind, 0))
    rest -= found.get(MISSING_THERE, 0) + found.get(MISSING_HERE, 0)
    found[UNEXPLAINED] = rest
    return {name: found.get(name, 0) for name in BUCKETS if name != PRICE}


def _has(tokens: Mapping[Kind, int], kind: Kind) -> bool:
    """Whether a side knows the model at all, in whatever class."""
    return any(known.model == kind.model and known.tier == kind.tier for known in tokens)


def _within(rest: int, *, more: int, less: int) -> int:
    return min(rest, more) if rest > 0 else -min(-rest, less)


def _their_micros(theirs: Theirs, rates: "_Rates") -> int:
    if theirs.has_costs:
        return sum(theirs.costs.values())
    return round(sum((tokens * rates.of(kind) for kind, tokens in _all(theirs)), Fraction(0)))


def _all(theirs: Theirs) -> Iterable[tuple[Kind, int]]:
    yield from theirs.inside.items()
    yield from theirs.outside.items()


class _Rates:
    """Micro-dollars per token: ours on that day for short prompts, theirs where we have none."""

    def __init__(self, day: date, theirs: Theirs) -> None:
        newest = PriceBook.objects.order_by("-pk").first()
        self._book = pricing.version(newest.pk) if newest else None
        self._day, self._theirs = day, theirs
        self._known: dict[Kind, Fraction] = {}

    def of(self, kind: Kind) -> Fraction:
        """Return the price of one token."""
        if kind not in self._known:
            self._known[kind] = self._ours(kind)
        return self._known[kind]

    def _ours(self, kind: Kind) -> Fraction:
        priced = self._book is not None and kind.model in self._book.priced(on=self._day)
        if self._book is None or not priced:
            tokens = self._theirs.inside.get(kind, 0) + self._theirs.outside.get(kind, 0)
            return Fraction(self._theirs.costs.get(kind, 0), tokens) if tokens else Fraction(0)
        micros = self._book.in_force(kind.model, on=self._day)[0].micros
        rate = Fraction(micros[kind.token_class], _MICROS)
        if kind.tier != pricing.BATCH:
            return rate
        if kind.token_class == "output":  # noqa: S105 - a class of tokens
            return Fraction(micros.get("batch_output", micros["output"]), _MICROS)
        return rate * Fraction(micros.get("batch_input", micros["input"]), micros["input"]) if micros["input"] else rate
