"""A workbook of any length in constant memory: rows go to disk as they come, a full sheet is followed by another."""

from collections.abc import Iterable, Sequence
from typing import IO, Any

import xlsxwriter

ROWS_OF_A_SHEET = 1_000_000
_LARGEST_NUMBER = 10**15  # beyond it a spreadsheet's numbers are no longer whole
_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}


def write(file: IO[bytes], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; text is always text, whatever it begins with."""
    with xlsxwriter.Workbook(file, _OPTIONS) as book:
        bold = book.add_format({"bold": True})
        sheet, at = _sheet(book, names, bold), 0
        for row in rows:
            if at == ROWS_OF_A_SHEET:
                sheet, at = _sheet(book, names, bold), 0
            at += 1
            for column, cell in enumerate(row):
                _write(sheet, at, column, cell)


def _sheet(book: Any, names: Sequence[str], bold: Any) -> Any:
    sheet = book.add_worksheet(f"Events {len(book.worksheets()) + 1}")
    sheet.freeze_panes(1, 0)
    for column, name in enumerate(names):
        sheet.write_string(0, column, name, bold)
    return sheet


def _write(sheet: Any, row: int, column: int, cell: Any) -> None:
    if cell is None or cell == "":
        return
    if isinstance(cell, int) and abs(cell) < _LARGEST_NUMBER:
        sheet.write_number(row, column, cell)
    else:
        sheet.write_string(row, column, str(cell))
