"""Values: dataclasses that nobody changes, by word of the type checker.

`frozen` has an instance refuse changes too, and takes three times as long to make one; a call makes some thirty.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Made = TypeVar("Made")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[Made]) -> type[Made]:
    """Make a class of values: of its fields' names, compared and hashed by them."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
