"""The playground: a skill tried with the form that its input schema gives, live, with a key of the tenant."""

from console.playground import pages

__all__ = ["pages"]
