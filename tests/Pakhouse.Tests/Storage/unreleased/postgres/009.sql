-- Where an organization wants to be told of events; see Webhooks/.
CREATE TABLE webhooks (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organization_id   TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
    url               TEXT COLLATE "C" NOT NULL,
    events            TEXT COLLATE "C" NOT NULL,          -- empty: all
    secret            BYTEA            NOT NULL,          -- encrypted by Data Protection
    old_secret        BYTEA            NULL,              -- signs beside it for a while after a change
    old_secret_until  BIGINT           NULL,
    created_at        BIGINT           NOT NULL,
    failing_since     BIGINT           NULL,              -- NULL: the last attempt succeeded, or there was none
    disabled_at       BIGINT           NULL
);
CREATE INDEX webhooks_of_organization ON webhooks (organization_id);

-- Messages, written in the transaction of what they tell; the log of deliveries afterwards.
CREATE TABLE webhook_messages (
    webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id),
    id         TEXT COLLATE "C" NOT NULL,                 -- one message has one id, whoever gets it
    type       TEXT COLLATE "C" NOT NULL,
    body       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    due_at     BIGINT           NULL,                     -- the next attempt, or when a claimed one counts as lost; NULL: there is none
    attempts   BIGINT           NOT NULL,
    PRIMARY KEY (webhook_id, id)
);
CREATE INDEX webhook_messages_due_at ON webhook_messages (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_messages_created_at ON webhook_messages (created_at);

CREATE TABLE webhook_attempts (
    webhook_id   TEXT COLLATE "C" NOT NULL,
    message_id   TEXT COLLATE "C" NOT NULL,
    number       BIGINT           NOT NULL,
    at           BIGINT           NOT NULL,
    milliseconds BIGINT           NOT NULL,
    status       BIGINT           NULL,                   -- of HTTP; NULL: no answer
    error        TEXT COLLATE "C" NOT NULL,               -- in our words, never the receiver's; empty: delivered
    PRIMARY KEY (webhook_id, message_id, number)
);
