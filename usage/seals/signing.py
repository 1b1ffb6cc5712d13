"""Ed25519 signatures: the first of `SEAL_KEYS` signs, all of them and `SEAL_RETIRED_KEYS` are known.

Any text will do as a key in the environment: 32 bytes are derived from it. A key is known by the first
16 hexadecimal digits of its public half's SHA-256, so it says by itself which it is.
"""

import hashlib
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from kit.errors import Unavailable


class Signed(NamedTuple):
    """A signature in hexadecimal digits, and whose it is."""

    key_id: str
    signature: str


def sign(content: str) -> Signed:
    """Sign a text; `Unavailable` when the platform has no key for it."""
    if not settings.SEAL_KEYS:
        raise Unavailable("Nothing can be sealed: the operator has not set SKILLGATE_SEAL_KEYS.", retry_after=60)
    private = _private(settings.SEAL_KEYS[0])
    return Signed(key_id(private.public_key().public_bytes_raw()), private.sign(content.encode()).hex())


def is_signed(content: str, *, by: str, signature: str) -> bool:
    """Tell whether a text was signed by one of the platform's keys."""
    public = public_keys().get(by)
    if public is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), content.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def public_keys() -> dict[str, str]:
    """Return the public keys that signatures may be of, by their ids, in hexadecimal digits."""
    return _public_keys(tuple(settings.SEAL_KEYS), tuple(settings.SEAL_RETIRED_KEYS))


def key_id(public: bytes) -> str:
    """Return the id of a public key."""
    return hashlib.sha256(public).hexdigest()[:16]


@lru_cache(maxsize=4)
def _public_keys(secrets: tuple[str, ...], retired: tuple[str, ...]) -> dict[str, str]:
    known = [_private(secret).public_key().public_bytes_raw() for secret in secrets]
    known += [bytes.fromhex(public) for public in retired]
    return {key_id(public): public.hex() for public in known}


@lru_cache(maxsize=4)
def _private(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"skillgate seal\0" + secret.encode()).digest())
