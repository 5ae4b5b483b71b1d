CREATE INDEX password_resets_of_user ON password_resets (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX mails_to_nobody ON mails (id) WHERE recipient = '';
CREATE INDEX activity_of_target ON activity (target, id);
DROP INDEX access_keys_of_membership;
CREATE INDEX webhooks_failing ON webhooks (failing_since) WHERE failing_since IS NOT NULL;
