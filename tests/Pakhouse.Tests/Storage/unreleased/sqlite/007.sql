CREATE TABLE key_networks (
    key_id        TEXT   NOT NULL,
    network       TEXT   NOT NULL,
    first_used_at BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL,
    PRIMARY KEY (key_id, network)
) WITHOUT ROWID;
CREATE INDEX key_networks_last_used_at ON key_networks (last_used_at);

-- Use of a key that was deleted, had expired or was replaced, by somebody who proved its secret.
CREATE TABLE key_late_uses (
    key_id     TEXT   NOT NULL PRIMARY KEY,
    count      BIGINT NOT NULL,
    first_at   BIGINT NOT NULL,
    last_at    BIGINT NOT NULL,
    address    TEXT   NOT NULL,
    user_agent TEXT   NOT NULL
) WITHOUT ROWID;

-- What the holder of a key was told of its expiry. Its primary key is why nothing is told twice.
CREATE TABLE key_expiry_notices (
    key_id  TEXT   NOT NULL,
    days    BIGINT NOT NULL,                    -- before the expiry; 0: it has expired
    told_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, days)
) WITHOUT ROWID;
CREATE INDEX key_expiry_notices_told_at ON key_expiry_notices (told_at);

ALTER TABLE access_keys ADD COLUMN frozen_at BIGINT NULL;   -- suspended since then because a key of its family was used after its overlap

CREATE INDEX access_keys_expires_at ON access_keys (expires_at, id) WHERE expires_at IS NOT NULL AND deleted_at IS NULL AND successor_id
    IS NULL;
CREATE INDEX access_keys_family ON access_keys (family_id) WHERE family_id IS NOT NULL;
-- Replaced keys whose tokens may be alive still; see OverlapEnds.
CREATE INDEX access_keys_overlap ON access_keys (overlap_ends_at) WHERE overlap_ends_at IS NOT NULL AND status <> 1;
CREATE INDEX key_use_hours_hour ON key_use_hours (hour, key_id);
