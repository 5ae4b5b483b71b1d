-- Sign-ins that failed, counted by hour, network and way: what strangers try is one row of the record, however often they try.
CREATE TABLE sign_in_failures (
    hour    BIGINT NOT NULL,                      -- of Unix time
    network TEXT   NOT NULL,                      -- an address of IPv4, a /64 of IPv6
    method  TEXT   NOT NULL,
    failed  BIGINT NOT NULL,
    PRIMARY KEY (hour, network, method)
) WITHOUT ROWID;
-- Where a person has signed in from: ended sessions count too.
CREATE INDEX sessions_places ON sessions (user_id, address);
