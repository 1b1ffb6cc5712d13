"""What a tenant sees when it asks which skills there are."""

from typing import Any

from kit import pg
from kit.errors import NotFound
from skills.catalog.files import NAME
from skills.models import PRODUCTION


async def describe(tenant_id: int) -> list[dict[str, Any]]:
    """List the skills a tenant can call, by name, each as `describe_one` gives it."""
    rows = await pg.fetch_all(_DESCRIBED, {"tenant": tenant_id, "name": None})
    return [_described(row) for row in rows]


async def describe_one(tenant_id: int, name: str) -> dict[str, Any]:
    """Return a skill's name, description, version in production, labels, schemas and model alias.

    Raises NotFound alike for what is absent and what is foreign.
    """
    rows = await pg.fetch_all(_DESCRIBED, {"tenant": tenant_id, "name": name}) if NAME.match(name) else []
    if not rows:
        raise NotFound(f"There is no skill named {name[:64]!r}.")
    return _described(rows[0])


def _described(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "description": row["description"],
        "built_in": row["tenant_id"] is None,
        "version": row["number"],
        "labels": row["labels"],
        "model": row["model"],
        "max_tokens": {"default": row["max_tokens"], "maximum": row["max_tokens_ceiling"]},
        "output": "text" if row["output_schema"] is None else "json",
        "citations": row["citations"],
        "input_schema": row["input_schema"],
        "output_schema": row["output_schema"],
    }


_DESCRIBED = f"""
WITH pointers AS (
    SELECT DISTINCT ON (l.skill_id, l.name) l.skill_id, l.name, l.version_id
    FROM skills_skilllabel l
    WHERE l.tenant_id IS NULL OR l.tenant_id = %(tenant)s
    ORDER BY l.skill_id, l.name, l.tenant_id NULLS LAST
), labels AS (
    SELECT p.skill_id, json_object_agg(p.name, v.number ORDER BY p.name) AS labels
    FROM pointers p JOIN skills_skillversion v ON v.id = p.version_id
    GROUP BY p.skill_id
)
SELECT DISTINCT ON (s.name) s.name, s.tenant_id, labels.labels, v.number, v.description, v.model, v.max_tokens,
       v.max_tokens_ceiling, v.citations, v.input_schema, v.output_schema
FROM skills_skill s
JOIN pointers p ON p.skill_id = s.id AND p.name = '{PRODUCTION}'
JOIN skills_skillversion v ON v.id = p.version_id
JOIN labels ON labels.skill_id = s.id
WHERE (s.tenant_id IS NULL OR s.tenant_id = %(tenant)s) AND (%(name)s::text IS NULL OR s.name = %(name)s)
ORDER BY s.name, s.tenant_id NULLS LAST
"""  # noqa: S608 - the label's name is a constant of ours, never input
