"""Structured output: always valid against the schema, and sensible where the text allows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.extracts import Source
from emulator.filling import fill

if TYPE_CHECKING:
    import anthropic

TICKET = (
    "Hello, I was charged 42.50 EUR twice on 2026-03-14 for invoice 1007. Please refund me immediately, this is "
    "urgent. Contact: jane.doe@example.org. Regards, Jane Doe"
)


def ask(client: anthropic.Anthropic, schema: dict[str, Any], text: str = TICKET, system: str = "") -> Any:
    """Return the JSON that the emulator answers to a text under a schema."""
    message = client.messages.create(
        model="claude-haiku-5-5",
        max_tokens=4000,
        system=system or "Extract what is asked.",
        messages=[{"role": "user", "content": f"<text>{text}</text>"}],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[0].type == "text"
    value = json.loads(message.content[0].text)
    jsonschema_rs.validate(schema, value)
    return value


def record(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object all of whose properties are required."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def test_fields_are_taken_from_the_text(client: anthropic.Anthropic) -> None:
    schema = record(
        email={"type": "string", "format": "email"},
        purchase_date={"type": "string", "format": "date"},
        invoice={"type": "integer", "minimum": 1000},
        amount={"type": "number"},
        currency={"type": "string"},
        customer_name={"type": "string"},
        is_urgent={"type": "boolean"},
        is_resolved={"type": "boolean"},
    )

    value = ask(client, schema)

    assert value == {
        "email": "jane.doe@example.org",
        "purchase_date": "2026-03-14",
        "invoice": 1007,
        "amount": 42.5,
        "currency": "EUR",
        "customer_name": "Jane Doe",
        "is_urgent": True,
        "is_resolved": False,
    }


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("I love it, great work, thank you.", ["negative", "neutral", "positive"], "positive"),
        ("It is broken and awful. I hate it.", ["neutral", "positive", "negative"], "negative"),
        ("My invoice shows a charge I never made.", ["technical", "billing", "other"], "billing"),
        ("We sell garden furniture.", ["kitchen_ware", "garden_furniture"], "garden_furniture"),
        ("Nothing fits here.", ["alpha", "beta"], "alpha"),
    ],
)
def test_an_enum_takes_the_label_the_text_is_about(
    client: anthropic.Anthropic, text: str, labels: list[str], expected: str
) -> None:
    assert ask(client, record(label={"enum": labels}), text) == {"label": expected}


def test_the_description_of_a_label_counts(client: anthropic.Anthropic) -> None:
    system = "Classify the text.\n- a1: questions about parking and bicycles\n- b2: questions about food"

    value = ask(client, record(label={"enum": ["a1", "b2"]}), "Where is the food?", system)

    assert value == {"label": "b2"}


NODE: dict[str, Any] = {
    "$ref": "#/$defs/node",
    "$defs": {"node": record(name={"type": "string"}, children={"type": "array", "items": {"$ref": "#/$defs/node"}})},
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "anything": {},
    "const": {"const": {"a": [1]}},
    "recursive": NODE,
    "linked list": record(next={"anyOf": [{"$ref": "#"}, {"type": "null"}]}),
    "nullable": {"type": ["string", "null"]},
    "null": {"type": "null"},
    "one of": {"oneOf": [record(kind={"const": "a"}, x={"type": "integer"}), record(kind={"const": "b"})]},
    "all of": {"allOf": [record(a={"type": "string"}) | {"additionalProperties": True}, {"required": ["a"]}]},
    "bounds": {"type": "integer", "minimum": 5, "maximum": 7},
    "exclusive": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "step": {"type": "integer", "multipleOf": 25, "minimum": 30, "maximum": 60},
    "short": {"type": "string", "maxLength": 3},
    "long": {"type": "string", "minLength": 500},
    "items": {"type": "array", "items": {"type": "string"}, "minItems": 7, "maxItems": 9},
    "unique": {"type": "array", "items": {"type": "integer", "minimum": 3}, "minItems": 20, "uniqueItems": True},
    "unique labels": {"type": "array", "items": {"enum": ["x", "y", "z"]}, "minItems": 3, "uniqueItems": True},
    "none": {"type": "array", "maxItems": 0},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    "numbers": {"enum": [3, 4]},
    "required without properties": {"type": "object", "required": ["a", "b"]},
    "nested": record(a=record(b=record(c={"type": "array", "items": record(d={"type": "boolean"}), "minItems": 1}))),
    **{name: {"type": "string", "format": name} for name in ("email", "date", "date-time", "time", "uri", "uuid", "ipv4", "hostname")},
}  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("text", [TICKET, "?"])
def test_every_shape_of_schema_is_filled(client: anthropic.Anthropic, schema: dict[str, Any], text: str) -> None:
    ask(client, schema, text)


def test_a_pattern_is_filled_with_what_matches_it_in_the_text(client: anthropic.Anthropic) -> None:
    assert ask(client, {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}) == "2026-03-14"


NAMES = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)
SIZES = st.integers(0, 6)


def ranged(kind: str, *, low: str, high: str) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of a kind between two bounds."""
    return st.builds(lambda one, two: {"type": kind, low: min(one, two), high: max(one, two)}, SIZES, SIZES)


LEAVES = st.one_of(
    st.just({"type": "string"}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["null", "integer"]}),
    st.sampled_from(["email", "date", "uuid", "uri"]).map(lambda form: {"type": "string", "format": form}),
    ranged("string", low="minLength", high="maxLength"),
    ranged("integer", low="minimum", high="maximum"),
    ranged("number", low="minimum", high="maximum"),
    st.lists(st.text(max_size=8) | st.integers(), min_size=1, max_size=4).map(lambda values: {"enum": values}),
    (st.text(max_size=8) | st.none() | st.integers()).map(lambda value: {"const": value}),
)


def containers(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas that hold other schemas."""
    fields = st.dictionaries(NAMES, inner, max_size=4)
    return st.one_of(
        fields.map(lambda given: record(**given)),
        st.builds(lambda given, size: {"type": "array", "items": given, "minItems": size}, inner, SIZES),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    )


@settings(deadline=None, max_examples=300)
@given(st.recursive(LEAVES, containers, max_leaves=12), st.text(max_size=200))
def test_whatever_the_schema_and_the_text_the_value_is_valid(schema: dict[str, Any], text: str) -> None:
    value = fill(schema, Source(text))

    jsonschema_rs.validate(schema, value)


def test_structured_output_is_cut_by_max_tokens_like_any_text(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model="claude-haiku-5-5",
        max_tokens=3,
        messages=[{"role": "user", "content": TICKET}],
        output_config={"format": {"type": "json_schema", "schema": record(a={"type": "string"})}},
    )

    assert message.stop_reason == "max_tokens"
    assert message.content[0].type == "text"
    with pytest.raises(json.JSONDecodeError):
        json.loads(message.content[0].text)
