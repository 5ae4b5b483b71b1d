DROP INDEX access_keys_status_at;
ALTER TABLE access_keys DROP COLUMN status_at;
ALTER TABLE access_keys ADD COLUMN status_version BIGINT NOT NULL DEFAULT 0;      -- 0: never changed
UPDATE access_keys SET status_version = 1 WHERE status <> 0;
INSERT INTO counters (name, value) SELECT 'access_keys.status_version', MAX(status_version) FROM access_keys HAVING MAX(status_version) > 0;
-- Holds all that a server reads at its start and at each look for news.
CREATE INDEX access_keys_status_version ON access_keys (status_version, status_index, status) WHERE status_version > 0;
