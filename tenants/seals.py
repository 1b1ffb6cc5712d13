"""Secrets that must be read again are kept sealed: encrypted under keys that live outside of the database.

The first of `FIELD_KEYS` seals, every one of them opens: a key is replaced by putting the new one in
front, sealing everything again (`manage.py reseal`), and then dropping the old one.
"""

import base64
import hashlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from kit.errors import Unavailable


def seal(text: str) -> bytes:
    """Encrypt a secret; `Unavailable` when the platform has no key for it."""
    return _cipher(tuple(settings.FIELD_KEYS)).encrypt(text.encode())


def unseal(sealed: bytes) -> str:
    """Decrypt what `seal` made; `Unavailable` when none of the keys fits."""
    try:
        return _cipher(tuple(settings.FIELD_KEYS)).decrypt(bytes(sealed)).decode()
    except InvalidToken:
        raise Unavailable(
            "A stored secret cannot be read: its key is not among SKILLGATE_FIELD_KEYS.", retry_after=60
        ) from None


def reseal(sealed: bytes) -> bytes:
    """Encrypt a sealed secret anew, under the first key."""
    return seal(unseal(sealed))


@lru_cache(maxsize=4)
def _cipher(secrets: tuple[str, ...]) -> MultiFernet:
    if not secrets:
        raise Unavailable("Secrets cannot be stored: the operator has not set SKILLGATE_FIELD_KEYS.", retry_after=60)
    # Any text will do as a key in the environment; Fernet wants 32 bytes.
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())) for secret in secrets]
    )
