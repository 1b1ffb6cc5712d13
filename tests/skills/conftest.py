"""A running platform for the tests that need one."""

from tests.live import (  # noqa: F401 - fixtures
    daphne_server,
    everywhere,
    live,
    live_database,
    live_emulator,
    live_environment,
    live_tenant,
    live_uvicorn,
    uvicorn_server,
)
