"""Refuses what the Messages API would refuse, with its statuses and close to its words."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NoReturn, TypeGuard

import jsonschema_rs

from emulator import blocks, catalogue
from emulator.refusals import Refused, invalid

Json = dict[str, Any]

_COUNTED = frozenset(
    {"messages", "model", "cache_control", "output_config", "speed", "system", "thinking", "tool_choice", "tools"}
)
_CREATED = _COUNTED | {
    "max_tokens", "container", "diagnostics", "inference_geo", "metadata", "service_tier", "stop_sequences", "stream",
}  # fmt: skip
_RETIRED = ("temperature", "top_p", "top_k")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BREAKPOINTS = 4


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def parse(raw: bytes) -> Json:
    """Return the JSON object of a request's body."""
    try:
        body = _JSON.decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))
        if _LONE_SURROGATE.search(raw):
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid("The request body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    return body


def check_create(body: Json) -> catalogue.Model:
    """Return the model of a valid `POST /v1/messages` body."""
    model = _check_common(body, known=_CREATED)
    limit = body.get("max_tokens")
    if limit is None:
        raise invalid("max_tokens: Field required")
    if not _is_int(limit) or limit < 0:
        raise invalid("max_tokens: Input should be a valid non-negative integer")
    if limit > model.max_tokens:
        raise invalid(
            f"max_tokens: {limit} > {model.max_tokens}, which is the maximum allowed number of output tokens for {model.id}"
        )
    for name, kind in (("stream", bool), ("metadata", dict), ("inference_geo", str), ("diagnostics", dict)):
        _optional(body, name, kind)
    _check_user_id(body.get("metadata"))
    _one_of(body, "service_tier", ("auto", "standard_only"))
    _check_stop_sequences(body.get("stop_sequences"))
    _check_thinking(body.get("thinking"), max_tokens=limit)
    return model


def check_count(body: Json) -> catalogue.Model:
    """Return the model of a valid `POST /v1/messages/count_tokens` body."""
    model = _check_common(body, known=_COUNTED)
    _check_thinking(body.get("thinking"), max_tokens=None)
    return model


def _check_common(body: Json, *, known: frozenset[str]) -> catalogue.Model:
    for name in body:
        if name in _RETIRED:
            raise invalid(f"{name}: this parameter is not supported by this API version")
        if name not in known:
            raise invalid(f"{name[:200]}: Extra inputs are not permitted")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise invalid("model: Field required" if body.get("model") is None else "model: Input should be a valid string")
    model = catalogue.find(body["model"])
    _check_messages(body.get("messages"), model=model)
    _check_system(body.get("system"))
    _check_tools(body.get("tools"))
    _check_tool_choice(body)
    _check_output(body.get("output_config"))
    blocks.check_cache_control(body.get("cache_control"), at="body")
    _one_of(body, "speed", ("standard", "fast"))
    _check_breakpoints(body)
    return model


def _check_messages(messages: object, *, model: catalogue.Model) -> None:
    if messages is None:
        raise invalid("messages: Field required")
    if not isinstance(messages, list):
        raise invalid("messages: Input should be a valid list")
    if not messages:
        raise invalid("messages: at least one message is required")
    if len(messages) > 100_000:
        raise invalid("messages: at most 100000 messages are allowed")
    for index, message in enumerate(messages):
        _check_message(message, at=f"messages.{index}", is_last=index == len(messages) - 1)
    if messages[0]["role"] == "assistant":
        raise invalid("messages: first message must use the user role")
    if messages[-1]["role"] == "assistant" and not model.takes_prefill:
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    blocks.check_tool_pairs(messages)


def _check_message(message: object, *, at: str, is_last: bool) -> None:
    if not isinstance(message, dict):
        raise invalid(f"{at}: Input should be an object")
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise invalid(f"{at}.role: Input should be 'user', 'assistant' or 'system'")
    if message.get("content") is None:
        raise invalid(f"{at}.content: Field required")
    for name in message:
        if name not in ("role", "content"):
            raise invalid(f"{at}.{name[:200]}: Extra inputs are not permitted")
    blocks.check_content(message["content"], role=role, at=at)
    if not message["content"] and not (is_last and role == "assistant"):
        raise invalid(f"{at}: all messages must have non-empty content except for the optional final assistant message")


def _check_system(system: object) -> None:
    if system is not None:
        blocks.check_content(system, role="system", at="system")


def _check_tools(tools: object) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise invalid("tools: Input should be a valid list")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        _check_tool(tool, at=f"tools.{index}")
        if tool["name"] in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(tool["name"])


def _check_tool(tool: object, *, at: str) -> None:
    if not isinstance(tool, dict):
        raise invalid(f"{at}: Input should be an object")
    blocks.require(tool, {"name": str}, at=at)
    if not _TOOL_NAME.fullmatch(tool["name"]):
        raise invalid(f"{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    blocks.check_cache_control(tool.get("cache_control"), at=at)
    _optional(tool, "description", str)
    _optional(tool, "type", str)
    if tool.get("type") in (None, "custom"):
        blocks.require(tool, {"input_schema": dict}, at=f"{at}.custom")
        if tool["input_schema"].get("type") != "object":
            raise invalid(f"{at}.custom.input_schema.type: Input should be 'object'")
        check_schema(tool["input_schema"], at=f"{at}.custom.input_schema")


def _check_tool_choice(body: Json) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not isinstance(choice, dict) or choice.get("type") not in ("auto", "any", "tool", "none"):
        raise invalid("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if choice["type"] in ("any", "tool") and not body.get("tools"):
        raise invalid("tool_choice: may only be specified while providing `tools`.")
    if choice["type"] == "tool":
        blocks.require(choice, {"name": str}, at="tool_choice.tool")
        if choice["name"] not in {tool["name"] for tool in body["tools"]}:
            raise invalid(f"Tool '{choice['name']}' not found in provided tools")


def _check_output(config: object) -> None:
    if config is None:
        return
    if not isinstance(config, dict):
        raise invalid("output_config: Input should be an object")
    for name in config:
        if name not in ("format", "effort"):
            raise invalid(f"output_config.{name[:200]}: Extra inputs are not permitted")
    _one_of(config, "effort", ("low", "medium", "high", "xhigh", "max"), at="output_config.")
    form = config.get("format")
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        raise invalid("output_config.format.type: Input should be 'json_schema'")
    blocks.require(form, {"schema": dict}, at="output_config.format")
    check_schema(form["schema"], at="output_config.format.schema")


def check_schema(schema: Json, *, at: str) -> None:
    """Refuse what is not a JSON Schema, or one that refers to anything outside itself."""
    try:
        compiled(json.dumps(schema, separators=(",", ":")))
    except (ValueError, TypeError, RecursionError, Refused) as error:
        raise invalid(f"{at}: {str(error).splitlines()[0][:300] if str(error) else 'invalid JSON schema'}") from error


@lru_cache(maxsize=256)
def compiled(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Return a validator for the text of a schema."""
    return jsonschema_rs.Draft202012Validator(json.loads(schema), retriever=_no_retrieval)


def _no_retrieval(uri: str) -> NoReturn:
    raise invalid(f"$ref: external references are not supported: {uri[:200]}")


def _check_thinking(thinking: object, *, max_tokens: int | None) -> None:
    if thinking is None:
        return
    if not isinstance(thinking, dict) or thinking.get("type") not in (
        "enabled", "disabled", "adaptive", "between_tools",
    ):  # fmt: skip
        raise invalid("thinking.type: Input should be 'adaptive', 'between_tools', 'disabled' or 'enabled'")
    _one_of(thinking, "display", ("summarized", "omitted"), at="thinking.")
    if thinking["type"] != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if not _is_int(budget) or budget < 1024:
        raise invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if max_tokens is not None and budget >= max_tokens:
        raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_stop_sequences(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise invalid("stop_sequences: Input should be a valid list of strings")
    if not all(one.strip() for one in value):
        raise invalid("stop_sequences: each stop sequence must contain non-whitespace")


def _check_user_id(metadata: Json | None) -> None:
    user = (metadata or {}).get("user_id")
    if user is not None and not (isinstance(user, str) and len(user) <= 512):
        raise invalid("metadata.user_id: Input should be a string of at most 512 characters")


def _check_breakpoints(body: Json) -> None:
    marked = [body] if body.get("cache_control") else []
    marked += [tool for tool in body.get("tools") or () if tool.get("cache_control")]
    for content in (body.get("system"), *(message["content"] for message in body["messages"])):
        if isinstance(content, list):
            marked += [block for block in content if block.get("cache_control")]
    if len(marked) > _BREAKPOINTS:
        raise invalid(f"A maximum of {_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marked)}.")


def _optional(body: Json, name: str, kind: type) -> None:
    if body.get(name) is not None and not isinstance(body[name], kind):
        raise invalid(f"{name}: Input should be a valid {kind.__name__}")


def _one_of(body: Json, name: str, values: tuple[str, ...], *, at: str = "") -> None:
    if body.get(name) is not None and body[name] not in values:
        raise invalid(f"{at}{name}: Input should be one of {list(values)}")


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
