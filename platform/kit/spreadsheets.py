"""CSV that no spreadsheet program takes for formulas."""

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - their wide forms are read as them


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; what could begin a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([harmless(cell) for cell in row])
    return out.getvalue()


def harmless(cell: str) -> str:
    """Return a cell that is read as text, also behind blanks."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell
