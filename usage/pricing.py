"""What tokens cost: dated prices by model, token class and prompt length, in integer micro-dollars.

A loaded price book never changes; its id is the price version an event carries. A model
without a price is refused, never booked as nothing.
"""

import hashlib
import re
import tomllib
from dataclasses import astuple, dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.db import transaction

from kit import clock, pg
from kit.errors import InvalidRequest, NotAllowed, Unavailable
from usage.models import Price, PriceBook

SHIPPED = Path(__file__).with_name("prices.toml")
MICROS = 1_000_000
_CLASSES = tuple(Price.TokenClass.values)
_REQUIRED = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_RELOAD_SECONDS = 60.0
_DATED = re.compile(r"-\d{8}$")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts by class, as upstream reports them; `input` excludes what was cached."""

    input: int = 0
    output: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def prompt(self) -> int:
        """All that was read: the length that price bands go by."""
        return self.input + self.cache_write_5m + self.cache_write_1h + self.cache_read

    @property
    def total(self) -> int:
        """All classes together: what budgets count."""
        return self.prompt + self.output


@dataclass(frozen=True, slots=True)
class Band:
    """The prices of one model for prompts of at least `prompt_from` tokens, from a day on (micro-dollars per million)."""

    effective_from: date
    prompt_from: int
    micros: dict[str, int]


@dataclass(frozen=True, slots=True)
class Book:
    """One price version."""

    version: int
    bands: dict[str, tuple[Band, ...]]

    def in_force(self, model: str, *, on: date) -> list[Band]:
        """This function will return a model's bands on a day, shortest prompts first.

        Raises `NotAllowed` with `reason: price_unknown` when there are none.
        """
        known = self.bands.get(model) or self.bands.get(_DATED.sub("", model)) or ()
        started = [band for band in known if band.effective_from <= on]
        if not started:
            raise NotAllowed(
                f"No price is known for the model {model[:80]!r}, so it cannot be called. Ask the operator to load one.",
                reason="price_unknown",
            )
        latest = {band.prompt_from: band for band in sorted(started, key=lambda band: band.effective_from)}
        return [latest[start] for start in sorted(latest)]

    def priced(self, *, on: date) -> list[str]:
        """This function will return the models that have a price on a day."""
        return [model for model, bands in self.bands.items() if any(band.effective_from <= on for band in bands)]

    def cost(self, model: str, tokens: Tokens, *, on: date) -> int:
        """This function will return what a call cost, in micro-dollars, rounded half up once for the whole call."""
        band = [band for band in self.in_force(model, on=on) if band.prompt_from <= tokens.prompt][-1]
        total: int = sum(getattr(tokens, token_class) * band.micros[token_class] for token_class in _REQUIRED)
        return (total + MICROS // 2) // MICROS

    def upper_bound(self, model: str, *, input_tokens: int, output_tokens: int, on: date) -> int:
        """This function will return a cost in micro-dollars that no call within these tokens can exceed."""
        bands = [band for band in self.in_force(model, on=on) if band.prompt_from <= input_tokens]
        dearest_input = max(band.micros[name] for band in bands for name in _REQUIRED if name != "output")
        dearest_output = max(band.micros["output"] for band in bands)
        return -(-(input_tokens * dearest_input + output_tokens * dearest_output) // MICROS)


class _Current:
    """The newest book, re-read once a minute; books never change, so an old one is merely old."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self.read_at = 0.0


_current = _Current()


def forget() -> None:
    """This function will make the next call read the newest book again."""
    _current.book = None


async def current() -> Book:
    """This function will return the newest price version; Unavailable when none was ever loaded."""
    fresh = clock.monotonic() - _current.read_at < _RELOAD_SECONDS
    if _current.book is not None and fresh:
        return _current.book
    rows = await pg.fetch_all(
        "SELECT book_id, model, token_class, prompt_from, effective_from, micros_per_million FROM usage_price"
        " WHERE book_id = (SELECT max(id) FROM usage_pricebook)"
    )
    if not rows:
        raise Unavailable("No prices are loaded yet; the operator runs `manage.py load_prices`.", retry_after=30)
    _current.book, _current.read_at = _book(rows), clock.monotonic()
    return _current.book


def _book(rows: list[dict[str, Any]]) -> Book:
    grouped: dict[tuple[str, date, int], dict[str, int]] = {}
    for row in rows:
        start = (row["model"], row["effective_from"], row["prompt_from"])
        grouped.setdefault(start, {})[row["token_class"]] = row["micros_per_million"]
    bands: dict[str, list[Band]] = {}
    for (model, effective_from, prompt_from), micros in grouped.items():
        bands.setdefault(model, []).append(Band(effective_from=effective_from, prompt_from=prompt_from, micros=micros))
    return Book(version=rows[0]["book_id"], bands={model: tuple(found) for model, found in bands.items()})


def load(path: Path, *, now: datetime) -> tuple[PriceBook, bool]:
    """This function will load a price file as a new version, unless it is the newest already.

    Returns the book and whether it is new. The format is that of the shipped `prices.toml`.
    Raises `InvalidRequest` naming the entry at fault; nothing is loaded then.
    """
    raw = path.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    known = PriceBook.objects.filter(digest=digest).first()
    if known is not None:
        return known, False
    content = _parse(raw)
    with transaction.atomic():
        book = PriceBook.objects.create(digest=digest, source=content["source"], as_of=content["as_of"], loaded_at=now)
        Price.objects.bulk_create([price for entry in content["price"] for price in _prices(book, entry)])
    return book, True


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        content = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise InvalidRequest(f"The price file is not TOML: {fault}") from fault
    missing = [name for name in ("source", "as_of", "price") if not content.get(name)]
    if missing:
        raise InvalidRequest(f"The price file lacks {', '.join(missing)}.")
    return content


def _prices(book: PriceBook, entry: dict[str, Any]) -> list[Price]:
    absent = [name for name in ("model", "effective_from", *_REQUIRED) if name not in entry]
    if absent:
        raise InvalidRequest(f"The price entry {entry.get('model', '?')!r} lacks {', '.join(absent)}.")
    return [
        Price(
            book=book,
            model=entry["model"],
            token_class=token_class,
            prompt_from=entry.get("prompt_from", 0),
            effective_from=entry["effective_from"],
            micros_per_million=_micros(entry, token_class),
            source=entry.get("source", book.source),
        )
        for token_class in _CLASSES
        if token_class in entry
    ]


def _micros(entry: dict[str, Any], token_class: str) -> int:
    try:
        micros = Decimal(str(entry[token_class])) * MICROS
    except InvalidOperation as fault:
        raise InvalidRequest(f"The {token_class} price of {entry['model']!r} is not a number of dollars.") from fault
    if micros < 0 or micros != micros.to_integral_value():
        raise InvalidRequest(f"The {token_class} price of {entry['model']!r} is negative or finer than a micro-dollar.")
    return int(micros)
