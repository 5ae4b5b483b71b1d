-- The record is read newest first; ids sort by time, so one range of one index answers for an organization and a span of time.
DROP INDEX activity_of_organization;
CREATE INDEX activity_of_organization ON activity (organization_id, id);
DROP INDEX activity_of_actor;
CREATE INDEX activity_of_actor ON activity (actor_user_id, id);
DROP INDEX activity_of_subject;
CREATE INDEX activity_of_subject ON activity (subject_user_id, id);
-- Whoever left, and whatever was deleted, is still in the record.
CREATE INDEX memberships_ever ON memberships (organization_id, user_id);
CREATE INDEX organizations_of_root ON organizations (root_id) WHERE root_id IS NOT NULL;
