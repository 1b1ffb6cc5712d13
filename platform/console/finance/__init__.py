"""Reports for finance: a tenant's month in its own console, all tenants in the operators' site, and the files of both."""

from console.finance import ops, pages, prices

__all__ = ["ops", "pages", "prices"]
