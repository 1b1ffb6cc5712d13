"""`manage.py analyze FILE…`: submit files, watch the analysis go, save what it comes to."""

import asyncio
import json
import logging
import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.files import File
from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kit import clock, commands, ids, money
from kit.errors import SkillgateError
from skills import catalog
from skills.analyses import dispatch, engine, reading, submission, uploads, worker
from skills.analyses.stages import Brief
from skills.analyses.states import State
from skills.analyses.submission import Submission
from tenants import keys
from tenants.keys import Caller

_ADDRESS = "127.0.0.1"
_MOST_TURNS = 10_000
_PATIENCE_SECONDS = 3.0  # for a worker to take it up; then this process does


class Command(commands.Command):
    """Analyse files with live progress."""

    help = "Analyse files; the key comes from SKILLGATE_API_KEY. The result goes to stdout or to --output."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("files", nargs="+", type=Path)
        parser.add_argument("--skill", default="digest", help="an analysis skill; digest when left out")
        parser.add_argument("--input", default="{}", help="the skill's own fields, as JSON")
        parser.add_argument("--instructions", default="")
        parser.add_argument("--max-tokens", type=int, help="the most tokens it may use")
        parser.add_argument("--max-cost-usd", type=float, help="the most it may cost")
        parser.add_argument("--output", type=Path, help="where the result is saved, as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the command."""
        logging.getLogger("skillgate.calls").setLevel(
            logging.WARNING
        )  # a line for each call would tear the progress apart
        try:
            row = worker.run(lambda: analyse(options))
        except SkillgateError as error:
            raise CommandError(error.message) from error
        if row["state"] != State.SUCCEEDED:
            raise CommandError(f"The analysis {ids.encode('ana', row['id'])} is {row['state']}: {_why(row)}")
        written = json.dumps(row["result"], ensure_ascii=False, indent=2)
        if options["output"]:
            options["output"].write_text(written + "\n", encoding="utf-8")
        else:
            self.stdout.write(written)


async def analyse(options: dict[str, Any]) -> dict[str, Any]:
    """Submit files and watch until the analysis ends or waits; returns it."""
    caller = await keys.authenticate(os.environ.get("SKILLGATE_API_KEY"), address=_ADDRESS, now=clock.now(), fresh=True)
    row = await _submit(caller, options)
    await dispatch.wake()
    doing = asyncio.create_task(_do_if_nobody_does(row["id"]))
    try:
        await _watch(caller, row["id"], estimate=row["estimate"])
    finally:
        await doing
    return await reading.one(caller.tenant_id, row["id"])


async def _submit(caller: Caller, options: dict[str, Any]) -> dict[str, Any]:
    version = await catalog.resolve(caller.tenant_id, options["skill"], sticky=str(caller.family_id))
    try:
        given = json.loads(options["input"])
        opened = [File(path.open("rb"), name=path.name) for path in options["files"]]
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    kept = await uploads.keep(opened)
    for file in opened:
        file.close()
    cost = options["max_cost_usd"]
    asked = Submission(
        brief=Brief(version, given, options["instructions"], None),
        documents=kept,
        request_id=ids.request_id(),
        address=_ADDRESS,
        max_tokens=options["max_tokens"],
        max_micros=None if cost is None else int(cost * money.MICROS_PER_DOLLAR),
    )
    try:
        return (await submission.submit(caller, asked, now=clock.now())).row
    except BaseException:
        uploads.discard(kept)
        raise


async def _do_if_nobody_does(analysis_id: UUID) -> None:
    """Without a worker, or with none that is free, the work is done here; a worker that comes later finds it taken."""
    await asyncio.sleep(_PATIENCE_SECONDS)
    for _ in range(_MOST_TURNS):
        if await engine.work(analysis_id) != "queued":
            return
        await asyncio.sleep(_PATIENCE_SECONDS)


async def _watch(caller: Caller, analysis_id: UUID, *, estimate: dict[str, Any]) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[spent]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        bar = progress.add_task("Waiting", total=100, spent=f"about {money.dollars(estimate['cost_micros'])}")
        async with aclosing(reading.follow(caller.tenant_id, analysis_id, after=0, silence=3600.0)) as events:
            async for event in events:
                if event is not None and _show(progress, bar, event):
                    return


def _show(progress: Progress, bar: TaskID, event: dict[str, Any]) -> bool:
    """Show one event; tell whether it is the last to wait for."""
    name, data = event["name"], event["data"]
    if name == "analysis.started":
        progress.update(bar, description="Reading")
    elif name == "analysis.progress":
        spent = f"{data['used_tokens']:,} tokens, {money.dollars(data['cost_micros'])}"
        progress.update(bar, completed=data["percentage"], description="Reading", spent=spent)
    elif name == "analysis.findings":
        first = data["findings"][0]
        page = f" (page {first['page']})" if first["page"] else ""
        progress.console.print(f"• {first['statement'][:160]}{page}", markup=False, highlight=False)
    elif name == "analysis.succeeded":
        progress.update(bar, completed=100, description="Done")
    return name in ("analysis.succeeded", "analysis.failed", "analysis.cancelled", "analysis.awaiting_budget")


def _why(row: dict[str, Any]) -> str:
    return str((row["error"] or {}).get("message", ""))
