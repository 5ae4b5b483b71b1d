-- Sign-ins that failed, counted by hour, network and way: what strangers try is one row of the record, however often they try.
CREATE TABLE sign_in_failures (
    hour    BIGINT NOT NULL,                      -- of Unix time
    network TEXT COLLATE "C" NOT NULL,            -- an address of IPv4, a /64 of IPv6
    method  TEXT COLLATE "C" NOT NULL,
    failed  BIGINT NOT NULL,
    PRIMARY KEY (hour, network, method)
);
-- Where a person has signed in from: ended sessions count too.
CREATE INDEX sessions_places ON sessions (user_id, address);
