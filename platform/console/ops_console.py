"""What `/ops/` consists of: importing this module registers every list of the operators' site."""

from console import closing, finance
from console.ops import analyses, skills, tenants, usage
from console.sites import ops_site as site

__all__ = ["PARTS", "site"]
PARTS = (analyses, closing, finance, skills, tenants, usage)  # importing them is what registers their lists
