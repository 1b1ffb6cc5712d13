"""A tenant's usage as files: every event as CSV or a workbook, days as FOCUS, a month's statement as PDF.

Rows come from a cursor on a connection of the export's own and go out as they come: memory does not grow with them.
Figures are those of the ledger to the micro-dollar; text that a spreadsheet program could take for a formula is defused.
"""

from usage.exports.files import FORMATS, Export, Kind, open_export
from usage.exports.reading import Span, Wall

__all__ = ["FORMATS", "Export", "Kind", "Span", "Wall", "open_export"]
