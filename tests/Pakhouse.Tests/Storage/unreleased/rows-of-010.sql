INSERT INTO users (id, email, email_normalized, name, password_hash, security_stamp, created_at, disabled_at, deleted_at, kind) VALUES
    ('0190f3a2-0000-7000-8000-000000000001', 'ada@acme.example', 'ADA@ACME.EXAMPLE', 'Ada', NULL, 'stamp', 1761955200000, NULL, NULL,
        'person'),
    ('0190f3a2-0000-7000-8000-000000000002', 'ben@acme.example', 'BEN@ACME.EXAMPLE', 'Ben Müller', 'AQAAAA==', 'stamp', 1761955200000,
        1761955300000, NULL, 'person'),
    ('0190f3a2-0000-7000-8000-000000000003', '', '', 'ci', NULL, 'stamp', 1761955200000, NULL, NULL, 'service');
INSERT INTO organizations (id, root_id, name, name_normalized, created_at, disabled_at, deleted_at, policy, created_by) VALUES
    ('0190f3a2-0000-7000-8000-00000000000a', NULL, 'Acme', 'ACME', 1761955200000, NULL, NULL, NULL, NULL),
    ('0190f3a2-0000-7000-8000-00000000000b', '0190f3a2-0000-7000-8000-00000000000a', 'Mobile', 'MOBILE', 1761955200000, NULL, NULL, NULL,
        NULL),
    ('0190f3a2-0000-7000-8000-00000000000c', NULL, 'Gone', 'GONE', 1761955200000, NULL, 1761955300000, NULL,
        '0190f3a2-0000-7000-8000-000000000001');
INSERT INTO memberships (id, organization_id, user_id, roles, created_at, ended_at) VALUES
    ('0190f3a2-0000-7000-8000-000000000011', '0190f3a2-0000-7000-8000-00000000000a', '0190f3a2-0000-7000-8000-000000000001', 'owner',
        1761955200000, NULL),
    ('0190f3a2-0000-7000-8000-000000000012', '0190f3a2-0000-7000-8000-00000000000b', '0190f3a2-0000-7000-8000-000000000002', '',
        1761955200000, 1761955300000),
    ('0190f3a2-0000-7000-8000-000000000013', '0190f3a2-0000-7000-8000-00000000000a', '0190f3a2-0000-7000-8000-000000000003',
        'build-operator', 1761955200000, NULL);
INSERT INTO access_keys (id, membership_id, name, hash, scopes, created_at, expires_at, deleted_at, kind, suspended_at, family_id,
    successor_id, overlap_ends_at, status, status_index, created_by, told_at, status_version, frozen_at) VALUES
    ('AAAAAAAAAAAAAAAA', '0190f3a2-0000-7000-8000-000000000011', 'laptop', X'{hash}', '', 1761955200000, NULL, NULL, 'pak', NULL, NULL,
        NULL, NULL, 0, 0, NULL, NULL, 0, NULL),
    ('AAAAAAAAAAAAAAAB', '0190f3a2-0000-7000-8000-000000000011', 'old', X'0102', 'openid', 1761955200000, 1761955300000, 1761955250000,
        'pak', NULL, NULL, NULL, NULL, 1, 1, NULL, NULL, 1, NULL),
    ('AAAAAAAAAAAAAAAC', '0190f3a2-0000-7000-8000-000000000013', 'ci', X'0304', '', 1761955200000, 1999999999000, NULL, 'oak',
        1761955300000, 'AAAAAAAAAAAAAAAC', NULL, NULL, 2, 2, '0190f3a2-0000-7000-8000-000000000001', 1761955200000, 2, 1761955300000);
INSERT INTO counters (name, value) VALUES ('access_keys.status_index', 2), ('access_keys.status_version', 2);
INSERT INTO key_use_hours (key_id, hour, count, last_used_at, address, user_agent, organization_id) VALUES
    ('AAAAAAAAAAAAAAAA', 489432, 7, 1761955260000, '192.0.2.1', 'curl/8', '0190f3a2-0000-7000-8000-00000000000a');
INSERT INTO key_networks (key_id, network, first_used_at, last_used_at) VALUES ('AAAAAAAAAAAAAAAA', '192.0.2.0/24', 1761955200000,
    1761955260000);
INSERT INTO key_late_uses (key_id, count, first_at, last_at, address, user_agent) VALUES ('AAAAAAAAAAAAAAAB', 3, 1761955260000,
    1761955270000, '192.0.2.9', 'curl/8');
INSERT INTO key_expiry_notices (key_id, days, told_at) VALUES ('AAAAAAAAAAAAAAAB', 1, 1761955200000);
INSERT INTO signing_keys (id, algorithm, private_key, created_at, activates_at) VALUES ('kid', 'ES256', X'05', 1761955200000,
    1761955200000);
INSERT INTO sign_in_attempts (email_hash, failed, last_at) VALUES (X'06', 2, 1761955200000);
INSERT INTO setup_codes (hash, created_at) VALUES (X'07', 1761955200000);
INSERT INTO activity (id, at, organization_id, actor_user_id, actor_key_id, address, action, target, subject_user_id, detail) VALUES
    ('0190f3a2-0000-7000-8000-0000000000f1', 1761955200000, '0190f3a2-0000-7000-8000-00000000000a',
        '0190f3a2-0000-7000-8000-000000000001', 'AAAAAAAAAAAAAAAA', '192.0.2.1', 'Invite Create', '0190f3a2-0000-7000-8000-000000000021',
        NULL, 'owner'),
    ('0190f3a2-0000-7000-8000-0000000000f2', 1761955200001, '0190f3a2-0000-7000-8000-00000000000a',
        '0190f3a2-0000-7000-8000-000000000001', NULL, NULL, 'Webhook Create', '0190f3a2-0000-7000-8000-000000000031', NULL, NULL);
INSERT INTO mails (id, recipient, content, created_at, due_at, attempts) VALUES ('0190f3a2-0000-7000-8000-000000000041',
    'cy@acme.example', X'08', 1761955200000, 4102444800000, 1);
INSERT INTO invitations (id, root_id, email, email_normalized, code_hash, created_at, sent_at) VALUES
    ('0190f3a2-0000-7000-8000-000000000021', '0190f3a2-0000-7000-8000-00000000000a', 'cy@acme.example', 'CY@ACME.EXAMPLE', X'09',
        1761955200000, 1761955200000);
INSERT INTO invitation_parts (invitation_id, organization_id, roles, invited_by, expires_at) VALUES
    ('0190f3a2-0000-7000-8000-000000000021', '0190f3a2-0000-7000-8000-00000000000a', 'owner', '0190f3a2-0000-7000-8000-000000000001',
        4102444800000),
    ('0190f3a2-0000-7000-8000-000000000021', '0190f3a2-0000-7000-8000-00000000000b', '', NULL, 4102444800000);
INSERT INTO invitation_counts (target, day, count) VALUES ('0190f3a2-0000-7000-8000-00000000000a', 20393, 1);
INSERT INTO sessions (id, hash, user_id, security_stamp, method, created_at, proved_at, last_seen_at, address, user_agent,
    organization_id, ended_at) VALUES
    ('0190f3a2-0000-7000-8000-000000000051', X'0A', '0190f3a2-0000-7000-8000-000000000001', 'stamp', 'password', 1761955200000,
        1761955200000, 1761955200000, '192.0.2.1', 'Firefox', NULL, NULL);
INSERT INTO authenticators (user_id, secret, last_step, created_at) VALUES ('0190f3a2-0000-7000-8000-000000000001', X'0B', 58731840,
    1761955200000);
INSERT INTO recovery_codes (user_id, hash) VALUES ('0190f3a2-0000-7000-8000-000000000001', X'0C');
INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, transports, is_backup_eligible, is_backed_up,
    attestation, client_data, created_at, last_used_at) VALUES
    ('0190f3a2-0000-7000-8000-000000000061', '0190f3a2-0000-7000-8000-000000000001', X'0D', X'0E', 'phone', 1, 'internal', 1, 0, X'0F',
        X'10', 1761955200000, NULL);
INSERT INTO provider_subjects (issuer, subject, user_id, created_at) VALUES ('https://id.acme.example', 'ada',
    '0190f3a2-0000-7000-8000-000000000001', 1761955200000);
INSERT INTO password_resets (hash, user_id, created_at) VALUES (X'11', NULL, 1761955200000);
INSERT INTO spent_challenges (hash, spent_at) VALUES (X'12', 1761955200000);
INSERT INTO webhooks (id, organization_id, url, events, secret, old_secret, old_secret_until, created_at, failing_since, disabled_at) VALUES
    ('0190f3a2-0000-7000-8000-000000000031', '0190f3a2-0000-7000-8000-00000000000a', 'https://hooks.acme.example/', '', X'13', NULL,
        NULL, 1761955200000, NULL, 1761955200000),
    ('0190f3a2-0000-7000-8000-000000000032', '0190f3a2-0000-7000-8000-00000000000b', 'https://hooks.acme.example/', 'key.created', X'14',
        X'15', 1761955200000, 1761955200000, NULL, 1761955200000);
INSERT INTO webhook_messages (webhook_id, id, type, body, created_at, due_at, attempts) VALUES
    ('0190f3a2-0000-7000-8000-000000000031', '0190f3a2-0000-7000-8000-000000000071', 'key.created', '{}', 1761955200000, NULL, 1);
INSERT INTO webhook_attempts (webhook_id, message_id, number, at, milliseconds, status, error) VALUES
    ('0190f3a2-0000-7000-8000-000000000031', '0190f3a2-0000-7000-8000-000000000071', 1, 1761955200000, 12, 204, '');
