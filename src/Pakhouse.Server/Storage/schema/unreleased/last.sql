-- The list of steps as it was before the first release, and as 001 makes it.
DROP TABLE schemaversions;
CREATE TABLE IF NOT EXISTS schemaversions (
    scriptname TEXT   NOT NULL PRIMARY KEY,
    applied    BIGINT NOT NULL
) WITHOUT ROWID;
