-- Use of keys, flushed in batches. Nothing here refers to another table, and an exchange reads none of it.

CREATE TABLE IF NOT EXISTS schemaversions (
    scriptname TEXT   NOT NULL PRIMARY KEY,
    applied    BIGINT NOT NULL
) WITHOUT ROWID;

-- The newest hour of a key tells its last use.
CREATE TABLE key_use_hours (
    key_id          TEXT   NOT NULL,
    hour            BIGINT NOT NULL,                  -- Unix hours
    count           BIGINT NOT NULL,
    last_used_at    BIGINT NOT NULL,
    address         TEXT   NOT NULL,
    user_agent      TEXT   NOT NULL,
    organization_id TEXT   NOT NULL,                  -- for which the last token of the hour was issued
    PRIMARY KEY (key_id, hour)
) WITHOUT ROWID;
CREATE INDEX key_use_hours_hour ON key_use_hours (hour, key_id);

-- From where a key has been used (IPv4: /24, IPv6: /48). A row is written when a network is new, then once a day at most.
CREATE TABLE key_networks (
    key_id        TEXT   NOT NULL,
    network       TEXT   NOT NULL,
    first_used_at BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL,
    PRIMARY KEY (key_id, network)
) WITHOUT ROWID;
CREATE INDEX key_networks_last_used_at ON key_networks (last_used_at);

-- Use of a key that was deleted, had expired or was replaced, by a caller with its secret.
CREATE TABLE key_late_uses (
    key_id     TEXT   NOT NULL PRIMARY KEY,
    count      BIGINT NOT NULL,
    first_at   BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    address    TEXT   NOT NULL,
    user_agent TEXT   NOT NULL
) WITHOUT ROWID;
