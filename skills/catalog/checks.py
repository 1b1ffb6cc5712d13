"""What a version's content must satisfy before anyone can call it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from kit.errors import InvalidRequest
from skills import guardrails, schemas, templates
from skills.caching import policy as caching
from skills.routing import policy as routing
from skills.versions import ANALYSIS, Content

MAX_SYSTEM_BYTES = 64 * 1024
MAX_OUTPUT_TOKENS = 64_000
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_FALLBACKS = 3
_PART_BYTES = {"part_bytes": (1_000, 400_000), "overlap_bytes": (0, 20_000)}
_GUARDS = ("guardrails", "max_input_bytes")
_PARTS: dict[str, Callable[[Any], Iterator[tuple[str, str]]]] = {
    # Parts of the policy, each with what yields its faults as paths below it.
    "routing": routing.faults,
    "cache": caching.faults,
    "prompt_cache": caching.prefix_faults,
    "guardrails": guardrails.faults,
    "max_input_bytes": guardrails.size_faults,
}


def check(content: Content) -> None:
    """Raise InvalidRequest, with every fault listed in `errors`, unless the content is sound."""
    errors = [{"path": path, "message": message} for path, message in _faults(content)]
    if errors:
        raise InvalidRequest(f"{errors[0]['path']}: {errors[0]['message']}", path=errors[0]["path"], errors=errors)


def _faults(content: Content) -> Iterator[tuple[str, str]]:
    unwritable = list(_unwritable(content))
    if unwritable:
        yield from unwritable
        return
    yield from _wording_faults(content)
    yield from _token_faults(content)
    yield from _policy_faults(content.policy)
    schema_faults = list(_input_faults(content))
    yield from schema_faults
    if schema_faults:
        yield from _output_schema_faults(content)
    else:
        yield from _field_faults(content)
        yield from _output_faults(content)
        yield from _message_faults(content)
        yield from _fallback_faults(content)


def _unwritable(content: Content) -> Iterator[tuple[str, str]]:
    """What neither UTF-8 nor Postgres can hold must not come as far as either."""
    for name, value in content.as_columns().items():
        if any(_UNWRITABLE.search(text) for text in _texts(value)):
            yield name, "holds a NUL character or half of a surrogate pair."


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one


def _wording_faults(content: Content) -> Iterator[tuple[str, str]]:
    if not content.description.strip() or len(content.description) > 1024:
        yield "description", "must have from 1 to 1,024 characters."
    if len(content.system.encode("utf-8", "surrogatepass")) > MAX_SYSTEM_BYTES:
        yield "system", f"must have at most {MAX_SYSTEM_BYTES:,} bytes."
    if not content.model.strip() or len(content.model) > 64:
        yield "model", "must name a model or an alias."


def _token_faults(content: Content) -> Iterator[tuple[str, str]]:
    if not 1 <= content.max_tokens_ceiling <= MAX_OUTPUT_TOKENS:
        yield "max_tokens_ceiling", f"must be from 1 to {MAX_OUTPUT_TOKENS:,}."
    if not 1 <= content.max_tokens <= content.max_tokens_ceiling:
        yield "max_tokens", f"must be from 1 to the ceiling, {content.max_tokens_ceiling:,}."


def _policy_faults(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    of_analyses = (*_PART_BYTES, *_GUARDS)
    known = {"fallbacks", "fallback_answer", "kind", *(of_analyses if policy.get("kind") == ANALYSIS else _PARTS)}
    if unknown := sorted(policy.keys() - known):
        yield "policy", f"does not know `{unknown[0]}`."
    if policy.get("kind", ANALYSIS) != ANALYSIS:
        yield "policy/kind", f"is `{ANALYSIS}` or absent."
    for name, (least, most) in _PART_BYTES.items():
        size = policy.get(name, least)
        if not isinstance(size, int) or not least <= size <= most:
            yield f"policy/{name}", f"must be a whole number from {least:,} to {most:,}."
    names = policy.get("fallbacks", [])
    if not isinstance(names, list) or len(names) > _FALLBACKS or not all(isinstance(n, str) and n for n in names):
        yield "policy/fallbacks", f"must be a list of at most {_FALLBACKS} models or aliases."
    for part, faults in _PARTS.items():
        if part in policy:
            yield from ((f"policy/{part}{path}", message) for path, message in faults(policy[part]))


def _input_faults(content: Content) -> Iterator[tuple[str, str]]:
    try:
        schemas.check_schema(content.input_schema, at="input_schema")
    except InvalidRequest as fault:
        yield str(fault.details["path"]), fault.message
        return
    if content.input_schema.get("type") != "object" or not isinstance(content.input_schema.get("properties"), dict):
        yield "input_schema", "must be of type object and name its `properties`."


def _field_faults(content: Content) -> Iterator[tuple[str, str]]:
    """Each `…_from` must name a required or optional input field of the type it needs."""
    wanted = {
        "messages_from": "array",
        "system_from": "string",
        "documents_from": "array",
        "max_tokens_from": "integer",
    }
    properties = content.input_schema["properties"]
    for role, kind in wanted.items():
        name = getattr(content, role)
        schema = properties.get(name) if name else None
        if name and (not isinstance(schema, dict) or schema.get("type") != kind):
            yield role, f"must name a property of type {kind} of the input schema."
    if content.messages_from and content.messages_from not in content.input_schema.get("required", []):
        yield "messages_from", "must name a required property."


def _output_faults(content: Content) -> Iterator[tuple[str, str]]:
    if content.output_schema is None:
        return
    if content.citations:
        yield "citations", "cannot be combined with an output schema; the API gives citations in text only."
    for _, name in schemas.input_references(content.output_schema):
        if name not in content.input_schema["properties"] or name not in content.input_schema.get("required", []):
            yield "output_schema", f"takes `{name}` from the input, which is not a required property there."
            return
    yield from _output_schema_faults(content)


def _output_schema_faults(content: Content) -> Iterator[tuple[str, str]]:
    if content.output_schema is None:
        return
    try:
        schemas.check_output(content.output_schema, at="output_schema")
    except InvalidRequest as fault:
        yield str(fault.details["path"]), fault.message


def _fallback_faults(content: Content) -> Iterator[tuple[str, str]]:
    """The fixed answer keeps the skill's promise as any other does; where the schema depends on the input nobody can tell."""
    answer = content.policy.get("fallback_answer")
    if answer is None:
        return
    if content.is_analysis:
        yield "policy/fallback_answer", "is of no use to an analysis."
    elif content.output_schema is None:
        if not isinstance(answer, str) or not answer.strip():
            yield "policy/fallback_answer", "must be a text, as the skill answers in text."
    elif next(schemas.input_references(content.output_schema), None) is not None:
        yield "policy/fallback_answer", "cannot be promised, because the output schema depends on the input."
    else:
        try:
            schemas.validate(content.output_schema, answer)
        except InvalidRequest as fault:
            yield "policy/fallback_answer", f"does not fit the output schema: {fault.message}"


def _message_faults(content: Content) -> Iterator[tuple[str, str]]:
    if content.messages_from:
        if content.template.strip() or content.documents_from:
            yield "template", "must be empty, and `documents_from` too, when the turns come from `messages_from`."
        return
    if not content.template.strip():
        yield "template", "must not be empty."
        return
    try:
        templates.check(content.template, input_schema=content.input_schema)
    except InvalidRequest as fault:
        yield "template", fault.message
