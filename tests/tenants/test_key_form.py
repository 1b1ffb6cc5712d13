"""What a key looks like, and where a request may carry it."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import AuthenticationFailed
from tenants import keys
from tenants.keys import form


@pytest.mark.parametrize("environment", ["live", "test"])
def test_a_generated_key_has_the_form_and_no_two_are_alike(environment: str) -> None:
    secrets = {form.generate(environment) for _ in range(100)}

    assert len(secrets) == 100
    assert all(re.fullmatch(rf"sg_{environment}_[0-9A-Za-z]{{46}}", secret) for secret in secrets)
    assert all(form.is_well_formed(secret) for secret in secrets)


@given(st.integers(8, 53), st.sampled_from(string.digits + string.ascii_letters))
def test_any_one_changed_character_is_noticed(position: int, character: str) -> None:
    secret = form.generate("live")

    changed = secret[:position] + character + secret[position + 1 :]

    assert form.is_well_formed(changed) is (changed == secret)


@given(st.text(max_size=80))
def test_no_text_is_a_key_by_chance(text: str) -> None:
    assert not form.is_well_formed(text)
    assert not form.is_well_formed(form.generate("live") + (text or " "))


def test_the_checksum_is_crc32_in_base62() -> None:
    body = "sg_live_" + "0" * 40

    assert form.is_well_formed(body + "4a7k1p")
    assert form._checksum("123456789") == "3jZRME"  # CRC-32 of the standard's check string is 0xCBF43926


def test_the_display_form_shows_eight_of_the_random_characters() -> None:
    secret = form.generate("test")

    assert form.display(secret) == f"sg_test_{secret[8:12]}…{secret[-4:]}"


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ({}, None),
        ({"HTTP_X_API_KEY": "a"}, "a"),
        ({"HTTP_AUTHORIZATION": "Bearer a"}, "a"),
        ({"HTTP_AUTHORIZATION": "bearer  a "}, "a"),
        ({"HTTP_AUTHORIZATION": "Basic a"}, None),
        ({"HTTP_AUTHORIZATION": "Bearer"}, None),
        ({"HTTP_X_API_KEY": "a", "HTTP_AUTHORIZATION": "Bearer a"}, "a"),
        ({"HTTP_X_API_KEY": "a", "HTTP_AUTHORIZATION": "Basic b"}, "a"),
    ],
)
def test_a_key_is_read_from_either_header(meta: dict[str, str], found: str | None) -> None:
    assert keys.credentials(meta) == found


def test_two_different_keys_in_one_request_are_refused() -> None:
    with pytest.raises(AuthenticationFailed):
        keys.credentials({"HTTP_X_API_KEY": "a", "HTTP_AUTHORIZATION": "Bearer b"})
