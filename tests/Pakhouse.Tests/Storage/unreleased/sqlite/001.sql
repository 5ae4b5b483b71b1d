-- Times are Unix milliseconds, ids are lower-case UUIDs as text, roles and scopes are names separated by spaces.
-- WITHOUT ROWID: a row is found in its primary key's own tree, one descent instead of two.

CREATE TABLE users (
    id               TEXT   NOT NULL PRIMARY KEY,
    email            TEXT   NOT NULL,
    email_normalized TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    password_hash    TEXT   NULL,
    security_stamp   TEXT   NOT NULL,          -- changes when sessions must end
    created_at       BIGINT NOT NULL,
    disabled_at      BIGINT NULL,
    deleted_at       BIGINT NULL               -- the row stays, emptied of the person: ids are never reused
) WITHOUT ROWID;
CREATE UNIQUE INDEX users_email ON users (email_normalized) WHERE deleted_at IS NULL;

CREATE TABLE organizations (
    id              TEXT   NOT NULL PRIMARY KEY,
    root_id         TEXT   NULL REFERENCES organizations (id),  -- NULL: this is a root
    name            TEXT   NOT NULL,
    name_normalized TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    disabled_at     BIGINT NULL,
    deleted_at      BIGINT NULL                -- the row stays: ids are never reused (R10)
) WITHOUT ROWID;
-- Roots are no siblings of each other: one tenant must not learn another's name from a refusal (R9).
CREATE UNIQUE INDEX organizations_name ON organizations (root_id, name_normalized) WHERE root_id IS NOT NULL AND deleted_at IS NULL;

-- A membership that ended is never opened again: a new one has a new id, so the keys of the old one stay dead (R5).
CREATE TABLE memberships (
    id              TEXT   NOT NULL PRIMARY KEY,
    organization_id TEXT   NOT NULL REFERENCES organizations (id),
    user_id         TEXT   NOT NULL REFERENCES users (id),
    roles           TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    ended_at        BIGINT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX memberships_current ON memberships (user_id, organization_id) WHERE ended_at IS NULL;
CREATE INDEX memberships_of_organization ON memberships (organization_id) WHERE ended_at IS NULL;

CREATE TABLE personal_access_keys (
    id            TEXT   NOT NULL PRIMARY KEY,  -- the public part of the key
    membership_id TEXT   NOT NULL REFERENCES memberships (id),
    name          TEXT   NOT NULL,
    hash          BLOB   NOT NULL,              -- SHA-256 of the whole key
    scopes        TEXT   NOT NULL,              -- empty: no narrowing
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NULL,
    deleted_at    BIGINT NULL
) WITHOUT ROWID;
CREATE INDEX personal_access_keys_of_membership ON personal_access_keys (membership_id) WHERE deleted_at IS NULL;

-- Use is flushed here in batches, apart from the keys: an exchange reads no page that a flush writes. The newest hour tells the last use.
CREATE TABLE key_use_hours (
    key_id          TEXT NOT NULL,
    hour            BIGINT NOT NULL,            -- Unix hours
    count           BIGINT NOT NULL,
    last_used_at    BIGINT NOT NULL,
    address         TEXT NOT NULL,
    user_agent      TEXT NOT NULL,
    organization_id TEXT NOT NULL,              -- for which the last token of the hour was issued
    PRIMARY KEY (key_id, hour)
) WITHOUT ROWID;

CREATE TABLE signing_keys (
    id           TEXT   NOT NULL PRIMARY KEY,   -- kid: RFC 7638 thumbprint
    algorithm    TEXT   NOT NULL,
    private_key  BLOB   NOT NULL,               -- PKCS#8, encrypted by Data Protection
    created_at   BIGINT NOT NULL,
    activates_at BIGINT NOT NULL
) WITHOUT ROWID;

-- By the hash of the address, whether somebody has it or not: nobody finds out here who does.
CREATE TABLE sign_in_attempts (
    email_hash   BLOB   NOT NULL PRIMARY KEY,   -- SHA-256 of the normalized address
    failed       BIGINT NOT NULL,
    last_at      BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sign_in_attempts_last_at ON sign_in_attempts (last_at);

CREATE TABLE setup_codes (
    hash       BLOB   NOT NULL PRIMARY KEY,     -- SHA-256 of the code
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE activity (
    id              TEXT   NOT NULL PRIMARY KEY,
    at              BIGINT NOT NULL,
    organization_id TEXT   NULL,
    actor_user_id   TEXT   NULL,                -- NULL: the operator, at the machine itself
    actor_key_id    TEXT   NULL,
    address         TEXT   NULL,
    action          TEXT   NOT NULL,
    target          TEXT   NOT NULL             -- the id of what was changed
) WITHOUT ROWID;
CREATE INDEX activity_of_organization ON activity (organization_id, at);
CREATE TRIGGER activity_is_not_changed BEFORE UPDATE ON activity BEGIN SELECT RAISE(ABORT, 'activity is append-only'); END;
CREATE TRIGGER activity_is_not_deleted BEFORE DELETE ON activity BEGIN SELECT RAISE(ABORT, 'activity is append-only'); END;
