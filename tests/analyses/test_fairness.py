"""One tenant's five hundred do not stand before another's one; what is urgent goes first."""

from concurrent.futures import ThreadPoolExecutor
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

    def submit(_: int) -> str:
        return str(desk.submit({"skill": "digest", "text": SHORT, "priority": "low"})["id"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, range(500)))
    started_before = started(desk)
    single = desk.submit({"skill": "digest", "text": SHORT, "priority": "low"}, key=key)

    def is_started() -> Any:
        answer = httpx2.get(f"{desk.live.base_url}/v1/analyses/{single['id']}", headers={"X-API-Key": key}).json()
        return answer["started_at"]

    eventually(is_started, within=60)
    assert started(desk) - started_before <= 16
    for waiting in desk.live.rows(
        "SELECT id FROM skills_analysis WHERE tenant_id = %s AND state = 'queued'", desk.live.tenant.pk
    ):
        desk.live.rows(
            "UPDATE skills_analysis SET state = 'cancelled', ended_at = now(), dispatched_at = NULL WHERE id = %s AND state = 'queued' RETURNING id",
            waiting["id"],
        )


def started(desk: Desk) -> int:
    query = "SELECT count(*) FROM skills_analysis WHERE tenant_id = %s AND started_at IS NOT NULL"
    return int(desk.live.rows(query, desk.live.tenant.pk)[0]["count"])
