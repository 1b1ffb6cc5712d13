"""Whether the platform lives, is ready, and reaches Claude."""

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit import clock, pg, pulse
from kit import redis as kit_redis
from kit.errors import NotAllowed, SkillgateError
from kit.rest import AsyncAPIView, respond
from skills import catalog, runs
from skills.api import rendering
from tenants.api import callers

_REMEMBERED_SECONDS = 1.0
_CHECK_SECONDS = 2.0


class LiveView(AsyncAPIView):
    """Is the process alive?"""

    @extend_schema(exclude=True)
    async def get(self, request: Request) -> Response:
        """Answer as long as the event loop turns."""
        return respond({"status": "ok"}, request=request)


class ReadyView(AsyncAPIView):
    """May traffic be sent here?"""

    @extend_schema(exclude=True)
    async def get(self, request: Request) -> Response:
        """Check what calls need: 503 without Postgres or migrations, `degraded` without Redis or a worker."""
        checks = await _checks()
        status = _status(checks)
        return respond(
            {"status": status, "checks": checks}, request=request, status=503 if status == "unavailable" else 200
        )


class DeepView(AsyncAPIView):
    """Does Claude answer?"""

    @extend_schema(exclude=True)
    async def get(self, request: Request) -> Response:
        """Make one minimal call through the whole pipeline; it is limited and metered like any other."""
        caller = await callers.of_request(request, verb="health")
        if "health" not in caller.allowed_verbs:
            raise NotAllowed(
                "The deep check spends tokens: it takes a key that names the verb `health` among its scopes."
            )
        version = await catalog.resolve(caller.tenant_id, "complete", sticky=str(caller.family_id))
        order = runs.Order(
            caller=caller,
            version=version,
            input={"prompt": "Answer with the word: ok"},
            entry_point="health",
            request_id=request.request_id,  # type: ignore[attr-defined]  # set by kit.middleware
            max_tokens=8,
            model="fast",
            freshness="private",
        )
        run = await runs.start(order)
        done = await runs.complete(run)
        return respond({"status": "ok", "model": run.model, "usage": rendering.usage(done.usage)}, request=request)


class _Remembered:
    checks: dict[str, str] | None = None
    at = 0.0
    is_migrated = False


def _status(checks: dict[str, str]) -> str:
    if checks["postgres"] != "ok" or checks["migrations"] != "ok":
        return "unavailable"
    return "ok" if all(check == "ok" for check in checks.values()) else "degraded"


async def _checks() -> dict[str, str]:
    if _Remembered.checks is None or clock.monotonic() - _Remembered.at > _REMEMBERED_SECONDS:
        postgres, redis, migrations = await asyncio.gather(
            _within(_postgres()), _within(_redis()), _within(_migrations())
        )
        worker = await _within(_worker()) if redis == "ok" else "unknown"
        _Remembered.checks = {"postgres": postgres, "redis": redis, "worker": worker, "migrations": migrations}
        _Remembered.at = clock.monotonic()
    return _Remembered.checks


async def _within(check: Any) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return str(await check)
    except (SkillgateError, TimeoutError, *kit_redis.TROUBLE):
        return "unreachable"


async def _postgres() -> str:
    await pg.fetch_one("SELECT 1 AS one")
    return "ok"


async def _redis() -> str:
    await kit_redis.client().ping()
    return "ok"


async def _worker() -> str:
    return "ok" if await pulse.is_felt() else "missing"


async def _migrations() -> str:
    if not _Remembered.is_migrated:
        # Once in a process: reading the migrations' files takes a thread and some 50 ms.
        _Remembered.is_migrated = await sync_to_async(_is_migrated, thread_sensitive=False)()
    return "ok" if _Remembered.is_migrated else "missing"


def _is_migrated() -> bool:
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    finally:
        connection.close()
