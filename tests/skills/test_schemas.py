"""Schemas from strangers are bounded, values are checked, and faults are named without echoing what was sent."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InvalidRequest
from skills import schemas


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth - 1):
        schema = {"type": "array", "items": schema}
    return schema


def doubling(levels: int) -> dict[str, Any]:
    """A small schema that unfolds to two to the power of `levels` parts."""
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(1, levels + 1):
        definitions[f"d{level}"] = {"allOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 8}
    return {"type": "object", "$defs": definitions, "properties": {"a": {"$ref": f"#/$defs/d{levels}"}}}


REFUSED: dict[str, tuple[Any, str | None]] = {
    "not an object": (["type", "string"], ""),
    "a boolean": (True, ""),
    "an unknown type": ({"type": "object", "properties": {"a": {"type": "strin"}}}, "/properties/a/type"),
    "a remote reference": ({"$ref": "https://example.com/schema.json"}, "/$ref"),
    "a file reference": ({"$ref": "file:///etc/passwd"}, "/$ref"),
    "a reference to nothing": ({"$ref": "#/$defs/absent"}, "/$ref"),
    "a reference that is no text": ({"$ref": 5}, "/$ref"),
    "a reference to itself": ({"$ref": "#"}, "/$ref"),
    "recursion": (
        {
            "$ref": "#/$defs/node",
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
        },
        "/$defs/node/properties/next/$ref",
    ),
    "an id": ({"$id": "https://example.com/", "type": "object"}, "/$id"),
    "a dynamic reference": ({"$dynamicRef": "#node"}, "/$dynamicRef"),
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema"),
    "a pattern that looks around": ({"type": "string", "pattern": "(?=a)b"}, "/pattern"),
    "a pattern that refers back": ({"type": "string", "pattern": r"(a)\1"}, "/pattern"),
    "a broken pattern": ({"type": "string", "pattern": "("}, "/pattern"),
    "a pattern that grows": ({"type": "string", "pattern": "((a{100}){100}){100}"}, "/pattern"),
    "too many patterns": ({"patternProperties": {f"^{n}$": {} for n in range(21)}}, "/pattern"),
    "17 deep": (nested(17), "/items" * 16),
    "5,000 deep": (nested(5_000), ""),
    "over 64 KB": ({"type": "string", "description": "x" * 70_000}, ""),
    "over 5,000 values": ({"enum": list(range(5_001))}, ""),
    "unfolding without end": (doubling(8), None),
    "not a number": ({"const": float("nan")}, ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_check_schema_refuses(name: str) -> None:
    schema, path = REFUSED[name]

    started = time.monotonic()
    with pytest.raises(InvalidRequest) as refused:
        schemas.check_schema(schema, at="/schema")

    assert time.monotonic() - started < 1.5
    assert path is None or refused.value.details["path"] == f"/schema{path}"
    assert len(refused.value.message) < 300


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": r"^[\w.-]{1,64}$"}}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$defs": {"a": {"type": "string"}}, "type": "array", "items": {"$ref": "#/$defs/a"}},
        {"definitions": {"a/b": {"type": "string"}}, "$ref": "#/definitions/a~1b"},
        {"type": "object", "properties": {"$id": {"type": "string"}, "$ref": {"type": "string"}}},
        nested(16),
        doubling(3),
    ],
)
def test_check_schema_takes_what_is_sound(schema: dict[str, Any]) -> None:
    schemas.check_schema(schema)


def test_a_pattern_that_ruins_backtracking_engines_runs_in_linear_time() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}

    started = time.monotonic()
    with pytest.raises(InvalidRequest):
        schemas.validate(schema, "a" * 200_000 + "b")

    assert time.monotonic() - started < 1.5


PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": r"\S"},
        "age": {"type": ["integer", "null"], "minimum": 0},
        "role": {"enum": ["user", "assistant"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2, "uniqueItems": True},
        "a/b": {"anyOf": [{"type": "string"}, {"type": "number"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({}, "/name", "is required and missing."),
        ({"name": 5}, "/name", "must be of type string."),
        ({"name": "abcdef"}, "/name", "must have at most 5 characters."),
        ({"name": "  "}, "/name", "must not be blank."),
        ({"name": "a", "age": "x"}, "/age", "must be of type null or integer."),
        ({"name": "a", "age": -1}, "/age", "must be at least 0."),
        ({"name": "a", "role": "root"}, "/role", 'must be one of "user", "assistant".'),
        ({"name": "a", "tags": ["x", 3]}, "/tags/1", "must be of type string."),
        ({"name": "a", "tags": ["x", "x"]}, "/tags", "must not hold the same item twice."),
        ({"name": "a", "a/b": []}, "/a~1b", "fits none of the forms it may have."),
        ({"name": "a", "extra": 1}, "/extra", "is not a field here (unknown: extra)."),
        ([], "", "must be of type object."),
    ],
)
def test_validate_names_the_place_and_the_expectation(value: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schemas.validate(PERSON, value, at="/input")

    assert refused.value.details == {
        "path": f"/input{path}",
        "errors": [{"path": f"/input{path}", "message": message}],
    }
    assert refused.value.message == f"/input{path}: {message}"


def test_validate_lists_at_most_five_faults() -> None:
    with pytest.raises(InvalidRequest) as refused:
        schemas.validate({"type": "array", "items": {"type": "string"}}, list(range(9)))

    assert [fault["path"] for fault in refused.value.details["errors"]] == ["/0", "/1", "/2", "/3", "/4"]


@pytest.mark.parametrize(
    "value",
    [{"x" * 100_000: 1, "name": "a"}, {"name": "secret" * 100_000}, {"name": "a", "role": "secret" * 100_000}],
)
def test_validate_never_echoes_long_values(value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        schemas.validate(PERSON, value)

    assert len(str(refused.value.envelope(request_id=None))) < 600


@pytest.mark.parametrize("value", [{"name": "\ud800"}, {"name": {1: 2}}, {"name": object()}, {"name": b"x"}])
def test_validate_refuses_what_is_not_json(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        schemas.validate(PERSON, value)


@pytest.mark.parametrize(
    "value",
    [{"name": "a", "tags": [1] * 1_000_000}, {"name": "a", **{f"k{n}": 1 for n in range(100_000)}}],
    ids=["a million faults", "100,000 unknown fields"],
)
def test_validate_refuses_huge_values_within_a_second(value: Any) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidRequest):
        schemas.validate(PERSON, value)

    assert time.monotonic() - started < 1


def test_validate_takes_what_fits() -> None:
    schemas.validate(PERSON, {"name": "ada", "age": None, "role": "user", "tags": ["x", "y"], "a/b": 1.5})


def test_defaults_fill_only_what_is_absent() -> None:
    schema = {"properties": {"a": {"default": 1}, "b": {"default": 2}, "c": {}, "d": True}}

    assert schemas.with_defaults(schema, {"b": 0}) == {"a": 1, "b": 0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
keywords = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "$ref",
        "$defs",
        "anyOf",
        "allOf",
        "enum",
        "const",
        "pattern",
        "required",
        "$schema",
    ]
)


@given(st.dictionaries(keywords | st.text(max_size=3), json_values, max_size=6), json_values)
def test_no_schema_and_no_value_makes_anything_but_a_refusal(schema: dict[str, Any], value: Any) -> None:
    with contextlib.suppress(InvalidRequest):
        schemas.check_schema(schema)
        schemas.provider_schema(schema)
        schemas.validate(schema, value)
