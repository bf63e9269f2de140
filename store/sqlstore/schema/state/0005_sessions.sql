-- Who is signed in over HTTP, what people have set, and where their notifications go.
--
-- sessions          token is the SHA-256 of what the client shows. Not part of backups: who restores one signs in again.
CREATE TABLE sessions (
    id      TEXT PRIMARY KEY,
    aor     TEXT NOT NULL,
    token   @bytes NOT NULL UNIQUE,
    label   TEXT NOT NULL,
    class   TEXT NOT NULL,
    address TEXT NOT NULL,
    created BIGINT NOT NULL,
    seen    BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_aor ON sessions (aor);
CREATE INDEX sessions_expires ON sessions (expires);

-- person_settings   What people have set, the same on all their devices.
CREATE TABLE person_settings (
    aor   TEXT NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (aor, name)
);

-- push_subscriptions   Where to send notifications (RFC 8030) for a session; they end with it.
CREATE TABLE push_subscriptions (
    endpoint TEXT PRIMARY KEY,
    aor      TEXT NOT NULL,
    session  TEXT NOT NULL,
    p256dh   TEXT NOT NULL,
    auth     TEXT NOT NULL,
    preview  BIGINT NOT NULL,
    created  BIGINT NOT NULL
);
CREATE INDEX push_subscriptions_aor ON push_subscriptions (aor);
CREATE INDEX push_subscriptions_session ON push_subscriptions (session);
