"""What a day's events were when it was sealed."""

from django.db import models
from django.db.models import F, Q

from tenants.models import Tenant


class Seal(models.Model):
    """The events of a tenant from one number to another, usually a day's, as they were: a link of the tenant's chain.

    `payload` is the text that was signed; it names the seal before by its hash, so that no link can be
    exchanged alone. `digests` holds the SHA-256 of each event's canonical row, in the order of the numbers.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    sequence = models.BigIntegerField(help_text="Gapless within the tenant, from 1.")
    day = models.DateField(help_text="The day that the first of its events belongs to.")
    first_number = models.BigIntegerField()
    last_number = models.BigIntegerField()
    payload = models.TextField()
    digests = models.BinaryField()
    hash = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the payload.")
    key_id = models.CharField(max_length=16)
    signature = models.CharField(max_length=128)
    sealed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sequence"], name="seal_is_one_per_place_in_the_chain"),
            models.UniqueConstraint(fields=["tenant", "first_number"], name="seal_is_the_only_one_of_its_events"),
            models.CheckConstraint(
                condition=Q(sequence__gte=1, first_number__gte=1, last_number__gte=F("first_number")),
                name="seal_covers_something",
            ),
        ]

    def __str__(self) -> str:
        return f"seal {self.sequence} of tenant {self.tenant_id}: {self.first_number} to {self.last_number}"
