-- drafts     What people have written in a conversation but not sent; aor is whose it is, peer the other side.
CREATE TABLE drafts (
    aor     TEXT NOT NULL,
    peer    TEXT NOT NULL,
    text    TEXT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (aor, peer)
);
