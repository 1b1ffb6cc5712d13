"""Models without a price: what is called, or was lately, and is not in the price book in force."""

from datetime import UTC, datetime

from django.conf import settings

from usage import pricing
from usage.alerts.models import Alert
from usage.alerts.records import end, raise_alert
from usage.models import PriceBook
from usage.rows import fetch

_LATELY = (
    "SELECT DISTINCT model FROM usage_dailyusage WHERE day > (usage_clock() - interval '8 days')::date AND model <> ''"
)


def raise_due(*, now: datetime) -> int:
    """Tell the operators, once each, of models in use that no price is known for; returns how many."""
    newest = PriceBook.objects.order_by("-pk").first()
    if newest is None:
        return 0
    book = pricing.version(newest.pk)
    wanted = {row["model"] for row in fetch(_LATELY)} | set(settings.SKILL_MODELS.values())
    unpriced = sorted(model for model in wanted if not _is_priced(book, model, now=now))
    named = {f"price:{newest.pk}:{model}": model for model in unpriced}
    end(Alert.Kind.PRICE, now=now, besides=tuple(named))
    return sum(_raise(once, model, version=newest.pk) for once, model in named.items())


def _is_priced(book: pricing.Book, model: str, *, now: datetime) -> bool:
    known = book.priced(on=now.astimezone(UTC).date())
    return any(model == name or model.startswith(f"{name}-20") for name in known)


def _raise(once: str, model: str, *, version: int) -> bool:
    return raise_alert(
        Alert.Kind.PRICE,
        once=once,
        title=f"The model {model} has no price",
        text=(
            f"{model} is in use, or set for skills, and price version {version} does not know it: its calls are refused,"
            " or counted apart where the policy lets them pass.\n\nLoad a price for it: `manage.py load_prices FILE`.\n"
        ),
        details={"model": model, "price_version": version},
    )
