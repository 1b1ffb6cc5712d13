"""What Claude answers to a skill that promises JSON, before anyone sees it."""

from datetime import UTC, datetime

import pytest

from kit.wire import JSONAnswer
from skills import answers
from tests.skills.test_requests import version

PROMISED = {"type": "object", "properties": {"score": {}}}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_to_be_repaired(number: str) -> None:
    said = answers.Answer(parts=[f'{{"score": {number}}}'], stop_reason="end_turn")

    with pytest.raises(answers.Unfit) as unfit:
        answers.checked(said, version=version(output_schema=PROMISED), given={})

    assert unfit.value.is_repairable
    assert said.output is None


def test_odd_texts_and_numbers_are_answered_as_json_has_them() -> None:
    large, at = 2**80, datetime(2026, 3, 1, tzinfo=UTC)

    assert JSONAnswer({"score": large}).content == b'{"score":%d}' % large
    assert JSONAnswer({"text": "a\ud800é"}).content == '{"text":"a?é"}'.encode()
    assert JSONAnswer({"at": at, "score": 0.5}).content == b'{"at":"2026-03-01T00:00:00Z","score":0.5}'
