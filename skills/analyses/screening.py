"""The guardrails of an analysis: its brief as it is submitted, its documents before anything is paid, its words on their way out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from psycopg.types.json import Json

from kit import pg
from kit.errors import InvalidRequest, OutputBlocked, SkillgateError
from skills import guardrails, schemas
from skills.admission import screened
from skills.analyses import patience
from skills.analyses.findings import Source
from skills.analyses.holds import Hold, Lost
from skills.analyses.stages import Brief
from skills.versions import Schema
from tenants.keys import Caller

Row = dict[str, Any]


async def brief(caller: Caller, asked: Brief, *, sizes: Sequence[int]) -> tuple[Brief, list[Row]]:
    """Return a brief as it may be written down, and what was found in it.

    Raises `RequestTooLarge` for a brief and documents of too many bytes, or `InvalidRequest` that names the check.
    """
    given = {"input": asked.input, "instructions": asked.instructions}
    size = guardrails.characters(asked.version, given)
    guard = await screened(caller, lambda: guardrails.post(asked.version, given, besides=sum(sizes)), characters=size)
    if guard is None:
        return asked, []
    made = replace(asked, input=guard.given["input"], instructions=guard.given["instructions"])
    return made, guard.came_in.report()


async def documents(hold: Hold, row: Row, asked: Brief, sources: list[Source]) -> list[Source]:
    """Look through the documents once, before any step, and write down what they become.

    Raises `Failed` when a check forbids one of them: nothing was spent then.
    """
    screening: Row = row["screening"]
    if screening.get("is_complete") or not guardrails.checks_input(asked.version):
        return sources
    tally = guardrails.input_tally(screening.get("found", []))
    made = []
    for position, source in enumerate(sources):
        hold.check()
        try:
            text, pages = await guardrails.look_through(
                asked.version, source.text, offsets=source.pages, tally=tally, path=f"/documents/{position}"
            )
        except InvalidRequest as refused:
            raise patience.failed(refused) from refused
        made.append(Source(source.name, text, pages))
    row["screening"] = {"is_complete": True, "found": tally.report()}
    await _keep(hold, made, before=sources, screening=row["screening"])
    return made


async def said(asked: Brief, value: Row) -> tuple[Row, list[Row]]:
    """Return what an analysis says as it may go out, and what was found; raises `OutputBlocked`."""
    return await guardrails.judge_value(asked.version, value)


async def result(asked: Brief, made: Row, *, row: Row, schema: Schema | None) -> Row:
    """Return a result as it may go out, with what was found; raises `Failed` for one that may not."""
    shown = {name: made[name] for name in ("output", "citations")}
    try:
        judged, found = await said(asked, shown)
        if judged["output"] != made["output"] and _fits(schema, made["output"]) and not _fits(schema, judged["output"]):
            raise OutputBlocked(
                "The answer was withheld: without what the skill's checks take out, it does not fit its schema.",
                check="schema",
                side="output",
            )
    except OutputBlocked as blocked:
        raise patience.failed(blocked) from blocked
    found = [*row["screening"].get("found", []), *found]
    return {**made, **judged, **({"guardrails": found} if found else {})}


def _fits(schema: Schema | None, output: Any) -> bool:
    if schema is None:
        return True
    try:
        schemas.validate(schema, output)
    except SkillgateError:
        return False
    return True


async def _keep(hold: Hold, made: Sequence[Source], *, before: Sequence[Source], screening: Row) -> None:
    async with pg.connection() as connection, connection.transaction():
        given = {"id": hold.id, "fence": hold.fence, "screening": Json(screening)}
        if await (await connection.execute(_SCREENED, given)).fetchone() is None:
            raise Lost
        for position, source in enumerate(made):
            if source.text != before[position].text:
                pages = None if source.pages is None else Json(list(source.pages))
                await connection.execute(
                    _TEXT, {"id": hold.id, "position": position, "text": source.text, "pages": pages}
                )


_SCREENED = b"""
UPDATE skills_analysis SET screening = %(screening)s
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' RETURNING id
"""
_TEXT = b"""
UPDATE skills_analysisdocument SET text = %(text)s, pages = %(pages)s
WHERE analysis_id = %(id)s AND position = %(position)s
"""
