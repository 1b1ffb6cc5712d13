"""What a key looks like: `sg_live_` or `sg_test_`, 40 random characters, 6 characters of CRC-32 over all before.

The checksum lets a typo or a random probe be refused without a look into the database, and lets
secret scanners recognise a key. Only digests under a pepper held outside the database are stored.
"""

import hashlib
import hmac
import re
import secrets
import zlib

from django.conf import settings

from kit import ids

_RANDOM, _CHECK = 40, 6
_FORM = re.compile(rf"sg_(?:live|test)_[0-9A-Za-z]{{{_RANDOM + _CHECK}}}", re.ASCII)
_PREFIX = len("sg_live_")
_OF_THIS_PROCESS = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)


def generate(environment: str) -> str:
    """Make a new secret for `live` or `test`."""
    body = f"sg_{environment}_{ids.secret(_RANDOM)}"
    return body + _checksum(body)


def is_well_formed(raw: str) -> bool:
    """Tell whether a text has a key's form and its checksum agrees."""
    return _FORM.fullmatch(raw) is not None and _checksum(raw[:-_CHECK]) == raw[-_CHECK:]


def display(secret: str) -> str:
    """Shorten a key to what may be shown: prefix, first four and last four characters."""
    return f"{secret[: _PREFIX + 4]}…{secret[-4:]}"


def digest(secret: str, *, pepper: str) -> bytes:
    """Return what is stored of a key: 32 bytes of HMAC-SHA256."""
    return hmac.digest(pepper.encode(), secret.encode(), hashlib.sha256)


def fingerprint(raw: str) -> bytes:
    """Return by what this process alone knows a text again: it costs a tenth of the digests, and is stored nowhere."""
    return hashlib.blake2b(raw.encode("utf-8", "surrogatepass"), key=_OF_THIS_PROCESS).digest()


def digests(secret: str) -> dict[str, bytes]:
    """Return the digest under each live pepper by the pepper's id, the current one first."""
    return {pepper_id: digest(secret, pepper=pepper) for pepper_id, pepper in settings.KEY_PEPPERS.items()}


def _checksum(body: str) -> str:
    return ids.base62(zlib.crc32(body.encode()), length=_CHECK)
