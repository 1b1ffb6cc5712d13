"""The table of situations goes through every door of the same running platform."""

import pytest

from tests.entry_points.doors import DOORS, Door
from tests.skills.gateway import Gateway


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request: pytest.FixtureRequest, gateway: Gateway) -> Door:
    made: Door = request.param(gateway.url)
    return made
