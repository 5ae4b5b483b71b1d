-- Whose invitation a message carries, so that a message that was given up is known where somebody waits for an answer.
ALTER TABLE mails ADD COLUMN invitation_id TEXT NULL;
ALTER TABLE invitations ADD COLUMN undelivered_at BIGINT NULL;   -- its last message was given up
