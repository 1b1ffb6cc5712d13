"""Prices: exact to the micro-dollar, bands and days, loaded whole or not at all."""

import asyncio
from datetime import date
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from kit import clock
from kit.errors import InvalidRequest, NotAllowed
from tests.usage.desk import do
from usage import pricing
from usage.models import Price, PriceBook
from usage.pricing import Band, Book, Tokens
from usage.pricing import book as books

DAY = date(2026, 11, 1)
PLAIN = {
    "input": 3_000_000,
    "output": 15_000_000,
    "cache_write_5m": 3_750_000,
    "cache_write_1h": 6_000_000,
    "cache_read": 300_000,
}


def book(*bands: Band, model: str = "m") -> Book:
    return Book(version=1, bands={model: bands})


def band(micros: dict[str, int] | None = None, *, day: date = date(2025, 1, 1), start: int = 0) -> Band:
    return Band(effective_from=day, prompt_from=start, micros={**PLAIN, **(micros or {})})


@pytest.mark.parametrize(
    ("tokens", "micros"),
    [
        (Tokens(), 0),
        (Tokens(input=1), 3),
        (Tokens(output=1), 15),
        (Tokens(cache_write_5m=1), 4),  # 3.75
        (Tokens(cache_write_5m=2), 8),  # 7.5: half goes up
        (Tokens(cache_write_1h=1), 6),
        (Tokens(cache_read=1), 0),  # 0.3
        (Tokens(cache_read=5), 2),  # 1.5: half goes up
        (Tokens(cache_read=1, cache_write_5m=1), 4),  # 4.05: rounded once, for the whole call
        (Tokens(input=1000, output=500, cache_write_5m=100, cache_write_1h=10, cache_read=10_000), 13_935),
        (Tokens(input=10**9, output=10**9), 18_000_000_000),
    ],
)
def test_costs_are_exact(tokens: Tokens, micros: int) -> None:
    assert book(band()).cost("m", tokens, on=DAY) == micros


@pytest.mark.parametrize(
    ("tokens", "micros"),
    [
        (Tokens(input=2), 3),
        (Tokens(output=1), 8),  # 7.5: half goes up
        (Tokens(cache_write_5m=4), 8),  # 7.5: the discount holds for what is cached too
        (Tokens(cache_read=10), 2),  # 1.5
        (Tokens(input=1000, output=1000, cache_write_1h=1000, cache_read=1000), 12_150),
    ],
)
def test_batches_have_prices_of_their_own(tokens: Tokens, micros: int) -> None:
    discounted = band({"batch_input": 1_500_000, "batch_output": 7_500_000})

    assert book(discounted).cost("m", tokens, on=DAY, tier="batch") == micros


def test_a_model_without_prices_of_batches_costs_the_same_in_one() -> None:
    tokens = Tokens(input=1000, output=500, cache_write_5m=100, cache_write_1h=10, cache_read=10_000)

    assert book(band()).cost("m", tokens, on=DAY, tier="batch") == 13_935


def test_the_band_goes_by_the_whole_prompt_and_not_by_the_output() -> None:
    priced = book(band(), band({"input": 6_000_000}, start=100))

    assert priced.cost("m", Tokens(input=99, output=1000), on=DAY) == 99 * 3 + 15_000
    assert priced.cost("m", Tokens(input=100), on=DAY) == 600
    assert (
        priced.cost("m", Tokens(input=50, cache_read=30, cache_write_5m=10, cache_write_1h=10), on=DAY)
        == 300 + 9 + 38 + 60
    )


def test_a_price_counts_from_its_day_on() -> None:
    priced = book(band(), band({"input": 1_000_000}, day=DAY))

    assert priced.cost("m", Tokens(input=10), on=date(2026, 10, 31)) == 30
    assert priced.cost("m", Tokens(input=10), on=DAY) == 10


def test_a_day_states_the_whole_tariff() -> None:
    priced = book(band(), band({"input": 9_000_000}, start=100), band({"input": 1_000_000}, day=DAY))

    assert priced.cost("m", Tokens(input=200), on=DAY) == 200


@pytest.mark.parametrize(("model", "day"), [("unknown", DAY), ("m", date(2024, 12, 31)), ("m-2025", DAY)])
def test_a_model_without_a_price_is_refused(model: str, day: date) -> None:
    with pytest.raises(NotAllowed) as refused:
        book(band()).cost(model, Tokens(input=1), on=day)

    assert refused.value.details["reason"] == "price_unknown"


def test_a_dated_name_has_the_price_of_its_model() -> None:
    assert book(band()).cost("m-20251001", Tokens(input=1), on=DAY) == 3


counts = st.integers(0, 2_000_000)
prices = st.integers(0, 100_000_000)
micros = st.fixed_dictionaries(dict.fromkeys(PLAIN, prices))


@given(
    tokens=st.builds(Tokens, counts, counts, counts, counts, counts),
    low=micros,
    high=micros,
    start=st.integers(1, 4_000_000),
    slack=st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
)
def test_no_call_within_the_bound_costs_more_than_it(
    tokens: Tokens, low: dict[str, int], high: dict[str, int], start: int, slack: tuple[int, int]
) -> None:
    priced = book(band(low), band(high, start=start))

    bound = priced.upper_bound(
        "m", input_tokens=tokens.prompt + slack[0], output_tokens=tokens.output + slack[1], on=DAY
    )

    assert priced.cost("m", tokens, on=DAY) <= bound


ENTRY = """
[[price]]
model = "m"
effective_from = 2026-01-01
input = "1"
output = "5"
cache_write_5m = "1.25"
cache_write_1h = "2"
cache_read = "0.10"
"""
HEAD = 'source = "the price list"\nas_of = 2026-11-01\n'


def write(folder: Path, text: str) -> Path:
    file = folder / "prices.toml"
    file.write_text(text)
    return file


@pytest.mark.django_db
class TestLoading:
    def test_the_shipped_prices(self) -> None:
        made, is_new = pricing.load(pricing.SHIPPED, now=clock.now())
        loaded = pricing.version(made.pk)

        assert is_new
        assert loaded.cost("claude-opus-5", Tokens(input=1000, output=1000), on=DAY) == 30_000
        assert loaded.cost("claude-haiku-5-5", Tokens(input=99_999), on=DAY) == 10_000
        assert loaded.cost("claude-haiku-5-5", Tokens(input=100_000), on=DAY) == 50_000
        assert loaded.cost("claude-sonnet-5-5", Tokens(cache_read=100), on=date(2026, 10, 6)) == 20
        assert loaded.cost("claude-sonnet-5-5", Tokens(cache_read=100), on=date(2026, 10, 7)) == 10

    def test_again_changes_nothing(self, tmp_path: Path) -> None:
        file = write(tmp_path, HEAD + ENTRY)
        first, _ = pricing.load(file, now=clock.now())

        again, is_new = pricing.load(file, now=clock.now())

        assert (again.pk, is_new) == (first.pk, False)
        assert PriceBook.objects.count() == 1

    def test_an_older_file_becomes_current_again(self, tmp_path: Path) -> None:
        first, _ = pricing.load(write(tmp_path, HEAD + ENTRY), now=clock.now())
        pricing.load(write(tmp_path, HEAD + ENTRY.replace('"5"', '"6"')), now=clock.now())

        back, is_new = pricing.load(write(tmp_path, HEAD + ENTRY), now=clock.now())

        assert is_new
        assert back.pk > first.pk
        assert PriceBook.objects.order_by("-pk")[0].pk == back.pk
        assert pricing.version(back.pk).cost("m", Tokens(output=1), on=DAY) == 5

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("= nonsense", "TOML"),
            (HEAD, "price"),
            (ENTRY, "source"),
            (HEAD.replace("2026-11-01", '"soon"') + ENTRY, "as_of"),
            (HEAD + ENTRY.replace('output = "5"\n', ""), "output"),
            (HEAD + ENTRY + 'cache_write_2h = "3"\n', "cache_write_2h"),
            (HEAD + ENTRY.replace('"5"', '"-5"'), "output"),
            (HEAD + ENTRY.replace('"5"', '"0.0000001"'), "output"),
            (HEAD + ENTRY.replace('"5"', '"NaN"'), "output"),
            (HEAD + ENTRY.replace('"5"', '"Infinity"'), "output"),
            (HEAD + ENTRY.replace('"5"', '"five"'), "output"),
            (HEAD + ENTRY.replace('"5"', "true"), "output"),
            (HEAD + ENTRY.replace('"5"', "0.1"), "quotes"),
            (HEAD + ENTRY + "prompt_from = -1\n", "prompt_from"),
            (HEAD + ENTRY + 'prompt_from = "all"\n', "prompt_from"),
            (HEAD + ENTRY + "prompt_from = 100\n", "short prompts"),
            (HEAD + ENTRY + ENTRY, "twice"),
            (HEAD + ENTRY.replace("2026-01-01", '"2026-01-01"'), "effective_from"),
            (HEAD + ENTRY.replace("2026-01-01", "2026-01-01T00:00:00"), "effective_from"),
            (HEAD + ENTRY.replace('"m"', '""'), "model"),
            (HEAD + ENTRY.replace('"m"', "7"), "model"),
        ],
    )
    def test_a_faulty_file_is_refused_whole(self, tmp_path: Path, text: str, word: str) -> None:
        good = ENTRY.replace('"m"', '"other"')

        with pytest.raises(InvalidRequest, match=word):
            pricing.load(write(tmp_path, text + good if text not in (HEAD, "= nonsense") else text), now=clock.now())

        assert PriceBook.objects.count() == Price.objects.count() == 0

    def test_the_command_says_what_it_did(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("load_prices", write(tmp_path, HEAD + ENTRY))
        call_command("load_prices", write(tmp_path, HEAD + ENTRY))
        with pytest.raises(CommandError):
            call_command("load_prices", tmp_path / "absent")

        new, known = capsys.readouterr().err.splitlines()
        assert "(new)" in new
        assert "(loaded before)" in known


async def test_a_stale_book_is_read_again_beside_the_calls(prices: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await pricing.current()
    do("INSERT INTO usage_pricebook (digest, source, as_of) VALUES ('x', 'x', '2026-11-02')")
    do(
        "INSERT INTO usage_price (book_id, model, token_class, prompt_from, effective_from, micros_per_million, source)"
        " SELECT (SELECT max(id) FROM usage_pricebook), model, token_class, prompt_from, effective_from, 7, source FROM usage_price"
    )
    monkeypatch.setattr(books._current, "read_at", clock.monotonic() - 61)

    assert (await pricing.current()).version == first.version

    for _ in range(500):
        if (await pricing.current()).version != first.version:
            break
        await asyncio.sleep(0.01)
    assert (await pricing.current()).version != first.version
    pricing.forget()


async def test_a_book_that_is_forgotten_while_it_is_read_is_read_again(prices: None) -> None:
    pricing.forget()
    asking = asyncio.create_task(pricing.current())
    await asyncio.sleep(0)
    pricing.forget()
    generation = books._current.generation

    assert (await asking).version > 0
    assert books._current.generation == generation
    pricing.forget()
