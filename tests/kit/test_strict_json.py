"""What `kit.strict_json` refuses, in which words, and at which cost."""

import json
import math
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kit import strict_json
from kit.errors import InvalidRequest, RequestTooLarge

FULL = 4 * 1024 * 1024


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        strict_json.loads(raw)
    return caught.value


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b" [1, 2.5, -3e10, true, false, null]\n",
        b'"text with \\"quotes\\", \\\\ and \\ud83d\\ude00"',
        b'{"a": {"a": 1}, "b": "\\\\u0000"}',
        b"-9223372036854775808",
        b"9223372036854775807",
        b"1e308",
        b"1e-400",
        b"[" * 64 + b"]" * 64,
        '"\u2028 \U0001f600"'.encode(),
        b'"' + b"[" * 500 + b'\\"' + b"{" * 500 + b'"',
    ],
)
def test_good_json_is_read_as_the_standard_library_reads_it(raw: bytes) -> None:
    assert strict_json.loads(raw) == json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-16"),
        ("{}".encode("utf-16-le"), "UTF-16"),
        ("{}".encode("utf-16-be"), "UTF-16"),
        ("{}".encode("utf-32"), "UTF-16 or UTF-32"),
        (b'{"a": "\xff"}', "not valid UTF-8 at byte 7"),
        (b'"\xed\xa0\x80"', "not valid UTF-8"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\uDFFF": 1}', "lone surrogate"),
        (b'"\\ud83d\\ud83d\\ude00"', "lone surrogate"),
        (b'"\\ud83d\\ude00\\ude00"', "lone surrogate"),
        (b'"\\ud83d\\\\ude00"', "lone surrogate"),
        (b'"\\\\\\ud800"', "lone surrogate"),
        (b'{"a\\u0000": 1}', "NUL character"),
        (b'"\\\\\\u0000"', "NUL character"),
        (b'"\x00"', "UTF-16"),
        (b'{"abc": "\x00"}', "control character"),
        (b"NaN", "NaN is not a JSON number"),
        (b"[Infinity]", "Infinity is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"1e400", "1e400 is out of range"),
        (b"-1.1e308", "out of range"),
        (b"9223372036854775808", "out of range"),
        (b"-9223372036854775809", "out of range"),
        (b"1" * 5000, "out of range or too long"),
        (b"0." + b"1" * 5000, "out of range or too long"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', 'key "c" appears twice'),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
        (b"[{" * 33 + b"}]" * 33, "nested deeper than 64"),
        (b"[" * 5000, "nested deeper than 64"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper than 64"),
        (b"{" + b",".join(b'"%d":1' % number for number in range(10_001)) + b"}", "more than 10000 keys"),
        (b"[" + b"1," * 200_001 + b"1]", "more than 200000 values"),
        (b'{"a": 1', "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b"{} {}", "Extra data"),
        (b"]]", "not valid JSON"),
    ],
)
def test_what_is_not_clean_json_is_refused_in_words(raw: bytes, words: str) -> None:
    assert words in refusal(raw).message


def test_a_refusal_says_where() -> None:
    assert refusal(b'{"a": "\xff"}').details["position"] == 7
    assert refusal(b'{"a": tru}').details["position"] == 6
    assert refusal(b'{"a": "\\ud800"}').details["position"] == 7


def test_a_refusal_never_repeats_more_than_a_little_of_the_input() -> None:
    key = b'"' + b"k" * 10_000 + b'"'

    assert len(refusal(b"{" + key + b":1," + key + b":2}").message) < 200
    assert len(refusal(b"1" * 100_000).message) < 200


def test_a_body_over_the_limit_is_too_large() -> None:
    with pytest.raises(RequestTooLarge):
        strict_json.loads(b'"12345678"', max_bytes=9)

    assert strict_json.loads(b'"12345678"', max_bytes=10) == "12345678"


def filled(unit: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + unit * ((FULL - len(before) - len(after)) // len(unit)) + after


@pytest.mark.parametrize(
    "raw",
    [
        filled(b"["),
        filled(b"]"),
        filled(b"[]"),
        filled(b"[],", before=b"[", after=b"1]"),
        filled(b"1,", before=b"[", after=b"1]"),
        filled(b'"'),
        filled(b'"ab",', before=b"[", after=b"1]"),
        filled(b'\\"', before=b'"'),
        filled(b"\\", before=b'"'),
        filled(b"a", before=b'"'),
        filled(b"a", before=b'"', after=b'\\u0000"'),
        filled(b"\\ud83d\\ude00", before=b'"', after=b'"'),
        filled(b"1"),
        filled(b"1", before=b"0."),
        filled(b":"),
        filled('"é":'.encode()),
        filled(b" "),
        b"[" + b",".join([b"1.2345678901234567"] * 199_000) + b"]",
        b"[" + b",".join([b"[]"] * 99_000) + b"]",
    ],
    ids=lambda raw: repr(raw[:8]),
)
def test_four_mebibytes_of_anything_cost_little_time_and_memory(raw: bytes) -> None:
    tracemalloc.start()
    try:
        _outcome(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    began = time.process_time()
    _outcome(raw)

    assert time.process_time() - began < 1
    assert peak < 40 * 1024 * 1024


def _outcome(raw: bytes) -> Any:
    try:
        return strict_json.loads(raw)
    except InvalidRequest as error:
        return error


def is_storable(value: Any) -> bool:
    """What PostgreSQL's jsonb and a UTF-8 stream take: no NUL, no lone surrogate, finite numbers."""
    if isinstance(value, str):
        return "\0" not in value and not any(0xD800 <= ord(character) <= 0xDFFF for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(is_storable(key) and is_storable(each) for key, each in value.items())
    return all(is_storable(each) for each in value) if isinstance(value, list) else True


texts = st.text(st.characters(codec="utf-8") | st.sampled_from("\0\ud800"), max_size=8)
numbers = st.integers() | st.integers(-(2**64), 2**64) | st.floats()
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(documents, st.booleans())
@example(["\ud800"], True)
@example({"a": math.inf}, True)
def test_what_is_accepted_equals_json_loads_and_can_be_stored(document: Any, is_escaped: bool) -> None:
    raw = json.dumps(document, ensure_ascii=is_escaped).encode("utf-8", "surrogatepass")

    outcome = _outcome(raw)

    if isinstance(outcome, InvalidRequest):
        assert not is_acceptable(document)
    else:
        assert is_acceptable(document)
        assert outcome == json.loads(raw)
        assert json.loads(json.dumps(outcome).encode("utf-8")) == outcome
        assert json.dumps(outcome, ensure_ascii=False).encode("utf-8")


def is_acceptable(value: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return abs(value) <= 1e308
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, dict):
        return all(is_acceptable(key) and is_acceptable(each) for key, each in value.items())
    return all(is_acceptable(each) for each in value)


@given(st.binary(max_size=60) | st.text('[]{}",:\\u0dDbB8fF e1.-tn', max_size=60).map(str.encode))
def test_any_bytes_are_parsed_or_refused_never_anything_else(raw: bytes) -> None:
    outcome = _outcome(raw)

    if not isinstance(outcome, InvalidRequest):
        assert is_storable(outcome)
        assert outcome == json.loads(raw)


@given(st.text('[]{}"\\', max_size=400).map(str.encode))
def test_nesting_is_counted_as_the_parser_will_see_it(raw: bytes) -> None:
    outcome = _outcome(raw)

    if isinstance(outcome, InvalidRequest) and "deeper" in outcome.message:
        assert deepest(raw) > strict_json.MAX_DEPTH


def deepest(raw: bytes) -> int:
    depth = most = 0
    for character in raw:
        depth += {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}.get(character, 0)
        most = max(most, depth)
    return most + raw.count(b"]") + raw.count(b"}")
