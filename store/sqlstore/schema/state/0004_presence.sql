-- What people's presence is made of, as far as it must outlive a restart. Rows that have expired are removed now and then.
--
-- manual_states     What people said of themselves by hand; until is 0 for "until it is changed".
CREATE TABLE manual_states (
    aor    TEXT PRIMARY KEY,
    state  TEXT NOT NULL,
    note   TEXT NOT NULL,
    until  BIGINT NOT NULL,
    set_at BIGINT NOT NULL
);
CREATE INDEX manual_states_until ON manual_states (until);

-- publications      What devices published (RFC 3903), as they sent it; alone is 1 when nobody signs in on the device (a door, a calendar).
CREATE TABLE publications (
    etag         TEXT PRIMARY KEY,
    aor          TEXT NOT NULL,
    device       TEXT NOT NULL,
    alone        BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    body         @bytes NOT NULL,
    updated      BIGINT NOT NULL,
    expires      BIGINT NOT NULL
);
CREATE INDEX publications_aor ON publications (aor);
CREATE INDEX publications_expires ON publications (expires);

-- subscriptions     Who follows what (RFC 6665): aor is the watcher, data the notifier's own.
CREATE TABLE subscriptions (
    tag     TEXT PRIMARY KEY,
    event   TEXT NOT NULL,
    aor     TEXT NOT NULL,
    expires BIGINT NOT NULL,
    data    @bytes NOT NULL
);
CREATE INDEX subscriptions_aor ON subscriptions (aor);
CREATE INDEX subscriptions_expires ON subscriptions (expires);
