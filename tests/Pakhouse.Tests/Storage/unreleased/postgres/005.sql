-- API keys of organizations.
ALTER TABLE access_keys ADD COLUMN created_by TEXT COLLATE "C" NULL;    -- the person who made an API key
ALTER TABLE access_keys ADD COLUMN told_at    BIGINT NULL;    -- when the owners were told that an API key expires soon
CREATE INDEX access_keys_oak_expires_at ON access_keys (expires_at) WHERE kind = 'oak' AND deleted_at IS NULL AND told_at IS NULL;
