"""A book of 300 pages goes through: with progress, citations that are there, and a cost that is the journal's."""

import json

import httpx2
import pytest

from tests.analyses.conftest import Desk

pytestmark = pytest.mark.usefixtures("workers")


def test_a_book_becomes_a_digest_with_citations_that_stand_in_it(desk: Desk, three_hundred_pages: str) -> None:
    sent = httpx2.post(
        f"{desk.live.base_url}/v1/analyses",
        data={"skill": "digest", "input": json.dumps({"focus": "the rabbit"}), "priority": "high"},
        files={"file": ("book.txt", three_hundred_pages.encode(), "text/plain")},
        headers=desk.live.headers,
        timeout=30,
    )
    assert sent.status_code == 202, sent.text
    submitted = sent.json()
    assert submitted["estimate"]["calls"] > 20
    assert submitted["estimate"]["tokens"] > 100_000

    done = desk.wait(submitted["id"], within=120)
    result = desk.result(submitted["id"])

    assert done["progress"] == {"percentage": 100, **done["progress"]}
    assert result["documents"] == [{"name": "book.txt", "characters": len(three_hundred_pages), "pages": 300}]
    assert len(result["citations"]) >= 2
    pages = three_hundred_pages.split("\f")
    for citation in result["citations"]:
        assert three_hundred_pages[citation["start"] : citation["end"]] == citation["quote"]
        assert citation["quote"].split("\f")[0] in pages[citation["page"] - 1]
    named = {name for point in result["output"]["points"] for name in point["sources"]}
    assert named
    assert named <= {citation["id"] for citation in result["citations"]}
    assert (done["usage"]["tokens"], done["usage"]["cost_micros"]) == desk.paid()
    assert done["usage"]["tokens"] == desk.journaled()
    assert len(desk.live.events()) == len(desk.live.journal()) == done["progress"]["steps_done"]
    assert done["envelope"]["reserved_tokens"] == 0
