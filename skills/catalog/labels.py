"""Moving labels: which version is in production, which takes a share of its traffic, and one step back."""

import re
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction

from kit.errors import Conflict, InvalidRequest, NotFound
from skills.catalog import gate
from skills.catalog.lookup import forget
from skills.models import PRODUCTION, Skill, SkillLabel, SkillLabelMove, SkillVersion
from tenants import audit
from tenants.models import Tenant

LABEL = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,31}\Z")


@dataclass(frozen=True, slots=True)
class _Place:
    """Whose pointer it is: of the skill's owner (no tenant), or a tenant's own into a built-in skill."""

    skill: Skill
    tenant: Tenant | None
    name: str

    def moves(self) -> list[SkillLabelMove]:
        return list(SkillLabelMove.objects.filter(skill=self.skill, tenant=self.tenant, name=self.name).order_by("id"))

    def current(self) -> SkillLabel | None:
        return SkillLabel.objects.filter(skill=self.skill, tenant=self.tenant, name=self.name).first()


@dataclass(frozen=True, slots=True)
class _Move:
    """Where to, by whom, and what was overridden for it."""

    version_id: int
    share: int
    actor: str
    address: str
    is_rollback: bool = False
    override_reason: str = ""
    overridden: tuple[str, ...] = ()


def point(
    skill: Skill,
    *,
    label: str,
    version: int,
    share: int = 0,
    tenant: Tenant | None = None,
    actor: str,
    address: str = "",
    override_reason: str = "",
) -> SkillLabel:
    """Point a label at a version's number and record the move.

    `share` is the percentage of production's traffic that `canary` takes. With `tenant`, the label is that
    tenant's own pointer into a built-in skill. Raises NotFound for a version the skill does not have,
    InvalidRequest for a label or share that cannot be, Conflict when the release gate refuses the version.
    `override_reason` lets it past the gate and is kept with the move: whoever passes one on has made sure that it
    comes from an owner.
    """
    if not LABEL.match(label):
        raise InvalidRequest("A label is lower-case letters, digits and single hyphens, at most 32.", path="label")
    if not 0 <= share <= 100:
        raise InvalidRequest("A share is a percentage from 0 to 100.", path="share")
    if tenant is not None and skill.tenant_id not in (None, tenant.pk):
        raise NotFound(f"There is no skill named {skill.name}.")
    place = _Place(skill, None if skill.tenant_id else tenant, label)
    with transaction.atomic():
        Skill.objects.select_for_update().get(pk=skill.pk)
        target = SkillVersion.objects.filter(skill=skill, number=version).first()
        if target is None:
            raise NotFound(f"The skill {skill.name} has no version {version}.")
        faults = gate.faults(skill, target, label=label, share=share, tenant=tenant)
        if faults and not override_reason.strip():
            raise Conflict(" ".join(faults), reason="release_gate", faults=faults)
        move = _Move(target.pk, share, actor=actor, address=address)
        if faults:
            move = replace(move, override_reason=override_reason.strip()[:500], overridden=tuple(faults))
        return _move(place, move)


def rollback(
    skill: Skill, *, label: str = PRODUCTION, tenant: Tenant | None = None, actor: str, address: str = ""
) -> SkillLabel:
    """Point a label back to where it was before its present version, one step for each call.

    The release gate has no say: a way back must always be open. Raises Conflict when there is nothing earlier.
    """
    place = _Place(skill, None if skill.tenant_id else tenant, label)
    with transaction.atomic():
        Skill.objects.select_for_update().get(pk=skill.pk)
        trail = _trail(place.moves())
        if len(trail) < 2:
            raise Conflict(f"The label {label} of {skill.name} has no earlier version to go back to.")
        version_id, share = trail[-2]
        return _move(place, _Move(version_id, share, actor=actor, address=address, is_rollback=True))


def _trail(moves: list[SkillLabelMove]) -> list[tuple[int, int]]:
    """Return the versions (with shares) that lead to the present one, rollbacks undone."""
    trail: list[tuple[int, int]] = []
    for move in moves:
        if move.is_rollback:
            trail.pop()
        elif trail and trail[-1][0] == move.version_id:
            trail[-1] = (move.version_id, move.share)
        else:
            trail.append((move.version_id, move.share))
    return trail


def _move(place: _Place, to: _Move) -> SkillLabel:
    current = place.current()
    if current is not None and (current.version_id, current.share) == (to.version_id, to.share) and not to.is_rollback:
        return current
    made = SkillLabelMove.objects.create(
        skill=place.skill,
        tenant=place.tenant,
        name=place.name,
        previous_id=current.version_id if current else None,
        version_id=to.version_id,
        share=to.share,
        is_rollback=to.is_rollback,
        override_reason=to.override_reason,
        actor=to.actor,
    )
    moved, _ = SkillLabel.objects.update_or_create(
        skill=place.skill,
        tenant=place.tenant,
        name=place.name,
        defaults={"version_id": to.version_id, "share": to.share},
    )
    _record(place, made, to, before=current)
    transaction.on_commit(lambda: forget(name=place.skill.name))
    return moved


def _record(place: _Place, made: SkillLabelMove, to: _Move, *, before: SkillLabel | None) -> None:
    details: dict[str, Any] = {
        "label": place.name,
        "before": {"version": before.version.number, "share": before.share} if before else {},
        "after": {"version": made.version.number, "share": to.share},
    }
    if to.override_reason:
        details |= {"override_reason": to.override_reason, "overridden": list(to.overridden)}
    audit.record(
        "skill.rolled_back" if to.is_rollback else "skill.label_moved",
        tenant=place.tenant or place.skill.tenant,
        actor=to.actor,
        address=to.address,
        subject=place.skill.name,
        **details,
    )
