CREATE TABLE sign_in_failures (
    hour    BIGINT NOT NULL,
    network TEXT   NOT NULL,
    method  TEXT   NOT NULL,
    failed  BIGINT NOT NULL,
    PRIMARY KEY (hour, network, method)
) WITHOUT ROWID;
CREATE INDEX sessions_places ON sessions (user_id, address);
