-- What the server knows beside the log. Times are microseconds since 1970 UTC, 0 for none.
--
-- users             Accounts. Password is argon2id text; ha1_* are sealed with the key of the data folder.
CREATE TABLE users (
    aor        TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    password   TEXT NOT NULL,
    ha1_md5    @bytes,
    ha1_sha256 @bytes,
    admin      BIGINT NOT NULL,
    disabled   BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    changed    BIGINT NOT NULL
);

-- device_passwords  Generated passwords, one for a device, each revocable by itself.
CREATE TABLE device_passwords (
    id         TEXT PRIMARY KEY,
    aor        TEXT NOT NULL,
    label      TEXT NOT NULL,
    ha1_md5    @bytes,
    ha1_sha256 @bytes,
    created    BIGINT NOT NULL,
    last_used  BIGINT NOT NULL,
    revoked    BIGINT NOT NULL
);
CREATE INDEX device_passwords_aor ON device_passwords (aor);

-- bindings          Registered contacts, so that a restart loses nobody. Columns follow store.Binding.
CREATE TABLE bindings (
    aor        TEXT NOT NULL,
    key        TEXT NOT NULL,
    contact    TEXT NOT NULL,
    params     TEXT NOT NULL,
    instance   TEXT NOT NULL,
    device     TEXT NOT NULL,
    reg_id     BIGINT NOT NULL,
    call_id    TEXT NOT NULL,
    cseq       BIGINT NOT NULL,
    user_agent TEXT NOT NULL,
    path       TEXT NOT NULL,
    q          BIGINT NOT NULL,
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    transport  TEXT NOT NULL,
    listener   TEXT NOT NULL,
    local      TEXT NOT NULL,
    remote     TEXT NOT NULL,
    outbound   BIGINT NOT NULL,
    password   TEXT NOT NULL,
    gruu       TEXT NOT NULL,
    PRIMARY KEY (aor, key)
);

-- cursors           How far each device is in the log; device '' is the account's own.
CREATE TABLE cursors (
    aor     TEXT NOT NULL,
    device  TEXT NOT NULL,
    seq     BIGINT NOT NULL,
    created BIGINT NOT NULL,
    seen    BIGINT NOT NULL,
    lapsed  BIGINT NOT NULL,
    PRIMARY KEY (aor, device)
);

-- settings          Small values under names.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value @bytes NOT NULL
);
