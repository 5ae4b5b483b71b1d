-- With which key a part of an invitation was sent; NULL: by a person with a session, or by the operator.
ALTER TABLE invitation_parts ADD COLUMN key_id TEXT COLLATE "C" NULL;
-- The record knows it of those that wait already.
UPDATE invitation_parts SET key_id = (
    SELECT a.actor_key_id FROM activity a
    WHERE a.organization_id = invitation_parts.organization_id AND a.target = invitation_parts.invitation_id
      AND a.action IN ('Invite Create', 'Invite Re-Invite', 'Invite Update')
    ORDER BY a.id DESC LIMIT 1);
CREATE INDEX invitation_parts_of_key ON invitation_parts (key_id) WHERE key_id IS NOT NULL;
-- What a key did, newest first.
CREATE INDEX activity_of_key ON activity (actor_key_id, id) WHERE actor_key_id IS NOT NULL;
-- And what came of the invitations that it sent.
CREATE INDEX activity_of_acceptance ON activity (target) WHERE action = 'Invite Accept';
