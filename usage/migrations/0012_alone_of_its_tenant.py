"""Also in a batch, what is alone of its tenant goes by small statements."""

import re
from pathlib import Path

from django.db import migrations

LEDGER = (Path(__file__).resolve().parents[1] / "sql" / "ledger.sql").read_text()
(APPLY,) = re.findall(r"CREATE OR REPLACE FUNCTION usage_apply\b.*?\nEND \$\$;", LEDGER, re.DOTALL)


class Migration(migrations.Migration):
    dependencies = [("usage", "0011_one_by_one")]

    operations = [migrations.RunSQL(APPLY, migrations.RunSQL.noop)]
