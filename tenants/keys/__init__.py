"""API keys: who may call. A secret is seen once, at issue; afterwards only its digest is known."""

from tenants.keys.authentication import authenticate, authenticate_again, forget, inactive, owner
from tenants.keys.caller import Caller
from tenants.keys.credentials import credentials
from tenants.keys.issuing import Issued, issue, revoke, rotate

__all__ = [
    "Caller",
    "Issued",
    "authenticate",
    "authenticate_again",
    "credentials",
    "forget",
    "inactive",
    "issue",
    "owner",
    "revoke",
    "rotate",
]
