"""What one would write in an afternoon: FastAPI, the official SDK, slowapi. No accounts, no budgets, no events."""

import os
from typing import Any

from anthropic import AsyncAnthropic
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address

limiter = Limiter(key_func=get_remote_address, default_limits=["100000000/minute"])
app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
claude = AsyncAnthropic(api_key="emulator", base_url=os.environ["SKILLGATE_EMULATOR_URL"], max_retries=0)


@app.post("/v1/messages")
@limiter.limit("100000000/minute")
async def messages(request: Request) -> Any:
    """Pass a call on and its answer back."""
    body = await request.json()
    if not body.pop("stream", False):
        answer = await claude.messages.create(**body)
        return answer.model_dump(mode="json")
    return StreamingResponse(_events(body), media_type="text/event-stream")


async def _events(body: dict[str, Any]) -> Any:
    async with claude.messages.stream(**body) as stream:
        async for event in stream:
            yield f"event: {event.type}\ndata: {event.model_dump_json()}\n\n"
