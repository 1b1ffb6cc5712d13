"""What the API enforces of a schema, and output schemas that come with the call."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InvalidRequest
from skills import schemas
from skills.schemas.nodes import children
from skills.versions import Content

ENFORCED = {
    "type", "properties", "required", "additionalProperties", "items", "minItems", "enum", "const", "anyOf",
    "$ref", "$defs", "definitions", "format", "description", "title",
}  # fmt: skip


def content(output_schema: dict[str, Any] | None) -> Content:
    return Content(
        description="d",
        input_schema={"type": "object"},
        model="fast",
        max_tokens=1,
        max_tokens_ceiling=1,
        output_schema=output_schema,
    )


def test_limits_move_into_the_description_and_objects_are_closed() -> None:
    schema = {
        "type": "object",
        "description": "A person.",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 9, "description": "Full name."},
            "born": {"type": "string", "format": "date"},
            "site": {"type": "string", "format": "iri"},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "some": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "phone": {"type": ["string", "null"], "minLength": 3},
        },
        "required": ["name"],
    }

    assert schemas.provider_schema(schema) == {
        "type": "object",
        "description": "A person.",
        "properties": {
            "name": {"type": "string", "description": "Full name.\n\n{minLength: 1, maxLength: 9}"},
            "born": {"type": "string", "format": "date"},
            "site": {"type": "string", "description": '{format: "iri"}'},
            "tags": {"type": "array", "items": {"type": "string"}, "description": "{minItems: 2}"},
            "some": {"type": "array", "items": {"type": "integer", "description": "{minimum: 1}"}, "minItems": 1},
            "kind": {"enum": ["a", "b"]},
            "phone": {"anyOf": [{"type": "string", "description": "{minLength: 3}"}, {"type": "null"}]},
        },
        "required": ["name"],
        "additionalProperties": False,
    }


def test_references_one_of_and_all_of_are_rewritten() -> None:
    schema = {
        "$defs": {"money": {"type": "number", "minimum": 0}},
        "type": "object",
        "properties": {
            "price": {"$ref": "#/$defs/money", "description": "net"},
            "size": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "both": {
                "allOf": [
                    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "null"}}, "required": ["b"]},
                ]
            },
        },
    }

    assert schemas.provider_schema(schema) == {
        "$defs": {"money": {"type": "number", "description": "{minimum: 0}"}},
        "type": "object",
        "properties": {
            "price": {"$ref": "#/$defs/money"},
            "size": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "both": {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "null"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("inside", "path"),
    [
        ({}, ""),
        (True, ""),
        ({"type": "object"}, ""),
        ({"type": "object", "additionalProperties": {"type": "string"}}, ""),
        ({"type": "array"}, ""),
        ({"type": "array", "items": {}}, "/items"),
        ({"type": "object", "properties": {"b": {"type": "null"}}, "required": ["c"]}, "/required"),
        ({"allOf": [{"type": "string"}, {"minLength": 3}]}, "/allOf"),
        ({"anyOf": [{"type": "string"}, {}]}, "/anyOf/1"),
    ],
)
def test_what_cannot_be_promised_is_refused_with_its_place(inside: Any, path: str) -> None:
    schema = {"type": "object", "properties": {"a": inside}}

    with pytest.raises(InvalidRequest) as refused:
        schemas.provider_schema(schema)

    assert refused.value.details["path"] == f"/properties/a{path}"


def test_the_schema_given_is_left_as_it_was() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]}

    schemas.provider_schema(schema)

    assert schema == {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]}


names = st.sampled_from(["a", "b", "c"])
leaves = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.just(1), "format": st.just("date")}),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional={"minimum": st.integers(0, 9)}),
    st.sampled_from([{"type": "boolean"}, {"type": ["string", "null"]}, {"enum": ["x", 1, None]}, {"const": True}]),
)
authored = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": st.integers(1, 3)}),
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(names, inner, min_size=1)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
    ),
    max_leaves=12,
)


@given(authored)
def test_only_enforced_keywords_are_left_and_every_object_is_closed(schema: dict[str, Any]) -> None:
    strict = schemas.provider_schema(schema)

    jsonschema_rs.Draft202012Validator(strict)
    waiting = [strict]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            assert one.keys() <= ENFORCED
            assert one.get("type") != "object" or one["additionalProperties"] is False
            waiting += [child for _, child in children(one)]


def test_the_labels_of_the_call_become_the_enum() -> None:
    version = content({"type": "object", "properties": {"label": {"enum": {"$input": "labels"}}}})

    resolved = schemas.output_schema_for(version, {"labels": ["x", "y"]})

    assert resolved == {"type": "object", "properties": {"label": {"enum": ["x", "y"]}}}
    assert schemas.output_schema_for(content(None), {}) is None


def test_what_a_caller_brings_is_not_resolved_again() -> None:
    brought = {"type": "object", "properties": {"a": {"const": {"$input": "secret"}, "type": "object"}}}

    with pytest.raises(InvalidRequest) as refused:
        schemas.output_schema_for(content({"$input": "schema"}), {"schema": brought, "secret": "s3cret"})

    assert refused.value.details["path"] == "/schema/properties/a"
    assert "s3cret" not in refused.value.message


@pytest.mark.parametrize(
    ("brought", "path"),
    [
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "/schema/properties/a/type"),
        ({"type": "object", "properties": {"a": {"$ref": "http://example.com"}}}, "/schema/properties/a/$ref"),
        ({"type": "object"}, "/schema"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "/schema/properties/a"),
    ],
)
def test_a_callers_unusable_schema_is_refused_at_its_place_in_the_input(brought: Any, path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schemas.output_schema_for(content({"$input": "schema"}), {"schema": brought})

    assert refused.value.details["path"] == path


def test_a_nested_callers_schema_is_pointed_at_in_the_input() -> None:
    version = content({"type": "object", "properties": {"data": {"$input": "schema"}}})

    with pytest.raises(InvalidRequest) as refused:
        schemas.output_schema_for(version, {"schema": {"type": "array"}})

    assert refused.value.details["path"] == "/schema"
