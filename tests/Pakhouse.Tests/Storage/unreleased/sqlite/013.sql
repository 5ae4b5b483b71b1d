-- What a change or a job looks for has an index of its own: none reads a table from end to end.
CREATE INDEX password_resets_of_user ON password_resets (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX mails_to_nobody ON mails (id) WHERE recipient = '';              -- written and deleted for an address that nobody has
-- The record by the person that a row concerns, newest first.
CREATE INDEX activity_of_target ON activity (target, id);
-- The same rows by the same column stand in access_keys_by_time.
DROP INDEX access_keys_of_membership;
-- Webhooks whose last attempt failed.
CREATE INDEX webhooks_failing ON webhooks (failing_since) WHERE failing_since IS NOT NULL;
