"""Names of any script on paper: which font draws which part of a text, and what stands for letters that none has.

What Helvetica has stays in Helvetica. Other text is set in FiraGO (Latin, Greek, Cyrillic, Georgian, Arabic, Hebrew,
Thai, Devanagari), which goes into the document; Chinese, Japanese and Korean in the fonts that PDF readers bring.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from itertools import groupby
from xml.sax.saxutils import escape

import pymupdf_fonts
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Paragraph

UNKNOWN = "▯"
_WIDE, _WIDE_BOLD = "FiraGO", "FiraGO-Bold"
_FILES = {_WIDE: "figo", _WIDE_BOLD: "figbo"}
_CHINESE, _JAPANESE, _KOREAN = "STSong-Light", "HeiseiKakuGo-W5", "HYGothic-Medium"
_KANA, _HANGUL, _HAN = ("\u3040", "\u30ff"), ("\uac00", "\ud7a3"), ("\u3400", "\u9fff")
_FULL_WIDTH = (("\u3000", "\u303f"), ("\uff01", "\uffe6"))


def paragraph(text: str, style: ParagraphStyle) -> Paragraph:
    """Set a text that may be of any script; what looks like markup in it is shown as it is.

    A letter that no font has becomes UNKNOWN.
    """
    if _is_plain(text):
        return Paragraph(escape(text), style)
    wide = _register(_WIDE_BOLD if style.fontName.endswith("Bold") else _WIDE)
    shaped = ParagraphStyle(f"{style.name}-wide", parent=style, fontName=wide, shaping=1)
    return Paragraph(_marked(_in_order_of_sight(text), wide=wide), shaped)


def notes(texts: Iterable[str]) -> list[str]:
    """Return what a reader is to be told about the letters of some texts."""
    found = {
        _font(letter, wide=_register(_WIDE), east=_east(text))
        for text in texts
        if not _is_plain(text)
        for letter in text
    }
    told = []
    if found & {_CHINESE, _JAPANESE, _KOREAN}:
        told.append(
            "Chinese, Japanese and Korean letters are drawn with fonts of the program that shows this document."
        )
    if None in found:
        told.append(f"{UNKNOWN} stands for a letter that no font was at hand for; events.csv and events.xlsx have it.")
    return told


def _marked(text: str, *, wide: str) -> str:
    east = _east(text)
    letters = [(letter, _font(letter, wide=wide, east=east)) for letter in text]
    parts = []
    for name, run in groupby(letters, key=lambda pair: pair[1]):
        part = "".join(letter for letter, _ in run)
        if name == wide:
            parts.append(escape(part))
        else:
            parts.append(f'<font name="{name}">{escape(part)}</font>' if name else UNKNOWN * len(part))
    return "".join(parts)


def _in_order_of_sight(text: str) -> str:
    """Words are set from left to right, each shaped by itself: those of Arabic and Hebrew stand in reverse, then."""
    ordered: list[str] = []
    for is_leftward, words in groupby(text.split(" "), key=_is_leftward):
        run = list(words)
        ordered += reversed(run) if is_leftward else run
    return " ".join(ordered)


def _is_leftward(word: str) -> bool:
    return any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in word)


def _font(letter: str, *, wide: str, east: str) -> str | None:
    if ord(letter) in _known(wide):
        return wide
    if any(first <= letter <= last for first, last in (_KANA, _HANGUL, _HAN, *_FULL_WIDTH)):
        return _register_east(east)
    return None


def _east(text: str) -> str:
    """Han letters are drawn as the language of the text writes them."""
    if any(_KANA[0] <= letter <= _KANA[1] for letter in text):
        return _JAPANESE
    return _KOREAN if any(_HANGUL[0] <= letter <= _HANGUL[1] for letter in text) else _CHINESE


def _is_plain(text: str) -> bool:
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


@cache
def _register(name: str) -> str:
    pdfmetrics.registerFont(TTFont(name, BytesIO(pymupdf_fonts.myfont(_FILES[name])), shapable=True))
    return name


@cache
def _register_east(name: str) -> str:
    pdfmetrics.registerFont(UnicodeCIDFont(name))
    return name


@cache
def _known(name: str) -> frozenset[int]:
    return frozenset(pdfmetrics.getFont(name).face.charToGlyph)
