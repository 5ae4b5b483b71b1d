-- Sessions that began at the provider end with the session there: SHA-256 of the issuer and its sid.
ALTER TABLE sessions ADD COLUMN provider_session BYTEA NULL;
CREATE INDEX sessions_of_provider ON sessions (provider_session) WHERE provider_session IS NOT NULL;

-- Logouts that the provider told of: each is taken once, and no session begins any more at one that has ended there.
CREATE TABLE provider_logouts (
    hash             BYTEA  NOT NULL PRIMARY KEY, -- SHA-256 of the issuer and the token's jti
    provider_session BYTEA  NULL,                 -- as in sessions
    kept_until       BIGINT NOT NULL
);
CREATE INDEX provider_logouts_of_session ON provider_logouts (provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX provider_logouts_kept_until ON provider_logouts (kept_until);
