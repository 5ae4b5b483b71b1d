ALTER TABLE access_keys RENAME CONSTRAINT personal_access_keys_membership_id_fkey TO access_keys_membership_id_fkey;
ALTER TABLE mails ALTER COLUMN invitation_id TYPE TEXT COLLATE "C"; -- 022 had forgotten it
