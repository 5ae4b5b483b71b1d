CREATE TRIGGER access_keys_are_placed AFTER INSERT ON access_keys WHEN NEW.root_id IS NULL BEGIN
    UPDATE access_keys SET (organization_id, root_id) = (
        SELECT o.id, COALESCE(o.root_id, o.id) FROM memberships m JOIN organizations o ON o.id = m.organization_id
        WHERE m.id = NEW.membership_id)
    WHERE id = NEW.id;
END;
