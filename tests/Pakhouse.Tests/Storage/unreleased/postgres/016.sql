-- What this database is, where it stands, when it was last restored, and (SQLite) the newest time that its server has seen.
CREATE TABLE deployment (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,            -- id, place, restored_at, seen_at
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE status_gaps (
    first_index    BIGINT NOT NULL PRIMARY KEY,
    last_index     BIGINT NOT NULL,
    status_version BIGINT NOT NULL
);

-- The record loses what is older than its retention, and nothing else: the job says from when on rows are kept.
DROP TRIGGER activity_is_not_changed ON activity;
CREATE TRIGGER activity_is_not_changed BEFORE UPDATE OR TRUNCATE ON activity EXECUTE FUNCTION activity_is_append_only();
CREATE FUNCTION activity_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.at >= COALESCE((SELECT value FROM counters WHERE name = 'activity.kept_from'), 0) THEN RAISE EXCEPTION
        'activity is append-only'; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER activity_is_not_deleted BEFORE DELETE ON activity FOR EACH ROW EXECUTE FUNCTION activity_is_kept();

-- Keys that have ended, in the order of their end, until their retention is over.
CREATE INDEX access_keys_deleted_at ON access_keys (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX access_keys_overlap_ended ON access_keys (overlap_ends_at) WHERE overlap_ends_at IS NOT NULL AND status = 1 AND deleted_at
    IS NULL;
