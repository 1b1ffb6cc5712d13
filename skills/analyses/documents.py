"""The sources of an analysis: files on disk until they are read, then text in the database."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from kit import pg
from kit.errors import InvalidRequest, Unavailable
from skills.analyses import extraction
from skills.analyses.findings import Source

_EXTRACT_SECONDS = 150.0
_SCRIPT = Path(extraction.__file__)


def folder() -> Path:
    """Return where uploads wait to be read."""
    return Path(settings.UPLOADS_DIR)


async def sources(analysis_id: UUID) -> list[Source]:
    """Return the documents' texts, having read those that are still files.

    Raises `InvalidRequest`, naming the document, for one that cannot be read.
    """
    rows = await pg.fetch_all(_DOCUMENTS, {"id": analysis_id})
    for row in rows:
        if row["text"] is None:
            await _read(row)
    return [Source(row["name"], row["text"], row["pages"]) for row in rows]


async def _read(row: dict[str, Any]) -> None:
    """Extract a document's text in a process with limits of its own, so that a hostile file breaks only that."""
    file = folder() / row["path"]
    if not file.exists():
        raise Unavailable("An uploaded file cannot be reached from this worker.", retry_after=30)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_SCRIPT), row["media_type"], str(file), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_EXTRACT_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise _unreadable(row, "reading it takes too long") from None
    answer = json.loads(said) if process.returncode == 0 and said else {"error": "it is damaged or far too large"}
    if "error" in answer:
        raise _unreadable(row, answer["error"])
    row["text"], row["pages"] = answer["text"], answer["pages"]
    await pg.execute(_TEXT, {"id": row["id"], "text": answer["text"], "pages": json.dumps(answer["pages"])})
    await asyncio.to_thread(file.unlink, missing_ok=True)


def _unreadable(row: dict[str, Any], why: str) -> InvalidRequest:
    return InvalidRequest(
        f"The document {row['name']!r} cannot be read: {why}.", reason="document_unreadable", path=f"/{row['position']}"
    )


_DOCUMENTS = "SELECT * FROM skills_analysisdocument WHERE analysis_id = %(id)s ORDER BY position"
_TEXT = "UPDATE skills_analysisdocument SET text = %(text)s, pages = %(pages)s::jsonb, path = '' WHERE id = %(id)s"
