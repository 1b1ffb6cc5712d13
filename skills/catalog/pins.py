"""Pinning a family of keys to a version of a skill: what its calls get, wherever labels point.

A version's number named in a call still wins, since it asks for just that; a label named in a call does not.
"""

from django.db import transaction

from kit.errors import Conflict, NotFound
from skills.catalog.lookup import forget
from skills.models import KeyPin, Skill, SkillVersion
from tenants import audit
from tenants.models import ApiKey

MOST_PINS = 100


def pin(key: ApiKey, *, skill: Skill, version: int, actor: str, address: str = "") -> KeyPin:
    """Pin a key, with its successors by rotation, to a version; an earlier pin is replaced.

    Raises NotFound for a skill that is another tenant's or lacks the version, Conflict for a key with too many pins.
    """
    if skill.tenant_id not in (None, key.tenant_id):
        raise NotFound("There is no such skill.")
    target = SkillVersion.objects.filter(skill=skill, number=version).first()
    if target is None:
        raise NotFound(f"The skill {skill.name} has no version {version}.", field="version")
    family_id = key.family_id or key.pk
    with transaction.atomic():
        ApiKey.objects.select_for_update().get(pk=family_id)
        before = KeyPin.objects.filter(key=family_id, skill=skill).select_related("version").first()
        if before is None and KeyPin.objects.filter(key=family_id).count() >= MOST_PINS:
            raise Conflict(f"A key has at most {MOST_PINS} pins.")
        pinned, _ = KeyPin.objects.update_or_create(
            key_id=family_id,
            skill=skill,
            defaults={"tenant_id": key.tenant_id, "version": target, "created_by": actor},
        )
        audit.record(
            "key.pinned",
            tenant=key.tenant,
            actor=actor,
            address=address,
            subject=key.public_id,
            skill=skill.name,
            before={"version": before.version.number} if before else {},
            after={"version": version},
        )
        transaction.on_commit(lambda: forget(tenant_id=key.tenant_id, name=skill.name))
    return pinned


def unpin(pinned: KeyPin, *, actor: str, address: str = "") -> None:
    """Let a key's calls follow the labels again."""
    name, tenant_id = pinned.skill.name, pinned.tenant_id
    with transaction.atomic():
        audit.record(
            "key.unpinned",
            tenant=pinned.tenant,
            actor=actor,
            address=address,
            subject=pinned.key.public_id,
            skill=name,
            before={"version": pinned.version.number},
        )
        pinned.delete()
        transaction.on_commit(lambda: forget(tenant_id=tenant_id, name=name))
