ALTER TABLE sessions ADD COLUMN provider_session BLOB NULL;
CREATE INDEX sessions_of_provider ON sessions (provider_session) WHERE provider_session IS NOT NULL;
CREATE TABLE provider_logouts (
    hash             BLOB   NOT NULL PRIMARY KEY,
    provider_session BLOB   NULL,
    kept_until       BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX provider_logouts_of_session ON provider_logouts (provider_session) WHERE provider_session IS NOT NULL;
CREATE INDEX provider_logouts_kept_until ON provider_logouts (kept_until);
