"""The models that the emulator knows, as `/v1/models` describes them."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qs

from emulator.refusals import Refused, invalid

Json = dict[str, Any]


class Model(NamedTuple):
    """A model's identity and its bounds in tokens."""

    id: str
    display_name: str
    released: str
    max_input_tokens: int = 1_000_000
    max_tokens: int = 128_000
    takes_prefill: bool = False
    lifecycle: str = "active"


# Newest first, as the API lists them. An undated alias is a model of its own here.
_ALL = (
    Model("claude-fable-5-2", "Claude Fable 5.2", "2026-10-14"),
    Model("claude-mythos-5-2", "Claude Mythos 5.2", "2026-10-14"),
    Model("claude-haiku-5-5", "Claude Haiku 5.5", "2026-10-01", max_tokens=64_000),
    Model("claude-sonnet-5-5", "Claude Sonnet 5.5", "2026-09-22"),
    Model("claude-fable-5-1", "Claude Fable 5.1", "2026-09-01"),
    Model("claude-opus-5-5", "Claude Opus 5.5", "2026-08-26"),
    Model("claude-mythos-5-1", "Claude Mythos 5.1", "2026-08-20"),
    Model("claude-sonnet-5", "Claude Sonnet 5", "2026-07-15"),
    Model("claude-fable-5", "Claude Fable 5", "2026-07-01"),
    Model("claude-mythos-5", "Claude Mythos 5", "2026-06-24"),
    Model("claude-opus-5", "Claude Opus 5", "2026-06-10"),
    Model("claude-opus-4-8", "Claude Opus 4.8", "2026-05-12"),
    Model("claude-opus-4-7", "Claude Opus 4.7", "2026-04-14"),
    Model("claude-mythos-preview", "Claude Mythos Preview", "2026-04-07", lifecycle="deprecated"),
    Model("claude-opus-4-6", "Claude Opus 4.6", "2026-02-05"),
    Model("claude-sonnet-4-6", "Claude Sonnet 4.6", "2026-02-17", max_tokens=64_000),
    Model("claude-opus-4-5", "Claude Opus 4.5", "2025-11-24", 200_000, 64_000, takes_prefill=True),
    Model("claude-opus-4-5-20251101", "Claude Opus 4.5", "2025-11-24", 200_000, 64_000, takes_prefill=True),
    Model("claude-haiku-4-5", "Claude Haiku 4.5", "2025-10-15", 200_000, 64_000, takes_prefill=True),
    Model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15", 200_000, 64_000, takes_prefill=True),
    Model(
        "claude-sonnet-4-5",
        "Claude Sonnet 4.5",
        "2025-09-29",
        200_000,
        64_000,
        takes_prefill=True,
        lifecycle="deprecated",
    ),
    Model(
        "claude-sonnet-4-5-20250929",
        "Claude Sonnet 4.5",
        "2025-09-29",
        200_000,
        64_000,
        takes_prefill=True,
        lifecycle="deprecated",
    ),
)
MODELS = {model.id: model for model in _ALL}


def find(model_id: object) -> Model:
    """Return a model by its id; an unknown one is a 404."""
    model = MODELS.get(model_id) if isinstance(model_id, str) else None
    if model is None:
        raise Refused(404, f"model: {model_id}")
    return model


def describe(model: Model) -> Json:
    """Return a model as `GET /v1/models/{id}` shows it."""
    yes = {"supported": True}
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": f"{model.released}T00:00:00Z",
        "lifecycle": model.lifecycle,
        "deprecated_at": None,
        "retires_at": None,
        "line": model.id.split("-")[1],
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "capabilities": {
            "batch": {"supported": False},
            "citations": yes,
            "code_execution": {"supported": False},
            "context_management": {"supported": False},
            "effort": {"supported": True, "low": yes, "medium": yes, "high": yes, "max": yes, "xhigh": yes},
            "image_input": yes,
            "pdf_input": yes,
            "server_tools": {
                "supported": False,
                "code_execution": {"supported": False},
                "web_search": {"supported": False},
            },
            "structured_outputs": yes,
            "thinking": {
                "supported": True,
                "types": {"adaptive": yes, "between_tools": yes, "disabled": yes, "enabled": yes},
            },
        },
    }


def page(query: str) -> Json:
    """Return one page of the list of models, by `limit`, `after_id` and `before_id`."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = _limit(asked.get("limit", "20"))
    names = list(MODELS)
    if "before_id" in asked:
        end = _position(names, asked["before_id"])
        start = max(0, end - limit)
        has_more = start > 0
    else:
        start = _position(names, asked["after_id"]) + 1 if "after_id" in asked else 0
        end = start + limit
        has_more = end < len(names)
    chosen = names[start:end]
    return {
        "data": [describe(MODELS[name]) for name in chosen],
        "has_more": has_more,
        "first_id": chosen[0] if chosen else None,
        "last_id": chosen[-1] if chosen else None,
    }


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1000):
        raise invalid("limit: must be between 1 and 1000")
    return int(text)


def _position(names: list[str], model_id: str) -> int:
    if model_id not in names:
        raise invalid(f"cursor: no model {model_id!r}")
    return names.index(model_id)
