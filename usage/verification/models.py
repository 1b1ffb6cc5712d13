"""When the ledger was last checked, and what was found."""

from django.db import models


class Verification(models.Model):
    """One run of all checks: the nightly ones, and those that somebody asked to be kept."""

    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    is_true = models.BooleanField()
    checks = models.JSONField(help_text="Each check with the rows it looked at and its number of findings.")
    finding_count = models.IntegerField()
    findings = models.JSONField(help_text="The first of them, in words.")

    class Meta:
        indexes = [models.Index(fields=["-started_at"], name="verifications_by_time")]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}: {'true' if self.is_true else f'{self.finding_count} findings'}"
