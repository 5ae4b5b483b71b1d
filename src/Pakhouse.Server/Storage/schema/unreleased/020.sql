ALTER TABLE sessions ADD COLUMN kept_form BLOB NULL;
UPDATE access_keys SET scopes = '*' WHERE scopes = '';
UPDATE webhooks SET events = '*' WHERE events = '';
ALTER TABLE webhooks ADD COLUMN maker_id TEXT NULL;
UPDATE webhooks SET maker_id = (
    SELECT MIN(a.actor_user_id) FROM activity a
    WHERE a.organization_id = webhooks.organization_id AND a.action = 'Webhook Create' AND a.target = webhooks.id);
CREATE INDEX webhooks_maker ON webhooks (maker_id) WHERE maker_id IS NOT NULL;
