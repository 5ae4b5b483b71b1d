-- What the steps after the tenth have room for.
UPDATE sessions SET kept_form = X'21', provider_session = X'22';
UPDATE webhook_messages SET lease = '0190f3a2-0000-7000-8000-000000000072';
UPDATE webhooks SET paused_until = 1761955200000 WHERE events <> '*';
UPDATE mails SET invitation_id = '0190f3a2-0000-7000-8000-000000000021';
UPDATE invitations SET undelivered_at = 1761955200000;
INSERT INTO sign_in_failures (hour, network, method, failed) VALUES (489432, '192.0.2.1', 'password', 4);
INSERT INTO deployment (name, value) VALUES ('id', '0190f3a2-0000-7000-8000-000000000081');
INSERT INTO status_gaps (first_index, last_index, status_version) VALUES (100, 200, 1);
INSERT INTO provider_logouts (hash, provider_session, kept_until) VALUES (X'23', X'22', 4102444800000);
