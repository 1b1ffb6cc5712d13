"""Exports as files, byte by byte: CSV and FOCUS go out as they are read, a workbook goes by way of a temporary file."""

import csv
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal
from zoneinfo import ZoneInfo

from kit.spreadsheets import harmless
from tenants.models import Tenant
from usage.exports import columns
from usage.exports.columns import Column
from usage.exports.reading import ROWS_AT_ONCE, Reading, Span, Wall, reader, rows, stretches

Kind = Literal["csv", "xlsx", "focus"]
FORMATS: dict[Kind, tuple[str, str]] = {
    "csv": ("text/csv; charset=utf-8", "events.csv"),
    "focus": ("text/csv; charset=utf-8", "focus.csv"),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "events.xlsx"),
}
_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Export:
    """A file on its way: what it is called, what it is, and its bytes; to be closed, read to the end or not."""

    name: str
    content_type: str
    pieces: "Pieces"


class Pieces:
    """The bytes of a file, of which the first are read at once: what cannot begin is refused before anything is sent."""

    def __init__(self, rest: Generator[bytes]) -> None:
        self._rest = rest
        self._first: bytes | None = next(rest, b"")

    def __iter__(self) -> "Pieces":
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._rest)

    def close(self) -> None:
        """End the reading, wherever it is."""
        self._rest.close()


def open_export(tenant: Tenant, kind: Kind, span: Span, *, wall: Wall | None = None) -> Export:
    """Export a tenant's days.

    `wall` is the role to read through for people of the tenant. Raises `InvalidRequest` for a span that is too
    long and `Unavailable` while too many exports run.
    """
    span.check()
    content_type, ending = FORMATS[kind]
    name = f"{tenant.slug}-{span.first}-{span.last}-{ending}"
    return Export(name, content_type, Pieces(_pieces(tenant, kind, span, wall)))


def _pieces(tenant: Tenant, kind: Kind, span: Span, wall: Wall | None) -> Generator[bytes]:
    zone = ZoneInfo(tenant.timezone)
    wanted = columns.FOCUS_COLUMNS if kind == "focus" else columns.EVENT_COLUMNS
    names = [name for name, _ in wanted]
    with reader(wall) as connection:
        read = _days if kind == "focus" else _events
        cells = (_cells(row, wanted, zone) for row in read(connection, tenant.pk, span))
        if kind == "xlsx":
            yield from _workbook(names, cells)
        else:
            yield from _csv(names, cells)


def _days(connection: Reading, tenant_id: int, span: Span) -> Iterator[dict[str, Any]]:
    return rows(connection, columns.DAYS, {"tenant": tenant_id, "first": span.first, "last": span.last})


def _events(connection: Reading, tenant_id: int, span: Span) -> Iterator[dict[str, Any]]:
    for stretch in stretches(connection, tenant_id, span):
        yield from rows(connection, columns.EVENTS, stretch)


def _cells(row: dict[str, Any], wanted: Sequence[Column], zone: ZoneInfo) -> list[Any]:
    return [value(row, zone) for _, value in wanted]


def _csv(names: Sequence[str], cells: Iterator[list[Any]]) -> Iterator[bytes]:
    out = StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for count, row in enumerate(cells, 1):
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in row])
        if count % ROWS_AT_ONCE == 0:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def _workbook(names: Sequence[str], cells: Iterator[list[Any]]) -> Iterator[bytes]:
    from usage.exports import workbooks  # noqa: PLC0415 - its library is large, and few ask for a workbook

    with tempfile.TemporaryFile() as file:
        workbooks.write(file, names, cells)
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece
