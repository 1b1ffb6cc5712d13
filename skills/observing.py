"""What is told of every upstream attempt: one line in the log, and the counts that operators watch.

Labels are few: models are those with a price, and no key, tenant or skill is one.
"""

import json
import logging
from functools import lru_cache
from typing import Any, TypeVar

from kit import access, ids, logs
from kit.metrics import Counter, Gauge, Histogram
from kit.settings import settings
from skills import generations
from usage.ledger import Admission, Closing, Reservation

UNDER_WAY = Gauge("skillgate_upstream_calls_open", "Upstream calls under way.", multiprocess_mode="livesum")
CALLS = Counter(
    "skillgate_upstream_calls_total", "Upstream calls that ended.", ["model", "entry_point", "state", "error"]
)
SECONDS = Histogram(
    "skillgate_upstream_seconds",
    "From an upstream call's start to its end.",
    ["model"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600),
)
FIRST_OUTPUT = Histogram(
    "skillgate_upstream_first_output_seconds",
    "From an upstream call's start to the first of its output.",
    ["model"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60),
)
RETRIES = Counter("skillgate_upstream_retries", "Attempts made again, by what went wrong.", ["model", "error"])
FALLBACKS = Counter("skillgate_upstream_fallbacks", "Attempts by a model that stood in for another.", ["model"])
TOKENS = Counter("skillgate_tokens_total", "Tokens charged, by class.", ["model", "class"])
COST = Counter("skillgate_cost_micros_total", "Cost charged, in micro-dollars.", ["model"])

Metric = TypeVar("Metric", Counter, Histogram)
log = logging.getLogger("skillgate.calls")
prompts = logging.getLogger("skillgate.prompts")
_CLASSES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_MOST_KEPT = 4_096
_ERRORS = frozenset(
    {
        "",
        "api_error",
        "authentication_error",
        "cancelled",
        "invalid_request_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
        "timeout_error",
        "upstream_broken",
        "upstream_timeout",
        "upstream_truncated",
        "upstream_unreachable",
        "usage_unsound",
    }
)


def begun(reservation: Reservation, body: dict[str, Any]) -> None:
    """Tell that an attempt goes upstream, and of its prompt where that is wanted."""
    UNDER_WAY.inc()
    access.note(run=ids.encode("run", reservation.admission.run_id))
    generations.begun(reservation, body)
    if reservation.caller.logs_prompts or reservation.caller.tenant_slug in settings.LOG_PROMPTS_OF:
        said = {name: body[name] for name in ("messages", "system") if name in body}
        prompts.warning("prompt", extra={**_who(reservation), "prompt": json.dumps(said, ensure_ascii=False)})


def ended(reservation: Reservation, closing: Closing) -> None:
    """Tell how an attempt ended, what it used and what it cost."""
    UNDER_WAY.dec()
    tokens = closing.tokens
    spent = {name: count for name in _CLASSES if (count := getattr(tokens, name))}
    _count(reservation.admission, closing, spent)
    generations.ended(reservation, closing)
    if settings.LOG_REQUESTS:
        facts = {
            **_who(reservation),
            **{f"{name}_tokens": count for name, count in spent.items()},
            "state": closing.state,
            "error": closing.error_type,
            "stop_reason": closing.stop_reason,
            "cost_micros": closing.cost_micros,
            "duration_ms": closing.duration_ms,
            "first_output_ms": closing.first_output_ms,
            "upstream_request_id": closing.upstream_request_id,
        }
        logs.tell(log, "upstream call", facts)


def known(error: str) -> str:
    """Return an error's name as a label, of which there are few."""
    return error if error in _ERRORS else "other"


def _who(reservation: Reservation) -> dict[str, Any]:
    caller, asked = reservation.caller, reservation.admission
    return {
        "request_id": asked.request_id,
        "run": ids.encode("run", asked.run_id),
        "attempt": asked.attempt,
        "purpose": asked.purpose,
        "tenant": caller.tenant_slug,
        "key": caller.public_id,
        "entry_point": asked.entry_point,
        "skill": asked.skill,
        "version": asked.skill_version,
        "model": asked.model,
        "route": asked.route,
    }


def _count(asked: Admission, closing: Closing, spent: dict[str, int]) -> None:
    model = asked.model
    _kept(CALLS, model, asked.entry_point, closing.state, known(closing.error_type)).inc()
    if closing.duration_ms is not None:
        _kept(SECONDS, model).observe(closing.duration_ms / 1000)
    if closing.first_output_ms is not None:
        _kept(FIRST_OUTPUT, model).observe(closing.first_output_ms / 1000)
    for name, count in spent.items():
        _kept(TOKENS, model, name).inc(count)
    _kept(COST, model).inc(closing.cost_micros)


@lru_cache(maxsize=_MOST_KEPT)
def _kept(metric: Metric, *labels: str) -> Metric:
    """Keep what `labels` finds; looking for it costs as much as counting."""
    return metric.labels(*labels)
