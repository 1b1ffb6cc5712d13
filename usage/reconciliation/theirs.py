"""What the provider reports for a day: by its Admin API, or from the CSV files that its console exports.

API: https://platform.claude.com/docs/en/api/admin-api/usage-cost (usage_report/messages and cost_report); days are
UTC days, costs are decimal numbers of cents. Files: the exports of the Usage and of the Cost page.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from django.conf import settings

from kit.errors import InvalidRequest, Unavailable

CLASSES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_DATED = re.compile(r"-\d{8}$")
_SECONDS = 30.0
_MOST_PAGES = 50
_MICROS_PER_CENT, _MICROS_PER_DOLLAR = 10_000, 1_000_000
_COST_CLASSES = {
    "uncached_input_tokens": "input",
    "output_tokens": "output",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "cache_read_input_tokens": "cache_read",
    "input_no_cache": "input",
    "output": "output",
    "input_cache_write_5m": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h",
    "input_cache_read": "cache_read",
}
_FILE_COLUMNS = {
    "input": "usage_input_tokens_no_cache",
    "output": "usage_output_tokens",
    "cache_write_5m": "usage_input_tokens_cache_write_5m",
    "cache_write_1h": "usage_input_tokens_cache_write_1h",
    "cache_read": "usage_input_tokens_cache_read",
}


class Kind(NamedTuple):
    """What is priced alike: a model, whatever its date, at a tier (`batch`, or `standard` for all others), and a class."""

    model: str
    tier: str
    token_class: str


@dataclass(slots=True)
class Theirs:
    """A day as the provider has it: tokens of our keys and of others, and costs (which it does not tell apart by key)."""

    source: str
    inside: dict[Kind, int] = field(default_factory=lambda: defaultdict(int))
    outside: dict[Kind, int] = field(default_factory=lambda: defaultdict(int))
    costs: dict[Kind, int] = field(default_factory=lambda: defaultdict(int))
    other_micros: int = 0
    has_costs: bool = False

    def count(self, kind: Kind, tokens: int, *, key: str | None) -> None:
        """Count tokens on the side that their key is on."""
        if tokens:
            (self.inside if _is_ours(key) else self.outside)[kind] += tokens


def plain(model: str) -> str:
    """Return a model's name as prices have it: `claude-haiku-4-5` for its dated and display names too."""
    return _DATED.sub("", model.strip().lower().replace(" ", "-").replace(".", "-"))


def of_api(day: date) -> Theirs:
    """Ask the provider for a day; raises `Unavailable`."""
    if not settings.ANTHROPIC_ADMIN_KEY:
        raise Unavailable(
            "There is no Admin API key to ask the provider with: set ANTHROPIC_ADMIN_KEY, or give its files."
        )
    found = Theirs("api", has_costs=True)
    with httpx2.Client(base_url=settings.ANTHROPIC_BASE_URL, timeout=_SECONDS, trust_env=False) as client:
        for row in _pages(
            client, "/v1/organizations/usage_report/messages", day, ("model", "api_key_id", "service_tier")
        ):
            creation = row.get("cache_creation") or {}
            used = {
                "input": row["uncached_input_tokens"],
                "output": row["output_tokens"],
                "cache_write_5m": creation.get("ephemeral_5m_input_tokens", 0),
                "cache_write_1h": creation.get("ephemeral_1h_input_tokens", 0),
                "cache_read": row["cache_read_input_tokens"],
            }
            for name, tokens in used.items():
                found.count(Kind(plain(row["model"] or ""), _tier(row), name), int(tokens), key=row.get("api_key_id"))
        for row in _pages(client, "/v1/organizations/cost_report", day, ("description",)):
            _add_cost(found, row, micros=_micros(row["amount"], scale=_MICROS_PER_CENT))
    return found


def of_files(day: date, *, usage: Path, costs: Path | None = None) -> Theirs:
    """Read a day from the console's exports; raises `InvalidRequest` naming what is at fault."""
    found = Theirs(usage.name, has_costs=costs is not None)
    for row in _rows(usage, day, needs=("model_version", *_FILE_COLUMNS.values())):
        for name, column in _FILE_COLUMNS.items():
            kind = Kind(plain(row["model_version"]), "batch" if row.get("usage_type") == "batch" else "standard", name)
            found.count(kind, _whole(row[column], column), key=row.get("api_key"))
    for row in _rows(costs, day, needs=("model", "token_type", "cost_usd")) if costs else ():
        told = {**row, "service_tier": row.get("usage_type")}
        _add_cost(found, told, micros=_micros(row["cost_usd"], scale=_MICROS_PER_DOLLAR))
    return found


def _pages(client: httpx2.Client, path: str, day: date, groups: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    asked = [
        ("starting_at", f"{day}T00:00:00Z"),
        ("ending_at", f"{day + timedelta(days=1)}T00:00:00Z"),
        ("bucket_width", "1d"),
        *(("group_by[]", name) for name in groups),
    ]
    headers = {"x-api-key": settings.ANTHROPIC_ADMIN_KEY, "anthropic-version": "2023-06-01"}
    page: str | None = None
    for _ in range(_MOST_PAGES):
        try:
            answer = client.get(path, params=[*asked, *([("page", page)] if page else [])], headers=headers)
            answer.raise_for_status()
            content = answer.json()
            for bucket in content["data"]:
                if bucket["starting_at"][:10] == day.isoformat():
                    yield from bucket["results"]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as fault:
            raise Unavailable(f"The provider's report of {day} cannot be read: {type(fault).__name__}.") from fault
        page = content.get("next_page")
        if not content.get("has_more") or not page:
            return


def _add_cost(found: Theirs, row: dict[str, Any], *, micros: int) -> None:
    name = _COST_CLASSES.get(row.get("token_type") or "")
    if not row.get("model") or name is None:
        found.other_micros += micros
    else:
        found.costs[Kind(plain(row["model"]), _tier(row), name)] += micros


def _tier(row: dict[str, Any]) -> str:
    return "batch" if row.get("service_tier") == "batch" else "standard"


def _is_ours(key: str | None) -> bool:
    """Usage without a key is the console's own (its Workbench); a list of our keys leaves out all others."""
    if not key:
        return False
    return not settings.ANTHROPIC_KEY_NAMES or key in settings.ANTHROPIC_KEY_NAMES


def _rows(path: Path, day: date, *, needs: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            absent = [name for name in ("usage_date_utc", *needs) if name not in (reader.fieldnames or ())]
            if absent:
                raise InvalidRequest(f"{path.name} lacks the columns {', '.join(absent)}: is it the console's export?")
            yield from (row for row in reader if (row["usage_date_utc"] or "")[:10] == day.isoformat())
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise InvalidRequest(f"{path.name} cannot be read: {fault}") from fault


def _whole(text: str | None, column: str) -> int:
    if not (text or "0").strip().isdecimal():
        raise InvalidRequest(f"{column} is {str(text)[:20]!r}: that is no number of tokens.")
    return int(text or 0)


def _micros(amount: Any, *, scale: int) -> int:
    try:
        found = Decimal(str(amount)) * scale
        return int(found.to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidRequest(f"{str(amount)[:20]!r} is no amount of money.") from None
