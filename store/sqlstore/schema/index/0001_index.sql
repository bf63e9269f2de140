-- The index: everything here is made from the log and may be thrown away.
--
-- position      The seq up to which the log is indexed: one row.
CREATE TABLE position (
    one BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL
);
INSERT INTO position (one, seq) VALUES (1, 0);

-- party         Who is in which record. Role 1: a message or receipt to aor (the mailbox). 2: another record that aor is in;
--               deliveries are left out.
CREATE TABLE party (
    aor  TEXT NOT NULL,
    role BIGINT NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (aor, role, seq)
) @clustered;

-- conversation  Messages and calls between two people. Pair is both AORs in ascending order with a space between.
CREATE TABLE conversation (
    pair TEXT NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (pair, seq)
) @clustered;

-- named         Messages that carry an imdn.Message-ID. Key is 8 bytes of a hash of sender and Message-ID.
CREATE TABLE named (
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
