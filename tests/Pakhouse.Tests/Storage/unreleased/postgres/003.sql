ALTER TABLE organizations ADD COLUMN created_by TEXT COLLATE "C" NULL REFERENCES users (id);
CREATE INDEX organizations_created_by ON organizations (created_by, created_at) WHERE created_by IS NOT NULL;

-- of any organization is one range of one index. NULL: the membership has ended, or is a service user's, who is no member.
ALTER TABLE memberships ADD COLUMN listed_as TEXT COLLATE "C" NULL;
UPDATE memberships SET listed_as = (SELECT UPPER(u.name || ' ' || u.email) FROM users u WHERE u.id = memberships.user_id AND u.kind =
    'person') WHERE ended_at IS NULL;
DROP INDEX memberships_of_organization;
CREATE INDEX memberships_of_organization ON memberships (organization_id, listed_as, user_id) WHERE ended_at IS NULL;
CREATE FUNCTION memberships_are_listed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.ended_at IS NOT NULL THEN NEW.listed_as := NULL;
    ELSIF TG_OP = 'INSERT' THEN NEW.listed_as := (SELECT UPPER(u.name || ' ' || u.email) FROM users u WHERE u.id = NEW.user_id AND u.kind
        = 'person');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER memberships_are_listed BEFORE INSERT OR UPDATE OF ended_at ON memberships FOR EACH ROW EXECUTE FUNCTION
    memberships_are_listed();
CREATE FUNCTION users_are_listed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE memberships SET listed_as = UPPER(NEW.name || ' ' || NEW.email) WHERE user_id = NEW.id AND ended_at IS NULL AND listed_as IS
        NOT NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER users_are_listed AFTER UPDATE OF name, email ON users FOR EACH ROW EXECUTE FUNCTION users_are_listed();

CREATE TABLE invitations (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    root_id          TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    email            TEXT COLLATE "C" NOT NULL,
    email_normalized TEXT COLLATE "C" NOT NULL,
    code_hash        BYTEA NOT NULL,                -- SHA-256 of the code in the last message's link
    created_at       BIGINT NOT NULL,
    sent_at          BIGINT NOT NULL
);
CREATE UNIQUE INDEX invitations_email ON invitations (root_id, email_normalized);
CREATE UNIQUE INDEX invitations_code ON invitations (code_hash);

CREATE TABLE invitation_parts (
    invitation_id   TEXT COLLATE "C" NOT NULL REFERENCES invitations (id),
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    roles           TEXT COLLATE "C" NOT NULL,
    invited_by      TEXT COLLATE "C" NULL REFERENCES users (id),  -- NULL: the operator
    expires_at      BIGINT NOT NULL,               -- of each part: who sends one again, from a sub-organization, prolongs no other
    PRIMARY KEY (invitation_id, organization_id)
);
CREATE INDEX invitation_parts_of_organization ON invitation_parts (organization_id);

-- How many invitations went out on one day, by root and by root and address: nobody makes a mail cannon of this server.
CREATE TABLE invitation_counts (
    target TEXT COLLATE "C" NOT NULL PRIMARY KEY,              -- a root's id, or that and the SHA-256 of an address
    day    BIGINT NOT NULL,                        -- Unix days
    count  BIGINT NOT NULL
);
CREATE INDEX invitation_counts_day ON invitation_counts (day);
