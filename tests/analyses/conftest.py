"""A running worker beside the running server, and a book to give them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from kit import ids
from skills import catalog
from skills.models import Skill
from tests.analyses.book import book
from tests.live import Live

HOOKS = "127.0.0.77"  # where the running server may send webhooks in these tests, and nowhere else here
os.environ["SKILLGATE_WEBHOOK_ALLOWED_NETWORKS"] = f"{HOOKS}/32"
ROOT = Path(__file__).resolve().parents[2]
WORKER = ("worker", "-Q", "analyses", "-c", "2")
ENDED = ("succeeded", "failed", "cancelled", "awaiting_budget")


@contextmanager
def celery(*arguments: str, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Celery program until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config.celery", *arguments],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}", **env},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # at once and whole: what it leaves under way is no later test's
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Desk:
    """What a tenant does with analyses, over HTTP."""

    live: Live

    def submit(self, body: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
        answer = self.live.post("/v1/analyses", body, headers={"X-API-Key": key} if key else {})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self.live.post(f"/v1/{path}", {} if body is None else body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def delete(self, path: str) -> Any:
        return httpx2.delete(f"{self.live.base_url}/v1/{path}", headers=self.live.headers, timeout=30).json()

    def calls(self, analysis_id: str) -> list[dict[str, Any]]:
        """Return every attempt at a step of an analysis."""
        found = ids.decode("ana", analysis_id)
        return self.live.rows("SELECT * FROM skills_analysiscall WHERE analysis_id = %s ORDER BY opened_at", found)

    def get(self, path: str, *, status: int = 200) -> Any:
        answer = httpx2.get(f"{self.live.base_url}/v1/{path}", headers=self.live.headers, timeout=30)
        assert answer.status_code == status, answer.text
        return answer.json()

    def wait(self, analysis_id: str, *, state: str = "succeeded", within: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + within
        while (found := self.get(f"analyses/{analysis_id}"))["state"] != state:
            assert state == found["state"] or found["state"] not in ENDED or found["state"] == "awaiting_budget", found[
                "error"
            ]
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        return dict(found)

    def result(self, analysis_id: str) -> dict[str, Any]:
        return dict(self.get(f"analyses/{analysis_id}/result"))

    def paid(self) -> tuple[int, int]:
        """Return the tokens and micro-dollars that the ledger has for the tenant."""
        events = self.live.events()
        return sum(one["charged_tokens"] for one in events), sum(one["cost_micros"] for one in events)

    def journaled(self) -> int:
        """Return the tokens that were billed upstream."""
        return sum(sum(entry["usage"].values()) for entry in self.live.journal())


@pytest.fixture
def desk(live: Live) -> Desk:
    return Desk(live)


@pytest.fixture
def leaflet(live: Live) -> str:
    """A skill of the tenant's own that reads in parts of a page."""
    content = catalog.read_folder(catalog.BUILTIN / "digest" / "1").content
    small = replace(content, policy={"kind": "analysis", "part_bytes": 2_500, "overlap_bytes": 100})

    def publish() -> None:
        skill = Skill.objects.create(tenant=live.tenant, name="leaflet", description="Digests page by page.")
        catalog.publish(skill, content=small, created_by="test")
        catalog.point(skill, label="production", version=1, actor="test")

    live.do(publish)
    return "leaflet"


@pytest.fixture(scope="session")
def start_celery(
    live_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Any]:
    """Runs a worker or beat for as long as a `with` block."""
    folder = tmp_path_factory.mktemp("celery")

    def start(*arguments: str, name: str = "celery") -> Any:
        return celery(*arguments, "-l", "warning", env=live_environment, log=folder / f"{name}.log")

    return start


@pytest.fixture(scope="session")
def beat(start_celery: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The timetable, in a worker that does nothing else."""
    schedule = str(tmp_path_factory.mktemp("beat") / "schedule")
    with start_celery("worker", "-B", "-s", schedule, "-Q", "default", "-c", "1", "-n", "timetable@test", name="beat"):
        yield


class Crew:
    """The workers that all tests share; a test that needs none alive sends them away, and the next has them back."""

    def __init__(self, start: Callable[..., Any]) -> None:
        self._start = start
        self._shift: ExitStack | None = None

    def gather(self) -> None:
        """Have two worker processes take analyses."""
        if self._shift is None:
            self._shift = ExitStack()
            self._shift.enter_context(self._start(*WORKER, "-n", "crew@test", name="crew"))

    def dismiss(self) -> None:
        """Leave no worker of analyses alive."""
        if self._shift is not None:
            self._shift.close()
            self._shift = None


@pytest.fixture(scope="session")
def crew(beat: None, start_celery: Callable[..., Any]) -> Iterator[Crew]:
    """The shared workers, not yet begun."""
    del beat
    made = Crew(start_celery)
    yield made
    made.dismiss()


@pytest.fixture
def workers(crew: Crew) -> None:
    """Workers for analyses, running."""
    crew.gather()


@pytest.fixture
def no_workers(crew: Crew) -> None:
    """The timetable alone: nobody takes analyses but whom the test starts."""
    crew.dismiss()


@pytest.fixture(scope="session")
def three_hundred_pages() -> str:
    return book(pages=300)
