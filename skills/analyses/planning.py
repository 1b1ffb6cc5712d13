"""Which steps an analysis needs next; the same rows give the same plan, so it can be made again at any time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg.types.json import Json

from kit import pg
from skills.analyses import parts
from skills.analyses.findings import Source, rendered
from skills.analyses.models import AnalysisStep

Kind = AnalysisStep.Kind
Row = dict[str, Any]
_MOST_ANSWERED = 120  # findings in one answer
_MOST_MERGED = 40  # findings in one merge
_HIGHEST_LEVEL = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What stands next: steps to do, with the findings they work on; `answer` when all is done."""

    steps: list[Row]
    findings: list[Row] = field(default_factory=list)
    answer: Any = None
    dropped: int = 0


async def load(analysis_id: UUID) -> list[Row]:
    """Return all steps, in order."""
    return await pg.fetch_all(_STEPS, {"id": analysis_id})


def next_plan(steps: Sequence[Row], *, sources: Sequence[Source], part_bytes: int) -> Plan:
    """Say what to do after the steps so far; new steps have no `done_at` and no `id`."""
    top = steps[-1]["level"]
    current = [step for step in steps if step["level"] == top]
    beneath = gathered([step for step in steps if step["level"] == top - 1])
    undone = [step for step in current if step["done_at"] is None]
    if undone:
        return Plan(undone, findings=beneath)
    if current[0]["kind"] == Kind.ANSWER:
        return Plan([], findings=beneath, answer=current[0]["output"]["answer"], dropped=_dropped(steps))
    findings = gathered(current)
    return Plan(_above(findings, level=top + 1, sources=sources, part_bytes=part_bytes), findings=findings)


def first_steps(sources: Sequence[Source], *, part_bytes: int, overlap_bytes: int) -> list[Row]:
    """Cut the sources into the parts to be read."""
    found = [
        {"document": number, "start": part.start, "end": part.end}
        for number, source in enumerate(sources)
        for part in parts.split(
            source.text, most_bytes=part_bytes, overlap_bytes=overlap_bytes, pages=source.pages or ()
        )
    ]
    return [_step(Kind.MAP, level=0, position=position, given=given) for position, given in enumerate(found)]


async def add(analysis_id: UUID, steps: Sequence[Row], *, fence: int, expected: int) -> bool:
    """Write new steps, each place once; `expected` are all steps the analysis should come to.

    False when the worker has lost its hold.
    """
    rows = [{**step, "input": step["input"]} for step in steps]
    given = {"id": analysis_id, "fence": fence, "steps": Json(rows), "expected": expected}
    return await pg.fetch_one(_ADD, given) is not None


def expected_steps(count: int) -> int:
    """Guess how many steps follow from so many parts: a merge for some, and the answer."""
    merges = -(-count * 4 // _MOST_MERGED) if count * 4 > _MOST_ANSWERED else 0
    return count + merges + 1


def gathered(steps: Sequence[Row]) -> list[Row]:
    """Return the findings of finished steps, in the order of the text."""
    return [finding for step in steps if step["output"] for finding in step["output"].get("findings", [])]


def _above(findings: list[Row], *, level: int, sources: Sequence[Source], part_bytes: int) -> list[Row]:
    size = len(rendered(findings, sources=sources).encode())
    if (size <= 2 * part_bytes and len(findings) <= _MOST_ANSWERED) or level > _HIGHEST_LEVEL:
        return [_step(Kind.ANSWER, level=level, position=0, given={"start": 0, "end": len(findings)})]
    groups = _groups(findings, sources=sources, most_bytes=part_bytes)
    return [
        _step(Kind.MERGE, level=level, position=position, given={"start": start, "end": end})
        for position, (start, end) in enumerate(groups)
    ]


def _groups(findings: list[Row], *, sources: Sequence[Source], most_bytes: int) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    start = size = 0
    for number, finding in enumerate(findings):
        length = len(rendered([finding], sources=sources).encode()) + 1
        if number > start and (size + length > most_bytes or number - start >= _MOST_MERGED):
            groups.append((start, number))
            start, size = number, 0
        size += length
    return [*groups, (start, len(findings))]


def _step(kind: Kind, *, level: int, position: int, given: Row) -> Row:
    return {"kind": kind.value, "level": level, "position": position, "input": given, "done_at": None}


def _dropped(steps: Sequence[Row]) -> int:
    return sum(step["output"].get("unverified_quotes", 0) for step in steps if step["output"])


_STEPS = "SELECT * FROM skills_analysisstep WHERE analysis_id = %(id)s ORDER BY level, position"
_ADD = """
WITH mine AS (
    UPDATE skills_analysis SET steps_total = greatest(
        %(expected)s, steps_done + (SELECT count(*) FROM json_array_elements(%(steps)s::json))
    )
    WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' RETURNING id
), added AS (
    INSERT INTO skills_analysisstep (analysis_id, kind, level, position, input)
    SELECT mine.id, s.kind, s.level, s.position, s.input
    FROM mine, json_to_recordset(%(steps)s::json) AS s (kind text, level smallint, position integer, input jsonb)
    ON CONFLICT DO NOTHING
)
SELECT id FROM mine
"""
