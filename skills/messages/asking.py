"""What may be asked through the Messages API: everything Claude takes, but for what cannot be booked or told apart.

Only what admission needs to know is checked here; the rest is Claude's to judge, in its own time.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

from kit.errors import InvalidRequest

Json = dict[str, Any]

MOST_TOKENS = 1_000_000
_LONGEST_MODEL = 64
_RETIRED = ("temperature", "top_p", "top_k")
_CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_")
_ELSEWHERE = {
    "mcp_servers": "tools of other servers are called by Claude, beyond what a key's budget can bound",
    "container": "containers belong to the platform's account and not to a tenant",
}
_STANDARD = {"speed": "standard", "inference_geo": "global"}
_LOOKED_AT = frozenset([*_RETIRED, *_ELSEWHERE, *_STANDARD, "tools"])


def check(body: Any) -> Json:
    """Return a body that can be admitted. Raises `InvalidRequest` in the API's own manner."""
    _check_asked(body)
    limit = _required(body, "max_tokens")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= MOST_TOKENS:
        _refuse("max_tokens", f"Input should be a whole number from 0 to {MOST_TOKENS}")
    if not isinstance(body.get("stream", False), bool):
        _refuse("stream", "Input should be a valid boolean")
    return dict(body)


def check_count(body: Any) -> Json:
    """Return a body whose tokens can be counted. Raises `InvalidRequest`."""
    _check_asked(body)
    return dict(body)


def _check_asked(body: Any) -> None:
    if not isinstance(body, dict):
        _refuse("", "The body must be a JSON object.")
    is_plain = _LOOKED_AT.isdisjoint(body)
    if not is_plain:
        _check_retired(body)
    model = _required(body, "model")
    if not isinstance(model, str) or not 1 <= len(model) <= _LONGEST_MODEL:
        _refuse("model", f"Input should be a string of 1 to {_LONGEST_MODEL} characters")
    messages = _required(body, "messages")
    if not isinstance(messages, list):
        _refuse("messages", "Input should be a valid list")
    if not messages:
        _refuse("messages", "at least one message is required")
    if not is_plain:
        _check_booked(body)
    for path, block in _blocks(messages):
        _check_block(block, path=path)


def _check_retired(body: Json) -> None:
    for name in _RETIRED:
        if name in body:
            _refuse(name, "this parameter is not supported by this API version; leave it out")


def _check_booked(body: Json) -> None:
    """What has a price of its own, and none in our books, would be booked wrongly."""
    for name, why in _ELSEWHERE.items():
        if body.get(name) is not None:
            _refuse(name, f"not offered here: {why}")
    for name, standard in _STANDARD.items():
        if body.get(name) not in (None, standard):
            _refuse(name, f"only `{standard}` is offered here: other values have prices of their own")
    tools = body.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is not None and not str(kind).startswith(_CLIENT_TOOLS):
            _refuse(
                f"tools.{index}.type",
                f"{str(kind)[:64]!r} is run by Claude and costs more than tokens; only tools that the client runs are offered here",
            )


def _blocks(messages: list[Any]) -> Iterator[tuple[str, Json]]:
    """Yield every content block with its path, those inside of tool results too."""
    waiting: list[tuple[str, Json]] = []
    for index, message in enumerate(messages):
        if type(message) is dict and type(message.get("content")) is list:
            waiting.append((f"messages.{index}", message))
    while waiting:
        path, holder = waiting.pop()
        content = holder.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            if isinstance(block, dict):
                yield f"{path}.content.{index}", block
                waiting.append((f"{path}.content.{index}", block))


def _check_block(block: Json, *, path: str) -> None:
    source = block.get("source")
    is_file = isinstance(source, dict) and source.get("type") == "file"
    if is_file or block.get("type") == "container_upload":
        _refuse(path, "files of the Files API belong to the platform's account; send the content itself")


def _required(body: Json, name: str) -> Any:
    if body.get(name) is None:
        _refuse(name, "Field required")
    return body[name]


def _refuse(path: str, message: str) -> NoReturn:
    raise InvalidRequest(f"{path}: {message}" if path else message, path=path)
