-- The inventory of an organization: its keys by the time of their making, from the index alone.
CREATE INDEX access_keys_by_time ON access_keys (membership_id, created_at, id) WHERE deleted_at IS NULL;
