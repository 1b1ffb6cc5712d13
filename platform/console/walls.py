"""The second wall: what the tenants' console asks of Postgres, Postgres itself holds to one tenant.

Around each of its pages the connection takes a role that owns nothing and that row-level security
binds, and names the tenant, both for the transaction only (a pooler can hand the connection on).
Nothing else uses that role, so the hot path pays nothing. `raise_walls` runs after every migration:
a new table with a tenant is behind the wall at once, a new table without one is out of the role's
reach until it is named here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from psycopg import sql

_OURS = "(SELECT nullif(current_setting('skillgate.tenant', true), '')::bigint)"
_OWN = f"tenant_id = {_OURS}"
_OWN_OR_SHARED = f"(tenant_id IS NULL OR {_OWN})"
# The labels of a skill's owner have no tenant of their own; the wall decides which skills are there at all.
_SKILL = "SELECT 1 FROM skills_skill s WHERE s.id = skill_id"
_OF_A_SKILL = f"({_OWN} OR (tenant_id IS NULL AND EXISTS ({_SKILL})))"
_OF_AN_OWN_SKILL = f"({_OWN} OR (tenant_id IS NULL AND EXISTS ({_SKILL} AND s.tenant_id = {_OURS})))"
_OF_ITS_ANALYSIS = "EXISTS (SELECT 1 FROM skills_analysis a WHERE a.id = analysis_id)"  # the wall binds this too
# Tables whose rows are a tenant's in another way: the condition, and what may be done.
_SPECIAL = {
    "tenants_tenant": (f"id = {_OURS}", "SELECT, UPDATE"),
    "tenants_user": (
        "EXISTS (SELECT 1 FROM tenants_membership m WHERE m.user_id = tenants_user.id)",  # the wall binds this too
        "SELECT",
    ),
    "tenants_membership": (_OWN, "SELECT, INSERT, UPDATE, DELETE"),
    "tenants_budget": (_OWN, "SELECT, INSERT, UPDATE, DELETE"),
    "tenants_budgetincrease": (_OWN, "SELECT, INSERT, UPDATE, DELETE"),
    "skills_skill": (_OWN_OR_SHARED, "SELECT, INSERT, UPDATE"),
    "skills_skilllabel": (_OF_A_SKILL, "SELECT, INSERT, UPDATE"),
    "skills_skilllabelmove": (_OF_A_SKILL, "SELECT, INSERT"),
    "skills_skillcase": (_OWN, "SELECT, INSERT, UPDATE, DELETE"),
    "skills_keypin": (_OWN, "SELECT, INSERT, UPDATE, DELETE"),
    "skills_analysisstep": (_OF_ITS_ANALYSIS, "SELECT, UPDATE"),
    "skills_analysisevent": (_OF_ITS_ANALYSIS, "SELECT, INSERT"),
    "skills_skillversion": (f"EXISTS ({_SKILL})", "SELECT, INSERT"),
}
# What may be written, where that is less than what may be read.
_WRITTEN = {
    "skills_skill": _OWN,
    "skills_skilllabel": _OF_AN_OWN_SKILL,
    "skills_skilllabelmove": _OF_AN_OWN_SKILL,
    "skills_skillversion": f"EXISTS ({_SKILL} AND s.tenant_id = {_OURS})",
}
_LOCKED = {"skills_skill"}  # a built-in one's row is locked while a label is moved; a trigger keeps it as it is
_READABLE = ("usage_price", "usage_pricebook", "django_content_type")  # the same for everyone
_WITH_TENANT = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""


@contextmanager
def within(tenant_id: int) -> Iterator[None]:
    """Frame what a tenant's page does: one transaction, behind the wall."""
    with transaction.atomic():
        if settings.CONSOLE_ROLE:
            _enter(tenant_id)
        yield
        if settings.CONSOLE_ROLE:
            _leave()


@contextmanager
def lifted(tenant_id: int) -> Iterator[None]:
    """Let a verb of the domain write, for the tenant whose page calls it, what the role may only read."""
    if settings.CONSOLE_ROLE:
        _leave()
    yield
    if settings.CONSOLE_ROLE:
        _enter(tenant_id)


def raise_walls(**event: Any) -> None:
    """Make the role, its rights and the policies what they should be; safe to repeat."""
    if not settings.CONSOLE_ROLE or "plan" not in event:  # emptying a test database says "migrated" without a plan
        return
    with transaction.atomic(), connection.cursor() as cursor:
        _make_role(cursor)
        cursor.execute(_WITH_TENANT)
        guarded = {name: (_OWN, _rights(name)) for (name,) in cursor.fetchall()}
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        present = {name for (name,) in cursor.fetchall()}
        for name, (condition, rights) in (guarded | _SPECIAL).items():
            if name in present:
                _guard(cursor, name, condition=condition, rights=rights)
        for name in present.intersection(_READABLE):
            cursor.execute(_sql("GRANT SELECT ON {table} TO {role}", table=name))
        cursor.execute(_sql("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"))


def _rights(table: str) -> str:
    return "SELECT" if table.startswith("usage_") else "SELECT, INSERT, UPDATE"


def _guard(cursor: Any, table: str, *, condition: str, rights: str) -> None:
    written = _WRITTEN.get(table, condition)
    cursor.execute(_sql("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", table=table))
    for name in ("console_stays_within_its_tenant", "console_reads_what_is_shared"):
        cursor.execute(_sql(f"DROP POLICY IF EXISTS {name} ON {{table}}", table=table))
    used = condition if table in _LOCKED else written
    cursor.execute(
        _sql(
            "CREATE POLICY console_stays_within_its_tenant ON {table} TO {role} USING ({used}) WITH CHECK ({written})",
            table=table,
            used=used,
            written=written,
        )
    )
    if used != condition:
        reading = "CREATE POLICY console_reads_what_is_shared ON {table} FOR SELECT TO {role} USING ({used})"
        cursor.execute(_sql(reading, table=table, used=condition))
    cursor.execute(_sql("REVOKE ALL ON {table} FROM {role}", table=table))
    cursor.execute(_sql("GRANT {rights} ON {table} TO {role}", table=table, rights=rights))


def _make_role(cursor: Any) -> None:
    """A role belongs to the whole server: another database's migration may make it in the same moment."""
    cursor.execute(
        _sql(
            "DO $$ BEGIN IF to_regrole({name}) IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF;"
            " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
            name=f"'{settings.CONSOLE_ROLE}'",
        )
    )
    cursor.execute("SELECT pg_has_role(current_user, %s, 'SET')", [settings.CONSOLE_ROLE])
    if not cursor.fetchone()[0]:
        cursor.execute(_sql("GRANT {role} TO CURRENT_USER WITH SET TRUE"))


def _sql(statement: str, *, table: str = "", **parts: str) -> sql.Composed:
    names = {"role": sql.Identifier(settings.CONSOLE_ROLE), "table": sql.Identifier(table)}
    return sql.SQL(statement).format(**names, **{name: sql.SQL(part) for name, part in parts.items()})


def _enter(tenant_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('skillgate.tenant', %s, true), set_config('role', %s, true)",
            [str(tenant_id), settings.CONSOLE_ROLE],
        )


def _leave() -> None:
    """In a test the transaction goes on after the page."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('role', 'none', true), set_config('skillgate.tenant', '', true)")
