"""Kept answers: who gets one, what it costs, and when there is none."""

from tests.caching.asking import Asked


def test_the_same_request_again_gets_the_kept_answer_for_nothing(kept: Asked) -> None:
    first, second = kept.post(), kept.post()

    assert [first.status_code, second.status_code] == [200, 200]
    assert second.json()["output"] == first.json()["output"]
    assert first.json()["cache"] == {"hit": False, "outcome": "miss", "age_seconds": None}
    assert second.json()["cache"]["hit"] is True
    assert second.json()["cache"]["age_seconds"] in (0, 1, 2)
    assert [answer.headers["X-Skillgate-Cache"] for answer in (first, second)] == ["miss", "hit"]
    assert second.json()["usage"]["cost_micros"] == second.json()["usage"]["total_tokens"] == 0
    answer, hit = kept.live.closed_events(2)
    assert (answer["purpose"], hit["purpose"]) == ("answer", "cached")
    assert (hit["state"], hit["charged_tokens"], hit["cost_micros"]) == ("settled", 0, 0)
    assert kept.live.outcomes() == ["complete"]
