CREATE FUNCTION memberships_are_listed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.ended_at IS NOT NULL THEN NEW.listed_as := NULL;
    ELSIF TG_OP = 'INSERT' THEN
        NEW.listed_as := (SELECT UPPER(u.name || ' ' || u.email) FROM users u WHERE u.id = NEW.user_id AND u.kind = 'person');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER memberships_are_listed BEFORE INSERT OR UPDATE OF ended_at ON memberships
    FOR EACH ROW EXECUTE FUNCTION memberships_are_listed();
CREATE FUNCTION users_are_listed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE memberships SET listed_as = UPPER(NEW.name || ' ' || NEW.email)
    WHERE user_id = NEW.id AND ended_at IS NULL AND listed_as IS NOT NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER users_are_listed AFTER UPDATE OF name, email ON users FOR EACH ROW EXECUTE FUNCTION users_are_listed();

CREATE FUNCTION activity_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'activity is append-only'; END $$;
CREATE TRIGGER activity_is_not_changed BEFORE UPDATE OR TRUNCATE ON activity EXECUTE FUNCTION activity_is_append_only();
-- The log loses what is older than its retention, and nothing else: the job says from when on rows are kept.
CREATE FUNCTION activity_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.at >= COALESCE((SELECT value FROM counters WHERE name = 'activity.kept_from'), 0) THEN
        RAISE EXCEPTION 'activity is append-only';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER activity_is_not_deleted BEFORE DELETE ON activity FOR EACH ROW EXECUTE FUNCTION activity_is_kept();

-- With SQLite, these keys are files beside the database.
CREATE TABLE data_protection_keys (
    id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    xml TEXT             NOT NULL
);
