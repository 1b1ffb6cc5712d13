"""A book of as many pages as one likes, made from the example text: each page says something that no other says."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PAGE_CHARACTERS = 2_000


def book(*, pages: int) -> str:
    """Write a book whose pages are parted by form feeds, with a chapter every ten pages."""
    source = (ROOT / "examples" / "alice.txt").read_text(encoding="utf-8")
    paragraphs = [part for part in source.split("\n\n") if len(part) > 200]
    written = []
    taken = 0
    for number in range(1, pages + 1):
        head = f"CHAPTER {number // 10 + 1}. Of the {number // 10 + 1}th journey\n\n" if number % 10 == 1 else ""
        text = f"{head}On page {number} the White Rabbit counted {number * 37} buttons and lost {number % 7} of them."
        while len(text) < _PAGE_CHARACTERS:
            text += f"\n\n{paragraphs[taken % len(paragraphs)]}"
            taken += 1
        written.append(text)
    return "\f".join(written)
