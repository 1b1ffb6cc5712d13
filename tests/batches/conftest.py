"""The same server and workers that analyses have, since a batch is one."""

from tests.analyses.conftest import (  # noqa: F401 - fixtures
    beat,
    crew,
    desk,
    leaflet,
    no_workers,
    start_celery,
    workers,
)
from tests.live import (  # noqa: F401 - fixtures
    daphne_server,
    live,
    live_database,
    live_emulator,
    live_environment,
    live_tenant,
)
