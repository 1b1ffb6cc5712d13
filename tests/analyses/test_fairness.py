"""One tenant's five hundred do not stand before another's one; what is urgent goes first."""

from typing import Any

import httpx2
import pytest

from tests import factories
from tests.analyses.conftest import Desk
from tests.live import eventually

pytestmark = pytest.mark.usefixtures("workers")
SHORT = "The Hatter is late for tea at six. The Dormouse sleeps in the teapot until then."


def test_one_analysis_of_b_starts_within_a_few_of_five_hundred_of_a(desk: Desk) -> None:
    other = desk.live.do(lambda: factories.make_tenant(f"b-{desk.live.tenant.slug}"))
    key = desk.live.do(lambda: factories.make_key(other)).secret

    desk.submit({"skill": "digest", "text": SHORT, "priority": "low"})
    assert len(desk.live.rows(_COPIED, desk.live.tenant.pk)) == 499
    started_before = started(desk)
    single = desk.submit({"skill": "digest", "text": SHORT, "priority": "low"}, key=key)

    def is_started() -> Any:
        answer = httpx2.get(f"{desk.live.base_url}/v1/analyses/{single['id']}", headers={"X-API-Key": key}).json()
        return answer["started_at"]

    eventually(is_started, within=60)
    assert started(desk) - started_before <= 16
    desk.live.rows(_CANCELLED, desk.live.tenant.pk)


def started(desk: Desk) -> int:
    query = "SELECT count(*) FROM skills_analysis WHERE tenant_id = %s AND started_at IS NOT NULL"
    return int(desk.live.rows(query, desk.live.tenant.pk)[0]["count"])


_COPIED = """
WITH copied AS (
    INSERT INTO skills_analysis
    SELECT (jsonb_populate_record(a, jsonb_build_object('id', uuidv7(), 'state', 'queued', 'fence', 0, 'lease_until', null,
        'started_at', null, 'ended_at', null, 'dispatched_at', null, 'used_tokens', 0, 'used_micros', 0, 'reserved_tokens', 0,
        'reserved_micros', 0, 'steps_done', 0, 'result', null))).*
    FROM skills_analysis a, generate_series(1, 499) WHERE a.tenant_id = %s
    RETURNING id
)
INSERT INTO skills_analysisdocument (analysis_id, position, name, media_type, size_bytes, digest, text)
SELECT copied.id, d.position, d.name, d.media_type, d.size_bytes, d.digest, d.text
FROM copied, (SELECT * FROM skills_analysisdocument LIMIT 1) d RETURNING id
"""
_CANCELLED = """
UPDATE skills_analysis SET state = 'cancelled', ended_at = now(), dispatched_at = NULL
WHERE tenant_id = %s AND state = 'queued' RETURNING id
"""
