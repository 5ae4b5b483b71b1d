ALTER TABLE webhook_messages ADD COLUMN lease TEXT NULL;
ALTER TABLE webhooks ADD COLUMN paused_until BIGINT NULL;
CREATE INDEX webhook_messages_waiting ON webhook_messages (webhook_id, due_at, id) WHERE due_at IS NOT NULL;
