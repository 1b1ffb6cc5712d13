"""What no event may say is refused by a trigger: CHECK constraints were read from their text with every statement."""

import re
from pathlib import Path

from django.db import migrations

EVENTS = (Path(__file__).resolve().parents[1] / "sql" / "events.sql").read_text()
(SOUND,) = re.findall(
    r"CREATE OR REPLACE FUNCTION usage_event_is_sound\b.*?\nEND \$\$;\nCREATE OR REPLACE TRIGGER.*?;", EVENTS, re.DOTALL
)
SUM = "input_tokens + output_tokens + cache_write_5m_tokens + cache_write_1h_tokens + cache_read_tokens"
CHECKS = {
    "usage_event_state_is_known": "state IN ('open', 'settled', 'released', 'estimated')",
    "usage_event_is_closed_with_a_time": "(state = 'open') = (closed_at IS NULL)",
    "usage_event_month_is_of_its_day": "month = date_trunc('month', day)::date",
    "usage_event_reserves_something": "reserved_output_tokens BETWEEN 0 AND reserved_tokens"
    " AND (reserved_tokens > 0 OR purpose = 'cached') AND reserved_micros >= 0",
    "usage_event_from_the_cache_is_free": "purpose <> 'cached'"
    " OR (reserved_tokens = 0 AND reserved_micros = 0 AND charged_tokens = 0 AND cost_micros = 0)",
    "usage_event_charge_is_the_sum_of_its_classes": f"charged_tokens = {SUM} AND least("
    "input_tokens, output_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, cost_micros) >= 0",
    "usage_event_uncharged_until_closed": "state NOT IN ('open', 'released') OR (charged_tokens = 0 AND cost_micros = 0)",
}


class Migration(migrations.Migration):
    dependencies = [("usage", "0012_alone_of_its_tenant")]

    operations = [
        # The trigger comes before the constraints go, in one transaction: no row is ever looked at by neither.
        migrations.RunSQL(SOUND, "DROP TRIGGER usage_event_is_sound ON usage_event; DROP FUNCTION usage_event_is_sound()"),
        *(
            migrations.RunSQL(
                f"ALTER TABLE usage_event DROP CONSTRAINT IF EXISTS {name}",
                f"ALTER TABLE usage_event ADD CONSTRAINT {name} CHECK ({condition})",
            )
            for name, condition in CHECKS.items()
        ),
    ]
