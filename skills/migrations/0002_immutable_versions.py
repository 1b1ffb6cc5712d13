"""What Django's own constraints cannot say: composite foreign keys and rows that never change."""

from django.db import migrations

_COMPOSITE = """
ALTER TABLE skills_skilllabel ADD CONSTRAINT label_points_to_a_version_of_its_own_skill
    FOREIGN KEY (skill_id, version_id) REFERENCES skills_skillversion (skill_id, id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE skills_skilllabelmove ADD CONSTRAINT move_goes_to_a_version_of_its_own_skill
    FOREIGN KEY (skill_id, version_id) REFERENCES skills_skillversion (skill_id, id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE skills_skilllabelmove ADD CONSTRAINT move_comes_from_a_version_of_its_own_skill
    FOREIGN KEY (skill_id, previous_id) REFERENCES skills_skillversion (skill_id, id) DEFERRABLE INITIALLY DEFERRED;
"""
_COMPOSITE_BACK = """
ALTER TABLE skills_skilllabelmove DROP CONSTRAINT move_comes_from_a_version_of_its_own_skill;
ALTER TABLE skills_skilllabelmove DROP CONSTRAINT move_goes_to_a_version_of_its_own_skill;
ALTER TABLE skills_skilllabel DROP CONSTRAINT label_points_to_a_version_of_its_own_skill;
"""
_FOREVER = """
CREATE FUNCTION skills_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows are written once: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER skill_version_never_changes BEFORE UPDATE OR DELETE ON skills_skillversion
    FOR EACH ROW EXECUTE FUNCTION skills_refuse_change();
CREATE TRIGGER skill_label_move_never_changes BEFORE UPDATE OR DELETE ON skills_skilllabelmove
    FOR EACH ROW EXECUTE FUNCTION skills_refuse_change();
CREATE TRIGGER skill_keeps_its_tenant_and_name BEFORE UPDATE OF tenant_id, name ON skills_skill
    FOR EACH ROW WHEN (OLD.tenant_id IS DISTINCT FROM NEW.tenant_id OR OLD.name <> NEW.name)
    EXECUTE FUNCTION skills_refuse_change();
"""
_FOREVER_BACK = """
DROP TRIGGER skill_keeps_its_tenant_and_name ON skills_skill;
DROP TRIGGER skill_label_move_never_changes ON skills_skilllabelmove;
DROP TRIGGER skill_version_never_changes ON skills_skillversion;
DROP FUNCTION skills_refuse_change();
"""
_WALLS = """
CREATE FUNCTION skills_refuse_foreign_label() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE owner_id bigint;
BEGIN
    SELECT tenant_id INTO owner_id FROM skills_skill WHERE id = NEW.skill_id;
    IF NEW.tenant_id IS NOT NULL AND owner_id IS NOT NULL AND owner_id <> NEW.tenant_id THEN
        RAISE EXCEPTION 'a label cannot point into another tenant''s skill'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER label_stays_within_its_tenant BEFORE INSERT OR UPDATE ON skills_skilllabel
    FOR EACH ROW EXECUTE FUNCTION skills_refuse_foreign_label();
CREATE TRIGGER label_move_stays_within_its_tenant BEFORE INSERT ON skills_skilllabelmove
    FOR EACH ROW EXECUTE FUNCTION skills_refuse_foreign_label();
"""
_WALLS_BACK = """
DROP TRIGGER label_move_stays_within_its_tenant ON skills_skilllabelmove;
DROP TRIGGER label_stays_within_its_tenant ON skills_skilllabel;
DROP FUNCTION skills_refuse_foreign_label();
"""


class Migration(migrations.Migration):
    dependencies = [("skills", "0001_initial")]

    operations = [
        migrations.RunSQL(_COMPOSITE, _COMPOSITE_BACK),
        migrations.RunSQL(_FOREVER, _FOREVER_BACK),
        migrations.RunSQL(_WALLS, _WALLS_BACK),
    ]
