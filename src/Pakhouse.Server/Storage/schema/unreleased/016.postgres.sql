DROP TRIGGER activity_is_not_changed ON activity;
CREATE TRIGGER activity_is_not_changed BEFORE UPDATE OR TRUNCATE ON activity EXECUTE FUNCTION activity_is_append_only();
CREATE FUNCTION activity_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.at >= COALESCE((SELECT value FROM counters WHERE name = 'activity.kept_from'), 0) THEN RAISE EXCEPTION
        'activity is append-only'; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER activity_is_not_deleted BEFORE DELETE ON activity FOR EACH ROW EXECUTE FUNCTION activity_is_kept();
