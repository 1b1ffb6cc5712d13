"""What follows from the events: daily rollups, budgets of a fitting size, their accounts, alerts, refusals, audit entries."""

from datetime import datetime
from typing import Any

from django.db import connection

from tenants.models import Tenant
from usage import alerts

# New tenants have no tariff: what they are charged is the cost.
_ROLLUPS = """
INSERT INTO usage_dailyusage (
    tenant_id, day, key_id, skill, model, calls, errors, estimated_calls, released_calls, input_tokens, output_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros, billed_micros, estimated_micros
)
SELECT tenant_id, day, key_id, skill, model, count(*), count(*) FILTER (WHERE error_type <> ''), count(*) FILTER (WHERE state = 'estimated'),
       count(*) FILTER (WHERE state = 'released'), sum(input_tokens), sum(output_tokens), sum(cache_write_5m_tokens),
       sum(cache_write_1h_tokens), sum(cache_read_tokens), sum(charged_tokens), sum(cost_micros), sum(cost_micros),
       coalesce(sum(cost_micros) FILTER (WHERE state = 'estimated'), 0)
FROM usage_event WHERE tenant_id = ANY (%(tenants)s) GROUP BY tenant_id, day, key_id, skill, model
"""
_REVISIONS = """
INSERT INTO usage_dayrevision (tenant_id, day, revision, rolled_revision, first_number, rolled_number)
SELECT tenant_id, day, 1, 1, before + 1, before + events FROM seed_day WHERE events > 0
"""
_PROVISIONAL = """
INSERT INTO usage_provisionalusage (
    tenant_id, day, number, state, key_id, skill, model, calls, errors, estimated_calls, released_calls, unpriced_calls, input_tokens,
    output_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros, estimated_micros,
    unpriced_micros, billed_micros
)
SELECT tenant_id, day, number, state, key_id, skill, model, 1, (error_type <> '')::integer, 1, 0, 0, input_tokens, output_tokens,
       cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros, cost_micros, 0, cost_micros
FROM usage_event WHERE tenant_id = ANY (%(tenants)s) AND state = 'estimated'
"""
_MONTHS = """
CREATE TEMP TABLE seed_month ON COMMIT DROP AS
SELECT tenant_id, key_id, date_trunc('month', day)::date AS month, sum(charged_tokens)::bigint AS tokens, sum(cost_micros)::bigint AS micros
FROM usage_dailyusage WHERE tenant_id = ANY (%(tenants)s) GROUP BY GROUPING SETS ((tenant_id, key_id, 3), (tenant_id, 3))
"""
# The fullest month used 10 to 98 percent of it.
_BUDGETS = """
INSERT INTO tenants_budget (tenant_id, key_id, limit_tokens)
SELECT o.tenant_id, o.key_id, greatest(100000, coalesce(max(m.tokens), 0) * 100 / (10 + abs(hashint8extended(coalesce(o.key_id, o.tenant_id), 3) %% 89)))
FROM (
    SELECT tenant_id, id AS key_id FROM tenants_apikey WHERE tenant_id = ANY (%(tenants)s)
    UNION ALL SELECT id, NULL FROM tenants_tenant WHERE id = ANY (%(tenants)s)
) o LEFT JOIN seed_month m ON m.tenant_id = o.tenant_id AND m.key_id IS NOT DISTINCT FROM o.key_id
GROUP BY o.tenant_id, o.key_id
"""
# They were there from the beginning.
_VERSIONS = """
UPDATE usage_budgetversion v SET since = t.created_at FROM tenants_tenant t WHERE t.id = v.tenant_id AND t.id = ANY (%(tenants)s)
"""
_ACCOUNTS = """
INSERT INTO usage_budgetaccount (tenant_id, key_id, "window", period, settled_tokens, settled_micros)
SELECT tenant_id, key_id, 'month', month, tokens, micros FROM seed_month
"""
_REFUSALS = """
INSERT INTO tenants_refusal (tenant_id, key_id, hour, reason, count)
SELECT k.tenant_id, k.id, date_trunc('hour', %(now)s::timestamptz) - make_interval(hours => h), r.reason, 1 + abs(hashint8extended(k.id, h) %% 40)
FROM tenants_apikey k CROSS JOIN generate_series(0, 23) h CROSS JOIN (VALUES ('requests_per_minute'), ('budget')) r (reason)
WHERE k.tenant_id = ANY (%(tenants)s) AND hashint8extended(k.id + length(r.reason), h) %% 12 = 0
"""
_AUDIT = """
INSERT INTO tenants_auditentry (tenant_id, actor, action, subject, address, details, at)
SELECT k.tenant_id, t.slug || '-owner', 'key.issued', k.public_id, '', jsonb_build_object('name', k.name), k.created_at
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id WHERE k.tenant_id = ANY (%(tenants)s)
"""
_SENT = """
UPDATE usage_alertdelivery SET outcome = 'sent', ended_at = %(now)s WHERE outcome = 'pending' AND tenant_id = ANY (%(tenants)s)
"""
_AFTERWARDS = ("usage_event", "usage_dailyusage", "usage_budgetaccount", "tenants_apikey", "tenants_budget")


def make(tenants: list[Tenant], *, now: datetime) -> None:
    """Derive all that is kept beside the events; to be called within their transaction."""
    numbers: dict[str, Any] = {"tenants": [tenant.pk for tenant in tenants], "now": now}
    with connection.cursor() as cursor:
        for statement in (
            _ROLLUPS,
            _REVISIONS,
            _PROVISIONAL,
            _MONTHS,
            _BUDGETS,
            _VERSIONS,
            _ACCOUNTS,
            _REFUSALS,
            _AUDIT,
        ):
            cursor.execute(statement, numbers)
        alerts.raise_budgets()
        cursor.execute(_SENT, numbers)  # nobody is to get mail about what never happened
        cursor.execute(f"ANALYZE {', '.join(_AFTERWARDS)}")
