"""Analyse files over HTTP and follow the analysis: `python examples/analyze.py book.pdf contract.docx`.

Needs `pip install httpx`, and SKILLGATE_URL and SKILLGATE_API_KEY in the environment.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx  # the same interface as httpx, which works here as well

URL = os.environ.get("SKILLGATE_URL", "http://127.0.0.1:8000")
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLGATE_API_KEY']}"}
LAST = ("analysis.succeeded", "analysis.failed", "analysis.cancelled", "analysis.awaiting_budget")


def submit(client: httpx.Client, paths: list[Path], *, skill: str = "digest") -> dict[str, Any]:
    """Send the files; the answer comes within a second, whatever their length."""
    files = [("file", (path.name, path.read_bytes())) for path in paths]
    answer = client.post("/v1/analyses", data={"skill": skill}, files=files)
    if answer.is_error:
        sys.exit(answer.json()["error"]["message"])
    return dict(answer.json())


def follow(client: httpx.Client, analysis: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield events; a connection that breaks is taken up again after the last event that came."""
    last_id = "0"
    while True:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
        try:
            with client.stream("GET", analysis["links"]["events"], headers=headers, timeout=60) as stream:
                name = ""
                for line in stream.iter_lines():
                    field, _, value = line.partition(": ")
                    if field == "id":
                        last_id = value
                    elif field == "event":
                        name = value
                    elif field == "data" and name:
                        yield name, json.loads(value)
                        if name in LAST:
                            return
                        name = ""
        except httpx.TransportError:
            time.sleep(1)


def main() -> None:
    with httpx.Client(base_url=URL, headers=HEADERS, timeout=60) as client:
        analysis = submit(client, [Path(name) for name in sys.argv[1:]])
        print(f"{analysis['id']}: about {analysis['estimate']['tokens']:,} tokens, ${analysis['estimate']['cost_usd']}")
        for name, data in follow(client, analysis):
            if name == "analysis.progress":
                print(f"{data['percentage']:3d} %  {data['used_tokens']:,} tokens  {data['seconds_left']} s left")
            elif name in LAST:
                print(data["state"], data["error"] or "")
        if (result := client.get(analysis["links"]["result"])).is_success:
            print(json.dumps(result.json(), ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
