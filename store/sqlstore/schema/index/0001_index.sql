-- The index: everything here is made from the log and may be thrown away.
--
-- position      The seq up to which the log is indexed: one row.
CREATE TABLE position (
    one BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL
);
INSERT INTO position (one, seq) VALUES (1, 0);

-- filed         Which records are filed under a key, in order. A key is 8 bytes of a hash of what people look for: the
--               mailbox of an address, the other records of an address, a conversation of two, a Message-ID of a sender
--               (indexer.go). Whether a record really belongs there is decided by the record, so that a collision costs a
--               look and nothing else.
CREATE TABLE filed (
    key BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (key, seq)
) @clustered;

-- open_calls    call.start records without a call.end.
CREATE TABLE open_calls (
    id  @bytes PRIMARY KEY,
    seq BIGINT NOT NULL
);

-- words         The words of each text, cut and folded by us, so that both databases find the same.
@words
