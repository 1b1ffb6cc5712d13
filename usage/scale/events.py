"""Usage events by the million: one statement for each month, into a partition without indexes that is then attached."""

from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection

from kit.errors import InvalidRequest
from tenants.models import Tenant
from usage import pricing
from usage.models import PriceBook
from usage.pricing.book import REQUIRED
from usage.rows import fetch

_MODELS = 4
_SKILLS = ("summarize", "extract", "classify", "answer", "translate", "chat")

# A tenant's days in its own time zone, today up to now, with what each has of the whole; weekends are quieter.
_DAYS = """
CREATE TEMP TABLE seed_day ON COMMIT DROP AS
WITH days AS (
    SELECT t.id AS tenant_id, d::date AS day, d AT TIME ZONE t.timezone AS starts,
           least((d + interval '1 day') AT TIME ZONE t.timezone, %(now)s - interval '5 minutes') AS ends
    FROM tenants_tenant t
    CROSS JOIN LATERAL (SELECT date_trunc('day', %(now)s AT TIME ZONE t.timezone) AS today) n
    CROSS JOIN LATERAL generate_series(n.today - make_interval(days => %(days)s - 1), n.today, interval '1 day') d
    WHERE t.id = ANY (%(tenants)s)
), ranked AS (
    SELECT *, dense_rank() OVER (ORDER BY tenant_id) AS place FROM days WHERE ends > starts
), weighed AS (
    SELECT *, extract(epoch FROM ends - starts) AS seconds,
           (CASE WHEN extract(isodow FROM day) > 5 THEN 0.3 ELSE 1 END) * extract(epoch FROM ends - starts) / (place + 2) AS weight
    FROM ranked
), bounds AS (
    SELECT *, sum(weight) OVER (ORDER BY tenant_id, day) / sum(weight) OVER () AS upto FROM weighed
)
SELECT tenant_id, place, day, date_trunc('month', day)::date AS month, starts, seconds::double precision, events,
       sum(events) OVER (PARTITION BY tenant_id ORDER BY day) - events AS before
FROM (
    SELECT *, (round(upto * %(events)s) - coalesce(lag(round(upto * %(events)s)) OVER (ORDER BY tenant_id, day), 0))::integer AS events
    FROM bounds
) counted
"""
_KEYS = """
CREATE TEMP TABLE seed_key ON COMMIT DROP AS
SELECT k.tenant_id, row_number() OVER (PARTITION BY k.tenant_id ORDER BY k.id) - 1 AS rank, count(*) OVER (PARTITION BY k.tenant_id) AS keys,
       k.id AS key_id, (%(skills)s::text[])[1 + (h & 3)] AS skill, (%(skills)s::text[])[3 + (h >> 4 & 3)] AS other_skill,
       (%(models)s::text[])[1 + (h >> 8) %% cardinality(%(models)s::text[])] AS model
FROM tenants_apikey k CROSS JOIN LATERAL (SELECT hashtextextended(k.public_id, %(seed)s) & 65535 AS h) x
WHERE k.tenant_id = ANY (%(tenants)s)
"""
_PRICES = """
CREATE TEMP TABLE seed_price (
    model text, day date, input bigint, output bigint, cache_write_5m bigint, cache_write_1h bigint, cache_read bigint
) ON COMMIT DROP
"""
_TALLY = """
UPDATE usage_tenanttally t SET last_number = s.last_number FROM (
    SELECT tenant_id, sum(events)::bigint AS last_number FROM seed_day GROUP BY tenant_id
) s WHERE t.tenant_id = s.tenant_id
"""
# Two hashes of an event's number give it ten bits for each of its traits: the same seed, the same events.
_EVENTS = """
INSERT INTO {table} (
    id, month, day, number, tenant_id, key_id, family_id, run_id, attempt, purpose, request_id, entry_point, skill, skill_version,
    model, state, reserved_tokens, reserved_output_tokens, reserved_micros, input_tokens, output_tokens, cache_write_5m_tokens,
    cache_read_tokens, charged_tokens, cost_micros, price_version, stop_reason, error_type, upstream_request_id, service_tier,
    opened_at, lease_until, closed_at, first_output_ms, duration_ms
)
SELECT id, month, day, number, tenant_id, key_id, key_id, id, 1, 'answer', 'req_' || left(replace(id::text, '-', ''), 22), entry_point,
       skill, 1, model, state, reserved, 1024, greatest(cost * 2, 1), input, output, written, read,
       input + output + written + read, cost, %(version)s,
       CASE WHEN state <> 'settled' THEN '' WHEN c < 30 THEN 'max_tokens' ELSE 'end_turn' END,
       CASE state WHEN 'released' THEN 'overloaded_error' WHEN 'estimated' THEN 'connection_lost' ELSE '' END,
       CASE WHEN state = 'released' THEN '' ELSE 'msg_' || left(replace(id::text, '-', ''), 22) END, 'standard',
       opened_at, opened_at + interval '60 seconds', opened_at + make_interval(secs => took / 1000.0),
       CASE WHEN state = 'released' THEN NULL ELSE took / 4 END, took
FROM (
    SELECT n.*, p.*, (n.input * p.input_price + n.output * p.output_price + n.written * p.write_price + n.read * p.read_price + 500000) / 1000000 AS cost,
           n.input + n.written + n.read + 1024 AS reserved
    FROM (
        SELECT d.tenant_id, d.month, d.day, d.number, d.opened_at, k.key_id, k.model, d.c, d.state,
               CASE WHEN d.a < 720 THEN k.skill ELSE k.other_skill END AS skill,
               (ARRAY['rest', 'sse', 'websocket', 'messages', 'mcp'])[1 + d.c * d.c / 210000] AS entry_point,
               d.bills * (120 + d.a * d.b / 400) AS input, d.bills * (8 + d.b * d.c / 1100) AS output,
               CASE WHEN d.e < 60 THEN d.bills * 1500 ELSE 0 END AS written,
               CASE WHEN d.e > 820 THEN d.bills * 1500 ELSE 0 END AS read, (180 + d.f * d.f / 60 + d.b)::integer AS took,
               (lpad(to_hex((extract(epoch FROM d.opened_at) * 1000)::bigint), 12, '0') || '7' || left(d.text, 3) || '8' || substr(d.text, 4, 15))::uuid AS id
        FROM (
            SELECT s.tenant_id, s.month, s.day, s.before + i AS number, s.starts + make_interval(secs => s.seconds * (i - 0.5) / s.events) AS opened_at,
                   x.h & 1023 AS a, x.h >> 10 & 1023 AS b, x.h >> 20 & 1023 AS c, x.h >> 30 & 1023 AS e, x.h >> 40 & 1023 AS f, x.h >> 50 & 1023 AS g,
                   to_hex(x.h) || md5(x.h::text) AS text,
                   CASE WHEN x.j < 985 THEN 'settled' WHEN x.j < 1008 THEN 'released' ELSE 'estimated' END AS state,
                   CASE WHEN x.j < 985 OR x.j >= 1008 THEN 1 ELSE 0 END AS bills
            FROM seed_day s CROSS JOIN LATERAL generate_series(1, s.events) i
            CROSS JOIN LATERAL (
                SELECT hashint8extended(s.place * 1000000007 + s.before + i, %(seed)s) AS h,
                       hashint8extended(s.place * 1000000007 + s.before + i, %(seed)s + 1) & 1023 AS j
            ) x
            WHERE s.month = %(month)s
        ) d
        JOIN seed_key k ON k.tenant_id = d.tenant_id AND k.rank = d.g * d.g * k.keys / 1048576
    ) n
    CROSS JOIN LATERAL (
        SELECT p.input AS input_price, p.output AS output_price, p.cache_write_5m AS write_price, p.cache_read AS read_price
        FROM seed_price p WHERE p.model = n.model AND p.day = (n.opened_at AT TIME ZONE 'UTC')::date
    ) p
) e
ORDER BY opened_at  -- as calls come: those of all tenants mixed
"""


def make(tenants: list[Tenant], *, count: int, days: int, seed: int, now: datetime) -> None:
    """Write the events of some new tenants; to be called within a transaction."""
    numbers: dict[str, Any] = {
        "tenants": [tenant.pk for tenant in tenants],
        "days": days,
        "events": count,
        "now": now,
        "seed": seed,
    }
    version, models = _prices(first=(now - timedelta(days=days + 1)).date(), last=now.date() + timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute(_DAYS.replace("%(now)s", "%(now)s::timestamptz"), numbers)
        cursor.execute(_KEYS, {**numbers, "skills": list(_SKILLS), "models": models})
        cursor.execute("ANALYZE seed_day, seed_key, seed_price")
        for row in fetch("SELECT month, sum(events)::bigint AS events FROM seed_day GROUP BY month ORDER BY month"):
            _make_month(cursor, row["month"], {"seed": seed, "version": version})
        cursor.execute(_TALLY)


def _make_month(cursor: Any, month: date, numbers: dict[str, int]) -> None:
    """Into an empty partition the events go before its indexes and foreign keys are made: tenfold as fast."""
    cursor.execute("SELECT usage_make_partitions(%s, 1)", [month])
    partition = f"usage_event_{month:%Y_%m}"
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {partition})")  # noqa: S608 - its name is ours
    is_empty = not cursor.fetchone()[0]
    if is_empty:
        cursor.execute(f"ALTER TABLE usage_event DETACH PARTITION {partition}")
        cursor.execute(f"DROP TABLE {partition}")
        cursor.execute(f"CREATE TABLE {partition} (LIKE usage_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    cursor.execute(_EVENTS.format(table=partition), {**numbers, "month": month})
    if is_empty:
        cursor.execute(
            f"ALTER TABLE usage_event ATTACH PARTITION {partition}"
            f" FOR VALUES FROM ('{month}') TO (date '{month}' + interval '1 month')"
        )


def _prices(*, first: date, last: date) -> tuple[int, list[str]]:
    """The price version and the models of it that have a price on all of the days, each day's prices in a table."""
    newest = PriceBook.objects.order_by("-id").first()
    if newest is None:
        raise InvalidRequest("No prices are loaded yet: run `manage.py load_prices` first.")
    book = pricing.version(newest.pk)
    models = sorted(set(book.priced(on=first)) & set(book.bands))[:_MODELS]
    if not models:
        raise InvalidRequest(f"No model has a price on {first}: ask for fewer days.")
    rows: list[tuple[Any, ...]] = []
    for model in models:
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            micros = book.in_force(model, on=day)[0].micros
            rows.append((model, day, *(micros[name] for name in REQUIRED)))
    with connection.cursor() as cursor:
        cursor.execute(_PRICES)
        cursor.executemany("INSERT INTO seed_price VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)
    return newest.pk, models
