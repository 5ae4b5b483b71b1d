CREATE TABLE deployment (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE status_gaps (
    first_index    BIGINT NOT NULL PRIMARY KEY,
    last_index     BIGINT NOT NULL,
    status_version BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX access_keys_deleted_at ON access_keys (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX access_keys_overlap_ended ON access_keys (overlap_ends_at) WHERE overlap_ends_at IS NOT NULL AND status = 1 AND deleted_at
    IS NULL;
