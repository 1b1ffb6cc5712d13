"""Skills as tools: how each is described, and running one."""

from contextlib import aclosing
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server import ServerRequestContext

from kit import clock, ids
from kit.errors import NotFound, SkillgateError, Unavailable
from skills import catalog, runs
from skills.api import rendering, views
from skills.events import RunCompleted, RunFailed, RunStarted, RunText
from skills.mcp import promises
from skills.mcp.gate import CALLER, REQUEST_ID
from skills.runs import Order, Run
from skills.versions import Version
from tenants.keys import Caller

Context = ServerRequestContext[Any, Any]

USAGE = "skillgate/usage"
_LIST_LIVES_MS = 30_000
_PROGRESS_SECONDS = 0.2
_HINTS = types.ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)


async def list_tools(context: Context, asked: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    """List the skills that the caller's key may run."""
    caller = _caller(context)
    described = await catalog.describe(caller.tenant_id)
    tools = [_tool(one) for one in described if caller.may_run(one["name"])]
    return types.ListToolsResult(tools=tools, ttl_ms=_LIST_LIVES_MS, cache_scope="private")


async def call_tool(context: Context, asked: types.CallToolRequestParams) -> types.CallToolResult:
    """Run a skill; what refuses or fails is a result that says so, an unknown tool a protocol error."""
    caller, request_id = _caller(context), _scope(context)[REQUEST_ID]
    try:
        version = await _resolve(caller, asked.name)
        run = await runs.start(
            Order(
                caller=caller,
                version=version,
                input=asked.arguments or {},
                entry_point="mcp",
                request_id=request_id,
                freshness=views.freshness(_header(context, b"cache-control")),
            )
        )
        return _completed(await _followed(run, context), version=version)
    except SkillgateError as error:
        return _failed(error, request_id=request_id)


async def _resolve(caller: Caller, name: str) -> Version:
    try:
        version = await catalog.resolve(caller.tenant_id, name, sticky=str(caller.family_id))
    except NotFound:
        version = None
    if version is None or not caller.may_run(version.skill):
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {name[:64]}")
    return version


async def _followed(run: Run, context: Context) -> RunCompleted:
    """Wait for the answer and report its growth; a client that leaves cancels this, which leaves the run."""
    written, reported_at = 0, 0.0
    async with aclosing(run.events()) as events:
        async for event in events:
            if isinstance(event, RunFailed):
                raise event.error
            if isinstance(event, RunCompleted):
                await context.session.report_progress(written + 1, written + 1, "complete")
                return event
            if isinstance(event, RunStarted):
                await context.session.report_progress(0, message=f"{event.model} is at work")
            elif isinstance(event, RunText):
                written += len(event.text)
                if clock.monotonic() - reported_at >= _PROGRESS_SECONDS:
                    reported_at = clock.monotonic()
                    await context.session.report_progress(written, message=f"{written} characters written")
    raise Unavailable("The run ended without an answer. Try again.")


def _tool(described: dict[str, Any]) -> types.Tool:
    return types.Tool(
        name=described["name"],
        title=described["name"].replace("-", " ").replace("_", " ").capitalize(),
        description=described["description"],
        input_schema=described["input_schema"],
        output_schema=promises.output_schema(described["output_schema"], is_cited=described["citations"]),
        annotations=_HINTS,
    )


def _completed(done: RunCompleted, *, version: Version) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=promises.text(done))],
        structured_content=promises.structured(done, version),
        _meta={
            USAGE: {
                "run_id": ids.encode("run", done.run_id),
                "model": done.model,
                "route": rendering.route(done.route),
                "cache": rendering.cache(done.cache),
                **rendering.usage(done.usage),
                **rendering.guarded(done),
            }
        },
    )


def _failed(error: SkillgateError, *, request_id: str) -> types.CallToolResult:
    """The envelope goes as text alone: structured content would have to fit the tool's output schema."""
    envelope = promises.as_json(error.envelope(request_id=request_id))
    return types.CallToolResult(content=[types.TextContent(type="text", text=envelope)], is_error=True)


def _caller(context: Context) -> Caller:
    caller: Caller = _scope(context)[CALLER]
    return caller


def _header(context: Context, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in _scope(context)["headers"] if key.lower() == name)


def _scope(context: Context) -> dict[str, Any]:
    request: Any = context.request  # always there: HTTP is the only way in
    scope: dict[str, Any] = request.scope
    return scope
