"""Loading prices from a TOML file, checked to the last field before anything of it counts."""

import hashlib
import tomllib
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.db import transaction

from kit import control
from kit.errors import InvalidRequest
from usage.models import Price, PriceBook
from usage.pricing.book import CLASSES, LOADED, MICROS, REQUIRED, Band, Book

SHIPPED = Path(__file__).resolve().parents[1] / "prices.toml"
_FIELDS = {"model", "effective_from", "prompt_from", "source", *CLASSES}
_MOST_MICROS = 10**12  # a million dollars per million tokens
_MOST_PROMPT = 10**9


def load(path: Path, *, now: datetime) -> tuple[PriceBook, bool]:
    """Load a price file as a new version, unless it is the newest already.

    Returns the book and whether it is new: an older file that is loaded again becomes current
    again, as a new version. The format is that of the shipped `prices.toml`. Raises
    `InvalidRequest` naming the entry at fault; nothing is loaded then.
    """
    return load_text(path.read_bytes(), now=now)


def load_text(raw: bytes, *, now: datetime) -> tuple[PriceBook, bool]:
    """Load the content of a price file as `load` does."""
    digest = hashlib.sha256(raw).hexdigest()
    content, entries = _read(raw)
    with transaction.atomic():
        newest = PriceBook.objects.select_for_update().order_by("-pk").first()
        if newest is not None and newest.digest == digest:
            return newest, False
        book = PriceBook.objects.create(digest=digest, source=content["source"], as_of=content["as_of"], loaded_at=now)
        Price.objects.bulk_create([price for entry in entries for price in _prices(book, entry)])
        control.publish(LOADED, version=book.pk)  # every process books by it at once
    return book, True


def candidate(raw: bytes) -> tuple[Book, date]:
    """Read a price file without loading it: the book it would make, and the last day it names."""
    _, entries = _read(raw)
    bands: dict[str, list[Band]] = {}
    for entry in entries:
        band = Band(entry["effective_from"], entry["prompt_from"], entry["micros"])
        bands.setdefault(entry["model"], []).append(band)
    return Book(0, {model: tuple(found) for model, found in bands.items()}, flags_unpriced=True), max(
        entry["effective_from"] for entry in entries
    )


def versions(*, most: int = 20) -> list[PriceBook]:
    """Return the latest price versions with their prices."""
    return list(PriceBook.objects.prefetch_related("prices").order_by("-pk")[:most])


def _read(raw: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    content = _parse(raw)
    entries = [_checked(entry) for entry in content["price"]]
    _refuse_gaps(entries)
    return content, entries


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        content = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise InvalidRequest(f"The price file is not TOML: {fault}") from fault
    missing = [name for name in ("source", "as_of", "price") if not content.get(name)]
    if missing:
        raise InvalidRequest(f"The price file lacks {', '.join(missing)}.")
    is_sound = isinstance(content["price"], list) and all(isinstance(entry, dict) for entry in content["price"])
    if not is_sound or not _is_day(content["as_of"]) or not _is_text(content["source"], longest=500):
        raise InvalidRequest("Give the price file a `source` text, an `as_of` day and [[price]] entries.")
    return content


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    name = str(entry.get("model", "?"))[:80]
    absent = [field for field in ("model", "effective_from", *REQUIRED) if field not in entry]
    if absent:
        raise InvalidRequest(f"The price entry {name!r} lacks {', '.join(absent)}.")
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise InvalidRequest(f"The price entry {name!r} has fields that mean nothing: {', '.join(unknown)}.")
    start = entry.get("prompt_from", 0)
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start <= _MOST_PROMPT:
        raise InvalidRequest(f"The `prompt_from` of {name!r} is not a number of tokens.")
    if not _is_day(entry["effective_from"]):
        raise InvalidRequest(f"The `effective_from` of {name!r} is not a day such as 2026-11-01.")
    if not _is_text(entry["model"], longest=64) or not _is_text(entry.get("source", "-"), longest=500):
        raise InvalidRequest(f"The price entry {name!r} needs a model name (64 characters) and a source text (500).")
    return {**entry, "prompt_from": start, "micros": {part: _micros(entry, part) for part in CLASSES if part in entry}}


def _is_day(value: Any) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


def _is_text(value: Any, *, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest


def _micros(entry: dict[str, Any], token_class: str) -> int:
    fault = f"The {token_class} price of {entry['model']!r}"
    value = entry[token_class]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRequest(f'{fault} is not a number of dollars. Write it in quotes, such as "0.10".')
    try:
        micros = Decimal(value) * MICROS
    except InvalidOperation:
        raise InvalidRequest(f"{fault} is not a number of dollars.") from None
    if not micros.is_finite() or not 0 <= micros <= _MOST_MICROS or micros != micros.to_integral_value():
        raise InvalidRequest(f"{fault} is negative, too large or finer than a micro-dollar.")
    return int(micros)


def _refuse_gaps(entries: list[dict[str, Any]]) -> None:
    tariffs: dict[tuple[str, date], list[int]] = {}
    for entry in entries:
        tariffs.setdefault((entry["model"], entry["effective_from"]), []).append(entry["prompt_from"])
    for (model, day), starts in tariffs.items():
        if len(starts) != len(set(starts)):
            raise InvalidRequest(f"The price of {model!r} from {day} is stated twice for one prompt length.")
        if 0 not in starts:
            raise InvalidRequest(
                f"The price of {model!r} from {day} lacks short prompts: an entry without `prompt_from`."
            )


def _prices(book: PriceBook, entry: dict[str, Any]) -> list[Price]:
    return [
        Price(
            book=book,
            model=entry["model"],
            token_class=token_class,
            prompt_from=entry["prompt_from"],
            effective_from=entry["effective_from"],
            micros_per_million=micros,
            source=entry.get("source", book.source),
        )
        for token_class, micros in entry["micros"].items()
    ]
