CREATE FUNCTION access_keys_are_placed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    SELECT o.id, COALESCE(o.root_id, o.id) INTO NEW.organization_id, NEW.root_id
    FROM memberships m JOIN organizations o ON o.id = m.organization_id WHERE m.id = NEW.membership_id;
    RETURN NEW;
END $$;
CREATE TRIGGER access_keys_are_placed BEFORE INSERT ON access_keys
    FOR EACH ROW WHEN (NEW.root_id IS NULL) EXECUTE FUNCTION access_keys_are_placed();
