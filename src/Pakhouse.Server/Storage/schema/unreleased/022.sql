ALTER TABLE mails ADD COLUMN invitation_id TEXT NULL;
ALTER TABLE invitations ADD COLUMN undelivered_at BIGINT NULL;
