ALTER TABLE organizations ADD COLUMN created_by TEXT NULL REFERENCES users (id);   -- of a root that a person made; NULL: the operator
CREATE INDEX organizations_created_by ON organizations (created_by, created_at) WHERE created_by IS NOT NULL;

-- of any organization is one range of one index. NULL: the membership has ended, or is a service user's, who is no member.
ALTER TABLE memberships ADD COLUMN listed_as TEXT NULL;
UPDATE memberships SET listed_as = (SELECT UPPER(u.name || ' ' || u.email) FROM users u WHERE u.id = memberships.user_id AND u.kind =
    'person') WHERE ended_at IS NULL;
DROP INDEX memberships_of_organization;
CREATE INDEX memberships_of_organization ON memberships (organization_id, listed_as, user_id) WHERE ended_at IS NULL;
CREATE TRIGGER memberships_are_listed AFTER INSERT ON memberships WHEN NEW.ended_at IS NULL BEGIN
    UPDATE memberships SET listed_as = (SELECT UPPER(u.name || ' ' || u.email) FROM users u WHERE u.id = NEW.user_id AND u.kind =
        'person') WHERE id = NEW.id;
END;
CREATE TRIGGER memberships_end_unlisted AFTER UPDATE OF ended_at ON memberships WHEN NEW.ended_at IS NOT NULL BEGIN
    UPDATE memberships SET listed_as = NULL WHERE id = NEW.id;
END;
CREATE TRIGGER users_are_listed AFTER UPDATE OF name, email ON users BEGIN
    UPDATE memberships SET listed_as = UPPER(NEW.name || ' ' || NEW.email) WHERE user_id = NEW.id AND ended_at IS NULL AND listed_as IS
        NOT NULL;
END;

CREATE TABLE invitations (
    id               TEXT NOT NULL PRIMARY KEY,
    root_id          TEXT NOT NULL REFERENCES organizations (id),
    email            TEXT NOT NULL,
    email_normalized TEXT NOT NULL,
    code_hash        BLOB NOT NULL,                -- SHA-256 of the code in the last message's link
    created_at       BIGINT NOT NULL,
    sent_at          BIGINT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX invitations_email ON invitations (root_id, email_normalized);
CREATE UNIQUE INDEX invitations_code ON invitations (code_hash);

CREATE TABLE invitation_parts (
    invitation_id   TEXT NOT NULL REFERENCES invitations (id),
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    roles           TEXT NOT NULL,
    invited_by      TEXT NULL REFERENCES users (id),  -- NULL: the operator
    expires_at      BIGINT NOT NULL,               -- of each part: who sends one again, from a sub-organization, prolongs no other
    PRIMARY KEY (invitation_id, organization_id)
) WITHOUT ROWID;
CREATE INDEX invitation_parts_of_organization ON invitation_parts (organization_id);

-- How many invitations went out on one day, by root and by root and address: nobody makes a mail cannon of this server.
CREATE TABLE invitation_counts (
    target TEXT NOT NULL PRIMARY KEY,              -- a root's id, or that and the SHA-256 of an address
    day    BIGINT NOT NULL,                        -- Unix days
    count  BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX invitation_counts_day ON invitation_counts (day);
