"""A text is cut without a gap, within its bound, at the best places; a quotation is found or it is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.analyses.citing import resolve, with_sources
from skills.analyses.findings import Source, merged, verified
from skills.analyses.parts import page_of, split
from skills.analyses.quotes import locate

TEXT = st.text(alphabet=st.sampled_from("ab .\n#é漢😀"), min_size=1, max_size=600)


@given(TEXT, st.integers(40, 200), st.integers(0, 30))
def test_parts_cover_the_text_within_their_bound(text: str, most: int, overlap: int) -> None:
    found = split(text, most_bytes=most, overlap_bytes=overlap)

    reached = 0
    for part in found:
        assert part.start <= reached < part.end or not text[reached : part.start].strip()
        assert len(text[part.start : part.end].encode()) <= most
        reached = part.end
    assert not text[reached:].strip()


def test_parts_end_where_chapters_and_pages_do() -> None:
    text = "".join(f"CHAPTER {n}. Tea\n\n" + "The Hatter is late. " * 30 + "\n\n" for n in range(1, 5))

    found = split(text, most_bytes=700, overlap_bytes=50)

    assert [text[part.start :].startswith("CHAPTER") for part in found] == [True] * 4


def test_a_part_in_the_middle_repeats_the_end_of_the_one_before() -> None:
    text = "The Hatter is late. " * 100

    first, second, *_ = split(text, most_bytes=500, overlap_bytes=80)

    assert first.end - 80 <= second.start < first.end
    assert text[second.start :].startswith("The Hatter")


@pytest.mark.parametrize(("offset", "page"), [(0, 1), (9, 1), (10, 2), (25, 3)])
def test_an_offset_has_its_page(offset: int, page: int) -> None:
    assert page_of(offset, [0, 10, 20]) == page


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("late for tea", "late for tea"),
        ("is  late\nfor tea.", "is late for tea"),
        ("“so he said”", '"so he said"'),
        ("late for coffee", None),
        ("Late for tea", None),
        ("", None),
        ("...", None),
    ],
)
def test_a_quotation_is_the_sources_own_words_or_none(quote: str, found: str | None) -> None:
    text = 'The Hatter is late for tea, "so he said" at six.'

    at = locate(quote, text)

    assert (None if at is None else text[slice(*at)].strip('"')) == (None if found is None else found.strip('"'))


def test_what_cannot_be_verified_is_dropped_and_counted() -> None:
    source = Source("book", "One two three. Four five six.", [0, 15])
    said = [
        {"statement": "counts", "quote": "Four five six."},
        {"statement": "invents", "quote": "Seven eight nine."},
    ]

    found = verified(said, source=source, document=0, start=0, end=29)

    assert [one["statement"] for one in found.findings] == ["counts"]
    assert found.findings[0]["places"] == [
        {"document": 0, "start": 15, "end": 29, "page": 2, "quote": "Four five six."}
    ]
    assert found.unverified_quotes == 1


def test_merging_and_answering_keep_only_sources_that_there_are() -> None:
    source = Source("book", "One two three. Four five six.", None)
    said = [{"statement": "a", "quote": "One two three."}, {"statement": "b", "quote": "Four five six."}]
    findings = verified(said, source=source, document=0, start=0, end=29).findings

    joined = merged([{"statement": "ab", "sources": ["F1", "F2", "F9"]}], given=findings, most=5)
    answer = {"points": [{"text": "x", "sources": ["F1", "F7"]}]}
    cited = resolve(answer, schema={"type": "object", "properties": {}}, findings=joined.findings, sources=[source])

    assert (joined.unverified_quotes, cited.dropped) == (1, 1)
    assert cited.output == {"points": [{"text": "x", "sources": ["c1", "c2"]}]}
    assert [one["quote"] for one in cited.citations] == ["One two three.", "Four five six."]


def test_an_answer_can_name_only_findings_that_there_are() -> None:
    made = with_sources({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, count=2)

    assert made["properties"]["sources"]["items"] == {"type": "string", "enum": ["F1", "F2"]}
    assert made["required"] == ["a", "sources"]
    assert with_sources(None, count=0)["properties"]["sources"]["items"] == {"type": "string"}
