-- The schema, one text for both databases: Schema.cs replaces the few words that PostgreSQL spells differently. What cannot be one text
-- (triggers, their functions, a table that only PostgreSQL has) stands beside it, in 001.sqlite.sql and 001.postgres.sql.
-- Longer than 15,000 bytes because a schema is read as one.
-- Times are Unix milliseconds, ids are lower-case UUIDs as text, roles and scopes are names separated by spaces.
-- WITHOUT ROWID: a row is found in the tree of its primary key, with one descent instead of two.

-- The steps of the schema that have been applied; see Migrations.
CREATE TABLE IF NOT EXISTS schemaversions (
    scriptname TEXT   NOT NULL PRIMARY KEY,
    applied    BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE users (
    id               TEXT   NOT NULL PRIMARY KEY,
    email            TEXT   NOT NULL,
    email_normalized TEXT   NOT NULL,
    name             TEXT   NOT NULL,
    password_hash    TEXT   NULL,
    security_stamp   TEXT   NOT NULL,                 -- changes when sessions must end
    created_at       BIGINT NOT NULL,
    disabled_at      BIGINT NULL,
    deleted_at       BIGINT NULL,                     -- the row stays without personal data: ids are never reused
    kind             TEXT   NOT NULL DEFAULT 'person' -- person, service: nobody signs in as a service
) WITHOUT ROWID;
CREATE UNIQUE INDEX users_email ON users (email_normalized) WHERE deleted_at IS NULL AND kind = 'person';

CREATE TABLE organizations (
    id              TEXT   NOT NULL PRIMARY KEY,
    root_id         TEXT   NULL REFERENCES organizations (id), -- NULL: this is a root
    name            TEXT   NOT NULL,
    name_normalized TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    disabled_at     BIGINT NULL,
    deleted_at      BIGINT NULL,                               -- the row stays: ids are never reused (R10)
    policy          TEXT   NULL,                               -- JSON; NULL: no rules of its own
    created_by      TEXT   NULL REFERENCES users (id)          -- of a root that a person created; NULL: the operator
) WITHOUT ROWID;
-- Roots are no siblings of each other: one tenant must not learn another's name from a refusal (R9).
CREATE UNIQUE INDEX organizations_name ON organizations (root_id, name_normalized) WHERE root_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX organizations_created_by ON organizations (created_by, created_at) WHERE created_by IS NOT NULL;
CREATE INDEX organizations_of_root ON organizations (root_id) WHERE root_id IS NOT NULL;

-- A membership that ended is never opened again: a new one has a new id, so the keys of the old one stay dead (R5).
CREATE TABLE memberships (
    id              TEXT   NOT NULL PRIMARY KEY,
    organization_id TEXT   NOT NULL REFERENCES organizations (id),
    user_id         TEXT   NOT NULL REFERENCES users (id),
    roles           TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    ended_at        BIGINT NULL,
    -- By this, members are listed and searched: name and e-mail address in capitals (A to Z only; the database knows no others). Triggers
    -- keep it, so a page of any organization is one range of one index. NULL: the membership has ended, or is a service user's, who is no
    -- member.
    listed_as       TEXT   NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX memberships_current ON memberships (user_id, organization_id) WHERE ended_at IS NULL;
CREATE INDEX memberships_of_organization ON memberships (organization_id, listed_as, user_id) WHERE ended_at IS NULL;
CREATE INDEX memberships_ever ON memberships (organization_id, user_id); -- former members are in the activity log too

-- Two kinds of keys: those of people, and those of organizations (API keys), which belong to the membership of a service user.
CREATE TABLE access_keys (
    id              TEXT   NOT NULL PRIMARY KEY,      -- the public part of the key
    membership_id   TEXT   NOT NULL REFERENCES memberships (id),
    name            TEXT   NOT NULL,
    hash            BLOB   NOT NULL,                  -- SHA-256 of the whole key
    scopes          TEXT   NOT NULL,                  -- *: all of them
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NULL,
    deleted_at      BIGINT NULL,
    kind            TEXT   NOT NULL DEFAULT 'pak',    -- pak, oak
    suspended_at    BIGINT NULL,
    family_id       TEXT   NULL,                      -- keys that follow one another by rotation; NULL: never rotated
    successor_id    TEXT   NULL,                      -- the key that replaces this one
    overlap_ends_at BIGINT NULL,                      -- a replaced key works until then
    status          BIGINT NOT NULL DEFAULT 0,        -- as in a status list: 0 valid, 1 invalid, 2 suspended
    status_index    BIGINT NOT NULL DEFAULT 0,        -- the key's entry, over all lists
    created_by      TEXT   NULL,                      -- the person who created an API key
    told_at         BIGINT NULL,                      -- when the owners were notified that an API key expires soon
    -- The order in which entries of the status lists change: a number of its own instead of a time, because clocks differ and commits come
    -- late. 0: never changed.
    status_version  BIGINT NOT NULL DEFAULT 0,
    frozen_at       BIGINT NULL                       -- suspended since then because a key of its family was used after its overlap
) WITHOUT ROWID;
CREATE UNIQUE INDEX access_keys_status_index ON access_keys (status_index);
-- Holds all that a server reads at its start and at each poll for changes.
CREATE INDEX access_keys_status_version ON access_keys (status_version, status_index, status) WHERE status_version > 0;
CREATE INDEX access_keys_oak_expires_at ON access_keys (expires_at) WHERE kind = 'oak' AND deleted_at IS NULL AND told_at IS NULL;
CREATE INDEX access_keys_expires_at ON access_keys (expires_at, id)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL AND successor_id IS NULL;
CREATE INDEX access_keys_family ON access_keys (family_id) WHERE family_id IS NOT NULL;
-- Replaced keys whose tokens may still be valid; see OverlapEndJob.
CREATE INDEX access_keys_overlap ON access_keys (overlap_ends_at) WHERE overlap_ends_at IS NOT NULL AND status <> 1;
-- The inventory of an organization: its keys by the time of their creation, from the index alone.
CREATE INDEX access_keys_by_time ON access_keys (membership_id, created_at, id) WHERE deleted_at IS NULL;
-- Keys that have ended, in the order of their end, until their retention is over.
CREATE INDEX access_keys_deleted_at ON access_keys (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX access_keys_overlap_ended ON access_keys (overlap_ends_at)
    WHERE overlap_ends_at IS NOT NULL AND status = 1 AND deleted_at IS NULL;

-- What the holder of a key was notified of before its expiry. Its primary key is why nothing is sent twice.
CREATE TABLE key_expiry_notices (
    key_id  TEXT   NOT NULL,
    days    BIGINT NOT NULL,                          -- before the expiry; 0: it has expired
    told_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, days)
) WITHOUT ROWID;
CREATE INDEX key_expiry_notices_told_at ON key_expiry_notices (told_at);

-- The next number of what is numbered without gaps.
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;

-- Entries of the status lists that were given to keys which a restored database does not know. They are invalid, and are never given again.
CREATE TABLE status_gaps (
    first_index    BIGINT NOT NULL PRIMARY KEY,
    last_index     BIGINT NOT NULL,
    status_version BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE signing_keys (
    id           TEXT   NOT NULL PRIMARY KEY,         -- kid: RFC 7638 thumbprint
    algorithm    TEXT   NOT NULL,
    private_key  BLOB   NOT NULL,                     -- PKCS#8, encrypted by Data Protection
    created_at   BIGINT NOT NULL,
    activates_at BIGINT NOT NULL
) WITHOUT ROWID;

-- By the hash of the address, whether somebody has it or not: nobody finds out here who does.
CREATE TABLE sign_in_attempts (
    email_hash   BLOB   NOT NULL PRIMARY KEY,         -- SHA-256 of the normalized address
    failed       BIGINT NOT NULL,
    last_at      BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sign_in_attempts_last_at ON sign_in_attempts (last_at);

-- Failed sign-ins, counted by hour, network and method: what strangers try is one row, however often they try.
CREATE TABLE sign_in_failures (
    hour    BIGINT NOT NULL,                          -- Unix hours
    network TEXT   NOT NULL,                          -- an address of IPv4, a /64 of IPv6
    method  TEXT   NOT NULL,
    failed  BIGINT NOT NULL,
    PRIMARY KEY (hour, network, method)
) WITHOUT ROWID;

CREATE TABLE setup_codes (
    hash       BLOB   NOT NULL PRIMARY KEY,           -- SHA-256 of the code
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

-- The activity log. It is append-only: triggers refuse updates, and deletions but those by its retention.
CREATE TABLE activity (
    id              TEXT   NOT NULL PRIMARY KEY,      -- ids sort by time
    at              BIGINT NOT NULL,
    organization_id TEXT   NULL,
    actor_user_id   TEXT   NULL,                      -- NULL: the operator, at the machine itself
    actor_key_id    TEXT   NULL,
    address         TEXT   NULL,
    action          TEXT   NOT NULL,
    target          TEXT   NOT NULL,                  -- the id of what was changed
    subject_user_id TEXT   NULL,                      -- the person who was affected, where that is not the target
    detail          TEXT   NULL                       -- names of roles and the like; never a secret
) WITHOUT ROWID;
-- It is read newest first, so one range of one index answers for an organization and a span of time.
CREATE INDEX activity_of_organization ON activity (organization_id, id);
CREATE INDEX activity_of_actor ON activity (actor_user_id, id);
CREATE INDEX activity_of_subject ON activity (subject_user_id, id);
CREATE INDEX activity_of_target ON activity (target, id);
CREATE INDEX activity_of_key ON activity (actor_key_id, id) WHERE actor_key_id IS NOT NULL;
CREATE INDEX activity_of_acceptance ON activity (target) WHERE action = 'Invite Accept'; -- what came of a key's invitations

-- Messages that a change wants sent: written in its transaction, sent afterwards, and then deleted.
CREATE TABLE mails (
    id            TEXT   NOT NULL PRIMARY KEY,
    recipient     TEXT   NOT NULL,
    content       BLOB   NOT NULL,                    -- subject and text, encrypted by Data Protection: a link in it can open something
    created_at    BIGINT NOT NULL,
    due_at        BIGINT NOT NULL,                    -- the next attempt
    attempts      BIGINT NOT NULL,
    invitation_id TEXT   NULL                         -- whose link it carries: a message that was given up is shown there
) WITHOUT ROWID;
CREATE INDEX mails_due_at ON mails (due_at);
CREATE INDEX mails_to_nobody ON mails (id) WHERE recipient = ''; -- written and deleted for an address that nobody has

-- One for each address and root, with a part for each organization that it leads to. A part is deleted when it is accepted or withdrawn,
-- the whole with its last part.
CREATE TABLE invitations (
    id               TEXT   NOT NULL PRIMARY KEY,
    root_id          TEXT   NOT NULL REFERENCES organizations (id),
    email            TEXT   NOT NULL,
    email_normalized TEXT   NOT NULL,
    code_hash        BLOB   NOT NULL,                 -- SHA-256 of the code in the last message's link
    created_at       BIGINT NOT NULL,
    sent_at          BIGINT NOT NULL,
    undelivered_at   BIGINT NULL                      -- its last message was given up
) WITHOUT ROWID;
CREATE UNIQUE INDEX invitations_email ON invitations (root_id, email_normalized);
CREATE UNIQUE INDEX invitations_code ON invitations (code_hash);

CREATE TABLE invitation_parts (
    invitation_id   TEXT   NOT NULL REFERENCES invitations (id),
    organization_id TEXT   NOT NULL REFERENCES organizations (id),
    roles           TEXT   NOT NULL,
    invited_by      TEXT   NULL REFERENCES users (id), -- NULL: the operator
    expires_at      BIGINT NOT NULL,                   -- of each part: who sends one again, from a sub-organization, prolongs no other
    key_id          TEXT   NULL,                       -- with which key it was sent; NULL: in a session, or by the operator
    PRIMARY KEY (invitation_id, organization_id)
) WITHOUT ROWID;
CREATE INDEX invitation_parts_of_organization ON invitation_parts (organization_id);
CREATE INDEX invitation_parts_of_key ON invitation_parts (key_id) WHERE key_id IS NOT NULL;

-- How many invitations were sent on one day, by root and by root and address: nobody floods strangers with mail through this server.
CREATE TABLE invitation_counts (
    target TEXT   NOT NULL PRIMARY KEY,               -- a root's id, or that and the SHA-256 of an address
    day    BIGINT NOT NULL,                           -- Unix days
    count  BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX invitation_counts_day ON invitation_counts (day);

-- Sessions of people: the cookie holds 256 random bits, and this table their hash. A session is valid while it has not ended, is not too
-- old, and its stamp is the user's.
CREATE TABLE sessions (
    id               TEXT   NOT NULL PRIMARY KEY,
    hash             BLOB   NOT NULL,                 -- SHA-256 of what the cookie holds
    user_id          TEXT   NOT NULL REFERENCES users (id),
    security_stamp   TEXT   NOT NULL,                 -- of the user, when it began
    method           TEXT   NOT NULL,                 -- how the person signed in
    created_at       BIGINT NOT NULL,
    proved_at        BIGINT NOT NULL,                 -- when the person last proved who they are
    last_seen_at     BIGINT NOT NULL,                 -- to a minute
    address          TEXT   NOT NULL,
    user_agent       TEXT   NOT NULL,
    organization_id  TEXT   NULL,                     -- the last one that was shown
    ended_at         BIGINT NULL,
    kept_form        BLOB   NULL,                     -- the form to return to after confirming an old sign-in; encrypted
    provider_session BLOB   NULL                      -- SHA-256 of the provider's issuer and sid: the session ends with the one there
) WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_hash ON sessions (hash);
CREATE INDEX sessions_of_user ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_created_at ON sessions (created_at);
CREATE INDEX sessions_places ON sessions (user_id, address); -- from where a person has signed in: ended sessions count too
CREATE INDEX sessions_of_provider ON sessions (provider_session) WHERE provider_session IS NOT NULL;

-- Logouts that the provider announced: each is accepted once, and no session begins any more at one that has ended there.
CREATE TABLE provider_logouts (
    hash             BLOB   NOT NULL PRIMARY KEY,     -- SHA-256 of the issuer and the token's jti
    provider_session BLOB   NULL,                     -- as in sessions
    kept_until       BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX provider_logouts_of_session ON provider_logouts (provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX provider_logouts_kept_until ON provider_logouts (kept_until);

-- The second factor, where a person has one: an authenticator app (RFC 6238).
CREATE TABLE authenticators (
    user_id    TEXT   NOT NULL PRIMARY KEY REFERENCES users (id),
    secret     BLOB   NOT NULL,                       -- encrypted by Data Protection
    last_step  BIGINT NOT NULL,                       -- of the last code that was accepted: each works once
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id),
    hash    BLOB NOT NULL,                            -- SHA-256 of the code; a used one is deleted
    PRIMARY KEY (user_id, hash)
) WITHOUT ROWID;

CREATE TABLE passkeys (
    id                 TEXT   NOT NULL PRIMARY KEY,
    user_id            TEXT   NOT NULL REFERENCES users (id),
    credential_id      BLOB   NOT NULL,
    public_key         BLOB   NOT NULL,               -- COSE
    name               TEXT   NOT NULL,
    sign_count         BIGINT NOT NULL,
    transports         TEXT   NOT NULL,
    is_backup_eligible BIGINT NOT NULL,
    is_backed_up       BIGINT NOT NULL,
    attestation        BLOB   NOT NULL,               -- as the browser sent it when the passkey was created
    client_data        BLOB   NOT NULL,
    created_at         BIGINT NOT NULL,
    last_used_at       BIGINT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX passkeys_credential ON passkeys (credential_id);
CREATE INDEX passkeys_of_user ON passkeys (user_id);

-- Which user a subject of the platform's own provider is. By the e-mail address only the first time: addresses change hands.
CREATE TABLE provider_subjects (
    issuer     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    user_id    TEXT   NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
CREATE UNIQUE INDEX provider_subjects_of_user ON provider_subjects (user_id, issuer);

-- Requested by somebody who knows the address; for an address that nobody has, user_id is NULL and the code opens nothing.
CREATE TABLE password_resets (
    hash       BLOB   NOT NULL PRIMARY KEY,           -- SHA-256 of the code in the mail
    user_id    TEXT   NULL REFERENCES users (id),
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX password_resets_created_at ON password_resets (created_at);
CREATE INDEX password_resets_of_user ON password_resets (user_id) WHERE user_id IS NOT NULL;

-- What may be used once and was: hashes of challenges and of steps of a sign-in, until they are too old to be used anyway.
CREATE TABLE spent_challenges (
    hash     BLOB   NOT NULL PRIMARY KEY,
    spent_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX spent_challenges_spent_at ON spent_challenges (spent_at);

-- Where an organization receives events; see Webhooks/.
CREATE TABLE webhooks (
    id               TEXT   NOT NULL PRIMARY KEY,
    organization_id  TEXT   NOT NULL REFERENCES organizations (id),
    url              TEXT   NOT NULL,
    events           TEXT   NOT NULL,                 -- *: all of them
    secret           BLOB   NOT NULL,                 -- encrypted by Data Protection
    old_secret       BLOB   NULL,                     -- signs beside it for a while after a change
    old_secret_until BIGINT NULL,
    created_at       BIGINT NOT NULL,
    failing_since    BIGINT NULL,                     -- NULL: the last attempt succeeded, or there was none
    disabled_at      BIGINT NULL,
    paused_until     BIGINT NULL,                     -- the receiver's Retry-After: until then nothing is sent to it
    maker_id         TEXT   NULL                      -- who created it: the owners are notified when that person leaves
) WITHOUT ROWID;
CREATE INDEX webhooks_of_organization ON webhooks (organization_id);
CREATE INDEX webhooks_failing ON webhooks (failing_since) WHERE failing_since IS NOT NULL;
CREATE INDEX webhooks_maker ON webhooks (maker_id) WHERE maker_id IS NOT NULL;

-- Messages, written in the transaction of what they announce; the log of deliveries afterwards.
CREATE TABLE webhook_messages (
    webhook_id TEXT   NOT NULL REFERENCES webhooks (id),
    id         TEXT   NOT NULL,                       -- one message has one id, whoever gets it
    type       TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    due_at     BIGINT NULL,                           -- the next attempt, or when a claimed one counts as lost; NULL: there is none
    attempts   BIGINT NOT NULL,
    lease      TEXT   NULL,                           -- of the claim: made anew by each; void once due_at has passed
    PRIMARY KEY (webhook_id, id)
) WITHOUT ROWID;
CREATE INDEX webhook_messages_due_at ON webhook_messages (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_messages_created_at ON webhook_messages (created_at);
-- The webhooks that have something to send, each found with one step through the index, and its oldest messages.
CREATE INDEX webhook_messages_waiting ON webhook_messages (webhook_id, due_at, id) WHERE due_at IS NOT NULL;

CREATE TABLE webhook_attempts (
    webhook_id   TEXT   NOT NULL,
    message_id   TEXT   NOT NULL,
    number       BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    milliseconds BIGINT NOT NULL,
    status       BIGINT NULL,                         -- of HTTP; NULL: no response
    error        TEXT   NOT NULL,                     -- in our words, never the receiver's; empty: delivered
    PRIMARY KEY (webhook_id, message_id, number)
) WITHOUT ROWID;

-- What this database is, where it stands, when it was last restored, and (SQLite) the newest time that its server has seen.
CREATE TABLE deployment (
    name  TEXT NOT NULL PRIMARY KEY,                  -- id, place, restored_at, seen_at
    value TEXT NOT NULL
) WITHOUT ROWID;
