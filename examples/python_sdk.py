"""Claude through Skillgate with Anthropic's official SDK: only the address and the key differ.

SKILLGATE_URL=http://127.0.0.1:8000 SKILLGATE_KEY=sg_live_… python python_sdk.py
"""

import os

import anthropic

client = anthropic.Anthropic(base_url=os.environ["SKILLGATE_URL"], api_key=os.environ["SKILLGATE_KEY"])

print("models:", ", ".join(model.id for model in client.models.list()))

message = client.messages.create(
    model="claude-sonnet-5",
    max_tokens=300,
    messages=[{"role": "user", "content": "Say hello in one sentence."}],
)
print("".join(block.text for block in message.content if block.type == "text"))
print(f"{message.usage.input_tokens} tokens read, {message.usage.output_tokens} written")

with client.messages.stream(
    model="claude-sonnet-5",
    max_tokens=300,
    messages=[{"role": "user", "content": "Count to five."}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()

try:
    client.messages.create(model="no-such-model", max_tokens=10, messages=[{"role": "user", "content": "Hi"}])
except anthropic.APIStatusError as error:
    # Over a budget (402) or a limit (429), a model that is not allowed (403): the message says what would pass.
    print(f"refused as it should be: {error.status_code} {error.type}: {error.message}")
