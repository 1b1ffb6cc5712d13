"""The table of situations goes through every door of the same running platform."""

import asyncio

import pytest

from tests.entry_points.doors import DOORS, Door, Mcp, Wish
from tests.skills.gateway import Gateway


@pytest.fixture(scope="session", autouse=True)
def _loaded(gateway: Gateway) -> None:
    """Have MCP's protocol loaded: on a busy machine its first call would take longer than some clients here stay."""
    assert asyncio.run(Mcp(gateway.url).call(gateway.key().secret, Wish("Hello."))).kind == "ok"


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request: pytest.FixtureRequest, gateway: Gateway) -> Door:
    made: Door = request.param(gateway.url)
    return made
