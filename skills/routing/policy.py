"""`policy.routing` of a skill's version: what its author may say about the choice of a model."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings

Fault = tuple[str, str]

FIXED, BY_SIZE, BY_CLASSIFIER, BY_BUDGET = "fixed", "by_size", "by_classifier", "by_budget"
CLASSES = {"simple": "fast", "moderate": "balanced", "complex": "deep", "bulk": "fast"}
"""What the classifier says of a request, and the alias that answers it unless the policy says otherwise."""
IN_DOUBT = "moderate"
BULK = "bulk"
_MOST_STEPS = 8
_LARGEST_SIZE = 1_000_000
_FIELDS = {FIXED: (), BY_SIZE: ("sizes",), BY_CLASSIFIER: ("models",), BY_BUDGET: ("budgets",)}
_NEEDED = {BY_SIZE: "sizes", BY_BUDGET: "budgets"}


def faults(given: Any) -> Iterator[Fault]:
    """Yield what is wrong with a routing policy, each with its path below `policy/routing`."""
    if not isinstance(given, dict):
        yield "", "must be an object with a `kind`."
        return
    kind = given.get("kind", FIXED)
    if not isinstance(kind, str) or kind not in _FIELDS:
        yield "/kind", f"must be one of {', '.join(_FIELDS)}."
        return
    if unknown := sorted(map(str, set(given) - {"kind", *_FIELDS[kind]})):
        yield "", f"does not know `{unknown[0]}` for the kind {kind}."
    if (needed := _NEEDED.get(kind)) and needed not in given:
        yield f"/{needed}", "is missing."
        return
    if kind == BY_SIZE:
        yield from _step_faults(given["sizes"], at="/sizes", bound="up_to", most=_LARGEST_SIZE)
    elif kind == BY_BUDGET:
        yield from _step_faults(given["budgets"], at="/budgets", bound="below_percent", most=100)
    elif kind == BY_CLASSIFIER:
        yield from _class_faults(given.get("models", {}))


def _step_faults(steps: Any, *, at: str, bound: str, most: int) -> Iterator[Fault]:
    """Steps go up, so that the first that fits decides."""
    if not isinstance(steps, list) or not 1 <= len(steps) <= _MOST_STEPS:
        yield at, f"must be a list of 1 to {_MOST_STEPS} steps."
        return
    before = 0
    for position, step in enumerate(steps):
        if not isinstance(step, dict) or set(step) != {bound, "model"}:
            yield f"{at}/{position}", f"must have `{bound}` and `model`, and nothing else."
            return
        number = step[bound]
        if not isinstance(number, int) or isinstance(number, bool) or not before < number <= most:
            yield f"{at}/{position}/{bound}", f"must be a whole number from {before + 1:,} to {most:,}; steps go up."
            return
        before = number
        yield from _model_faults(step["model"], at=f"{at}/{position}/model")


def _class_faults(models: Any) -> Iterator[Fault]:
    if not isinstance(models, dict):
        yield "/models", "must be an object from a class to a model's alias."
        return
    for name, model in models.items():
        if name not in CLASSES:
            yield "/models", f"does not know the class `{str(name)[:32]}`; there are {', '.join(CLASSES)}."
        else:
            yield from _model_faults(model, at=f"/models/{name}")


def _model_faults(model: Any, *, at: str) -> Iterator[Fault]:
    if not isinstance(model, str) or model not in settings.SKILL_MODELS:
        yield at, f"must be one of the aliases {', '.join(settings.SKILL_MODELS)}."
