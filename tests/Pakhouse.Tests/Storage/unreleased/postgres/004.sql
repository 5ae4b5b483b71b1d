CREATE TABLE sessions (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    hash            BYTEA  NOT NULL,             -- SHA-256 of what the cookie holds
    user_id         TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    security_stamp  TEXT COLLATE "C" NOT NULL,             -- of the user, when it began
    method          TEXT COLLATE "C" NOT NULL,             -- how the person signed in
    created_at      BIGINT NOT NULL,
    proved_at       BIGINT NOT NULL,             -- when the person last proved who they are
    last_seen_at    BIGINT NOT NULL,             -- good to a minute
    address         TEXT COLLATE "C" NOT NULL,
    user_agent      TEXT COLLATE "C" NOT NULL,
    organization_id TEXT COLLATE "C" NULL,                 -- the last one looked at
    ended_at        BIGINT NULL
);
CREATE UNIQUE INDEX sessions_hash ON sessions (hash);
CREATE INDEX sessions_of_user ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_created_at ON sessions (created_at);

-- The second factor, where a person has one: an authenticator app (RFC 6238).
CREATE TABLE authenticators (
    user_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id),
    secret     BYTEA  NOT NULL,                  -- encrypted by Data Protection
    last_step  BIGINT NOT NULL,                  -- of the last code that was taken: each works once
    created_at BIGINT NOT NULL
);

CREATE TABLE recovery_codes (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    hash    BYTEA NOT NULL,                       -- SHA-256 of the code; a used one is deleted
    PRIMARY KEY (user_id, hash)
);

CREATE TABLE passkeys (
    id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id            TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    credential_id      BYTEA  NOT NULL,
    public_key         BYTEA  NOT NULL,          -- COSE
    name               TEXT COLLATE "C" NOT NULL,
    sign_count         BIGINT NOT NULL,
    transports         TEXT COLLATE "C" NOT NULL,
    is_backup_eligible BIGINT NOT NULL,
    is_backed_up       BIGINT NOT NULL,
    attestation        BYTEA  NOT NULL,          -- as the browser sent it when the passkey was made
    client_data        BYTEA  NOT NULL,
    created_at         BIGINT NOT NULL,
    last_used_at       BIGINT NULL
);
CREATE UNIQUE INDEX passkeys_credential ON passkeys (credential_id);
CREATE INDEX passkeys_of_user ON passkeys (user_id);

-- Whom the platform's own provider means by a subject. By the address of mail only the first time: addresses change hands.
CREATE TABLE provider_subjects (
    issuer     TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE UNIQUE INDEX provider_subjects_of_user ON provider_subjects (user_id, issuer);

-- Asked for by somebody who knows the address; for an address that nobody has, user_id is NULL and the code opens nothing.
CREATE TABLE password_resets (
    hash       BYTEA  NOT NULL PRIMARY KEY,      -- SHA-256 of the code in the mail
    user_id    TEXT COLLATE "C" NULL REFERENCES users (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX password_resets_created_at ON password_resets (created_at);

-- What may be used once and was: hashes of challenges and of steps of a sign-in, until they are too old to be used anyway.
CREATE TABLE spent_challenges (
    hash     BYTEA  NOT NULL PRIMARY KEY,
    spent_at BIGINT NOT NULL
);
CREATE INDEX spent_challenges_spent_at ON spent_challenges (spent_at);
