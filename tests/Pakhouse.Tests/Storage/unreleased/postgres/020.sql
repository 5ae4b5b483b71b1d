-- The form that a person comes back to, after confirming an old sign-in; encrypted.
ALTER TABLE sessions ADD COLUMN kept_form BYTEA NULL;

-- Everything is stored as itself, as the one word *. An empty text is no name at all.
UPDATE access_keys SET scopes = '*' WHERE scopes = '';
UPDATE webhooks SET events = '*' WHERE events = '';

-- Who made a webhook: its owners are told when that person leaves. Of before, the record knows.
ALTER TABLE webhooks ADD COLUMN maker_id TEXT COLLATE "C" NULL;
UPDATE webhooks SET maker_id = (
    SELECT MIN(a.actor_user_id) FROM activity a
    WHERE a.organization_id = webhooks.organization_id AND a.action = 'Webhook Create' AND a.target = webhooks.id);
CREATE INDEX webhooks_maker ON webhooks (maker_id) WHERE maker_id IS NOT NULL;
