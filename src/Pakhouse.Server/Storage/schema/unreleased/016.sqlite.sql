DROP TRIGGER activity_is_not_deleted;
CREATE TRIGGER activity_is_not_deleted BEFORE DELETE ON activity
WHEN OLD.at >= COALESCE((SELECT value FROM counters WHERE name = 'activity.kept_from'), 0)
BEGIN SELECT RAISE(ABORT, 'activity is append-only'); END;
