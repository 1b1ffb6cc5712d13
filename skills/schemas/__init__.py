"""JSON Schema as the platform takes it: bounded, local, linear in time, and honest about what is wrong."""

from skills.schemas.dynamic import check_output, input_references, output_schema_for
from skills.schemas.provider import provider_schema
from skills.schemas.rules import check_schema
from skills.schemas.validation import validate, with_defaults

__all__ = [
    "check_output",
    "check_schema",
    "input_references",
    "output_schema_for",
    "provider_schema",
    "validate",
    "with_defaults",
]
