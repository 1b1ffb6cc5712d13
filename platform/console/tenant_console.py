"""What `/admin/` consists of: importing this module registers every list and page of the tenants' site."""

from console import alerts, analyses, budgets, closing, colleagues, finance, playground, settings_pages, skills
from console.auditing import AuditList
from console.keys.lists import KeyList
from console.sites import tenant_site as site
from tenants.models import ApiKey, AuditEntry

__all__ = ["PAGES", "site"]
# Importing them is what declares their pages.
PAGES = (alerts, analyses, budgets, finance, closing, colleagues, playground, settings_pages, skills)

site.register(ApiKey, KeyList)
site.register(AuditEntry, AuditList)
