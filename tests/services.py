"""A pytest plugin (`pytest -p tests.services`): real databases and the emulator, started before settings are read.

One PostgreSQL and one Valkey serve the whole run; each worker of a parallel run (`-n 2`) has a test database, Redis
databases and an emulator (its faults and journal are state) of its own. A DATABASE_URL or REDIS_URL that is already
set is used as it is.
"""

import atexit
import os
from pathlib import Path

import pytest

from embedded.databases import broker_url, redis_url
from embedded.temporary import Temporary

ROOT = Path(__file__).resolve().parents[1]
# A worker has two Redis databases: gw0 has 4 and 5, gw1 has 6 and 7, … of the embedded server's 64.
FIRST_WORKER_DATABASE = 4
# Faults strike every attempt at a marked prompt: attempts follow at once, and no model is held back for them.
_IMPATIENT = {"SKILLGATE_CLAUDE_RETRY_SECONDS": "0.02", "SKILLGATE_CLAUDE_BREAKER_FAILURES": "0"}
_running: list[Temporary] = []


def pytest_addoption() -> None:
    """Start everything: no hook is earlier, and none may read settings before."""
    if _running:
        return
    temporary = Temporary(ROOT)
    _running.append(temporary)
    atexit.register(temporary.close)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker:
        _separate(int(worker.removeprefix("gw")))
    else:
        temporary.start_databases()
        os.environ.update(temporary.env)
        os.environ.setdefault("CELERY_BROKER_URL", broker_url(os.environ["REDIS_URL"]))
    temporary.start_emulator()
    os.environ.update(temporary.env, SKILLGATE_DEBUG="1", **_IMPATIENT)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop everything that this process started."""
    for temporary in _running:
        temporary.close()


def _separate(worker: int) -> None:
    """Point a worker at Redis databases of its own; in PostgreSQL pytest-django tells the workers apart by name."""
    database = FIRST_WORKER_DATABASE + 2 * worker
    os.environ["CELERY_BROKER_URL"] = broker_url(os.environ["REDIS_URL"], database=database + 1)
    os.environ["REDIS_URL"] = redis_url(os.environ["REDIS_URL"], database=database)
