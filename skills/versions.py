"""What a run needs to know of a skill's version, as plain frozen data without a database behind it."""

import hashlib
import json
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

Schema = dict[str, Any]
ANALYSIS = "analysis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything an author writes for one version; its digest is the version's identity."""

    description: str
    input_schema: Schema
    model: str
    max_tokens: int
    max_tokens_ceiling: int
    system: str = ""
    template: str = ""
    output_schema: Schema | None = None
    policy: dict[str, Any] = field(default_factory=dict)
    cache_system: bool = False
    messages_from: str = ""
    system_from: str = ""
    documents_from: str = ""
    max_tokens_from: str = ""
    citations: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the answer is plain text rather than JSON."""
        return self.output_schema is None

    @property
    def is_analysis(self) -> bool:
        """Whether it works on documents step by step rather than answering one call."""
        return self.policy.get("kind") == ANALYSIS

    def as_columns(self) -> dict[str, Any]:
        """Return the content by column of SkillVersion."""
        return {name: getattr(self, name) for name in CONTENT_FIELDS}

    def tidied(self) -> "Content":
        """Return the content as a folder can hold it: Unix line ends, no blank edges."""
        return replace(
            self,
            description=_unix(self.description).strip(),
            system=_unix(self.system).strip(),
            template=_unix(self.template).rstrip("\n"),
        )

    def digest(self) -> str:
        """Return the SHA-256 of all that is not at its default, key order included.

        Defaults are left out so that a field added later does not change what earlier versions hash to.
        """
        written = {one.name: value for one in fields(Content) if (value := getattr(self, one.name)) != _default(one)}
        return hashlib.sha256(json.dumps(written, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(Content):
    """A stored version together with the name and the label it was resolved by."""

    id: int
    skill_id: int
    skill: str
    tenant_id: int | None
    number: int
    stored_digest: str
    label: str | None = None


def of_row(row: Any) -> Content:
    """Return the content of a SkillVersion's row."""
    return Content(**{name: getattr(row, name) for name in CONTENT_FIELDS})


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _default(one: Any) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


CONTENT_FIELDS = tuple(one.name for one in fields(Content))
