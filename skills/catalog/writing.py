"""A version written as a folder that reads back as the same version, digest and all."""

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import yaml

from kit.errors import InvalidRequest
from skills.catalog.files import MAX_FILE_BYTES, read_files
from skills.versions import Content

_BESIDE = {"description", "system", "template", "input_schema", "output_schema"}
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


def write_files(name: str, content: Content, *, cases: Sequence[dict[str, Any]] = ()) -> dict[str, bytes]:
    """Return a version's files by path; `cases` have name, input and expect.

    Raises InvalidRequest for a content that no folder can hold; every published one can be held.
    """
    files = {"SKILL.md": _skill_file(name, content)}
    if content.template:
        files["template.md"] = f"{content.template}\n".encode()
    files["schemas/input.json"] = _json(content.input_schema)
    if content.output_schema is not None:
        files["schemas/output.json"] = _json(content.output_schema)
    for position, case in enumerate(cases, start=1):
        files[f"cases/{position:03}-{_slug(case['name'])}.json"] = _json(case)
    if read_files(files).content.digest() != content.digest():
        raise InvalidRequest("This version cannot be written as a folder without a change.")
    return files


def _skill_file(name: str, content: Content) -> bytes:
    metadata = {
        one.name: value
        for one in fields(Content)
        if one.name not in _BESIDE and ((value := getattr(content, one.name)) or one.name == "max_tokens")
    }
    front = {
        "name": name,
        "description": content.description,
        "metadata": json.loads(json.dumps(metadata)),
    }  # no aliases
    written = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=2**31)
    return f"---\n{written}---\n{content.system}\n".encode()


def _json(value: Any) -> bytes:
    written = json.dumps(value, ensure_ascii=False, indent=2).encode()
    if len(written) >= MAX_FILE_BYTES:  # what is nested deep is mostly indentation
        written = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return written + b"\n"


def _slug(name: str) -> str:
    return _NOT_IN_A_NAME.sub("-", name.lower()).strip("-")[:60] or "case"
