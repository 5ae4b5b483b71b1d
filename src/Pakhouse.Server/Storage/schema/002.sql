-- The organization of a key, and its root. Neither ever changes. So a page of an inventory is one range of one index.
ALTER TABLE access_keys ADD COLUMN organization_id TEXT NULL;
ALTER TABLE access_keys ADD COLUMN root_id TEXT NULL;
UPDATE access_keys SET organization_id = o.id, root_id = COALESCE(o.root_id, o.id)
FROM memberships m JOIN organizations o ON o.id = m.organization_id WHERE m.id = access_keys.membership_id;
CREATE INDEX access_keys_of_organization ON access_keys (organization_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX access_keys_of_root ON access_keys (root_id, created_at, id) WHERE deleted_at IS NULL;
