"""From a file to its text with the offsets of its pages. Runs alone, as a script without anything of ours around it:
`python -I extraction.py MEDIA_TYPE FILE` writes `{"text", "pages"}` or `{"error"}`, within limits of memory and time.
"""

import csv
import io
import json
import re
import resource
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_CHARACTERS = 20_000_000
MOST_PAGES = 5_000
_MOST_MEMORY = 2 * 1024**3
_MOST_SECONDS = 120
_MOST_UNZIPPED = 300 * 1024**2
_MOST_RATIO = 200
_MOST_ENTRIES = 5_000
Extracted = tuple[str, list[int] | None]


class Refused(Exception):
    """The file is not what it says or would be too much."""


def plain(file: Path) -> Extracted:
    """Read text in UTF-8, or in Windows' Latin alphabet; form feeds part pages."""
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("utf-16") if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else raw.decode("cp1252", "replace")
    text = text.replace("\r\n", "\n").replace("\0", "")
    if "\f" not in text:
        return text, None
    return text, [0, *(found.end() for found in re.finditer("\f", text))]


def html(file: Path) -> Extracted:
    """Read a page's text without its scripts, menus and styles; headings become Markdown's."""
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - each reader loads its library alone

    tree = LexborHTMLParser(plain(file)[0])
    for unread in tree.css("script, style, noscript, template, nav, svg"):
        unread.decompose()
    for level in range(1, 7):
        for heading in tree.css(f"h{level}"):
            heading.insert_before(f"\n\n{'#' * level} ")
    for block in tree.css("p, div, li, tr, br, h1, h2, h3, h4, h5, h6, section, article"):
        block.insert_after("\n\n" if block.tag != "br" else "\n")
    text = tree.body.text() if tree.body is not None else ""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip(), None


def pdf(file: Path) -> Extracted:
    """Read a PDF's text page by page."""
    from pypdf import PdfReader  # noqa: PLC0415 - the same
    from pypdf.errors import PyPdfError  # noqa: PLC0415 - the same

    try:
        reader = PdfReader(file, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("it is protected by a password")
        if len(reader.pages) > MOST_PAGES:
            raise Refused(f"it has more than {MOST_PAGES} pages")
        return joined(page.extract_text() for page in reader.pages)
    except PyPdfError as error:
        raise Refused("it is not a sound PDF") from error


def joined(pages: Any) -> Extracted:
    """Put pages' texts together, noting where each starts."""
    texts: list[str] = []
    starts: list[int] = []
    length = 0
    for page in pages:
        text = page.replace("\0", "").strip() + "\n\n"
        starts.append(length)
        texts.append(text)
        length += len(text)
        if length > MOST_CHARACTERS:
            raise Refused(f"it has more than {MOST_CHARACTERS} characters")
    return "".join(texts), starts


def docx(file: Path) -> Extracted:
    """Read a Word document's paragraphs and tables, in order; headings become Markdown's."""
    _refuse_bomb(file)
    from docx import Document  # noqa: PLC0415 - the same
    from docx.table import Table  # noqa: PLC0415 - the same

    parts = []
    for block in Document(str(file)).iter_inner_content():
        if isinstance(block, Table):
            parts += [" | ".join(" ".join(cell.text.split()) for cell in row.cells) for row in block.rows]
            continue
        style = (block.style.name or "") if block.style is not None else ""
        level = style.removeprefix("Heading ") if style.startswith("Heading ") else ""
        parts.append(f"{'#' * int(level)} {block.text}" if level.isdigit() else block.text)
    return "\n\n".join(part for part in parts if part.strip()), None


def table(file: Path) -> Extracted:
    """Read a CSV's rows, each with its column names, so that a part can be understood alone."""
    text = plain(file)[0]
    dialect: Any = csv.excel
    with suppress(csv.Error):
        dialect = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|")
    rows = csv.reader(io.StringIO(text), dialect)
    names = next(rows, [])
    lines = [", ".join(f"{name}: {value}" for name, value in zip(names, row, strict=False)) for row in rows]
    return "\n".join([", ".join(names), *lines]), None


READERS: dict[str, Callable[[Path], Extracted]] = {
    "text/plain": plain,
    "text/markdown": plain,
    "text/html": html,
    "text/csv": table,
    "application/pdf": pdf,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": docx,
}


def _refuse_bomb(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise Refused("it is not a sound Word document") from error
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_ENTRIES or size > _MOST_UNZIPPED or size > _MOST_RATIO * max(file.stat().st_size, 10_000):
        raise Refused("it unpacks to far more than it holds")


def extract(media_type: str, file: Path) -> dict[str, Any]:
    """Return a file's text and pages, or the reason why there are none."""
    try:
        text, pages = READERS[media_type](file)
    except Refused as refused:
        return {"error": str(refused)}
    except (MemoryError, RecursionError):
        return {"error": "it would take far too much memory to read"}
    except Exception as error:  # noqa: BLE001 - whatever a library makes of a broken file, it is the file that is refused
        return {"error": f"it is damaged ({type(error).__name__})"}
    if len(text) > MOST_CHARACTERS:
        return {"error": f"it has more than {MOST_CHARACTERS} characters"}
    return {"text": text.encode("utf-8", "replace").decode(), "pages": pages}


def main() -> None:
    """Read the file that the command line names, within limits."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
    json.dump(extract(sys.argv[1], Path(sys.argv[2])), sys.stdout)


if __name__ == "__main__":
    main()
