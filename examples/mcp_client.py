"""Skills as MCP tools, with the official `mcp` package: list them, call one and watch its progress.

SKILLGATE_URL=http://127.0.0.1:8000 SKILLGATE_KEY=sg_live_… python mcp_client.py
"""

import asyncio
import os

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client


async def tell(progress: float, total: float | None, message: str | None) -> None:
    print(f"  … {message or progress}")


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['SKILLGATE_KEY']}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=120) as http,
        Client(streamable_http_client(f"{os.environ['SKILLGATE_URL']}/mcp", http_client=http)) as client,
    ):
        for tool in (await client.list_tools()).tools:
            print(f"{tool.name}: {tool.description}")
        result = await client.call_tool(
            "translate", {"text": "The cat sat on the mat.", "to": "German"}, progress_callback=tell
        )
        if result.is_error:
            raise SystemExit(result.content[0])
        print(result.structured_content["output"])


asyncio.run(main())
