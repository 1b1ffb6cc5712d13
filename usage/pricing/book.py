"""A price book, and the one in force."""

import logging
import re
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple

from kit import clock, coalescing, control, loops, pg
from kit.errors import NotAllowed, Unavailable
from kit.settings import settings
from kit.values import value
from usage.models import Price

log = logging.getLogger(__name__)

MICROS = 1_000_000
CLASSES = tuple(Price.TokenClass.values)
BATCH = "batch"
UNPRICED = "*"  # the entry of a price file that bounds what models without a price of their own cost
FLAG, REFUSE = "flag", "refuse"
REQUIRED = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_INPUTS = tuple(name for name in REQUIRED if name != "output")
LOADED = "prices.loaded"  # what every process is told when there is a new version
_RELOAD_SECONDS = 60.0
_MOST_REMEMBERED = 1_000
_DATED = re.compile(r"-\d{8}$")


@value
class Tokens:
    """Token counts by class, as upstream reports them; `input` excludes what was cached."""

    input: int = 0
    output: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            input=self.input + other.input,
            output=self.output + other.output,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            cache_read=self.cache_read + other.cache_read,
        )

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


class _Dearest(NamedTuple):
    """The most that a token costs in any band for prompts of up to a length that is at least `prompt_from`."""

    prompt_from: int
    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Book:
    """One price version."""

    version: int
    bands: dict[str, tuple[Band, ...]]
    flags_unpriced: bool = False
    _in_force: dict[tuple[str, date], list[Band]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _dearest: dict[tuple[str, date], list[_Dearest]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def in_force(self, model: str, *, on: date) -> list[Band]:
        """Return a model's bands on a day, shortest prompts first.

        A model without a price has those of the bound for such models where the policy is to flag it. Raises
        `NotAllowed` with `reason: price_unknown` when there are none.
        """
        found = self._in_force.get((model, on))
        if found is None:
            if len(self._in_force) >= _MOST_REMEMBERED:
                self._in_force.clear()
            found = self._in_force[model, on] = self._found(model, on=on)
        return found

    def _found(self, model: str, *, on: date) -> list[Band]:
        known: tuple[Band, ...] = ()
        if model != UNPRICED:
            known = self.bands.get(model) or self.bands.get(_DATED.sub("", model)) or ()
        if not known and self.flags_unpriced and model != UNPRICED:
            known = self.bands.get(UNPRICED, ())
        started = max((band.effective_from for band in known if band.effective_from <= on), default=None)
        if started is None:
            raise NotAllowed(
                f"No price is known for the model {model[:80]!r}, so it cannot be called. Ask the operator to load one.",
                reason="price_unknown",
            )
        # A day states the whole tariff: a band that a later day does not repeat is gone.
        return sorted((band for band in known if band.effective_from == started), key=lambda band: band.prompt_from)

    def priced(self, *, on: date) -> list[str]:
        """Return the models that have a price of their own on a day."""
        return [
            model
            for model, bands in self.bands.items()
            if model != UNPRICED and any(band.effective_from <= on for band in bands)
        ]

    def cost(self, model: str, tokens: Tokens, *, on: date, tier: str = "") -> int:
        """Return what a call cost, in micro-dollars, rounded half up once for the whole call.

        `tier` is the service tier that upstream reported: of `batch` the prices are those of batches.
        """
        prompt = tokens.prompt
        bands = self.in_force(model, on=on)
        band = bands[0] if len(bands) == 1 else [one for one in bands if one.prompt_from <= prompt][-1]
        if tier == BATCH:
            return _batch_cost(band, tokens)
        micros = band.micros
        total = (
            tokens.input * micros["input"]
            + tokens.output * micros["output"]
            + tokens.cache_write_5m * micros["cache_write_5m"]
            + tokens.cache_write_1h * micros["cache_write_1h"]
            + tokens.cache_read * micros["cache_read"]
        )
        return (total + MICROS // 2) // MICROS

    def saved(self, model: str, tokens: Tokens, *, on: date) -> int:
        """Return what prompt caching saved of a call, in micro-dollars; negative where it cost more."""
        if tokens.prompt == tokens.input:
            return 0
        plain = Tokens(input=tokens.prompt, output=tokens.output)
        return self.cost(model, plain, on=on) - self.cost(model, tokens, on=on)

    def upper_bound(self, model: str, *, input_tokens: int, output_tokens: int, on: date) -> int:
        """Return a cost in micro-dollars that no call within these tokens can exceed."""
        dearest = self._dearest.get((model, on)) or self._bounded(model, on=on)
        reached = dearest[0]
        for one in dearest:
            if one.prompt_from <= input_tokens:
                reached = one
        return -(-(input_tokens * reached.input + output_tokens * reached.output) // MICROS)

    def _bounded(self, model: str, *, on: date) -> list[_Dearest]:
        bands = self.in_force(model, on=on)
        if len(self._dearest) >= _MOST_REMEMBERED:
            self._dearest.clear()
        found, most_input, most_output = [], 0, 0
        for band in bands:
            most_input = max(most_input, *(band.micros[name] for name in _INPUTS))
            most_output = max(most_output, band.micros["output"])
            found.append(_Dearest(band.prompt_from, most_input, most_output))
        self._dearest[model, on] = found
        return found


def _batch_cost(band: Band, tokens: Tokens) -> int:
    """The discount on input holds for what is cached too; where no price of batches is stated there is none."""
    plain = band.micros["input"]
    reduced = band.micros.get("batch_input", plain)
    prompt: int = sum(getattr(tokens, name) * band.micros[name] for name in _INPUTS)
    output = tokens.output * band.micros.get("batch_output", band.micros["output"])
    scaled, divisor = (prompt * reduced, plain) if plain else (prompt, 1)
    return (2 * (scaled + output * divisor) + MICROS * divisor) // (2 * MICROS * divisor)


class _Current:
    """The newest book and the tenants' policies, re-read when a process hears of a new book and once a minute."""

    def __init__(self) -> None:
        self.books: dict[bool, Book] = {}
        self.policies: dict[int, str] = {}
        self.read_at = 0.0
        self.generation = 0  # what was read before the latest is not kept

    def of(self, tenant_id: int | None) -> Book:
        """Return the book, as a tenant's policy for unpriced models has it."""
        policy = self.policies.get(tenant_id or 0) or settings.UNPRICED_MODELS
        return self.books[policy == FLAG]


_current = _Current()


def forget() -> None:
    """Make the next call read the newest book again."""
    _current.books = {}
    _current.generation += 1


async def current(tenant_id: int | None = None) -> Book:
    """Return the newest price version; Unavailable when none was ever loaded.

    Of a tenant it flags or refuses models without a price as the tenant's policy says, else as the platform's does.
    """
    if _current.books and clock.monotonic() - _current.read_at >= _RELOAD_SECONDS:
        _current.read_at = clock.monotonic()
        loops.start(_reread(), name="re-read prices")  # beside the calls: none of them waits for it
    while not _current.books:
        await coalescing.shared(("prices", _current.generation), _read)
    return _current.of(tenant_id)


async def _reread() -> None:
    try:
        await _read()
    except Unavailable as unavailable:
        log.warning("prices could not be read again: %s", unavailable)


async def _read() -> None:
    generation = _current.generation
    rows = await pg.fetch_all(
        "SELECT book_id, model, token_class, prompt_from, effective_from, micros_per_million FROM usage_price"
        " WHERE book_id = (SELECT max(id) FROM usage_pricebook)"
    )
    if not rows:
        raise Unavailable("No prices are loaded yet; the operator runs `manage.py load_prices`.", retry_after=30)
    policies = await pg.fetch_all("SELECT id, unpriced_models FROM tenants_tenant WHERE unpriced_models <> ''")
    if generation != _current.generation:
        return  # there are others by now
    book = _book(rows)
    _current.policies = {row["id"]: row["unpriced_models"] for row in policies}
    _current.books = {False: book, True: replace(book, flags_unpriced=True)}
    _current.read_at = clock.monotonic()


async def booked_by(number: int) -> Book:
    """Return the price version that an event was admitted by, for what is settled long after."""
    known = _current.books.get(True)
    if known is not None and known.version == number:
        return known
    rows = await pg.fetch_all(
        "SELECT book_id, model, token_class, prompt_from, effective_from, micros_per_million FROM usage_price"
        " WHERE book_id = %s",
        (number,),
    )
    return replace(_book(rows), flags_unpriced=True)


def version(number: int) -> Book:
    """Read one price version, to check what was booked by it: its bound for unpriced models counts."""
    names = ("book_id", "model", "token_class", "prompt_from", "effective_from", "micros_per_million")
    return replace(_book(list(Price.objects.filter(book_id=number).values(*names))), flags_unpriced=True)


def _book(rows: list[dict[str, Any]]) -> Book:
    grouped: dict[tuple[str, date, int], dict[str, int]] = {}
    for row in rows:
        start = (row["model"], row["effective_from"], row["prompt_from"])
        grouped.setdefault(start, {})[row["token_class"]] = row["micros_per_million"]
    bands: dict[str, list[Band]] = {}
    for (model, effective_from, prompt_from), micros in grouped.items():
        bands.setdefault(model, []).append(Band(effective_from=effective_from, prompt_from=prompt_from, micros=micros))
    return Book(
        version=rows[0]["book_id"] if rows else 0, bands={model: tuple(found) for model, found in bands.items()}
    )


control.subscribe(LOADED, lambda _: forget())
