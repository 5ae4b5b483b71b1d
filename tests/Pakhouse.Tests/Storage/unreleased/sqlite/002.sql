-- One mechanism for two kinds of keys: a person's, and an organization's own, which hangs on the membership of a service user.
DROP INDEX personal_access_keys_of_membership;
ALTER TABLE personal_access_keys RENAME TO access_keys;
ALTER TABLE access_keys ADD COLUMN kind            TEXT   NOT NULL DEFAULT 'pak';  -- pak, oak
ALTER TABLE access_keys ADD COLUMN suspended_at    BIGINT NULL;
ALTER TABLE access_keys ADD COLUMN family_id       TEXT   NULL;
ALTER TABLE access_keys ADD COLUMN successor_id    TEXT   NULL;                    -- the key that replaces this one
ALTER TABLE access_keys ADD COLUMN overlap_ends_at BIGINT NULL;                    -- a replaced key works until then
ALTER TABLE access_keys ADD COLUMN status          BIGINT NOT NULL DEFAULT 0;      -- as in a status list: 0 valid, 1 invalid, 2 suspended
ALTER TABLE access_keys ADD COLUMN status_index    BIGINT NOT NULL DEFAULT 0;      -- the key's entry, over all lists
ALTER TABLE access_keys ADD COLUMN status_at       BIGINT NOT NULL DEFAULT 0;
CREATE INDEX access_keys_of_membership ON access_keys (membership_id) WHERE deleted_at IS NULL;

UPDATE access_keys SET status_index = numbered.number
FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) - 1 AS number FROM access_keys) AS numbered WHERE numbered.id = access_keys.id;
UPDATE access_keys SET status = 1 WHERE deleted_at IS NOT NULL;
UPDATE access_keys SET status = 2 WHERE deleted_at IS NULL AND membership_id IN (
    SELECT m.id FROM memberships m JOIN users u ON u.id = m.user_id JOIN organizations o ON o.id = m.organization_id LEFT JOIN
        organizations r ON r.id = o.root_id
    WHERE COALESCE(u.disabled_at, o.disabled_at, r.disabled_at) IS NOT NULL);
CREATE UNIQUE INDEX access_keys_status_index ON access_keys (status_index);
CREATE INDEX access_keys_status_at ON access_keys (status_at) WHERE status_at > 0;

-- The next number of what is numbered without gaps.
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) SELECT 'access_keys.status_index', MAX(status_index) FROM access_keys HAVING COUNT(*) > 0;

ALTER TABLE users ADD COLUMN kind TEXT NOT NULL DEFAULT 'person';   -- person, service: nobody signs in as a service
DROP INDEX users_email;
CREATE UNIQUE INDEX users_email ON users (email_normalized) WHERE deleted_at IS NULL AND kind = 'person';

ALTER TABLE organizations ADD COLUMN policy TEXT NULL;              -- JSON; NULL: nothing is narrowed

ALTER TABLE activity ADD COLUMN subject_user_id TEXT NULL;          -- the person it was done to, where that is not the target
ALTER TABLE activity ADD COLUMN detail          TEXT NULL;          -- names of roles and the like; never a secret
CREATE INDEX activity_of_actor ON activity (actor_user_id, at);
CREATE INDEX activity_of_subject ON activity (subject_user_id, at);

-- Messages that a change wants sent: written in its transaction, sent afterwards, and then deleted.
CREATE TABLE mails (
    id         TEXT   NOT NULL PRIMARY KEY,
    recipient  TEXT   NOT NULL,
    content    BLOB   NOT NULL,                 -- subject and text, encrypted by Data Protection: a link in it can open something
    created_at BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,                 -- the next attempt
    attempts   BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX mails_due_at ON mails (due_at);
