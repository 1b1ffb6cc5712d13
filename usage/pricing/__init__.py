"""What tokens cost: dated prices by model, token class and prompt length, in integer micro-dollars.

A loaded price book never changes; its id is the price version an event carries. A model
without a price is refused, never booked as nothing.
"""

from usage.pricing.book import BATCH, MICROS, Band, Book, Tokens, booked_by, current, forget, version
from usage.pricing.loading import SHIPPED, candidate, load, load_text, versions

__all__ = [
    "BATCH",
    "MICROS",
    "SHIPPED",
    "Band",
    "Book",
    "Tokens",
    "booked_by",
    "candidate",
    "current",
    "forget",
    "load",
    "load_text",
    "version",
    "versions",
]
