CREATE TRIGGER memberships_are_listed AFTER INSERT ON memberships WHEN NEW.ended_at IS NULL BEGIN
    UPDATE memberships SET listed_as = (SELECT UPPER(u.name || ' ' || u.email) FROM users u WHERE u.id = NEW.user_id AND u.kind = 'person')
    WHERE id = NEW.id;
END;
CREATE TRIGGER memberships_end_unlisted AFTER UPDATE OF ended_at ON memberships WHEN NEW.ended_at IS NOT NULL BEGIN
    UPDATE memberships SET listed_as = NULL WHERE id = NEW.id;
END;
CREATE TRIGGER users_are_listed AFTER UPDATE OF name, email ON users BEGIN
    UPDATE memberships SET listed_as = UPPER(NEW.name || ' ' || NEW.email)
    WHERE user_id = NEW.id AND ended_at IS NULL AND listed_as IS NOT NULL;
END;

CREATE TRIGGER activity_is_not_changed BEFORE UPDATE ON activity BEGIN SELECT RAISE(ABORT, 'activity is append-only'); END;
-- The log loses what is older than its retention, and nothing else: the job says from when on rows are kept.
CREATE TRIGGER activity_is_not_deleted BEFORE DELETE ON activity
WHEN OLD.at >= COALESCE((SELECT value FROM counters WHERE name = 'activity.kept_from'), 0)
BEGIN SELECT RAISE(ABORT, 'activity is append-only'); END;
