"""What would burst is refused where it can do no harm, and what is merely large costs the server no memory."""

import io
import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from skills.analyses import extraction
from tests.analyses.conftest import Desk

MEGABYTE = 1024 * 1024
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + ']><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
    "<w:t>&a11;</w:t></w:r></w:p></w:body></w:document>"
)


def pdf(content: bytes, *, coding: str = "/FlateDecode") -> bytes:
    """A PDF of one page whose content is this stream."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
        b"<< /Length %d /Filter [%s] >>\nstream\n%s\nendstream" % (len(content), coding.encode(), content),
    ]
    written = io.BytesIO(b"%PDF-1.7\n")
    written.seek(0, io.SEEK_END)
    offsets = []
    for number, one in enumerate(objects, start=1):
        offsets.append(written.tell())
        written.write(b"%d 0 obj\n%s\nendobj\n" % (number, one))
    start = written.tell()
    written.write(b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in offsets))
    written.write(b"trailer\n<< /Root 1 0 R /Size 5 >>\nstartxref\n%d\n%%%%EOF" % start)
    return written.getvalue()


def docx(**parts: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" '
            'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
            'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
        )
        for name, text in parts.items():
            archive.writestr(f"word/{name}.xml", text)
    return written.getvalue()


def squeezed(megabytes: int) -> bytes:
    """So many megabytes of nothing, in a few kilobytes."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(MEGABYTE)) for _ in range(megabytes)]
    return b"".join([*parts, packer.flush()])


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a PDF that unpacks to 300 MB": ("application/pdf", lambda: pdf(squeezed(300))),
    "a PDF that unpacks twice": (
        "application/pdf",
        lambda: pdf(zlib.compress(squeezed(300), 9), coding="/FlateDecode /FlateDecode"),
    ),
    "a PDF whose pages contain each other": (
        "application/pdf",
        lambda: pdf(b"").replace(b"/Kids [3 0 R] /Count 1", b"/Kids [2 0 R 3 0 R] /Count 9"),
    ),
    "a Word document with entities of entities": (WORD, lambda: docx(document=LAUGHS)),
    "a Word document that unpacks to far more": (WORD, lambda: docx(document=" " * (100 * MEGABYTE))),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_bursts_nothing_but_its_own_process(name: str, tmp_path: Path) -> None:
    media_type, make = BOMBS[name]
    (tmp_path / "bomb").write_bytes(make())
    assert (tmp_path / "bomb").stat().st_size < 3 * MEGABYTE

    read = subprocess.run(
        [sys.executable, "-I", extraction.__file__, media_type, str(tmp_path / "bomb")],
        capture_output=True,
        timeout=150,
        check=False,
    )

    said: dict[str, Any] = json.loads(read.stdout) if read.returncode == 0 else {"error": "the process ended"}
    assert "error" in said or len(said["text"]) < 1_000, str(said)[:300]


@pytest.mark.usefixtures("workers")
def test_a_large_file_is_streamed_to_disk_and_costs_the_server_no_memory(desk: Desk, tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        for _ in range(48):
            file.write(b"The Hatter is late for tea at six. \n" * (MEGABYTE // 36))
    send(desk, b"Tea at six.")  # what the first upload costs once
    before = desk.live.server.memory()

    with large.open("rb") as file:
        sent = send(desk, file)

    assert sent.status_code == 202, sent.text
    assert sent.json()["documents"][0]["bytes"] == large.stat().st_size
    assert desk.live.server.memory() - before < 24 * MEGABYTE
    failed = desk.wait(sent.json()["id"], state="failed", within=120)
    assert failed["error"]["reason"] == "document_unreadable"


def test_more_than_fifty_megabytes_are_refused(desk: Desk) -> None:
    answer = send(desk, b"Tea at six. " * (51 * MEGABYTE // 12))

    assert answer.status_code == 413
    assert desk.get("analyses")["data"] == []


def send(desk: Desk, file: Any) -> httpx2.Response:
    return httpx2.post(
        f"{desk.live.base_url}/v1/analyses",
        data={"skill": "digest"},
        files={"file": ("large.txt", file, "text/plain")},
        headers=desk.live.headers,
        timeout=120,
    )
