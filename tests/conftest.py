"""What every test can count on: nothing is remembered from the test before, and nothing is left open."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from django.db import connection, connections

from kit import control, pg
from kit import redis as kit_redis
from skills import catalog, claude
from tests import sharing, template
from tests.live import (  # noqa: F401 - fixtures: here, a worker of a parallel run starts each of them once
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
from tests.skills.gateway import Gateway, Key, MakeKey, running
from usage import pricing


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first and leave the rest in its random order."""
    items.sort(key=lambda item: sharing.rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> sharing.Sharing | None:
    """Have files that share something slow run in one worker (xdist's own groups need marks)."""
    return sharing.Sharing(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Test databases are copies of a migrated one; Django's own migrating then finds nothing to do."""
    del django_db_modify_db_settings_parallel_suffix
    connections["default"].settings_dict["TEST"]["TEMPLATE"] = template.made()


def _emptied_quickly(_operations: Any, _style: Any, tables: Sequence[str], **_options: bool) -> list[str]:
    """The statements of `flush`: TRUNCATE takes half a second for our sixty tables, DELETE a fiftieth of that."""
    return [
        "SET session_replication_role = replica",  # what is kept for good is kept by triggers
        *(f'DELETE FROM "{table}"' for table in tables),
        "SET session_replication_role = DEFAULT",
    ]


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(connection.ops), "sql_flush", _emptied_quickly)
        yield


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """Labels and prices are read anew: the database of the test before is gone."""
    yield
    catalog.forget()
    pricing.forget()


@pytest.fixture
async def _clean_loop() -> AsyncIterator[None]:
    yield
    await control.stop()
    await claude.close()
    await pg.close()
    await kit_redis.close()


@pytest.fixture(autouse=True)
def _loops_end_clean(request: pytest.FixtureRequest) -> None:
    """An async test closes what its loop opened, so that nothing of it holds the test database."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_clean_loop")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A whole platform in processes of its own, on a database of its own, for all tests that try it from outside."""
    with running(tmp_path_factory.mktemp("gateway") / "log") as gateway:
        yield gateway


@pytest.fixture
def make_key(gateway: Gateway) -> MakeKey:
    """Issues keys of the test's own."""
    return gateway.key


@pytest.fixture
def key(gateway: Gateway) -> Key:
    """A key of this test alone."""
    return gateway.key()
