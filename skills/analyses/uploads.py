"""Files on their way in: streamed to disk by the server, looked at by their first bytes, kept until a worker reads them."""

import asyncio
import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

from kit import ids
from kit.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from skills.analyses import documents
from skills.analyses.submission import MOST_DOCUMENTS, Sent

MOST_BYTES = 50 * 1024 * 1024
_CHUNK = 1024 * 1024
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_TEXTS = {".txt": "text/plain", ".text": "text/plain", ".md": "text/markdown", ".markdown": "text/markdown",
          ".html": "text/html", ".htm": "text/html", ".csv": "text/csv"}  # fmt: skip
_TAKEN = "txt, md, html, pdf, docx and csv"


async def keep(files: list[Any]) -> list[Sent]:
    """Look at uploaded files and move them to where workers read them.

    Raises `UnsupportedMediaType`, `RequestTooLarge` or `InvalidRequest`; nothing is kept then.
    """
    if len(files) > MOST_DOCUMENTS:
        raise InvalidRequest(f"An analysis takes at most {MOST_DOCUMENTS} documents.", path="/documents")
    if sum(file.size for file in files) > MOST_BYTES:
        raise RequestTooLarge(f"The files together are over {MOST_BYTES // 1024**2} MB.", limit_bytes=MOST_BYTES)
    kept: list[Sent] = []
    try:
        for file in files:
            kept.append(await asyncio.to_thread(_keep, file))  # noqa: PERF401 - what is kept so far is thrown away on error
    except BaseException:
        await asyncio.to_thread(discard, kept)
        raise
    return kept


def discard(kept: list[Sent]) -> None:
    """Delete files that no analysis came of."""
    for one in kept:
        if one.path:
            (documents.folder() / one.path).unlink(missing_ok=True)


def _keep(file: Any) -> Sent:
    name = Path(str(file.name).replace("\\", "/")).name[:255] or "document"
    media_type = _sniffed(file, suffix=Path(name).suffix.lower())
    folder = documents.folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = ids.encode("upl", ids.uuid7())
    digest = hashlib.sha256()
    with os.fdopen(os.open(folder / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as kept:
        for chunk in file.chunks(_CHUNK):
            digest.update(chunk)
            kept.write(chunk)
    return Sent(name=name, media_type=media_type, size_bytes=file.size, digest=digest.digest(), path=path)


def _sniffed(file: Any, *, suffix: str) -> str:
    """What a file is, is what it holds; its name only tells one kind of text from another."""
    file.seek(0)
    head = file.read(4096)
    file.seek(0)
    if not head.strip():
        raise InvalidRequest("An uploaded file is empty.", path="/documents")
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    if head.startswith(b"PK\x03\x04"):
        return _word(file)
    is_wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if (b"\0" in head and not is_wide) or head.startswith(
        (b"\x7fELF", b"\x89PNG", b"\xff\xd8", b"GIF8", b"\xd0\xcf\x11\xe0")
    ):
        raise UnsupportedMediaType(f"An uploaded file is of a kind that cannot be read; send {_TAKEN}.")
    if suffix in _TEXTS:
        return _TEXTS[suffix]
    start = head.lstrip().lower()
    return "text/html" if start.startswith((b"<!doctype html", b"<html")) else "text/plain"


def _word(file: Any) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            is_word = "word/document.xml" in archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        is_word = False
    file.seek(0)
    if not is_word:
        raise UnsupportedMediaType(f"An uploaded archive is no Word document; send {_TAKEN}.")
    return _DOCX
