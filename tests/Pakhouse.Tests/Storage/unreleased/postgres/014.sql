-- Who sends a message: an id that each claim makes anew. A claim whose due_at has passed is void.
ALTER TABLE webhook_messages ADD COLUMN lease TEXT COLLATE "C" NULL;

-- What the receiver asked for with Retry-After: until then nothing is sent to it.
ALTER TABLE webhooks ADD COLUMN paused_until BIGINT NULL;

-- The webhooks that have something to send, each found with one step through the index, and its oldest messages.
CREATE INDEX webhook_messages_waiting ON webhook_messages (webhook_id, due_at, id) WHERE due_at IS NOT NULL;
