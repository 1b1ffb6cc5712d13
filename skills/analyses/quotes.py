"""Finding a quotation in its source, so that nothing is cited that is not there word for word."""

import re

_MOST_QUOTE_CHARACTERS = 2_000
_ALIKE = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2010": "-",
        "\u2011": "-",
        "\u00a0": " ",
    }
)
_TRIMMED = " \t\r\n\"'.…"
_FEWEST_CHARACTERS = 3


def locate(quote: str, text: str, *, start: int = 0, end: int | None = None) -> tuple[int, int] | None:
    """Return where a quotation stands in `text[start:end]`, as offsets into `text`; None if nowhere.

    Line breaks, the kind of quotation marks and dashes, and what a quotation ends with may differ;
    words may not. What is cited is always the source's own text at these offsets.
    """
    end = len(text) if end is None else end
    wanted = quote.replace("<\\/", "</").strip()[:_MOST_QUOTE_CHARACTERS]
    if len(wanted) < _FEWEST_CHARACTERS:
        return None
    at = text.find(wanted, start, end)
    if at >= 0:
        return at, at + len(wanted)
    words = wanted.translate(_ALIKE).strip(_TRIMMED).split()
    if not words or sum(map(len, words)) < _FEWEST_CHARACTERS:
        return None
    pattern = re.compile(r"\s+".join(map(re.escape, words)))
    found = pattern.search(text[start:end].translate(_ALIKE))  # one character for one: offsets stay
    return None if found is None else (start + found.start(), start + found.end())
