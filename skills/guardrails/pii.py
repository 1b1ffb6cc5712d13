"""Personal data in a text that can be told by its form: what has a checksum or a numbering plan is checked against it.

Phone numbers are libphonenumber's (`phonenumbers`), account and card numbers python-stdnum's. Names, postal addresses
and everything else that only its meaning gives away are not looked for.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import phonenumbers
from stdnum import iban, luhn
from stdnum.exceptions import ValidationError
from stdnum.us import ssn

from skills.guardrails.spans import Find, Span

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_%+-])?"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9@])"
)
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.-])[2-6](?:[ -]?\d){12,18}(?![\d.-]?\d)")
_SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]?\d)")


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        yield from _matched(_EMAIL, text, kind="email")


def _ibans(text: str) -> Iterator[Span]:
    yield from _matched(_IBAN, text, kind="iban", is_real=_is_iban)


def _cards(text: str) -> Iterator[Span]:
    yield from _matched(_CARD, text, kind="payment_card", is_real=_is_card)


def _ssns(text: str) -> Iterator[Span]:
    yield from _matched(_SSN, text, kind="us_ssn", is_real=ssn.is_valid)


def _addresses(text: str) -> Iterator[Span]:
    yield from _matched(_IPV4, text, kind="ip_address", is_real=_is_address)


_BY_FORM: dict[str, Find] = {
    "email": _emails,
    "iban": _ibans,
    "payment_card": _cards,
    "us_ssn": _ssns,
    "ip_address": _addresses,
}
KINDS = ("email", "phone", "iban", "payment_card", "us_ssn", "ip_address")
USUAL = KINDS[:-1]
REGIONS = phonenumbers.SUPPORTED_REGIONS


def finder(*, kinds: Sequence[str], regions: Sequence[str]) -> Find:
    """Return what finds some kinds; `regions` are those whose phone numbers may lack a country code."""
    finds = [_BY_FORM[kind] for kind in kinds if kind in _BY_FORM]
    if "phone" in kinds:
        finds.append(partial(_phones, regions=tuple(regions)))
    return partial(_all, finds=tuple(finds))


def _all(text: str, *, finds: tuple[Find, ...]) -> Iterator[Span]:
    for find in finds:
        yield from find(text)


def _phones(text: str, *, regions: tuple[str, ...]) -> Iterator[Span]:
    for region in regions or (None,):
        if region is None and "+" not in text:
            continue
        for found in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID):
            yield Span(found.start, found.end, "phone")


def _matched(
    pattern: re.Pattern[str], text: str, *, kind: str, is_real: Callable[[str], bool] = bool
) -> Iterator[Span]:
    for found in pattern.finditer(text):
        if is_real(found.group()):
            yield Span(found.start(), found.end(), kind)


def _is_iban(written: str) -> bool:
    try:
        iban.validate(written)
    except ValidationError:
        return False
    return True


def _is_card(written: str) -> bool:
    digits = re.sub(r"\D", "", written)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def _is_address(written: str) -> bool:
    try:
        address = ipaddress.IPv4Address(written)
    except ValueError:
        return False
    return address.is_global
