"""A skill's version as a folder, in the Agent Skills layout (https://agentskills.io/specification).

`SKILL.md` has front matter (`name`, `description`, and under `metadata` what is ours) and the system prompt as its
body; beside it are `template.md`, `input.schema.json`, `output.schema.json` (absent: plain text) and `cases.json`.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kit.errors import InvalidRequest
from skills.versions import Content

NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,63}\Z")
_MAX_FILE_BYTES = 256 * 1024
_MAX_FRONT_MATTER = 16 * 1024
_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?\n?", re.S | re.M)
_TYPES: dict[str, type] = {
    "model": str,
    "max_tokens": int,
    "max_tokens_ceiling": int,
    "policy": dict,
    "cache_system": bool,
    "messages_from": str,
    "system_from": str,
    "documents_from": str,
    "max_tokens_from": str,
    "citations": bool,
    "kind": str,
}
_NEEDED = ("model", "max_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What one folder says: the skill's name, the version's content, and cases to try it with."""

    name: str
    content: Content
    cases: list[dict[str, Any]] = field(default_factory=list)


def read_folder(folder: Path) -> Folder:
    """This function will read one version's folder; raises InvalidRequest that names the file and the fault."""
    front, body = _skill_file(folder / "SKILL.md")
    metadata = _metadata(front.get("metadata"), file=folder / "SKILL.md")
    if "kind" in metadata:
        metadata["policy"] = {"kind": metadata.pop("kind"), **metadata.get("policy", {})}
    content = Content(
        description=str(front["description"]).strip(),
        system=body.strip(),
        template=_text(folder / "template.md", absent="").rstrip("\n"),
        input_schema=_json(folder / "input.schema.json"),
        output_schema=_json(folder / "output.schema.json", absent=None),
        **{"max_tokens_ceiling": metadata["max_tokens"], **metadata},
    )
    return Folder(name=str(front["name"]), content=content, cases=_json(folder / "cases.json", absent=[]))


def _skill_file(file: Path) -> tuple[dict[str, Any], str]:
    text = _text(file)
    found = _FRONT.match(text)
    if found is None or len(found.group(1)) > _MAX_FRONT_MATTER:
        raise _refusal(
            file, f"must begin with front matter between two `---` lines, at most {_MAX_FRONT_MATTER:,} long."
        )
    front = _front_matter(found.group(1), file=file)
    for key in ("name", "description"):
        if not isinstance(front.get(key), str) or not front[key].strip():
            raise _refusal(file, f"has no `{key}` in its front matter.")
    if not NAME.match(front["name"]):
        raise _refusal(file, "has a name that is not lower-case letters, digits and single hyphens.")
    return front, text[found.end() :]


def _front_matter(text: str, *, file: Path) -> dict[str, Any]:
    try:
        if any(isinstance(token, yaml.AnchorToken | yaml.AliasToken) for token in yaml.scan(text, yaml.SafeLoader)):
            raise _refusal(file, "uses YAML anchors or aliases in its front matter, which are not taken.")
        front = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _refusal(file, "has front matter that is not YAML.") from error
    if not isinstance(front, dict):
        raise _refusal(file, "has front matter that is not a mapping.")
    return front


def _metadata(metadata: Any, *, file: Path) -> dict[str, Any]:
    if not isinstance(metadata, dict):
        raise _refusal(file, "has no `metadata` in its front matter (model, max_tokens, …).")
    for key, value in metadata.items():
        expected = _TYPES.get(key)
        if expected is None:
            raise _refusal(file, f"has an unknown key `{key}` under `metadata`.")
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise _refusal(file, f"has a `{key}` under `metadata` that is not of type {expected.__name__}.")
    for key in _NEEDED:
        if key not in metadata:
            raise _refusal(file, f"has no `{key}` under `metadata`.")
    return metadata


def _text(file: Path, *, absent: str | None = None) -> str:
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        if absent is None:
            raise _refusal(file, "is missing.") from None
        return absent
    if len(raw) > _MAX_FILE_BYTES:
        raise _refusal(file, f"is over {_MAX_FILE_BYTES:,} bytes.")
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise _refusal(file, "is not UTF-8.") from None


def _json(file: Path, **absent: Any) -> Any:
    if absent and not file.exists():
        return absent["absent"]
    try:
        return json.loads(_text(file))
    except (ValueError, RecursionError) as error:
        raise _refusal(file, "is not JSON.") from error


def _refusal(file: Path, message: str) -> InvalidRequest:
    return InvalidRequest(f"{file.parent.parent.name}/{file.parent.name}/{file.name} {message}", path=file.name)
