"""What an answer must be like: each kind of expectation met and missed, and what is no expectation at all."""

import time
from typing import Any

import pytest

from kit.errors import InvalidRequest
from skills.cases import expectations

JSON = {"label": "billing", "parts": [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}], "sure": True}


@pytest.mark.parametrize(
    ("expect", "output"),
    [
        ({}, "anything"),
        ({"equals": "Paris"}, " Paris\n"),
        ({"equals": {"n": 1}}, {"n": 1.0}),
        ({"contains": "PARIS"}, "It is Paris."),
        ({"contains": ["paris", "is"]}, "It is Paris."),
        ({"contains": "billing"}, JSON),
        ({"matches": r"\b\d{4}-\d\d\b"}, "Due 2026-03."),
        ({"schema": {"type": "object", "required": ["label"]}}, JSON),
        ({"subset": {"label": "billing"}}, JSON),
        ({"subset": {"parts": [{"id": 2}, {"tags": ["b"]}]}}, JSON),
        ({"max_words": 3}, "one two three"),
        ({"max_milliseconds": 100}, "quick"),
        ({"equals": "a", "max_words": 1, "matches": "^a$"}, "a"),
    ],
)
def test_an_answer_that_is_as_expected_has_no_fault(expect: dict[str, Any], output: Any) -> None:
    expectations.check(expect)

    assert expectations.faults(expect, output, milliseconds=100) == []


@pytest.mark.parametrize(
    ("expect", "output", "fault"),
    [
        ({"equals": "Paris"}, "Lyon", 'is not "Paris".'),
        ({"equals": True}, 1, "is not true."),
        ({"equals": [1, 2]}, [2, 1], "is not [1, 2]."),
        ({"contains": ["Paris", "Lyon"]}, "Paris", 'does not contain "Lyon".'),
        ({"matches": r"^\d+$"}, "12a", 'has no match of "^\\\\d+$".'),
        ({"schema": {"type": "string"}}, JSON, "does not fit the schema: The value: must be of type string."),
        ({"subset": {"label": "sales"}}, JSON, "does not hold what is expected at /label."),
        ({"subset": {"sure": 1}}, JSON, "does not hold what is expected at /sure."),
        ({"subset": {"parts": [{"id": 1}, {"id": 3}]}}, JSON, "does not hold what is expected at /parts/1."),
        ({"subset": {"more": 1}}, JSON, "does not hold what is expected at /more."),
        ({"subset": {"a": 1}}, "text", "does not hold what is expected at /."),
        ({"max_words": 2}, "one two three", "has 3 words, over 2."),
        ({"max_milliseconds": 99}, "slow", "took 100 ms, over 99 ms."),
    ],
)
def test_each_shortfall_is_said(expect: dict[str, Any], output: Any, fault: str) -> None:
    expectations.check(expect)

    assert expectations.faults(expect, output, milliseconds=100) == [fault]


@pytest.mark.parametrize(
    ("expect", "path"),
    [
        ([], ""),
        ({"mentions": ["a"]}, "/mentions"),
        ({"contains": []}, "/contains"),
        ({"contains": [""]}, "/contains"),
        ({"contains": 5}, "/contains"),
        ({"matches": "("}, "/matches"),
        ({"matches": r"(?=look)"}, "/matches"),
        ({"schema": {"type": "strin"}}, "/schema/type"),
        ({"schema": True}, "/schema"),
        ({"subset": [1]}, "/subset"),
        ({"max_words": True}, ""),
        ({"max_milliseconds": 0}, ""),
        ({"equals": "x" * 200_000}, ""),
    ],
)
def test_what_is_no_expectation_is_refused_with_its_place(expect: Any, path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        expectations.check(expect)

    assert refused.value.details["path"] == path


def test_a_hostile_pattern_takes_linear_time() -> None:
    expect = {"matches": r"^(a|a)*(a|aa)+$"}
    expectations.check(expect)
    began = time.process_time()

    found = expectations.faults(expect, "a" * 20_000 + "b", milliseconds=1)

    assert len(found) == 1
    assert time.process_time() - began < 2
