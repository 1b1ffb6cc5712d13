"""Skills over plain HTTP: one call that waits for its answer, and one that is streamed.

SKILLGATE_URL=http://127.0.0.1:8000 SKILLGATE_KEY=sg_live_… python python_httpx.py
"""

import json
import os
import uuid

import httpx2 as httpx  # the same interface as httpx, which works here as well

TEXT = "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do."

with httpx.Client(
    base_url=os.environ["SKILLGATE_URL"], headers={"X-API-Key": os.environ["SKILLGATE_KEY"]}, timeout=120
) as client:
    # With an idempotency key this may be sent again after any failure: it is run and paid for once.
    answer = client.post(
        "/v1/skills/classify",
        json={"input": {"text": TEXT, "labels": ["novel", "invoice", "recipe"]}},
        headers={"Idempotency-Key": str(uuid.uuid4())},
    )
    if answer.is_error:
        error = answer.json()["error"]
        raise SystemExit(f"{answer.status_code} {error['type']}: {error['message']}")
    run = answer.json()
    print(run["output"], f"${run['usage']['cost_usd']}", answer.headers["anthropic-ratelimit-requests-remaining"])

    with client.stream("POST", "/v1/skills/summarize/stream", json={"input": {"text": TEXT}}) as stream:
        if stream.is_error:
            stream.read()
            raise SystemExit(stream.text)
        for line in stream.iter_lines():
            if line.startswith("data: {"):
                data = json.loads(line.removeprefix("data: "))
                print(data.get("text", ""), end="", flush=True)
    print()
