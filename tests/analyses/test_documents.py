"""Files of every kind that is taken become text; what only pretends, or would burst, is refused."""

import io
import zipfile
from pathlib import Path

import httpx2
import pytest
from docx import Document
from reportlab.pdfgen.canvas import Canvas

from skills.analyses import extraction
from tests.analyses.conftest import Desk

SENTENCE = "The Hatter is late for tea at six."


def pdf(*, pages: int = 3) -> bytes:
    written = io.BytesIO()
    canvas = Canvas(written)
    for number in range(1, pages + 1):
        canvas.drawString(72, 700, f"Page {number}. {SENTENCE}")
        canvas.showPage()
    canvas.save()
    return written.getvalue()


def docx() -> bytes:
    document = Document()
    document.add_heading("Of tea", level=1)
    document.add_paragraph(SENTENCE)
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "cups", "seven"
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


FILES = {
    "text/plain": (SENTENCE.encode(), SENTENCE),
    "text/html": (
        f"<html><body><script>x()</script><h2>Tea</h2><p>{SENTENCE}</p></body></html>".encode(),
        f"## Tea\n\n{SENTENCE}",
    ),
    "text/csv": (b"name,cups\nHatter,7\n", "name, cups\nname: Hatter, cups: 7"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": (
        docx(),
        f"# Of tea\n\n{SENTENCE}\n\ncups | seven",
    ),
}


@pytest.mark.parametrize("media_type", FILES)
def test_a_file_becomes_its_text(media_type: str, tmp_path: Path) -> None:
    raw, text = FILES[media_type]
    (tmp_path / "file").write_bytes(raw)

    assert extraction.extract(media_type, tmp_path / "file") == {"text": text, "pages": None}


def test_a_pdf_keeps_its_pages(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(pdf())

    found = extraction.extract("application/pdf", tmp_path / "file")

    assert len(found["pages"]) == 3
    assert [found["text"][at:].startswith(f"Page {n}.") for n, at in enumerate(found["pages"], start=1)] == [True] * 3


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 400_000_000)

    found = extraction.extract(next(reversed(FILES)), tmp_path / "bomb")

    assert found == {"error": "it unpacks to far more than it holds"}


@pytest.mark.parametrize(
    ("media_type", "raw"), [("application/pdf", b"%PDF-1.7 nonsense"), (next(reversed(FILES)), b"PK")]
)
def test_a_damaged_file_is_refused_in_words(media_type: str, raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(raw)

    assert set(extraction.extract(media_type, tmp_path / "file")) == {"error"}


@pytest.mark.usefixtures("workers")
def test_uploaded_files_are_told_by_what_they_hold_and_cited_by_page(desk: Desk) -> None:
    files = [("file", ("letter", pdf(), "text/plain")), ("file", ("tea.docx", docx(), "application/pdf"))]
    sent = httpx2.post(
        f"{desk.live.base_url}/v1/analyses", data={"skill": "digest"}, files=files, headers=desk.live.headers
    )
    assert sent.status_code == 202, sent.text
    assert [one["media_type"] for one in sent.json()["documents"]] == ["application/pdf", next(reversed(FILES))]

    desk.wait(sent.json()["id"])
    result = desk.result(sent.json()["id"])

    assert [one["pages"] for one in result["documents"]] == [3, None]
    assert {one["page"] for one in result["citations"] if one["document"] == 0} <= {1, 2, 3}


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize(
    ("raw", "status"), [(b"\x89PNG\r\n\x1a\n\0\0", 415), (b"PK\x03\x04nothing", 415), (b"  ", 400)]
)
def test_other_files_are_refused(desk: Desk, raw: bytes, status: int) -> None:
    sent = httpx2.post(
        f"{desk.live.base_url}/v1/analyses",
        data={"skill": "digest"},
        files={"file": ("x.txt", raw, "text/plain")},
        headers=desk.live.headers,
    )

    assert sent.status_code == status, sent.text
    assert desk.get("analyses")["data"] == []


@pytest.mark.usefixtures("workers")
def test_a_file_that_cannot_be_read_fails_its_analysis_in_words(desk: Desk) -> None:
    sent = httpx2.post(
        f"{desk.live.base_url}/v1/analyses",
        data={"skill": "digest"},
        files={"file": ("broken.pdf", b"%PDF-1.7 nonsense", "application/pdf")},
        headers=desk.live.headers,
    )

    failed = desk.wait(sent.json()["id"], state="failed")

    assert failed["error"]["reason"] == "document_unreadable"
    assert "broken.pdf" in failed["error"]["message"]
    assert desk.live.events() == []
