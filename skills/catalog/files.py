"""A skill's version as a folder, in the Agent Skills layout (https://agentskills.io/specification).

`SKILL.md` has front matter (`name`, `description`, and under `metadata` what is ours) and the system prompt as its
body; beside it are `template.md`, `schemas/input.json`, `schemas/output.json` (absent: plain text) and the test
cases, one file each, in `cases/`. The built-in skills use the flat names `input.schema.json`, `output.schema.json`
and `cases.json`, which are read too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from kit import strict_json
from kit.errors import InvalidRequest
from skills.versions import Content

NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,63}\Z")
MAX_FILE_BYTES = 256 * 1024
MAX_CASES = 100
_MAX_FRONT_MATTER = 64 * 1024
_FRONT = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*\n?", re.S | re.M)
_INPUT = ("schemas/input.json", "input.schema.json")
_OUTPUT = ("schemas/output.json", "output.schema.json")
_KNOWN = {"SKILL.md", "template.md", "cases.json", *_INPUT, *_OUTPUT}
_CASE = re.compile(r"cases/[^/]+\.json\Z")
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
    """What one folder says: the skill's name, the version's content, and cases to try it with.

    `ignored` are files that mean nothing here, such as scripts.
    """

    name: str
    content: Content
    cases: list[dict[str, Any]] = field(default_factory=list)
    ignored: tuple[str, ...] = ()


def read_folder(folder: Path) -> Folder:
    """Read one version's folder; raises InvalidRequest that names the file and the fault."""
    at = f"{folder.parent.name}/{folder.name}/"
    return read_files({name: _bytes(folder, name, at=at) for name in _names(folder)}, at=at)


def read_files(files: Mapping[str, bytes], *, at: str = "") -> Folder:
    """Read a version from its files by path; `at` stands before their names in refusals."""
    return _Reader(files, at).read()


def _names(folder: Path) -> list[str]:
    """Only what is known is looked at, so that a folder may hold anything else, of any size."""
    found = [name for name in sorted(_KNOWN) if (folder / name).is_file()]
    if (folder / "cases").is_dir():
        found += sorted(f"cases/{one.name}" for one in (folder / "cases").iterdir() if one.suffix == ".json")
    return found


def _bytes(folder: Path, name: str, *, at: str) -> bytes:
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise InvalidRequest(f"{at}{name} is a symbolic link out of the folder, which is not followed.", path=name)
    with (folder / name).open("rb") as opened:
        return opened.read(MAX_FILE_BYTES + 1)


class _Reader:
    """One reading of a folder's files."""

    def __init__(self, files: Mapping[str, bytes], at: str) -> None:
        self._files = files
        self._at = at

    def read(self) -> Folder:
        """Return what the folder says."""
        front, body = self._skill_file()
        metadata = self._metadata(front.get("metadata"))
        if "kind" in metadata:
            metadata["policy"] = {"kind": metadata.pop("kind"), **metadata.get("policy", {})}
        content = Content(
            description=front["description"],
            system=body,
            template=self._text("template.md") if "template.md" in self._files else "",
            input_schema=self._json(self._either(_INPUT)),
            output_schema=self._json(name) if (name := self._either(_OUTPUT)) in self._files else None,
            **{"max_tokens_ceiling": metadata["max_tokens"], **metadata},
        )
        ignored = tuple(sorted(name for name in self._files if name not in _KNOWN and not _CASE.match(name)))
        return Folder(name=front["name"], content=content.tidied(), cases=self._cases(), ignored=ignored)

    def _either(self, names: tuple[str, str]) -> str:
        """The first of the names that is there; where none is, the one that the rest of the folder suggests."""
        flat = not any(name.startswith("schemas/") for name in self._files)
        return next((name for name in names if name in self._files), names[1] if flat else names[0])

    def _cases(self) -> list[dict[str, Any]]:
        names = sorted(name for name in self._files if _CASE.match(name))
        found = [{"name": PurePosixPath(name).stem, **self._case(name)} for name in names]
        if "cases.json" in self._files:
            listed = self._json("cases.json")
            if not isinstance(listed, list):
                raise self._refusal("cases.json", "must be a list of cases.")
            found += listed
        if len(found) > MAX_CASES:
            raise self._refusal("cases", f"are over {MAX_CASES}.")
        return found

    def _case(self, name: str) -> dict[str, Any]:
        case = self._json(name)
        if not isinstance(case, dict):
            raise self._refusal(name, "must be one case: a JSON object.")
        return case

    def _skill_file(self) -> tuple[dict[str, Any], str]:
        text = self._text("SKILL.md").removeprefix("\ufeff")
        found = _FRONT.match(text)
        if found is None or len(found.group(1)) > _MAX_FRONT_MATTER:
            raise self._refusal(
                "SKILL.md",
                f"must begin with front matter between two `---` lines, at most {_MAX_FRONT_MATTER:,} long.",
            )
        front = self._front_matter(found.group(1))
        for key in ("name", "description"):
            if not isinstance(front.get(key), str) or not front[key].strip():
                raise self._refusal("SKILL.md", f"has no `{key}` in its front matter.")
        if not NAME.match(front["name"]):
            raise self._refusal("SKILL.md", "has a name that is not lower-case letters, digits and single hyphens.")
        return front, text[found.end() :]

    def _front_matter(self, text: str) -> dict[str, Any]:
        try:
            if any(isinstance(one, yaml.AnchorToken | yaml.AliasToken) for one in yaml.scan(text, yaml.SafeLoader)):
                raise self._refusal(
                    "SKILL.md", "uses YAML anchors or aliases in its front matter, which are not taken."
                )
            front = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
            raise self._refusal("SKILL.md", "has front matter that is not YAML.") from error
        if not isinstance(front, dict):
            raise self._refusal("SKILL.md", "has front matter that is not a mapping.")
        return front

    def _metadata(self, metadata: Any) -> dict[str, Any]:
        if not isinstance(metadata, dict):
            raise self._refusal("SKILL.md", "has no `metadata` in its front matter (model, max_tokens, …).")
        for key, value in metadata.items():
            expected = _TYPES.get(key) if isinstance(key, str) else None
            if expected is None:
                raise self._refusal("SKILL.md", f"has an unknown key `{str(key)[:64]}` under `metadata`.")
            if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
                raise self._refusal(
                    "SKILL.md", f"has a `{key}` under `metadata` that is not of type {expected.__name__}."
                )
        for key in _NEEDED:
            if key not in metadata:
                raise self._refusal("SKILL.md", f"has no `{key}` under `metadata`.")
        if "policy" in metadata:
            metadata["policy"] = self._as_json(metadata["policy"])
        return metadata

    def _as_json(self, policy: Any) -> Any:
        """YAML knows dates, binary data and keys that are no text; JSON, which the policy is kept as, does not."""
        try:
            plain = strict_json.loads(json.dumps(policy, allow_nan=False).encode())
        except (TypeError, ValueError, RecursionError, InvalidRequest):
            plain = None
        if plain != policy:
            raise self._refusal("SKILL.md", "has a `policy` under `metadata` that cannot be written as JSON.")
        return plain

    def _text(self, name: str) -> str:
        raw = self._files.get(name)
        if raw is None:
            raise self._refusal(name, "is missing.")
        if len(raw) > MAX_FILE_BYTES:
            raise self._refusal(name, f"is over {MAX_FILE_BYTES:,} bytes.")
        try:
            return raw.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            raise self._refusal(name, "is not UTF-8.") from None

    def _json(self, name: str) -> Any:
        text = self._text(name)
        try:
            return strict_json.loads(text.encode())
        except InvalidRequest as fault:
            why = fault.message.removeprefix("The request body ")
            raise self._refusal(name, f"is not JSON that is taken; it {why}") from fault

    def _refusal(self, name: str, message: str) -> InvalidRequest:
        return InvalidRequest(f"{self._at}{name} {message}", path=name)
